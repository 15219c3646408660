"""The plan of a study: baseline, start points, what the sampler proposes, then the retrainings of the finals."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from results.log.records import Rung, TrialKey, TrialStarted
from results.log.state import RunState, TrialState
from seti_model.runtime import derive_seed
from tune.initial import initial_model
from tune.loop.asha import rung_epochs
from tune.loop.decisions import rung
from tune.loop.limits import Limits
from tune.loop.next_work import Terms, has_work, missing_finals, retraining, within_budget, within_core_hours
from tune.loop.plan import Plan
from tune.loop.proposer import Proposer
from tune.start import waiting
from tune.study import Study


class SearchPlan(Plan):
    """The baseline, the start points, the trials that the sampler proposes, then the retrainings of the finals."""

    def __init__(self, study: Study, state: RunState, run: Path) -> None:
        self._study, self._state, self._run = study, state, run
        self.max_retries = study.study.max_retries
        self.max_consecutive_failures = study.study.max_consecutive_failures
        self._rungs = rung_epochs(study.asha.grace_epochs, study.asha.reduction_factor, study.study.max_epochs)
        self.proposer = Proposer(
            study.space,
            sampler=study.search.sampler,
            startup_trials=study.search.startup_trials,
            seed=study.study.seed,
            objective=study.objective,
        )
        self.proposer.rebuild(state.search_trials())
        self._waiting = waiting(study.start, state)
        self._limits = Limits(study, state)

    def has_work(self) -> bool:
        """Return whether there are trials to begin, to continue or to retrain."""
        return has_work(self._study, self._state)

    def next_trial(self, live: Collection[TrialKey]) -> TrialStarted | None:
        """Return a new configuration while the study wants more; retrainings once no trial of the search is live."""
        if self._state.n_search < self._study.study.trials and within_budget(self._study, self._state):
            return self._proposed()
        if any(repeat is None for _, repeat in live):
            return None
        missing = missing_finals(self._study.finals, self._state)
        return retraining(self._study, *missing[0]) if missing else None

    def terms(self, trial: TrialState) -> Terms:
        """Return what every attempt at a trial is given; one of the search needs a checkpoint at each rung."""
        started = trial.started
        return Terms(
            configuration=started.configuration,
            max_epochs=started.max_epochs,
            checkpoint_epochs=(*(self._rungs if started.repeat is None else ()), started.max_epochs),
            threads=self._study.resources.cpus_per_trial,
            gpus=self._study.resources.gpus_per_trial,
            init_from=initial_model(self._study, self._run),
            storage=self._study.storage.uri,
            objective=trial.objective,
            measure=self._limits.measure(trial),
        )

    def outside(self, trial: TrialState) -> str | None:
        """Return which of the study's limits the network of a trial passes, if it is known to."""
        return self._limits.passed(trial)

    def overspent(self, trial: TrialState) -> str | None:
        """Say that the search has spent its core-hours; retrainings of the finals go on."""
        if trial.started.repeat is not None or within_core_hours(self._study, self._state):
            return None
        return f"the {self._study.study.core_hours:g} core-hours of the study are spent"

    def shape(self, trial: TrialState) -> str:
        """Return what the networks of a study have in common that are measured once."""
        return self._limits.shape(trial)

    def rung(self, trial: TrialState, epoch: int) -> Rung | None:
        """Return ASHA's decision where the epoch is a rung; a retraining has none."""
        is_due = trial.started.repeat is None and epoch in self._rungs
        return rung(self._study, self._state, trial, epoch) if is_due else None

    def note_begun(self, trial: TrialState) -> None:
        """Tell the proposer of what it did not propose: the baseline and the start points."""
        started = trial.started
        if started.repeat is None and (started.is_baseline or started.origin is not None):
            self.proposer.add(trial)

    def note_ended(self, trial: TrialState) -> None:
        """Tell the proposer how a trial of the search ended."""
        if trial.started.repeat is None:
            self.proposer.tell(trial)

    def _proposed(self) -> TrialStarted:
        number = self._state.n_search
        baseline = self._study.baseline_parameters() if number == 0 else None
        point = self._waiting.pop(0) if baseline is None and self._waiting else None
        given = baseline if point is None else point.parameters
        parameters = self.proposer.propose(number) if given is None else given
        configuration = self._study.configuration(parameters)
        return TrialStarted(
            trial=number,
            parameters=parameters,
            configuration=configuration,
            seed=derive_seed(self._study.study.seed, number),
            is_baseline=baseline is not None,
            max_epochs=self._study.study.max_epochs,
            origin=None if point is None else point.origin,
            shape=self._limits.shape_of(configuration),
        )
