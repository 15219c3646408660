"""Whole searches whose checkpoints and log go to a store: killed, and gone on with in an empty folder."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import psutil
import pytest
from processes import SEARCH, descendants, search, started, wait_for, write_quick_study
from stores import S3Server

from results.errors import RecordError
from results.log.reading import read_events
from results.log.records import AttemptStarted, Epoch, TrialEnded
from results.log.state import load_run
from results.run_folder import LOG_NAME
from tune.process.driver import run_study
from tune.resume import recorded_study
from tune.storage.segments import StoredLog, restore
from tune.storage.store import Store

RESUME = [*SEARCH[:-1], "resume"]


def resume(*words: object, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    command = [*RESUME, *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)


def kill_all(process: subprocess.Popen[str]) -> None:
    """Cut the power: the driver, its parent and its workers at once."""
    for one in [*descendants(process), psutil.Process(process.pid)]:
        one.kill()
    process.wait(30)


def ended_trials(run: Path) -> Counter[int]:
    return Counter(event.trial for event in read_events(run) if isinstance(event, TrialEnded))


def is_half_done(run: Path) -> bool:
    """Whether two trials have ended and another one has a checkpoint to go on from."""
    trials = load_run(run).trials.values()
    is_open = any(trial.ended is None and trial.checkpoint is not None for trial in trials)
    return is_open and sum(trial.ended is not None for trial in trials) >= 2


def test_a_killed_search_goes_on_in_an_empty_folder(server: S3Server, uri: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    study = write_quick_study(
        tmp_path,
        trials=7,
        max_epochs=4,
        short_finals=True,
        sleep=0.3,
        slow_while=f"'{slow}'",
        extra=f'[storage]\nuri = "{uri}"\n',
    )
    faults = [
        server.fail("PUT", "/log/", times=4),
        server.fail("PUT", "/log/", times=2, status="503 Slow Down", is_done=True),
        server.fail("PUT", "/checkpoints/", times=4),
        server.delay("PUT", "/log/", times=3, seconds=1.0),
    ]
    run, other = tmp_path / "run", tmp_path / "other"
    with started(study, run, seconds=200) as process:
        wait_for(lambda: is_half_done(run), process, 100)
        kill_all(process)
    slow.unlink()
    assert not (run / "checkpoints").exists()
    before, there = (run / LOG_NAME).read_bytes(), StoredLog(Store(uri)).read()
    assert before.startswith(there), "the store is never ahead of what was done"
    restore(uri, tmp_path / "copy")
    done = load_run(tmp_path / "copy").trials
    run.rename(tmp_path / "lost")
    again = resume(uri, "--run", other, "--plain")
    assert again.returncode == 0, again.stderr
    assert all(fault.hits for fault in faults), "no fault was met"
    assert (other / LOG_NAME).read_bytes().startswith(there)
    assert StoredLog(Store(uri)).read() == (other / LOG_NAME).read_bytes()
    state = load_run(other)
    assert sorted(number for number, repeat in state.trials if repeat is None) == list(range(7))
    assert all(trial.ended is not None for trial in state.trials.values())
    events = list(read_events(other))
    for key, trial in done.items():
        if trial.ended is not None:
            epochs = [e.epoch for e in events if isinstance(e, Epoch) and e.key == key]
            assert epochs == sorted(set(epochs)), f"{key} was trained again"
    went_on = [e for e in events if isinstance(e, AttemptStarted) and e.resume_from is not None]
    assert went_on, "no checkpoint of the store was used"
    assert state.decisions
    (tmp_path / "lost").rename(run)
    if before != there:
        with pytest.raises(RecordError, match=r"run/events\.jsonl, line \d+: is another one in s3://bucket/"):
            run_study(recorded_study(run), run)


@pytest.mark.slow
def test_a_store_that_stays_away_ends_a_search_which_goes_on_when_it_is_back(
    server: S3Server, uri: str, tmp_path: Path
) -> None:
    study = write_quick_study(tmp_path, trials=6, max_epochs=3, short_finals=True, extra=f'[storage]\nuri = "{uri}"\n')
    run = tmp_path / "run"
    server.fail("/log/000000007", times=1000)
    done = search(study, run, "--quiet", timeout=300)
    assert done.returncode == 3, done.stderr
    [line] = done.stderr.splitlines()
    assert "/log/000000007.jsonl: no answer to 8 tries (" in line
    assert line.endswith("everything recorded so far is kept, start the same command again to go on")
    server.faults.clear()
    trials = ended_trials(run)
    again = resume(run, "--quiet")
    assert again.returncode == 0, again.stderr
    assert all(trial.ended is not None for trial in load_run(run).trials.values())
    assert StoredLog(Store(uri)).read() == (run / LOG_NAME).read_bytes()
    assert ended_trials(run) - trials


NETWORK = """
[study]
name = "net"
space = "rate.toml"
trials = 2
max_epochs = 2
[data]
simulate = "wide"
train = 96
validation = 40
test = 8
[resources]
max_concurrent = 2
[finals]
finalists = 1
max_finalists = 1
seeds = 1
[storage]
uri = "{uri}"
[fixed]
"network.filters_1" = 4
"network.filters_2" = 8
"network.kernel" = 3
"network.dense_units" = 8
"""
RATE = """
name = "rate"
description = "One."
[parameters."training.learning_rate"]
type = "float"
low = 0.0005
high = 0.01
log = true
reason = "The only one."
"""


@pytest.mark.slow
def test_the_winner_of_a_network_is_predicted_with_and_retrained_from_a_folder_made_from_the_store(
    server: S3Server, uri: str, tmp_path: Path
) -> None:
    study, run = tmp_path / "net.toml", tmp_path / "run"
    study.write_text(NETWORK.format(uri=uri))
    (tmp_path / "rate.toml").write_text(RATE)
    done = search(study, run, "--quiet", timeout=500)
    assert done.returncode == 0, done.stderr
    store = Store(uri)
    names = Counter(key.rpartition("/")[2] for key in store.files("checkpoints"))
    assert names == {"best_weights.npz": 4, "best_probabilities.npz": 4, "training.json": 4}, "two trials, two finals"
    assert not (run / "checkpoints").exists() or not list((run / "checkpoints").rglob("state.npz"))
    digest = (run / "final" / "model.json").read_text()
    store.remove(*store.files("final"))
    run.rename(tmp_path / "lost")
    gone_on = resume(uri, "--run", run, "--quiet")
    assert gone_on.returncode == 0, gone_on.stderr
    assert (run / "final" / "model.json").read_text() == digest
    assert "final/model.keras" in store.files("final")
    predicted = [*SEARCH[:-1], "evaluate", run / "final" / "model.keras", run / "dataset", "--threads", "1"]
    evaluated = subprocess.run(list(map(str, predicted)), capture_output=True, text=True, timeout=200, check=False)
    assert evaluated.returncode == 0, evaluated.stderr
    retrain = [*SEARCH[:-1], "retrain", run, "--out", tmp_path / "again"]
    again = subprocess.run(list(map(str, retrain)), capture_output=True, text=True, timeout=200, check=False)
    assert again.returncode == 0, again.stderr
    assert "\nidentical: the weights after epoch 2" in again.stdout
