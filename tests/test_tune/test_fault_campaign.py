"""Runs that are killed at random instants, again and again, end like the one nobody disturbed."""

import contextlib
import dataclasses
import json
import random
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from results.log.reading import read_events
from results.log.records import Epoch, TrialStarted
from results.log.state import load_run
from results.run_folder import LOG_NAME
from seti_model.data.simulator import simulate_dataset

SETI_TUNE = [sys.executable, "-m", "tune.cli.main"]
TARGETS = ("driver", "worker", "head", "everything")
MOST_STARTS = 200
NETWORK_STUDY = """
[study]
space = "baseline"
trials = 6
max_epochs = 5
seed = 3
[search]
startup_trials = 3
[data]
path = "data"
[asha]
grace_epochs = 1
[resources]
max_concurrent = 1
[finals]
finalists = 1
max_finalists = 1
seeds = 2
[fixed]
"network.dense_units" = 8
"""


@dataclass(frozen=True)
class Campaign:
    """How often who was killed, and how often the run was started."""

    kills: Counter[str]
    starts: int


def outcome(run: Path) -> Any:
    """All that must not depend on kills: everything but times, attempts, memory and nodes."""
    state = load_run(run)
    trials: dict[Any, Any] = {
        key: (
            dict(t.started.configuration),
            t.status,
            {n: (e.validation_accuracy, e.weights_digest, e.validation_correct) for n, e in sorted(t.epochs.items())},
            {n: (r.value, r.seen, r.better, r.cutoff, r.decision) for n, r in sorted(t.rungs.items())},
            t.ended and dataclasses.replace(t.ended, time=""),
        )
        for key, t in state.trials.items()
    }
    decisions = [dataclasses.replace(d, time="", earlier_uses=0) for d in state.decisions]  # the other run's is one
    description = run / "final" / "model.json"
    return trials | {
        "decisions": decisions,
        "handed on": description.read_text() if description.exists() else None,
        "test split": {key: dataclasses.replace(e, time="") for key, e in state.finals.items()},
    }


def processes(parent: subprocess.Popen[bytes], target: str) -> list[psutil.Process]:
    """Return the processes of a search that are to be killed together, found below its parent's pid."""
    chosen = []
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in psutil.Process(parent.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess, IndexError):
                command = process.cmdline()
                is_target = {
                    "driver": "tune.process.child" in command,
                    "worker": command[0].startswith("ray::ImplicitFunc"),
                    "head": Path(command[0]).name == "gcs_server",
                    "everything": True,
                }
                if is_target[target]:
                    chosen.append(process)
        if target == "everything":
            chosen.append(psutil.Process(parent.pid))
    return chosen


def disturb(study: Path, run: Path, *, kills: int, seconds: float, rng: random.Random) -> Campaign:
    """Start and resume a run until it is finished and at least `kills` processes or groups were killed in it."""
    done: Counter[str] = Counter()
    for starts in range(1, MOST_STARTS):
        command = ["resume", str(run)] if has_begun(run) else ["search", str(study), "--run", str(run)]
        process = subprocess.Popen([*SETI_TUNE, *command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        try:
            while done.total() < kills and process.poll() is None:
                time.sleep(rng.uniform(0, seconds))
                target = TARGETS[done.total() % len(TARGETS)]
                victims = processes(process, target)
                for victim in victims:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        victim.kill()
                if not victims:
                    continue  # not started yet
                done[target] += 1
                if target != "worker":
                    break
            out, _ = process.communicate(timeout=300)
        finally:
            for left in processes(process, "everything") if process.poll() is None else []:
                left.kill()
            process.wait()
        assert process.returncode in (0, 3, -9), out.decode()
        if process.returncode == 0:
            assert done.total() >= kills, f"only {done}: the run is too short for so many kills"
            return Campaign(done, starts)
    raise AssertionError(f"not finished after {MOST_STARTS} starts and {done}")


def has_begun(run: Path) -> bool:
    return (run / LOG_NAME).exists() and any(True for _ in read_events(run))


def compare(study: Path, tmp_path: Path, campaign: Callable[[Path], Campaign]) -> Campaign:
    whole, disturbed = tmp_path / "whole", tmp_path / "disturbed"
    subprocess.run([*SETI_TUNE, "search", str(study), "--run", str(whole)], check=True, capture_output=True)
    result = campaign(disturbed)
    assert outcome(disturbed) == outcome(whole)
    events = list(read_events(disturbed))
    begun = Counter((e.trial, e.repeat) for e in events if isinstance(e, TrialStarted))
    assert set(begun.values()) == {1}, "a trial was begun twice"
    for trial in load_run(disturbed).trials.values():
        assert sorted(trial.epochs) == list(range(1, len(trial.epochs) + 1))
    epochs = sum(isinstance(e, Epoch) for e in events)
    kept = sum(len(t.epochs) for t in load_run(disturbed).trials.values())
    print(json.dumps({"kills": result.kills, "starts": result.starts, "epochs": kept, "done again": epochs - kept}))
    return result


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_run_killed_forty_times_ends_like_the_undisturbed_one(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = quick_study(trials=40, sleep=0.5, diverges_above=0.95, extra="[resources]\nmax_concurrent = 1\n")
    rng = random.Random(1)
    result = compare(study, tmp_path, lambda run: disturb(study, run, kills=40, seconds=7, rng=rng))
    assert min(result.kills[target] for target in TARGETS) >= 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_real_network_killed_twelve_times_ends_with_the_same_weights(tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "data", "course", {"train": 300, "validation": 100, "test": 24}, 1)
    study = tmp_path / "network.toml"
    study.write_text(NETWORK_STUDY)
    rng = random.Random(2)
    compare(study, tmp_path, lambda run: disturb(study, run, kills=12, seconds=18, rng=rng))
