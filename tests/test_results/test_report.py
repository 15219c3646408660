"""What a report says of the finals, from predictions made by hand."""

import dataclasses
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from whole_run import findings

from results.errors import RecordError
from results.finals import detections, recall_against_physics, recall_csv
from results.log import records
from results.log.recorder import EventLog
from results.log.records import Event, FinalEvaluated, FinalsDecided
from results.log.state import RunState, load_run
from results.predictions import Predictions, read_predictions, write_predictions
from results.report.content import report
from results.report.markdown import to_markdown, write_report
from results.report.model_card import model_card
from results.report.sentences import headline
from results.run_folder import VALIDATION_PREDICTIONS
from results.stats.intervals import wilson_interval

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


RIGHT = {(1, 0): 30, (1, 1): 32, (0, 0): 24, (0, 1): 20}


def with_test_split(run: Path, events: list[Event], of: Mapping[tuple[int, int], int] = RIGHT) -> RunState:
    """Of 40 test images the winner's retrainings get 30 and 32 right, the baseline's 24 and 20."""
    for (trial, repeat), right in of.items():
        path = f"final/predictions/{trial:04d}-{repeat}.parquet"
        write_predictions(run / path, predictions(right))
        events.append(FinalEvaluated(trial=trial, repeat=repeat, predictions=path, n=N, correct=right))
    with EventLog(run) as log:
        log.append(*events)
    return load_run(run)


def text_of(run: Path, state: RunState) -> str:
    """The report in words, without drawing its pictures."""
    return to_markdown(report(findings(run, state)))


def said(run: Path, state: RunState) -> str:
    return " ".join(headline(findings(run, state)))


def test_the_report_says_who_won_and_how_optimistic_the_search_was(events: list[Event], tmp_path: Path) -> None:
    text = text_of(tmp_path, with_test_split(tmp_path, events))
    assert (
        "Winner of the finals: trial 1, mean validation accuracy 0.7500 over 2 retrainings; 0.9000 in the search."
    ) in text
    assert (
        "Optimism of the search: its best, trial 1, had 0.9000 there and 0.7500 in the mean of its retrainings "
        "(+0.1500)."
    ) in text


def test_the_delivered_model_is_compared_with_the_baselines_best_retraining_on_the_same_images(
    events: list[Event], tmp_path: Path
) -> None:
    text = text_of(tmp_path, with_test_split(tmp_path, events))
    assert "Delivered model (trial 1, seed index 1): accuracy 0.8000 (0.65" in text
    assert "Baseline (trial 0, seed index 0): accuracy 0.6000" in text
    assert "Delivered model minus baseline on the same images: +0.2000 (" in text
    assert "McNemar p = 0.00781: better." in text


def test_the_report_has_every_number_with_its_interval(events: list[Event], tmp_path: Path) -> None:
    text = text_of(tmp_path, with_test_split(tmp_path, events))
    assert "| trial 1 | 0.9000 | 0.7000, 0.8000 | 0.7500 (0.1147..1.0000) |" in text
    assert "| trial 0 (baseline) | 0.6000 | 0.5500, 0.5000 | 0.5250 (0.2073..0.8427) |" in text
    low, high = wilson_interval(32, 40)
    assert f"Accuracy 0.800 ({low:.3f}..{high:.3f}), macro F1 0.800" in text
    assert "| on | 20 | 0.800 (0.584..0.919) |" in text
    assert "Configuration of the winner (trial 1): accuracy 0.7750 (" in text
    assert "over 2 retrainings and 40 test images" in text
    assert "Configuration of the winner minus that of the baseline: +0.2250 (" in text
    assert "* By bootstrap: accuracy +0.2000 (" in text


