"""`optuna-dashboard` for a run, in this process and for this machine alone; it follows a log that is being written."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import optuna
from optuna.storages import InMemoryStorage

from results.log.event_log import LOG_NAME
from results.log.state import RunState, TrialState, load_run
from search_spaces.space import Space
from tune.errors import StudyError
from tune.export.optuna import as_optuna, study_name

HOST = "127.0.0.1"
PORT = 8080


class LogStorage(InMemoryStorage):
    """One run as a storage of Optuna's whose trials are those of the log at the moment they are asked for.

    Running trials are there too. Notes made in the dashboard are gone with it; nothing it does reaches the run. Not a
    journal file, because Optuna writes 9 to 20 trials a second into one and 2000 into memory.
    """

    def __init__(self, run: Path) -> None:
        """Read the run.

        Raises:
            RecordError: No run folder, or a damaged log.
        """
        super().__init__()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._run = run
        self._reading = threading.Lock()
        self._size = 0
        self._read: Any = None
        optuna.create_study(storage=self, study_name=study_name(load_run(run)), direction="maximize")

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Any = None) -> Any:
        """Return all trials as the log has them now."""
        return self._now().get_all_trials(study_id, deepcopy=deepcopy, states=states)

    def get_trial(self, trial_id: int) -> Any:
        """Return one of them."""
        return self._now().get_trial(trial_id)

    def get_best_trial(self, study_id: int) -> Any:
        """Return the completed one of the highest objective."""
        return self._now().get_best_trial(study_id)

    def _now(self) -> InMemoryStorage:
        with self._reading:
            size = (self._run / LOG_NAME).stat().st_size
            if self._read is None or size != self._size:
                self._read, self._size = _storage(load_run(self._run)), size
            return self._read


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True  # a page that is still being read keeps nobody from leaving


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def serve_dashboard(run: Path, port: int = PORT) -> None:
    """Show a run until Ctrl-C; prints the address once it answers there. Port 0 takes a free one.

    Raises:
        StudyError: `optuna-dashboard` is not installed, or the port is taken.
        RecordError: No run folder, or a damaged log.
    """
    try:
        from optuna_dashboard import wsgi
    except ImportError as error:
        raise StudyError(
            f"dashboard needs optuna-dashboard, which is not part of seti-tune ({error}); install it with "
            "`pip install optuna-dashboard`"
        ) from error
    application = wsgi(LogStorage(run))
    try:
        server = make_server(HOST, port, application, server_class=_Server, handler_class=_Quiet)
    except (OSError, OverflowError) as error:
        raise StudyError(
            f"--port {port}: cannot be listened on ({error}); choose another, 0 takes a free one"
        ) from error
    with server:
        print(f"http://{HOST}:{server.server_port}/ shows {run}; Ctrl-C ends it", file=sys.stderr, flush=True)
        server.serve_forever()


def _storage(state: RunState) -> InMemoryStorage:
    space, storage = Space.from_mapping(state.space), InMemoryStorage()
    study = optuna.create_study(storage=storage, study_name=study_name(state), direction="maximize")
    study.add_trials([_trial(trial, space) for trial in state.search_trials()])
    return storage


def _trial(trial: TrialState, space: Space) -> Any:
    shown = as_optuna(trial, space)
    if trial.ended is None:
        shown.intermediate_values = {epoch: trial.value_at(epoch) for epoch in sorted(trial.epochs)}
    return shown
