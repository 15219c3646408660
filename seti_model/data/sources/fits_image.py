"""The first image of a FITS file, read by astropy, with what damaged and hostile files do to it kept away."""

from __future__ import annotations

import math
import re
import warnings
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import MOST_PIXELS
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE

_MAGIC, _BEGINNING = b"SIMPLE", 40  # with what a file begins, and how much of another beginning is shown
_SHOWN = 300  # letters of what a reader says
_CARD, _HEADERS = 80, 2880 * 1024  # bytes of a card, and of what is looked through at once
_AXES = re.compile(rb"NAXIS   =\s*(\d+)")
_MOST_AXES = 999  # FITS standard 4.0, section 4.4.1
# Nothing is unpacked: a damaged picture in tiles ends the process within the library's C code.
_PLAIN = {"memmap": False, "lazy_load_hdus": True, "disable_image_compression": True, "do_not_scale_image_data": True}
_SHIFTED = {("u1", -128): np.int8, ("i2", 2**15): np.uint16, ("i4", 2**31): np.uint32}  # by stored type and BZERO


def read_fits_image(opened: BinaryIO, name: str, *, forgiving: bool = True) -> npt.NDArray[Any]:
    """Return the first image of two axes, or of three colours, axes of length 1 left out.

    Args:
        opened: From its start.
        name: How messages call it.
        forgiving: What the reader only warns of is let pass: keywords that break the standard, a file that was cut off
            behind its last value.

    Returns:
        (rows, columns, 1 or 3), row 0 the first one in the file, in the machine's order of bytes; BZERO, BSCALE and
        BLANK are applied.

    Raises:
        DatasetError: It is no FITS file, is damaged, holds no such image or a huge one, or astropy is not installed.
    """
    try:
        from astropy.io import fits
    except ImportError as error:
        raise DatasetError(f"{name}: FITS needs astropy; run: pip install 'seti-tune[fits]'") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore" if forgiving else "error")
            _require_fits(opened)
            with fits.open(opened, **_PLAIN) as units:
                for unit in units:
                    if type(unit) in (fits.PrimaryHDU, fits.ImageHDU) and (shape := _picture_shape(unit.shape)):
                        if math.prod(shape) > MOST_PIXELS:
                            raise DatasetError(
                                f"{name}: {' x '.join(map(str, shape))} values, at most {MOST_PIXELS} values are read; "
                                "make it smaller"
                            )
                        return _in_order(_physical(unit), shape)
    except (*UNREADABLE, fits.VerifyError, Warning) as error:
        why = " ".join(str(error).split())[:_SHOWN]
        raise DatasetError(f"{name}: cannot be read as FITS ({why}); replace it, or fetch it again") from error
    raise DatasetError(
        f"{name}: no image of two axes, or of three colours; give a file that has one, a packed one unpacked (funpack)"
    )


def _require_fits(opened: BinaryIO) -> None:
    """Refuse what is something else, packed files too, or claims so many axes that the reader would count for ever."""
    beginning = opened.read(_BEGINNING)
    if not beginning.startswith(_MAGIC):
        raise ValueError(f"it begins with {beginning.decode('ascii', 'replace')!r}, not with {_MAGIC.decode()}")
    opened.seek(0)
    for cards in iter(lambda: opened.read(_HEADERS), b""):
        for found in _AXES.finditer(cards):
            if found.start() % _CARD == 0 and int(found[1]) > _MOST_AXES:
                raise ValueError(f"NAXIS is {int(found[1])}, at most {_MOST_AXES} is possible")
    opened.seek(0)


def _picture_shape(shape: tuple[int, ...]) -> tuple[int, ...] | None:
    """Return rows, columns, and colours where there are, of an array that is a picture; axes of length 1 are none."""
    if min(shape, default=0) < 1:
        return None
    kept = shape if len(shape) == 2 else tuple(length for length in shape if length != 1)
    if len(kept) == 2 or (len(kept) == 3 and kept[0] == 3):
        return kept
    return None


def _physical(unit: Any) -> npt.NDArray[Any]:
    """Return the values of an image that was not scaled: whole numbers as they are or shifted, else float64 with NaN.

    The library knows no BLANK where BZERO makes a type unsigned, nor one of 0.
    Source: FITS standard 4.0, sections 4.4.2 and 5.2.5 (BSCALE, BZERO, BLANK; unsigned numbers).
    """
    stored = np.ascontiguousarray(unit.data, unit.data.dtype.newbyteorder("="))
    scale, zero, blank = (
        unit.header.get(name, default) for name, default in (("BSCALE", 1), ("BZERO", 0), ("BLANK", None))
    )
    if stored.dtype.kind == "f":
        stored = np.where(np.isnan(stored), np.nan, stored)  # quiet ones: NumPy warns of each use of another
        return stored if (scale, zero) == (1, 0) else stored * np.float64(scale) + np.float64(zero)
    if blank is None and (scale, zero) == (1, 0):
        return stored
    if blank is None and scale == 1 and (stored.dtype.str[1:], zero) in _SHIFTED:
        return (stored.astype(np.int64) + np.int64(zero)).astype(_SHIFTED[stored.dtype.str[1:], zero])
    values = stored * np.float64(scale) + np.float64(zero)
    values[stored == blank] = np.nan
    return values


def _in_order(values: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    planes = values.reshape(shape)
    return planes[..., None] if len(shape) == 2 else np.moveaxis(planes, 0, -1)
