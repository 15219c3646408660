"""How much of a cut-out shows sky: looked at when it arrives, so that a blank or damaged one is not kept unseen."""

from __future__ import annotations

import io

import numpy as np
from scipy import ndimage

from seti_model.data.sources.fits_image import read_fits_image
from seti_model.errors import DatasetError
from tune.errors import FetchError

_BLOCK = 3  # pixels along the side of a square of one value that no noise makes


def share_without_sky(content: bytes, pixels: int) -> float:
    """Return which share of a square of `pixels` x `pixels` the image in a FITS file does not cover, 0..1.

    Not covered is what is not finite, what lies in a square of 3 x 3 pixels of one value, as servers fill with zeros
    what a survey has not seen, and what is missing of the size that was asked for.

    Raises:
        FetchError: It is no FITS file, has no image of one colour, a damaged or a huge one.
    """
    try:
        image = read_fits_image(io.BytesIO(content), "the answer", forgiving=False)
    except DatasetError as error:
        raise FetchError(str(error)) from error
    if image.shape[2] != 1:
        raise FetchError("the answer: an image of three colours, one is expected; look at its address in a browser")
    grey = image[..., 0].astype(np.float64)
    finite = np.isfinite(grey)
    filled = np.where(finite, grey, 0.0)
    flat = ndimage.minimum_filter(filled, _BLOCK) == ndimage.maximum_filter(filled, _BLOCK)
    blank = ~finite | ndimage.binary_dilation(flat, np.ones((_BLOCK, _BLOCK), bool))
    return max(0.0, 1.0 - float((~blank).sum()) / max(pixels * pixels, grey.size))
