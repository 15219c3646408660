"""A data set: its splits and what must hold among them, its folder on disk, and what makes two of them the same.

The folder holds memory-mapped splits and `dataset.json`; it is checked when opened and when written. The digest
identifies what a network can learn from (pixels, labels, names, groups), wherever the folder lies.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import numpy.typing as npt

from seti_model.data.kind import ImageKind
from seti_model.data.repeated import without_duplicates
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE, is_unicode, require_file, written_whole
from seti_model.schema import JsonFile, SchemaError, read_file

Images = npt.NDArray[np.uint8]  # (n, n_time, n_freq, channels)
Labels = npt.NDArray[np.int8]  # (n,)
Groups = npt.NDArray[np.str_]  # (n,)
TEST = "test"
SPLITS = ("train", "validation", TEST)
if TYPE_CHECKING:
    import pandas as pd

MOST_PIXELS = 2**24  # of an image, all channels; 4096 x 4096
MOST_IMAGES = 1_000_000  # that are simulated for a split
FORMAT_VERSION = 1
DATASET_FILE = "dataset.json"
_ROWS = 1024  # images read at a time
_MOST_CELLS = 10**8  # of a table of truths: a file of a kilobyte may claim any number
_LONGEST_NAME = 200  # letters of a class


class _DatasetFile(JsonFile, frozen=True, kw_only=True):
    """What `dataset.json` holds."""

    VERSION = ("format_version", FORMAT_VERSION)

    format_version: int = FORMAT_VERSION
    shape: tuple[int, int]  # n_time, n_freq
    channels: int
    class_names: tuple[str, ...]
    counts: dict[str, int]  # images, by split
    digest: str
    origin: dict[str, Any]
    fresh: Fresh | None = None
    kind: ImageKind = ImageKind()


_Place = tuple[str, str]  # of an image, and its class


class _Notes(msgspec.Struct, frozen=True):
    """What `origin` says of the images, beside what it holds in free form."""

    duplicates_removed: dict[str, int] = {}
    constant_images: dict[str, list[_Place]] = {}
    equal_images: dict[str, list[list[_Place]]] = {}


@dataclass(frozen=True)
class Fresh:
    """From what the training images of further epochs are simulated; the training split is the first epoch's."""

    seed: int
    physics: Mapping[str, Any]  # the fields of `simulator.Physics`


@dataclass(frozen=True)
class Split:
    """Images and labels of one split; the arrays may be memory-mapped and are never written to.

    Images are uint8 as stored; prepared ones may be float32.
    """

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


@dataclass(frozen=True)
class TrainingData:
    """What a training may see: never the test split. Travels through Ray's object store without a copy."""

    train: Split
    validation: Split
    class_names: tuple[str, ...]
    digest: str  # SHA-256 of the whole data set, hex
    prepared_in: Path | None = None  # a folder in which trainings share images that are made; None: each makes its own
    fresh: Fresh | None = None  # None: every epoch sees the same images
    kind: ImageKind = field(default_factory=ImageKind)


