"""The thin parent of a search: it survives what the driver does not, and leaves no process behind.

When Ray's head dies, Ray ends the driver's process from C++ without an exception or a `finally`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType

import psutil

from tune.process.channel import CUT_OFF_S, HeadWatch
from tune.process.child import EXIT_BUG, Order
from tune.process.signals import BOTH, release
from tune.ray_adapter.autoscale import withdraw_for
from tune.ray_adapter.cluster import DRIVER, driver_name
from tune.view.terminal import LIVE, SHOW_CURSOR

EXIT_CODES = (0, 2, 3, 130)
SWEEP_WAIT_S = 5.0


def supervise(order: Order) -> int:
    """Run the driver in a session of its own until it ends; return the exit code for the user."""
    driver = DriverProcess(order)

    def forward(number: int, frame: FrameType | None) -> None:
        driver.send(number)

    former = {number: signal.signal(number, forward) for number in BOTH}
    release()
    try:
        code, said = driver.finish()
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if order.view == LIVE:  # a driver that ended at once has left its view on the screen and the cursor hidden
            print(f"{SHOW_CURSOR}\n" if driver.left_its_view else SHOW_CURSOR, end="", file=sys.stderr, flush=True)
        driver.leave()
    if said is not None:
        print(f"seti-tune: {said}", file=sys.stderr, flush=True)
    return code


class DriverProcess:
    """The driver from its start until nothing of it is left, whoever waits for it and in whatever thread."""

    def __init__(self, order: Order, *, output: int | None = None) -> None:
        """Start it in a session of its own.

        Args:
            order: What it is to do.
            output: `subprocess.PIPE` where this process reads what it says, None where both share their streams.
        """
        self._order = order
        self._sent: list[int] = []  # the signals that it was sent
        self._lock = threading.Lock()
        self._ending: tuple[int, str | None] | None = None
        self._socket, there = socket.socketpair()
        # -P: modules in the current folder must not be taken for ours.
        command = [sys.executable, "-P", "-m", "tune.process.child", json.dumps(vars(order))]
        # The driver lets the signals through when it can act upon them.
        former = signal.pthread_sigmask(signal.SIG_BLOCK, BOTH)
        try:
            self.process = subprocess.Popen(
                command, stdin=there.fileno(), stdout=output, stderr=output, start_new_session=True
            )
            self._watch = HeadWatch(self.process, self._socket)
        except BaseException:
            self._socket.close()
            raise
        finally:
            there.close()
            signal.pthread_sigmask(signal.SIG_SETMASK, former)

    @property
    def left_its_view(self) -> bool:
        """Whether it ended without taking its live view from the screen."""
        return self.process.returncode not in EXIT_CODES or len(self._sent) > 1

    def send(self, number: int) -> None:
        """Pass a signal on, if it is there to be told: the first ends it in order, a second one at once."""
        if self.process.poll() is None:
            self._sent.append(number)
            self.process.send_signal(number)

    def leave(self) -> None:
        """Let go of it: should it live, it notices and ends in order."""
        with contextlib.suppress(OSError):  # it has let go before
            self._socket.shutdown(socket.SHUT_RDWR)

    def finish(self) -> tuple[int, str | None]:
        """Wait for its end, end what it left, and let go of it; return the exit code and what it cannot have said."""
        self.process.wait()
        with self._lock:
            if self._ending is None:
                sweep(self.process.pid)
                self.leave()
                self._ending = self._explain()
            return self._ending

    def _explain(self) -> tuple[int, str | None]:
        code, watch, sent = self.process.returncode, self._watch, self._sent
        if watch.cut_off is not None and code != 0:
            return 3, self._end_cut_off(watch.cut_off, has_asked=watch.asked is not None)
        if watch.asked is not None and (code < 0 or len(sent) > 1):  # it cannot have done so itself
            withdraw_for(watch.asked)
        if code == EXIT_BUG:
            return 1, None
        at_once = len(sent) > 1 and code in (3, 130)
        if code in EXIT_CODES and not at_once:
            return code, None  # it has printed its result or its reason
        again = f"continue with: {self._order.again()}"
        if sent:
            return 130 if sent[0] == signal.SIGINT else 3, f"interrupted; all that was recorded is kept, {again}"
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended because Ray's head is gone"
        return 3, f"the driver {how}; all it recorded is kept, {again}"

    def _end_cut_off(self, head: str, *, has_asked: bool) -> str:
        """End the workers here, as the head would do if it could; say that the driver was cut off."""
        _end_all(workers_here(self.process.pid))
        silent = f"the head of the cluster ({head}) has not answered for {CUT_OFF_S:.0f} s"
        room = f"; what {head} was asked to grow by may stand until then" if has_asked else ""
        return f"{silent}; all that was recorded is kept{room}, continue with: {self._order.again()}"


def sweep(session: int) -> None:
    """End every process of a session: what Ray started and could not end itself."""
    _end_all([process for process in psutil.process_iter() if _session_of(process.pid) == session])


def workers_here(driver: int) -> list[psutil.Process]:
    """Return the workers on this machine of the driver with this process number, from Ray's own processes too."""
    return [process for process in psutil.process_iter() if _works_for(process) == driver_name(driver)]


def _works_for(process: psutil.Process) -> str | None:
    try:
        return process.environ().get(DRIVER)
    except (psutil.Error, OSError):
        return None


def _end_all(left: Sequence[psutil.Process]) -> None:
    for process in left:
        _quietly(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(left, timeout=SWEEP_WAIT_S)
    for process in alive:
        _quietly(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=SWEEP_WAIT_S)


def _session_of(pid: int) -> int | None:
    try:
        return os.getsid(pid)
    except (ProcessLookupError, PermissionError):
        return None


def _quietly(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
