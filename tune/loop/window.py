"""Optuna's trials in memory, of which its sampler sees a part once there are many: a proposal then costs no more.

TPE models the best trials, at most 25, against all others; both are there in the window, and the same while the search
is short. What is shown follows from the trials alone, so a study rebuilt from its log is shown the same.
"""

from __future__ import annotations

import bisect
from collections.abc import Collection, Container

from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

MOST = 1000  # trials that a sampler is shown, a quarter of them the best, however old they are

Rank = tuple[float, ...]  # the lower, the better


class Window(InMemoryStorage):  # type: ignore[misc]  # Optuna hides the types of its storages
    """All trials; the sampler, which asks for them as they are, sees the best, the newest and the running ones."""

    def __init__(self, *, running: Collection[int], most: int = MOST) -> None:
        """Begin without trials.

        Args:
            running: The numbers of the trials that are running, as they are at each time.
            most: So many are seen, and all of them as long as there are no more.
        """
        super().__init__()
        self._running, self._most, self._best = running, most, most // 4
        self._ranking: list[tuple[Rank, int]] = []

    def rank(self, number: int, rank: Rank) -> None:
        """Give a trial that has ended its place among the others."""
        bisect.insort(self._ranking, (rank, number))

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        """Return trials in the order of their numbers: all of them to everyone but a sampler."""
        is_sampler = not deepcopy and states != (TrialState.WAITING,)  # of which there are none; asked for before each
        trials: list[FrozenTrial] = super().get_all_trials(study_id, deepcopy, None if is_sampler else states)
        if not is_sampler:
            return trials
        if len(trials) > self._most:
            shown = {number for _, number in self._ranking[: self._best]}.union(self._running)
            shown.update(range(len(trials) - (self._most - self._best), len(trials)))
            trials = [trials[number] for number in sorted(shown)]
        return trials if states is None else [trial for trial in trials if trial.state in states]
