"""How a run stands: from logs written by hand, from a copy, and while a real process writes."""

import dataclasses
import os
import re
import subprocess
import sys
import textwrap
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from results.errors import RecordError
from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import (
    AttemptEnded,
    AttemptStarted,
    Epoch,
    Event,
    NodeChecked,
    StudyEnded,
    StudyResumed,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState, fold
from results.run_folder import LOG_NAME
from results.study import Provenance, StudyRecord, StudySection
from results.tables.status import duration, outlook, run_status, status_text

START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def at(events: list[Event], *, every_s: float = 1.0, start: datetime = START) -> list[Event]:
    """The events as if one had happened every so many seconds."""
    times = [start + timedelta(seconds=n * every_s) for n in range(len(events))]
    return [dataclasses.replace(e, time=t.isoformat()) for e, t in zip(events, times, strict=True)]


def written(run: Path, events: list[Event]) -> Path:
    with EventLog(run) as log:
        log.append(*events)
    return run


def half_done(hand: Any) -> list[Event]:
    """Baseline and trial 1 are completed, 2 was stopped, 3 lost two attempts and is open."""
    events = [hand.study(validation_images=100, trials=6)]
    events += hand.trial(0, [0.5, 0.6, 0.6], right=[True] * 60 + [False] * 40)
    events += hand.trial(1, [0.5, 0.7, 0.8], right=[True] * 80 + [False] * 20)
    events += hand.trial(2, [0.4], "stopped")
    events += hand.trial(3, [0.55], None)
    events += [
        AttemptEnded(trial=3, attempt=0, why="Ray killed the worker: the node ran out of memory", cause="memory"),
        AttemptStarted(trial=3, attempt=1, from_epoch=1),
        AttemptEnded(trial=3, attempt=1, why="ValueError:\n no", counts=True),
        AttemptStarted(trial=3, attempt=2, from_epoch=1),
    ]
    return at(events)


def test_an_interrupted_run_says_what_was_reached_and_how_to_continue(hand: Any, tmp_path: Path) -> None:
    events = half_done(hand)
    run = written(tmp_path / "my run", events)
    last = datetime.fromisoformat(events[-1].time)
    lines = status_text(run_status(run), now=last + timedelta(minutes=90)).splitlines()
    assert lines == [
        f"study hand, {run}: interrupted without a recorded reason, or a copy of a running one",
        "last event     1 h 30 min ago",
        "trials         4 of 6: 2 completed, 1 stopped, 1 open",
        "best           trial 1: 0.8000 (95 % 0.711..0.867) at epoch 3; minus baseline +0.2000 "
        "(95 % +0.118..+0.280), optimistic: chosen on the same images",
        "baseline       trial 0: 0.6000 (95 % 0.502..0.691) at epoch 2: the course's network and values",
        "epochs         8 done; ended trials took 7, stopping them early saved 2 (22%)",
        "time           30 s of driver time",
        "open           trial 3, epoch 1/3, last 0.5500, continues with the run",
        "lost attempts  2: 1 out of memory, 1 raised or returned early",
        "               trial 3, attempt 0: Ray killed the worker: the node ran out of memory",
        "               trial 3, attempt 1: ValueError: no",
        f"next           seti-tune leaderboard '{run}'",
        f"               seti-tune resume '{run}'",
    ]


def test_a_running_run_says_where_its_trials_are(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*half_done(hand)[:-1], *at(hand.trial(4, [0.5], None)), *at(hand.trial(5, [], None)[:2]))
        text = status_text(run_status(tmp_path), now=START + timedelta(days=1, hours=2, minutes=3))
    assert "running now for 1 d 2 h" in text.splitlines()[0]
    assert "running        trial 3, epoch 1/3, last 0.5500, waits for its next attempt" in text
    assert "               trial 4, epoch 1/3, last 0.5000, attempt 0 on node-1" in text
    assert re.search(r"\n +trial 5, epoch 0/3, attempt 0 is starting for 1 d 2 h\n", text)
    assert "2 running, 1 starting" in text
    assert "seti-tune resume" not in text


@pytest.mark.parametrize(
    ("finished", "reason", "expected"),
    [
        (True, "all trials ended", "finished: all trials ended"),
        (False, "interrupted by SIGTERM", ": interrupted by SIGTERM"),
        (False, "RUN: 3 trials in a row failed:\n no", "ended: 3 trials in a row failed: no"),
    ],
)
def test_an_ended_run_says_why(hand: Any, tmp_path: Path, finished: bool, reason: str, expected: str) -> None:
    end = StudyEnded(finished=finished, reason=reason.replace("RUN", str(tmp_path)))
    run = written(tmp_path, [hand.study(), *hand.trial(0, [0.5]), end])
    (run / "report.md").write_text("")
    text = status_text(run_status(run))
    assert text.splitlines()[0].endswith(expected)
    assert ("seti-tune resume" in text) is not finished
    assert (f"read {run / 'report.md'}" in text) is finished


def test_a_driver_that_has_just_taken_an_interrupted_run_up_is_running(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), StudyEnded(finished=False, reason="interrupted by SIGINT")]
    with EventLog(tmp_path) as log:
        log.append(*at(events))
        assert "running now, continued a moment ago" in status_text(run_status(tmp_path))
        log.append(StudyResumed(study=StudyRecord(study=StudySection(name="hand")), provenance=Provenance()))
        assert "running now for 0 s" in status_text(run_status(tmp_path))
    assert "without a recorded reason" in status_text(run_status(tmp_path))


