"""Shares of images that are not independent: frames of one region, taken in succession, are right or wrong together."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.intervals import Estimate, IntervalError, check_level, score_limits, t_quantile, wilson_estimate


def share_by_group(
    hits: npt.NDArray[Any], counted: npt.NDArray[Any], groups: npt.NDArray[Any], level: float = 0.95
) -> Estimate:
    """Return which share of the counted images are hits, with Wilson's interval for as many images as are independent.

    That number is n / design effect, from the spread of the groups' sums, and at most n; with few groups Student's
    quantile stands for the normal one. Where all or none are hits nothing tells the spread, and the number is that of
    the groups, one of which alone says nothing. With one image a group it is the plain Wilson interval. By simulation
    94 to 96 % are covered (shares of 0.5 and 0.8 in 10 to 100 groups of ten), 92 % of a share of 0.95 in 20.

    Args:
        hits: Bool (n,).
        counted: Bool (n,): of which the share is.
        groups: (n,), equal for images that belong together.
        level: Probability that the interval covers the truth.

    Returns:
        All NaN where no image is counted.

    Raises:
        IntervalError: Arrays of different lengths, or a level outside 0..1.

    Source: L. Kish (1965), Survey Sampling, Wiley, for the design effect; E. L. Korn, B. I. Graubard (1998), Survey
    Methodology 24, 193-201, for n / design effect in an interval, with exact limits where here are Wilson's.
    """
    check_level(level)
    if not hits.shape == counted.shape == groups.shape or hits.ndim != 1:
        raise IntervalError(
            f"hits {hits.shape}, counted {counted.shape}, groups {groups.shape}: expected three of (n,); give one "
            "value for each image"
        )
    keep = counted.astype(bool)
    right, names = hits[keep].astype(np.float64), groups[keep]
    n, n_hits = int(right.size), int(right.sum())
    of = np.unique(names, return_inverse=True)[1]
    sizes, sums = np.bincount(of), np.bincount(of, weights=right)
    if n == 0 or len(sizes) == n:
        return wilson_estimate(n_hits, n, level)
    share, number = n_hits / n, len(sizes)
    if number == 1:
        return Estimate(share, 0.0, 1.0, level)
    if n_hits in (0, n):
        return Estimate(share, *score_limits(share, number, t_quantile(level, number - 1)), level)
    variance = number / (number - 1) * float(((sums - share * sizes) ** 2).sum()) / n**2
    effective = n if variance == 0 else min(n, share * (1 - share) / variance)
    return Estimate(share, *score_limits(share, effective, t_quantile(level, number - 1)), level)
