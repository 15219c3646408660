"""What Ray runs on a worker: one attempt, whose messages are Ray's reports."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune

from tune.errors import StudyError
from tune.storage.scratch import Scratch, scratch_folder, shared_folder
from tune.trainable import Entered, EpochReport, MachineFault, Message, Task, load_trainable, run_attempt

_attempts_here = 0  # that this process has begun


def run_on_worker(config: Mapping[str, Any], data: Any, name: str, folder: Path | None) -> None:
    """Run the attempt `config["task"]` of the trainable `name` and report it to the driver."""
    # After "stop" Ray waits this long for the function to return before it gives the worker up; 2 s by default,
    # too short where several hundred MB are handed back.
    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = "60"
    task: Task = config["task"]
    global _attempts_here
    _attempts_here += 1

    def tell(message: Message) -> bool:
        if isinstance(message, Entered) and task.nodes is not None:
            message = dataclasses.replace(message, node_id=ray.get_runtime_context().get_node_id())
        ray_tune.report({"message": message})  # where the driver says "stop", Ray ends this thread by SystemExit
        if isinstance(message, EpochReport) and _has_grown(task, message):
            os._exit(0)  # the driver knows why from the report; a fresh worker continues from the checkpoint
        return False

    def trainable(task: Task, data: Any, on_epoch: Any) -> None:
        try:
            train = load_trainable(name, folder)
        except StudyError as error:  # the driver could, or there would be no search
            raise MachineFault(str(error)) from error
        train(task, data, on_epoch)

    if task.storage is None:
        run_attempt(task, data, trainable, tell)
        return
    if getattr(data, "prepared_in", None) is not None:
        data = dataclasses.replace(data, prepared_in=shared_folder(task.storage))
    with scratch_folder() as here:
        scratch = Scratch(task, here)
        run_attempt(task, data, scratch.trainable(trainable), scratch.tell(tell))


def _has_grown(task: Task, report: EpochReport) -> bool:
    """Return whether this worker is to be replaced; one that has trained nothing else would not come back smaller."""
    if task.memory_mb is None or report.resident_mb is None or report.checkpoint is None:
        return False
    return _attempts_here > 1 and report.epoch < task.max_epochs and report.resident_mb > task.memory_mb
