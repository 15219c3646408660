"""Preparing images before a network sees them: named steps in the order of a configuration, part of the model.

A step is a pure function images -> images of (n, n_time, n_freq, channels); it is uint8 as stored, or float32 in the
same scale of 0..255 where a step gives fractions. Each image is prepared by itself, whatever stands beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seti_model.config import Preparation
from seti_model.data.align import align
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.kind import LUMINANCE
from seti_model.data.shared import shared_rows
from seti_model.errors import ConfigError
from seti_model.own import load_step, require_same_source

Prepared = npt.NDArray[Any]  # uint8 or float32
Shape = tuple[int, int, int]  # n_time, n_freq, channels
VERSION = 1  # of what the steps compute
KEPT = 16  # choices of preparation whose images stay on the disk
DIGITS = 32  # of the digest, in the name of the folder of a choice
PART = 256  # images prepared at a time, by one of those who need them
CLIPPED_AT, ITERATIONS = 3.0, 10  # standard deviations; as the public code of arXiv:1807.10380 finds the noise


def prepare(images: Prepared, preparation: Preparation) -> Prepared:
    """Return images as a network with this preparation expects them; those given, where there are no steps.

    Raises:
        ConfigError: A step that these images do not allow, or one of the user's that is not there, has changed or
            returns something else than images.
    """
    for name, settings in preparation.steps:
        images = STEPS[name](images, **settings) if name in STEPS else _by_own(name, images, preparation)
    return images


def prepared_form(shape: Shape, preparation: Preparation) -> tuple[Shape, np.dtype[Any]]:
    """Return shape and type of prepared images of this shape.

    Raises:
        ConfigError: A step that such images do not allow.
    """
    one = prepare(np.zeros((1, *shape), np.uint8), preparation)
    n_time, n_freq, channels = one.shape[1:]
    return (n_time, n_freq, channels), one.dtype


def prepare_data(data: TrainingData, preparation: Preparation) -> TrainingData:
    """Return training and validation split prepared; trainings that share `data.prepared_in` do it once.

    Raises:
        ConfigError: A step that these images do not allow.
        DatasetError: What is kept cannot be written or read.
    """
    if not preparation.steps:
        return data
    splits = {"train": data.train, "validation": data.validation}
    if data.prepared_in is None:
        images = {name: prepare(split.images, preparation) for name, split in splits.items()}
    else:
        images = _kept(data.prepared_in, _digest(data.digest, preparation), splits, preparation)
    train, validation = (Split(images[name], split.labels) for name, split in splits.items())
    return replace(data, train=train, validation=validation)


def _kept(
    folder: Path, digest: str, splits: Mapping[str, Split], preparation: Preparation
) -> dict[str, npt.NDArray[Any]]:
    """Return prepared images from below `folder`, made and put there by all who ask for them at the same time."""
    home = folder / digest[:DIGITS]
    is_new = not home.is_dir()
    images = {
        name: shared_rows(home / f"{name}.npy", len(split.images), _preparing(split, preparation), part=PART)
        for name, split in splits.items()
    }
    with contextlib.suppress(OSError):
        os.utime(home)  # in use, so not among the oldest that another process removes
    if is_new:
        _drop_oldest(folder, home, [f"{name}.npy" for name in splits])
    return images


def _preparing(split: Split, preparation: Preparation) -> Callable[[int, int], Prepared]:
    return lambda first, last: prepare(split.images[first:last], preparation)


def _drop_oldest(folder: Path, newest: Path, files: Sequence[str]) -> None:
    """Keep the `KEPT` choices that were used last, and those still in the making; who still reads a file reads on."""
    whole = [home for home in folder.glob("?" * DIGITS) if all((home / name).exists() for name in files)]
    for home in sorted((home for home in whole if home != newest), key=_used_at)[: -(KEPT - 1)]:
        shutil.rmtree(home, ignore_errors=True)


def _used_at(home: Path) -> float:
    try:
        return home.stat().st_mtime
    except OSError:  # another process has removed it
        return 0.0


def _digest(data: str, preparation: Preparation) -> str:
    steps = [[name, dict(settings)] for name, settings in preparation.steps]
    text = json.dumps([VERSION, data, steps, *([preparation.source] if preparation.source else [])], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _by_own(name: str, images: Prepared, preparation: Preparation) -> Prepared:
    """Return what the user's function makes of images: uint8, else float32."""
    require_same_source([own for own, _ in preparation.steps if own not in STEPS], preparation.source)
    made = np.asarray(load_step(name)(images, **dict(preparation.steps)[name]))
    if made.ndim != 4 or len(made) != len(images):
        raise ConfigError(
            f"prepare.steps: {name!r} made {made.shape} of {images.shape}; return (n, n_time, n_freq, channels)"
        )
    return made if made.dtype == np.uint8 else made.astype(np.float32)


