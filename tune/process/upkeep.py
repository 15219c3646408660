"""Beside a search, off its path of decisions: disk space given back, tables kept up to date."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from results.errors import RecordError
from results.log.recorder import Recorder
from results.log.records import Event, TrialEnded
from results.log.state import TrialState
from results.run_folder import CHECKPOINTS, trial_name
from tune.errors import StorageError
from tune.storage.checkpoints import Checkpoints

TABLES_EVERY_S = 10.0
TABLES_SHARE = 0.05  # of the time may go into tables: of a million epochs they take most of a minute
# A process of its own: it shares neither the driver's interpreter, which one thread has at a time, nor its memory.
TABLES = [sys.executable, "-P", "-m", "results.tables"]


class Upkeep:
    """Works in one thread of its own on what the log and the disk hold, never on the driver's state."""

    def __init__(self, recorder: Recorder, *, keeps_training_state: bool, storage: str | None = None) -> None:
        """Begin with what an interrupted driver left behind.

        Args:
            recorder: Of the run; listened to.
            keeps_training_state: Whether checkpoints of ended trials stay as they are.
            storage: The address of the store that has them, if they are not in the run folder.
        """
        self._run, self._state = recorder.run, recorder.state
        self._checkpoints, self._keeps = Checkpoints(recorder.run, storage), keeps_training_state
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._tables: Future[None] | None = None
        self._writer: subprocess.Popen[str] | None = None
        self._is_over = False
        self._next_tables = time.monotonic() + TABLES_EVERY_S
        self._drop(*self._state.trials.values())
        recorder.listen(self.note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over = True
        self._end_writer()  # the driver writes the last tables itself
        is_lost = kind is not None and issubclass(kind, StorageError)
        self._pool.shutdown(cancel_futures=is_lost)  # each would wait for a store that does not answer

    @property
    def is_idle(self) -> bool:
        """Whether no tables are being written."""
        return self._tables is None or self._tables.done()

    def note(self, event: Event) -> None:
        """Take note of an event: when a trial has ended, there is something to do."""
        if not isinstance(event, TrialEnded):
            return
        self._drop(self._state.trials[event.trial, event.repeat])
        if self.is_idle and time.monotonic() > self._next_tables:
            self._tables = self._pool.submit(self._derived, self._write_tables)

    def _drop(self, *trials: TrialState) -> None:
        ended = [t for t in trials if t.ended is not None and t.checkpoint is not None]
        kept = {f"{CHECKPOINTS}/{trial_name(*t.started.key)}": t.checkpoint.path for t in ended if t.checkpoint}
        if kept and not self._keeps:
            self._pool.submit(self._derived, self._checkpoints.drop_training_state, kept)

    def _write_tables(self) -> None:
        began = time.monotonic()
        # In a session of its own, Ctrl-C does not reach it.
        with subprocess.Popen(
            [*TABLES, str(self._run)], stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as self._writer:
            if self._is_over:
                self._end_writer()
            _, said = self._writer.communicate()
        if self._writer.returncode and not self._is_over:
            raise RecordError(said.splitlines()[-1] if said else f"tables: exit code {self._writer.returncode}")
        took = time.monotonic() - began
        self._next_tables = time.monotonic() + max(TABLES_EVERY_S, took / TABLES_SHARE)

    def _end_writer(self) -> None:
        if self._writer is not None:
            self._writer.terminate()

    def _derived(self, work: Callable[..., None], *arguments: object) -> None:
        """Do what must not end a search if it cannot be done."""
        try:
            work(*arguments)
        except Exception as error:
            print(f"note: {self._run}: {type(error).__name__}: {error}; the search goes on", file=sys.stderr)
