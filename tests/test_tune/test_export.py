"""Optuna's journal of a run: derived from the log alone, only ever added to."""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import bench
import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from results.log.recorder import EventLog
from results.log.records import SpaceWidened
from results.log.state import RunState, fold
from search_spaces.space import Space
from tune.errors import StudyError
from tune.export.optuna import export_journal
from tune.study import Study, load_study
from tune.trainable import Entered, EpochReport, Left, Task


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Study:
    return load_study(quick_study(trials=30, diverges_above=0.91, nan_below=0.15))


def read(path: Path) -> optuna.Study:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return optuna.load_study(storage=storage, study_name=None)


def searched(study: Study, run: Path) -> tuple[RunState, optuna.Study]:
    """A whole search, and the study that its proposer had in memory."""
    ours = bench.Bench(study, run)
    return ours.run(), ours.plan.proposer.study


def test_a_journal_says_what_the_proposer_was_told(study: Study, tmp_path: Path) -> None:
    state, told = searched(study, tmp_path / "run")
    path = tmp_path / "out" / "optuna.log"
    assert export_journal(fold(tmp_path / "run"), path) == 30
    exported = read(path)
    assert (exported.study_name, exported.direction.name) == ("quick", "MAXIMIZE")
    assert {t.state.name for t in exported.trials} == {"COMPLETE", "PRUNED"}
    for ours, theirs in zip(exported.trials, told.trials, strict=True):
        assert (ours.number, ours.state, ours.params, ours.values) == (
            theirs.number,
            theirs.state,
            theirs.params,
            theirs.values,
        )
        assert (ours.intermediate_values, ours.constraints) == (theirs.intermediate_values, theirs.constraints)
        assert ours.distributions == theirs.distributions
        ended = state.trials[ours.number, None].ended
        assert ended is not None
        assert ours.user_attrs["trial"] == ours.number
        assert (ours.user_attrs["status"], ours.user_attrs["reason"]) == (ended.status, ended.reason)
    assert exported.trials[0].user_attrs["baseline"]


def test_a_second_export_adds_only_what_is_missing_and_none_is_left_running(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    run, path = tmp_path / "run", tmp_path / "optuna.log"
    study = load_study(quick_study(trials=12))
    with pytest.raises(bench.Crash, match=r"^$"):
        bench.Bench(study, run, workers=3, crash_after=60).run()
    begun = fold(run)
    assert any(t.ended is None for t in begun.search_trials())
    first = export_journal(begun, path)
    assert 0 < first < len(begun.search_trials())
    head = path.read_bytes()
    bench.Bench(study, run).run()
    assert export_journal(fold(run), path) == 12 - first
    assert path.read_bytes().startswith(head)
    assert export_journal(fold(run), path) == 0
    assert not [t for t in read(path).trials if not t.state.is_finished()]


@pytest.mark.parametrize("damage", ["torn", "garbage", "cut"])
def test_a_damaged_journal_is_made_anew(study: Study, tmp_path: Path, damage: str) -> None:
    searched(study, tmp_path / "run")
    state, path = fold(tmp_path / "run"), tmp_path / "optuna.log"
    export_journal(state, path)
    lines = path.read_bytes().splitlines(keepends=True)
    lines = {"torn": [*lines, b'{"op'], "garbage": [*lines[:9], b"garbage\n", *lines[9:]], "cut": lines[:9]}[damage]
    path.write_bytes(b"".join(lines))
    export_journal(state, path)
    assert [t.number for t in read(path).trials] == list(range(30))
    assert [p.name for p in tmp_path.glob("*optuna*")] == ["optuna.log"], "something was left behind"


def test_a_widened_space_gives_a_new_journal_with_all_parameters(study: Study, tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "optuna.log"
    searched(study, run)
    export_journal(fold(run), path)
    mapping = study.space.to_mapping()
    mapping["parameters"]["y"] = {"type": "int", "low": 1, "high": 3, "reason": "Added."}
    wider = Space.from_mapping(mapping)
    with EventLog(run) as log:
        log.append(
            SpaceWidened(
                space=wider.to_mapping(),
                space_fingerprint=wider.fingerprint,
                changes=("'y' is new",),
                carried={str(n): {"y": 2} for n in range(30)},
            )
        )
    assert export_journal(fold(run), path) == 30
    assert all(t.params["y"] == 2 for t in read(path).trials)


@pytest.mark.parametrize("text", ["trial,status\n", '{"v":1,"kind":"study_started"}\n', '{"op_code":0}\n', ""])
def test_a_file_that_is_no_journal_of_ours_is_not_replaced(study: Study, tmp_path: Path, text: str) -> None:
    searched(study, tmp_path / "run")
    path = tmp_path / "mine.log"
    path.write_text(text)
    with pytest.raises(StudyError, match=r"mine\.log: is there and no journal of seti-tune, so it is not replaced; na"):
        export_journal(fold(tmp_path / "run"), path)
    assert path.read_text() == text


def test_times_of_trials_are_those_of_the_log(study: Study, tmp_path: Path) -> None:
    state, _ = searched(study, tmp_path / "run")
    export_journal(state, tmp_path / "optuna.log")
    lines = [json.loads(line) for line in (tmp_path / "optuna.log").read_text().splitlines()]
    trial = state.trials[0, None]
    assert trial.ended is not None
    first = next(line for line in lines if "datetime_complete" in line)
    assert first["datetime_start"][:19] == trial.started.time[:19]
    assert first["datetime_complete"][:19] == trial.ended.time[:19]


TEN = range(2, 30, 3)  # ten of thirty trials


class Diverging(bench.Bench):
    """Ten trials diverge in epoch 1, 2 or 3, every other one by its value instead of by its word."""

    def _epochs(self, task: Task) -> Iterator[bool]:
        self.coordinator.receive(task, Entered(node="here", pid=1))
        diverges = diverging_epoch(task.trial) if task.trial in TEN and task.repeat is None else None
        for epoch in range(1, task.max_epochs + 1):
            if epoch == diverges and task.trial % 2:
                self.coordinator.receive(task, Left("diverged", "loss is nan"))
                return
            x = float(task.configuration["x"])
            value = math.nan if epoch == diverges else bench.quick.accuracy(x, epoch, task.seed)
            if self.coordinator.receive(task, EpochReport(epoch=epoch, validation_accuracy=value)):
                return
            yield False


def diverging_epoch(trial: int) -> int:
    return 1 + trial // 3 % 3


def test_of_thirty_trials_ten_diverge_at_once_and_are_infeasible_and_none_runs_on(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = load_study(quick_study(trials=30, extra="[search]\nstartup_trials = 5\n").rename(tmp_path / "ten.toml"))
    text = study.source.replace("grace_epochs = 1", "grace_epochs = 4")  # so that none is stopped before it diverges
    (tmp_path / "ten.toml").write_text(text)
    ours = Diverging(load_study(tmp_path / "ten.toml"), tmp_path / "run", workers=3)
    state = ours.run()
    export_journal(state, tmp_path / "optuna.log")
    diverged = {t.started.trial for t in state.search_trials() if t.status == "diverged"}
    assert diverged == set(TEN)
    assert all(max(state.trials[n, None].epochs, default=0) <= diverging_epoch(n) for n in TEN)
    for optunas in (ours.plan.proposer.study, read(tmp_path / "optuna.log")):
        assert {t.number for t in optunas.trials if any(v > 0 for v in t.constraints.values())} == set(TEN)
        assert {t.state.name for t in optunas.trials} == {"COMPLETE", "PRUNED"}
