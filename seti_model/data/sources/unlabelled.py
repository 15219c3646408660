"""Reading images to be predicted, by the rule of the data set that their model was trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from seti_model.data.dataset import Images
from seti_model.data.kind import PixelRule
from seti_model.data.sources.archive import load_npz
from seti_model.data.sources.course_csv import number_blocks
from seti_model.data.sources.imported import to_uint8
from seti_model.data.sources.pictures import SUFFIXES, picture_files, read_picture
from seti_model.errors import DatasetError
from seti_model.files import require_room

_KNOWN = ".npz, .csv, .png or .fits files"


@dataclass(frozen=True)
class Unlabelled:
    """Images (n, n_time, n_freq, channels) and where each comes from: a file and the place in it, from 0."""

    images: Images
    files: tuple[Path, ...]
    indices: tuple[int, ...]


def read_unlabelled(path: Path, shape: tuple[int, int, int], rule: PixelRule | None = None) -> Unlabelled:
    """Read all images of a file, or of a folder and those below it.

    Args:
        path: `.npz` with `x` (n, h, w[, c]) uint8 or 0..1; `.png` or `.fits`; a folder of these; `.csv` with a row of
            numbers 0..1 per image, time varying slowest.
        shape: (n_time, n_freq, channels), as the network expects.
        rule: How values of pictures become pixels, as in the data set of the training; none: they are 8-bit pixels.

    Raises:
        DatasetError: A missing, foreign or damaged file, or images of another shape.
    """
    suffix = path.suffix.lower()
    if path.is_dir():
        files = picture_files(path)
        if not files:
            raise DatasetError(f"{path}: no PNG or FITS files in this folder; give {_KNOWN}, or their folder")
        return _pictures(files, shape, rule)
    if not path.exists():
        raise DatasetError(f"{path}: no such file; check the path")
    if suffix in SUFFIXES:
        return _pictures([path], shape, rule)
    if suffix == ".npz":
        return _archive(path, shape)
    if suffix == ".csv":
        return _table(path, shape)
    raise DatasetError(f"{path}: unknown kind of file; give {_KNOWN}, or a folder of pictures")


def _pictures(files: list[Path], shape: tuple[int, int, int], rule: PixelRule | None) -> Unlabelled:
    if rule is not None and rule.size not in (None, shape[:2]):
        raise DatasetError(
            f"{files[0]}: the model brings pictures to {rule.size} and expects {shape[:2]}; export it again"
        )
    require_room(f"{files[0].parent}", len(files) * math.prod(shape), DatasetError)
    images = np.empty((len(files), *shape), np.uint8)
    for row, file in enumerate(files):
        image = read_picture(file, rule).pixels
        _require_shape(file, image.shape, shape)
        images[row] = image
    return Unlabelled(images, tuple(files), (0,) * len(files))


def _archive(path: Path, shape: tuple[int, int, int]) -> Unlabelled:
    arrays = load_npz(path)
    if "x" not in arrays:
        raise DatasetError(f"{path}: no array 'x' with the images; save them under that name")
    x = arrays["x"]
    if x.ndim == 3:
        x = x[..., None]
    _require_shape(path, x.shape[1:], shape)
    return _from_one_file(path, to_uint8(x, f"{path}", 1))


def _table(path: Path, shape: tuple[int, int, int]) -> Unlabelled:
    n_columns = int(np.prod(shape))
    hint = f"the model expects {' x '.join(map(str, shape))} = {n_columns}; correct the file or take another model"
    rows = [to_uint8(block, f"{path}", first) for first, block in number_blocks(path, n_columns, hint)]
    return _from_one_file(path, np.concatenate(rows).reshape(-1, *shape))


def _from_one_file(path: Path, images: Images) -> Unlabelled:
    return Unlabelled(images, (path,) * len(images), tuple(range(len(images))))


def _require_shape(file: Path, found: tuple[int, ...], expected: tuple[int, int, int]) -> None:
    if found != expected:
        raise DatasetError(
            f"{file}: images of shape {found}, the model expects (n_time, n_freq, channels) = {expected}; "
            "bring them to that shape or take another model"
        )
