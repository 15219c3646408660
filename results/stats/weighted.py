"""Numbers of a network with its images weighted: each row of `weights` (rows, n) gives one value.

A row says how often a resample draws each image; ones give the number of the images as they are.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from results.stats.intervals import Estimate, normal_quantile

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


def class_f1(truth: Labels, predicted: npt.NDArray[np.intp], n_classes: int, weights: Floats) -> Floats:
    """Return F1 of each class (rows of `weights`, n_classes), NaN for a class that neither occurs nor is predicted."""
    classes = np.arange(n_classes)
    is_true, is_found = truth[:, None] == classes, predicted[:, None] == classes
    hits, either = weights @ (is_true & is_found), weights @ is_true + weights @ is_found
    return divided(2 * hits, either)


def roc_area(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the area under the ROC curve for each row of `weights` (rows, n); NaN where a side is empty."""
    order = np.argsort(scores, kind="stable")
    scores, positive, weights = scores[order], positive[order], weights[:, order]
    below = np.zeros((len(weights), scores.size + 1))
    np.cumsum(np.where(positive, 0.0, weights), axis=1, out=below[:, 1:])
    of_positive = weights[:, positive]
    first, last = (np.searchsorted(scores, scores[positive], side) for side in ("left", "right"))
    won = (of_positive * (below[:, first] + below[:, last])).sum(axis=1) / 2
    pairs = of_positive.sum(axis=1) * below[:, -1]
    return divided(won, pairs)


def average_precision(scores: Floats, positive: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Return the sum over falling thresholds of precision times the recall gained, for each row of `weights` (rows, n).

    It is NaN where nothing is positive. Images of equal scores pass a threshold together.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    weights, positive = weights[:, order], positive[order]
    taken, hits = (np.cumsum(of, axis=1)[:, ends] for of in (weights, np.where(positive, weights, 0.0)))
    gained = np.diff(hits, axis=1, prepend=0.0)
    precision = np.nan_to_num(divided(hits, taken))  # 0 of 0 gains nothing
    return divided((precision * gained).sum(axis=1), hits[:, -1])


def mean_known(values: Floats) -> Floats:
    """Return the mean of each row's numbers that are not NaN, NaN where there is none."""
    known = ~np.isnan(values)
    total, number = np.where(known, values, 0.0).sum(axis=1), known.sum(axis=1)
    return divided(total, number.astype(np.float64))


def divided(above: Floats, below: Floats) -> Floats:
    """Divide, with NaN where nothing is below."""
    ratio = np.full_like(above, np.nan)
    np.divide(above, below, out=ratio, where=below > 0)
    return ratio


def on_logit_scale(value: float, drawn: Floats, level: float) -> Estimate:
    """Return limits from the deviation of the drawn values; without width where that, or the logit, says nothing."""
    if math.isnan(value):
        return Estimate(value, value, value, level)
    deviation = float(np.nanstd(drawn))
    if value in (0, 1) or deviation == 0:
        return Estimate(value, value, value, level)
    logit, reach = math.log(value / (1 - value)), normal_quantile(level) * deviation / (value * (1 - value))
    return Estimate(value, 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit)), level)
