"""What the tests of scans share: a network trained for seconds on tiles of noise and of lines, and files to scan."""

from __future__ import annotations

from collections.abc import Iterator
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
STRENGTH = 8.0  # of a line, in units of the mean power of the noise
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


def powers(
    n: int, seed: int, *, strength: float = STRENGTH, tiling: Tiling = TILING
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Power of tiles, exponential as that of noise, every second one with a line that drifts; and their labels."""
    rng = np.random.default_rng(seed)
    power = noise(rng, (n, tiling.n_rows, tiling.n_channels))
    labels = (np.arange(n) % 2).astype(np.int8)
    for one in np.flatnonzero(labels == 0):
        add_any_line(rng, power[one], strength)
    return power, labels


def noise(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
    return rng.standard_exponential(shape, np.float32) * np.float32(1e4)


def add_any_line(rng: np.random.Generator, power: np.ndarray[Any, Any], strength: float) -> None:
    n = power.shape[1]
    add_line(power, rng.uniform(0.2 * n, 0.8 * n), rng.uniform(-n / 8, n / 8), strength)


def add_line(power: np.ndarray[Any, Any], column: float, drift: float, strength: float) -> None:
    """Add a line through `column` at mid time, that moves by `drift` columns from the first row to the last."""
    n_time = len(power)
    for row in range(n_time):
        at = round(column + drift * (row - (n_time - 1) / 2) / (n_time - 1))
        power[row, at] += strength * 1e4


def images_of(power: np.ndarray[Any, Any], tiling: Tiling = TILING) -> np.ndarray[Any, Any]:
    return np.stack([to_image(one, tiling) for one in power])[..., None]


def write_model(
    run: Path,
    *,
    kind: ImageKind | None = None,
    tiling: Tiling = TILING,
    strength: float = STRENGTH,
    counts: tuple[int, int] = (640, 800),
    **changes: Any,
) -> Path:
    """Train for seconds and leave a run's delivered model with its validation predictions; return the model's path."""
    import pandas as pd

    from results.predictions import Predictions, write_predictions
    from seti_model.exported import export_model, load_model
    from seti_model.runtime import prepare_process
    from seti_model.training.train import train

    prepare_process(1)
    splits = []
    for seed, n in enumerate(counts, start=1):
        power, labels = powers(n, seed, strength=strength, tiling=tiling)
        splits.append(Split(images_of(power, tiling), labels))
    kind = ImageKind(tiles=tiling.to_mapping()) if kind is None else kind
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
    injected = set(range(3, n_down * n_across, every))
    parts = list(sky_parts(TILING, n_down, n_across, injected, seed=seed))
    write_fil(path, np.concatenate(parts), **fields)
    return injected


def sky_parts(
    tiling: Tiling, n_down: int, n_across: int, injected: set[int], *, seed: int, strength: float = STRENGTH
) -> Iterator[np.ndarray[Any, Any]]:
    """Yield rows of tiles of noise, with a line in each tile of `injected`."""
    rng = np.random.default_rng(seed)
    for row in range(n_down):
        power = noise(rng, (tiling.n_rows, n_across * tiling.n_channels))
        for column in range(n_across):
            if row * n_across + column in injected:
                add_any_line(rng, power[:, column * tiling.n_channels :][:, : tiling.n_channels], strength)
        yield power
