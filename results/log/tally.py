"""What the trials of a run amount to, kept up to date as they end."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from results.log.records import Status

if TYPE_CHECKING:
    from results.log.state import TrialState


class Tally:
    """What the trials of a run amount to, kept up to date trial by trial: a driver of thousands cannot look at all.

    Open trials are as few as there are workers; whoever needs them looks at each.
    """

    def __init__(self) -> None:
        self.ended: Counter[Status] = Counter()  # ended trials of the search, by their status
        self.epochs = 0  # of all that ended, retrainings too
        self.seconds = 0.0
        self.lengths = (0, 0, 0)  # epochs of those of the search but the baseline: how many trials, sum, sum of squares
        self.completed: list[tuple[float, int]] = []  # (minus merit, number), sorted, of the search
        self.others: list[tuple[float, int]] = []  # of those that ended otherwise and have one
        self.rungs: defaultdict[int, list[float]] = defaultdict(list)  # merits at each rung, see `RunState.rung_values`

    def count(self, trial: TrialState, by: int = 1) -> None:
        """Count in (1) or out (-1) a trial that has ended."""
        n = len(trial.epochs)
        self.epochs += by * n
        self.seconds += by * trial.seconds
        if trial.started.repeat is not None:
            return
        self.ended[trial.status] += by
        if not trial.started.is_baseline:
            self.lengths = (self.lengths[0] + by, self.lengths[1] + by * n, self.lengths[2] + by * n * n)
        if trial.best is not None:
            place = -trial.merit, trial.started.trial
            _place(self.completed if trial.status == Status.COMPLETED else self.others, place, by)

    def count_rungs(self, before: Mapping[int, float], now: Mapping[int, float]) -> None:
        """Count what a trial has reached at rungs instead of what it had before."""
        for epoch in before.keys() | now.keys():
            if before.get(epoch) != now.get(epoch):
                if epoch in before:
                    _place(self.rungs[epoch], before[epoch], -1)
                if epoch in now:
                    _place(self.rungs[epoch], now[epoch], 1)


def _place(ordered: list[Any], what: Any, by: int) -> None:
    """Put something into a sorted list, or take it out of it where `by` is negative."""
    place = bisect.bisect_left(ordered, what)
    if by > 0:
        ordered.insert(place, what)
    else:
        del ordered[place]
