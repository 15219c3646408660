"""What a report says of the finals, from predictions made by hand."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from results import records
from results.final_report import compare_delivered, finals_sentences, read_tested
from results.predictions import Predictions, read_predictions, write_predictions
from results.records import Event, FinalEvaluated, FinalsDecided, RecordError
from results.report import write_report
from results.state import RunState, load_run
from results.store import EventLog

N = 40
TRUTH = np.arange(N) % 2


def predictions(right: int) -> Predictions:
    """The first `right` of 40 images are right, all with a probability of 0.9."""
    predicted = np.where(np.arange(N) < right, TRUTH, 1 - TRUTH)
    truth = pd.DataFrame({"snr": np.arange(N) / N})
    return Predictions(TRUTH, np.eye(2)[predicted] * 0.8 + 0.1, ("on", "off"), truth)


def retrained(hand: Any, trial: int, repeat: int, objective: float) -> list[Event]:
    return [dataclasses.replace(e, repeat=repeat) for e in hand.trial(trial, [0.1, objective])]


@pytest.fixture
def events(hand: Any) -> list[Event]:
    """Trial 1 wins with a mean of 0.75 after 0.9 in the search; its second retraining is delivered."""
    found = [hand.study(), *hand.trial(0, [0.1, 0.6]), *hand.trial(1, [0.1, 0.9])]
    for trial, objectives in ((1, (0.7, 0.8)), (0, (0.55, 0.5))):
        for repeat, objective in enumerate(objectives):
            found += retrained(hand, trial, repeat, objective)
    return [*found, FinalsDecided(finalists=(1, 0), seeds=2, search_trials=2, winner=1, delivered=1)]


def with_test_split(run: Path, events: list[Event]) -> RunState:
    """Of 40 test images the winner's retrainings get 30 and 32 right, the baseline's 24 and 20."""
    for (trial, repeat), right in {(1, 0): 30, (1, 1): 32, (0, 0): 24, (0, 1): 20}.items():
        path = f"final/predictions/{trial:04d}-{repeat}.parquet"
        write_predictions(run / path, predictions(right))
        events.append(FinalEvaluated(trial=trial, repeat=repeat, predictions=path, n=N, correct=right))
    with EventLog(run) as log:
        log.append(*events)
    return load_run(run)


def test_the_report_says_who_won_and_what_the_search_had_promised(events: list[Event], tmp_path: Path) -> None:
    text = write_report(tmp_path, with_test_split(tmp_path, events)).read_text()
    assert (
        "Winner of the finals: trial 1, mean validation accuracy 0.7500 over 2 retrainings; "
        "the search had promised 0.9000 (+0.1500)."
    ) in text


def test_the_delivered_model_is_compared_with_the_baselines_best_retraining_on_the_same_images(
    events: list[Event], tmp_path: Path
) -> None:
    text = write_report(tmp_path, with_test_split(tmp_path, events)).read_text()
    assert "The delivered model (trial 1, retraining 1) on new images: test accuracy 0.8000, 95 % interval 0.65" in text
    assert "The baseline's best retraining (trial 0, retraining 0) on new images: test accuracy 0.6000" in text
    assert "Delivered model minus the baseline's on the same test images: +0.2000" in text
    assert "McNemar p = 0.00781: the delivered model is better." in text
    assert (tmp_path / "final/confusion_matrix_winner.csv").read_text().splitlines()[1] == "on,16,4"
    assert (tmp_path / "final/confusion_matrix_baseline.png").stat().st_size > 5000


def test_a_baseline_that_is_better_is_said_to_be(events: list[Event], tmp_path: Path) -> None:
    tested = read_tested(tmp_path, with_test_split(tmp_path, events))
    swapped = [dataclasses.replace(a, predictions=b.predictions) for a, b in zip(tested, tested[::-1], strict=True)]
    state = load_run(tmp_path)
    assert "the baseline's is better." in " ".join(finals_sentences(state, swapped))
    same = [dataclasses.replace(one, predictions=tested[0].predictions) for one in tested]
    assert "40 test images do not show a difference." in " ".join(finals_sentences(state, same))


def test_a_baseline_that_wins_has_nothing_to_be_compared_with(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5]), *retrained(hand, 0, 0, 0.5)]
    events.append(FinalsDecided(finalists=(0,), seeds=1, search_trials=1, winner=0, delivered=0))
    path = "final/predictions/0000-0.parquet"
    write_predictions(tmp_path / path, predictions(20))
    state = RunState([*events, FinalEvaluated(trial=0, repeat=0, predictions=path, n=N, correct=20)])
    tested = read_tested(tmp_path, state)
    assert compare_delivered(tested) is None
    text = " ".join(finals_sentences(state, tested))
    assert "Winner of the finals: trial 0 (the baseline), mean validation accuracy 0.5000 over one retraining" in text
    assert "Nothing that was searched is better than the baseline" in text


def test_retrainings_that_did_not_complete_are_named(hand: Any, events: list[Event]) -> None:
    lost = [dataclasses.replace(e, repeat=1) for e in hand.trial(0, [], "diverged", reason="loss is nan")]
    kept = [e for e in events if (getattr(e, "trial", None), getattr(e, "repeat", None)) != (0, 1)]
    text = " ".join(finals_sentences(RunState([*kept, *lost]), []))
    assert "Trial 0: 1 of 2 retrainings did not complete (diverged: loss is nan)." in text


def test_every_use_of_the_test_split_is_counted(events: list[Event], tmp_path: Path) -> None:
    state = with_test_split(tmp_path, events)
    assert "The test split has been used once." in finals_sentences(state, read_tested(tmp_path, state))
    state.apply(records.TestUnlocked(command="evaluate", model="final/model.keras", weights_digest="d"))
    state.apply(dataclasses.replace(state.decisions[-1], earlier_uses=3))
    assert (
        "The test split has been used 6 times (2 by finals of this run, 1 unlocked for a model of this run, "
        "3 by others before): every use makes it less of a test."
    ) in finals_sentences(state, read_tested(tmp_path, state))


def test_predictions_that_do_not_fit_the_log_are_refused(events: list[Event], tmp_path: Path) -> None:
    state = with_test_split(tmp_path, events)
    folder = tmp_path / "final" / "predictions"
    shutil.copy(folder / "0000-0.parquet", folder / "0001-1.parquet")
    with pytest.raises(RecordError, match="24 of 40 right, the log says 32 of 40; restore it from a copy"):
        read_tested(tmp_path, state)
    (folder / "0001-1.parquet").unlink()
    with pytest.raises(RecordError, match=r"0001-1\.parquet: missing; restore it"):
        read_tested(tmp_path, state)


def test_predictions_survive_their_file(tmp_path: Path) -> None:
    written = predictions(30)
    write_predictions(tmp_path / "p.parquet", written)
    found = read_predictions(tmp_path / "p.parquet")
    assert np.array_equal(found.y_true, written.y_true)
    assert np.array_equal(found.y_prob, written.y_prob)
    assert found.class_names == written.class_names
    assert found.truth.equals(written.truth)
    assert [p.name for p in tmp_path.iterdir()] == ["p.parquet"]


@pytest.mark.parametrize("content", [b"PAR1 no", b""])
def test_a_file_that_holds_no_predictions_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.parquet").write_bytes(content)
    with pytest.raises(RecordError, match=r"p\.parquet: cannot be read as predictions \(.*\); restore it from a copy"):
        read_predictions(tmp_path / "p.parquet")
