"""The finals: who is retrained from fresh seeds, who wins on validation, what winner and baseline do on the test split.

Two targets are kept apart: the delivered model on new images, and the configuration over further retrainings.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.files import inside, read_moderate
from results.log.records import FinalsDecided, Status
from results.log.state import RunState, TrialState
from results.objective import Objective
from results.predictions import Predictions, read_predictions
from results.run_folder import DESCRIPTION, MODEL, VALIDATION_PREDICTIONS
from results.schema import SchemaError, parse_json
from results.stats.bootstrap import DeliveredEstimates, delivered_estimates
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
from results.stats.objectives import drawn_difference, drawn_values, interval, objective_value
from results.stats.seeds import (
    RetrainedMean,
    accuracy_over_retrainings,
    difference_over_retrainings,
    drawn_difference_over_retrainings,
    drawn_over_retrainings,
    objective_over_retrainings,
)
from results.text import csv_cell

NOISE = "noise"  # the class without a signal, by its name
FALSE_ALARM_RATES = (0.1, 0.01)


@dataclass(frozen=True)
class Standing:
    """A finalist: what the search saw of it and what its retrainings reached, all on validation.

    `objectives` and `repeats` are those of the retrainings that were completed, `lost` says how the others ended.
    """

    trial: int
    is_baseline: bool
    searched: float  # its objective in the search; NaN where it had none
    repeats: tuple[int, ...]
    objectives: tuple[float, ...]
    lost: tuple[str, ...]
    ranked_by: Objective = field(default_factory=Objective)

    @property
    def mean(self) -> float:
        """Mean objective over the completed retrainings; NaN without one."""
        return statistics.fmean(self.objectives) if self.objectives else math.nan

    @property
    def merit(self) -> float:
        """The mean, the higher the better; -inf without one."""
        return self.ranked_by.merit(self.mean) if self.objectives else -math.inf

    @property
    def over_seeds(self) -> Estimate:
        """The mean with Student's interval, cut off at 0, and at 1 where every objective is a share of images."""
        if not self.objectives:
            return Estimate(math.nan, math.nan, math.nan)
        mean = objective_over_retrainings(self.objectives).mean
        if math.isnan(mean.low):
            return mean
        if self.ranked_by.is_minimised:
            return replace(mean, low=max(0.0, mean.low))
        if not all(0 <= objective <= 1 for objective in self.objectives):
            return mean
        return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))

    @property
    def optimism(self) -> float:
        """What the search promised beyond the mean of the retrainings; of a loss, by how much it was too low."""
        return self.ranked_by.merit(self.searched - self.mean)

    @property
    def best_repeat(self) -> int:
        """The retraining of the best objective, the first of equals."""
        return self.repeats[self.objectives.index(max(self.objectives, key=self.ranked_by.merit))]


def finalists(state: RunState, wanted: int, most: int) -> list[TrialState]:
    """Return the trials to retrain: the best `wanted`, those that tie with the last of them, and the baseline.

    A tie is the same objective, as with so many right images; at most `most` trials beside the baseline.
    The baseline is there also where it diverged in the search; one that failed has nothing to be retrained for.
    """
    ranked = state.ranked(max(wanted, most))
    if not ranked:
        return []
    last = ranked[min(wanted, len(ranked)) - 1].merit
    chosen = ranked[:wanted] + [t for t in ranked[wanted:most] if t.merit == last]
    baseline = [t for t in state.baselines if t.status in (Status.COMPLETED, Status.DIVERGED, Status.STOPPED)]
    return chosen + [t for t in baseline if t not in chosen]


def standings(state: RunState, trials: Sequence[int], seeds: int) -> list[Standing]:
    """Return how the finalists stand, best first: all seeds completed before some, then by mean, then by number."""
    found = [_standing(state, trial, seeds) for trial in trials]
    return sorted(found, key=lambda s: (-len(s.objectives), -s.merit, s.trial))


def decide(state: RunState, trials: Sequence[int], seeds: int) -> FinalsDecided | None:
    """Return the decision over these finalists as an event; None where no retraining was completed."""
    winner = standings(state, trials, seeds)[0] if trials else None
    if winner is None or not winner.objectives:
        return None
    return FinalsDecided(
        finalists=tuple(trials),
        seeds=seeds,
        search_trials=_ended(state),
        winner=winner.trial,
        delivered=winner.best_repeat,
    )


def is_stale(state: RunState) -> bool:
    """Return whether the search went on after its latest finals were decided."""
    return bool(state.decisions) and _ended(state) > state.decisions[-1].search_trials


def baseline_of(state: RunState, decision: FinalsDecided) -> int | None:
    """Return the trial number of the baseline among the finalists, if it is."""
    return next((n for n in decision.finalists if state.trials[n, None].started.is_baseline), None)


def _standing(state: RunState, trial: int, seeds: int) -> Standing:
    of = state.trials[trial, None]
    runs = {repeat: state.trials[trial, repeat] for repeat in range(seeds) if (trial, repeat) in state.trials}
    done = {repeat: t for repeat, t in runs.items() if t.status == Status.COMPLETED and t.best is not None}
    return Standing(
        trial=trial,
        is_baseline=of.started.is_baseline,
        searched=of.value,
        repeats=tuple(done),
        objectives=tuple(t.value for t in done.values()),
        lost=tuple(f"{t.status}: {t.ended.reason}" for r, t in runs.items() if r not in done and t.ended),
        ranked_by=of.objective,
    )