def test_the_pictures_and_tables_of_the_report_lie_where_it_says(events: list[Event], tmp_path: Path) -> None:
    path = write_report(findings(tmp_path, with_test_split(tmp_path, events)))
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", path.read_text())
    assert len(pictures) == 8  # curves, finals, confusion and reliability of both, classes and ROC of the winner
    assert "![Confusion matrix of the winner](final/confusion_matrix_winner.png)" in path.read_text()
    for picture in pictures:
        assert (tmp_path / picture).stat().st_size > 5000, picture
    assert (tmp_path / "final/confusion_matrix_winner.csv").read_text().splitlines()[1] == "on,16,4"
    assert "# Model card" in (tmp_path / "final/model_card.md").read_text()


def test_classes_with_noise_have_a_detection_table_and_recall_against_physics(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5]), *retrained(hand, 0, 0, 0.5)]
    events.append(FinalsDecided(finalists=(0,), seeds=1, search_trials=1, winner=0, delivered=0))
    rng = np.random.default_rng(0)

    def network(n: int) -> Predictions:
        """Signals have an amplitude of 0..1 and are the easier to see the stronger they are."""
        labels = np.arange(n) % 2
        amplitude = np.where(labels == 0, rng.uniform(0, 1, n), np.nan)
        signal = np.clip(np.where(labels == 0, amplitude, 0.1 * rng.uniform(0, 1, n)), 0.001, 0.999)
        truth = pd.DataFrame({"amplitude_ratio": amplitude})
        return Predictions(labels, np.stack([signal, 1 - signal], axis=1), ("narrowband", "noise"), truth)

    test = network(400)
    path = "final/predictions/0000-0.parquet"
    write_predictions(tmp_path / path, test)
    write_predictions(tmp_path / "final/validation_predictions.parquet", network(40))
    (tmp_path / "final" / "model.json").write_text('{"weights_digest": null}')  # as in the events made by hand
    evaluated = FinalEvaluated(trial=0, repeat=0, predictions=path, n=400, correct=int(test.correct.sum()))
    text = text_of(tmp_path, RunState([*events, evaluated]))
    row = next(line for line in text.splitlines() if line.startswith("| 0.1 |"))
    assert "| 20 (865) |" in row
    assert float(row.split("|")[6].split()[0]) == pytest.approx(0.91, abs=0.03)  # amplitudes above 0.09 or so
    assert "20 noise images cannot set a false-alarm rate of 0.01: at least 99 are needed" in text
    assert "](final/recall_amplitude_ratio.png)" in text
    (tmp_path / "final" / "model.json").write_text('{"weights_digest": "of an earlier decision"}')
    assert "| 0.1 |" not in text_of(tmp_path, RunState([*events, evaluated]))


def test_the_model_card_says_what_a_stranger_must_know(events: list[Event], tmp_path: Path) -> None:
    card = to_markdown(model_card(findings(tmp_path, with_test_split(tmp_path, events))))
    for words in (
        "# Model card: study hand, trial 1, seed index 1",
        "Classifies radio spectrograms into 2 classes: on, off.",
        "pixel values 0..255",
        "Accuracy 0.800 (",
        "this configuration reached accuracy 0.9000 in the search and 0.7500 in the mean of 2 retrainings",
        "The test split has been used once.",
        "Data set `data/hand`.",
        "d" * 64,
        "| network.filters_1 | 16 |",
        "$ seti-tune retrain final/receipt.json --data data/hand\n",
        "The class it finds least is 'on': recall 0.800 (20 images).",
    ):
        assert words in card


def test_a_baseline_that_is_better_is_said_to_be(events: list[Event], tmp_path: Path) -> None:
    worse = {(1, 0): 24, (1, 1): 20, (0, 0): 30, (0, 1): 32}
    state = with_test_split(tmp_path / "worse", list(events), worse)
    assert "-0.2500 (" in said(tmp_path / "worse", state)
    assert "McNemar p = 0.00195: worse." in said(tmp_path / "worse", state)
    same = dict.fromkeys(worse, 30)
    state = with_test_split(tmp_path / "same", list(events), same)
    assert "McNemar p = 1: no significant difference." in said(tmp_path / "same", state)


