"""The proposer: Optuna behind a pure interface, rebuilt from the trials of the event log.

Trial `n` of the study is trial `n` of Optuna's, and the sampler of each proposal is seeded by (study seed, trial
number). So a rebuilt proposer proposes what the uninterrupted one would have.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from results.errors import RecordError
from results.log.records import Status
from results.log.state import TrialState as Recorded
from results.objective import Objective
from results.schema import Value
from search_spaces.parameters import Categorical, Float, Int
from search_spaces.space import Space
from seti_model.runtime import derive_seed
from tune.loop.window import MOST, Window

CONSTRAINT = "trainable"  # above zero where a configuration is not


class Proposer:
    """Proposes configurations and is told how trials ended."""

    def __init__(
        self,
        space: Space,
        *,
        sampler: str,
        startup_trials: int,
        seed: int,
        objective: Objective | None = None,
    ) -> None:
        self._space = space
        self._kind = sampler
        self._startup_trials = startup_trials
        self._seed = seed
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._running: dict[int, Trial] = {}
        # TPE draws at random until it sees so many: the quarter that are the best must suffice.
        self._window = Window(running=self._running, most=max(MOST, 4 * startup_trials))
        self._objective = objective or Objective()
        towards = direction(self._objective)
        self._study = optuna.create_study(direction=towards, sampler=self._sampler(0), storage=self._window)

    def rebuild(self, trials: Iterable[Recorded]) -> None:
        """Take in all recorded trials of the search, in the order of their numbers, running ones too."""
        for recorded in trials:
            self.add(recorded)

    def add(self, recorded: Recorded) -> None:
        """Take in one recorded trial that this proposer did not propose itself: rebuilt ones and the baseline."""
        self._study.add_trial(frozen_trial(recorded, self._space))
        if recorded.status == Status.RUNNING:
            number = recorded.started.trial
            identity = self._window.get_trial_id_from_study_id_trial_number(self._study._study_id, number)
            self._running[number] = Trial(self._study, identity)
        self._rank(recorded)

    def propose(self, number: int) -> dict[str, Value]:
        """Return the active parameters of trial `number`, which must be the next one."""
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        if trial.number != number:
            raise RuntimeError(f"trial {number} is {trial.number} for Optuna; the rebuilt study is not whole")
        values = suggest(trial, self._space)
        self._running[trial.number] = trial
        return values

    def tell(self, recorded: Recorded) -> None:
        """Say how a trial ended.

        Completed: COMPLETE with the objective. Stopped: PRUNED with the curve. Diverged, without memory or outside of
        the limits: PRUNED and infeasible, because TPE never looks at FAIL and would propose the same region again.
        Failed: FAIL.
        """
        trial = self._running.pop(recorded.started.trial)
        for epoch, best in _curve(recorded).items():
            trial.report(best, epoch)
        state, value = _outcome(recorded)
        if is_infeasible(recorded):
            trial.set_constraint(CONSTRAINT, 1.0)
        self._study.tell(trial, value, state=state)
        self._rank(recorded)

    def _rank(self, recorded: Recorded) -> None:
        """Rank a trial as TPE does: completed ones by their value, then stopped ones by how far they came."""
        number, (state, value) = recorded.started.trial, _outcome(recorded)
        curve = {} if is_infeasible(recorded) else _curve(recorded)
        if state == TrialState.COMPLETE and value is not None:
            self._window.rank(number, (0.0, -self._objective.merit(value)))
        elif state == TrialState.PRUNED and curve:
            last = max(curve)
            self._window.rank(number, (1.0, -last, -self._objective.merit(curve[last])))

    @property
    def study(self) -> optuna.Study:
        """Optuna's study, for exports and tests; changing it changes the search."""
        return self._study

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = derive_seed("sampler", self._seed, number)
        if self._kind == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        conditional = any(p.when for p in self._space.parameters)
        with warnings.catch_warnings():
            # `group` is what makes TPE see conditional parameters together; Optuna calls it experimental since 2.8.
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=seed,
                n_startup_trials=self._startup_trials,
                multivariate=True,
                group=conditional,
                constant_liar=True,
            )


def direction(objective: Objective) -> str:
    """Return which way Optuna looks."""
    return "minimize" if objective.is_minimised else "maximize"


def frozen_trial(recorded: Recorded, space: Space, attributes: Mapping[str, Any] | None = None) -> FrozenTrial:
    """Return a recorded trial as Optuna has it; `attributes` become its user attributes.

    Raises:
        RecordError: Its parameters are no point of the space, as no driver records.
    """
    known: dict[str, Any] = dict(recorded.parameters)
    declared = {p.name: p for p in space.parameters}
    state, value = _outcome(recorded)
    curve = _curve(recorded) if recorded.ended else {}
    if state == TrialState.PRUNED and curve:
        value = curve[max(curve)]  # as `tell` does it
    try:
        return create_trial(
            state=state,
            value=value,
            params=known,
            distributions={name: distribution(declared[name]) for name in known},
            intermediate_values=curve,
            constraints={CONSTRAINT: 1.0} if is_infeasible(recorded) else None,
            user_attrs=dict(attributes or {}),
        )
    except (KeyError, ValueError) as error:
        shown = {name[:40]: str(value)[:40] for name, value in known.items()}
        raise RecordError(f"{shown} is no point of space {space.name!r}; restore the log from a copy") from error


def is_infeasible(recorded: Recorded) -> bool:
    """Return whether the configuration itself cannot be trained: it diverges, lacks memory or is outside of limits."""
    return recorded.status in (Status.DIVERGED, Status.OUTSIDE) or (
        recorded.status == Status.FAILED and recorded.lacked_memory
    )


def distribution(parameter: Float | Int | Categorical) -> BaseDistribution:
    """Return Optuna's distribution for a parameter of the space."""
    match parameter:
        case Float():
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)
        case Int():
            return IntDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step or 1)
        case Categorical():
            return CategoricalDistribution(parameter.choices)


def suggest(trial: Trial, space: Space) -> dict[str, Value]:
    """Return the point of the space, active parameters alone, that a trial of Optuna's suggests."""
    values: dict[str, Value] = {}
    for parameter in space.parameters:
        if space.is_active(parameter.name, values):
            values[parameter.name] = _suggest(trial, parameter)
    return values


def _suggest(trial: Trial, parameter: Float | Int | Categorical) -> Value:
    match parameter:
        case Float():
            number: float = trial.suggest_float(
                parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step
            )
            return number
        case Int():
            whole: int = trial.suggest_int(
                parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step or 1
            )
            return whole
        case Categorical():
            choice: Value = trial.suggest_categorical(parameter.name, parameter.choices)
            return choice


def _curve(recorded: Recorded) -> dict[int, float]:
    """Best value so far by epoch: TPE ranks a pruned trial by the last value of its curve."""
    if recorded.best is None:
        return {}
    values = (epoch.value for _, epoch in sorted(recorded.epochs.items()))
    return dict(zip(sorted(recorded.epochs), itertools.accumulate(values, recorded.objective.best), strict=True))


def _outcome(recorded: Recorded) -> tuple[TrialState, float | None]:
    best = recorded.best
    if recorded.status == Status.COMPLETED and best is not None:
        return TrialState.COMPLETE, best.value
    if recorded.status in (Status.STOPPED, Status.DIVERGED) or is_infeasible(recorded):
        return TrialState.PRUNED, None
    return (TrialState.RUNNING if recorded.status == Status.RUNNING else TrialState.FAIL), None
