"""What the finals found, in numbers: stored predictions checked against the log, and every statistic of the report.

Two targets are kept apart: the delivered model on new images, and the configuration over further retrainings.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np

from results.errors import RecordError
from results.finals import baseline_of, standings
from results.log.records import FinalsDecided
from results.log.state import RunState
from results.predictions import Predictions, read_predictions
from results.stats.bootstrap import DeliveredEstimates, PairedEstimates, delivered_estimates, paired_estimates
from results.stats.detection import (
    Detection,
    DetectionError,
    RecallCurve,
    detection_at_threshold,
    recall_by_quantity,
    signal_scores,
    threshold_at_rate,
)
from results.stats.intervals import Estimate, PairedDifference, paired_difference_interval
from results.stats.metrics import ClassificationMetrics, classification_metrics
from results.stats.seeds import RetrainedAccuracy, accuracy_over_retrainings, difference_over_retrainings

FINAL = "final"
TEST_PREDICTIONS = f"{FINAL}/test_predictions.parquet"
VALIDATION_PREDICTIONS = f"{FINAL}/validation_predictions.parquet"
DESCRIPTION = f"{FINAL}/model.json"
NOISE = "noise"  # the class without a signal, by its name
FALSE_ALARM_RATES = (0.1, 0.01)


class Role(StrEnum):
    """As what a configuration predicted the test split."""

    WINNER = "winner"
    BASELINE = "baseline"


@dataclass(frozen=True)
class Tested:
    """One configuration on the test split, with all its retrainings; `delivered` is the best of them on validation."""

    role: Role
    trial: int
    repeats: tuple[int, ...]
    predictions: tuple[Predictions, ...]
    delivered: int

    @property
    def of_delivered(self) -> Predictions:
        """Predictions of the retraining that is handed on, or that stands for the baseline."""
        return self.predictions[self.repeats.index(self.delivered)]

    @cached_property
    def metrics(self) -> ClassificationMetrics:
        """The usual numbers and the confusion matrix of that retraining."""
        p = self.of_delivered
        return classification_metrics(p.y_true, p.y_prob, p.class_names)

    @cached_property
    def numbers(self) -> DeliveredEstimates:
        """Every number of that retraining with its interval."""
        p = self.of_delivered
        return delivered_estimates(p.y_true, p.y_prob, p.class_names)

    @property
    def over_retrainings(self) -> RetrainedAccuracy | None:
        """Accuracy of the configuration, seeds and images both random; None from a single seed or image."""
        correct = np.stack([p.correct for p in self.predictions])
        return accuracy_over_retrainings(correct) if min(correct.shape) > 1 else None


@dataclass(frozen=True)
class DetectionRow:
    """The delivered model at one false-alarm rate, or why there is no threshold for it."""

    rate: float
    detection: Detection | None
    why_not: str


def read_tested(run: Path, state: RunState) -> list[Tested]:
    """Return winner and baseline of the latest decision on the test split, the winner first.

    Without predictions (a trainable of one's own, or an interrupted evaluation) there are none.

    Raises:
        RecordError: Predictions are missing or do not give the accuracy that the log holds.
    """
    if not state.decisions:
        return []
    decision = state.decisions[-1]
    roles = {Role.WINNER: decision.winner}
    if (baseline := baseline_of(state, decision)) not in (None, decision.winner):
        roles |= {Role.BASELINE: baseline}
    tested = []
    for role, trial in roles.items():
        repeats = tuple(r for r in range(decision.seeds) if (trial, r) in state.finals)
        best = standings(state, [trial], decision.seeds)[0]
        if best.objectives and best.best_repeat in repeats:
            predictions = tuple(_read(run, state, trial, repeat) for repeat in repeats)
            tested.append(Tested(role, trial, repeats, predictions, best.best_repeat))
    return tested


def is_delivered(run: Path, state: RunState, decision: FinalsDecided) -> bool:
    """Return whether the model in `final/` is the one that was decided: an earlier one stays until it is replaced."""
    ended = state.trials[decision.winner, decision.delivered].ended
    try:
        written = json.loads((run / DESCRIPTION).read_text(encoding="utf-8"))["weights_digest"]
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return ended is not None and bool(written == ended.best_weights_digest)


def compare_delivered(tested: Sequence[Tested]) -> PairedDifference | None:
    """Return accuracy of the delivered model minus that of the baseline's on the same images; None without both."""
    pair = _winner_and_baseline(tested)
    return (
        None if pair is None else paired_difference_interval(pair[0].of_delivered.correct, pair[1].of_delivered.correct)
    )


def bootstrap_difference(tested: Sequence[Tested]) -> PairedEstimates | None:
    """Return the same by bootstrap, with macro F1 beside accuracy."""
    pair = _winner_and_baseline(tested)
    if pair is None:
        return None
    winner, baseline = (one.of_delivered for one in pair)
    return paired_estimates(winner.y_true, winner.y_prob, baseline.y_prob)


def compare_configurations(tested: Sequence[Tested]) -> Estimate | None:
    """Return the accuracy of the winner minus that of the baseline over retrainings; None where either has none."""
    pair = _winner_and_baseline(tested)
    if pair is None or any(one.over_retrainings is None for one in pair):
        return None
    winner, baseline = (np.stack([p.correct for p in one.predictions]) for one in pair)
    return difference_over_retrainings(winner, baseline)


def detections(run: Path, state: RunState, test: Predictions) -> list[DetectionRow]:
    """Return what the delivered model finds at fixed false-alarm rates.

    Nothing where no class is called noise, or while the decided model is not handed on.

    Raises:
        RecordError: The predictions of the validation split, which set the thresholds, are missing or damaged.
    """
    if NOISE not in test.class_names or not is_delivered(run, state, state.decisions[-1]):
        return []
    noise = test.class_names.index(NOISE)
    validation = read_predictions(run / VALIDATION_PREDICTIONS)
    scores = signal_scores(validation.y_prob, noise)[validation.y_true == noise]
    rows = []
    for rate in FALSE_ALARM_RATES:
        try:
            threshold = threshold_at_rate(scores, rate)
        except DetectionError as error:
            rows.append(DetectionRow(rate, None, str(error)))
            continue
        found = detection_at_threshold(threshold, test.y_true, test.y_prob, test.class_names, noise_class=noise)
        rows.append(DetectionRow(rate, found, ""))
    return rows


def recall_against_physics(test: Predictions) -> dict[str, tuple[RecallCurve, ...]]:
    """Return recall against each quantity that is known of the images, by its name; signs are of no interest."""
    if NOISE not in test.class_names:
        return {}
    noise = test.class_names.index(NOISE)
    found = {}
    for name in test.truth.select_dtypes("number").columns:
        values = np.abs(test.truth[name].to_numpy(np.float64))
        values[np.isinf(values)] = np.nan
        curves = recall_by_quantity(test.y_true, test.y_prob, values, test.class_names, noise_class=noise)
        if curves:
            found[str(name)] = curves
    return found


def recall_csv(found: Mapping[str, Sequence[RecallCurve]]) -> str:
    """Return `recall_against_physics` as CSV, one row for each quantity, class and bin."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    limits = [f"{share}{end}" for share in ("recall", "detected") for end in ("", "_low", "_high")]
    writer.writerow(["quantity", "class", "low", "median", "high", "images", *limits])
    for quantity, curves in found.items():
        for curve in curves:
            for one in curve.bins:
                estimates = [x for e in (one.recall, one.detected) for x in (e.value, e.low, e.high)]
                writer.writerow([quantity, curve.class_name, one.low, one.median, one.high, one.n, *estimates])
    return text.getvalue()


def _winner_and_baseline(tested: Sequence[Tested]) -> tuple[Tested, Tested] | None:
    return (tested[0], tested[1]) if [one.role for one in tested] == [Role.WINNER, Role.BASELINE] else None


def _read(run: Path, state: RunState, trial: int, repeat: int) -> Predictions:
    evaluated = state.finals[trial, repeat]
    path = run / evaluated.predictions
    found = read_predictions(path)
    right, n = int(found.correct.sum()), len(found.y_true)
    if (n, right) != (evaluated.n, evaluated.correct):
        raise RecordError(
            f"{path}: {right} of {n} right, the log says {evaluated.correct} of {evaluated.n}; delete it and continue "
            "the run with `seti-tune resume RUN`, which predicts again"
        )
    return found
