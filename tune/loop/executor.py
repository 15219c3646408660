"""An executor in this process: the attempts that a coordinator hands out, one after the other, without Ray."""

from __future__ import annotations

import contextlib
import functools
import signal
import threading
from collections.abc import Iterator
from typing import Any

from tune.loop.coordinator import Coordinator
from tune.trainable import OnEpoch, Task, Trainable, run_attempt


def run_here(coordinator: Coordinator, data: Any, trainable: Trainable) -> Exception | None:
    """Run attempts until none is left to run.

    Args:
        coordinator: Of the run.
        data: As the trainable expects it.
        trainable: Of the run.

    Returns:
        What the trainable raised last, None if every attempt came to an end of its own.

    Raises:
        KeyboardInterrupt: Ctrl-C; the attempt is recorded as interrupted, its trial stays open.
    """
    raised: Exception | None = None
    ctrl_c = threading.Event()

    def watched(task: Task, data: Any, on_epoch: OnEpoch) -> None:
        nonlocal raised
        raised = None
        try:
            trainable(task, data, on_epoch)
        except Exception as error:
            if ctrl_c.is_set():
                raise KeyboardInterrupt from error
            raised = error
            raise

    try:
        with _remembered(ctrl_c):
            _run_all(coordinator, data, watched)
    except KeyboardInterrupt:
        coordinator.interrupt("interrupted by SIGINT")
        raise
    return raised


def _run_all(coordinator: Coordinator, data: Any, trainable: Trainable) -> None:
    while (task := coordinator.next_task()) is not None:
        run_attempt(task, data, trainable, functools.partial(coordinator.receive, task))


@contextlib.contextmanager
def _remembered(ctrl_c: threading.Event) -> Iterator[None]:
    """Set `ctrl_c` when it is pressed: a KeyboardInterrupt while TensorFlow converts an array leaves as a TypeError."""
    is_ours = threading.current_thread() is threading.main_thread()
    if not is_ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def remember(number: int, frame: object) -> None:
        ctrl_c.set()
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
