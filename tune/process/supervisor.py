"""The thin parent of a search: it survives what the driver does not, and leaves no process behind.

When Ray's head dies, Ray ends the driver's process from C++ without an exception or a `finally`.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from types import FrameType

import psutil

from tune.process.child import EXIT_BUG, Order
from tune.process.signals import BOTH, hold, release
from tune.view.terminal import LIVE, SHOW_CURSOR

EXIT_CODES = (0, 2, 3, 130)
SWEEP_WAIT_S = 5.0


def supervise(order: Order) -> int:
    """Run the driver in a session of its own until it ends; return the exit code for the user."""
    readable, writable = os.pipe()
    forwarded: list[int] = []
    # -P: modules in the current folder must not be taken for ours.
    command = [sys.executable, "-P", "-m", "tune.process.child", json.dumps(vars(order))]
    hold()  # the driver lets them through when it can act upon them
    child = subprocess.Popen(command, stdin=readable, start_new_session=True)
    os.close(readable)

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
        # The driver reads the other end: should this process be killed, it notices and ends in order.
        os.close(writable)
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


def sweep(session: int) -> None:
    """End every process of a session: what Ray started and could not end itself."""
    left = [process for process in psutil.process_iter() if _session_of(process.pid) == session]
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
