"""Was stopping early right? What the rungs of a search say about it, above all the trials that were exempt from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.log.records import ENDED, RungDecision, Status
from results.log.state import RunState, TrialState
from results.stats.intervals import wilson_interval

TOP_SHARE = 3  # one exempt trial in three counts as a top one
MIN_EXEMPT = 3  # with fewer there is no best third


@dataclass(frozen=True)
class Economy:
    """Epochs spent by the search, and what the same trials would have cost without stopping."""

    spent: int
    without_stopping: int

    @property
    def saved(self) -> float:
        """Share of the epochs that stopping saved."""
        return 1 - self.spent / self.without_stopping if self.without_stopping else 0.0


@dataclass(frozen=True)
class ExemptTrials:
    """Completed trials of the search that no rung could stop, and what would have become of them; no baseline.

    `would_stop` of the `exempt` lie below the cutoff; `top` are the best third of the exempt by their objective
    (equals of the last of these too), none with fewer than `MIN_EXEMPT`; `top_would_stop` are both: good trials that
    stopping would have lost.
    """

    exempt: int
    would_stop: int
    top: int
    top_would_stop: int

    @property
    def lost(self) -> tuple[float, float] | None:
        """95 % interval of the share of top trials that would have been stopped; None without a top one."""
        return wilson_interval(self.top_would_stop, self.top) if self.top else None


@dataclass(frozen=True)
class RungAudit:
    """One rung: how well the value there tells the objective of the `completed` trials that were decided there.

    `correlation` is Spearman's, None with fewer than three trials or where all values or all objectives are equal.
    """

    epoch: int
    completed: int
    correlation: float | None
    exempt: ExemptTrials


@dataclass(frozen=True)
class Audit:
    """All rungs, by epoch; `any_rung` counts an exempt trial as stopped where one of its rungs would have done so."""

    rungs: tuple[RungAudit, ...]
    any_rung: ExemptTrials
    economy: Economy


def epochs_spent(state: RunState) -> Economy:
    """Count the epochs of ended trials; diverged and failed ones would not have cost more without stopping."""
    ended = [t for t in state.search_trials() if t.status in ENDED]
    spent = sum(len(t.epochs) for t in ended)
    whole = sum(t.started.max_epochs if t.status == Status.STOPPED else len(t.epochs) for t in ended)
    return Economy(spent, whole)


def audit(state: RunState) -> Audit:
    """Compare what every rung saw with what the completed trials reached in the end."""
    completed = [t for t in state.search_trials() if t.status == Status.COMPLETED and t.best is not None]
    epochs = sorted({epoch for t in state.search_trials() for epoch in t.rungs})
    exempt = [t for t in completed if _is_exempt(t)]
    top = _top(exempt)
    rungs = []
    for epoch in epochs:
        here = [t for t in completed if epoch in t.rungs]
        correlation = _spearman([t.rungs[epoch].value for t in here], [t.value for t in here])
        rungs.append(RungAudit(epoch, len(here), correlation, _count(exempt, top, (epoch,))))
    return Audit(tuple(rungs), _count(exempt, top, epochs), epochs_spent(state))


def _top(exempt: Sequence[TrialState]) -> set[int]:
    """Return the numbers of the best third, rounded up; equals share their fate, as they do at a rung."""
    if len(exempt) < MIN_EXEMPT:
        return set()
    places = -(-len(exempt) // TOP_SHARE)
    last = sorted((t.merit for t in exempt), reverse=True)[places - 1]
    return {t.started.trial for t in exempt if t.merit >= last}


def _count(exempt: Sequence[TrialState], top: set[int], epochs: Sequence[int]) -> ExemptTrials:
    here = {t.started.trial: [t.passes(t.rungs[epoch]) for epoch in epochs if epoch in t.rungs] for t in exempt}
    decided = {number for number, passed in here.items() if passed}
    would_stop = {number for number, passed in here.items() if not all(passed)}
    return ExemptTrials(len(decided), len(would_stop), len(decided & top), len(top & would_stop))


def _is_exempt(trial: TrialState) -> bool:
    """Return whether no rung selected a trial of the search; `exempt_fraction` may change while it trains."""
    decisions = {rung.decision for rung in trial.rungs.values()}
    return decisions == {RungDecision.EXEMPT} and not trial.started.is_baseline


def _spearman(values: Sequence[float], objectives: Sequence[float]) -> float | None:
    pairs = [(v, o) for v, o in zip(values, objectives, strict=True) if math.isfinite(v) and math.isfinite(o)]
    if len(pairs) < 3 or len({v for v, _ in pairs}) == 1 or len({o for _, o in pairs}) == 1:
        return None
    import pandas as pd  # not at the top: a status must not cost it

    # By their mean ranks, as scipy.stats.spearmanr has it, whose import takes longer than a whole report.
    ranks = [pd.Series(numbers).rank() for numbers in zip(*pairs, strict=True)]
    return float(ranks[0].corr(ranks[1]))
