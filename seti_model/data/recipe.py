"""How the course set's samples became power and its power became pixels, for what is simulated and what is read."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

Power = npt.NDArray[np.float32]  # (n_time, n_freq): time rows, frequency channels; linear units
N_FFT = 512  # samples of a row
SHAPE = (64, 128)  # n_time, n_freq of the pixels
SHRINK = 4  # power values of a pixel, each way: 256 x 512 became 64 x 128


def power_of(voltage: npt.NDArray[np.float32], n_fft: int = N_FFT) -> Power:
    """Return the power (n, n_fft) of real and imaginary parts (n * n_fft, 2): no window, frequency zero centred."""
    from scipy import fft  # which a search that simulates nothing need not wait for

    spectrum = fft.fft(voltage.view(np.complex64).reshape(-1, n_fft))
    power: Power = np.square(spectrum.real)
    power += np.square(spectrum.imag)
    return np.asarray(fft.fftshift(power, axes=1))


def to_pixels(power: Power, shape: tuple[int, int] = SHAPE) -> npt.NDArray[np.uint8]:
    """Return the course set's grey pixels, `shape`, of a power; the course's was (256, 512).

    Logarithm, divided by its maximum, jet colours, Lanczos, luminance. Power below 1 shows as zero.
    """
    from PIL import Image

    level = np.log(np.maximum(power, 1.0))
    level *= 256 / max(float(level.max()), 1e-6)
    index = np.minimum(level, 255).astype(np.uint8)
    colour = Image.frombytes("P", index.shape[::-1], index.tobytes())
    colour.putpalette(jet_palette())
    small = colour.convert("RGB").resize(shape[::-1], Image.Resampling.LANCZOS)
    return np.asarray(small.convert("L"))


@functools.cache
def jet_palette() -> bytes:
    """Return the 256 RGB colours of the classic jet map: piecewise linear in each channel."""
    position = np.linspace(0, 1, 256)
    red = np.interp(position, (0, 0.35, 0.66, 0.89, 1), (0, 0, 1, 1, 0.5))
    green = np.interp(position, (0, 0.125, 0.375, 0.64, 0.91, 1), (0, 0, 1, 1, 0, 0))
    blue = np.interp(position, (0, 0.11, 0.34, 0.65, 1), (0.5, 1, 1, 0, 0))
    return (np.stack((red, green, blue), axis=1) * 255).astype(np.uint8).tobytes()
