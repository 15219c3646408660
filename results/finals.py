"""The finals: who is retrained from fresh seeds, what that gave on validation, and who wins."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from results.log.records import FinalsDecided, Status
from results.log.state import RunState, TrialState
from results.stats.intervals import Estimate
from results.stats.seeds import objective_over_retrainings
from results.tables.leaderboard import rank_trials
from results.tables.ties import objective


@dataclass(frozen=True)
class Standing:
    """A finalist: what the search saw of it and what its retrainings reached, all on validation.

    `objectives` and `repeats` are those of the retrainings that were completed, `lost` says how the others ended.
    """

    trial: int
    is_baseline: bool
    searched: float  # its objective in the search; NaN where it had none
    repeats: tuple[int, ...]
    objectives: tuple[float, ...]
    lost: tuple[str, ...]

    @property
    def mean(self) -> float:
        """Mean objective over the completed retrainings; NaN without one."""
        return statistics.fmean(self.objectives) if self.objectives else math.nan

    @property
    def over_seeds(self) -> Estimate:
        """The mean with Student's interval, cut off at 0 and 1 where every objective is a share of images."""
        if not self.objectives:
            return Estimate(math.nan, math.nan, math.nan)
        mean = objective_over_retrainings(self.objectives).mean
        if math.isnan(mean.low) or not all(0 <= objective <= 1 for objective in self.objectives):
            return mean
        return replace(mean, low=max(0.0, mean.low), high=min(1.0, mean.high))

    @property
    def optimism(self) -> float:
        """What the search promised beyond the mean of the retrainings."""
        return self.searched - self.mean

    @property
    def best_repeat(self) -> int:
        """The retraining of the highest objective, the first of equals."""
        return self.repeats[self.objectives.index(max(self.objectives))]


def finalists(state: RunState, wanted: int, most: int) -> list[TrialState]:
    """Return the trials to retrain: the best `wanted`, those that tie with the last of them, and the baseline.

    A tie is the same objective, as with so many right images; at most `most` trials beside the baseline.
    The baseline is there also where it diverged in the search; one that failed has nothing to be retrained for.
    """
    ranked, _ = rank_trials(state)
    if not ranked:
        return []
    last = objective(ranked[min(wanted, len(ranked)) - 1])
    chosen = ranked[:wanted] + [t for t in ranked[wanted:most] if objective(t) == last]
    baseline = [
        t for t in state.search_trials() if t.started.is_baseline and t.status in (Status.COMPLETED, Status.DIVERGED)
    ]
    return chosen + [t for t in baseline if t not in chosen]


def standings(state: RunState, trials: Sequence[int], seeds: int) -> list[Standing]:
    """Return how the finalists stand, best first: all seeds completed before some, then by mean, then by number."""
    found = [_standing(state, trial, seeds) for trial in trials]
    return sorted(found, key=lambda s: (-len(s.objectives), -s.mean if s.objectives else 0.0, s.trial))


def decide(state: RunState, trials: Sequence[int], seeds: int) -> FinalsDecided | None:
    """Return the decision over these finalists as an event; None where no retraining was completed."""
    winner = standings(state, trials, seeds)[0] if trials else None
    if winner is None or not winner.objectives:
        return None
    return FinalsDecided(
        finalists=tuple(trials),
        seeds=seeds,
        search_trials=_ended(state),
        winner=winner.trial,
        delivered=winner.best_repeat,
    )


def is_stale(state: RunState) -> bool:
    """Return whether the search went on after its latest finals were decided."""
    return bool(state.decisions) and _ended(state) > state.decisions[-1].search_trials


def baseline_of(state: RunState, decision: FinalsDecided) -> int | None:
    """Return the trial number of the baseline among the finalists, if it is."""
    return next((n for n in decision.finalists if state.trials[n, None].started.is_baseline), None)


def _standing(state: RunState, trial: int, seeds: int) -> Standing:
    of = state.trials[trial, None]
    runs = {repeat: state.trials[trial, repeat] for repeat in range(seeds) if (trial, repeat) in state.trials}
    done = {repeat: t for repeat, t in runs.items() if t.status == Status.COMPLETED and t.best is not None}
    return Standing(
        trial=trial,
        is_baseline=of.started.is_baseline,
        searched=of.best.validation_accuracy if of.best else math.nan,
        repeats=tuple(done),
        objectives=tuple(objective(t) for t in done.values()),
        lost=tuple(f"{t.status}: {t.ended.reason}" for r, t in runs.items() if r not in done and t.ended),
    )


def _ended(state: RunState) -> int:
    return sum(t.ended is not None for t in state.search_trials())
