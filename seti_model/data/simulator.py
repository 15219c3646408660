"""Simulated data sets: balanced splits of SETI spectrograms, each image a function of seed, split and index."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from seti_model.data.dataset import Dataset, Images, Labels, SplitData, require_new, write_dataset
from seti_model.data.physics import CLASS_NAMES, PRESETS, SHAPE, Physics, Signal, draw_signal, noisy_power, to_pixels
from seti_model.errors import DatasetError

SPLITS = ("train", "validation", "test")


@dataclass(frozen=True)
class Simulation:
    """Images (n, 64, 128, 1), labels into `CLASS_NAMES` (n,), and one row of `Signal` fields per image."""

    images: Images
    labels: Labels
    truth: pd.DataFrame


def simulate(
    physics: Physics | str,
    n: int,
    seed: int,
    *,
    split: str = "train",
    threads: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Simulation:
    """Simulate one split with balanced classes in random order.

    An image depends on `physics`, `seed`, `split` and its own index only, and every four images in a row hold each
    class once.

    Args:
        physics: The name of a preset, or the ranges themselves.
        n: Number of images.
        seed: Not negative; equal seeds give equal images on machines that round alike.
        split: One of train, validation, test; each draws its own images from the seed.
        threads: NumPy releases the interpreter lock for most of the work; None means one per processor.
        on_image: Called after each image, in order.

    Raises:
        DatasetError: An unknown preset or split, or a negative count or seed.
    """
    physics = _resolve(physics)
    if split not in SPLITS:
        raise DatasetError(f"split {split!r} is unknown; choose one of {', '.join(SPLITS)}")
    if n < 0 or seed < 0:
        raise DatasetError(f"simulation of {n} images with seed {seed}: neither may be negative; correct them")
    labels = _balanced_labels(n, seed, split)
    images = np.empty((n, *SHAPE, 1), np.uint8)

    def make(index: int) -> Signal:
        rng = _generator(seed, split, 0, index)
        signal = draw_signal(physics, int(labels[index]), rng)
        images[index, :, :, 0] = to_pixels(noisy_power(signal, rng, physics=physics))
        return signal

    signals = _run(make, n, threads, on_image)
    columns = [field.name for field in dataclasses.fields(Signal)]
    truth = pd.DataFrame([dataclasses.astuple(signal) for signal in signals], columns=columns, dtype="float64")
    return Simulation(images, labels, truth)


def simulate_dataset(
    path: Path,
    preset: str,
    counts: Mapping[str, int],
    seed: int,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Dataset:
    """Simulate every split of `counts` (split name to number of images) and write the data set to `path`.

    Raises:
        DatasetError: As for `simulate` and `write_dataset`.
    """
    physics = _resolve(preset)
    require_new(path)
    splits = {}
    for split, n in counts.items():
        made = simulate(physics, n, seed, split=split, on_image=on_image)
        splits[split] = SplitData(made.images, made.labels, truth=made.truth)
    origin = {"simulated": preset, "seed": seed, "physics": dataclasses.asdict(physics)}
    return write_dataset(path, splits, class_names=CLASS_NAMES, origin=origin)


def _resolve(physics: Physics | str) -> Physics:
    if isinstance(physics, Physics):
        return physics
    if physics not in PRESETS:
        raise DatasetError(f"preset {physics!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[physics]


def _run(make: Callable[[int], Signal], n: int, threads: int | None, on_image: Callable[[], None]) -> list[Signal]:
    signals = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for signal in pool.map(make, range(n)):
                signals.append(signal)
                on_image()
        except BaseException:  # Ctrl-C would otherwise wait for all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return signals


def _generator(seed: int, split: str, purpose: int, index: int) -> np.random.Generator:
    key = (SPLITS.index(split), purpose, index)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _balanced_labels(n: int, seed: int, split: str) -> Labels:
    classes = len(CLASS_NAMES)
    blocks = [_generator(seed, split, 1, block).permutation(classes) for block in range(-(-n // classes))]
    return np.concatenate([*blocks, np.empty(0)])[:n].astype(np.int8)
