"""The event log of a run on disk: one writer that appends and locks, readers that never repair."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from results.commands import command
from results.errors import RecordError
from results.log.records import Event, from_line, to_line
from results.run_folder import LOG_NAME

SYNC_EVERY_S = 1.0
LOCK_TRIES, LOCK_WAIT_S = 6, 0.1  # a reader that asks whether a run is being written holds its lock for an instant


def read_events(run: Path) -> Iterator[Event]:
    """Yield the events of a run folder in order; a torn last line is ignored, it was never acted upon.

    Raises:
        RecordError: There is no log, or a line other than a torn last one is damaged.
    """
    path = run / LOG_NAME
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(
            f"{run}: no run folder ({LOG_NAME} is missing); give the folder that a search printed"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); ask for access or restore it") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield from_line(line)
            except RecordError as error:
                raise RecordError(
                    f"{path}, line {number}: damaged: {error}; restore the file from a copy, "
                    "or cut it off before this line to continue from there"
                ) from error


def is_being_written(run: Path) -> bool:
    """Return whether a process holds the log of a run for writing; a copy, also a read-only one, never is.

    A file system without locks cannot tell; it is then taken for a copy.
    """
    try:
        descriptor = os.open(run / LOG_NAME, os.O_RDONLY)
    except OSError:  # who reads it says why
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)  # and with it the lock
    return False


class EventLog:
    """The only writer of a run's log. It holds a lock that the kernel drops when the process dies."""

    def __init__(self, run: Path) -> None:
        """Take the lock and cut off a torn last line.

        Raises:
            RecordError: Another process is writing to this run, or the folder cannot be written to.
        """
        self._path = run / LOG_NAME
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordError(f"{run}: cannot be written to ({error.strerror}); choose another folder") from error
        try:
            _lock(self._descriptor)
        except BlockingIOError as error:
            self.close()
            raise RecordError(
                f"{run}: another process is running this study; wait for it, or look at it with "
                f"`{command('status', run)}`"
            ) from error
        self._size = _whole_lines(self._path)
        os.ftruncate(self._descriptor, self._size)
        self._synced = time.monotonic()

    def append(self, *events: Event, durable: bool = False) -> None:
        """Append events; `durable` returns only when they are on the disk, as a decision needs it.

        Raises:
            RecordError: The disk is full or gone. Nothing of these events stays in the log.
        """
        data = "".join(to_line(event) + "\n" for event in events).encode("utf-8")
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            if durable or time.monotonic() - self._synced > SYNC_EVERY_S:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise RecordError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and start the same command "
                "again, everything recorded so far is kept"
            ) from error
        self._size += len(data)

    def close(self) -> None:
        """Put everything on the disk and release the lock. A second call does nothing."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _lock(descriptor: int) -> None:
    for left in reversed(range(LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(LOCK_WAIT_S)


def _whole_lines(path: Path) -> int:
    """Return the number of bytes up to and including the last line feed."""
    with path.open("rb") as file:
        end = file.seek(0, os.SEEK_END)
        while end > 0:
            start = max(0, end - 65536)
            file.seek(start)
            found = file.read(end - start).rfind(b"\n")
            if found >= 0:
                return start + found + 1
            end = start
    return 0
