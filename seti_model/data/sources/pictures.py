"""Reading one picture, PNG or FITS, and making 8-bit pixels of it by a recorded rule."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from seti_model.data.dataset import MOST_PIXELS, Images
from seti_model.data.kind import ASINH, GREY, LUMINANCE, PERCENTILE, RANGE, RGB, SIGMA_CLIP, PixelRule
from seti_model.data.sources.fits_image import read_fits_image
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE, require_file

PNG, FITS = (".png",), (".fits", ".fit", ".fts")
SUFFIXES = (*PNG, *FITS)
ASINH_SOFTENING = 0.1  # of `astropy.visualization.AsinhStretch`
_CLIPPINGS = 5  # at most, of sigma clipping
# What Pillow reads a PNG as, and what that is converted to; 16-bit colour it reads as the higher 8 bits.
_MODES = {"1": "L", "L": "L", "LA": "LA", "P": "RGB", "PA": "RGBA", "RGB": "RGB", "RGBA": "RGBA", "I;16": "I;16"}
_WITH_ALPHA = {"L": "LA", "P": "RGBA", "RGB": "RGBA"}  # to what a mode is converted where a colour is transparent
_CHANNELS = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 1}


@dataclass(frozen=True)
class Picture:
    """Pixels, uint8 (rows, columns, channels), and how many values of the file were not finite."""

    pixels: Images
    not_finite: int = 0


def read_picture(file: Path, rule: PixelRule | None) -> Picture:
    """Read a picture.

    Args:
        file: PNG of any mode; FITS with an image of two axes, or a third of three colours, the first one that has such.
            Row 0 of FITS is the first one in the file.
        rule: How its values become pixels; without one they must be 8-bit values already, and stay as they are.

    Raises:
        DatasetError: A missing, foreign or damaged file, or one that the rule cannot be applied to.
    """
    values = _read_fits(file) if file.suffix.lower() in FITS else _read_png(file, rule)
    if rule is None and values.dtype != np.uint8:
        raise DatasetError(
            f"{file}: values of type {values.dtype}, and nothing says how they become 8-bit pixels; convert them, or "
            "train on a data set that was imported from such files"
        )
    return _by_rule(file, values, rule or PixelRule())


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder and of those below it, sorted, links to folders not followed.

    Raises:
        DatasetError: One of the folders cannot be read.
    """
    found = entries(folder)
    for entry in found:
        require_text(entry.path)
    below = [file for entry in found if entry.is_dir(follow_symlinks=False) for file in picture_files(Path(entry))]
    return sorted([*below, *(file for file in map(Path, found) if file.suffix.lower() in SUFFIXES)])


def require_text(name: str) -> None:
    """Refuse a name that is not UTF-8: no record could hold it.

    Raises:
        DatasetError: It is such a one.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise DatasetError(
            f"{name.encode(errors='backslashreplace').decode()}: is no name in UTF-8; rename it"
        ) from error


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """Return what is in a folder, sorted by name.

    Raises:
        DatasetError: It cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror}); ask for access or move it away") from error


def default_scale(file: Path) -> str:
    """Return how values become pixels where nobody says: by percentiles for FITS of more than 8 bits, else by range.

    Raises:
        DatasetError: As `read_picture`.
    """
    return PERCENTILE if file.suffix.lower() in FITS and _read_fits(file).dtype != np.uint8 else RANGE


def _read_png(file: Path, rule: PixelRule | None) -> npt.NDArray[Any]:
    """Return (rows, columns, 1 or 3), uint8 or uint16."""
    require_file(file, DatasetError)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # of many pixels, which are counted here, and of parts that are not looked at
            image = Image.open(file, formats=["PNG"])
        with image:
            mode = _mode(file, image)
            channels = max(_CHANNELS[mode], 3 if rule is not None and rule.colour == RGB else 1)
            if image.width * image.height * channels > MOST_PIXELS:
                raise DatasetError(_too_large(file, f"{image.width} x {image.height} pixels of mode {image.mode}"))
            pixels = np.asarray(image if image.mode == mode else image.convert(mode))
    except (*UNREADABLE, SyntaxError, Image.DecompressionBombError) as error:  # SyntaxError: a broken chunk
        raise DatasetError(f"{file}: cannot be read as PNG ({error}); replace it") from error
    if mode in ("LA", "RGBA"):
        pixels = _on_ground(file, pixels, rule)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _mode(file: Path, image: Image.Image) -> str:
    """Return the mode that a picture is converted to."""
    mode = _MODES.get(image.mode)
    if mode is None:
        raise DatasetError(f"{file}: mode {image.mode}, expected grey, colour or a palette; convert it")
    if "transparency" not in image.info:
        return mode
    if image.mode not in _WITH_ALPHA:
        raise DatasetError(
            f"{file}: a value of mode {image.mode} is transparent; save it without, or with an alpha channel"
        )
    return _WITH_ALPHA[image.mode]


