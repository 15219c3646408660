"""What is random in an epoch: the order of its images and the changes made to them. Without TensorFlow.

Both are functions of seed, epoch and batch alone.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from seti_model.config import AugmentConfig
from seti_model.data.align import MIDDLE
from seti_model.data.dataset import Images
from seti_model.runtime import derive_seed


def epoch_order(n_images: int, *, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """Return a permutation of 0..n_images-1 for one epoch; nothing of earlier epochs is needed to repeat it."""
    return _generator(seed, "order", epoch).permutation(n_images)


def augment_batch(
    images: Images, config: AugmentConfig, *, seed: int, epoch: int, batch: int, mirrors_rest: bool = False
) -> Images:
    """Return randomly changed copies of a batch, each image by its own draw.

    Shifts are cyclic and uniform in -shift..shift pixels; noise is Gaussian, for uint8 rounded to whole pixel values
    and clipped to 0..255. Every draw is made whatever is switched on, so that switching one change on leaves the
    draws of the others as they were.

    Args:
        images: uint8 or float32 (n, n_time, n_freq, channels). Not modified.
        config: Which changes, and how strong.
        seed: Of the training.
        epoch: From 1.
        batch: From 0 within the epoch.
        mirrors_rest: The last channel is what `align` leaves of whole shifts: mirrored in frequency it changes sign.
    """
    rng = _generator(seed, "augment", epoch, batch)
    n_images, n_time, n_freq, _ = images.shape
    flips = rng.random((2, n_images)) < 0.5
    shifts = rng.random((2, n_images))
    rows = _positions(n_time, flips[0] & config.flip_time, shifts[0], config.shift_time)
    columns = _positions(n_freq, flips[1] & config.flip_frequency, shifts[1], config.shift_frequency)
    changed = images[np.arange(n_images)[:, None, None], rows[:, :, None], columns[:, None, :]]
    if mirrors_rest and config.flip_frequency:
        changed[flips[1], ..., -1] = 2 * MIDDLE - changed[flips[1], ..., -1]
    if config.noise > 0:
        deviation = np.float32(255 * config.noise)
        noisy = changed + deviation * rng.standard_normal(changed.shape, dtype=np.float32)
        changed = np.clip(np.rint(noisy), 0, 255).astype(np.uint8) if images.dtype == np.uint8 else noisy
    return changed


def _positions(
    length: int, flip: npt.NDArray[np.bool_], draw: npt.NDArray[np.float64], largest: int
) -> npt.NDArray[np.int64]:
    """Return, (n, length), where along an axis each pixel of each changed image comes from."""
    shift = np.floor(draw * (2 * largest + 1)).astype(np.int64) - largest
    positions = (np.arange(length)[None, :] - shift[:, None]) % length
    return np.where(flip[:, None], length - 1 - positions, positions)


def _generator(seed: int, *purpose: int | str) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(derive_seed(seed, *purpose)))
