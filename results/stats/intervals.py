"""How sure a number is: intervals of an accuracy, and of the difference of two networks on the same images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

LEVEL_P = 0.05  # McNemar's exact test, two-sided: at or above it two networks are not told apart


class IntervalError(ValueError):
    """Counts or flags from which no interval follows: the message says which and what is expected."""


@dataclass(frozen=True)
class Estimate:
    """A number and the interval `low..high` that covers the truth with probability `level`.

    `low` and `high` are NaN where nothing says how sure the number is, all three where it has no meaning. Formatted,
    as in f"{estimate:.3f}", it is what all reports print: value (low..high), as far as these are known, or "-".
    """

    value: float
    low: float
    high: float
    level: float = 0.95

    def __format__(self, form: str) -> str:
        """Return the value and the limits, each in the format of a number."""
        if math.isnan(self.value):
            return "-"
        value = format(self.value, form)
        return value if math.isnan(self.low) else f"{value} ({format(self.low, form)}..{format(self.high, form)})"


@dataclass(frozen=True)
class PairedDifference:
    """Accuracy, or another objective, of network a minus that of network b on the same `n` images.

    `low..high` is the interval at `level`; `p_value` belongs to the hypothesis that both are equal. Of accuracies
    `only_a` images were right with a and wrong with b, `only_b` the reverse, and the exact test is a little more
    cautious than the interval: near 0.05 the interval may exclude zero while the p value is above 0.05.
    """

    difference: float
    low: float
    high: float
    n: int
    only_a: int | None = None
    only_b: int | None = None
    p_value: float = math.nan
    level: float = 0.95

    @property
    def estimate(self) -> Estimate:
        """The difference with its interval."""
        return Estimate(self.difference, self.low, self.high, self.level)


def wilson_interval(successes: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the score interval (low, high) of a proportion, both in 0..1.

    Raises:
        IntervalError: No trials, successes outside 0..n, a level outside 0..1.

    Source: E. B. Wilson (1927), J. Am. Stat. Assoc. 22, 209, doi:10.1080/01621459.1927.10502953.
    """
    if n < 1 or not 0 <= successes <= n:
        raise IntervalError(f"{successes} successes of {n}: expected 0 <= successes <= n and n >= 1; check the counts")
    return score_limits(successes / n, n, normal_quantile(level))


def wilson_estimate(successes: int, n: int, level: float = 0.95) -> Estimate:
    """Return a proportion with its Wilson interval; all NaN without a trial.

    Raises:
        IntervalError: As for `wilson_interval`.
    """
    if n == 0 and successes == 0:
        return Estimate(math.nan, math.nan, math.nan, level)
    return Estimate(successes / n, *wilson_interval(successes, n, level), level)


def score_limits(share: float, n: float, quantile: float) -> tuple[float, float]:
    """Return Wilson's limits of a share found in `n` trials, an effective number where it is no integer."""
    square = quantile * quantile
    centre = (share + square / (2 * n)) / (1 + square / n)
    half = quantile * math.sqrt(share * (1 - share) / n + square / (4 * n * n)) / (1 + square / n)
    # At the ends the formula is exact, its rounding is not.
    return 0.0 if share == 0 else centre - half, 1.0 if share == 1 else centre + half


def paired_difference_interval(
    correct_a: Sequence[bool] | npt.NDArray[Any], correct_b: Sequence[bool] | npt.NDArray[Any], level: float = 0.95
) -> PairedDifference:
    """Compare two networks on the same images.

    Args:
        correct_a: Whether network a was right, bool (n,).
        correct_b: The same for network b, image by image.
        level: Probability that the interval covers the true difference.

    Raises:
        IntervalError: Not two arrays of equal length of true and false, or a level outside 0..1.

    Source: interval: R. G. Newcombe (1998), Stat. Med. 17, 2635, method 10 (Wilson limits of both accuracies,
    squared and added with their correlation); p value: exact test of McNemar (1947), two-sided.
    """
    a, b = _flags("correct_a", correct_a), _flags("correct_b", correct_b)
    if a.size != b.size or a.size == 0:
        raise IntervalError(
            f"correct_a has {a.size} images and correct_b {b.size}; give the same images, at least one, for both"
        )
    n, both = int(a.size), int(np.sum(a & b))
    only_a, only_b = int(np.sum(a & ~b)), int(np.sum(b & ~a))
    low, high = _newcombe_limits(both, only_a, only_b, n - both - only_a - only_b, level)
    return PairedDifference((only_a - only_b) / n, low, high, n, only_a, only_b, _mcnemar_exact(only_a, only_b), level)


