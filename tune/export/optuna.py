"""A run for other tools: Optuna's journal file, derived from the event log alone, as `optuna-dashboard` reads it."""

from __future__ import annotations

import itertools
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from results.files import replacing
from results.log.state import RunState, TrialState
from search_spaces.space import Space
from tune.errors import StudyError
from tune.loop.proposer import direction, frozen_trial

ORIGIN = "seti-tune"  # the study attribute that says which run and space a journal is of


def export_journal(state: RunState, path: Path) -> int:
    """Bring a journal up to date: all trials that have ended, up to the first that has not.

    Trials are only ever added; a journal of another run, of a space since widened, or a damaged one is replaced.

    Returns:
        How many trials were added.

    Raises:
        StudyError: The file is there and no journal that came from a run, or cannot be read.
        RecordError: It cannot be written.
    """
    if path.is_symlink() or (path.exists() and not (path.is_file() or path.is_dir())):
        raise StudyError(f"{path}: is a link, a device or a pipe; name a file")
    if not state.is_search:
        raise StudyError(
            f"{path}: the run trains one given configuration, Optuna has no search to show; see --tensorboard"
        )
    trials = _ended_trials(state)
    try:
        known = _known(path.absolute(), state, trials)
    except OSError as error:
        raise StudyError(f"{path}: cannot be used as a journal ({error.strerror}); name another file") from error
    return len(trials) - known


def _known(path: Path, state: RunState, trials: list[FrozenTrial]) -> int:
    """Bring a journal up to `trials`; return how many of them were there before."""
    name, origin, towards = state.study.study.name, _origin(state), direction(state.study.objective)
    if path.exists() and not _is_ours(path):
        raise StudyError(f"{path}: is there and no journal of seti-tune, so it is not replaced; name another file")
    study = _opened(path, name, origin, len(trials))
    if study is not None:
        known = len(study.get_trials(deepcopy=False))
        study.add_trials(trials[known:])
        return known
    with replacing(path) as temporary:
        made = optuna.create_study(storage=_storage(temporary), study_name=name, direction=towards)
        made.set_user_attr(ORIGIN, origin)
        made.add_trials(trials)
    return 0


def _is_ours(path: Path) -> bool:
    """Whether a file begins as a journal made here does; its rest may be damaged."""
    with path.open("rb") as file:
        head = file.readline() + file.readline()
    return b'"op_code"' in head and f'"{ORIGIN}"'.encode() in head


def _opened(path: Path, name: str, origin: str, trials: int) -> optuna.Study | None:
    """Return the study in a journal if it is of this run as it is now, else None."""
    if not path.exists() or not path.read_bytes().endswith(b"\n"):
        return None
    try:
        study = optuna.load_study(storage=_storage(path), study_name=name)
        there = study.get_trials(deepcopy=False)
    except Exception:  # whatever a damaged or foreign file does to Optuna's reader; it is made anew
        return None
    ours = study.user_attrs.get(ORIGIN) == origin and len(there) <= trials
    return study if ours and all(t.user_attrs.get("trial") == t.number for t in there) else None


def _storage(path: Path) -> JournalStorage:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return JournalStorage(JournalFileBackend(str(path)))


def _origin(state: RunState) -> str:
    started = state.started.time if state.started else ""
    return f"run of {started}, space {state.space_fingerprint}"


def _ended_trials(state: RunState) -> list[FrozenTrial]:
    """Return trials in the order of their numbers up to the first that runs: so Optuna's numbers are ours."""
    space = Space.from_mapping(state.space)
    ended = itertools.takewhile(lambda trial: trial.ended is not None, state.search_trials())
    return [_as_optuna(trial, space) for trial in ended]


def _as_optuna(trial: TrialState, space: Space) -> FrozenTrial:
    """Return a trial as Optuna has it, with its times and with what we call it and its end as user attributes."""
    attributes: dict[str, Any] = {"trial": trial.started.trial, "status": trial.status, "epochs": len(trial.epochs)}
    if trial.ended is not None:
        attributes["reason"] = trial.ended.reason
    if trial.started.is_baseline:
        attributes["baseline"] = True
    frozen = frozen_trial(trial, space, attributes)
    frozen.datetime_start = datetime.fromisoformat(trial.started.time)
    frozen.datetime_complete = datetime.fromisoformat(trial.ended.time) if trial.ended is not None else None
    return frozen
