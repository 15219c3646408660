"""Images in groups of about equal size along a quantity."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.intervals import IntervalError


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
