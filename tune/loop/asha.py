"""Asynchronous successive halving as pure functions of what the event log holds. No Ray, no state.

Source of the method: Li et al., "A System for Massively Parallel Hyperparameter Tuning", MLSys 2020
(doi:10.48550/arXiv.1810.05934). Differences, each for a reason given in DECISIONS.md: rungs are integers, a
trial is compared by its best value so far, and equal values go on together.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Decision:
    """What a rung decided and from what: `better` of `seen` values (its own included) lie above `value`."""

    stop: bool
    value: float
    seen: int
    better: int
    cutoff: float


def rung_epochs(grace_epochs: int, reduction_factor: int, max_epochs: int) -> tuple[int, ...]:
    """Return the epochs at which ASHA decides: grace, grace x factor, ... below `max_epochs`."""
    epochs = []
    epoch = grace_epochs
    while epoch < max_epochs:
        epochs.append(epoch)
        epoch *= reduction_factor
    return tuple(epochs)


def decide(value: float, others: Sequence[float], reduction_factor: int) -> Decision:
    """Decide one trial at one rung.

    It goes on when fewer than ceil(seen / factor) values at this rung are greater than its own. The first to
    arrive therefore always goes on, and trials with equal values share their fate.

    Args:
        value: The trial's best merit so far: its objective, the higher the better.
        others: The same of all trials that reached this rung before it, ascending.
        reduction_factor: One in so many goes on.
    """
    seen = len(others) + 1
    places = -(-seen // reduction_factor)
    better = len(others) - bisect.bisect_right(others, value)
    # The value in the last place that goes on, counted from the best, its own among them.
    if better >= places:
        cutoff = others[-places]
    else:
        cutoff = value if better == places - 1 else others[-(places - 1)]
    return Decision(stop=better >= places, value=value, seen=seen, better=better, cutoff=cutoff)


def is_exempt(trial: int, fraction: float) -> bool:
    """Return whether ASHA lets a trial run to the end whatever it reaches: evenly spaced numbers, 0 never.

    Of the first n trials after the baseline floor(n * fraction) are exempt.
    """
    return math.floor(trial * fraction) > math.floor((trial - 1) * fraction) if trial > 0 else False
