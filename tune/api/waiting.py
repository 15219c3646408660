"""Waiting for a process of ours: what it says is read as it comes, and Ctrl-C ends it in order, within a bound."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import IO

ENDS_WITHIN_S = 60.0  # in order: Ray's processes take some seconds
AT_ONCE_S = 5.0
_EVERY_S = 0.1
_MOST_LINES = 10_000  # that wait to be shown
_OURS = "seti-tune: "  # before the one line of an error


class Words:
    """What a process says, read from its pipes by threads: neither waits for the other."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.error: str | None = None  # the last line of an error that explains itself
        self.last = ""  # of all that came over standard error
        self._lines: deque[tuple[str, bool]] = deque(maxlen=_MOST_LINES)
        streams = [(stream, stream is process.stderr) for stream in (process.stdout, process.stderr) if stream]
        self._threads = [threading.Thread(target=self._read, args=stream, daemon=True) for stream in streams]
        for thread in self._threads:
            thread.start()

    def show(self, *, in_one: bool) -> None:
        """Print what has come and was not printed yet; with `in_one` all of it to standard output."""
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        for is_error, group in itertools.groupby(lines, key=lambda line: line[1] and not in_one):
            print(*(line for line, _ in group), sep="\n", file=sys.stderr if is_error else sys.stdout, flush=True)

    def end(self) -> None:
        """Wait for the rest of it, once the process has ended."""
        for thread in self._threads:
            thread.join(AT_ONCE_S)  # a process that it left could hold the pipe

    def _read(self, stream: IO[bytes], is_error: bool) -> None:
        with stream:
            for raw in stream:
                line = raw.decode("utf-8", "replace").rstrip("\n")
                if is_error and line.startswith(_OURS):
                    self.error = line.removeprefix(_OURS)  # it becomes an exception, and is not said twice
                else:
                    self.last = line if is_error and line.strip() else self.last
                    self._lines.append((line, is_error))


def wait_until_ended(
    process: subprocess.Popen[bytes], interrupt: Callable[[], None], tick: Callable[[], None] = lambda: None
) -> None:
    """Wait for a process; on KeyboardInterrupt let it end in order, then pass that on.

    Args:
        process: What is waited for.
        interrupt: Passes Ctrl-C on to it.
        tick: Called now and then.
    """
    try:
        _wait(process, tick, None)
    except KeyboardInterrupt:
        end_in_order(process, interrupt, tick)
        raise


def end_in_order(
    process: subprocess.Popen[bytes],
    interrupt: Callable[[], None],
    tick: Callable[[], None] = lambda: None,
    *,
    within_s: float = ENDS_WITHIN_S,
) -> None:
    """Interrupt a process and wait until it has ended; one that takes too long, or a second Ctrl-C, ends it at once."""
    interrupt()
    try:
        if not _wait(process, tick, within_s):
            raise KeyboardInterrupt
    except KeyboardInterrupt:
        interrupt()
        if not _wait(process, tick, min(within_s, AT_ONCE_S)):
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], tick: Callable[[], None], seconds: float | None) -> bool:
    """Wait for so long; return whether it has ended."""
    end = None if seconds is None else time.monotonic() + seconds
    while process.poll() is None:
        if end is not None and time.monotonic() > end:
            return False
        tick()
        time.sleep(_EVERY_S)
    return True
