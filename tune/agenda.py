"""What is left to do in a run, as pure functions of its study and its state."""

from __future__ import annotations

from pathlib import Path

from results.leaderboard import finalists
from results.records import TrialStarted
from results.state import RunState, TrialState
from tune.study import Study


def has_work(study: Study, state: RunState) -> bool:
    """Return whether a run has trials to start, to continue or to retrain."""
    if any(trial.ended is None for trial in state.trials.values()):
        return True
    if len(state.search_trials()) < study.study.trials and within_time(study, state):
        return True
    return bool(missing_finals(study, state))


def within_time(study: Study, state: RunState) -> bool:
    """Return whether new trials may start: the time all drivers of the run have spent is below its limit."""
    limit = study.study.time_limit_h
    return limit is None or state.spent_s < 3600 * limit


def missing_finals(study: Study, state: RunState) -> list[TrialState]:
    """Return the trials whose configuration is yet to be retrained: the winner, then the baseline."""
    chosen = finalists(state).values() if study.finals.enabled else ()
    return [t for t in chosen if (t.started.trial, 0) not in state.trials]


def checkpoint_folder(run: Path, started: TrialStarted) -> Path:
    """Return the folder below which all attempts of a trial write, each into one of its own."""
    repeat = "" if started.repeat is None else f"-{started.repeat}"
    return run / "checkpoints" / f"{started.trial:04d}{repeat}"
