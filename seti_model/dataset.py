"""A data set on disk: a folder of memory-mapped splits with `dataset.json`, checked when opened and when written.

The digest identifies what a network can learn from (pixels, labels, names, groups), wherever the folder lies.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seti_model.digest import compute_digest, without_duplicates

Images = npt.NDArray[np.uint8]  # (n, n_time, n_freq, channels)
Labels = npt.NDArray[np.int8]  # (n,)
Groups = npt.NDArray[np.str_]  # (n,)

FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
_TYPES = {"shape": list, "channels": int, "class_names": list, "counts": dict, "digest": str, "origin": dict}
_SPLITS = ("train", "validation", "test")


class DatasetError(ValueError):
    """Data that cannot be used: the message names the file and place, what was found and what to do."""


@dataclass(frozen=True)
class Split:
    """Images and labels of one split; the arrays may be memory-mapped and are never written to."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class SplitData(Split):
    """A split with what is known besides: physical parameters (one row per image) and the group of each image.

    Images of one group (an object, an observation) are not independent, so they must share a split.
    """

    truth: pd.DataFrame | None = None
    groups: Groups | None = None

    def take(self, rows: npt.NDArray[np.intp]) -> SplitData:
        """Return the images at the indices `rows`, with all that belongs to them."""
        return SplitData(
            self.images[rows],
            self.labels[rows],
            truth=None if self.truth is None else self.truth.iloc[rows].reset_index(drop=True),
            groups=None if self.groups is None else self.groups[rows],
        )


@dataclass(frozen=True)
class TrainingData:
    """What a training may see: never the test split. Travels through Ray's object store without a copy."""

    train: Split
    validation: Split
    class_names: tuple[str, ...]
    digest: str  # SHA-256 of the whole data set, hex


@dataclass(frozen=True)
class Dataset:
    """An opened data set; images stay on disk until they are read."""

    path: Path
    class_names: tuple[str, ...]
    splits: Mapping[str, SplitData]
    origin: Mapping[str, Any]  # how it was made, in free form
    digest: str  # SHA-256, hex, as recorded; `verify` recomputes it

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open the folder `path` and check shapes, types, counts, labels and groups, but not the digest.

        Raises:
            DatasetError: The folder is missing, incomplete, or contradicts its `dataset.json`.
        """
        path = Path(path)
        meta = _read_meta(path)
        splits = {name: _load_split(path, name) for name in meta["counts"]}
        names = tuple(meta["class_names"])
        shape = (*meta["shape"], meta["channels"])
        for name, count in meta["counts"].items():
            found = (len(splits[name].images), *splits[name].images.shape[1:])
            if found != (count, *shape):
                raise DatasetError(
                    f"{path / f'{name}_images.npy'}: shape {found}, but {DATASET_FILE} says {(count, *shape)}; "
                    "make the data set again"
                )
        _check_splits(str(path), splits, names)
        return cls(path, names, splits, meta["origin"], meta["digest"])

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(n_time, n_freq, channels)."""
        n_time, n_freq, channels = self.splits["train"].images.shape[1:]
        return n_time, n_freq, channels

    def split(self, name: str) -> SplitData:
        """Return one split; its arrays are memory-mapped and read-only.

        Raises:
            DatasetError: The data set has no such split.
        """
        if name not in self.splits:
            raise DatasetError(f"{self.path}: no split {name!r}; it has {', '.join(self.splits)}")
        return self.splits[name]

    def class_counts(self, name: str) -> dict[str, int]:
        """Return the number of images of each class in split `name`."""
        counts = np.bincount(self.split(name).labels, minlength=len(self.class_names))
        return {class_name: int(n) for class_name, n in zip(self.class_names, counts, strict=True)}

    def training_data(self) -> TrainingData:
        """Return training and validation split, without the test split."""
        return TrainingData(self._plain("train"), self._plain("validation"), self.class_names, self.digest)

    def _plain(self, name: str) -> Split:
        # A memmap is pickled byte by byte, so every trial would get a copy; a plain array over the same file is
        # handed through shared memory.
        split = self.split(name)
        return Split(np.asarray(split.images), np.asarray(split.labels))

    def verify(self) -> None:
        """Read everything and compare with the recorded digest.

        Raises:
            DatasetError: Pixels, labels, names or groups have changed since the data set was written.
        """
        found = compute_digest(self.splits, self.class_names)
        if found != self.digest:
            raise DatasetError(
                f"{self.path}: digest {found[:12]}…, but {DATASET_FILE} says {self.digest[:12]}…; "
                "its files were changed, make the data set again"
            )


