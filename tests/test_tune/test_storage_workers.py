"""Attempts whose checkpoints go to a store, on the disk of their worker, and what is done with them afterwards."""

from __future__ import annotations

import dataclasses
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from stores import WAITS_S, S3Server

from results.log.recorder import Recorder
from results.log.records import (
    Checkpoint,
    Status,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from results.study import Provenance, StudyRecord, StudySection
from tune.process.upkeep import Upkeep
from tune.storage import scratch as scratches
from tune.storage import store as stores
from tune.storage.checkpoints import Checkpoints
from tune.storage.scratch import Scratch, scratch_folder, shared_folder, sweep
from tune.storage.store import Store
from tune.trainable import AttemptOutcome, Entered, EpochReport, Left, OnEpoch, Task, run_attempt


def opening() -> StudyStarted:
    study = StudySection(name="s", max_epochs=2, trials=4, space="line")
    return StudyStarted(
        study=StudyRecord(study=study),
        space={"parameters": {"x": {"type": "float"}}},
        space_fingerprint="f",
        data_digest=None,
        provenance=Provenance(),
    )


def trial(number: int) -> TrialStarted:
    return TrialStarted(trial=number, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=1, max_epochs=2)


def task(run: Path, store: Store, **more: object) -> Task:
    return Task(
        trial=0,
        repeat=None,
        attempt=1,
        configuration={},
        seed=1,
        max_epochs=3,
        checkpoint_folder=run / "checkpoints" / "0000" / "1",
        storage=store.uri,
        **more,
    )


def run_in_scratch(task: Task, trainable: Callable[[Task, object, OnEpoch], None], tell: object) -> None:
    with scratch_folder() as folder:
        scratch = Scratch(task, folder)
        run_attempt(task, None, scratch.trainable(trainable), scratch.tell(tell))
    assert not folder.exists()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Short waits, a folder for temporary files of its own."""
    monkeypatch.setattr(stores, "store_at", lambda uri: Store(uri, waits_s=WAITS_S))
    monkeypatch.setattr(scratches, "store_at", lambda uri: Store(uri, waits_s=WAITS_S))
    monkeypatch.setattr(scratches.tempfile, "tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()


def keeps_the_last(task: Task, data: object, on_epoch: OnEpoch) -> None:
    """Write a checkpoint an epoch and remove the one before it, as our networks do."""
    start = 0 if task.resume_from is None else int((task.resume_from / "state.json").read_text())
    for number in range(start + 1, task.max_epochs + 1):
        folder = task.checkpoint_folder / f"{number:04d}"
        folder.mkdir(parents=True)
        (folder / "state.json").write_text(str(number))
        if on_epoch(EpochReport(epoch=number, validation_accuracy=0.5, checkpoint=folder)):
            return
        shutil.rmtree(task.checkpoint_folder / f"{number - 1:04d}", ignore_errors=True)


@pytest.mark.usefixtures("patient")
def test_a_checkpoint_is_in_the_store_before_its_epoch_is_told(store: Store, tmp_path: Path) -> None:
    run, said, there = tmp_path / "run", [], []

    def tell(message: Entered | EpochReport | Left) -> bool:
        said.append(message)
        there.append(store.files("checkpoints"))
        return False

    run_in_scratch(task(run, store), keeps_the_last, tell)
    assert [m.checkpoint for m in said if isinstance(m, EpochReport)] == [
        run / "checkpoints/0000/1" / f"{n:04d}" for n in (1, 2, 3)
    ]
    kept = [[key.split("/")[3] for key in keys] for keys in there]
    assert kept == [[], ["0001"], ["0001", "0002"], ["0002", "0003"], ["0003"]]
    assert said[-1] == Left(AttemptOutcome.RETURNED, "")
    assert not run.exists()
    second = task(run, store, resume_from=run / "checkpoints/0000/1/0003")
    said.clear()
    run_in_scratch(dataclasses.replace(second, max_epochs=4), keeps_the_last, tell)
    assert [m.epoch for m in said if isinstance(m, EpochReport)] == [4]


@pytest.mark.usefixtures("patient")
def test_a_checkpoint_that_is_gone_from_the_store_is_lost(store: Store, tmp_path: Path) -> None:
    said: list[object] = []
    gone = task(tmp_path, store, resume_from=tmp_path / "checkpoints/0000/0/0001")
    run_in_scratch(gone, keeps_the_last, lambda message: said.append(message))
    reason = f"{store.named('checkpoints/0000/0/0001')}: is not there any more"
    assert said[1:] == [Left(AttemptOutcome.CHECKPOINT, reason)]


@pytest.mark.usefixtures("patient")
def test_a_full_disk_here_is_no_silence_of_the_store(store: Store, small_disk: Path, tmp_path: Path) -> None:
    folder = tmp_path / "0001"
    folder.mkdir()
    (folder / "state.json").write_bytes(os.urandom(200_000))
    store.put(folder, "checkpoints/0000/0/0001")
    said: list[object] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scratches.tempfile, "tempdir", str(small_disk))
        patch.setattr(scratches, "store_at", lambda uri: Store(uri, waits_s=(60.0,)))
        began = time.monotonic()
        resumed = task(tmp_path, store, resume_from=tmp_path / "checkpoints/0000/0/0001")
        run_in_scratch(resumed, keeps_the_last, lambda message: said.append(message))
    assert time.monotonic() - began < 30, "asked the store again"
    [left] = said[1:]
    assert isinstance(left, Left)
    assert left.outcome == AttemptOutcome.NO_SPACE
    assert "state.json: cannot be written (No space left on device); free some space there" in left.reason


@pytest.mark.usefixtures("patient")
def test_the_model_that_trials_start_from_is_fetched_with_what_lies_beside_it(store: Store, tmp_path: Path) -> None:
    found: list[object] = []
    said: list[object] = []

    def looks(task: Task, data: object, on_epoch: OnEpoch) -> None:
        assert task.init_from is not None
        found.extend(sorted(path.name for path in task.init_from.parent.iterdir()))

    start = task(tmp_path, store, init_from=tmp_path / "init_from/model.keras")
    run_in_scratch(start, looks, lambda message: said.append(message))
    assert isinstance(said[-1], Left)
    assert said[-1].outcome == AttemptOutcome.STORAGE
    assert said[-1].reason.endswith("/init_from: is not there any more; put it back from a copy")
    store.write("init_from/model.keras", b"")
    store.write("init_from/model.json", b"")
    run_in_scratch(start, looks, lambda message: said.append(message))
    assert found == ["model.json", "model.keras"]


@pytest.mark.usefixtures("patient")
def test_an_upload_that_fails_is_no_fault_of_the_configuration(server: S3Server, uri: str, tmp_path: Path) -> None:
    said: list[object] = []

    def swallows(task: Task, data: object, on_epoch: OnEpoch) -> None:
        try:
            keeps_the_last(task, data, on_epoch)
        except Exception as error:
            raise ValueError("my training failed") from error

    store = Store(uri)
    server.fail("PUT", "0002", times=3)
    run_in_scratch(task(tmp_path, store), swallows, lambda message: said.append(message))
    assert [m.epoch for m in said if isinstance(m, EpochReport)] == [1, 2, 3], "three tries were not enough to fail"
    said.clear()
    server.fail("PUT", "0002", times=100)
    run_in_scratch(task(tmp_path, store), swallows, lambda message: said.append(message))
    assert [m.epoch for m in said if isinstance(m, EpochReport)] == [1]
    assert isinstance(said[-1], Left)
    assert said[-1].outcome == AttemptOutcome.STORAGE
    assert "0002/state.json: no answer to 4 tries" in said[-1].reason


@pytest.mark.usefixtures("patient")
def test_what_killed_workers_left_behind_is_removed_and_what_others_use_is_not(tmp_path: Path) -> None:
    with scratch_folder() as in_use:
        left = in_use.with_name("attempt-left")
        left.mkdir()
        (left / ".lock").touch()
        shared = shared_folder("s3://bucket/x")
        with scratch_folder() as other:
            assert not left.exists()
            assert in_use.exists()
            assert shared.exists()
            assert other != in_use
    scratches._held.pop(shared).close()
    sweep()
    assert not shared.exists()


def test_the_training_state_of_an_ended_trial_goes_from_the_store(store: Store, tmp_path: Path) -> None:
    names = [
        f"checkpoints/{t}/0/{e}/{f}" for t in ("0000", "0001") for e in ("0001", "0002") for f in ("s", "state.npz")
    ]
    for name in names:
        store.write(name, b"")
    kept = ["checkpoints/0000/0/0002/s", *names[4:]]
    with Recorder(tmp_path) as recorder:
        first, last = (
            Checkpoint(trial=0, attempt=0, epoch=n, path=f"checkpoints/0000/0/{n:04d}", bytes=1, digest="d")
            for n in (1, 2)
        )
        end = TrialEnded(trial=0, status=Status.COMPLETED, reason="", epochs=2, best_epoch=2, objective=0.5)
        recorder.write(opening(), trial(0), trial(1), first, last)
        with Upkeep(recorder, keeps_training_state=False, storage=store.uri):
            recorder.write(end)
        assert store.files("checkpoints") == kept
        store.write("checkpoints/0000/0/0001/s", b"")
        with Upkeep(recorder, keeps_training_state=False, storage=store.uri):
            pass
        assert store.files("checkpoints") == kept
    checkpoints = Checkpoints(tmp_path / "empty", store.uri)
    assert checkpoints.exists("checkpoints/0001/0/0002")
    assert not checkpoints.exists("checkpoints/0000/0/0001")
    assert sorted(p.name for p in checkpoints.here("checkpoints/0001/0/0002").iterdir()) == ["s"]
