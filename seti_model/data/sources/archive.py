"""Reading a NumPy archive: images, labels, names, and perhaps groups and splits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import SPLITS, Groups, Labels, Source, SplitData
from seti_model.data.sources.imported import Imported, require_few_classes, to_uint8
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE, check_archive, is_unicode, require_file

_ARRAYS = ("x", "y", "class_names", "groups", "split")
_SHOWN = 300  # letters of what a reader says


def read_npz(path: Path, class_names: Sequence[str] | None = None) -> Imported:
    """Read a NumPy archive with `x` (n, h, w[, c]) uint8 or 0..1, `y` (n,), perhaps names, `groups`, `split` (n,).

    Args:
        path: Written by `numpy.savez` or `savez_compressed`, without pickled objects.
        class_names: By label; they take precedence over the file's.

    Raises:
        DatasetError: A missing or foreign file, an array of another shape or type, a value outside 0..1, a label
            without a name, or no class names at all.
    """
    arrays = load_npz(path)
    missing = [name for name in ("x", "y") if name not in arrays]
    if missing:
        raise DatasetError(f"{path}: no array {missing[0]!r}, only {', '.join(arrays)}; save x and y")
    found = np.atleast_1d(arrays.get("class_names", ()))
    require_few_classes(path, found.size)
    names = class_names or tuple(map(str, found.ravel()))
    if not names:
        raise DatasetError(f"{path}: no array 'class_names'; give --class-names, in the order of the labels")
    x = arrays["x"]
    if x.ndim not in (3, 4) or x.size == 0:
        raise DatasetError(f"{path}: x has shape {x.shape}, expected (n, h, w) or (n, h, w, c); reshape it")
    images = to_uint8(x, f"{path}", 1)
    images = images[..., None] if x.ndim == 3 else images
    labels = _checked_labels(path, arrays["y"], len(images), len(names))
    groups, split_of = (_checked_texts(path, arrays, name, len(images)) for name in ("groups", "split"))
    if split_of is not None and (foreign := sorted(set(split_of.tolist()) - set(SPLITS))):
        raise DatasetError(f"{path}: split {foreign[0]!r}, expected {', '.join(SPLITS)}; correct it")
    data = SplitData(images, labels, groups=groups, source=Source((path,), np.arange(len(images))))
    return Imported(data, tuple(names), split_of)


def load_npz(path: Path) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of an archive by name.

    Raises:
        DatasetError: A missing or foreign file, or one that would need pickle or hold more than there is room for.
    """
    require_file(path, DatasetError)
    check_archive(path, DatasetError)
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _ARRAYS if name in archive}
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


def _checked_labels(path: Path, y: npt.NDArray[Any], n: int, n_classes: int) -> Labels:
    require_few_classes(path, n_classes)
    if y.shape != (n,) or y.dtype.kind not in "iu":
        raise DatasetError(f"{path}: y is {y.dtype} {y.shape}, expected integers of shape ({n},); correct it")
    bad = np.flatnonzero((y < 0) | (y >= n_classes))
    if len(bad):
        raise DatasetError(
            f"{path}, row {bad[0] + 1}: label {y[bad[0]]}, expected 0..{n_classes - 1}; correct it or the class names"
        )
    return y.astype(np.int8)


def _checked_texts(path: Path, arrays: dict[str, npt.NDArray[Any]], name: str, n: int) -> Groups | None:
    if name not in arrays:
        return None
    if arrays[name].shape != (n,):
        raise DatasetError(f"{path}: {name} has shape {arrays[name].shape}, expected ({n},); one for each image")
    try:
        return arrays[name].astype(np.str_)
    except (ValueError, TypeError) as error:  # bytes that are no text, records
        raise DatasetError(f"{path}: {name} cannot be read as texts ({error}); save them as such") from error
