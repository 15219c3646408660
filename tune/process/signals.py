"""SIGINT and SIGTERM in the driver: the first one ends the run in order, a second one at once."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator
from types import FrameType

BOTH = (signal.SIGINT, signal.SIGTERM)
ONE_S = 1.0  # within which SIGTERM counts once
ENDING = "ending in order, everything recorded is kept, Ctrl-C once more ends at once"


def hold() -> None:
    """Keep SIGINT and SIGTERM waiting, in the processes that are started from now on too.

    Python raises KeyboardInterrupt wherever it is, and during imports it may be lost in a callback.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)


def release() -> None:
    """Let those that wait, and all others, through."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, BOTH)


class Interrupted(Exception):  # noqa: N818 - what the user asked for, not an error
    """The driver was told to stop, by the signal of this name."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class Signals:
    """Knows which signal was received. Raising from the handler itself would be lost in a callback now and then."""

    def __init__(self) -> None:
        self.received: str | None = None
        self._received_at = 0.0
        self.is_shown = False  # whether a live view says it; words written into it would tear it

    def install(self) -> None:
        """Take over SIGINT and SIGTERM. To be repeated after importing Ray, which takes SIGTERM for itself.

        What was held back until now is let through.
        """
        for number in BOTH:
            signal.signal(number, self._receive)
        release()

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Take over both within a `with`, in a process that is not ours alone."""
        before = {number: signal.getsignal(number) for number in BOTH}
        self.install()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def check(self) -> None:
        """Raise Interrupted if a signal has been received; called wherever the driver can stop in order."""
        if self.received is not None:
            raise Interrupted(self.received)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is not None:
            # Queues and job servers send SIGTERM to every process of a job: to this one, and to its parent, which
            # passes it on.
            if number == signal.SIGTERM and now - self._received_at < ONE_S:
                return
            os._exit(exit_code(self.received))
        self.received, self._received_at = signal.Signals(number).name, now
        if not self.is_shown:
            with contextlib.suppress(OSError):
                os.write(2, f"{ENDING}\n".encode())  # print() may have been interrupted halfway


def exit_code(name: str | None) -> int:
    """Return the exit code of a run left by the named signal: 130 for Ctrl-C, 3 for others, 0 for none."""
    return 0 if name is None else 130 if name == "SIGINT" else 3
