"""The objectives of a study from probabilities, and how sure they are: on the same resamples of the same images.

Whoever draws the same images for two networks learns from the values of the draws how sure their difference is,
whatever is computed from them. So the values of a few hundred draws, kept beside the objective, stand for the images.
Accuracy has exact intervals and tests of its own (`results.stats.intervals`).
"""

from __future__ import annotations

import base64
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.objective import AT_FALSE_ALARM, LOSS, Objective
from results.stats.detection import signal_scores
from results.stats.intervals import Estimate, PairedDifference, normal_quantile
from results.stats.metrics import PROBABILITY_FLOOR, check_predictions
from results.stats.weighted import Floats, Labels, class_f1, divided, mean_known, on_logit_scale, roc_area

DRAWS = 200  # a deviation is then known to 5 %
_SEED = 20_000  # of the draws, the same for all networks
_CELLS = 4_000_000  # weights held at once: 32 MB


def objective_value(
    objective: Objective, y_true: npt.NDArray[Any], y_prob: npt.NDArray[Any], class_names: Sequence[str]
) -> float:
    """Return the objective of predicted probabilities.

    Accuracy; balanced accuracy, the mean recall of the classes that occur; the mean F1 of the classes that occur or
    are predicted; the mean area under the ROC curve of each class against the others; the mean cross-entropy in nats,
    of probabilities of at least 1e-7; or the largest share of signals whose 1 - p(background) lies at or above a
    threshold that at most a share `false_alarm` of the background reaches.

    Args:
        objective: Which of them.
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes).
        class_names: One name per column of `y_prob`.

    Returns:
        NaN where it has no meaning: no class of the background, or only one class.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
    """
    of = _weighted(objective, np.asarray(y_true), np.asarray(y_prob), class_names)
    return float(of(np.ones((1, len(y_true))))[0])


def drawn_values(
    objective: Objective, y_true: npt.NDArray[Any], y_prob: npt.NDArray[Any], class_names: Sequence[str]
) -> Floats:
    """Return the objective of `DRAWS` resamples, float64 (DRAWS,); the same images are drawn for equal labels.

    Each class keeps its number of images.

    Raises:
        MetricsError: As for `objective_value`.

    Source: B. Efron, R. J. Tibshirani (1993), An Introduction to the Bootstrap, section 8 (strata).
    """
    of = _weighted(objective, np.asarray(y_true), np.asarray(y_prob), class_names)
    return np.concatenate([of(weights) for weights in _draws(np.asarray(y_true))])


def interval(objective: Objective, value: float, drawn: npt.NDArray[Any], level: float = 0.95) -> Estimate:
    """Return the objective with its interval, on the logit scale where it is a share; no limits without a spread.

    By simulation 92 to 96 % are covered (80 and 800 images), 85 % for a recall that rests on 20 background images.
    """
    values = np.asarray(drawn, np.float64)
    deviation = float(np.nanstd(values)) if np.isfinite(values).any() else math.nan
    if not deviation > 0 or (objective.name != LOSS and value in (0, 1)):
        return Estimate(value, math.nan, math.nan, level)
    if objective.name != LOSS:
        return on_logit_scale(value, values, level)
    reach = normal_quantile(level) * deviation
    return Estimate(value, max(0.0, value - reach), value + reach, level)


def drawn_difference(
    value_a: float, value_b: float, drawn_a: npt.NDArray[Any], drawn_b: npt.NDArray[Any], n: int, level: float = 0.95
) -> PairedDifference:
    """Return the objective of a minus that of b on the same `n` images, with a normal interval and its p value.

    By simulation 94 to 97 % are covered (80 and 800 images).

    Args:
        value_a: Objective of a.
        value_b: Objective of b.
        drawn_a: From `drawn_values`, (DRAWS,).
        drawn_b: The same of b.
        n: How many images there are.
        level: Probability that the interval covers the true difference.
    """
    difference = value_a - value_b
    deviation = float(np.nanstd(np.asarray(drawn_a, np.float64) - np.asarray(drawn_b, np.float64)))
    reach = normal_quantile(level) * deviation
    p_value = math.erfc(abs(difference) / deviation / math.sqrt(2)) if deviation > 0 else float(difference == 0)
    return PairedDifference(difference, difference - reach, difference + reach, n, p_value=p_value, level=level)