@dataclass(frozen=True)
class Dataset:
    """An opened data set; images stay on disk until they are read. Its test split is counted and hashed, not read."""

    path: Path
    class_names: tuple[str, ...]
    origin: Mapping[str, Any]  # how it was made, in free form
    digest: str  # SHA-256, hex, as recorded; `verify` recomputes it
    _splits: Mapping[str, SplitData] = field(repr=False)
    fresh: Fresh | None = None  # from what further training images are simulated
    kind: ImageKind = field(default_factory=ImageKind)
    _is_unlocked: bool = False

    @classmethod
    def open(cls, path: Path | str) -> Dataset:
        """Open the folder `path` and check shapes, types, counts, labels and groups, but not the digest.

        Raises:
            DatasetError: The folder is missing, incomplete, or contradicts its `dataset.json`.
        """
        path = Path(path)
        meta = _read_meta(path)
        _check_names(str(path / DATASET_FILE), tuple(meta.counts), meta.class_names)
        splits = {name: _load_split(path, name) for name in meta.counts}
        names = meta.class_names
        shape = (*meta.shape, meta.channels)
        for name, count in meta.counts.items():
            found = splits[name].images.shape
            if found != (count, *shape):
                raise DatasetError(
                    f"{path / f'{name}_images.npy'}: shape {found}, but {DATASET_FILE} says {(count, *shape)}; "
                    "make the data set again"
                )
        check_splits(str(path), splits, names)
        return cls(path, names, meta.origin, meta.digest, splits, meta.fresh, meta.kind)

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
        if truth is None:
            return {}
        numbers = truth.select_dtypes("number")
        return {str(column): (float(numbers[column].min()), float(numbers[column].max())) for column in numbers}

    def training_data(self, *, prepared_in: Path | None = None) -> TrainingData:
        """Return training and validation split, without the test split; prepared images are kept in `prepared_in`."""
        train, validation = self._plain("train"), self._plain("validation")
        return TrainingData(train, validation, self.class_names, self.digest, prepared_in, self.fresh, self.kind)

    def with_training_images(self, path: Path, more: Split, origin: Mapping[str, Any]) -> Dataset:
        """Write a copy to the new folder `path` with further images in the training split, each a group of its own.

        Raises:
            DatasetError: As for `write_dataset`.
        """
        train = self._splits["train"]
        groups = None if train.groups is None else [*train.groups, *(f"added {i + 1}" for i in range(len(more.labels)))]
        larger = SplitData(
            np.concatenate([train.images, more.images]),
            np.concatenate([train.labels, more.labels]),
            groups=None if groups is None else np.array(groups, np.str_),
        )
        splits = {**self._splits, "train": larger}
        return write_dataset(
            path, splits, self.class_names, {**self.origin, **origin}, fresh=self.fresh, kind=self.kind
        )

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
        found = compute_digest(self._splits, self.class_names, self.fresh)
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
    path: Path | str,
    splits: Mapping[str, SplitData],
    class_names: Sequence[str],
    origin: Mapping[str, Any],
    *,
    fresh: Fresh | None = None,
    kind: ImageKind | None = None,
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
    images = splits["train"].images
    meta = _DatasetFile(
        shape=images.shape[1:3],
        channels=images.shape[3],
        class_names=tuple(class_names),
        counts={name: len(data.labels) for name, data in splits.items()},
        digest=compute_digest(splits, class_names, fresh),
        origin={**origin, **notes},
        fresh=fresh,
        kind=kind or ImageKind(),
    )
    text = json.dumps(msgspec.to_builtins(meta), indent=2, allow_nan=False)
    with written_whole(path, DatasetError, "free some space or choose another folder") as temporary:
        temporary.mkdir()
        for name, data in splits.items():
            _save_split(temporary, name, data)
        (temporary / DATASET_FILE).write_text(text + "\n", encoding="utf-8")
    return Dataset.open(path)


def check_splits(place: str, splits: Mapping[str, SplitData], class_names: tuple[str, ...]) -> None:
    """Refuse splits that no network could be trained and judged on; `place` is named in errors.

    Raises:
        DatasetError: Class names, shapes, types, labels or groups that do not go together, or a split too few.
    """
    _check_names(place, tuple(splits), class_names)
    shape = splits["train"].images.shape[1:]
    for name, data in splits.items():
        _check_split(f"{place}, split {name!r}", data, shape, len(class_names))
    _check_groups(place, splits)


