"""Beside a search, off its path of decisions: disk space given back, tables kept up to date."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from results.log.recorder import Recorder
from results.log.records import Event, TrialEnded
from results.log.state import TrialState, load_run
from results.tables.leaderboard import write_tables
from tune.finals import drop_training_state

TABLES_EVERY_S = 10.0
TABLES_SHARE = 0.05  # of the time may go into tables: at thousands of trials they take seconds


class Upkeep:
    """Works in one thread of its own on what the log and the disk hold, never on the driver's state."""

    def __init__(self, recorder: Recorder, *, keeps_training_state: bool) -> None:
        """Begin with what an interrupted driver left behind.

        Args:
            recorder: Of the run; listened to.
            keeps_training_state: Whether checkpoints of ended trials stay as they are.
        """
        self._run, self._state = recorder.run, recorder.state
        self._keeps = keeps_training_state
        self._pool = ThreadPoolExecutor(max_workers=1)
        self._tables: Future[None] | None = None
        self._next_tables = time.monotonic() + TABLES_EVERY_S
        for trial in self._state.trials.values():
            self._drop(trial)
        recorder.listen(self.note)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def note(self, event: Event) -> None:
        """Take note of an event: when a trial has ended, there is something to do."""
        if not isinstance(event, TrialEnded):
            return
        self._drop(self._state.trials[event.trial, event.repeat])
        is_idle = self._tables is None or self._tables.done()
        if is_idle and time.monotonic() > self._next_tables:
            self._tables = self._pool.submit(self._derived, self._write_tables)

    def _drop(self, trial: TrialState) -> None:
        if not self._keeps and trial.ended is not None and trial.checkpoint is not None:
            self._pool.submit(self._derived, drop_training_state, self._run, trial.started, trial.checkpoint.path)

    def _write_tables(self) -> None:
        began = time.monotonic()
        write_tables(self._run, load_run(self._run))  # a state of its own: the driver's changes meanwhile
        took = time.monotonic() - began
        self._next_tables = time.monotonic() + max(TABLES_EVERY_S, took / TABLES_SHARE)

    def _derived(self, work: Callable[..., None], *arguments: object) -> None:
        """Do what must not end a search if it cannot be done."""
        try:
            work(*arguments)
        except Exception as error:
            print(f"note: {self._run}: {type(error).__name__}: {error}; the search goes on", file=sys.stderr)
