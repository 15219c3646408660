"""What the tests of scans share: a network trained for seconds on tiles of noise and of lines, and files to scan."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
from spectra_files import write_fil

from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.kind import ImageKind
from seti_model.data.spectra.tiles import Tiling, to_image

TILING = Tiling(16, 32, rule="log")
CLASSES = ("line", "noise")
SMALL = {
    "network.family": "small",
    "prepare.steps": "align",
    "align.half_width": 6,
    "align.max_drift": 6.0,
    "small.convolutions": 0,
    "training.epochs": 6,
    "training.batch_size": 16,
    "training.recalibration_batches": 2,
}


def powers(n: int, seed: int, *, strength: float = 8.0) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Power of tiles, exponential as that of noise, every second one with a line that drifts; and their labels."""
    rng = np.random.default_rng(seed)
    power = rng.exponential(1e4, (n, TILING.n_time, TILING.n_freq)).astype(np.float32)
    labels = (np.arange(n) % 2).astype(np.int8)
    for one in np.flatnonzero(labels == 0):
        add_line(power[one], rng.uniform(6, 26), rng.uniform(-4, 4), strength)
    return power, labels


def add_line(power: np.ndarray[Any, Any], column: float, drift: float, strength: float) -> None:
    """Add a line through `column` at mid time, that moves by `drift` columns from the first row to the last."""
    n_time = len(power)
    for row in range(n_time):
        at = round(column + drift * (row - (n_time - 1) / 2) / (n_time - 1))
        power[row, at] += strength * 1e4


def images_of(power: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return np.stack([to_image(one, TILING) for one in power])[..., None]


def write_model(run: Path, *, kind: ImageKind | None = None, **changes: Any) -> Path:
    """Train for seconds and leave a run's delivered model with its validation predictions; return the model's path."""
    import pandas as pd

    from results.predictions import Predictions, write_predictions
    from seti_model.exported import export_model, load_model
    from seti_model.training.train import train

    splits = []
    for n, seed in ((640, 1), (800, 2)):
        power, labels = powers(n, seed)
        splits.append(Split(images_of(power), labels))
    kind = ImageKind(tiles=TILING.to_mapping()) if kind is None else kind
    data = TrainingData(splits[0], splits[1], CLASSES, "d" * 64, kind=kind)
    result = train(Configuration.from_mapping(SMALL | changes), data, seed=3)
    path = run / "final" / "model.keras"
    path.parent.mkdir(parents=True)
    (run / "events.jsonl").touch()
    export_model(result.best, path)
    y_prob = load_model(path).predict(splits[1].images)
    truth = pd.DataFrame(index=range(len(y_prob)))
    predictions = Predictions(splits[1].labels.astype(np.int64), y_prob, CLASSES, truth)
    write_predictions(run / "final" / "validation_predictions.parquet", predictions)
    return path


def write_sky(
    path: Path, *, n_down: int = 8, n_across: int = 20, seed: int = 5, every: int = 7, **fields: Any
) -> set[int]:
    """Write a file of noise in which every so manyth tile holds a line; return the numbers of these tiles."""
    rng = np.random.default_rng(seed)
    power = rng.exponential(1e4, (n_down * TILING.n_time, n_across * TILING.n_freq)).astype(np.float32)
    injected = set(range(3, n_down * n_across, every))
    for tile in injected:
        row, column = divmod(tile, n_across)
        part = power[row * TILING.n_time :, column * TILING.n_freq :][: TILING.n_time, : TILING.n_freq]
        add_line(part, rng.uniform(6, 26), rng.uniform(-4, 4), 8.0)
    write_fil(path, power, **fields)
    assert not math.isnan(float(power[0, 0]))
    return injected
