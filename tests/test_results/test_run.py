"""A run in a notebook: frozen records, frames of one's own, and nothing heavy on the way."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import results
from results.errors import RecordError
from results.log.recorder import EventLog
from results.log.records import Epoch, FinalEvaluated, FinalsDecided, TrialEnded, TrialStarted
from results.log.state import load_run
from results.predictions import Predictions, write_predictions
from results.receipt import write_receipts
from results.run_folder import receipt_path
from results.tables.leaderboard import write_tables


def retraining(trial: int, accuracy: float) -> list[Any]:
    values: Any = {"trial": trial, "repeat": 0}
    return [
        TrialStarted(**values, parameters={}, configuration={}, seed=9, max_epochs=1),
        Epoch(**values, attempt=0, epoch=1, validation_accuracy=accuracy),
        TrialEnded(**values, status="completed", reason="", epochs=1),
    ]


@pytest.fixture
def folder(hand: Any, tmp_path: Path) -> Path:
    """Trial 1 is best, 2 was stopped, 3 runs; the finals confirmed 1 and delivered it."""
    path = tmp_path / "run"
    with EventLog(path) as log:
        log.append(
            hand.study(validation_images=40),
            *hand.trial(0, [0.5, 0.6, 0.55]),
            *hand.trial(1, [0.5, 0.7, 0.8]),
            *hand.trial(2, [0.4], "stopped", reason="ASHA", rungs={1: (0.4, 0.5, "stop")}),
            *hand.trial(3, [float("nan"), 0.3], None),
            *retraining(1, 0.75),
            *retraining(0, 0.5),
            FinalsDecided(finalists=(1, 0), seeds=1, search_trials=3, winner=1, delivered=0),
            FinalEvaluated(trial=1, repeat=0, predictions="final/predictions/0001-0.parquet", n=2, correct=2),
        )
    return path


def test_trials_are_frozen_records_of_what_the_log_says(folder: Path) -> None:
    run = results.load(folder)
    assert (run.name, len(run.trials), len(run.retrainings)) == ("hand", 4, 2)
    best = run.trial(1)
    assert (best.status, best.objective, best.best_epoch, best.seed) == ("completed", 0.8, 3, 1)
    assert best.parameters == {"training.learning_rate": 0.002, "network.filters_1": 16}
    assert [e.validation_accuracy for e in best.epochs] == [0.5, 0.7, 0.8]
    stopped = run.trial(2)
    assert (stopped.reason, stopped.rungs[0].decision) == ("ASHA", "stop")
    running = run.trial(3)
    assert (running.status, running.reason, running.objective, running.best_epoch) == ("running", "", 0.3, 2)
    assert run.trial(1, 0).objective == 0.75
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'objective'"):
        best.objective = 1.0  # type: ignore[misc]
    assert dataclasses.asdict(best)["epochs"][0]["epoch"] == 1
    assert repr(run) == f"<Run hand in {folder}: 4 trials, 2 retrainings>"


def test_frames_are_the_tables_of_the_run_folder_and_changing_one_changes_no_other(folder: Path) -> None:
    write_tables(folder, load_run(folder))
    run = results.load(str(folder))
    assert run.epochs.to_csv(index=False) == (folder / "epochs.csv").read_text(encoding="utf-8")
    assert run.leaderboard.to_csv(index=False) == (folder / "leaderboard.csv").read_text(encoding="utf-8")
    mine = run.leaderboard
    mine.loc[0, "objective"] = 0.0
    assert run.leaderboard.loc[0, "objective"] == 0.8


def test_receipts_are_those_of_the_run_folder(folder: Path) -> None:
    write_receipts(folder, load_run(folder))
    run = results.load(folder)
    assert run.receipt(1).to_text() == receipt_path(folder, 1, None).read_text(encoding="utf-8")
    assert run.receipt(1, 0).to_text() == receipt_path(folder, 1, 0).read_text(encoding="utf-8")
    with pytest.raises(RecordError, match="trial 3 has not ended; continue the run first"):
        run.receipt(3)


def test_finals_hold_the_decision_and_how_the_finalists_stood(folder: Path) -> None:
    finals = results.load(folder).finals
    assert finals is not None
    assert [(s.trial, s.mean) for s in finals.standings] == [(1, 0.75), (0, 0.5)]
    assert (finals.decision.winner, finals.evaluated[0].trial) == (1, 1)


def test_predictions_are_read_of_the_delivered_model_or_of_one_retraining(folder: Path) -> None:
    said = {
        "final/test_predictions.parquet": [0.9, 0.2],
        "final/validation_predictions.parquet": [0.6],
        "final/predictions/0001-0.parquet": [0.7, 0.1],
    }
    for name, ones in said.items():
        y_prob = np.array([[1 - p, p] for p in ones])
        truth = pd.DataFrame(index=range(len(ones)))
        write_predictions(folder / name, Predictions(np.ones(len(ones), int), y_prob, ("no", "yes"), truth))
    run = results.load(folder)
    with pytest.raises(RecordError, match="no model was handed on yet; let the finals end"):
        run.predictions()
    (folder / "final" / "model.json").write_text('{"weights_digest": null}')  # as in the events made by hand
    for found, name in (
        (run.predictions(), "final/test_predictions.parquet"),
        (run.predictions("validation"), "final/validation_predictions.parquet"),
        (run.predictions(key=(1, 0)), "final/predictions/0001-0.parquet"),
    ):
        assert list(found.y_prob[:, 1]) == said[name]
    with pytest.raises(RecordError, match=r"run: key=\(0, 0\) did not predict the test split; those that did: \(1, 0"):
        run.predictions(key=(0, 0))
    with pytest.raises(RecordError, match="split='train': test or validation is expected, and with a key only test"):
        run.predictions("train")


def test_what_is_not_there_is_said_with_what_to_do(hand: Any, tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run folder \(events.jsonl is missing\); give the folder that a search"):
        results.load(tmp_path)
    with EventLog(tmp_path) as log:
        log.append(hand.study(), *hand.trial(0, [0.5]))
    run = results.load(tmp_path)
    assert run.finals is None
    with pytest.raises(RecordError, match="trial 7 is not in the log; see `leaderboard` or `retrainings`"):
        run.trial(7)
    with pytest.raises(RecordError, match="trial 0, seed index 0 is not in the log"):
        run.trial(0, 0)
    with pytest.raises(RecordError, match="no model was handed on yet; let the finals end"):
        run.predictions()


def test_a_run_opens_without_ray_keras_tensorflow_or_optuna_in_less_than_a_second_and_a_half(folder: Path) -> None:
    """Processor time, the best of three: other processes on this machine are no fault of ours."""
    code = f"""
import sys, time
for name in ("ray", "keras", "tensorflow", "optuna", "tune", "seti_model", "search_spaces"):
    sys.modules[name] = None  # importing it is an error from now on
before = time.process_time()
import results
run = results.load({str(folder)!r})
run.leaderboard, run.epochs, run.trials, run.receipt(1)
print(time.process_time() - before)
"""
    took = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(3)
    ]
    assert min(took) < 1.5
