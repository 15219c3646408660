"""How the delivered network does on new images: each number with an interval that comes from the images alone.

What another training of the same configuration would do is another question (`results.stats.seeds`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.calibration import CalibrationError, calibration_error, reliability_bins
from results.stats.intervals import Estimate, check_level, normal_quantile, wilson_estimate, wilson_interval
from results.stats.metrics import check_predictions
from results.stats.weighted import Floats, Labels, average_precision, class_f1, mean_known, on_logit_scale, roc_area

RESAMPLES = 2000  # a deviation is then known to 2 %
_CELLS = 4_000_000  # weights held at once: 32 MB


@dataclass(frozen=True)
class ClassEstimates:
    """One class against the rest; NaN where a number has no meaning, as in `ClassificationMetrics`.

    `auc` is the probability that the network gives an image of the class a higher probability of it than another
    image, ties counted half. `average_precision` is the area under the precision-recall curve: the share of the class
    by chance alone.
    """

    class_name: str
    n: int
    precision: Estimate
    recall: Estimate
    f1: Estimate
    auc: Estimate
    average_precision: Estimate


@dataclass(frozen=True)
class DeliveredEstimates:
    """One network on one split of `n` images; macro numbers are means over the classes for which they exist."""

    n: int
    accuracy: Estimate
    macro_f1: Estimate
    macro_auc: Estimate
    calibration: CalibrationError
    classes: tuple[ClassEstimates, ...]


@dataclass(frozen=True)
class PairedEstimates:
    """Network a minus network b on the same images, by bootstrap; `paired_difference_interval` has the test."""

    accuracy: Estimate
    macro_f1: Estimate


def delivered_estimates(
    y_true: npt.NDArray[Any],
    y_prob: npt.NDArray[Any],
    class_names: Sequence[str],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> DeliveredEstimates:
    """Evaluate one network with an interval for each number.

    Accuracy, precision and recall have Wilson intervals. So has F1: of the images that are of the class or taken for
    it, the share k/u of hits is binomial, and F1 = 2 (k/u) / (1 + k/u). AUC, average precision and macro numbers have
    intervals on the logit scale with the deviation of a bootstrap over images: by simulation these cover 92 to 98 % (80
    to 400 images, AUC 0.9 to 0.997), where percentiles of the bootstrap cover as little as 83 %. Where a bootstrap sees
    no error (an area of 0 or 1, no image wrong) the limit comes from Wilson intervals: for an area from as many pairs
    as the rarer side has images, for a macro number from the mean of the limits of the classes.

    Args:
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes).
        class_names: One name per column of `y_prob`.
        seed: Chooses the resamples.
        level: Probability that each interval alone covers its true value.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
        IntervalError: A level outside 0..1.

    Source: bootstrap: B. Efron, R. J. Tibshirani (1993), An Introduction to the Bootstrap; logit: G. Qin, L. Hotilovac
    (2008), Stat. Methods Med. Res. 17, 207; of average precision K. Boyd, K. H. Eng, C. D. Page (2013), ECML PKDD,
    doi:10.1007/978-3-642-40994-3_29.
    """
    check_level(level)
    names = tuple(class_names)
    truth, probabilities = check_predictions(np.asarray(y_true), np.asarray(y_prob), names)
    predicted = probabilities.argmax(axis=1)
    samples = [_f1_and_areas(truth, probabilities, weights) for weights in _resamples(truth.size, seed)]
    f1, auc, average = (np.concatenate(parts) for parts in zip(*samples, strict=True))
    of_f1, of_auc, of_average = (
        numbers[0] for numbers in _f1_and_areas(truth, probabilities, np.ones((1, truth.size)))
    )
    areas = [
        [on_logit_scale(float(value[i]), drawn[:, i], level) for value, drawn in ((of_auc, auc), (of_average, average))]
        for i in range(len(names))
    ]
    classes = tuple(_class_estimates(name, truth == i, predicted == i, areas[i]) for i, name in enumerate(names))
    macro_f1, macro_auc = (
        on_logit_scale(float(mean_known(value[None])[0]), mean_known(drawn), level)
        for value, drawn in ((of_f1, f1), (of_auc, auc))
    )
    return DeliveredEstimates(
        n=int(truth.size),
        accuracy=wilson_estimate(int((predicted == truth).sum()), int(truth.size), level),
        macro_f1=_macro_limits(macro_f1, [one.f1 for one in classes]),
        macro_auc=_macro_limits(macro_auc, [one.auc for one in classes]),
        calibration=calibration_error(reliability_bins(truth, probabilities, level=level), seed=seed, level=level),
        classes=classes,
    )


def paired_estimates(
    y_true: npt.NDArray[Any],
    y_prob_a: npt.NDArray[Any],
    y_prob_b: npt.NDArray[Any],
    *,
    seed: int = 0,
    level: float = 0.95,
) -> PairedEstimates:
    """Compare two networks by the deviation of a bootstrap that draws the same images for both.

    By simulation the normal intervals cover 93 to 96 % (80 to 800 images). Networks with the same predictions give
    intervals without width.

    Args:
        y_true: Class indices, integer (n,).
        y_prob_a: Probabilities of network a, float (n, n_classes).
        y_prob_b: The same for network b, image by image.
        seed: Chooses the resamples.
        level: Probability that each interval alone covers its true value.

    Raises:
        MetricsError: Labels and probabilities that do not fit together.
        IntervalError: A level outside 0..1.

    Source: B. Efron, R. J. Tibshirani (1993), An Introduction to the Bootstrap.
    """
    check_level(level)
    names = tuple(f"class {i}" for i in range(np.asarray(y_prob_a).shape[-1]))
    truth, of_a = check_predictions(np.asarray(y_true), np.asarray(y_prob_a), names)
    _, of_b = check_predictions(np.asarray(y_true), np.asarray(y_prob_b), names)
    found = [one.argmax(axis=1) for one in (of_a, of_b)]
    gained = (found[0] == truth).astype(np.float64) - (found[1] == truth)

    def differences(weights: Floats) -> Floats:
        a, b = (mean_known(class_f1(truth, one, len(names), weights)) for one in found)
        return np.stack([weights @ gained / truth.size, a - b], axis=1)

    drawn = np.concatenate([differences(weights) for weights in _resamples(truth.size, seed)])
    accuracy, macro_f1 = differences(np.ones((1, truth.size)))[0]
    return PairedEstimates(
        _difference(float(accuracy), drawn[:, 0], level), _difference(float(macro_f1), drawn[:, 1], level)
    )


def _resamples(n: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample draws each image, (some, n), `RESAMPLES` rows in all."""
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // n)
    for start in range(0, RESAMPLES, at_once):
        rows = min(at_once, RESAMPLES - start)
        drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def _f1_and_areas(truth: Labels, probabilities: Floats, weights: Floats) -> tuple[Floats, Floats, Floats]:
    n_classes = probabilities.shape[1]
    auc, average = (
        np.stack([area(probabilities[:, i], truth == i, weights) for i in range(n_classes)], axis=1)
        for area in (roc_area, average_precision)
    )
    return class_f1(truth, probabilities.argmax(axis=1), n_classes, weights), auc, average


