"""Aligning spectrograms (de-drift): find the best straight line of an image, shift every row by where it lies.

A search for drifting signals begins so: the rows are shifted along many drifts and summed, the drift of the largest sum
is taken, and what is left to see is how the line departs from a straight one. Nothing is learnt and no truth is used.
All sums are made in the Fourier plane of the rows, in float64 on a fixed grid, so the same image gives the same line
whatever images stand beside it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from seti_model.config import SHIFTS
from seti_model.errors import ConfigError

OVERSAMPLED = 4  # sums are looked at this many times a pixel before they are refined
COARSE_DRIFT = 0.5  # pixels, of the grid of drifts
REFINED = ((0.08, 0.2), (0.03, 0.075))  # pixels of position and of drift, two passes over five by five places
MIDDLE, DEVIATION = 128.0, 32.0
_AT_ONCE = 32  # images, which bounds the memory

Complex = npt.NDArray[np.complex128]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Lines:
    """The best straight line of each image: `position + drift * T` pixels in row t, T = (t - (n - 1) / 2) / (n - 1).

    Attributes:
        position: Pixels from the first column, at mid time, in 0..n_freq; float64 (n,).
        drift: Pixels from the first row to the last; float64 (n,).
        sign: 1 where the line is brighter than its ground, -1 where it is darker; (n,).
    """

    position: Floats
    drift: Floats
    sign: Floats


def find_lines(images: npt.NDArray[np.floating], *, max_drift: float = 11.5) -> Lines:
    """Return the straight line along which the sum of each image departs most from its mean.

    Args:
        images: (n, n_time, n_freq); frequency is taken to be periodic.
        max_drift: The largest drift that is looked for, in pixels from the first row to the last.
    """
    parts = [_find(_standard(images[i : i + _AT_ONCE]), max_drift) for i in range(0, len(images), _AT_ONCE)]
    position, drift, sign = (
        np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])
        for name in ("position", "drift", "sign")
    )
    return Lines(position, drift, sign)


def align(
    images: npt.NDArray[np.uint8 | np.float32], *, half_width: int, shift: str = "fraction", max_drift: float = 11.5
) -> npt.NDArray[np.float32]:
    """Shift every row so that the best straight line of its image stands upright in the middle; keep what is near.

    Args:
        images: (n, n_time, n_freq, 1).
        half_width: So many columns are kept on either side of the line.
        shift: "fraction": rows are shifted by fractions of a pixel, in the Fourier plane. "whole": by whole pixels,
            and a second channel holds for each row the rest, in -0.5..0.5 pixel, as `MIDDLE + 2 * MIDDLE * rest`.
        max_drift: As in `find_lines`.

    Returns:
        Signals bright, float32 (n, n_time, 2 * half_width + 1, 1 or 2), in the scale of pixels: a whole image has the
        mean `MIDDLE` and the deviation `DEVIATION`; nothing is cut off at 0 or 255.

    Raises:
        ConfigError: More columns than there are, another kind of shift, or several channels.
    """
    n_time, n_freq, channels = images.shape[1:]
    width = 2 * half_width + 1
    if shift not in SHIFTS or channels != 1 or not 0 < width <= n_freq:
        raise ConfigError(
            f"align: shift={shift!r}, half_width={half_width} of images {n_time}x{n_freq} with {channels} channels; "
            f"shift is one of {', '.join(SHIFTS)}, at most {(n_freq - 1) // 2} columns fit, one channel is expected"
        )
    aligned = np.empty((len(images), n_time, width, 1 + (shift == "whole")), np.float32)
    for start in range(0, len(images), _AT_ONCE):
        standard = _standard(images[start : start + _AT_ONCE, ..., 0])
        lines = _find(standard, max_drift)
        places = lines.position[:, None] + lines.drift[:, None] * row_times(n_time)  # (n, n_time), pixels
        signed = standard * lines.sign[:, None, None]
        aligned[start : start + _AT_ONCE] = (
            _by_fraction(signed, places, half_width) if shift == "fraction" else _by_whole(signed, places, half_width)
        )
    return aligned


def row_times(n_time: int) -> Floats:
    """Return T of each row, from -1/2 to 1/2."""
    return (np.arange(n_time) - (n_time - 1) / 2) / max(1, n_time - 1)


def drift_grid(max_drift: float) -> Floats:
    """Return the drifts that are looked at first, in pixels from the first row to the last."""
    return np.arange(-max_drift, max_drift + COARSE_DRIFT / 2, COARSE_DRIFT)


def weights_of_frequencies(n_freq: int) -> Floats:
    """Return how often each frequency of a real transform counts in a value of the row; (n_freq // 2 + 1,)."""
    frequency = np.arange(n_freq // 2 + 1)
    return np.where((frequency == 0) | (2 * frequency == n_freq), 1.0, 2.0)


def _standard(images: npt.NDArray[np.generic]) -> Floats:
    values = images.astype(np.float64)
    values -= values.mean(axis=(1, 2), keepdims=True)
    deviation = values.std(axis=(1, 2), keepdims=True)
    return values / np.where(deviation > 0, deviation, 1.0)


def _find(images: Floats, max_drift: float) -> Lines:
    """Return the best lines of standardised images (n, n_time, n_freq)."""
    n, n_time, n_freq = images.shape
    rows, time, turns = np.fft.rfft(images, axis=2), row_times(n_time), 2j * np.pi * np.arange(n_freq // 2 + 1) / n_freq
    drifts = drift_grid(max_drift)
    phases = np.exp(turns[:, None, None] * time[:, None] * drifts)  # (frequency, time, drift)
    sums = np.matmul(rows.transpose(2, 0, 1), phases).transpose(1, 2, 0)  # (n, drift, frequency)
    profiles = np.fft.irfft(sums, OVERSAMPLED * n_freq, axis=2)
    best = _first_largest(np.abs(profiles).reshape(n, -1))
    at_drift, at_position = np.divmod(best, profiles.shape[2])
    sign = np.sign(profiles[np.arange(n), at_drift, at_position])
    sign[sign == 0] = 1.0  # an image of one value
    position, drift = at_position / OVERSAMPLED, drifts[at_drift]
    weights = weights_of_frequencies(n_freq)
    for step, drift_step in REFINED:
        places = position[:, None] + drift[:, None] * time
        turned = rows * np.exp(turns * places[:, :, None])
        by = np.arange(-2, 3)
        along = np.matmul(turned.transpose(2, 0, 1), np.exp(turns[:, None, None] * time[:, None] * by * drift_step))
        across = np.exp(turns[:, None] * by * step) * weights[:, None]  # (frequency, position)
        values = np.matmul(along.transpose(1, 2, 0), across).real.reshape(n, -1) * sign[:, None]
        drift_by, position_by = np.divmod(_first_largest(values), len(by))
        drift, position = drift + by[drift_by] * drift_step, position + by[position_by] * step
    return Lines(position % n_freq, drift, sign)


def _first_largest(values: Floats) -> npt.NDArray[np.intp]:
    """Return the place of the largest value of each row, the first of those that only rounding tells apart."""
    places: npt.NDArray[np.intp] = (values >= values.max(axis=1, keepdims=True) * (1 - 1e-9)).argmax(axis=1)
    return places


def _by_fraction(images: Floats, places: Floats, half_width: int) -> Floats:
    n_freq = images.shape[2]
    turns = 2j * np.pi * np.arange(n_freq // 2 + 1) / n_freq
    shifted = np.fft.irfft(
        np.fft.rfft(images, axis=2) * np.exp(turns * (places - half_width)[:, :, None]), n_freq, axis=2
    )
    return MIDDLE + DEVIATION * shifted[:, :, : 2 * half_width + 1, None]


def _by_whole(images: Floats, places: Floats, half_width: int) -> Floats:
    whole = np.rint(places)
    columns = (whole[:, :, None] + np.arange(-half_width, half_width + 1)).astype(np.intp) % images.shape[2]
    crop = np.take_along_axis(images, columns, axis=2)
    rest = np.broadcast_to((places - whole)[:, :, None], crop.shape)
    return np.stack([MIDDLE + DEVIATION * crop, MIDDLE + 2 * MIDDLE * rest], axis=3)
