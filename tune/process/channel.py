"""What the driver's process and its thin parent tell each other, over the socket that is the driver's standard input.

The driver says where the head of its cluster is, and ends in order once the parent is gone. The parent ends a driver
that is cut off from that head: no reset arrives then, so that nothing else would end it for as long as the cut lasts.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import threading
import time

CUT_OFF_S = 60.0  # of silence; after about as long Ray gives a node up for good
EVERY_S, ANSWER_S = 5.0, 5.0  # between two tries, and what one may take
GRACE_S = 10.0  # to end in order
_ASKS = " asks for room"
_STDIN = 0
_parent: list[int] = []  # empty or one: a process has one standard input


def follow_parent() -> None:
    """Take standard input for the socket to the parent; end in order when it is gone."""
    _parent.append(_STDIN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def tell_parent(head: str, *, asks_for_room: bool) -> None:
    """Say where the head is (HOST:PORT) and whether the cluster is asked to grow, if there is a parent."""
    for descriptor in _parent:
        with contextlib.suppress(OSError):
            os.write(descriptor, f"{head}{_ASKS if asks_for_room else ''}\n".encode())


def tell_parent_left() -> None:
    """Say that the cluster is needed no more."""
    for descriptor in _parent:
        with contextlib.suppress(OSError):
            os.write(descriptor, b"\n")


class HeadWatch:
    """Watches whether the head that a driver names can be reached.

    `cut_off` is its address once it could not, `asked` that of a head that the driver asks for room.
    """

    def __init__(
        self, driver: subprocess.Popen[bytes], driver_socket: socket.socket, *, silence_s: float = CUT_OFF_S
    ) -> None:
        self.cut_off: str | None = None
        self.asked: str | None = None
        self._head: str | None = None
        self._driver, self._socket, self._silence_s = driver, driver_socket, silence_s
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        with self._socket:  # closed by who reads it: its number may be another file's at once
            self._watch_head()

    def _watch_head(self) -> None:
        answered = time.monotonic()
        while self._hear(None if self._head is None else min(EVERY_S, self._silence_s)):
            if self._head is None or _answers(self._head):
                answered = time.monotonic()
            elif time.monotonic() - answered > self._silence_s:
                self.cut_off = self._head
                self._end()
                return

    def _hear(self, wait_s: float | None) -> bool:
        """Take what the driver says within a time, or wait until it says something; return whether it lives."""
        try:
            ready, _, _ = select.select([self._socket], [], [], wait_s)
            said = self._socket.recv(4096).decode() if ready else None
        except (OSError, ValueError):  # this process is done with it
            return False
        if said:
            last = said.splitlines()[-1]  # an empty line: it has left the cluster
            self._head = last.removesuffix(_ASKS) or None
            self.asked = self._head if last.endswith(_ASKS) else None
        return said != "" and self._driver.poll() is None

    def _end(self) -> None:
        self._driver.send_signal(signal.SIGTERM)
        try:
            self._driver.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            self._driver.kill()  # it waits for an answer of the head's


def _answers(address: str) -> bool:
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_S).close()
    except OSError:
        return False
    return True


def _end_with_parent() -> None:
    """Wait until the parent is gone: it never writes, so reading returns only then."""
    with contextlib.suppress(OSError):
        os.read(_STDIN, 1)
    os.kill(os.getpid(), signal.SIGTERM)