def test_a_baseline_that_wins_has_nothing_to_be_compared_with(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5]), *retrained(hand, 0, 0, 0.5)]
    events.append(FinalsDecided(finalists=(0,), seeds=1, search_trials=1, winner=0, delivered=0))
    path = "final/predictions/0000-0.parquet"
    write_predictions(tmp_path / path, predictions(20))
    state = RunState([*events, FinalEvaluated(trial=0, repeat=0, predictions=path, n=N, correct=20)])
    assert findings(tmp_path, state).models_differ is None
    text = said(tmp_path, state)
    assert "Winner of the finals: trial 0 (the baseline), mean validation accuracy 0.5000 over one retraining" in text
    assert "The baseline won the finals: no other finalist has a better mean." in text


def test_a_stale_decision_is_said_on_the_card_too(hand: Any, events: list[Event], tmp_path: Path) -> None:
    state = with_test_split(tmp_path, events)
    for event in hand.trial(2, [0.95]):
        state.apply(event)
    assert "These finals are stale" in to_markdown(model_card(findings(tmp_path, state)))


def test_finals_in_which_every_retraining_was_lost_say_so(hand: Any, tmp_path: Path) -> None:
    lost = [dataclasses.replace(e, repeat=0) for e in hand.trial(0, [], "diverged", reason="loss is nan")]
    state = RunState([hand.study(), *hand.trial(0, [0.5]), *lost])
    assert "The finals decided nothing: one retraining lost, the first one: loss is nan" in said(tmp_path, state)


def test_finals_that_go_on_say_how_far_they_are(hand: Any, tmp_path: Path) -> None:
    state = RunState([hand.study(), *hand.trial(0, [0.5]), *retrained(hand, 0, 0, 0.5)])
    assert "The finals are not finished: 1 of 1 retrainings begun have ended." in said(tmp_path, state)


def test_a_test_split_used_before_decisions_were_recorded_counts(hand: Any, tmp_path: Path) -> None:
    """A log of before finals had several seeds: one retraining each, evaluated without a decision."""
    path = "final/trial-0000/test_predictions.parquet"
    write_predictions(tmp_path / path, predictions(20))
    old = FinalEvaluated(trial=0, repeat=0, predictions=path, n=N, correct=20, model="m", model_digest="d")
    state = RunState([hand.study(), *hand.trial(0, [0.5]), *retrained(hand, 0, 0, 0.5), old])
    assert "those of an earlier version" in said(tmp_path, state)
    state.apply(FinalsDecided(finalists=(0,), seeds=1, search_trials=1, winner=0, delivered=0))
    assert "The test split has been used 2 times (2 by finals of this run)" in said(tmp_path, state)


def test_one_test_image_gives_no_interval_over_retrainings(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *hand.trial(0, [0.5])]
    for repeat in (0, 1):
        events += retrained(hand, 0, repeat, 0.5)
    events.append(FinalsDecided(finalists=(0,), seeds=2, search_trials=1, winner=0, delivered=0))
    whole = predictions(1)
    one = dataclasses.replace(whole, y_true=TRUTH[:1], y_prob=whole.y_prob[:1], truth=whole.truth[:1])
    for repeat in (0, 1):
        path = f"final/predictions/0000-{repeat}.parquet"
        write_predictions(tmp_path / path, one)
        events.append(FinalEvaluated(trial=0, repeat=repeat, predictions=path, n=1, correct=1))
    assert "Configuration of" not in text_of(tmp_path, RunState(events))


