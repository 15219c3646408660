"""The networks of seti-tune as a trainable whose `seconds` are processor time, so that a busy machine does no harm."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Any

from seti_model.config import EPOCHS, Configuration
from tune.trainable import NetworkSize, train_network

if TYPE_CHECKING:
    from tune.trainable import EpochReport, OnEpoch, Task


def train(task: Task, data: Any, on_epoch: OnEpoch) -> None:
    """Train as every search does, without checkpoints: each epoch takes what its process took since the one before."""
    configuration = Configuration.from_mapping({**task.configuration, EPOCHS: task.max_epochs})
    task = dataclasses.replace(task, configuration=configuration.to_mapping(), checkpoint_epochs=())
    since = time.process_time()

    def report(told: EpochReport | NetworkSize) -> bool:
        nonlocal since
        if isinstance(told, NetworkSize):
            return on_epoch(told)
        now = time.process_time()
        since, spent = now, now - since
        return on_epoch(dataclasses.replace(told, seconds=spent, checkpoint=None))

    train_network(task, data, report)
