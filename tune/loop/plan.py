"""What a coordinator carries out, and the plan of one given configuration; a search has its own (`search.py`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection

from results.log.records import Rung, TrialKey, TrialStarted
from results.log.state import RunState, TrialState
from tune.loop.next_work import Terms


class Plan(ABC):
    """Which trials there are, what an attempt at one is given, and where one is stopped."""

    max_retries: int  # of a trial whose training function raised or found no memory
    max_consecutive_failures: int  # as many failed trials in a row make the run hopeless

    @abstractmethod
    def has_work(self) -> bool:
        """Return whether a trial is open or will be begun."""

    @abstractmethod
    def next_trial(self, live: Collection[TrialKey]) -> TrialStarted | None:
        """Return the next trial to begin, None while there is none; `live` are those that are running."""

    @abstractmethod
    def terms(self, trial: TrialState) -> Terms:
        """Return what every attempt at a trial is given."""

    def rung(self, trial: TrialState, epoch: int) -> Rung | None:
        """Return the decision that is due after this epoch, if one is; without rungs nothing is compared."""
        return None

    def outside(self, trial: TrialState) -> str | None:
        """Return why a trial lies outside of the limits and is not trained, as far as its network is known."""
        return None

    def overspent(self, trial: TrialState) -> str | None:
        """Return why no further epoch of a trial may begin, whatever it reaches."""
        return None

    def shape(self, trial: TrialState) -> str:
        """Return what tells networks that are measured once from others."""
        return ""

    def note_begun(self, trial: TrialState) -> None:
        """Take note of a trial whose start is recorded."""
        return

    def note_ended(self, trial: TrialState) -> None:
        """Take note of a trial whose end is recorded."""
        return


class GivenPlan(Plan):
    """One trial, number 0, of a given configuration: no sampler, no rung, one try in each process."""

    max_consecutive_failures = 2  # there is one trial, which says itself why it failed

    def __init__(self, terms: Terms, *, seed: int, state: RunState) -> None:
        self._terms, self._seed, self._state = terms, seed, state
        self.max_retries = sum(a.counts for trial in state.trials.values() for a in trial.attempts_ended.values())

    def has_work(self) -> bool:
        """Return whether epochs are missing."""
        trial = self._state.trials.get((0, None))
        return trial is None or trial.ended is None

    def next_trial(self, live: Collection[TrialKey]) -> TrialStarted | None:
        """Return the trial if it has not begun."""
        if self._state.trials:
            return None
        terms = self._terms
        return TrialStarted(
            trial=0, parameters={}, configuration=terms.configuration, seed=self._seed, max_epochs=terms.max_epochs
        )

    def terms(self, trial: TrialState) -> Terms:
        """Return the terms as they are now: a run may be continued to more epochs than it began with."""
        return self._terms
