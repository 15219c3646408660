"""What is left to do in a run and with what it is begun, as pure functions of its study and its state."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from results.files import inside
from results.finals import finalists, is_stale
from results.log.records import AttemptStarted, TrialStarted, utc_now
from results.log.state import RunState, TrialState
from results.objective import Objective
from results.run_folder import checkpoint_folder
from results.schema import Value
from results.study import FinalsSection
from seti_model.runtime import derive_seed
from tune.storage.checkpoints import Checkpoints
from tune.study import Study
from tune.trainable import Measure, Task


def has_work(study: Study, state: RunState) -> bool:
    """Return whether a run has trials to start, to continue or to retrain."""
    return bool(state.open) or is_searching(study, state) or bool(missing_finals(study.finals, state))


def is_searching(study: Study, state: RunState) -> bool:
    """Return whether a run has trials of the search to start or to continue."""
    more = state.n_search < study.study.trials and within_budget(study, state)
    return more or any(repeat is None for _, repeat in state.open)


def within_budget(study: Study, state: RunState) -> bool:
    """Return whether new trials may start: time and core-hours that the run has spent are below their limits."""
    limit = study.study.time_limit_h
    return (limit is None or state.spent_s < 3600 * limit) and within_core_hours(study, state)


def within_core_hours(study: Study, state: RunState) -> bool:
    """Return whether trials of the search may go on: the core-hours of its epochs are below their limit."""
    limit = study.study.core_hours
    return limit is None or state.core_seconds < 3600 * limit


def recorded_finals(state: RunState) -> FinalsSection:
    """Return the section [finals] of the study as it is in the log."""
    return state.study.finals or FinalsSection(enabled=False)


def finals_wait(study: Study, state: RunState) -> bool:
    """Return whether the study wants finals that the run, as recorded, would not decide."""
    undecided = not state.decisions or is_stale(state)
    return study.finals.enabled and undecided and study.finals != recorded_finals(state)


def chosen_finalists(finals: FinalsSection, state: RunState) -> list[TrialState]:
    """Return the trials to retrain as the search stands now; none where there are to be no finals."""
    return finalists(state, finals.finalists, finals.max_finalists) if finals.enabled else []


def missing_finals(finals: FinalsSection, state: RunState) -> list[tuple[TrialState, int]]:
    """Return the retrainings yet to begin, each a trial and a repeat: one seed of all finalists, then the next."""
    chosen = chosen_finalists(finals, state)
    keys = [(trial, repeat) for repeat in range(finals.seeds) for trial in chosen]
    return [(trial, repeat) for trial, repeat in keys if (trial.started.trial, repeat) not in state.trials]


def wanted_retrainings(study: Study, state: RunState) -> int:
    """Return how many retrainings there will be in all; while the search goes on it is not known who is retrained."""
    begun = len(state.final_trials())
    if is_searching(study, state):
        return max(begun, study.retrainings)
    return begun + len(missing_finals(study.finals, state))


@dataclass(frozen=True)
class Terms:
    """What every attempt at a trial is given, see `tune.trainable.Task`."""

    configuration: Mapping[str, Value]
    max_epochs: int
    checkpoint_epochs: tuple[int, ...]
    threads: int = 1
    gpus: float = 0.0
    init_from: Path | None = None
    storage: str | None = None
    objective: Objective = field(default_factory=Objective)
    measure: Measure = Measure.NOTHING


def next_attempt(
    run: Path, trial: TrialState, terms: Terms, *, memory_mb: float | None = None, nodes: tuple[str, ...] | None = None
) -> tuple[Task, AttemptStarted]:
    """Return the next attempt of a trial: from its newest checkpoint that is still there, else from the start.

    Raises:
        RecordError: A link leads to where it writes, or to the checkpoint.
    """
    started = trial.started
    attempt = max(trial.attempts, default=-1) + 1
    checkpoints = Checkpoints(run, terms.storage)
    saved = next((c for c in reversed(trial.checkpoints) if checkpoints.exists(c.path)), None)
    task = Task(
        trial=started.trial,
        repeat=started.repeat,
        attempt=attempt,
        configuration=terms.configuration,
        seed=started.seed,
        max_epochs=terms.max_epochs,
        checkpoint_folder=inside(run, checkpoint_folder(Path(), *started.key) / str(attempt)),
        resume_from=inside(run, saved.path) if saved else None,
        init_from=terms.init_from,
        checkpoint_epochs=terms.checkpoint_epochs,
        threads=terms.threads,
        gpus=terms.gpus,
        memory_mb=memory_mb,
        nodes=nodes,
        storage=terms.storage,
        objective=terms.objective,
        measure=terms.measure,
    )
    event = AttemptStarted(
        trial=started.trial,
        repeat=started.repeat,
        attempt=attempt,
        from_epoch=saved.epoch if saved else 0,
        resume_from=saved.path if saved else None,
    )
    return task, event


def retraining(study: Study, trial: TrialState, repeat: int) -> TrialStarted:
    """Return the start of a trial's retraining in the finals, from a fresh seed of its own."""
    started = trial.started
    return dataclasses.replace(
        started,
        time=utc_now(),
        repeat=repeat,
        parameters=trial.parameters,
        origin=None,
        seed=derive_seed(study.study.seed, started.trial, "final", repeat),
    )
