"""Receipts: derived from the log, written when something changed, read strictly."""

import dataclasses
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from results.errors import RecordError
from results.log.lines import from_line, to_line
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    Checkpoint,
    Epoch,
    Event,
    StudyResumed,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState
from results.receipt import disagreements, read_receipt, receipt_of, write_receipts
from results.run_folder import receipt_path
from results.study import DataSection, Provenance, ResourcesSection, StudyRecord, StudySection

CONFIGURATION = {"network.filters_1": 8, "training.learning_rate": 0.5, "augment.flip": True, "note": "ä"}
STUDY = StudyRecord(
    folder="/somewhere",
    study=StudySection(name="hand", trainable="module:train", trials=8),
    data=DataSection(simulate="wide", train=8, validation=4, test=4),
    resources=ResourcesSection(cpus_per_trial=2, gpus_per_trial=0.5),
)


def provenance(tensorflow: str) -> Provenance:
    return Provenance(versions={"tensorflow": tensorflow}, python="3.11.7")


def begun(hand: Any, *more: Event, repeat: int | None = None) -> list[Event]:
    study = dataclasses.replace(hand.study(validation_images=4), study=STUDY, provenance=provenance("2.21.0"))
    started = TrialStarted(
        trial=3, repeat=repeat, parameters={}, configuration=CONFIGURATION, seed=77, is_baseline=False, max_epochs=4
    )
    return [study, started, *more]


def attempt(number: int, device: str | None, epochs: dict[int, float], *, after: int = 0) -> list[Event]:
    """An attempt with a checkpoint after its first epoch."""
    events: list[Event] = [
        AttemptStarted(trial=3, attempt=number, from_epoch=after),
        AttemptRunning(trial=3, attempt=number, node="n", pid=1, device=device),
    ]
    for epoch, accuracy in epochs.items():
        digest = f"w{number}{epoch}"
        events.append(Epoch(trial=3, attempt=number, epoch=epoch, validation_accuracy=accuracy, weights_digest=digest))
    events.append(Checkpoint(trial=3, attempt=number, epoch=after + 1, path=f"c/{number}", bytes=1, digest="d"))
    return events


def ended(status: str = "completed") -> TrialEnded:
    return TrialEnded(trial=3, status=status, reason="", epochs=2)


def test_a_receipt_holds_what_was_given_and_what_came_out_and_reads_back_equal(hand: Any, tmp_path: Path) -> None:
    state = RunState(begun(hand, *attempt(0, "a CPU", {1: 0.5, 2: 0.75, 3: math.nan}), ended("diverged")))
    receipt = receipt_of(state, (3, None))
    assert (receipt.study, receipt.trainable, receipt.folder) == ("hand", "module:train", "/somewhere")
    assert (receipt.configuration, receipt.seed, receipt.threads, receipt.gpus) == (CONFIGURATION, 77, 2, 0.5)
    assert (receipt.data, receipt.data_digest, receipt.validation_images) == (STUDY.data, "d" * 64, 4)
    assert (receipt.max_epochs, receipt.epochs, receipt.status) == (4, 3, "diverged")
    assert receipt.validation_accuracies == (0.5, 0.75, None)
    assert (receipt.objective, receipt.best_epoch, receipt.weights_digest) == (0.75, 2, "w03")
    assert (receipt.init_digest, receipt.precision) == (None, None)
    [environment] = receipt.environments
    assert (environment.versions, environment.python) == ({"tensorflow": "2.21.0"}, "3.11.7")
    assert environment.device == "a CPU"
    write_receipts(tmp_path, state)
    assert receipt_path(tmp_path, 3, None) == tmp_path / "receipts" / "0003.json"
    assert read_receipt(tmp_path / "receipts" / "0003.json") == receipt


def test_a_trial_knows_the_environments_of_the_attempts_whose_epochs_count(hand: Any) -> None:
    """Attempt 1 ran under other versions, but its epoch was done again by attempt 2."""
    first = attempt(0, "a CPU", {1: 0.5, 2: 0.6})
    resumed = [StudyResumed(study=STUDY, provenance=provenance(version)) for version in ("2.22.0", "2.23.0")]
    lost = [AttemptStarted(trial=3, attempt=1, from_epoch=1), resumed[0]]
    lost.insert(1, Epoch(trial=3, attempt=1, epoch=2, validation_accuracy=0.1))
    events = begun(hand, *first, resumed[0], *lost, resumed[1], *attempt(2, "another", {2: 0.7}, after=1), ended())
    found = receipt_of(RunState(events), (3, None)).environments
    assert [(e.versions["tensorflow"], e.device) for e in found] == [("2.21.0", "a CPU"), ("2.23.0", "another")]


def test_the_same_environment_is_listed_once(hand: Any) -> None:
    again = StudyResumed(study=STUDY, provenance=provenance("2.21.0"))
    events = begun(hand, *attempt(0, "c", {1: 0.5}), again, *attempt(1, "c", {2: 0.7}, after=1), ended())
    assert len(receipt_of(RunState(events), (3, None)).environments) == 1


