"""What a data set is made of: its splits in memory, and what must hold among them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from seti_model.errors import DatasetError

Images = npt.NDArray[np.uint8]  # (n, n_time, n_freq, channels)
Labels = npt.NDArray[np.int8]  # (n,)
Groups = npt.NDArray[np.str_]  # (n,)

TEST = "test"
SPLITS = ("train", "validation", TEST)


@dataclass(frozen=True)
class Split:
    """Images and labels of one split; the arrays may be memory-mapped and are never written to."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class Source:
    """Where images were read from: rows (n,), from 0, of one file, or of a list of files that hold an image each."""

    files: tuple[Path, ...]
    rows: npt.NDArray[np.intp]

    def place(self, image: int) -> str:
        """Return the place of one image as messages name it."""
        row = int(self.rows[image])
        return f"{self.files[0]}, row {row + 1}" if len(self.files) == 1 else str(self.files[row])


@dataclass(frozen=True)
class SplitData(Split):
    """A split with what is known besides: physical parameters (one row per image) and the group of each image.

    Images of one group (an object, an observation) are not independent, so they must share a split. The source is known
    while a data set is made.
    """

    truth: pd.DataFrame | None = None
    groups: Groups | None = None
    source: Source | None = None

    def take(self, rows: npt.NDArray[np.intp]) -> SplitData:
        """Return the images at the indices `rows`, with all that belongs to them."""
        return SplitData(
            self.images[rows],
            self.labels[rows],
            truth=None if self.truth is None else self.truth.iloc[rows].reset_index(drop=True),
            groups=None if self.groups is None else self.groups[rows],
            source=None if self.source is None else Source(self.source.files, self.source.rows[rows]),
        )


def check_splits(place: str, splits: Mapping[str, SplitData], class_names: tuple[str, ...]) -> None:
    """Refuse splits that no network could be trained and judged on; `place` is named in errors.

    Raises:
        DatasetError: Class names, shapes, types, labels or groups that do not go together, or a split too few.
    """
    if len(class_names) < 2 or len(set(class_names)) < len(class_names) or not all(class_names):
        raise DatasetError(f"{place}: class names {', '.join(class_names)!r}; give two or more, each different")
    if not {"train", "validation"} <= set(splits) <= set(SPLITS):
        raise DatasetError(f"{place}: splits {', '.join(splits)}; expected train, validation and perhaps test")
    shape = splits["train"].images.shape[1:]
    for name, data in splits.items():
        _check_split(f"{place}, split {name!r}", data, shape, len(class_names))
    _check_groups(place, splits)


def _check_split(place: str, data: SplitData, shape: tuple[int, ...], n_classes: int) -> None:
    images, labels = data.images, data.labels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise DatasetError(
            f"{place}: images {images.dtype} {images.shape}, expected uint8 (n, n_time, n_freq, channels) with the "
            f"shape {shape} of the training split; bring them to that form"
        )
    if labels.dtype != np.int8 or labels.shape != images.shape[:1]:
        raise DatasetError(f"{place}: labels {labels.dtype} {labels.shape}, expected int8 ({len(images)},)")
    if images.size == 0:
        raise DatasetError(f"{place}: no images; every split needs at least one")
    if labels.min() < 0 or labels.max() >= n_classes:
        row = int(np.flatnonzero((labels < 0) | (labels >= n_classes))[0])
        raise DatasetError(f"{place}, row {row + 1}: label {labels[row]}, expected 0..{n_classes - 1}; correct it")
    for part, values in (("truth", data.truth), ("groups", data.groups)):
        if values is not None and len(values) != len(labels):
            raise DatasetError(f"{place}: {part} of {len(values)} images, expected {len(labels)}; correct it")


def _check_groups(place: str, splits: Mapping[str, SplitData]) -> None:
    owner: dict[str, str] = {}
    if len({data.groups is None for data in splits.values()}) > 1:
        raise DatasetError(f"{place}: groups for some splits only; give them for all or for none")
    for name, data in splits.items():
        for group in () if data.groups is None else np.unique(data.groups).tolist():
            if owner.setdefault(str(group), name) != name:
                raise DatasetError(
                    f"{place}: group {group!r} is divided between {owner[str(group)]} and {name}; "
                    "move its images to one split"
                )
