"""The one writer of a run's record: an event is on the disk before it counts, and counts before anybody is told."""

from __future__ import annotations

import fcntl
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from results.commands import command
from results.errors import RecordError
from results.files import refuse_links
from results.log.chain import Chain, tied
from results.log.lines import to_line
from results.log.records import Event
from results.log.state import RunState, fold
from results.run_folder import LOG_NAME

Listener = Callable[[Event], None]
SYNC_EVERY_S = 1.0
LOCK_TRIES, LOCK_WAIT_S = 6, 0.1  # a reader that asks whether a run is being written holds its lock for an instant


def is_being_written(run: Path) -> bool:
    """Return whether a process holds the log of a run for writing; a copy, also a read-only one, never is.

    A file system without locks cannot tell; it is then taken for a copy.
    """
    try:
        descriptor = os.open(run / LOG_NAME, os.O_RDONLY | os.O_NONBLOCK)  # of a pipe too
    except OSError:  # who reads it says why
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        return isinstance(error, BlockingIOError)
    finally:
        os.close(descriptor)  # and with it the lock
    return False


class Mirror(Protocol):
    """A second place that has the log too, whatever it is; its errors are its own."""

    def settle(self, log: Path) -> None:
        """Give both the lines that one of them lacks, before any is read."""

    def write(self, lines: bytes) -> None:
        """Return when these whole lines stand there too."""


class EventLog:
    """The only writer of a run's log. It holds a lock that the kernel drops when the process dies."""

    def __init__(self, run: Path, mirror: Mirror | None = None) -> None:
        """Take the lock and cut off a torn last line; what is written later stands in the mirror too, if there is one.

        Raises:
            RecordError: Another process is writing to this run, the folder cannot be written to, or a link leads out
                of it.
        """
        self._mirror, self._unsent = mirror, b""
        self._path = run / LOG_NAME
        refuse_links(run)
        try:
            run.mkdir(parents=True, exist_ok=True)
            self._descriptor = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        except OSError as error:
            raise RecordError(f"{run}: cannot be written to ({error.strerror}); choose another folder") from error
        try:
            take_lock(self._descriptor)
        except BlockingIOError as error:
            self.close()
            raise RecordError(
                f"{run}: another process is running this study; wait for it, or look at it with "
                f"`{command('status', run)}`"
            ) from error
        os.ftruncate(self._descriptor, whole_lines(self._path))
        self._synced = self._looked = time.monotonic()
        self._is_moved = False
        if mirror is not None:
            try:
                mirror.settle(self._path)
            except BaseException:
                self.close()
                raise
        self._size = self._path.stat().st_size
        self._sum: int | None = None  # of the chain so far, once it is known

    def append(self, *events: Event, durable: bool = False) -> None:
        """Append events; `durable` returns only when they are on the disk, as a decision needs it.

        Raises:
            RecordError: The disk is full or gone. Nothing of these events stays in the log.
        """
        data, total = b"", self._sum_so_far()
        for event in events:
            line = tied(to_line(event), total)
            data, total = data + line, zlib.crc32(line, total)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
            is_due = durable or time.monotonic() - self._synced > SYNC_EVERY_S
            if is_due:
                os.fsync(self._descriptor)
                self._synced = time.monotonic()
        except OSError as error:
            os.ftruncate(self._descriptor, self._size)
            raise RecordError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and start the same command "
                "again, everything recorded so far is kept"
            ) from error
        self._size, self._sum = self._size + len(data), total
        if self._mirror is not None:
            self._unsent += data
            if is_due:
                self._send()

    def _sum_so_far(self) -> int:
        if self._sum is None:
            self._sum = Chain.of(self._path).sum
        return self._sum

    def require_place(self) -> None:
        """Make sure, once a second at most, that the log is where it was opened; what was written to it is kept.

        Raises:
            RecordError: The run folder was moved or deleted; said once, so that an end can still be recorded.
        """
        now = time.monotonic()
        if self._is_moved or now - self._looked < SYNC_EVERY_S:
            return
        self._looked = now
        ours = os.fstat(self._descriptor)
        try:
            if os.path.samestat(self._path.stat(), ours):
                return
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:  # of a disk in a network, for a moment
            return
        self._is_moved = True
        raise RecordError(f"{self._path}: {_what_became_of(self._descriptor, is_there=ours.st_nlink > 0)}")

    def close(self) -> None:
        """Put everything on the disk and release the lock. A second call does nothing."""
        if self._descriptor >= 0:
            os.fsync(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = -1
            self._send()

    def _send(self) -> None:
        if self._mirror is not None and self._unsent:
            self._mirror.write(self._unsent)
            self._unsent = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Recorder(EventLog):
    """Holds the log of a run open for writing, with the state that follows from it."""

    def __init__(self, run: Path, mirror: Mirror | None = None) -> None:
        """Take the lock of a run folder, made if need be, and read what its log holds.

        Args:
            run: The run folder.
            mirror: A second place for the log; an event stands there too before it counts.

        Raises:
            RecordError: Another process is writing to this run, the folder cannot be written to, or the log is damaged.
        """
        super().__init__(run, mirror)
        self.run = run
        self._listeners: list[Listener] = []
        try:
            chain = Chain()
            self.state: RunState = fold(run, chain=chain)
            self._sum = chain.sum
        except BaseException:
            self.close()
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
            RecordError: The disk is full or gone, and nothing of these events stays in the log. Or as `require_place`.
        """
        self.append(*events, durable=durable)
        for event in events:
            self.state.apply(event)
        for event in events:
            for listener in self._listeners:
                listener(event)
        self.require_place()


class Unwritten(Recorder):
    """The state of a run of which nothing is kept: that of a search that is replayed, a thousand times faster."""

    def __init__(self) -> None:
        """Begin with nothing; there is no folder, and none could be made below this path."""
        self.run = Path(os.devnull)
        self.state = RunState()
        self._listeners = []

    def append(self, *events: Event, durable: bool = False) -> None:
        """Keep nothing."""

    def require_place(self) -> None:
        """Be anywhere."""

    def close(self) -> None:
        """Do nothing."""


def _what_became_of(descriptor: int, *, is_there: bool) -> str:
    """Say where a log is now, as far as the system tells, and what can be done."""
    try:
        place = Path(os.readlink(f"/proc/self/fd/{descriptor}"))  # noqa: PTH115 - ends in " (deleted)" where it is
    except OSError:
        place = None
    if is_there and place is not None and place.is_file():
        return (
            f"was moved while it was written; all of it is in {place}, go on with `{command('resume', place.parent)}`"
        )
    if is_there:
        return "was moved while it was written; put the folder back, and go on with the same command"
    return "was deleted while it was written, and all that was recorded with it; begin again, or restore it from a copy"


def take_lock(descriptor: int) -> None:
    """Lock an open file for its one writer until it is closed.

    Raises:
        BlockingIOError: Another process holds it.
    """
    for left in reversed(range(LOCK_TRIES)):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if not left:
                raise
            time.sleep(LOCK_WAIT_S)


def whole_lines(path: Path) -> int:
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
