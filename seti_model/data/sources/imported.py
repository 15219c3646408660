"""What every source gives: images with labels, not yet divided, and what was noticed while they were read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import Images, SplitData
from seti_model.errors import DatasetError

MOST_CLASSES = 127  # labels are int8
_ROWS = 256  # images converted at a time


@dataclass(frozen=True)
class Imported:
    """Images of one source, the names of their classes by index, and the split of each where the source says it."""

    data: SplitData
    class_names: tuple[str, ...]
    split_of: npt.NDArray[np.str_] | None = None  # (n,)
    notes: Mapping[str, Any] = field(default_factory=dict)  # for `origin` of the data set


def require_few_classes(path: Path, n_classes: int) -> None:
    """Refuse more classes than labels can tell apart.

    Raises:
        DatasetError: There are more.
    """
    if n_classes > MOST_CLASSES:
        raise DatasetError(f"{path}: {n_classes} classes, at most {MOST_CLASSES} are possible; merge some")


def to_uint8(values: npt.NDArray[Any], place: str, first_row: int) -> Images:
    """Return 8-bit values of uint8, or of numbers in 0..1 (n, ...), by rounding 255 times the number.

    Raises:
        DatasetError: Numbers outside 0..1, or of another type.
    """
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
