"""The thin parent of a search: it survives what the driver does not, and leaves no process behind.

When Ray's head dies, Ray ends the driver's process from C++ without an exception or a `finally`.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

import psutil

from tune.process.channel import CUT_OFF_S, HeadWatch
from tune.process.child import EXIT_BUG, Order
from tune.process.signals import BOTH, hold, release
from tune.ray_adapter.autoscale import withdraw_for
from tune.ray_adapter.cluster import DRIVER, driver_name
from tune.view.terminal import LIVE, SHOW_CURSOR

EXIT_CODES = (0, 2, 3, 130)
SWEEP_WAIT_S = 5.0


def supervise(order: Order) -> int:
    """Run the driver in a session of its own until it ends; return the exit code for the user."""
    here, there = socket.socketpair()
    forwarded: list[int] = []
    # -P: modules in the current folder must not be taken for ours.
    command = [sys.executable, "-P", "-m", "tune.process.child", json.dumps(vars(order))]
    hold()  # the driver lets them through when it can act upon them
    child = subprocess.Popen(command, stdin=there.fileno(), start_new_session=True)
    there.close()
    watch = HeadWatch(child, here)

    def forward(number: int, frame: FrameType | None) -> None:
        if child.poll() is None:
            forwarded.append(number)
            child.send_signal(number)

    former = {number: signal.signal(number, forward) for number in BOTH}
    release()
    try:
        code = child.wait()
        sweep(child.pid)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
        if order.view == LIVE:  # a driver that ended at once has left its view on the screen and the cursor hidden
            left = child.returncode not in EXIT_CODES or len(forwarded) > 1
            print(f"{SHOW_CURSOR}\n" if left else SHOW_CURSOR, end="", file=sys.stderr, flush=True)
        here.close()  # the driver reads the other end: should this process be killed, it notices and ends in order
    if watch.cut_off is not None and code != 0:
        return _explain_silence(watch.cut_off, child.pid, order, has_asked=watch.asked is not None)
    if watch.asked is not None and (code < 0 or len(forwarded) > 1):  # it cannot have done so itself
        withdraw_for(watch.asked)
    return _explain(code, forwarded, order)


def _explain(code: int, forwarded: Sequence[int], order: Order) -> int:
    """Say how the driver ended where it cannot have said so itself; return the exit code for the user."""
    if code == EXIT_BUG:
        return 1
    at_once = len(forwarded) > 1 and code in (3, 130)
    if code in EXIT_CODES and not at_once:
        return code  # the driver has printed its result or its reason
    if forwarded:
        print(f"seti-tune: interrupted; all that was recorded is kept, continue with: {order.again()}", file=sys.stderr)
        return 130 if forwarded[0] == signal.SIGINT else 3
    how = f"was killed by {signal.Signals(-code).name}" if code < 0 else "ended because Ray's head is gone"
    print(f"seti-tune: the driver {how}; all it recorded is kept, continue with: {order.again()}", file=sys.stderr)
    return 3


def _explain_silence(head: str, driver: int, order: Order, *, has_asked: bool) -> int:
    """Say that the driver was cut off, and end its workers here, as the head would do if it could."""
    silent = f"the head of the cluster ({head}) has not answered for {CUT_OFF_S:.0f} s"
    room = f"; what {head} was asked to grow by may stand until then" if has_asked else ""
    kept = f"all that was recorded is kept{room}, continue with: {order.again()}"
    print(f"seti-tune: {silent}; {kept}", file=sys.stderr, flush=True)
    _end_all(workers_here(driver))
    return 3


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
