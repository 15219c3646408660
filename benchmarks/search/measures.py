"""How soon each way has the accuracy that a random search ends with, from the records alone.

A seed that never has it counts with all it spent: the expected time to the target, with restarts, is what all seeds
spent until they had it or ended, over the number of those that had it. Where none had it that is unknown, and what they
spent together is a lower bound.

Source of the expected running time: A. Auger, N. Hansen (2005), CEC 2005, 1777 (doi:10.1109/CEC.2005.1554902).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.search.record import Searched

DRAWS = 10_000
LEVEL = 0.95
FEWEST = 3  # seeds for an interval

# What was spent until the target or the end, and whether the target was had.
Amount = Callable[[Searched, float], tuple[float, bool]]


@dataclass(frozen=True)
class Ratio:
    """What another way spends over what ours does; the interval is over seeds, none where there are too few.

    `is_bound` says that the other way never had the target, so that the truth is larger.
    """

    value: float
    low: float | None
    high: float | None
    is_bound: bool


def by_way(records: Sequence[Searched]) -> dict[str, list[Searched]]:
    """Return the records of each way, in the order of seeds."""
    found: dict[str, list[Searched]] = {}
    for record in sorted(records, key=lambda one: one.seed):
        found.setdefault(record.way, []).append(record)
    return found


def target_of(random: Sequence[Searched]) -> float:
    """Return the accuracy that random searches end with: the median over seeds of the best each reported."""
    return statistics.median(record.best for record in random)


def epochs_to(record: Searched, target: float) -> tuple[float, bool]:
    """Return how many epochs were reported until one had the target, or in all, and whether one had it."""
    for number, epoch in enumerate(record.epochs, start=1):
        if epoch.validation_accuracy >= target:
            return float(number), True
    return float(len(record.epochs)), False


def cpu_to(record: Searched, target: float) -> tuple[float, bool]:
    """Return the processor seconds until then."""
    number, reached = epochs_to(record, target)
    return (record.epochs[int(number) - 1].cpu_s if reached else record.cpu_s), reached


def wall_to(record: Searched, target: float) -> tuple[float, bool]:
    """Return the seconds until then."""
    number, reached = epochs_to(record, target)
    return (record.epochs[int(number) - 1].wall_s if reached else record.wall_s), reached


def expected(records: Sequence[Searched], target: float, amount: Amount) -> tuple[float, bool]:
    """Return the expected amount until the target; a lower bound, said by False, where no seed had it."""
    spent = [amount(record, target) for record in records]
    had = sum(reached for _, reached in spent)
    return sum(value for value, _ in spent) / max(had, 1), had > 0


def ratio(ours: Sequence[Searched], other: Sequence[Searched], target: float, amount: Amount) -> Ratio | None:
    """Return other over ours on the seeds that both have; None where ours never had the target or none is common."""
    both = _paired(ours, other)
    if not both:
        return None
    mine, had = expected([a for a, _ in both], target, amount)
    if not had:
        return None
    others, is_known = expected([b for _, b in both], target, amount)
    low, high = _interval(both, target, amount)
    return Ratio(others / mine, low, high if is_known else None, is_bound=not is_known)


def _paired(ours: Sequence[Searched], other: Sequence[Searched]) -> list[tuple[Searched, Searched]]:
    seeds: Mapping[int, Searched] = {record.seed: record for record in other}
    return [(record, seeds[record.seed]) for record in ours if record.seed in seeds]


def _interval(
    both: Sequence[tuple[Searched, Searched]], target: float, amount: Amount
) -> tuple[float | None, float | None]:
    """Return percentiles over resampled seeds; a draw in which ours never has the target counts as zero."""
    if len(both) < FEWEST:
        return None, None
    rows = np.array([[*amount(a, target), *amount(b, target)] for a, b in both], float)
    draws = np.random.default_rng(0).integers(0, len(both), (DRAWS, len(both)))
    mine, mine_had, others, others_had = rows[draws].sum(axis=1).T
    per_mine = np.divide(mine, mine_had, out=np.full(DRAWS, math.inf), where=mine_had > 0)
    per_other = others / np.maximum(others_had, 1)
    low, high = np.quantile(per_other / per_mine, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="inverted_cdf")
    return float(low), float(high)