def pack_values(drawn: npt.NDArray[Any] | Sequence[float]) -> str:
    """Return drawn values as text: float32, the lowest byte first, in base64."""
    return base64.b64encode(np.asarray(drawn, "<f4").tobytes()).decode("ascii")


def unpack_values(text: str) -> Floats:
    """Return what `pack_values` wrote, float64 (DRAWS,).

    Raises:
        RecordError: No such text, or of another number of values.
    """
    try:
        values = np.frombuffer(base64.b64decode(text, validate=True), "<f4")
    except ValueError as error:
        raise RecordError(f"drawn values {text[:20]!r} are damaged; restore the log from a copy") from error
    if len(values) != DRAWS:
        raise RecordError(f"{len(values)} drawn values, {DRAWS} are expected; restore the log from a copy")
    return values.astype(np.float64)


def _draws(truth: npt.NDArray[Any]) -> Iterator[Floats]:
    """Yield how often each draw has each image, (some, n), `DRAWS` rows in all."""
    rng = np.random.default_rng(_SEED)
    rows = max(1, _CELLS // truth.size)
    for start in range(0, DRAWS, rows):
        weights = np.zeros((min(rows, DRAWS - start), truth.size))
        for label in np.unique(truth):
            members = np.flatnonzero(truth == label)
            for row in weights:
                row[members] = np.bincount(rng.integers(0, members.size, members.size), minlength=members.size)
        yield weights


def _weighted(
    objective: Objective, y_true: npt.NDArray[Any], y_prob: npt.NDArray[Any], class_names: Sequence[str]
) -> Callable[[Floats], Floats]:
    """Return what computes the objective of each row of weights."""
    truth, probabilities = check_predictions(y_true, y_prob, tuple(class_names))
    given = y_prob.astype(np.float64)  # what ranks images: made to add up to one, equal ones are equal no longer
    predicted, n_classes = given.argmax(axis=1), len(class_names)
    if objective.is_accuracy:
        return functools.partial(_mean, (predicted == truth).astype(np.float64))
    if objective.name == LOSS:
        of_truth = np.maximum(probabilities[np.arange(truth.size), truth], PROBABILITY_FLOOR)
        return functools.partial(_mean, -np.log(of_truth))
    if objective.name == AT_FALSE_ALARM:
        if objective.background not in class_names:
            return lambda weights: np.full(len(weights), np.nan)
        background = list(class_names).index(objective.background)
        scores = signal_scores(given, background)
        return functools.partial(_recall_at, scores, truth == background, objective.false_alarm)
    if objective.name == "macro_f1":
        return lambda weights: mean_known(class_f1(truth, predicted, n_classes, weights))
    if objective.name == "auc":
        areas = [functools.partial(roc_area, given[:, i], truth == i) for i in range(n_classes)]
        return lambda weights: mean_known(np.stack([area(weights) for area in areas], axis=1))
    return lambda weights: mean_known(_recalls(truth, predicted, n_classes, weights))


def _mean(values: Floats, weights: Floats) -> Floats:
    # Not by a matrix product, whose last digits depend on the number of threads.
    return np.asarray((weights * values).sum(axis=1) / weights.sum(axis=1))


def _recalls(truth: Labels, predicted: npt.NDArray[np.intp], n_classes: int, weights: Floats) -> Floats:
    is_class = truth[:, None] == np.arange(n_classes)
    is_hit = is_class & (predicted == truth)[:, None]
    return divided(weights @ is_hit, weights @ is_class)


def _recall_at(scores: Floats, is_background: npt.NDArray[np.bool_], rate: float, weights: Floats) -> Floats:
    """Return the highest point of the ROC curve at or left of a false-alarm rate; NaN where a side is empty."""
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # equal scores lie on one side of a threshold
    shares = []
    for side in (is_background, ~is_background):
        reached = np.cumsum(weights[:, order] * side[order], axis=1)
        total = reached[:, -1:]
        at_ends = np.concatenate([np.zeros_like(total), reached[:, ends]], axis=1)
        shares.append(divided(at_ends, np.broadcast_to(total, at_ends.shape)))
    allowed = shares[0] <= rate
    last = np.maximum(allowed.sum(axis=1) - 1, 0)
    found = np.take_along_axis(shares[1], last[:, None], axis=1)[:, 0]
    return np.where(allowed.any(axis=1), found, np.nan)
