"""Reading other people's images: course CSV files, NumPy archives and PNG files, with labels or to be predicted.

Nothing is guessed. A file that is not exactly what it should be is refused with its name and the row (from 1).
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seti_model.data.dataset import MOST_PIXELS, Groups, Images, Labels, Source, SplitData
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE, check_archive, is_unicode, require_file, require_room

# The true meaning of the one-hot index in the course files.
COURSE_CLASS_NAMES = ("squiggle", "narrowbanddrd", "narrowband", "noise")
# The list printed with most copies: the order in which the classes were written to the file, not their index.
COURSE_USUAL_NAMES = ("squiggle", "narrowband", "noise", "narrowbanddrd")
_BLOCK_BYTES = 8 << 20
_MAX_NUMBER_BYTES = 32
MOST_COLUMNS = 2**18  # numbers in a row of a table; 512 x 512
_MAX_CLASSES = 127  # labels are int8
_ROWS = 256  # images converted at a time
_SHOWN = 300  # letters of what a reader says
_CHANNELS = {"L": 1, "LA": 1, "RGB": 3, "RGBA": 3}  # without alpha, by Pillow's name of the mode


@dataclass(frozen=True)
class Imported:
    """Images of one file or folder, not yet divided into splits, and the names of their classes by index."""

    data: SplitData
    class_names: tuple[str, ...]


def read_csv(
    images: Path, labels: Path, class_names: Sequence[str], *, shape: tuple[int, int] = (64, 128)
) -> SplitData:
    """Read one split of the course format: a row per image, values k/255, and a file of one-hot rows.

    The values are brought back to the 8 bits they come from, however many digits they were printed with.

    Args:
        images: `n_time * n_freq` numbers in 0..1 a row, comma-separated, no header; time varies slowest.
        labels: One number per class a row, a single 1 among zeros.
        class_names: By index of the one-hot row.
        shape: (n_time, n_freq).

    Raises:
        DatasetError: A missing file; a row with another number of columns, a value that is no number or outside
            0..1, a row that is not one-hot; different numbers of images and labels.
    """
    n_time, n_freq = shape
    hint = f"expected {n_time} x {n_freq} = {n_time * n_freq}; correct the file or give its --shape"
    _require_few_classes(labels, len(class_names))
    per_class = "expected one for each class name; correct the file or the names"
    hot = [block for _, block in _number_blocks(labels, len(class_names), per_class)]
    blocks = [_to_uint8(block, f"{images}", first) for first, block in _number_blocks(images, n_time * n_freq, hint)]
    pixels, one_hot = np.concatenate(blocks), np.concatenate(hot)
    is_one_hot = np.all((one_hot == 0) | (one_hot == 1), axis=1) & (one_hot.sum(axis=1) == 1)
    if not is_one_hot.all():
        row = int(np.argmin(is_one_hot))
        values = ", ".join(f"{value:g}" for value in one_hot[row])
        raise DatasetError(f"{labels}, row {row + 1}: {values} is not one-hot; expected a single 1 among zeros")
    if len(pixels) != len(one_hot):
        raise DatasetError(f"{images}: {len(pixels)} images, but {labels} has {len(one_hot)} labels; make them match")
    source = Source((images,), np.arange(len(pixels)))
    return SplitData(pixels.reshape(-1, n_time, n_freq, 1), one_hot.argmax(axis=1).astype(np.int8), source=source)


def read_npz(path: Path, class_names: Sequence[str] | None = None) -> Imported:
    """Read a NumPy archive with `x` (n, h, w[, c]) uint8 or 0..1, `y` (n,), perhaps `class_names` and `groups` (n,).

    Args:
        path: Written by `numpy.savez` or `savez_compressed`, without pickled objects.
        class_names: By label; they take precedence over the file's.

    Raises:
        DatasetError: A missing or foreign file, an array of another shape or type, a value outside 0..1, a label
            without a name, or no class names at all.
    """
    arrays = _load_npz(path)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        raise DatasetError(f"{path}: no array {missing[0]!r}, only {', '.join(arrays)}; save x and y")
    found = np.atleast_1d(arrays.get("class_names", ()))
    _require_few_classes(path, found.size)
    names = class_names or tuple(map(str, found.ravel()))
    if not names:
        raise DatasetError(f"{path}: no array 'class_names'; give --class-names, in the order of the labels")
    x = arrays["x"]
    if x.ndim not in (3, 4) or x.size == 0:
        raise DatasetError(f"{path}: x has shape {x.shape}, expected (n, h, w) or (n, h, w, c); reshape it")
    images = _to_uint8(x, f"{path}", 1)
    images = images[..., None] if x.ndim == 3 else images
    labels = _checked_labels(path, arrays["y"], len(images), len(names))
    groups, source = _checked_groups(path, arrays, len(images)), Source((path,), np.arange(len(images)))
    return Imported(SplitData(images, labels, groups=groups, source=source), tuple(names))


def read_folder(path: Path) -> Imported:
    """Read `path/<class>/*.png`; a label is the place of the class among the sorted folder names.

    All images share one size and one mode, 8-bit grey or RGB; an alpha channel is left out where it is opaque.

    Raises:
        DatasetError: Fewer than two class folders, one without PNG files, or a file that cannot be used.
    """
    if not path.is_dir():
        raise DatasetError(f"{path}: no such folder; give one that holds a folder of PNG files for each class")
    folders = [Path(entry) for entry in _entries(path) if entry.is_dir() and not entry.name.startswith(".")]
    if len(folders) < 2:
        raise DatasetError(f"{path}: {len(folders)} class folders, expected two or more; one folder for each class")
    files: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders):
        found = [file for file in map(Path, _entries(folder)) if file.suffix.lower() == ".png"]
        if not found:
            raise DatasetError(f"{folder}: no PNG files; add some or move the folder away")
        files += found
        labels += [label] * len(found)
    for folder in folders:
        if not folder.name.isprintable():
            raise DatasetError(f"{str(folder)!r}: the name of the class cannot be shown; rename the folder")
    first = _read_png(files[0])
    require_room(f"{path}", len(files) * first.size, DatasetError)
    images = np.empty((len(files), *first.shape), np.uint8)
    for row, file in enumerate(files):
        image = _read_png(file)
        if image.shape != first.shape:
            raise DatasetError(f"{file}: shape {image.shape}, but {files[0]} has {first.shape}; bring all to one shape")
        images[row] = image
    _require_few_classes(path, len(folders))
    data = SplitData(images, np.array(labels, np.int8), source=Source(tuple(files), np.arange(len(files))))
    return Imported(data, tuple(folder.name for folder in folders))


def _png_files(folder: Path) -> list[Path]:
    """Return the PNG files of a folder and of those below it, links to folders not followed.

    Raises:
        DatasetError: One of the folders cannot be read.
    """
    entries = _entries(folder)
    below = [file for entry in entries if entry.is_dir(follow_symlinks=False) for file in _png_files(Path(entry))]
    return sorted([*below, *(file for file in map(Path, entries) if file.suffix.lower() == ".png")])


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name."""
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror}); ask for access or move it away") from error