def test_a_run_that_is_only_starting_has_nothing_to_show_yet(tmp_path: Path) -> None:
    with EventLog(tmp_path):
        assert status_text(run_status(tmp_path)).splitlines() == [
            f"study {tmp_path.name}, {tmp_path}: starting now, nothing is recorded yet",
            "trials         0",
            "best           no epoch is recorded yet",
            "epochs         0 done; ended trials took 0, stopping them early saved 0 (0%)",
        ]


def test_an_empty_log_is_not_resumed_but_started_again(tmp_path: Path) -> None:
    """`seti-tune resume` refuses it: there is no study in it."""
    text = status_text(run_status(written(tmp_path, [])))
    assert "next           start the search again with the same command; nothing is recorded" in text
    assert "seti-tune" not in text


def test_the_attempts_that_failed_their_trial_are_told_from_those_that_were_repeated(hand: Any, tmp_path: Path) -> None:
    early = "the training function returned after 1 of 3 epochs"
    events = [hand.study(), *hand.trial(0, [0.5, 0.6, 0.7]), *hand.trial(1, [0.5], None)]
    events += [
        AttemptEnded(trial=1, attempt=0, why="the worker died"),
        AttemptStarted(trial=1, attempt=1),
        AttemptEnded(trial=1, attempt=1, why=early, counts=True),
        TrialEnded(trial=1, status="failed", reason=early, epochs=1),
    ]
    text = status_text(run_status(written(tmp_path, events)))
    words = "2: 1 died or interrupted, 1 raised or returned early; 1 of them ended its trial as failed"
    assert f"lost attempts  {words}\n" in text


def test_a_run_without_a_completed_trial_shows_the_best_so_far(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(validation_images=10), *hand.trial(0, [0.5], None), *hand.trial(1, [0.7], "stopped")]
    text = status_text(run_status(written(tmp_path, events)))
    assert "best           no trial is completed; best so far trial 1: 0.7000 (95 % 0.397..0.892)" in text
    assert "baseline       trial 0: 0.5000 (95 % 0.237..0.763) at epoch 1, running" in text


def test_nodes_that_get_no_trials_are_named_as_the_latest_driver_found_them(hand: Any, tmp_path: Path) -> None:
    refused = NodeChecked(node="n3", node_id="c", admitted=False, reason="cannot write into /runs; share it")
    found = [NodeChecked(node="n1", node_id="a", admitted=True, cpus=4), refused]
    run = written(tmp_path / "run", at([hand.study(), *found]))
    assert "no trials on   n3: cannot write into /runs; share it\n" in status_text(run_status(run))
    with EventLog(run) as log:
        log.append(StudyResumed(study=StudyRecord(), provenance=Provenance()))
    assert "no trials on" not in status_text(run_status(run))


def test_interruptions_are_lost_attempts_and_finals_are_named(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5, 0.6, 0.7])]
    final = TrialStarted(trial=0, repeat=0, parameters={}, configuration={}, seed=1, max_epochs=3)
    events += [final, AttemptStarted(trial=0, repeat=0, attempt=0)]
    events += [AttemptEnded(trial=0, repeat=0, attempt=0, why="interrupted by SIGINT")]
    text = status_text(run_status(written(tmp_path, events)))
    assert "trials         1 of 8: 1 completed; finals: 1 open" in text
    assert "open           trial 0, seed index 0, epoch 0/3, continues with the run" in text
    assert "lost attempts  1: 1 died or interrupted\n" in text
    assert "trial 0, seed index 0, attempt 0: interrupted by" in text


