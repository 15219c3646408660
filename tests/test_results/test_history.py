"""What a run cost and how it went, from logs written by hand."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from whole_run import write_whole_run

from results.errors import RecordError
from results.log.history import Step, read_history
from results.log.recorder import EventLog
from results.log.records import AttemptEnded, AttemptStarted, Epoch, Event
from results.study import ResourcesSection, StudyRecord


def written(run: Path, *events: Event) -> Path:
    """Write events one minute apart."""
    with EventLog(run) as log:
        log.append(*(dataclasses.replace(e, time=f"2026-01-01T00:{i:02d}:00.000Z") for i, e in enumerate(events)))
    return run


def epoch(n: int, accuracy: float, *, attempt: int = 0, seconds: float | None = 36.0) -> Event:
    return Epoch(trial=0, attempt=attempt, epoch=n, validation_accuracy=accuracy, seconds=seconds)


def test_a_step_is_a_new_best_with_what_had_been_spent_and_the_last_says_how_it_stands(
    hand: Any, tmp_path: Path
) -> None:
    begun = hand.trial(0, [], None)  # three events
    steps = read_history(
        written(tmp_path, hand.study(), *begun, epoch(1, 0.5), epoch(2, 0.4), epoch(3, 0.6), epoch(4, 0.6))
    ).steps
    assert steps == (
        Step(0, 0.5, 1, pytest.approx(4 / 60)),
        Step(0, 0.6, 3, pytest.approx(6 / 60)),
        Step(0, 0.6, 4, pytest.approx(7 / 60)),
    )


def test_a_value_that_is_not_finite_is_no_step(hand: Any, tmp_path: Path) -> None:
    run = written(tmp_path, hand.study(), *hand.trial(0, [], None), epoch(1, float("nan")))
    assert read_history(run).steps == ()


def test_epochs_done_again_after_a_fault_are_paid_for_but_not_by_the_trial(hand: Any, tmp_path: Path) -> None:
    lost = [AttemptEnded(trial=0, attempt=0, why="the worker died"), AttemptStarted(trial=0, attempt=1, from_epoch=1)]
    run = written(
        tmp_path, hand.study(), *hand.trial(0, [], None),
        epoch(1, 0.5), epoch(2, 0.6), epoch(3, 0.6), *lost, epoch(2, 0.6, attempt=1, seconds=72.0),
    )  # fmt: skip
    costs = {c.what: c for c in read_history(run).costs}
    assert set(costs) == {"running", "repeated after faults"}
    assert (costs["running"].epochs, costs["running"].core_hours) == (2, pytest.approx(0.03))
    assert (costs["repeated after faults"].epochs, costs["repeated after faults"].core_hours) == (
        2,
        pytest.approx(0.02),
    )


def test_costs_add_up_to_all_epochs_of_the_log_times_the_threads(hand: Any, tmp_path: Path) -> None:
    write_whole_run(tmp_path, hand)
    costs = {c.what: c for c in read_history(tmp_path).costs}
    assert {name: (c.trials, c.core_hours) for name, c in costs.items()} == {
        "completed": (20, 120.0),  # three epochs of an hour on two threads
        "stopped": (6, 12.0),
        "diverged": (1, 4.0),
        "failed": (2, 0.0),
        "running": (1, 0.5),
        "finals": (4, 0.0),  # whose epochs do not say how long they took
        "repeated after faults": (1, 2.0),
    }


def test_gpus_are_counted_where_a_trial_has_some(hand: Any, tmp_path: Path) -> None:
    study = hand.study()
    with_gpu = dataclasses.replace(
        study, study=StudyRecord(resources=ResourcesSection(cpus_per_trial=4, gpus_per_trial=0.5))
    )
    (cost,) = read_history(written(tmp_path, with_gpu, *hand.trial(0, [], None), epoch(1, 0.5, seconds=3600.0))).costs
    assert (cost.core_hours, cost.gpu_hours) == (4.0, 0.5)


def test_an_epoch_that_does_not_say_how_long_it_took_costs_nothing(hand: Any, tmp_path: Path) -> None:
    run = written(tmp_path, hand.study(), *hand.trial(0, [], None), epoch(1, 0.5, seconds=None))
    assert [c.core_hours for c in read_history(run).costs] == [0.0]


def test_an_empty_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").touch()
    with pytest.raises(RecordError, match="the log holds no study_started; start the search again"):
        read_history(tmp_path)
