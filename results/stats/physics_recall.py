"""What a network finds, against a physical quantity of the signals such as amplitude or drift."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.binning import equal_count_groups
from results.stats.detection import DetectionError, check_noise_class
from results.stats.intervals import Estimate, wilson_estimate
from results.stats.metrics import check_predictions


@dataclass(frozen=True)
class RecallBin:
    """The `n` images of one class whose quantity lies in `low..high`, with Wilson intervals of 95 %.

    `recall` is the share predicted as this class, `detected` the share predicted as any class but noise.
    """

    low: float
    median: float
    high: float
    n: int
    recall: Estimate
    detected: Estimate


@dataclass(frozen=True)
class RecallCurve:
    """The bins of one class in ascending order of the quantity."""

    class_name: str
    bins: tuple[RecallBin, ...]


def recall_by_quantity(
    y_true: npt.NDArray[Any],
    y_prob: npt.NDArray[Any],
    quantity: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    noise_class: int,
    bins: int = 5,
) -> tuple[RecallCurve, ...]:
    """Return one curve for each class of signals that has the quantity.

    Args:
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes); the prediction is the largest.
        quantity: One number per image, float (n,), for instance a column of the truth table; NaN where the image has
            none. Give the absolute value of a drift if its sign is of no interest.
        class_names: One name per column of `y_prob`.
        noise_class: Index of the class without a signal.
        bins: At most so many a class, of about equally many images; equal values stay together.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
        DetectionError: Not one number per image, or a noise class that is none of the classes.
        IntervalError: No bin.
    """
    names, values = tuple(class_names), np.asarray(quantity, np.float64)
    truth, probabilities = check_predictions(np.asarray(y_true), np.asarray(y_prob), names)
    check_noise_class(noise_class, names)
    if values.shape != truth.shape or np.isinf(values).any():
        raise DetectionError(
            f"quantity of shape {values.shape}: expected {truth.shape}, finite or NaN; give one number per image"
        )
    predicted = probabilities.argmax(axis=1)
    is_found, is_detected = predicted == truth, predicted != noise_class
    curves = []
    for label, name in enumerate(names):
        members = np.flatnonzero((truth == label) & ~np.isnan(values))
        if label != noise_class and members.size:
            groups = [members[group] for group in equal_count_groups(values[members], bins)]
            curves.append(RecallCurve(name, tuple(_bin(values[g], is_found[g], is_detected[g]) for g in groups)))
    return tuple(curves)


def _bin(values: npt.NDArray[np.float64], found: npt.NDArray[np.bool_], detected: npt.NDArray[np.bool_]) -> RecallBin:
    n = int(values.size)
    return RecallBin(
        low=float(values.min()),
        median=float(np.median(values)),
        high=float(values.max()),
        n=n,
        recall=wilson_estimate(int(found.sum()), n),
        detected=wilson_estimate(int(detected.sum()), n),
    )
