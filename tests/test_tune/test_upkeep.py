"""Beside a search: tables are kept up to date and disk space is given back, and neither can end or hold up a search."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from results.log.recorder import Recorder
from results.log.records import AttemptStarted, Checkpoint, Epoch, Status, StudyStarted, TrialEnded, TrialStarted
from results.study import Provenance, StudyRecord, StudySection
from tune.process import upkeep
from tune.process.upkeep import Upkeep


@pytest.fixture
def recorder(tmp_path: Path) -> Recorder:
    recorder = Recorder(tmp_path / "run")
    recorder.write(
        StudyStarted(
            study=StudyRecord(study=StudySection(name="s", max_epochs=2, trials=4, space="line")),
            space={"parameters": {"x": {"type": "float"}}},
            space_fingerprint="f",
            data_digest=None,
            provenance=Provenance(),
        )
    )
    return recorder


def train(recorder: Recorder, number: int) -> Path:
    """Record a trial of two epochs, each with a checkpoint as the course network's; return their folder."""
    folder = recorder.run / "checkpoints" / f"{number:04d}" / "0"
    recorder.write(
        TrialStarted(trial=number, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=1, max_epochs=2),
        AttemptStarted(trial=number, attempt=0),
    )
    for epoch in (1, 2):
        path = folder / f"{epoch:04d}"
        path.mkdir(parents=True)
        for name in ("state.npz", "best_weights.npz"):
            (path / name).write_bytes(b"0" * 100)
        recorder.write(
            Epoch(trial=number, attempt=0, epoch=epoch, validation_accuracy=0.5),
            Checkpoint(
                trial=number,
                attempt=0,
                epoch=epoch,
                path=path.relative_to(recorder.run).as_posix(),
                bytes=200,
                digest="d",
            ),
        )
    return folder


def end(recorder: Recorder, number: int) -> None:
    recorder.write(TrialEnded(trial=number, status=Status.COMPLETED, reason="all epochs done", epochs=2))


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < limit, "it did not happen in time"
        time.sleep(0.01)


def test_the_training_state_of_an_ended_trial_goes_during_the_search_and_that_of_a_live_one_stays(
    recorder: Recorder,
) -> None:
    with recorder, Upkeep(recorder, keeps_training_state=False):
        ended, live = train(recorder, 0), train(recorder, 1)
        end(recorder, 0)
        wait_for(lambda: not (ended / "0001").exists() and not (ended / "0002" / "state.npz").exists())
        assert (ended / "0002" / "best_weights.npz").exists()
        assert len(list(live.glob("*/*"))) == 4


def test_what_an_interrupted_driver_left_behind_goes_at_the_start(recorder: Recorder) -> None:
    with recorder:
        folder = train(recorder, 0)
        end(recorder, 0)
        with Upkeep(recorder, keeps_training_state=False):
            wait_for(lambda: not (folder / "0001").exists())


def test_checkpoints_of_a_trainable_of_ones_own_stay_as_they_are(recorder: Recorder) -> None:
    with recorder:
        with Upkeep(recorder, keeps_training_state=True):
            folder = train(recorder, 0)
            end(recorder, 0)
        assert len(list(folder.glob("*/*"))) == 4


def test_tables_are_written_beside_the_search_and_not_by_its_thread(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "TABLES_EVERY_S", 0.0)
    with recorder, Upkeep(recorder, keeps_training_state=True):
        train(recorder, 0)
        before = threading.active_count()
        end(recorder, 0)
        assert threading.active_count() > before, "the tables are written by the thread that decides"
        wait_for(lambda: (recorder.run / "leaderboard.csv").exists())
    assert "completed" in (recorder.run / "leaderboard.csv").read_text()


def test_a_search_that_ends_does_not_wait_for_tables_and_nothing_half_written_is_left(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(upkeep, "TABLES_EVERY_S", 0.0)
    with recorder, Upkeep(recorder, keeps_training_state=True) as beside:
        train(recorder, 0)
        end(recorder, 0)
        assert not beside.is_idle
    assert beside.is_idle
    assert not capsys.readouterr().err
    assert {path.name for path in recorder.run.iterdir()} <= {"events.jsonl", "checkpoints", "epochs.csv"}


def test_tables_that_cannot_be_written_are_one_note_and_the_search_goes_on(
    recorder: Recorder, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(upkeep, "TABLES_EVERY_S", 0.0)
    (recorder.run / "epochs.csv").mkdir()
    with recorder, Upkeep(recorder, keeps_training_state=True) as beside:
        train(recorder, 0)
        end(recorder, 0)
        wait_for(lambda: beside.is_idle)
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"note: {recorder.run}: ")
    assert "epochs.csv: this is a folder" in line
    assert line.endswith("; the search goes on")