def require_new(path: Path) -> None:
    """Refuse a target that exists, before time is spent on what should go there.

    Raises:
        DatasetError: `path` exists.
    """
    if path.exists():
        raise DatasetError(f"{path}: exists already; choose another folder or delete it first")


def write_dataset(
    path: Path | str, splits: Mapping[str, SplitData], class_names: Sequence[str], origin: Mapping[str, Any]
) -> Dataset:
    """Write a data set to the new folder `path`, whole or not at all, and open it.

    An image that occurs byte for byte in two splits stays in the more held-out one (test, then validation); how
    many were removed from which split is recorded in `origin["duplicates_removed"]`.

    Raises:
        DatasetError: `path` exists or cannot be written; splits differ in shape, divide a group, lack the training
            or validation split, or have labels without a class name.
    """
    path = Path(path).absolute()
    require_new(path)
    _check_splits("new data set", splits, tuple(class_names))
    splits, removed = without_duplicates(splits)
    _check_splits("new data set without duplicates", splits, tuple(class_names))
    meta = {
        "format_version": FORMAT_VERSION,
        "shape": list(splits["train"].images.shape[1:3]),
        "channels": splits["train"].images.shape[3],
        "class_names": list(class_names),
        "counts": {name: len(data.labels) for name, data in splits.items()},
        "digest": compute_digest(splits, class_names),
        "origin": {**origin, "duplicates_removed": removed},
    }
    partial = path.parent / f".{path.name}.{os.getpid()}.partial"
    try:
        partial.mkdir(parents=True)
        for name, data in splits.items():
            _save_split(partial, name, data)
        text = json.dumps(meta, indent=2, allow_nan=False)
        (partial / DATASET_FILE).write_text(text + "\n", encoding="utf-8")
        partial.rename(path)
    except OSError as error:
        raise DatasetError(f"{path}: cannot be written ({error}); free some space or choose another folder") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Dataset.open(path)


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / DATASET_FILE
    try:
        meta = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DatasetError(f"{file}: missing; make a data set with `seti-tune data simulate` or `import`") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error
    if not isinstance(meta, dict) or meta.get("format_version") != FORMAT_VERSION:
        raise DatasetError(f"{file}: not a data set of format version {FORMAT_VERSION}; make the data set again")
    for key, expected in _TYPES.items():
        if not isinstance(meta.get(key), expected):
            raise DatasetError(f"{file}: {key!r} is {meta.get(key)!r}, expected {expected.__name__}; make it again")
    if not all(isinstance(name, str) for name in meta["class_names"]):
        raise DatasetError(f"{file}: 'class_names' is {meta['class_names']}, expected a list of names; make it again")
    return meta


def _load_split(path: Path, name: str) -> SplitData:
    groups = path / f"{name}_groups.npy"
    truth = path / f"{name}_truth.parquet"
    return SplitData(
        _load_array(path / f"{name}_images.npy"),
        _load_array(path / f"{name}_labels.npy"),
        truth=_load_truth(truth) if truth.exists() else None,
        groups=_load_array(groups) if groups.exists() else None,
    )


def _load_array(file: Path) -> npt.NDArray[Any]:
    try:
        return np.asanyarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error


def _load_truth(file: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(file)
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error


def _save_split(folder: Path, name: str, data: SplitData) -> None:
    np.save(folder / f"{name}_images.npy", data.images, allow_pickle=False)
    np.save(folder / f"{name}_labels.npy", data.labels, allow_pickle=False)
    if data.groups is not None:
        np.save(folder / f"{name}_groups.npy", data.groups, allow_pickle=False)
    if data.truth is not None:
        data.truth.to_parquet(folder / f"{name}_truth.parquet")


def _check_splits(place: str, splits: Mapping[str, SplitData], class_names: tuple[str, ...]) -> None:
    if len(class_names) < 2 or len(set(class_names)) < len(class_names) or not all(class_names):
        raise DatasetError(f"{place}: class names {', '.join(class_names)!r}; give two or more, each different")
    if not {"train", "validation"} <= set(splits) <= set(_SPLITS):
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