def compute_digest(splits: Mapping[str, SplitData], class_names: Sequence[str], fresh: Fresh | None = None) -> str:
    """Return the SHA-256 (hex) over class names, split by split pixels, labels and groups, and images to come."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for name in sorted(splits):
        data = splits[name]
        groups = None if data.groups is None else data.groups.tolist()
        digest.update(json.dumps([name, data.images.shape, groups]).encode())
        for start in range(0, len(data.images), _ROWS):
            digest.update(np.ascontiguousarray(data.images[start : start + _ROWS]).data)
        digest.update(np.ascontiguousarray(data.labels).data)
    if fresh is not None:
        digest.update(json.dumps([fresh.seed, fresh.physics], sort_keys=True).encode())
    return digest.hexdigest()


def _check_names(place: str, splits: Sequence[str], class_names: tuple[str, ...]) -> None:
    """Refuse names of splits, of which files are made, and of classes, which are shown everywhere."""
    if len(class_names) < 2 or len(set(class_names)) < len(class_names) or not all(class_names):
        raise DatasetError(f"{place}: class names {', '.join(class_names)!r}; give two or more, each different")
    for name in class_names:
        if not name.isprintable() or len(name) > _LONGEST_NAME:
            raise DatasetError(
                f"{place}: class name {name[:_LONGEST_NAME]!r}; give one of at most {_LONGEST_NAME} letters that can "
                "be shown"
            )
    if not {"train", "validation"} <= set(splits) <= set(SPLITS):
        raise DatasetError(f"{place}: splits {', '.join(splits)}; expected train, validation and perhaps test")


def _check_split(place: str, data: SplitData, shape: tuple[int, ...], n_classes: int) -> None:
    images, labels = data.images, data.labels
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != shape:
        raise DatasetError(
            f"{place}: images {images.dtype} {images.shape}, expected uint8 (n, n_time, n_freq, channels) with the "
            f"shape {shape} of the training split; bring them to that form"
        )
    if labels.dtype != np.int8 or labels.shape != images.shape[:1]:
        raise DatasetError(
            f"{place}: labels {labels.dtype} {labels.shape}, expected int8 ({len(images)},); make the data set again"
        )
    if images.size == 0:
        raise DatasetError(f"{place}: no images; every split needs at least one")
    if labels.min() < 0 or labels.max() >= n_classes:
        row = int(np.flatnonzero((labels < 0) | (labels >= n_classes))[0])
        raise DatasetError(f"{place}, row {row + 1}: label {labels[row]}, expected 0..{n_classes - 1}; correct it")
    for part, values in (("truth", data.truth), ("groups", data.groups)):
        if values is not None and values.shape[:1] != labels.shape:
            found = len(values) if values.ndim else "no"
            raise DatasetError(f"{place}: {part} of {found} images, expected {len(labels)}; correct it")


def _check_groups(place: str, splits: Mapping[str, SplitData]) -> None:
    owner: dict[str, str] = {}
    if len({data.groups is None for data in splits.values()}) > 1:
        raise DatasetError(f"{place}: groups for some splits only; give them for all or for none")
    for name, data in splits.items():
        if data.groups is not None and (data.groups.dtype.kind != "U" or data.groups.ndim != 1):
            found = f"{data.groups.dtype} {data.groups.shape}"
            raise DatasetError(f"{place}: groups of split {name!r} are {found}; give a text for each image")
    for name, data in splits.items():
        for group in () if data.groups is None else np.unique(data.groups).tolist():
            if owner.setdefault(str(group), name) != name:
                raise DatasetError(
                    f"{place}: group {group!r} is divided between {owner[str(group)]} and {name}; "
                    "move its images to one split"
                )


def _read_meta(path: Path) -> _DatasetFile:
    file = path / DATASET_FILE
    try:
        meta = read_file(file, _DatasetFile)
        msgspec.convert(meta.origin, _Notes)
        return meta
    except FileNotFoundError as error:
        raise DatasetError(f"{file}: missing; make a data set with `seti-tune data simulate` or `import`") from error
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error
    except msgspec.ValidationError as error:
        raise DatasetError(f"{file}: origin: {error}; make the data set again") from error
    except SchemaError as error:
        raise DatasetError(f"{error}; make the data set again") from error


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
    require_file(file, DatasetError)
    try:
        array: npt.NDArray[Any] = np.asanyarray(np.load(file, mmap_mode="r", allow_pickle=False))
    except UNREADABLE as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error
    if not is_unicode(array):
        raise DatasetError(f"{file}: holds what is no text; make the data set again")
    return array


def _load_truth(file: Path) -> pd.DataFrame:
    import pandas as pd  # only where the truth is known; a command that asks for a size must not wait for it
    from pyarrow import parquet
    from pyarrow.types import is_primitive

    require_file(file, DatasetError)
    try:
        claimed = parquet.read_metadata(file)
        if claimed.num_rows * claimed.num_columns > _MOST_CELLS:
            raise ValueError(f"{claimed.num_rows} rows of {claimed.num_columns} columns")
        if not all(map(is_primitive, claimed.schema.to_arrow_schema().types)):
            raise ValueError("a column that holds no numbers")
        return pd.read_parquet(file)
    except UNREADABLE as error:
        raise DatasetError(f"{file}: cannot be read ({error}); make the data set again") from error


def _save_split(folder: Path, name: str, data: SplitData) -> None:
    np.save(folder / f"{name}_images.npy", data.images, allow_pickle=False)
    np.save(folder / f"{name}_labels.npy", data.labels, allow_pickle=False)
    if data.groups is not None:
        np.save(folder / f"{name}_groups.npy", data.groups, allow_pickle=False)
    if data.truth is not None:
        data.truth.to_parquet(folder / f"{name}_truth.parquet")
