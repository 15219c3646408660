"""A trainable of milliseconds with the contract of the real one: the tests' stand-in for a network.

Its accuracy is a smooth function of `x` and the epoch. Where asked to it diverges, raises, dies or sleeps; with
`slow_while` it sleeps only as long as the file of that name is there.
"""

import hashlib
import json
import math
import os
import signal
import time
from pathlib import Path

from results.objective import NAMES
from seti_model.data.dataset import TrainingData
from tune.trainable import CheckpointLost, Diverged, EpochReport, NetworkSize, OnEpoch, Task

hoard: list[bytearray] = []


def accuracy(x: float, epoch: int, seed: int) -> float:
    wiggle = (int(hashlib.sha256(f"{seed} {epoch}".encode()).hexdigest()[:6], 16) / 0xFFFFFF - 0.5) * 0.02
    return max(0.0, (1 - (x - 0.3) ** 2) * (1 - math.exp(-epoch / 3)) + wiggle)


def metrics(x: float, epoch: int, seed: int) -> dict[str, float]:
    """What other objectives than the accuracy are: best at another x, the loss lowest there."""
    there = accuracy(1 - x, epoch, seed)
    return {**dict.fromkeys(NAMES[1:], there), "loss": 1 - there}


def size(x: float) -> NetworkSize:
    return NetworkSize(model_parameters=int(1000 * x), latency_ms=10 * x)


def train(task: Task, data: object, on_epoch: OnEpoch) -> None:
    options = task.configuration
    x = float(options["x"])
    start = 0
    if task.measure and on_epoch(size(x)):
        return
    if task.resume_from is not None:
        try:
            start = int(json.loads((task.resume_from / "state.json").read_text())["epoch"])
        except (OSError, ValueError) as error:
            raise CheckpointLost(f"{task.resume_from}: {error}") from error
    for epoch in range(start + 1, task.max_epochs + 1):
        if Path(str(options.get("slow_while", "/"))).exists():
            time.sleep(float(options.get("sleep", 0.0)))
        if x > float(options.get("diverges_above", 2.0)):
            raise Diverged(f"loss is nan in epoch {epoch}")
        if x > float(options.get("raises_above", 2.0)):
            raise ValueError(f"cannot train x = {x:.3f}")
        if x > float(options.get("asks_too_much_above", 2.0)):
            hoard.append(bytearray(2**60))
        if "cgroup" in options and x < 0.5:
            (Path(str(options["cgroup"])) / "cgroup.procs").write_text(str(os.getpid()))
            hoard.append(bytearray(b"x") * 400_000_000)
        hoard.append(bytearray(os.urandom(1)) * int(float(options.get("grows_mb", 0)) * 1e6))
        if options.get("dies_at") == epoch and task.attempt == 0 and task.trial == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        folder = task.checkpoint_folder / f"{epoch:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "state.json").write_text(json.dumps({"epoch": epoch}))
        report = EpochReport(
            epoch=epoch,
            validation_accuracy=accuracy(x, epoch, task.seed),
            metrics=metrics(x, epoch, task.seed),
            seconds=0.001,
            weights_digest=hashlib.sha256(f"{x} {task.seed} {epoch}".encode()).hexdigest(),
            checkpoint=folder,
        )
        if on_epoch(report):
            return


def checks_its_data(task: Task, data: TrainingData, on_epoch: OnEpoch) -> None:
    """Fail unless the images lie in Ray's shared memory: of the right type, not writeable, not owned."""
    for split in (data.train, data.validation):
        images = split.images
        if images.dtype.name != "uint8" or images.flags.writeable or images.flags.owndata:
            raise ValueError(f"a copy: {images.dtype} {images.flags}")
    for epoch in range(1, task.max_epochs + 1):
        on_epoch(EpochReport(epoch=epoch, validation_accuracy=float(data.train.labels[0])))
