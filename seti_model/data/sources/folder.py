"""Reading a folder of pictures: a folder for each class, perhaps for each split, or a table that says the classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from seti_model.data.dataset import SPLITS, Source, SplitData
from seti_model.data.kind import PixelRule
from seti_model.data.sources.imported import Imported, require_few_classes
from seti_model.data.sources.pictures import entries, picture_files, read_picture
from seti_model.data.sources.tables import LabelTable
from seti_model.errors import DatasetError
from seti_model.files import require_room

_NAMED = 3  # files that a message names


def read_folder(path: Path, rule: PixelRule | None = None) -> Imported:
    """Read `path/<class>/*`; a label is the place of the class among the sorted folder names.

    All pictures must come out of one shape. Where the folders are `train`, `validation` and perhaps `test`, the classes
    are the folders below them.

    Args:
        path: A folder.
        rule: How values become pixels.

    Raises:
        DatasetError: Fewer than two class folders, one without pictures, or a file that cannot be used.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder; give one that holds a folder of pictures for each class")
    folders = _class_folders(path)
    if {"train", "validation"} <= {folder.name for folder in folders} <= set(SPLITS):
        return _read_splits(folders, rule)
    require_few_classes(path, len(folders))
    files, labels = _files_by_class(folders)
    names = tuple(folder.name for folder in folders)
    return _read(path, files, np.array(labels, np.int8), names, rule)


def read_listed(path: Path, table: LabelTable, rule: PixelRule | None = None) -> Imported:
    """Read the pictures of a folder and those below it, with classes by a table; classes are sorted by name.

    Raises:
        DatasetError: A picture without a row, a row without a picture, or a file that cannot be used.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder; give the one that holds the files of {table.path}")
    there = {str(file.relative_to(path).as_posix()): file for file in picture_files(path)}
    listed = dict.fromkeys(table.files)
    if absent := [name for name in listed if name not in there]:
        raise DatasetError(f"{table.path}: {_some(absent)} not in {path}; take the rows out or add the files")
    if unlisted := [name for name in there if name not in listed]:
        raise DatasetError(f"{table.path}: no row for {_some(unlisted)} in {path}; add them or move the files away")
    names = tuple(sorted(set(table.classes)))
    require_few_classes(table.path, len(names))
    labels = np.array([names.index(one) for one in table.classes], np.int8)
    read = _read(path, [there[name] for name in table.files], labels, names, rule)
    groups = None if table.groups is None else np.array(table.groups, np.str_)
    data = SplitData(read.data.images, read.data.labels, groups=groups, source=read.data.source)
    split_of = None if table.splits is None else np.array(table.splits, np.str_)
    return Imported(data, names, split_of, read.notes)


def _read_splits(folders: Sequence[Path], rule: PixelRule | None) -> Imported:
    files: list[Path] = []
    labels: list[int] = []
    split_of: list[str] = []
    classes: tuple[str, ...] = ()
    for split in folders:
        below = _class_folders(split)
        require_few_classes(split, len(below))
        names = tuple(folder.name for folder in below)
        if classes and names != classes:
            raise DatasetError(
                f"{split}: classes {', '.join(names)}, but {folders[0]} has {', '.join(classes)}; make them the same"
            )
        classes = names
        found, of_class = _files_by_class(below)
        files += found
        labels += of_class
        split_of += [split.name] * len(found)
    read = _read(folders[0].parent, files, np.array(labels, np.int8), classes, rule)
    return Imported(read.data, classes, np.array(split_of, np.str_), read.notes)


def _class_folders(path: Path) -> list[Path]:
    folders = [Path(entry) for entry in entries(path) if entry.is_dir() and not entry.name.startswith(".")]
    if len(folders) < 2:
        raise DatasetError(f"{path}: {len(folders)} class folders, expected two or more; one folder for each class")
    for folder in folders:
        if not folder.name.isprintable():
            raise DatasetError(f"{str(folder)!r}: the name of the class cannot be shown; rename the folder")
    return folders


def _files_by_class(folders: Sequence[Path]) -> tuple[list[Path], list[int]]:
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = [file for file in picture_files(folder) if file.parent == folder]
        if not found:
            raise DatasetError(f"{folder}: no PNG or FITS files; add some or move the folder away")
        files += found
        labels += [label] * len(found)
    return files, labels


def _read(
    path: Path,
    files: Sequence[Path],
    labels: np.ndarray[tuple[int], np.dtype[np.int8]],
    names: tuple[str, ...],
    rule: PixelRule | None,
) -> Imported:
    first = read_picture(files[0], rule).pixels
    require_room(f"{path}", len(files) * first.size, DatasetError)
    images = np.empty((len(files), *first.shape), np.uint8)
    not_finite: dict[str, int] = {}
    for row, file in enumerate(files):
        picture = read_picture(file, rule)
        if picture.pixels.shape != first.shape:
            raise DatasetError(
                f"{file}: shape {picture.pixels.shape}, but {files[0]} has {first.shape}; bring all to one shape by "
                "--size, --grey or --rgb"
            )
        images[row] = picture.pixels
        if picture.not_finite:
            not_finite[file.relative_to(path).as_posix()] = picture.not_finite
    data = SplitData(images, labels, source=Source(tuple(files), np.arange(len(files))))
    return Imported(data, names, notes={"not_finite": not_finite} if not_finite else {})


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