def _class_estimates(
    name: str, of_class: npt.NDArray[np.bool_], taken_for_it: npt.NDArray[np.bool_], areas: Sequence[Estimate]
) -> ClassEstimates:
    n, hits, level = int(of_class.sum()), int((of_class & taken_for_it).sum()), areas[0].level
    share = wilson_estimate(hits, int((of_class | taken_for_it).sum()), level)
    auc, average = (_area_limits(area, min(n, of_class.size - n)) for area in areas)
    return ClassEstimates(
        class_name=name,
        n=n,
        precision=wilson_estimate(hits, int(taken_for_it.sum()), level),
        recall=wilson_estimate(hits, n, level),
        f1=Estimate(_f1_of_share(share.value), _f1_of_share(share.low), _f1_of_share(share.high), level),
        auc=auc,
        average_precision=average,
    )


def _area_limits(area: Estimate, pairs: int) -> Estimate:
    """Widen an area of 0 or 1, of which a bootstrap knows nothing, to what so many separate pairs tell."""
    if area.value not in (0, 1) or not pairs:
        return area
    low, high = wilson_interval(int(area.value) * pairs, pairs, area.level)
    return Estimate(area.value, min(area.low, low), max(area.high, high), area.level)


def _f1_of_share(share: float) -> float:
    return 2 * share / (1 + share)


def _difference(value: float, drawn: Floats, level: float) -> Estimate:
    reach = normal_quantile(level) * float(drawn.std())
    return Estimate(value, max(-1.0, value - reach), min(1.0, value + reach), level)


def _macro_limits(macro: Estimate, classes: Sequence[Estimate]) -> Estimate:
    """Widen an interval without width to the mean limits of its classes."""
    if macro.low != macro.high:
        return macro
    limits = np.array([(one.low, one.high) for one in classes if not np.isnan(one.value)])
    low, high = limits.mean(axis=0)
    return Estimate(macro.value, min(macro.low, float(low)), max(macro.high, float(high)), macro.level)
