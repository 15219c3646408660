"""How a configuration does over retrainings: what chance of the seeds and of the images leaves open, together.

The intervals hold for further retrainings on new images. They say nothing about one network that is already trained:
for that one the images alone count (`results.stats.bootstrap`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.intervals import Estimate, IntervalError, check_level, score_limits, t_quantile

# A variance below is zero but for rounding: one flag of a million images and ten seeds gives more.
_ROUNDING = 1e-15


@dataclass(frozen=True)
class RetrainedMean:
    """Mean accuracy, or another objective, of `n_seeds` retrainings on the same `n_images`.

    It holds for further retrainings on new images. `seed_deviation` is the standard deviation over seeds beyond what
    the images explain; it and the limits of `mean` are NaN for one seed.
    """

    mean: Estimate
    seed_deviation: float
    n_seeds: int
    n_images: int


@dataclass(frozen=True)
class RetrainedObjective:
    """One number per retraining: its mean, and where one further retraining is to be expected.

    `deviation` is the sample standard deviation. With one retraining it and all limits are NaN. Equal numbers give
    intervals without width: nothing then says how large the spread is, only that it did not show.
    """

    mean: Estimate
    next_retraining: Estimate
    deviation: float
    n: int


@dataclass(frozen=True)
class _Components:
    """What the flags of one configuration vary by."""

    of_images: npt.NDArray[np.float64]  # (n_images,), mean over seeds
    seeds: float  # variance of the grand mean as the seeds show it, the residual included
    residual: float  # variance of an image's mean that neither seed nor image explains


def accuracy_over_retrainings(correct: npt.NDArray[Any], level: float = 0.95) -> RetrainedMean:
    """Estimate the accuracy of a configuration, seeds and images both random.

    The variance of the mean is that of a two-way table, seeds x images, without repetition. With few seeds the t
    quantile of Satterthwaite's degrees of freedom is too small (92 to 96 % covered by simulation) and Cochran's
    weighted one too large (95 to 98 %): their mean is taken. The limits are Wilson's, for the number of independent
    flags that has this variance: near accuracy 1 a symmetric interval covers 90 %. By simulation 93 to 97 % are
    covered, with 3 to 10 seeds, 80 to 800 images of differing difficulty, accuracies of 0.5 to 0.95 and seed
    deviations of 0 to 0.03.

    Args:
        correct: Whether each retraining was right, bool (n_seeds, n_images), the same images in each row.
        level: Probability that the interval covers the true mean.

    Raises:
        IntervalError: Not such a table with two images or more, or a level outside 0..1.

    Source: variance of raters and cases, both random: B. D. Gallas (2006), Acad. Radiol. 13, 353; its image part cut
    at zero: S. L. Hillis (2007), Stat. Med. 26, 596. Quantiles: F. E. Satterthwaite (1946), Biometrics Bull. 2, 110;
    W. G. Cochran (1964), Biometrics 20, 191. Wilson's limits with an effective number: C. Franco et al. (2019),
    J. Surv. Stat. Methodol. 7, 334.
    """
    check_level(level)
    table = _flag_table("correct", correct)
    n_seeds, n_images = table.shape
    mean = float(table.mean())
    if n_seeds == 1:
        return RetrainedMean(Estimate(mean, math.nan, math.nan, level), math.nan, n_seeds, n_images)
    parts = _components(table)
    images = max(0.0, float(parts.of_images.var(ddof=1)) - parts.residual) / n_images
    variance = parts.seeds + images
    quantile = _mean_quantile([(parts.seeds, n_seeds - 1), (images, n_images - 1)], level)
    # No spread at all: as if every retraining made the same mistakes, so that only the images count.
    effective = mean * (1 - mean) / variance if variance > _ROUNDING and 0 < mean < 1 else n_images
    limits = score_limits(mean, effective, quantile)
    deviation = math.sqrt(max(0.0, parts.seeds - parts.residual / n_images) * n_seeds)
    return RetrainedMean(Estimate(mean, *limits, level), deviation, n_seeds, n_images)


def difference_over_retrainings(
    correct_a: npt.NDArray[Any], correct_b: npt.NDArray[Any], level: float = 0.95
) -> Estimate:
    """Estimate the accuracy of configuration a minus that of b: same images, seeds of their own.

    Args:
        correct_a: Whether each retraining of a was right, bool (n_seeds_a, n_images).
        correct_b: The same for b, bool (n_seeds_b, n_images); the numbers of seeds may differ.
        level: Probability that the interval covers the true difference.

    Returns:
        The difference of the means with a t interval; limits are NaN where a or b has one seed only.

    Raises:
        IntervalError: As for `accuracy_over_retrainings`, or different numbers of images.

    Source: as `accuracy_over_retrainings`, with the seeds of a and of b as separate terms and Satterthwaite's degrees
    of freedom (Welch's test where only seeds vary). By simulation 94 to 97 % are covered if a and b have equally many
    seeds; 92 to 94 % with 10 and 3.
    """
    check_level(level)
    a, b = _flag_table("correct_a", correct_a), _flag_table("correct_b", correct_b)
    n_images = a.shape[1]
    if b.shape[1] != n_images:
        raise IntervalError(
            f"correct_a has {n_images} images and correct_b {b.shape[1]}; give the same images, in the same order"
        )
    difference = float(a.mean()) - float(b.mean())
    if min(len(a), len(b)) == 1:
        return Estimate(difference, math.nan, math.nan, level)
    of_a, of_b = _components(a), _components(b)
    shared = float((of_a.of_images - of_b.of_images).var(ddof=1)) - of_a.residual - of_b.residual
    images = max(0.0, shared) / n_images
    variance = of_a.seeds + of_b.seeds + images
    if variance <= _ROUNDING:
        return _without_spread(a, b, difference, level)
    freedom = _satterthwaite([(of_a.seeds, len(a) - 1), (of_b.seeds, len(b) - 1), (images, n_images - 1)])
    half = t_quantile(level, freedom) * math.sqrt(variance)
    return Estimate(difference, max(-1.0, difference - half), min(1.0, difference + half), level)


def drawn_over_retrainings(
    values: Sequence[float], drawn: npt.NDArray[Any], n_images: int, *, is_share: bool, level: float = 0.95
) -> RetrainedMean:
    """Estimate an objective of a configuration, seeds and images both random, from resamples of the images.

    The variance has the parts of `accuracy_over_retrainings`; that of the images is the one over draws.

    Args:
        values: The objective of each retraining.
        drawn: The same of resampled images, float (n_seeds, draws), the same draws in each row.
        n_images: How many images there are.
        is_share: Whether it lies in 0..1; the limits then are on the logit scale.
        level: Probability that the interval covers the true mean.

    Source: as `accuracy_over_retrainings`; of the draws: B. Efron, R. J. Tibshirani (1993), An Introduction to the
    Bootstrap. By simulation 92 to 95 % are covered, with 4 seeds and 300 images.
    """
    mean, n_seeds = float(np.mean(values)), len(values)
    if n_seeds == 1:
        return RetrainedMean(Estimate(mean, math.nan, math.nan, level), math.nan, n_seeds, n_images)
    seeds, of_images, residual = _drawn_components(values, drawn)
    images = max(0.0, float(of_images.var(ddof=1)) - residual)
    reach = _mean_quantile([(seeds, n_seeds - 1), (images, n_images - 1)], level) * math.sqrt(seeds + images)
    deviation = math.sqrt(max(0.0, seeds - residual) * n_seeds)
    if not is_share:
        limits = max(0.0, mean - reach), mean + reach
    elif 0 < mean < 1:
        logit, reach = math.log(mean / (1 - mean)), reach / (mean * (1 - mean))
        limits = 1 / (1 + math.exp(reach - logit)), 1 / (1 + math.exp(-reach - logit))
    else:
        limits = math.nan, math.nan
    return RetrainedMean(Estimate(mean, *limits, level), deviation, n_seeds, n_images)


def drawn_difference_over_retrainings(
    a: tuple[Sequence[float], npt.NDArray[Any]],
    b: tuple[Sequence[float], npt.NDArray[Any]],
    n_images: int,
    level: float = 0.95,
) -> Estimate:
    """Estimate the objective of configuration a minus that of b: same images and draws, seeds of their own.

    Args:
        a: The values and the drawn values of a, as for `drawn_over_retrainings`.
        b: The same of b; the numbers of seeds may differ.
        n_images: How many images there are.
        level: Probability that the interval covers the true difference.

    Source: as `difference_over_retrainings`.
    """
    difference = float(np.mean(a[0])) - float(np.mean(b[0]))
    if min(len(a[0]), len(b[0])) == 1:
        return Estimate(difference, math.nan, math.nan, level)
    (seeds_a, images_a, rest_a), (seeds_b, images_b, rest_b) = (_drawn_components(*one) for one in (a, b))
    images = max(0.0, float((images_a - images_b).var(ddof=1)) - rest_a - rest_b)
    parts = [(seeds_a, len(a[0]) - 1), (seeds_b, len(b[0]) - 1), (images, n_images - 1)]
    half = t_quantile(level, _satterthwaite(parts)) * math.sqrt(seeds_a + seeds_b + images)
    return Estimate(difference, difference - half, difference + half, level)


def _drawn_components(values: Sequence[float], drawn: npt.NDArray[Any]) -> tuple[float, npt.NDArray[np.float64], float]:
    """Return the variance of the mean that the seeds show, the mean of each draw, and what neither explains."""
    table = np.asarray(drawn, np.float64)
    n_seeds, n_draws = table.shape
    of_draws = table.mean(axis=0)
    rest = table - table.mean(axis=1, keepdims=True) - of_draws + table.mean()
    residual = float((rest**2).sum()) / ((n_seeds - 1) * (n_draws - 1)) / n_seeds
    return float(np.var(values, ddof=1)) / n_seeds, of_draws, residual


def objective_over_retrainings(objectives: Sequence[float], level: float = 0.95) -> RetrainedObjective:
    """Return the mean of one number per retraining, and an interval for one further retraining.

    The images behind the numbers are taken as given: both intervals are for the same images.

    Args:
        objectives: For instance the validation accuracy of each retraining, as a fraction.
        level: Probability of both intervals, for normally distributed numbers.

    Raises:
        IntervalError: No number, one that is not finite, or a level outside 0..1.

    Source: Student's t; further value: G. J. Hahn and W. Q. Meeker (1991), Statistical Intervals, section 4.7.
    """
    check_level(level)
    values = np.asarray(objectives, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise IntervalError(
            f"objectives {values.tolist()!r}: expected finite numbers, at least one; leave out what did not complete"
        )
    n, mean = int(values.size), float(values.mean())
    if n == 1:
        unknown = Estimate(mean, math.nan, math.nan, level)
        return RetrainedObjective(unknown, unknown, math.nan, n)
    deviation = float(values.std(ddof=1))
    reach = t_quantile(level, n - 1) * deviation
    of_mean, of_next = reach / math.sqrt(n), reach * math.sqrt(1 + 1 / n)
    return RetrainedObjective(
        Estimate(mean, mean - of_mean, mean + of_mean, level),
        Estimate(mean, mean - of_next, mean + of_next, level),
        deviation,
        n,
    )


def _components(table: npt.NDArray[np.float64]) -> _Components:
    n_seeds, n_images = table.shape
    of_seeds, of_images = table.mean(axis=1), table.mean(axis=0)
    rest = table - of_seeds[:, None] - of_images + table.mean()
    residual = float((rest**2).sum()) / ((n_seeds - 1) * (n_images - 1)) / n_seeds
    return _Components(of_images, float(of_seeds.var(ddof=1)) / n_seeds, residual)


def _satterthwaite(parts: Sequence[tuple[float, int]]) -> float:
    """Return the degrees of freedom of a sum of variances, each with its own; infinite if the sum is zero."""
    total = sum(variance for variance, _ in parts)
    if total <= _ROUNDING:
        return math.inf
    return total**2 / sum(variance**2 / freedom for variance, freedom in parts)


def _mean_quantile(parts: Sequence[tuple[float, int]], level: float) -> float:
    """Return the mean of Satterthwaite's t quantile and of Cochran's, which weights those of the parts."""
    satterthwaite, total = t_quantile(level, _satterthwaite(parts)), sum(variance for variance, _ in parts)
    if total <= _ROUNDING:
        return satterthwaite
    cochran = sum(variance * t_quantile(level, freedom) for variance, freedom in parts) / total
    return (satterthwaite + cochran) / 2


def _without_spread(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], difference: float, level: float
) -> Estimate:
    """Square and add the distances to Wilson's limits of both (R. G. Newcombe 1998, Stat. Med. 17, 873, method 10)."""
    of_a, of_b = (accuracy_over_retrainings(table.astype(np.bool_), level).mean for table in (a, b))
    low = difference - math.hypot(of_a.value - of_a.low, of_b.high - of_b.value)
    high = difference + math.hypot(of_a.high - of_a.value, of_b.value - of_b.low)
    return Estimate(difference, max(-1.0, low), min(1.0, high), level)


def _flag_table(name: str, correct: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    table = np.asarray(correct)
    if table.dtype != np.bool_ or table.ndim != 2 or len(table) < 1 or table.shape[1] < 2:
        raise IntervalError(
            f"{name}: shape {table.shape} of {table.dtype}, expected bool (n_seeds, n_images) with at least two "
            "images; give predicted == true, one row a retraining"
        )
    return table.astype(np.float64)
