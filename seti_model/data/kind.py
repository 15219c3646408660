"""What the images of a data set are of, and how files became their pixels: kept with the data and with each model."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from seti_model.errors import DatasetError

SPECTROGRAMS = "radio spectrograms"
TIME_FREQUENCY = ("time", "frequency")  # what goes down, what to the right
RANGE, PERCENTILE, ASINH, SIGMA_CLIP = "range", "percentile", "asinh", "sigma_clip"
SCALES = (RANGE, PERCENTILE, ASINH, SIGMA_CLIP)
AS_IT_IS, GREY, RGB = "as it is", "grey", "rgb"
FILTERS = ("nearest", "box", "bilinear", "hamming", "bicubic", "lanczos")  # Pillow's
LUMINANCE = (0.299, 0.587, 0.114)  # of red, green, blue; ITU-R BT.601, as Pillow's grey
LARGEST_SIDE = 65536  # pixels
MOST_RESIZED = 2**22  # pixels of a picture that is brought to another size
_LONGEST = 100  # letters of what images are of


@dataclass(frozen=True)
class PixelRule:
    """How a picture's values become 8-bit pixels: colour, then scale, then size. Each picture by itself.

    `scale` "range" maps the whole range of an integer type to 0..255, so that 8 bits stay as they are; "percentile"
    maps `low`..`high` of the finite values; "asinh" does so and stretches by asinh(x / 0.1) / asinh(10); "sigma_clip"
    maps the range of what lies within `sigma` deviations of the median, found by repeated clipping. Values that are not
    finite become the lowest one. Source: `astropy.visualization`, `astropy.stats`; doi:10.3847/1538-4357/ac7c74.
    """

    size: tuple[int, int] | None = None  # rows, columns; None: as they are
    filter: str = "lanczos"  # of a change of size
    colour: str = AS_IT_IS  # or grey (ITU-R BT.601), or rgb
    ground: int | None = None  # 0..255, under what is transparent; None: that is refused
    scale: str = RANGE
    low: float = 0.5  # percentile
    high: float = 99.5  # percentile
    sigma: float = 3.0

    def __post_init__(self) -> None:
        if self.size is not None and not all(1 <= side <= LARGEST_SIDE for side in self.size):
            raise DatasetError(f"size {self.size}: two numbers of 1 to {LARGEST_SIDE} are expected; correct it")
        if self.size is not None and math.prod(self.size) > MOST_RESIZED:
            raise DatasetError(f"size {self.size}: at most {MOST_RESIZED} pixels are made; choose a smaller one")
        for name, value, known in (
            ("filter", self.filter, FILTERS),
            ("colour", self.colour, (AS_IT_IS, GREY, RGB)),
            ("scale", self.scale, SCALES),
        ):
            if value not in known:
                raise DatasetError(f"{name} {value!r} is unknown; choose one of {', '.join(known)}")
        if self.ground is not None and not 0 <= self.ground <= 255:
            raise DatasetError(f"ground {self.ground}: a grey of 0 to 255 is expected; correct it")
        if not 0 <= self.low < self.high <= 100:
            raise DatasetError(f"percentiles {self.low:g},{self.high:g}: two rising numbers of 0 to 100; correct them")
        if not 0.1 <= self.sigma <= 1000:
            raise DatasetError(f"sigma {self.sigma:g}: a number of 0.1 to 1000 is expected; correct it")


@dataclass(frozen=True)
class ImageKind:
    """What images are of, their axes, and how files became their pixels; `predict` applies the same to new files."""

    of: str = SPECTROGRAMS
    axes: tuple[str, str] = TIME_FREQUENCY
    picture: PixelRule | None = None  # of PNG and FITS files; None: 8-bit PNG as they are
    tiles: dict[str, Any] | None = None  # of filterbank files and time series

    def __post_init__(self) -> None:
        for word in (self.of, *self.axes):
            if not (word and word.isprintable() and len(word) <= _LONGEST):
                raise DatasetError(f"{word[:_LONGEST]!r}: at most {_LONGEST} letters that can be shown; choose others")
