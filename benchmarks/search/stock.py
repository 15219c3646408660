"""What the ways of stock software share: the arrays, the space as Optuna has it, the notes of epochs, the winner."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.record import Reported
from benchmarks.search.setting import space, training_data

EPOCHS = "epochs.jsonl"
WINNER, WINNER_MODEL = "winner.json", "winner.keras"


def arrays(folder: Path) -> dict[str, Any]:
    """Return images and labels of training and validation by name."""
    data = training_data(folder)
    return {
        "train_images": np.array(data.train.images),
        "train_labels": np.array(data.train.labels),
        "validation_images": np.array(data.validation.images),
        "validation_labels": np.array(data.validation.labels),
    }


def distributions() -> dict[str, Any]:
    """Return the space as Optuna has it."""
    from tune.loop.proposer import distribution

    return {parameter.name: distribution(parameter) for parameter in space().parameters}


def note(folder: Path, trial: int, epoch: int, accuracy: float) -> None:
    """Write an epoch down at the moment of its report; several processes may do so."""
    line = json.dumps({"trial": trial, "epoch": epoch, "validation_accuracy": float(accuracy), "at": time.time()})
    file = os.open(folder / EPOCHS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def noted(folder: Path) -> list[Reported]:
    """Return the epochs that were written down."""
    return [Reported(**json.loads(line)) for line in (folder / EPOCHS).read_text().splitlines()]


def write_winner(folder: Path, trial: int, accuracy: float) -> None:
    """Write down which trial is delivered; its network lies beside."""
    (folder / WINNER).write_text(json.dumps({"trial": trial, "validation_accuracy": float(accuracy)}))
