"""What the tests of whole runs share: commands as processes, and what is left of them."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from results.log.records import Epoch
from results.log.state import load_run, read_events
from results.run_folder import LOG_NAME

SEARCH = [sys.executable, "-m", "tune.cli.main", "search"]


def search(study: Path, run: Path, *more: str, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    command = [*SEARCH, str(study), "--run", str(run), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


@contextlib.contextmanager
def started(study: Path, run: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a search and yield it when an epoch is in the log; whatever happens, it is ended by its own pid."""
    command = [*SEARCH, str(study), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (run / LOG_NAME).exists() and any(isinstance(e, Epoch) for e in read_events(run)), process)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


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
