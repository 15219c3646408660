"""The search loop without Ray: whole studies in milliseconds, interrupted anywhere, rebuilt from the log."""

import dataclasses
import math
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench, Crash, outcome
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.log.reading import read_events
from results.log.recorder import Recorder
from results.log.records import Rung, StudyResumed
from results.log.state import load_run
from results.run_folder import LOG_NAME
from results.study import Provenance
from results.tables.leaderboard import rank_trials
from results.tables.ties import pack_flags
from tune.errors import StudyError
from tune.exits import guarded
from tune.loop.coordinator import MAX_DEATHS, HopelessStudyError
from tune.process.driver import _take_over
from tune.resume import retries
from tune.study import Study, load_study
from tune.trainable import EpochReport, Left, Task


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Study:
    return load_study(quick_study(trials=15, diverges_above=0.93, nan_below=0.15))


def test_the_baseline_is_trial_0_exempt_from_stopping_and_ranked(study: Study, tmp_path: Path) -> None:
    state = Bench(study, tmp_path / "run").run()
    baseline = state.trials[0, None]
    assert baseline.started.is_baseline
    assert baseline.started.parameters == {"x": 0.9}
    assert baseline.status == "completed"
    assert {r.decision for r in baseline.rungs.values()} == {"exempt"}
    assert baseline in rank_trials(state)[0]


def test_diverged_trials_end_at_once_and_are_infeasible_for_optuna(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study(trials=15, diverges_above=0.91, nan_below=0.3)), tmp_path / "run")
    state = bench.run()
    by_word = [t for t in state.search_trials() if t.status == "diverged" and not t.epochs]
    by_value = [t for t in state.search_trials() if t.status == "diverged" and t.epochs]
    assert by_word
    assert by_value
    assert all(len(t.epochs) == 2 for t in by_value), "a trial ran past the epoch in which it diverged"
    for trial in bench.plan.proposer.study.trials:
        recorded = state.trials[trial.number, None]
        expected = {"completed": "COMPLETE", "stopped": "PRUNED", "diverged": "PRUNED"}[recorded.status]
        assert trial.state.name == expected
        assert trial.constraints == ({"trainable": 1.0} if recorded.status == "diverged" else {})


def test_every_stop_follows_from_the_values_in_the_log(study: Study, tmp_path: Path) -> None:
    Bench(study, tmp_path / "run").run()
    rungs = [e for e in read_events(tmp_path / "run") if isinstance(e, Rung)]
    for i, rung in enumerate(rungs):
        before = [r.value for r in rungs[:i] if r.epoch == rung.epoch]
        assert rung.seen == len(before) + 1
        assert rung.better == sum(v > rung.value for v in before)
        if rung.decision != "exempt":
            assert (rung.decision == "stop") == (rung.better >= math.ceil(rung.seen / 3))


