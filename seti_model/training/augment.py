"""What is random in an epoch: the order of its images and the changes made to them. Without TensorFlow.

Both are functions of seed, epoch and batch alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

from seti_model.config import AugmentConfig
from seti_model.data.align import MIDDLE
from seti_model.data.dataset import Images
from seti_model.data.prepare import Prepared
from seti_model.runtime import derive_seed


def epoch_order(n_images: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0..n_images-1 for one epoch; nothing of earlier epochs is needed to repeat it."""
    return _generator(seed, "order", epoch).permutation(n_images)


def augment_batch(
    images: Images, config: AugmentConfig, *, seed: int, epoch: int, batch: int, mirrors_rest: bool = False
) -> Images:
    """Return randomly changed copies of a batch, each image by its own draw.

    Shifts are cyclic and uniform in -shift..shift pixels, angles uniform in -rotate..rotate; noise is Gaussian, for
    uint8 rounded to whole pixel values and clipped to 0..255. Every draw is made whatever is switched on, or by a
    generator of its own, so that switching one change on leaves the draws of the others as they were.

    Args:
        images: uint8 or float32 (n, n_time, n_freq, channels). Not modified.
        config: Which changes, and how strong.
        seed: Of the training.
        epoch: From 1.
        batch: From 0 within the epoch.
        mirrors_rest: The last channel is what `align` leaves of whole shifts: mirrored in frequency it changes sign.
    """
    rng = _generator(seed, "augment", epoch, batch)
    flips = rng.random((2, len(images))) < 0.5
    shifts = rng.random((2, len(images)))
    changed = images.copy()
    if config.flip_time:
        changed[flips[0]] = changed[flips[0], ::-1]
    if config.flip_frequency:
        changed[flips[1]] = changed[flips[1], :, ::-1]
    changed = _shifted(changed, shifts[0], config.shift_time, axis=0)
    changed = _shifted(changed, shifts[1], config.shift_frequency, axis=1)
    if mirrors_rest and config.flip_frequency:
        changed[flips[1], ..., -1] = 2 * MIDDLE - changed[flips[1], ..., -1]
    if config.rotate > 0:
        turns = _generator(seed, "rotate", epoch, batch).uniform(-1.0, 1.0, size=(len(images),))
        changed = rotated(changed, config.rotate * turns)
    if config.noise > 0:
        deviation = np.float32(255 * config.noise)
        noisy = changed + deviation * rng.standard_normal(changed.shape, dtype=np.float32)
        changed = np.clip(np.rint(noisy), 0, 255).astype(np.uint8) if images.dtype == np.uint8 else noisy
    return changed


def rotated(images: Prepared, angles: npt.NDArray[np.float64]) -> Prepared:
    """Return images turned about their middle, each by its angle in degrees, with bilinear interpolation.

    What comes in from outside is the median of the image's border, its sky: the nearest pixels would draw stripes from
    a source that reaches the border, a mirror image would add sources, and zero would be a dark frame.

    Args:
        images: uint8 or float32 (n, n_time, n_freq, channels). Not modified.
        angles: Counter-clockwise, (n,).
    """
    # Of whole numbers Pillow cuts the fractions off, which would darken them.
    turned: Prepared = np.empty(images.shape, np.float32)
    for row, (image, angle) in enumerate(zip(images, angles, strict=True)):
        for channel in range(images.shape[3]):
            plane = image[..., channel].astype(np.float32)
            sky = np.median(np.concatenate([plane[0], plane[-1], plane[1:-1, 0], plane[1:-1, -1]]))
            picture = Image.fromarray(plane).rotate(float(angle), Image.Resampling.BILINEAR, fillcolor=float(sky))
            turned[row, ..., channel] = np.asarray(picture)
    return np.rint(turned).astype(np.uint8) if images.dtype == np.uint8 else turned


def _shifted(images: Images, draw: npt.NDArray[np.float64], largest: int, *, axis: int) -> Images:
    """Return images of which each is moved along one of its axes by its own draw from -largest..largest, cyclically."""
    if largest == 0:
        return images
    shifts = np.floor(draw * (2 * largest + 1)).astype(np.int64) - largest
    return np.stack([np.roll(image, shift, axis) for image, shift in zip(images, shifts, strict=True)])


def _generator(seed: int, *purpose: int | str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *purpose)))