def _number_blocks(path: Path, n_columns: int, hint: str) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield (number of the first row, values (rows, n_columns)), a few megabytes at a time."""
    import pyarrow as pa
    from pyarrow import csv

    require_file(path, DatasetError)
    if n_columns > MOST_COLUMNS:
        raise DatasetError(f"{path}: {n_columns} numbers a row, at most {MOST_COLUMNS} are read; save it as .npz")
    names = [str(column) for column in range(n_columns)]
    size = max(_BLOCK_BYTES, n_columns * _MAX_NUMBER_BYTES)
    row = 1
    try:
        reader = csv.open_csv(
            path,
            # Single-threaded, because only then pyarrow says in which row it failed.
            read_options=csv.ReadOptions(use_threads=False, block_size=size, column_names=names),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32()), null_values=[]),
        )
        for batch in reader:
            if batch.num_rows:
                yield row, np.stack([column.to_numpy() for column in batch.columns], axis=1)
            row += batch.num_rows
        if row == 1:
            raise pa.ArrowInvalid("no rows")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(_explain_csv(path, str(error), hint)) from error


def _to_uint8(values: npt.NDArray[Any], place: str, first_row: int) -> Images:
    """Return 8-bit values of uint8, or of numbers in 0..1 (n, ...), by rounding 255 times the number."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind != "f":
        raise DatasetError(f"{place}: pixels of type {values.dtype}, expected uint8 or numbers in 0..1; convert them")
    result = np.empty(values.shape, np.uint8)
    for start in range(0, len(values), _ROWS):
        chunk = values[start : start + _ROWS]
        outside = ~((chunk >= 0) & (chunk <= 1))  # NaN is neither
        if outside.any():
            row, value = first_row + start + int(np.argwhere(outside)[0][0]), chunk[outside][0]
            raise DatasetError(f"{place}, row {row}: value {value:g} lies outside 0..1; scale the pixels to 0..1")
        result[start : start + _ROWS] = np.rint(chunk * 255)
    return result


