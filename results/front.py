"""What an objective costs: the size or time of each network, and the trials that no other beats in both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from results.log.records import Status
from results.log.state import RunState, TrialState


class Cost(StrEnum):
    """What a network costs where it is used."""

    PARAMETERS = "parameters"
    LATENCY = "ms an image"  # measured where the study limits it


@dataclass(frozen=True)
class Priced:
    """A trial of the search with an objective, and what its network costs."""

    trial: TrialState
    cost: float


def priced(state: RunState, by: Cost) -> list[Priced]:
    """Return the trials of which both are known, in the order of their numbers."""
    costs = ((trial, _cost(state, trial, by)) for trial in state.search_trials() if trial.best is not None)
    return [Priced(trial, cost) for trial, cost in costs if cost is not None]


def front(trials: Sequence[Priced]) -> list[Priced]:
    """Return the completed trials that none beats or equals in objective at the same cost or a lower one."""
    found: list[Priced] = []
    completed = [one for one in trials if one.trial.status == Status.COMPLETED]
    for one in sorted(completed, key=lambda one: (one.cost, -one.trial.merit, one.trial.started.trial)):
        if not found or one.trial.merit > found[-1].trial.merit:
            found.append(one)
    return found


def _cost(state: RunState, trial: TrialState, by: Cost) -> float | None:
    measured = trial.network or state.networks.get(trial.started.shape or "")
    if by == Cost.LATENCY:
        return None if measured is None else measured.latency_ms
    counted = next((e.model_parameters for e in trial.epochs.values() if e.model_parameters is not None), None)
    if counted is None and measured is not None:
        return measured.model_parameters
    return counted
