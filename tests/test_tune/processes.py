"""What the tests of whole runs share: a quick study, commands as processes, and what is left of them."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from results.log.reading import read_events
from results.log.records import Epoch
from results.log.state import load_run
from results.run_folder import LOG_NAME

SEARCH = [sys.executable, "-m", "tune.cli.main", "search"]
SPACE = """
name = "line"
description = "One number."
[parameters.x]
type = "float"
low = 0.0
high = 1.0
reason = "The only one."
"""


def write_quick_study(
    folder: Path,
    *,
    trials: int = 12,
    max_epochs: int = 9,
    seed: int = 7,
    extra: str = "",
    short_finals: bool = False,
    objective: str = "accuracy",
    **fixed: object,
) -> Path:
    """Write a study of the millisecond trainable and return its path.

    Its finals are twelve retrainings; the `short_finals` of tests that are about something else are two.
    """
    finals = "[finals]\nfinalists = 1\nmax_finalists = 1\nseeds = 1\n" if short_finals else ""
    (folder / "line.toml").write_text(SPACE)
    (folder / "quick_trainable.py").write_text((Path(__file__).parent / "quick_trainable.py").read_text())
    values = "\n".join(f"{k} = {v}" for k, v in fixed.items())
    path = folder / "quick.toml"
    path.write_text(
        f'[study]\nspace = "line.toml"\ntrials = {trials}\nmax_epochs = {max_epochs}\nseed = {seed}\n'
        f'objective = "{objective}"\ntrainable = "quick_trainable:train"\n'
        f"[asha]\ngrace_epochs = 1\n[baseline]\nx = 0.9\n[fixed]\n{values}\n{finals}{extra}"
    )
    return path


def search(study: Path, run: Path, *more: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [*SEARCH, str(study), "--run", str(run), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@contextlib.contextmanager
def started(study: Path, run: Path, *, seconds: float = 60) -> Iterator[subprocess.Popen[str]]:
    """Start a search and yield it when an epoch is in the log; whatever happens, it is ended by its own pid."""
    command = [*SEARCH, str(study), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: has_epochs(run), process, seconds)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def has_epochs(run: Path) -> bool:
    return (run / LOG_NAME).exists() and any(isinstance(e, Epoch) for e in read_events(run))


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def alive(processes: list[psutil.Process]) -> list[str]:
    return [p.name() for p in processes if p.is_running() and p.status() != psutil.STATUS_ZOMBIE]


def values(run: Path) -> dict[Any, Any]:
    return {
        key: (t.status, dict(t.started.parameters), {n: e.validation_accuracy for n, e in t.epochs.items()})
        for key, t in load_run(run).trials.items()
    }