def test_what_is_no_number_in_the_truth_of_the_images_is_left_out(tmp_path: Path) -> None:
    truth = pd.DataFrame({"instrument": ["a"] * 40, "snr": [np.inf] * 20 + [1.0] * 20})
    p = dataclasses.replace(predictions(30), class_names=("signal", "noise"), truth=truth)
    found = recall_against_physics(p)
    assert list(found) == ["snr"]
    assert sum(one.n for one in found["snr"][0].bins) == 10
    rows = recall_csv(found).splitlines()
    assert rows[0].startswith("quantity,class,low,median,high,images,recall,")
    assert rows[1].startswith("snr,signal,1.0,1.0,1.0,10,")


def test_retrainings_that_did_not_complete_are_named(hand: Any, events: list[Event], tmp_path: Path) -> None:
    lost = [dataclasses.replace(e, repeat=1) for e in hand.trial(0, [], "diverged", reason="loss is nan")]
    kept = [e for e in events if (getattr(e, "trial", None), getattr(e, "repeat", None)) != (0, 1)]
    text = said(tmp_path, RunState([*kept, *lost]))
    assert "Trial 0: 1 of 2 retrainings did not complete (diverged: loss is nan)." in text


def test_every_use_of_the_test_split_is_counted(events: list[Event], tmp_path: Path) -> None:
    state = with_test_split(tmp_path, events)
    assert "The test split has been used once." in said(tmp_path, state)
    state.apply(records.TestUnlocked(command="evaluate", model="final/model.keras", weights_digest="d"))
    state.apply(dataclasses.replace(state.decisions[-1], earlier_uses=3))
    assert (
        "The test split has been used 6 times (2 by finals of this run, 1 unlocked for a model of this run, "
        "3 by others before): each use makes its results more optimistic."
    ) in said(tmp_path, state)


def test_predictions_that_do_not_fit_the_log_are_refused(events: list[Event], tmp_path: Path) -> None:
    state = with_test_split(tmp_path, events)
    folder = tmp_path / "final" / "predictions"
    shutil.copy(folder / "0000-0.parquet", folder / "0001-1.parquet")
    with pytest.raises(RecordError, match="24 of 40 right, the log says 32 of 40; delete it and continue"):
        report(findings(tmp_path, state))
    (folder / "0001-1.parquet").unlink()
    with pytest.raises(RecordError, match=r"0001-1\.parquet: missing; continue the run"):
        report(findings(tmp_path, state))


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
    with pytest.raises(RecordError, match=r"p\.parquet: cannot be read as predictions \(.*\); delete it and"):
        read_predictions(tmp_path / "p.parquet")


@pytest.mark.parametrize(
    ("column", "value", "why"),
    [
        ("y_true", 2, r"y_true holds others than the classes 0\.\.1"),
        ("y_true", "noise", "a column that holds no numbers"),
        ("p:off", float("nan"), r"a probability outside 0\.\.1"),
        ("p:off", 1.5, r"a probability outside 0\.\.1"),
        ("p:off", "high", "a column that holds no numbers"),
        ("y_true", None, "'y_true'"),
    ],
)
def test_predictions_with_impossible_values_are_refused(tmp_path: Path, column: str, value: object, why: str) -> None:
    file = tmp_path / "p.parquet"
    write_predictions(file, predictions(30))
    frame = pd.read_parquet(file)
    (frame.drop(columns=column) if value is None else frame.assign(**{column: value})).to_parquet(file)
    with pytest.raises(RecordError, match=rf"p\.parquet: cannot be read as predictions \({why}\); delete it and"):
        read_predictions(file)


def test_validation_predictions_of_other_classes_set_no_threshold(tmp_path: Path) -> None:
    truth, none = np.array([0, 1]), pd.DataFrame(index=range(2))
    test = Predictions(truth, np.eye(2), ("tone", "noise"), none)
    (tmp_path / "final").mkdir()
    write_predictions(tmp_path / VALIDATION_PREDICTIONS, Predictions(truth, np.eye(2), ("noise", "hum"), none))
    words = "other classes than those of the test images; delete it and continue the run with `seti-tune resume RUN`"
    with pytest.raises(RecordError, match=words):
        detections(tmp_path, test)
