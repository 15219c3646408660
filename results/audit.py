"""Was stopping early right? What the rungs of a search say about it, above all the trials that were exempt from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from results.evidence import objective
from results.intervals import wilson_interval
from results.records import COMPLETED, ENDED, STOPPED
from results.state import RunState, TrialState

TOP_SHARE = 3  # one completed trial in three counts as a top one
EXEMPT = "exempt"
_WIDE = 0.3  # an interval of a share that is wider leaves open whether stopping loses few or many


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
    """Completed trials that no rung could stop, and what would have become of them.

    `would_stop` of the `exempt` lie below the cutoff; `top` of the exempt are among the best third of all completed
    trials (equals of the last of these too); `top_would_stop` are both: good trials that stopping would have lost.
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
    baseline_exempt: bool
    economy: Economy


def epochs_spent(state: RunState) -> Economy:
    """Count the epochs of ended trials; diverged and failed ones would not have cost more without stopping."""
    ended = [t for t in state.search_trials() if t.status in ENDED]
    spent = sum(len(t.epochs) for t in ended)
    whole = sum(t.started.max_epochs if t.status == STOPPED else len(t.epochs) for t in ended)
    return Economy(spent, whole)


def audit(state: RunState) -> Audit:
    """Compare what every rung saw with what the completed trials reached in the end."""
    completed = [t for t in state.search_trials() if t.status == COMPLETED and t.best is not None]
    top = _top(completed)
    epochs = sorted({epoch for t in state.search_trials() for epoch in t.rungs})
    rungs = []
    for epoch in epochs:
        here = [t for t in completed if epoch in t.rungs]
        correlation = _spearman([t.rungs[epoch].value for t in here], [objective(t) for t in here])
        rungs.append(RungAudit(epoch, len(here), correlation, _exempt(here, top, (epoch,))))
    exempt = _exempt(completed, top, epochs)
    baseline = any(t.started.is_baseline and _is_exempt(t, epochs) for t in completed)
    return Audit(tuple(rungs), exempt, baseline, epochs_spent(state))


def audit_markdown(found: Audit) -> list[str]:
    """Return the section of the report: one row a rung, and what can be concluded; nothing without a rung."""
    if not found.rungs:
        return []
    lines = [
        "## Early stopping",
        "",
        f"Epochs spent: {found.economy.spent}; without stopping the same trials take "
        f"{found.economy.without_stopping} ({found.economy.saved:.0%} saved). Correlation is Spearman's, of the value "
        "at the rung and the objective, over the trials that were completed; the stopped ones cannot be in it, so it "
        "says little where many were stopped. Exempt trials are decided but not stopped"
        f"{', the baseline is one of them' if found.baseline_exempt else ''}; top is the best third of all completed "
        "trials.",
        "",
        "| rung | completed | correlation | exempt | of these below the cutoff | exempt, top | of these below it |",
        "|---|---|---|---|---|---|---|",
    ]
    for rung in found.rungs:
        correlation = "" if rung.correlation is None else f"{rung.correlation:.2f}"
        lines.append(f"| epoch {rung.epoch} | {rung.completed} | {correlation} | {_cells(rung.exempt)} |")
    lines.append(f"| any | | | {_cells(found.any_rung)} |")
    return [*lines, "", conclusion(found), ""]


def conclusion(found: Audit) -> str:
    """Say in one sentence what the exempt trials allow to conclude, and that it is little where they are few."""
    exempt, lost = found.any_rung, found.any_rung.lost
    who = "one trial" if exempt.exempt == 1 else f"{exempt.exempt} trials"
    if found.baseline_exempt:
        who = "the baseline alone" if exempt.exempt == 1 else f"{who} with the baseline"
    if not exempt.exempt:
        return "No completed trial was exempt from stopping, so whether it lost a good one cannot be known."
    if lost is None:
        return (
            f"Exempt and completed: {who}, none of them a top trial, so whether stopping loses good ones cannot be "
            "known."
        )
    share = (
        f"Of {exempt.top} exempt top {'trial' if exempt.top == 1 else 'trials'} the rungs would have stopped "
        f"{exempt.top_would_stop} (95 % interval of the share {lost[0]:.2f}..{lost[1]:.2f})"
    )
    if lost[1] - lost[0] > _WIDE:
        return f"{share}: too few to say whether stopping loses good trials."
    return f"{share}: this is how often stopping loses a good trial in this space."


def _cells(exempt: ExemptTrials) -> str:
    return f"{exempt.exempt} | {exempt.would_stop} | {exempt.top} | {exempt.top_would_stop}"


def _top(completed: Sequence[TrialState]) -> set[int]:
    """Return the numbers of the best third, rounded up; equals share their fate, as they do at a rung."""
    places = -(-len(completed) // TOP_SHARE)
    objectives = [objective(t) for t in completed]
    return {t.started.trial for t in completed if sum(o > objective(t) for o in objectives) < places}


def _exempt(trials: Sequence[TrialState], top: set[int], epochs: Sequence[int]) -> ExemptTrials:
    exempt = [t for t in trials if _is_exempt(t, epochs)]
    would_stop = {
        t.started.trial
        for t in exempt
        if any(t.rungs[epoch].value < t.rungs[epoch].cutoff for epoch in epochs if epoch in t.rungs)
    }
    chosen = {t.started.trial for t in exempt} & top
    return ExemptTrials(len(exempt), len(would_stop), len(chosen), len(chosen & would_stop))


def _is_exempt(trial: TrialState, epochs: Sequence[int]) -> bool:
    return any(trial.rungs[epoch].decision == EXEMPT for epoch in epochs if epoch in trial.rungs)


def _spearman(values: Sequence[float], objectives: Sequence[float]) -> float | None:
    pairs = [(v, o) for v, o in zip(values, objectives, strict=True) if math.isfinite(v) and math.isfinite(o)]
    if len(pairs) < 3 or len({v for v, _ in pairs}) == 1 or len({o for _, o in pairs}) == 1:
        return None
    from scipy.stats import spearmanr  # half a second that reading a record must not cost

    return float(spearmanr(*zip(*pairs, strict=True)).statistic)
