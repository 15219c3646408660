"""The curves of a classifier, each class against the rest: every threshold on its probability is a point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.bootstrap import DeliveredEstimates
from results.stats.intervals import Estimate
from results.stats.metrics import check_predictions
from results.stats.weighted import Floats

Points = tuple[Floats, Floats]  # to the right, upwards


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class ClassCurves:
    """The curves of one class against the rest, from the highest threshold to the lowest.

    Attributes:
        class_name: Its name.
        share: Its part of the images: the precision of guessing.
        roc: Share of the other images taken for it, and recall; from (0, 0) to (1, 1).
        precision_recall: Recall and precision, each holding from the recall before; the first is that of the highest
            threshold, down to a recall of 0.
        auc: The area under the first, with its interval.
        average_precision: The area under the second, as a sum of steps.
    """

    class_name: str
    share: float
    roc: Points
    precision_recall: Points
    auc: Estimate
    average_precision: Estimate


def class_curves(
    y_true: npt.NDArray[Any],
    y_prob: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    numbers: DeliveredEstimates,
    background: str | None = None,
) -> tuple[ClassCurves, ...]:
    """Return the curves of every class that some images have and others have not.

    Of two classes there is one curve: that of the second or, where that is the background, of the first.

    Args:
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes).
        class_names: One name per class.
        numbers: Of the same predictions, which hold the areas.
        background: The class that is not looked for, by its name.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
    """
    names = tuple(class_names)
    truth, probabilities = check_predictions(np.asarray(y_true), np.asarray(y_prob), names)
    shown = range(len(names)) if len(names) > 2 else [int(names[1] != background)]
    curves = []
    for i in shown:
        positive = truth == i
        if positive.any() and not positive.all():
            scores, of = probabilities[:, i], numbers.classes[i]
            recall, precision = recall_points(scores, positive)
            precision[0] = precision[1]  # where nothing is taken for the class there is none
            curves.append(
                ClassCurves(
                    class_name=names[i],
                    share=float(positive.mean()),
                    roc=roc_points(scores, positive),
                    precision_recall=(recall, precision),
                    auc=of.auc,
                    average_precision=of.average_precision,
                )
            )
    return tuple(curves)


def roc_points(scores: Floats, positive: npt.NDArray[np.bool_]) -> Points:
    """Return the share of the others above each threshold and the share of the positive ones, both (k,).

    The points are those of `sklearn.metrics.roc_curve` without dropping any.
    """
    taken, hits = _counts(scores, positive)
    found, alarms = hits / hits[-1], (taken - hits) / (taken[-1] - hits[-1])
    return np.concatenate([[0.0], alarms]), np.concatenate([[0.0], found])


def recall_points(scores: Floats, positive: npt.NDArray[np.bool_]) -> Points:
    """Return recall and precision at each threshold, both (k,).

    The points are those of `sklearn.metrics.precision_recall_curve`, in the reverse order.
    """
    taken, hits = _counts(scores, positive)
    return np.concatenate([[0.0], hits / hits[-1]]), np.concatenate([[1.0], hits / taken])


def thinned(points: Points, most: int) -> Points:
    """Return at most about `most` of the points, evenly along the curve, the first and the last among them."""
    x, y = points
    if x.size <= most:
        return points
    along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))])
    kept = np.unique(np.searchsorted(along, np.linspace(0, along[-1], most)).clip(0, x.size - 1))
    kept = np.unique(np.concatenate([[0], kept, [x.size - 1]]))
    return x[kept], y[kept]


def _counts(scores: Floats, positive: npt.NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Return how many images lie at or above each score that occurs, falling, and how many of them are positive."""
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    return (ends + 1).astype(np.float64), np.cumsum(positive[order])[ends].astype(np.float64)
