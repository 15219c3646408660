"""An executor in this process: the attempts that a coordinator hands out, one after the other, without Ray."""

from __future__ import annotations

import functools
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

    def watched(task: Task, data: Any, on_epoch: OnEpoch) -> None:
        nonlocal raised
        raised = None
        try:
            trainable(task, data, on_epoch)
        except Exception as error:
            raised = error
            raise

    try:
        while (task := coordinator.next_task()) is not None:
            run_attempt(task, data, watched, functools.partial(coordinator.receive, task))
    except KeyboardInterrupt:
        coordinator.interrupt("interrupted by SIGINT")
        raise
    return raised