def _on_ground(file: Path, pixels: npt.NDArray[Any], rule: PixelRule | None) -> npt.NDArray[Any]:
    """Return the colours without alpha."""
    colours, alpha = pixels[..., :-1], pixels[..., -1:]
    see_through = int(np.count_nonzero(alpha < 255))
    if not see_through:
        return colours
    if rule is None or rule.ground is None:
        raise DatasetError(
            f"{file}: {see_through} of {alpha.size} pixels are transparent; say what lies under them (--ground 0), or "
            "save it on a ground, as matplotlib's savefig does with transparent=False"
        )
    share = alpha / 255
    mixed: Images = np.rint(share * colours + (1 - share) * rule.ground).astype(np.uint8)
    return mixed


def _read_fits(file: Path) -> npt.NDArray[Any]:
    require_file(file, DatasetError)
    try:
        with file.open("rb") as opened:
            return read_fits_image(opened, str(file))
    except FileNotFoundError as error:
        raise DatasetError(f"{file}: no such file; check the path") from error
    except (OSError, ValueError) as error:
        raise DatasetError(f"{file}: cannot be read as FITS ({error}); replace it") from error


def _by_rule(file: Path, values: npt.NDArray[Any], rule: PixelRule) -> Picture:
    channels = values.shape[2]
    is_whole = values.dtype == np.uint8 and rule.scale == RANGE and rule.size in (None, values.shape[:2])
    if is_whole and not (rule.colour == GREY and channels == 3):
        return Picture(np.repeat(values, 3, axis=2) if rule.colour == RGB and channels == 1 else values)
    limits = _limits_of_type(file, values) if rule.scale == RANGE else None
    numbers = values.astype(np.float64)
    finite = np.isfinite(numbers)
    if rule.colour == GREY and channels == 3:
        numbers = (numbers @ np.array(LUMINANCE))[..., None]
    scaled = _scaled(file, numbers, rule, limits)
    if rule.size is not None and rule.size != scaled.shape[:2]:
        scaled = _resized(scaled, rule)
    if rule.colour == RGB and scaled.shape[2] == 1:
        scaled = np.repeat(scaled, 3, axis=2)
    pixels = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return Picture(pixels, int(np.count_nonzero(~finite)))


def _limits_of_type(file: Path, values: npt.NDArray[Any]) -> tuple[float, float]:
    if values.dtype.kind not in "iu":
        raise DatasetError(
            f"{file}: values of type {values.dtype} have no range; choose another --scale, such as percentile"
        )
    known = np.iinfo(values.dtype)
    return float(known.min), float(known.max)


def _scaled(
    file: Path, numbers: npt.NDArray[np.float64], rule: PixelRule, limits: tuple[float, float] | None
) -> npt.NDArray[np.float64]:
    """Return values 0..255; what is not finite becomes 0, and so does a picture of one value without a range."""
    finite = numbers[np.isfinite(numbers)]
    low, high = limits or (_found_limits(file, finite, rule) if finite.size else (0.0, 0.0))
    if high / 2 - low / 2 <= 0:
        return np.zeros(numbers.shape)
    # Of halves, because the difference of two numbers may be more than a float holds.
    share = np.nan_to_num((numbers / 2 - low / 2) / (high / 2 - low / 2), nan=0.0, posinf=0.0, neginf=0.0).clip(0, 1)
    if rule.scale == ASINH:
        share = np.arcsinh(share / ASINH_SOFTENING) / np.arcsinh(1 / ASINH_SOFTENING)
    return 255 * share


def _found_limits(file: Path, finite: npt.NDArray[np.float64], rule: PixelRule) -> tuple[float, float]:
    if rule.scale != SIGMA_CLIP:
        low, high = np.percentile(finite, (rule.low, rule.high))
        return float(low), float(high)
    try:
        from astropy.stats import sigma_clip
    except ImportError as error:
        raise DatasetError(f"{file}: sigma clipping needs astropy; run: pip install 'seti-tune[fits]'") from error
    kept = sigma_clip(finite, sigma=rule.sigma, maxiters=_CLIPPINGS, masked=False)
    if not kept.size:
        raise DatasetError(
            f"{file}: nothing lies within {rule.sigma:g} deviations of the median; give a larger --sigma"
        )
    return float(kept.min()), float(kept.max())


def _resized(numbers: npt.NDArray[np.float64], rule: PixelRule) -> npt.NDArray[np.float64]:
    rows, columns = rule.size or numbers.shape[:2]
    planes = [Image.fromarray(plane.astype(np.float32)) for plane in np.moveaxis(numbers, -1, 0)]
    by = Image.Resampling[rule.filter.upper()]
    return np.stack([np.asarray(plane.resize((columns, rows), by), np.float64) for plane in planes], axis=-1)


def _too_large(file: Path, what: str) -> str:
    return f"{file}: {what}, at most {MOST_PIXELS} values are read; make it smaller"
