"""A data set on disk: a folder of memory-mapped splits with `dataset.json`, checked when opened and when written.

The digest identifies what a network can learn from (pixels, labels, names, groups), wherever the folder lies.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from seti_model.data.digest import compute_digest, without_duplicates
from seti_model.data.split_data import TEST, check_splits
from seti_model.data.split_data import Groups as Groups
from seti_model.data.split_data import Images as Images
from seti_model.data.split_data import Labels as Labels
from seti_model.data.split_data import Source as Source
from seti_model.data.split_data import Split as Split
from seti_model.data.split_data import SplitData as SplitData
from seti_model.errors import DatasetError
from seti_model.files import written_whole

FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
_TYPES = {"shape": list, "channels": int, "class_names": list, "counts": dict, "digest": str, "origin": dict}


@dataclass(frozen=True)
class TrainingData:
    """What a training may see: never the test split. Travels through Ray's object store without a copy."""

    train: Split
    validation: Split
    class_names: tuple[str, ...]
    digest: str  # SHA-256 of the whole data set, hex


@dataclass(frozen=True)
class Dataset:
    """An opened data set; images stay on disk until they are read. Its test split is counted and hashed, not read."""

    path: Path
    class_names: tuple[str, ...]
    origin: Mapping[str, Any]  # how it was made, in free form
    digest: str  # SHA-256, hex, as recorded; `verify` recomputes it
    _splits: Mapping[str, SplitData] = field(repr=False)
    _is_unlocked: bool = False

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
        check_splits(str(path), splits, names)
        return cls(path, names, meta["origin"], meta["digest"], splits)

    @property
    def splits(self) -> tuple[str, ...]:
        """The names of its splits."""
        return tuple(self._splits)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(n_time, n_freq, channels)."""
        n_time, n_freq, channels = self._splits["train"].images.shape[1:]
        return n_time, n_freq, channels

    def split(self, name: str) -> SplitData:
        """Return one split; its arrays are memory-mapped and read-only.

        Raises:
            DatasetError: The data set has no such split, or it is the test split and that is locked.
        """
        if name not in self._splits:
            raise DatasetError(f"{self.path}: no split {name!r}; it has {', '.join(self.splits)}")
        if name == TEST and not self._is_unlocked:
            raise DatasetError(
                f"{self.path}: the test split is locked, because a figure is worth most when it was looked at once; "
                "leave it to `seti-tune finals RUN`, or add --unlock-test to `evaluate` or `predict`"
            )
        return self._splits[name]

    def unlocked(self) -> Dataset:
        """Return the same data set with a test split that may be read; `tune.test_split` calls this, and records it."""
        return replace(self, _is_unlocked=True)

    def class_counts(self, name: str) -> dict[str, int]:
        """Return the number of images of each class in split `name`."""
        counts = np.bincount(self._splits[name].labels, minlength=len(self.class_names))
        return {class_name: int(n) for class_name, n in zip(self.class_names, counts, strict=True)}

    def pixel_counts(self, name: str) -> npt.NDArray[np.int64]:
        """Return how many pixels of split `name` have each value, (256,)."""
        counts = np.zeros(256, np.int64)
        for image in self._splits[name].images:  # one at a time: a data set may be larger than memory
            counts += np.bincount(image.ravel(), minlength=256)
        return counts

    def truth_ranges(self, name: str) -> dict[str, tuple[float, float]]:
        """Return the least and the largest value of each physical parameter in split `name`; none if not known."""
        truth = self._splits[name].truth
        numbers = pd.DataFrame() if truth is None else truth.select_dtypes("number")
        return {str(column): (float(numbers[column].min()), float(numbers[column].max())) for column in numbers}

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
        found = compute_digest(self._splits, self.class_names)
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
    many were removed from which split is recorded in `origin["duplicates_removed"]`; beside it stand the images of one
    constant value, and those that equal another one of their split.

    Raises:
        DatasetError: `path` exists or cannot be written; splits differ in shape, divide a group, lack the training
            or validation split, or have labels without a class name.
    """
    path = Path(path).absolute()
    require_new(path)
    check_splits("new data set", splits, tuple(class_names))
    splits, notes = without_duplicates(splits, class_names)
    check_splits("new data set without duplicates", splits, tuple(class_names))
    meta = {
        "format_version": FORMAT_VERSION,
        "shape": list(splits["train"].images.shape[1:3]),
        "channels": splits["train"].images.shape[3],
        "class_names": list(class_names),
        "counts": {name: len(data.labels) for name, data in splits.items()},
        "digest": compute_digest(splits, class_names),
        "origin": {**origin, **notes},
    }
    text = json.dumps(meta, indent=2, allow_nan=False)
    with written_whole(path, DatasetError, "free some space or choose another folder") as temporary:
        temporary.mkdir()
        for name, data in splits.items():
            _save_split(temporary, name, data)
        (temporary / DATASET_FILE).write_text(text + "\n", encoding="utf-8")
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