def _load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive by name; what would need pickle is refused."""
    require_file(path, DatasetError)
    check_archive(path, DatasetError)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in ("x", "y", "class_names", "groups") if name in archive}
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; check the path") from error
    except (*UNREADABLE, SyntaxError) as error:
        why = " ".join(str(error).split())[:_SHOWN]
        raise DatasetError(f"{path}: cannot be read as .npz ({why}); save it with numpy.savez") from error
    foreign = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if foreign:
        raise DatasetError(f"{path}: {foreign[0]!r} is no array; save it with numpy.savez")
    for name, array in arrays.items():
        if not is_unicode(array):
            raise DatasetError(f"{path}: {name!r} holds what is no text; save it with numpy.savez")
    return arrays


def _read_png(file: Path) -> Images:
    """Return one picture as (n_time, n_freq, channels)."""
    require_file(file, DatasetError)
    try:
        with Image.open(file, formats=["PNG"]) as image:
            if image.width * image.height * len(image.getbands()) > MOST_PIXELS:
                size = f"{image.width} x {image.height} pixels of mode {image.mode}"
                raise DatasetError(f"{file}: {size}, at most {MOST_PIXELS} values are read; make it smaller")
            mode, pixels = image.mode, np.asarray(image)
    except (*UNREADABLE, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a broken chunk
        raise DatasetError(f"{file}: cannot be read as PNG ({error}); replace it") from error
    if mode not in _CHANNELS:
        raise DatasetError(f"{file}: mode {mode}, expected 8-bit grey (L) or RGB; convert it")
    if mode in ("LA", "RGBA"):
        see_through = np.count_nonzero(pixels[..., -1] < 255)
        if see_through:
            raise DatasetError(
                f"{file}: {see_through} of {pixels[..., 0].size} pixels are transparent; save it on a ground, "
                "as matplotlib's savefig does with transparent=False"
            )
        pixels = pixels[..., :-1]
    return pixels.reshape(*pixels.shape[:2], _CHANNELS[mode])


@dataclass(frozen=True)
class Unlabelled:
    """Images (n, n_time, n_freq, channels) and where each comes from: a file and the place in it, from 0."""

    images: Images
    files: tuple[Path, ...]
    indices: tuple[int, ...]


def read_unlabelled(path: Path, shape: tuple[int, int, int]) -> Unlabelled:
    """Read all images of a file, or of a folder and those below it.

    Args:
        path: `.npz` with `x` (n, h, w[, c]) uint8 or 0..1; `.png`; a folder of `.png`; `.csv` with a row of numbers
            0..1 per image, time varying slowest.
        shape: (n_time, n_freq, channels), as the network expects.

    Raises:
        DatasetError: A missing, foreign or damaged file, or images of another shape.
    """
    if path.is_dir():
        files = _png_files(path)
        if not files:
            raise DatasetError(f"{path}: no PNG files in this folder; give .npz, .csv or .png files, or their folder")
        return _pictures(files, shape)
    if not path.exists():
        raise DatasetError(f"{path}: no such file; check the path")
    if path.suffix.lower() == ".png":
        return _pictures([path], shape)
    if path.suffix.lower() == ".npz":
        return _archive(path, shape)
    if path.suffix.lower() == ".csv":
        return _table(path, shape)
    raise DatasetError(f"{path}: unknown kind of file; give .npz, .csv or .png files, or a folder of PNG files")


def _explain_csv(path: Path, message: str, hint: str) -> str:
    if match := re.search(r"Row #(\d+): Expected \d+ columns, got (\d+)", message):
        return f"{path}, row {match[1]}: {match[2]} columns, {hint}"
    if match := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", message, re.DOTALL):
        return f"{path}, row {match[2]}: {match[3][:40]!r} in column {int(match[1]) + 1} is not a number; correct it"
    return f"{path}: {message.splitlines()[0]}; expected rows of comma-separated numbers without a header"


def _checked_labels(path: Path, y: npt.NDArray[Any], n: int, n_classes: int) -> Labels:
    _require_few_classes(path, n_classes)
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise DatasetError(f"{path}: y is {y.dtype} {y.shape}, expected integers of shape ({n},); correct it")
    bad = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(bad):
        raise DatasetError(
            f"{path}, row {bad[0] + 1}: label {y[bad[0]]}, expected 0..{n_classes - 1}; correct it or the class names"
        )
    return y.astype(np.int8)


def _checked_groups(path: Path, arrays: dict[str, npt.NDArray[Any]], n: int) -> Groups | None:
    if "groups" not in arrays:
        return None
    if arrays["groups"].shape != (n,):
        raise DatasetError(f"{path}: groups has shape {arrays['groups'].shape}, expected ({n},); one for each image")
    try:
        return arrays["groups"].astype(np.str_)
    except (ValueError, TypeError) as error:  # bytes that are no text, records
        raise DatasetError(f"{path}: groups cannot be read as texts ({error}); save them as such") from error


def _require_few_classes(path: Path, n_classes: int) -> None:
    if n_classes > _MAX_CLASSES:
        raise DatasetError(f"{path}: {n_classes} classes, at most {_MAX_CLASSES} are possible; merge some")


def _pictures(files: list[Path], shape: tuple[int, int, int]) -> Unlabelled:
    require_room(f"{files[0].parent}", len(files) * math.prod(shape), DatasetError)
    images = np.empty((len(files), *shape), np.uint8)
    for row, file in enumerate(files):
        image = _read_png(file)
        _require_shape(file, image.shape, shape)
        images[row] = image
    return Unlabelled(images, tuple(files), (0,) * len(files))


def _archive(path: Path, shape: tuple[int, int, int]) -> Unlabelled:
    arrays = _load_npz(path)
    if "x" not in arrays:
        raise DatasetError(f"{path}: no array 'x' with the images; save them under that name")
    x = arrays["x"]
    if x.ndim == 3:
        x = x[..., None]
    _require_shape(path, x.shape[1:], shape)
    return _from_one_file(path, _to_uint8(x, f"{path}", 1))


def _table(path: Path, shape: tuple[int, int, int]) -> Unlabelled:
    n_columns = int(np.prod(shape))
    hint = f"the model expects {' x '.join(map(str, shape))} = {n_columns}; correct the file or take another model"
    rows = [_to_uint8(block, f"{path}", first) for first, block in _number_blocks(path, n_columns, hint)]
    return _from_one_file(path, np.concatenate(rows).reshape(-1, *shape))


def _from_one_file(path: Path, images: Images) -> Unlabelled:
    return Unlabelled(images, (path,) * len(images), tuple(range(len(images))))


def _require_shape(file: Path, found: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    if found != expected:
        raise DatasetError(
            f"{file}: images of shape {found}, the model expects (n_time, n_freq, channels) = {expected}; "
            "bring them to that shape or take another model"
        )