def check_level(level: float) -> None:
    """Refuse what is no probability of an interval.

    Raises:
        IntervalError: A level outside 0..1.
    """
    if not 0 < level < 1:
        raise IntervalError(f"level={level!r}: expected a probability between 0 and 1, e.g. 0.95")


def normal_quantile(level: float) -> float:
    """Return how many standard deviations either side hold a share `level` of a normal distribution.

    Raises:
        IntervalError: A level outside 0..1.
    """
    check_level(level)
    return NormalDist().inv_cdf(0.5 + level / 2)


def t_quantile(level: float, freedom: float) -> float:
    """Return the same of Student's distribution with so many degrees of freedom.

    Raises:
        IntervalError: A level outside 0..1.
    """
    check_level(level)
    from scipy.special import stdtrit  # which a search need not wait for

    return float(stdtrit(freedom, 0.5 + level / 2))


def _newcombe_limits(both: int, only_a: int, only_b: int, neither: int, level: float) -> tuple[float, float]:
    n = both + only_a + only_b + neither
    share_a, share_b = (both + only_a) / n, (both + only_b) / n
    low_a, high_a = wilson_interval(both + only_a, n, level)
    low_b, high_b = wilson_interval(both + only_b, n, level)
    correlation = _corrected_correlation(both, only_a, only_b, neither)

    def combine(x: float, y: float) -> float:
        return math.sqrt(max(0.0, x * x - 2 * correlation * x * y + y * y))

    difference = (only_a - only_b) / n
    low = difference - combine(share_a - low_a, high_b - share_b)
    high = difference + combine(high_a - share_a, share_b - low_b)
    return max(-1.0, low), min(1.0, high)


def _corrected_correlation(both: int, only_a: int, only_b: int, neither: int) -> float:
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    if margins == 0:
        return 0.0
    excess = float(both * neither - only_a * only_b)
    if excess > 0:  # Newcombe's continuity correction; without it the interval is too short
        excess = max(0.0, excess - (both + only_a + only_b + neither) / 2)
    return excess / math.sqrt(margins)


def _mcnemar_exact(only_a: int, only_b: int) -> float:
    discordant = only_a + only_b
    ways = tail = 1  # exact integers: the number of ways to have at most k of the discordant images on one side
    for k in range(min(only_a, only_b)):
        ways = ways * (discordant - k) // (k + 1)
        tail += ways
    return min(1.0, 2 * tail / (1 << discordant))


def _flags(name: str, values: Sequence[bool] | npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size > 0 and array.dtype != np.bool_):
        raise IntervalError(
            f"{name}: shape {array.shape} of {array.dtype}, expected bool (n,); give predicted == true, image by image"
        )
    return array.astype(np.bool_)


def equal_count_groups(values: npt.NDArray[Any], groups: int) -> list[npt.NDArray[np.intp]]:
    """Return the indices of each group, groups and indices in ascending order of `values` (n,).

    Equal values stay together, so that there may be fewer groups, of unequal size.

    Raises:
        IntervalError: Fewer than one group.
    """
    if groups < 1:
        raise IntervalError(f"bins={groups}: expected at least 1; ask for about one bin per 20 images")
    order = np.argsort(values, kind="stable")
    ascending = np.asarray(values)[order]
    targets = np.unique(np.arange(1, groups) * len(order) // groups) if len(order) else np.arange(0)
    # A cut inside a run of equal values moves to its beginning.
    cuts = np.unique(np.searchsorted(ascending, ascending[targets], side="left"))
    return [group for group in np.split(order, cuts) if group.size]
