"""A run for other tools: Optuna's journal file, derived from the event log alone, as `optuna-dashboard` reads it."""

from __future__ import annotations

import itertools
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial

from results.log.state import RunState, TrialState
from search_spaces.space import Space
from tune.errors import StudyError
from tune.loop.proposer import frozen_trial

JOURNAL = "optuna-journal.log"
BATCH = 20
LIMIT = 1000  # trials; above it Optuna's journal takes longer to read than it tells
ORIGIN = "seti-tune"  # the study attribute that says which run and space a journal is of


def export_journal(state: RunState, path: Path) -> int:
    """Bring a journal up to date: all trials that have ended, up to the first that has not.

    Trials are only ever added; a journal of another run, of a space since widened, or a damaged one is replaced.

    Returns:
        How many trials were added.

    Raises:
        StudyError: The file is there and no journal that came from a run.
        OSError: It cannot be written.
    """
    trials = _ended_trials(state)
    return len(trials) - _open(path.absolute(), study_name(state), _origin(state), trials)[1]


class JournalExport:
    """Keeps a journal up to date while a search runs, in batches and in a thread of its own.

    Whatever goes wrong is one line of warning and the end of the export, never of the search.
    """

    def __init__(self, state: RunState, path: Path, *, trials: int, wanted: bool) -> None:
        self._state = state
        self._path = path
        self._wanted = wanted and trials <= LIMIT
        self._exported = 0
        self._study: optuna.Study | None = None
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._writing: Future[None] | None = None
        if wanted and not self._wanted:
            print(
                f"no Optuna journal is kept for a study of more than {LIMIT} trials; "
                f"`seti-tune export {path.parent} --optuna-journal FILE` writes one at any time",
                file=sys.stderr,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.finish()

    def trial_ended(self) -> None:
        """Write a batch if enough trials have ended and none is being written."""
        if not self._wanted or (self._writing is not None and not self._writing.done()):
            return
        ended = sum(1 for _ in _ended(self._state))
        if ended - self._exported >= BATCH:
            self._submit(ended)

    def finish(self) -> None:
        """Write what is missing and wait for it."""
        if self._wanted and self._state.started is not None:
            self._submit(sum(1 for _ in _ended(self._state)))
        self._pool.shutdown()

    def _submit(self, ended: int) -> None:
        # Read here, as the state changes while the thread writes.
        name, origin, trials = study_name(self._state), _origin(self._state), _ended_trials(self._state, self._exported)
        self._writing = self._pool.submit(self._try, name, origin, trials)
        self._exported = ended

    def _try(self, name: str, origin: str, trials: list[FrozenTrial]) -> None:
        try:
            if self._study is not None:
                self._study.add_trials(trials)
            elif self._wanted:
                self._study, _ = _open(self._path, name, origin, trials)
        except Exception as error:  # a derived file must not end a search
            self._wanted, self._study = False, None
            print(f"{self._path}: not written any more: {type(error).__name__}: {error}", file=sys.stderr)


def _open(path: Path, name: str, origin: str, trials: list[FrozenTrial]) -> tuple[optuna.Study, int]:
    """Return the study in a journal, with all of `trials`, and how many of them were there before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not _is_ours(path):
        raise StudyError(f"{path}: is there and no journal of seti-tune, so it is not replaced; name another file")
    study = _opened(path, name, origin, len(trials))
    if study is not None:
        known = len(study.get_trials(deepcopy=False))
        study.add_trials(trials[known:])
        return study, known
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        made = optuna.create_study(storage=_storage(temporary), study_name=name, direction="maximize")
        made.set_user_attr(ORIGIN, origin)
        made.add_trials(trials)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return optuna.load_study(storage=_storage(path), study_name=name), 0


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


def study_name(state: RunState) -> str:
    """Return the name of a run's study."""
    study: Any = state.study
    return str(study["study"]["name"])


def _origin(state: RunState) -> str:
    started = state.started.time if state.started else ""
    return f"run of {started}, space {state.space_fingerprint}"


def _ended(state: RunState) -> itertools.takewhile[TrialState]:
    """Yield trials in the order of their numbers up to the first that runs: so Optuna's numbers are ours."""
    return itertools.takewhile(lambda trial: trial.ended is not None, state.search_trials())


def _ended_trials(state: RunState, first: int = 0) -> list[FrozenTrial]:
    space = Space.from_mapping(state.space)
    return [as_optuna(trial, space) for trial in itertools.islice(_ended(state), first, None)]


def as_optuna(trial: TrialState, space: Space) -> FrozenTrial:
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
