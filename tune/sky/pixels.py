"""How much of a cut-out shows sky: looked at when it arrives, so that a blank or damaged one is not kept unseen."""

from __future__ import annotations

import io
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from seti_model.data.sources.pictures import require_few_axes
from tune.errors import FetchError

MOST_PIXELS = 2**24  # 4096 x 4096, as of any image that is read
_BLOCK = 3  # pixels along the side of a square of one value that no noise makes


def share_without_sky(content: bytes, pixels: int) -> float:
    """Return which share of a square of `pixels` x `pixels` the image in a FITS file does not cover, 0..1.

    Not covered is what is not finite, what lies in a square of 3 x 3 pixels of one value, as servers fill with zeros
    what a survey has not seen, and what is missing of the size that was asked for.

    Raises:
        FetchError: It is no FITS file, has no image, a damaged or a huge one.
    """
    image = _image(content)
    finite = np.isfinite(image)
    filled = np.where(finite, image, 0.0)
    flat = ndimage.minimum_filter(filled, _BLOCK) == ndimage.maximum_filter(filled, _BLOCK)
    blank = ~finite | ndimage.binary_dilation(flat, np.ones((_BLOCK, _BLOCK), bool))
    return max(0.0, 1.0 - float((~blank).sum()) / max(pixels * pixels, image.size))


def _image(content: bytes) -> npt.NDArray[np.float64]:
    """Return the first image of a FITS file, (rows, columns); axes of length 1 before it are left out."""
    from astropy.io import fits

    if not content.startswith(b"SIMPLE  ="):
        start = content[:40].decode("ascii", "replace")
        raise FetchError(f"no FITS file, it begins with {start!r}; look at its address in a browser")
    try:
        require_few_axes([content])
        with (
            warnings.catch_warnings(),
            fits.open(io.BytesIO(content), memmap=False, disable_image_compression=True) as parts,
        ):
            warnings.simplefilter("error")  # what is cut off is only warned of
            for part in parts:
                shape = tuple(part.header.get(f"NAXIS{axis}", 0) for axis in range(part.header["NAXIS"], 0, -1))
                if type(part) in (fits.PrimaryHDU, fits.ImageHDU) and len(shape) >= 2:
                    return _checked(part, shape)
    except FetchError:
        raise
    except Exception as error:  # a damaged file ends in whatever its reader did not expect
        raise FetchError(f"a damaged FITS file ({type(error).__name__}: {error}); fetch it again") from error
    raise FetchError("a FITS file without an image; look at its address in a browser")


def _checked(part: Any, shape: tuple[int, ...]) -> npt.NDArray[np.float64]:
    if math.prod(shape[:-2]) != 1 or not 0 < math.prod(shape) <= MOST_PIXELS:
        raise FetchError(
            f"a FITS image of {' x '.join(map(str, shape))} pixels; one image of at most 2**24 is expected"
        )
    return np.asarray(part.data, np.float64).reshape(shape[-2:])