@pytest.fixture
def whole(study: Study, tmp_path: Path) -> list[Any]:
    """What comes out where nothing is interrupted."""
    return outcome(Bench(study, tmp_path / "whole").run())


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(crashes=st.lists(st.integers(0, 120), min_size=1, max_size=4), torn=st.integers(0, 30))
def test_a_run_interrupted_anywhere_ends_like_the_uninterrupted_one(
    study: Study, whole: list[Any], tmp_path_factory: pytest.TempPathFactory, crashes: list[int], torn: int
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    for crash in crashes:
        try:
            bench = Bench(study, folder / "crashed", crash_after=crash)
        except Crash:
            continue
        try:
            bench.run()
        except Crash:
            path = folder / "crashed" / LOG_NAME
            with path.open("ab") as file:
                file.write(b'{"v":1,"kind":"epoch","trial":1'[:torn])
    assert outcome(Bench(study, folder / "crashed").run()) == whole


def test_the_same_seed_proposes_the_same_and_another_seed_does_not(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    first = Bench(load_study(quick_study()), tmp_path / "a").run()
    second = Bench(load_study(quick_study()), tmp_path / "b").run()
    third = Bench(load_study(quick_study(seed=8)), tmp_path / "c").run()
    assert outcome(first) == outcome(second)
    assert outcome(first) != outcome(third)


def test_several_workers_in_any_order_lose_and_repeat_nothing(study: Study, tmp_path: Path) -> None:
    state = Bench(study, tmp_path / "run", workers=4).run(random.Random(3))
    assert [t.started.trial for t in state.search_trials()] == list(range(15))
    for trial in state.trials.values():
        assert trial.ended is not None
        assert sorted(trial.epochs) == list(range(1, len(trial.epochs) + 1))


def test_more_trials_extend_a_finished_study(study: Study, tmp_path: Path) -> None:
    before = outcome(Bench(study, tmp_path / "run").run())
    state = Bench(study.with_trials(20), tmp_path / "run").run()
    assert len(state.search_trials()) == 20
    after = {row[0]: row for row in outcome(state)}
    assert all(after[row[0]] == row for row in before)


def test_random_proposals_are_seeded_too(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study = load_study(quick_study(extra='[search]\nsampler = "random"\n'))
    assert outcome(Bench(study, tmp_path / "a").run()) == outcome(Bench(study, tmp_path / "b").run())


def start(study: Study, run: Path) -> tuple[Bench, Task]:
    bench = Bench(study, run)
    task = bench.coordinator.next_task()
    assert task is not None
    return bench, task


def test_what_raises_is_retried_and_then_failed_with_its_reason(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    for _ in range(study.study.max_retries):
        assert bench.coordinator.receive(task, Left("failed", "ValueError: no"))
        again = bench.coordinator.next_task()
        assert again is not None
        assert (again.trial, again.attempt) == (task.trial, task.attempt + 1)
        task = again
    bench.coordinator.receive(task, Left("failed", "ValueError: no"))
    ended = bench.state.trials[0, None].ended
    assert ended is not None
    assert (ended.status, ended.reason) == ("failed", "ValueError: no")
    assert bench.plan.proposer.study.trials[0].state.name == "FAIL"


def test_returning_before_the_last_epoch_is_a_failure_that_says_so(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    bench.coordinator.receive(task, Left("returned", ""))
    assert bench.state.trials[0, None].attempts_ended[0].why == "the training function returned after 0 of 9 epochs"


def test_workers_that_die_are_repeated_without_counting_but_not_for_ever(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    for _ in range(MAX_DEATHS - 1):
        bench.coordinator.attempt_died(task, "its worker or node died")
        again = bench.coordinator.next_task()
        assert again is not None
        assert again.trial == 0
        task = again
    assert bench.state.trials[0, None].ended is None
    bench.coordinator.attempt_died(task, "its worker or node died")
    ended = bench.state.trials[0, None].ended
    assert ended is not None
    assert ended.reason == "10 workers died in a row, the last one: its worker or node died"


def test_a_value_that_is_not_finite_is_diverged(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    assert bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=math.nan))
    assert bench.state.trials[0, None].status == "diverged"


def test_a_worker_that_was_given_up_is_not_listened_to(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    bench.coordinator.attempt_died(task, "lost")
    assert bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=0.9))
    assert not bench.state.trials[0, None].epochs


def test_no_trial_starts_after_the_time_limit(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    path = quick_study()
    path.write_text(path.read_text().replace("[study]", "[study]\ntime_limit_h = 0"))
    bench = Bench(load_study(path), tmp_path / "run")
    assert bench.coordinator.next_task() is None
    assert bench.coordinator.is_finished()


def test_a_time_limit_is_that_of_the_run_not_of_each_driver(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    path = quick_study()
    path.write_text(path.read_text().replace("[study]", "[study]\ntime_limit_h = 0.000001"))
    study = load_study(path)
    before = Bench(study, tmp_path / "run").run()
    assert len(before.search_trials()) < study.study.trials
    after = Bench(study, tmp_path / "run").run()
    assert set(after.trials) == set(before.trials)
    longer = path.write_text(path.read_text().replace("0.000001", "1")) and load_study(path)
    assert len(Bench(longer, tmp_path / "run").run().search_trials()) == study.study.trials


def test_an_epoch_whose_checkpoint_was_not_recorded_is_done_again(study: Study, tmp_path: Path) -> None:
    """The driver died between the two: the weights of that epoch are not there, so it must not end the trial."""
    run = tmp_path / "run"
    Bench(study, run).run()
    lines = (run / LOG_NAME).read_text().splitlines(keepends=True)
    last = next(i for i, line in enumerate(lines) if '"kind":"epoch","' in line and '"epoch":9' in line)
    (run / LOG_NAME).write_text("".join(lines[: last + 1]))
    (run / "checkpoints" / "0000" / "0" / "0006").mkdir()  # it is removed only when the report has been taken
    bench = Bench(study, run)
    task = bench.coordinator.next_task()
    assert task is not None
    assert task.resume_from is not None
    assert task.resume_from.name == "0006"
    assert 9 not in bench.state.trials[0, None].epochs


def test_a_checkpoint_elsewhere_is_the_trials_failure_not_the_drivers(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    for checkpoint in (task.checkpoint_folder, tmp_path):
        report = EpochReport(epoch=1, validation_accuracy=0.5, checkpoint=checkpoint)
        assert bench.coordinator.receive(task, report)
        again = bench.coordinator.next_task()
        assert again is not None
        task = again
    whys = [a.why for a in bench.state.trials[0, None].attempts_ended.values()]
    assert all("does not lie below task.checkpoint_folder" in why for why in whys)


def test_a_checkpoint_may_be_a_file_and_lie_behind_a_link(study: Study, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "disk")
    bench, task = start(study, tmp_path / "link")
    task.checkpoint_folder.mkdir(parents=True)
    file = task.checkpoint_folder.resolve() / "1.json"
    file.write_text("{}")
    assert not bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=0.5, checkpoint=file))
    saved = bench.state.trials[0, None].checkpoint
    assert saved is not None
    assert saved.path == "checkpoints/0000/0/1.json"


def test_a_full_disk_in_a_worker_ends_the_run_without_counting_against_the_trial(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    with pytest.raises(StudyError, match=r"a worker could not write \(No space\); free some space and start the same"):
        bench.coordinator.receive(task, Left("no space", "No space"))
    assert bench.state.trials[0, None].ended is None
    assert not bench.state.trials[0, None].attempts_ended


def test_the_death_of_an_attempt_given_up_earlier_does_not_touch_the_present_one(study: Study, tmp_path: Path) -> None:
    bench, first = start(study, tmp_path / "run")
    bench.coordinator.attempt_died(first, "lost")
    second = bench.coordinator.next_task()
    assert second is not None
    bench.coordinator.attempt_died(first, "lost")
    assert not bench.coordinator.receive(second, EpochReport(epoch=1, validation_accuracy=0.5))


def test_a_configuration_without_memory_is_retried_then_failed_and_infeasible(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    bench.coordinator.attempt_died(task, "its worker was killed for memory", for_memory=True)
    for _ in range(study.study.max_retries):
        again = bench.coordinator.next_task()
        assert again is not None
        bench.coordinator.receive(again, Left("memory", "MemoryError: no 9 GB"))
    trial = bench.state.trials[0, None]
    assert trial.ended is not None
    assert (trial.ended.status, trial.ended.reason) == ("failed", "MemoryError: no 9 GB")
    assert [a.cause for a in trial.attempts_ended.values()] == ["memory"] * 3
    told = bench.plan.proposer.study.trials[0]
    assert (told.state.name, told.constraints) == ("PRUNED", {"trainable": 1.0})
    assert not bench.state.failures, "what cannot be trained does not make a study hopeless"


def test_a_study_whose_trials_fail_one_after_another_ends_with_the_first_error(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")

    def fail(task: Task | None) -> None:
        for _ in range(100):
            assert task is not None
            bench.coordinator.receive(task, Left("failed", f"ValueError: no {task.trial}"))
            task = bench.coordinator.next_task()

    with pytest.raises(
        HopelessStudyError,
        match=r"run: 5 trials in a row failed, the first one, trial 0: ValueError: no 0; correct the cause and "
        r"continue with `seti-tune resume ",
    ):
        fail(task)
    assert len(bench.state.search_trials()) == 5
    bench.recorder.close()
    resumed = Bench(study, tmp_path / "run")
    event = StudyResumed(study=study.record(), provenance=Provenance())
    resumed.recorder.write(event)
    resumed.state.apply(event)
    assert len(resumed.run().search_trials()) == study.study.trials


@pytest.mark.parametrize("last_ones_missing", [1, 2])
def test_a_failure_that_was_not_recorded_whole_is_settled_without_another_attempt(
    study: Study, tmp_path: Path, last_ones_missing: int
) -> None:
    bench, task = start(study, tmp_path / "run")
    for _ in range(study.study.max_retries + 1):
        bench.coordinator.receive(task, Left("failed", "ValueError: no"))
        task = bench.coordinator.next_task() or task
    bench.recorder.close()
    lines = (tmp_path / "run" / LOG_NAME).read_text().splitlines(keepends=True)
    end = next(i for i, line in enumerate(lines) if '"kind":"trial_ended"' in line)
    (tmp_path / "run" / LOG_NAME).write_text("".join(lines[: end + 1 - last_ones_missing]))
    again = Bench(study, tmp_path / "run")
    if last_ones_missing == 2:  # the end of the third attempt is missing too: it was interrupted, and is done again
        task = again.coordinator.next_task() or task
        assert (task.trial, task.attempt) == (0, 3)
        again.coordinator.receive(task, Left("failed", "ValueError: no"))
    ended = again.state.trials[0, None].ended
    assert ended is not None
    assert (ended.status, ended.reason) == ("failed", "ValueError: no")


def test_a_damaged_checkpoint_costs_its_epochs_and_no_retry(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    paths = []
    for attempt in range(2):
        for epoch in (2 * attempt + 1, 2 * attempt + 2):
            folder = task.checkpoint_folder / f"{epoch:04d}"
            folder.mkdir(parents=True)
            assert not bench.coordinator.receive(
                task, EpochReport(epoch=epoch, validation_accuracy=0.5, checkpoint=folder)
            )
        paths.append(folder)
        bench.coordinator.attempt_died(task, "lost")
        again = bench.coordinator.next_task()
        assert again is not None
        assert again.resume_from == folder
        task = again
    bench.coordinator.receive(task, Left("checkpoint", "state.npz: damaged"))
    task = bench.coordinator.next_task() or task
    assert task.resume_from == task.checkpoint_folder.parent / "1" / "0003"
    trial = bench.state.trials[0, None]
    assert sorted(trial.epochs) == [1, 2, 3]
    assert [a.counts for a in trial.attempts_ended.values()] == [False] * 3
    assert [a.cause for a in trial.attempts_ended.values()] == [None, None, "checkpoint"]
    shutil.rmtree(tmp_path / "run" / "checkpoints")  # and now by hand: all of it
    bench.coordinator.attempt_died(task, "lost")
    task = bench.coordinator.next_task() or task
    assert task.resume_from is None
    assert not bench.state.trials[0, None].epochs


def test_a_checkpoint_nobody_gave_cannot_be_lost(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    bench.coordinator.receive(task, Left("checkpoint", "cannot read None"))
    assert bench.state.trials[0, None].attempts_ended[0].counts


def test_a_worker_that_has_grown_is_replaced_and_the_record_says_why(study: Study, tmp_path: Path) -> None:
    bench = Bench(study, tmp_path / "run")
    bench.coordinator.memory_mb = 1000
    task = bench.coordinator.next_task()
    assert task is not None
    folder = task.checkpoint_folder / "0001"
    folder.mkdir(parents=True)
    bench.coordinator.receive(
        task, EpochReport(epoch=1, validation_accuracy=0.5, checkpoint=folder, resident_mb=1234.5)
    )
    bench.coordinator.attempt_died(task, "its worker or node died")
    ended = bench.state.trials[0, None].attempts_ended[0]
    assert ended.why == "its worker had grown to 1234 MB, above 1000 MB, and is replaced"
    assert not ended.counts
    again = bench.coordinator.next_task()
    assert again is not None
    assert again.resume_from == folder


def test_every_tenth_trial_is_exempt_and_says_so(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    path = quick_study(trials=30, extra="")
    path.write_text(path.read_text().replace("[asha]", "[asha]\nexempt_fraction = 0.1"))
    state = Bench(load_study(path), tmp_path / "run").run()
    exempt = {t.started.trial for t in state.search_trials() if any(r.decision == "exempt" for r in t.rungs.values())}
    assert exempt == {0, 10, 20}
    assert all(state.trials[n, None].status == "completed" for n in exempt)


def test_right_images_are_kept_with_the_best_epoch_only(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    flags = {1: (True, False, False), 2: (True, True, False), 3: (False, True, False)}
    for epoch, right in flags.items():
        report = EpochReport(epoch=epoch, validation_accuracy=sum(right) / 3, validation_correct=right)
        bench.coordinator.receive(task, report)
    epochs = bench.state.trials[0, None].epochs
    assert [epochs[n].validation_correct for n in (1, 2, 3)] == [pack_flags(flags[1]), pack_flags(flags[2]), None]


def test_flags_of_another_number_of_images_fail_the_attempt_not_the_tables(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    assert bench.state.started is not None
    bench.state.started = dataclasses.replace(bench.state.started, validation_images=800)
    bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=1, validation_correct=[True] * 3))
    ended = bench.state.trials[0, None].attempts_ended[0]
    assert (
        ended.why
        == "a report that cannot be recorded: validation_correct holds 3 flags, the data set 800 validation images"
    )
    assert ended.counts


def test_an_epoch_with_a_checkpoint_is_on_the_disk_before_the_earlier_one_may_go(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench, task = start(study, tmp_path / "run")
    synced: list[int] = []
    monkeypatch.setattr("results.log.recorder.os.fsync", lambda descriptor: synced.append(os.fstat(descriptor).st_size))
    for epoch in (1, 2):
        folder = task.checkpoint_folder / f"{epoch:04d}"
        folder.mkdir(parents=True)
        bench.coordinator.receive(task, EpochReport(epoch=epoch, validation_accuracy=0.5, checkpoint=folder))
        assert synced[-1] == (tmp_path / "run" / LOG_NAME).stat().st_size


def test_numbers_of_numpy_are_recorded_as_numbers(study: Study, tmp_path: Path) -> None:
    bench, task = start(study, tmp_path / "run")
    report = EpochReport(epoch=np.int64(1), validation_accuracy=np.float32(0.5), seconds=np.float64(0.25))
    assert not bench.coordinator.receive(task, report)
    bench.recorder.close()
    (epoch,) = load_run(tmp_path / "run").trials[0, None].epochs.values()
    assert (epoch.epoch, epoch.validation_accuracy, epoch.seconds) == (1, 0.5, 0.25)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (EpochReport(epoch=1, validation_accuracy="good"), 'validation_accuracy: expected a number, found "good"'),
        (EpochReport(epoch="1", validation_accuracy=0.5), 'epoch: expected an integer, found "1"'),
        (EpochReport(epoch=1.5, validation_accuracy=0.5), "epoch: expected an integer, found 1.5"),
        (EpochReport(epoch=1, validation_accuracy=0.5, train_loss=[1]), "train_loss: expected a number or null, found"),
        (EpochReport(epoch=1, validation_accuracy=0.5, seconds=object()), "Object of type object is not JSON"),
        (EpochReport(epoch=1, validation_accuracy=0.5, checkpoint_digest=b"d"), "Object of type bytes is not JSON"),
    ],
)
def test_a_report_that_cannot_be_recorded_fails_its_attempt_not_the_study(
    study: Study, tmp_path: Path, report: EpochReport, message: str
) -> None:
    bench, task = start(study, tmp_path / "run")
    folder = task.checkpoint_folder / "0001"
    folder.mkdir(parents=True)
    assert bench.coordinator.receive(task, dataclasses.replace(report, checkpoint=folder))
    ended = bench.state.trials[0, None].attempts_ended[0]
    assert ended.why.startswith("a report that cannot be recorded: ")
    assert message in ended.why
    assert ended.counts


def test_an_exempt_trial_does_not_change_what_becomes_of_the_others(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    """One that a rung would have stopped is not there for the others at later rungs."""
    path = quick_study(trials=40, max_epochs=30)
    path.write_text(path.read_text().replace("[asha]", "[asha]\nexempt_fraction = 0.3"))
    with_some = Bench(load_study(path), tmp_path / "run").run()
    for epoch in (1, 3, 9, 27):
        seen = 0
        for trial in with_some.search_trials():
            rung = trial.rungs.get(epoch)
            would = all(r.value >= r.cutoff for n, r in trial.rungs.items() if n < epoch)
            if rung is not None:
                assert rung.seen == seen + 1
                seen += would
    assert any(
        r.decision == "exempt" and r.value < r.cutoff for t in with_some.search_trials() for r in t.rungs.values()
    )


def test_ray_that_gives_up_ends_the_attempts_and_is_one_line_with_exit_code_3(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from ray.exceptions import RayError

    bench, _ = start(study, tmp_path / "run")

    def give_up() -> int:
        _take_over(tmp_path / "run", bench.coordinator, RayError("a node is gone\nand more"))
        return 0

    assert guarded(give_up) == 3
    err = capsys.readouterr().err
    assert "Ray gave up (RayError: a node is gone); all that was recorded is kept, continue with `seti-tune re" in err
    assert bench.state.trials[0, None].attempts_ended[0].why == "Ray was started again"


def fails(bench: Bench, reason: str) -> Task:
    task = bench.coordinator.next_task()
    assert task is not None
    bench.coordinator.receive(task, Left("failed", reason))
    return task


def test_what_two_trials_raise_at_one_place_is_tried_once_more_in_none(study: Study, tmp_path: Path) -> None:
    bench = Bench(study, tmp_path / "run")
    for attempt in range(3):  # the first trial has its retries
        assert (task := fails(bench, f"ValueError: x{attempt} (mine.py:7)")).trial == 0
        assert task.attempt == attempt
    for trial in (1, 2):
        assert fails(bench, f"ValueError: y{trial} (mine.py:7)").trial == trial
        ended = bench.state.trials[trial, None].ended
        assert ended is not None
        same = "not tried again, as trial 0 failed there with the same exception"
        assert (ended.status, ended.reason) == ("failed", f"ValueError: y{trial} (mine.py:7); {same}")
    for reason in ("ValueError: z (mine.py:8)", "KeyError: z (mine.py:7)", "ValueError: without a place"):
        assert fails(bench, reason).trial == 3
    assert len(bench.state.trials[3, None].failures) == 3


def test_failed_trials_are_opened_again_and_what_failed_before_does_not_count(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    bench = Bench(study, run)
    for _ in range(3):
        fails(bench, "ValueError: no (mine.py:7)")
    fails(bench, "ValueError: no (mine.py:7)")
    bench.recorder.close()
    assert [t.status for t in load_run(run).search_trials()] == ["failed", "failed"]
    with Recorder(run) as recorder:
        recorder.write(StudyResumed(study=study.record(), provenance=Provenance()), *retries(recorder.state))
    assert [(t.status, t.failures) for t in load_run(run).search_trials()] == [("running", [])] * 2
    state = Bench(study, run).run()
    whole = Bench(study, tmp_path / "whole").run()
    assert outcome(state) == outcome(whole), "a trial that is tried again ends as if it had never failed"
    assert retries(state) == []
    kinds = [e.kind for e in read_events(run)]
    assert kinds.count("trial_reopened") == 2
    assert rank_trials(state)[0]
