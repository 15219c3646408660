"""The one writer of a run's record: an event is on the disk before it counts, and counts before anybody is told."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from results.log.event_log import EventLog
from results.log.records import Event
from results.log.state import RunState, fold

Listener = Callable[[Event], None]


class Recorder:
    """Holds the log of a run open for writing, with the state that follows from it."""

    def __init__(self, run: Path) -> None:
        """Take the lock of a run folder, made if need be, and read what its log holds.

        Raises:
            RecordError: Another process is writing to this run, the folder cannot be written to, or the log is damaged.
        """
        self.run = run
        self._log = EventLog(run)
        self._listeners: list[Listener] = []
        try:
            self.state: RunState = fold(run)
        except BaseException:
            self._log.close()
            raise

    def listen(self, listener: Listener) -> None:
        """Call `listener` from now on with every event that was recorded, in the order of the log."""
        self._listeners.append(listener)

    def write(self, *events: Event, durable: bool = False) -> None:
        """Append events, apply them to the state, then tell who listens.

        Args:
            events: In the order of the log.
            durable: Return only when they are on the disk, as a decision needs it; otherwise that takes up to a second.

        Raises:
            RecordError: The disk is full or gone. Nothing of these events stays in the log.
        """
        self._log.append(*events, durable=durable)
        for event in events:
            self.state.apply(event)
        for event in events:
            for listener in self._listeners:
                listener(event)

    def close(self) -> None:
        """Put everything on the disk and release the lock. A second call does nothing."""
        self._log.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