def test_a_clock_that_was_set_back_gives_no_negative_age(hand: Any, tmp_path: Path) -> None:
    events = half_done(hand)
    early = [dataclasses.replace(e, time=(START - timedelta(hours=3)).isoformat()) for e in events[4:8]]
    run = written(tmp_path, [*events[:4], *early, *events[8:]])
    for now in (START - timedelta(days=2), START, START + timedelta(seconds=25)):
        text = status_text(run_status(run), now=now)
        assert " -" not in text
    text = status_text(run_status(run), now=START)
    assert f"last event     at 2026-01-02 {events[-1].time[11:19]} UTC, ahead of this machine's clock" in text


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(-5, "0 s"), (0.9, "0 s"), (61, "1 min 1 s"), (3600, "1 h"), (90061, "1 d 1 h"), (7325, "2 h 2 min")],
)
def test_spans_are_said_in_two_units(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_a_read_only_copy_is_read_and_not_touched(hand: Any, tmp_path: Path) -> None:
    original, copy = written(tmp_path / "run", half_done(hand)), tmp_path / "copy"
    copy.mkdir()
    data = (original / LOG_NAME).read_bytes() + b'{"v":1,"kind":"epo'  # copied in the middle of a line
    (copy / LOG_NAME).write_bytes(data)
    (copy / LOG_NAME).chmod(0o444)
    copy.chmod(0o555)
    try:
        text = status_text(run_status(copy))
    finally:
        copy.chmod(0o755)
    assert "interrupted without a recorded reason, or a copy of a running one" in text
    assert [path.name for path in copy.iterdir()] == [LOG_NAME]
    assert (copy / LOG_NAME).read_bytes() == data


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run folder \(events\.jsonl is missing\)"):
        run_status(tmp_path)


WRITER = """
    import os, pathlib, time
    from results.log.lines import to_line
    from results.log.records import AttemptStarted, Epoch, StudyStarted, TrialStarted
    from results.log.recorder import EventLog
    from results.study import Provenance, StudyRecord
    whole = os.write
    def torn(descriptor, data):  # as a kernel may: a part of it now, the rest a moment later
        written = whole(descriptor, data[: max(1, len(data) // 3)])
        time.sleep(0.0005)
        return written
    with EventLog(pathlib.Path({run!r})) as log:
        os.write = torn
        log.append(StudyStarted(study=StudyRecord(), data_digest=None, provenance=Provenance()))
        log.append(TrialStarted(trial=0, parameters={{}}, configuration={{}}, seed=1, max_epochs=10**6))
        log.append(AttemptStarted(trial=0, attempt=0))
        for epoch in range(1, {epochs} + 1):
            log.append(Epoch(trial=0, attempt=0, epoch=epoch, validation_accuracy=epoch / {epochs}, seconds=1.5))
"""


def test_readers_meet_only_whole_events_while_a_process_writes(tmp_path: Path) -> None:
    """The writer tears every line in several writes; a reader sees a growing beginning of what was written."""
    epochs, seen, texts = 400, [0], set()
    EventLog(tmp_path).close()
    code = textwrap.dedent(WRITER.format(run=str(tmp_path), epochs=epochs))
    writer = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    try:
        while writer.poll() is None:
            status = run_status(tmp_path)
            status_text(status)
            texts.add(status.is_running)
            events = [e for e in read_events(tmp_path) if isinstance(e, Epoch)]
            assert [e.epoch for e in events] == list(range(1, len(events) + 1))
            assert all(e.validation_accuracy == e.epoch / epochs and e.seconds == 1.5 for e in events)
            seen.append(len(events))
    finally:
        writer.kill()
        _, errors = writer.communicate()
    assert writer.returncode == 0, errors
    assert seen == sorted(seen), "what was read once is not read differently later"
    assert len(set(seen)) > 5, "the reader met the writer at work"
    assert texts >= {True}
    assert len(fold(tmp_path).trials[0, None].epochs) == epochs
    assert not run_status(tmp_path).is_running


def test_a_run_whose_driver_was_killed_is_not_taken_for_running(tmp_path: Path) -> None:
    code = textwrap.dedent(WRITER.format(run=str(tmp_path), epochs=10**6))
    writer = subprocess.Popen([sys.executable, "-c", code])
    try:
        deadline = time.monotonic() + 30
        while not (tmp_path / LOG_NAME).exists() or not run_status(tmp_path).state.trials:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert run_status(tmp_path).is_running
    finally:
        os.kill(writer.pid, 9)
        writer.wait()
    assert "without a recorded reason" in status_text(run_status(tmp_path))


def test_after_ten_trials_without_a_better_one_it_is_said_what_ten_more_would_cost(hand: Any) -> None:
    def state(trials: int) -> RunState:
        events = [hand.study(trials=40), *hand.trial(0, [0.5, 0.6]), *hand.trial(1, [0.7, 0.8])]
        events += [e for number in range(2, trials) for e in hand.trial(number, [0.6, 0.7])]
        return RunState(dataclasses.replace(e, seconds=180.0) if isinstance(e, Epoch) else e for e in events)

    assert outlook(state(11)) == ""
    assert outlook(state(12)) == "no better trial in the last 10; the next ten would cost about 1 core-hours"