def _ended(state: RunState) -> int:
    return state.tally.ended.total()


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
    ranked_by: Objective = field(default_factory=Objective)

    @property
    def place(self) -> int:
        """Which of the retrainings is handed on, or stands for the baseline."""
        return self.repeats.index(self.delivered)

    @property
    def of_delivered(self) -> Predictions:
        """Predictions of that retraining."""
        return self.predictions[self.place]

    @cached_property
    def metrics(self) -> ClassificationMetrics:
        """The usual numbers and the confusion matrix of that retraining."""
        p = self.of_delivered
        return classification_metrics(p.y_true, p.y_prob, p.class_names)

    @cached_property
    def objective(self) -> Estimate:
        """The objective of that retraining on the test images."""
        if self.ranked_by.is_accuracy:
            m = self.metrics
            return Estimate(m.accuracy, m.accuracy_low, m.accuracy_high)
        return interval(self.ranked_by, self.values[self.place], self.drawn[self.place])

    @cached_property
    def values(self) -> tuple[float, ...]:
        """The objective of each retraining on the test images."""
        return tuple(objective_value(self.ranked_by, p.y_true, p.y_prob, p.class_names) for p in self.predictions)

    @cached_property
    def drawn(self) -> npt.NDArray[np.float64]:
        """The same of resampled images, (retrainings, draws)."""
        return np.stack([drawn_values(self.ranked_by, p.y_true, p.y_prob, p.class_names) for p in self.predictions])

    @cached_property
    def numbers(self) -> DeliveredEstimates:
        """Every number of that retraining with its interval."""
        p = self.of_delivered
        return delivered_estimates(p.y_true, p.y_prob, p.class_names)

    @cached_property
    def over_retrainings(self) -> RetrainedMean | None:
        """The objective of the configuration, seeds and images both random; None from a single seed or image."""
        correct = np.stack([p.correct for p in self.predictions])
        if min(correct.shape) < 2:
            return None
        if self.ranked_by.is_accuracy:
            return accuracy_over_retrainings(correct)
        is_share = not self.ranked_by.is_minimised
        return drawn_over_retrainings(self.values, self.drawn, correct.shape[1], is_share=is_share)


def models_difference(a: Tested, b: Tested) -> PairedDifference:
    """Return the objective of one delivered model minus that of another on the same images."""
    if a.ranked_by.is_accuracy:
        return paired_difference_interval(a.of_delivered.correct, b.of_delivered.correct)
    n = len(a.of_delivered.y_true)
    return drawn_difference(a.values[a.place], b.values[b.place], a.drawn[a.place], b.drawn[b.place], n)


def configurations_difference(a: Tested, b: Tested) -> Estimate:
    """Return the objective of one configuration minus that of another over their retrainings."""
    if a.ranked_by.is_accuracy:
        of_a, of_b = (np.stack([p.correct for p in one.predictions]) for one in (a, b))
        return difference_over_retrainings(of_a, of_b)
    n = len(a.of_delivered.y_true)
    return drawn_difference_over_retrainings((a.values, a.drawn), (b.values, b.drawn), n)


@dataclass(frozen=True)
class DetectionRow:
    """The delivered model at one false-alarm rate, or why there is no threshold for it."""

    rate: float
    detection: Detection | None
    why_not: str


def read_tested(run: Path, state: RunState, stand: Sequence[Standing]) -> list[Tested]:
    """Return winner and baseline of the latest decision on the test split, the winner first.

    Without predictions (a trainable of one's own, or an interrupted evaluation) there are none.

    Args:
        run: The run folder.
        state: What its log holds.
        stand: How the finalists of that decision stand.

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
        best = next(s for s in stand if s.trial == trial)
        if best.objectives and best.best_repeat in repeats:
            predictions = tuple(_read(run, state, trial, repeat) for repeat in repeats)
            tested.append(Tested(role, trial, repeats, predictions, best.best_repeat, state.study.objective))
    return tested


def is_delivered(run: Path, state: RunState, decision: FinalsDecided) -> bool:
    """Return whether the model in `final/` is the one that was decided: an earlier one stays until it is replaced."""
    ended = state.trials[decision.winner, decision.delivered].ended
    try:
        written = parse_json(read_moderate(run / DESCRIPTION))
    except (OSError, SchemaError):
        return False
    if ended is None or not isinstance(written, dict):
        return False
    recorded = state.models.get(MODEL)  # none in logs of before
    is_as_written = recorded is None or recorded.digest == written.get("digest")
    return is_as_written and bool(written.get("weights_digest", "") == ended.best_weights_digest)


def detections(run: Path, test: Predictions) -> list[DetectionRow]:
    """Return what the delivered model finds at fixed false-alarm rates; nothing where no class is called noise.

    Raises:
        RecordError: The predictions of the validation split, which set the thresholds, are missing or damaged.
    """
    if NOISE not in test.class_names:
        return []
    noise = test.class_names.index(NOISE)
    validation = read_predictions(run / VALIDATION_PREDICTIONS)
    if validation.class_names != test.class_names:
        raise RecordError(
            f"{run / VALIDATION_PREDICTIONS}: other classes than those of the test images; delete it and continue the "
            "run with `seti-tune resume RUN`, which predicts again"
        )
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
                writer.writerow(
                    [csv_cell(quantity), csv_cell(curve.class_name), one.low, one.median, one.high, one.n, *estimates]
                )
    return text.getvalue()


def _read(run: Path, state: RunState, trial: int, repeat: int) -> Predictions:
    evaluated = state.finals[trial, repeat]
    path = inside(run, evaluated.predictions)
    found = read_predictions(path)
    right, n = int(found.correct.sum()), len(found.y_true)
    if (n, right) != (evaluated.n, evaluated.correct):
        raise RecordError(
            f"{path}: {right} of {n} right, the log says {evaluated.correct} of {evaluated.n}; delete it and continue "
            "the run with `seti-tune resume RUN`, which predicts again"
        )
    return found
