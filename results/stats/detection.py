"""Finding signals: at a fixed false-alarm rate, and against a physical quantity such as amplitude or drift.

The score of an image is 1 - p(noise); an image counts as a signal if its score is above a threshold, which the noise
images of the validation split set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.intervals import Estimate, check_level, equal_count_groups, wilson_estimate
from results.stats.metrics import check_predictions

_ROUNDING = 1e-9  # 0.1 * 10 is 1 only up to rounding
_RELATIVE_WIDTH = 0.2  # of a false-alarm rate that counts as well measured
_NORMAL_95 = 1.96


class DetectionError(ValueError):
    """A threshold that cannot be set or used: the message says what is missing and how much of it is needed."""


@dataclass(frozen=True)
class NoiseNeeded:
    """Noise images needed for a false-alarm rate: `minimum` to set a threshold at all, `precise` to do it well."""

    rate: float
    minimum: int
    precise: int


@dataclass(frozen=True)
class Threshold:
    """A score above which an image is called a signal.

    `allowed` of the `n_noise` images that set it score above it, fewer where scores are equal. `expected` is the
    false-alarm rate on new noise: its mean over draws of the noise images, at most `rate`, and the interval of what
    this one draw may have given, both exact for scores without ties and too high otherwise.
    """

    rate: float
    score: float
    n_noise: int
    allowed: int
    expected: Estimate
    needed: NoiseNeeded


@dataclass(frozen=True)
class ClassDetection:
    """The share of the `n` images of one class that score above the threshold."""

    class_name: str
    n: int
    recall: Estimate


@dataclass(frozen=True)
class Detection:
    """A threshold used on a split: `recall` of all signals together and of each class, and the false alarms seen."""

    threshold: Threshold
    n_noise: int
    false_alarms: Estimate
    n_signals: int
    recall: Estimate
    classes: tuple[ClassDetection, ...]


def noise_needed(rate: float) -> NoiseNeeded:
    """Return how many noise images a false-alarm rate needs.

    `minimum` makes the largest of them a valid threshold: a new one exceeds it with probability 1 / (n + 1). With
    `precise` the 95 % interval of n * rate false alarms, 1.96 sqrt((1 - rate) / (n * rate)), is within 20 % of them.

    Raises:
        DetectionError: A rate outside 0..1.

    Source: about 100 / rate as in I. Guyon et al. (1998), IEEE Trans. Pattern Anal. Mach. Intell. 20, 52.
    """
    if not 0 < rate < 1:
        raise DetectionError(f"false-alarm rate {rate!r}: expected a share between 0 and 1, e.g. 0.01")
    minimum = max(1, math.ceil(1 / rate - 1 - _ROUNDING))
    return NoiseNeeded(rate, minimum, math.ceil((_NORMAL_95 / _RELATIVE_WIDTH) ** 2 * (1 - rate) / rate))


def threshold_at_rate(noise_scores: npt.NDArray[Any], rate: float, level: float = 0.95) -> Threshold:
    """Return the lowest threshold whose false-alarm rate on new noise is at most `rate` in the mean.

    Args:
        noise_scores: 1 - p(noise) of the noise images of the validation split, float (n,); equal scores are safe.
        rate: The share of noise images that may be taken for signals.
        level: Probability of the interval of `Threshold.expected`.

    Raises:
        DetectionError: Too few noise images for the rate, scores that are not finite, a rate outside 0..1.
        IntervalError: A level outside 0..1.

    Source: the k-th largest of n as a threshold: V. Vovk, A. Gammerman, G. Shafer (2005), Algorithmic Learning in a
    Random World, section 2.2; the rate it gives is beta distributed: H. A. David, H. N. Nagaraja (2003), Order
    Statistics, section 2.1.
    """
    from scipy.special import betaincinv

    check_level(level)
    needed = noise_needed(rate)
    scores = np.sort(np.asarray(noise_scores, np.float64))[::-1]
    n = int(scores.size)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise DetectionError(f"noise scores of shape {scores.shape}: expected finite numbers (n,); check p(noise)")
    if n < needed.minimum:
        raise DetectionError(
            f"{n} noise images cannot set a false-alarm rate of {rate:g}: at least {needed.minimum} are needed, "
            f"{needed.precise} for a rate within 20 %; ask for a higher rate or more validation images"
        )
    allowed = math.floor(rate * (n + 1) + _ROUNDING) - 1
    tails = 0.5 - level / 2, 0.5 + level / 2
    low, high = (float(betaincinv(allowed + 1, n - allowed, tail)) for tail in tails)
    expected = Estimate((allowed + 1) / (n + 1), low, high, level)
    return Threshold(rate, float(scores[allowed]), n, allowed, expected, needed)


def check_noise_class(noise_class: int, class_names: Sequence[str]) -> None:
    """Refuse a noise class that is none of the classes.

    Raises:
        DetectionError: The index is not in 0..n_classes - 1.
    """
    if noise_class not in range(len(class_names)):
        raise DetectionError(
            f"noise class {noise_class}: expected 0..{len(class_names) - 1}; give the class without a signal"
        )


def signal_scores(y_prob: npt.NDArray[Any], noise_class: int) -> npt.NDArray[np.float64]:
    """Return 1 - p(noise), float64 (n,), of probabilities (n, n_classes)."""
    return 1.0 - np.asarray(y_prob)[:, noise_class].astype(np.float64)


def detection_at_threshold(
    threshold: Threshold,
    y_true: npt.NDArray[Any],
    y_prob: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    noise_class: int,
) -> Detection:
    """Apply a threshold to images that had no part in setting it.

    Args:
        threshold: As returned by `threshold_at_rate`, whose level all intervals have.
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes).
        class_names: One name per column of `y_prob`.
        noise_class: Index of the class without a signal.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
        DetectionError: The noise class is none of the classes.
    """
    names, level = tuple(class_names), threshold.expected.level
    check_noise_class(noise_class, names)
    truth, _ = check_predictions(np.asarray(y_true), np.asarray(y_prob), names)
    above = signal_scores(y_prob, noise_class) > threshold.score

    def share(members: npt.NDArray[np.bool_]) -> tuple[int, Estimate]:
        n = int(members.sum())
        return n, wilson_estimate(int((above & members).sum()), n, level)

    classes = [ClassDetection(name, *share(truth == i)) for i, name in enumerate(names) if i != noise_class]
    noise, signals = share(truth == noise_class), share(truth != noise_class)
    return Detection(threshold, *noise, *signals, tuple(classes))


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
