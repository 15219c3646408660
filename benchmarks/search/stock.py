"""What the ways of stock software share: the arrays, the notes of epochs, the winner."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.search.record import Reported
from benchmarks.search.setting import Setting, space, training_data

EPOCHS = "epochs.jsonl"
WINNER, WINNER_MODEL, PARAMETERS = "winner.json", "winner.keras", "parameters"
FAMILY = "network.family"


def arrays(folder: Path) -> dict[str, Any]:
    """Return images and labels of training and validation by name."""
    data = training_data(folder)
    return {
        "train_images": np.array(data.train.images),
        "train_labels": np.array(data.train.labels),
        "validation_images": np.array(data.validation.images),
        "validation_labels": np.array(data.validation.labels),
    }


def prepared(arrays: Mapping[str, Any], setting: Setting) -> dict[str, dict[str, Any]]:
    """Return the arrays by family, images as it wants them, once for all trials; without families under "".

    By our own step, as stock Keras has none that aligns images.
    """
    families = [one for parameter in space(setting).parameters if parameter.name == FAMILY for one in parameter.choices]
    if not families:
        return {"": dict(arrays)}
    from seti_model.config import Configuration
    from seti_model.data.prepare import prepare

    steps = {family: Configuration.from_mapping({**setting.fixed, FAMILY: family}).preparation for family in families}
    return {
        family: {name: prepare(of, step) if name.endswith("_images") else of for name, of in arrays.items()}
        for family, step in steps.items()
    }


def note(folder: Path, reported: Reported) -> None:
    """Write an epoch down; several processes may do so."""
    line = json.dumps(dataclasses.asdict(reported))
    file = os.open(folder / EPOCHS, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{line}\n".encode())
    os.close(file)


def noted(folder: Path) -> list[Reported]:
    """Return the epochs that were written down."""
    return [Reported(**json.loads(line)) for line in (folder / EPOCHS).read_text().splitlines()]


def write_winner(folder: Path, trial: int, accuracy: float, parameters: Mapping[str, Any]) -> None:
    """Write down which trial is delivered, and its point of the space; its network lies beside."""
    said = {"trial": trial, "validation_accuracy": float(accuracy), PARAMETERS: dict(parameters)}
    (folder / WINNER).write_text(json.dumps(said))