def resize(images: Prepared, *, n_time: int, n_freq: int) -> Prepared:
    """Bring images to another size, by Pillow's Lanczos filter; float32, nothing is rounded."""
    resized = np.empty((len(images), n_time, n_freq, images.shape[3]), np.float32)
    for row, image in enumerate(images):
        for channel in range(images.shape[3]):
            plane = Image.fromarray(image[..., channel].astype(np.float32))
            resized[row, ..., channel] = np.asarray(plane.resize((n_freq, n_time), Image.Resampling.LANCZOS))
    return resized


def crop(images: Prepared, *, n_time: int, n_freq: int) -> Prepared:
    """Keep the middle of images.

    Raises:
        ConfigError: They are smaller than that.
    """
    if n_time > images.shape[1] or n_freq > images.shape[2]:
        raise ConfigError(
            f"crop.n_time={n_time}, crop.n_freq={n_freq}: more than the {images.shape[1]}x{images.shape[2]} pixels of "
            "an image; choose at most as many"
        )
    top, left = (images.shape[1] - n_time) // 2, (images.shape[2] - n_freq) // 2
    return images[:, top : top + n_time, left : left + n_freq]


def sigma_clip(images: Prepared, *, sigma: float) -> Prepared:
    """Cut off what lies further than `sigma` standard deviations from the mean of its image; float32."""
    values = images.astype(np.float64)
    mean, deviation = values.mean(axis=(1, 2, 3), keepdims=True), values.std(axis=(1, 2, 3), keepdims=True)
    return np.clip(values, mean - sigma * deviation, mean + sigma * deviation).astype(np.float32)


def cut_noise(images: Prepared, *, sigma: float) -> Prepared:
    """Set what lies less than `sigma` deviations of the noise above the sky to the sky; float32.

    Sky and noise are mean and deviation of an image's pixels without those that lie 3 deviations off, found again and
    again. The FIRST Classifier's public code (arXiv:1807.10380), after arXiv:1705.03413, sets what is below 3 of them
    to zero, where the sky of its images is.
    """
    values = images.astype(np.float64)
    mean, deviation = sky_and_noise(values)
    return np.where(values < mean + sigma * deviation, mean, values).astype(np.float32)


def sky_and_noise(values: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return mean and deviation of each image's sky (n, 1, 1, 1): of all pixels but outliers."""
    axes, kept = (1, 2, 3), np.ones(values.shape, np.bool_)
    mean, deviation = values.mean(axes, keepdims=True), values.std(axes, keepdims=True)
    for _ in range(ITERATIONS):
        kept = np.abs(values - mean) <= CLIPPED_AT * deviation
        mean = np.mean(values, axes, where=kept, keepdims=True)
        deviation = np.std(values, axes, where=kept, keepdims=True)
    return mean, deviation


def scale(images: Prepared) -> Prepared:
    """Spread each image over 0..255, from its darkest pixel to its brightest; float32, a blank image becomes 0."""
    values = images.astype(np.float64)
    low, high = values.min(axis=(1, 2, 3), keepdims=True), values.max(axis=(1, 2, 3), keepdims=True)
    spread: Prepared = (255 * (values - low) / np.where(high > low, high - low, 1.0)).astype(np.float32)
    return spread


def grey(images: Prepared) -> Prepared:
    """Return the luminance of colour images; one channel stays as it is.

    Raises:
        ConfigError: Neither one nor three channels.
    """
    if images.shape[3] == 1:
        return images
    if images.shape[3] != 3:
        raise ConfigError(f"grey: images of {images.shape[3]} channels, expected 1 or 3; leave the step out")
    luminance: Prepared = images.astype(np.float64) @ np.array(LUMINANCE)
    return luminance[..., None].astype(np.float32)


STEPS: Mapping[str, Callable[..., Any]] = {
    "align": align,
    "crop": crop,
    "cut_noise": cut_noise,
    "grey": grey,
    "resize": resize,
    "scale": scale,
    "sigma_clip": sigma_clip,
}