def test_a_log_of_before_devices_were_recorded_still_reads(hand: Any) -> None:
    line = '{"v":1,"kind":"attempt_running","time":"2026-01-01T00:00:00.000Z","trial":3,"attempt":0,"node":"n","pid":1}'
    event = from_line(line)
    assert isinstance(event, AttemptRunning)
    assert event.device is None
    assert to_line(event) == line
    state = RunState(begun(hand, *attempt(0, None, {1: 0.5}), ended()))
    assert receipt_of(state, (3, None)).environments[0].device is None


def test_receipts_are_written_for_ended_trials_and_only_when_something_changed(hand: Any, tmp_path: Path) -> None:
    final = dataclasses.replace(begun(hand, repeat=0)[1], trial=3)
    end = TrialEnded(trial=3, repeat=0, status="completed", reason="", epochs=0)
    running = hand.trial(5, [0.5], None)
    state = RunState([*begun(hand, *attempt(0, "c", {1: 0.5}), ended()), final, end, *running])
    write_receipts(tmp_path, state)
    files = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "receipts").iterdir()}
    assert sorted(files) == ["0003-0.json", "0003.json"]
    state.apply(AttemptEnded(trial=3, repeat=0, attempt=0, why=""))
    state.apply(dataclasses.replace(end, status="failed"))
    write_receipts(tmp_path, state)
    later = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "receipts").iterdir()}
    assert later["0003.json"] == files["0003.json"]
    assert later["0003-0.json"] > files["0003-0.json"]
    assert read_receipt(tmp_path / "receipts" / "0003-0.json").status == "failed"


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ((5, None), "trial 5 is not in the log; see `seti-tune leaderboard`"),
        ((3, 0), "trial 3, seed index 0 is not in the log"),
        ((3, None), "trial 3 has not ended; continue the run first"),
    ],
)
def test_only_a_trial_that_has_ended_has_a_receipt(hand: Any, key: tuple[int, int | None], message: str) -> None:
    with pytest.raises(RecordError, match=message):
        receipt_of(RunState(begun(hand)), key)


def without(name: str) -> Callable[[dict[str, Any]], object]:
    return lambda values: values.pop(name)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without("seed"), r"0003\.json: damaged: seed: missing; delete it if its run"),
        (lambda v: v.update(sed=1), r"damaged: sed: unknown; known are study, trial,"),
        (lambda v: v.update(seed="77"), 'damaged: seed: expected an integer, found "77"'),
        (lambda v: v.update(is_baseline=0), r"damaged: is_baseline: expected true or false, found 0"),
        (lambda v: v.update(objective="high"), 'objective: expected a number or null, found "high"'),
        (
            lambda v: v.update(validation_accuracies=[0.5, "x"]),
            r'\[1\]: expected a number or null, found "x"',
        ),
        (lambda v: v.update(configuration={"a": [1]}), r"ation\['a'\]: expected a single value, found"),
        (lambda v: v["environments"][0].update(device=1), r"environments\[0\].device: expected a string or"),
        (lambda v: v["ranked_by"].update(false_alarm=1e12), r"damaged: ranked_by.false_alarm: expected less than 1"),
        (lambda v: v.update(seed=-1), r"damaged: seed: expected at least 0, found -1; delete it"),
        (lambda v: v.update(environments=[1]), r"damaged: environments\[0\]: expected an object, found 1"),
        (lambda v: v.update(receipt_version=2), r"receipt version 2, this seti-tune reads 1; use the one that wrote"),
        (without("receipt_version"), r"no receipt; give a run folder, or a file of its folder receipts"),
    ],
)
def test_a_damaged_receipt_is_refused_with_its_place(
    hand: Any, tmp_path: Path, damage: Callable[[dict[str, Any]], object], message: str
) -> None:
    write_receipts(tmp_path, RunState(begun(hand, *attempt(0, "c", {1: 0.5}), ended())))
    path = tmp_path / "receipts" / "0003.json"
    values = json.loads(path.read_text())
    damage(values)
    path.write_text(json.dumps(values))
    with pytest.raises(RecordError, match=message):
        read_receipt(path)


@pytest.mark.parametrize("text", ["{", "\x00", "[1]"])
def test_a_file_that_is_no_receipt_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "0003.json"
    path.write_text(text)
    with pytest.raises(RecordError, match=r"0003\.json: (damaged: not JSON|no receipt; give a run folder)"):
        read_receipt(path)
    with pytest.raises(RecordError, match=r"nothing\.json: cannot be read \(No such file or directory\); give a run"):
        read_receipt(tmp_path / "nothing.json")


def test_what_a_receipt_says_otherwise_than_the_log_is_named(hand: Any) -> None:
    logged = receipt_of(RunState(begun(hand, *attempt(0, "c", {1: 0.5}), ended())), (3, None))
    assert disagreements(logged, logged) == ()
    assert disagreements(dataclasses.replace(logged, folder="/elsewhere", study="renamed"), logged) == ()
    edited = dataclasses.replace(
        logged, seed=78, configuration=CONFIGURATION | {"training.learning_rate": 0.25}, environments=()
    )
    assert disagreements(edited, logged) == (
        "training.learning_rate is 0.25 in the receipt, 0.5 in the log",
        "seed is 78 in the receipt, 77 in the log",
        "environments are others in the receipt than in the log",
    )
