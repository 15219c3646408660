"""A network that compares curves: where the line lies in each row, and which straight or bent curve that fits best.

A bend of a fraction of a pixel shows over all rows together and in none alone. So evidence for the line's place is
computed row by row, on pixels as they were recorded, and only then moved by the fraction of a pixel that the found
line leaves in each row: shifting first would blur where the line lies between channels. A fixed bank adds the evidence
along curves `offset + slope * T + curvature * P`, with T from -1/2 to 1/2 over the rows and P the second shifted
Legendre polynomial, its mean removed. What is left is one number per curvature; it is compared beside features that
see what is no line at all.

Only stock Keras layers and operations, so that the model opens anywhere. The bank is computed, not trained.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import numpy.typing as npt
from keras import ops

from seti_model.data.align import DEVIATION, MIDDLE, row_times
from seti_model.errors import ConfigError
from seti_model.families import DriftConfig
from seti_model.networks.layers import dense, drawn
from seti_model.runtime import derive_seed

PER_PIXEL = 8  # places of evidence
STEPS = 24  # places a pixel after the sub-pixel shift
OFFSETS = 3  # steps that the whole curve may lie to either side
REACH = 4  # columns to either side that the line's profile covers
SEEN = 5  # columns to either side that decide on a place
MOMENTUM = 0.9

Floats = npt.NDArray[np.float32]


def build(
    config: DriftConfig, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Model:
    """Build the network for aligned images and, in a second channel, rests, as `align` with whole shifts leaves them.

    The comparison of curves stays in float32 at any precision: it adds up many small numbers.

    Raises:
        ConfigError: Images with too few columns for the curves.
    """
    n_time, width, _ = shape
    kernel, reach = bank(config, n_time)
    middle = width // 2
    # Places that can be asked for: a rest of half a pixel, and the reach of the curves to either side.
    low = int(np.floor((middle - 0.5 - reach / STEPS) * PER_PIXEL + (PER_PIXEL - 1) / 2))
    high = int(np.ceil((middle + 0.5 + reach / STEPS) * PER_PIXEL + (PER_PIXEL - 1) / 2))
    if low < 0 or high >= width * PER_PIXEL:
        raise ConfigError(
            f"network.family='drift': curves reach {reach / STEPS + 0.5:.1f} pixels to either side, images of "
            f"{width} columns hold fewer; raise align.half_width, or lower drift.max_curvature or drift.max_slope"
        )
    inputs = keras.Input(shape, name="aligned")
    # The harness has divided by 255; back to the units of `align`.
    pixels = keras.layers.Rescaling(255 / DEVIATION, -MIDDLE / DEVIATION, dtype="float32", name="pixels_of_line")(
        inputs[..., :1]
    )
    rest = keras.layers.Rescaling(255 / (2 * MIDDLE), -0.5, dtype="float32", name="rest_of_shift")(inputs[:, :, :1, 1:])
    evidence, features = _evidence(config, pixels, seed, precision)
    rows = ops.reshape(evidence, (-1, n_time, width * PER_PIXEL))
    along = _shifted(rows[:, :, low : high + 1], rest[:, :, 0], reach, origin=middle * PER_PIXEL - low)
    sums = keras.layers.Conv1D(
        kernel.shape[2],
        kernel.shape[0],
        use_bias=False,
        kernel_initializer="zeros",  # set below: as a constant it would stand in the model's description
        dtype="float32",
        trainable=False,
        name="curves",
    )(ops.transpose(along, (0, 2, 1)))
    n_curvatures = len(_grid(config.max_curvature, config.curvature_step))
    curvatures = ops.logsumexp(
        ops.reshape(sums, (-1, sums.shape[1], n_curvatures, kernel.shape[2] // n_curvatures)), (1, 3)
    )
    # As `ops.max` along the columns, with a gradient three times as fast.
    strongest = keras.layers.MaxPooling2D((1, width), dtype="float32", name="strongest")(features)
    seen = keras.layers.Concatenate(dtype="float32", name="no_line")(
        [
            ops.max(curvatures, axis=1, keepdims=True),
            ops.mean(ops.max(rows, axis=2), axis=1, keepdims=True),
            ops.mean(ops.reshape(strongest, (-1, n_time, config.features)), axis=1),
        ]
    )
    seen = keras.layers.BatchNormalization(momentum=MOMENTUM, dtype="float32", name="no_line_norm")(seen)
    head = keras.layers.Concatenate(dtype="float32", name="compared")(
        [ops.softmax(curvatures), 0.1 * ops.log_softmax(curvatures), seen]
    )
    head = dense("dense", config.dense_units, seed, activation="relu")(head)
    head = keras.layers.Dropout(config.dropout, seed=derive_seed(seed, "dropout"), dtype="float32", name="dropout")(
        head
    )
    network = keras.Model(inputs, dense("logits", n_classes, seed)(head), name="drift")
    network.get_layer("curves").kernel.assign(kernel)
    network.get_layer("profile").kernel.assign(profiles())
    return network


def bank(config: DriftConfig, n_time: int) -> tuple[Floats, int]:
    """Return the curves as a kernel (steps, n_time, curves), and how many steps they reach to either side.

    Curves are ordered by curvature, then by slope. Each has two taps a row, which add up to 1. The kernel is moved
    over all offsets.
    """
    time = row_times(n_time)
    bend = 6 * (time + 0.5) ** 2 - 6 * (time + 0.5) + 1
    bend -= bend.mean()
    slopes, curvatures = _grid(config.max_slope, config.slope_step), _grid(config.max_curvature, config.curvature_step)
    places = (curvatures[:, None, None] * bend + slopes[:, None] * time).reshape(-1, n_time) * STEPS
    half = int(np.ceil(np.abs(places).max()))
    steps = np.arange(-half, half + 1)
    taps = np.maximum(0.0, 1.0 - np.abs(steps[:, None, None] - places.T))
    return taps.astype(np.float32), half + OFFSETS


def _evidence(config: DriftConfig, pixels: Any, seed: int, precision: str) -> tuple[Any, Any]:
    """Return for each row and column how likely the line is at each of its places, and the features of the row.

    A matched filter, which starts as the profile of a line between channels, and a correction that starts from zero.
    """

    def convolution(name: str, filters: int, width: int, start: Any, activation: str | None = None) -> Any:
        return keras.layers.Conv2D(
            filters,
            (1, width),
            padding="same",
            activation=activation,
            kernel_initializer=start,
            dtype=precision,
            name=name,
        )

    matched = convolution("profile", PER_PIXEL, 2 * REACH + 1, "zeros")(pixels)
    features = convolution("row_1", config.features, 2 * SEEN + 1, drawn(seed, "row_1"), "relu")(pixels)
    features = convolution("row_2", config.features, 1, drawn(seed, "row_2"), "relu")(features)
    correction = convolution("correction", PER_PIXEL, 1, "zeros")(features)
    evidence = keras.layers.Add(dtype="float32", name="evidence")([matched, correction])
    return evidence, ops.cast(features, "float32")


def profiles() -> Floats:
    """Return Lanczos-3 kernels of a line at each place within a pixel, (1, columns, 1, places), their norm 0.75."""
    columns, places = np.arange(-REACH, REACH + 1), (np.arange(PER_PIXEL) - (PER_PIXEL - 1) / 2) / PER_PIXEL
    distance = columns[:, None] - places
    kernel = np.where(np.abs(distance) < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)
    scaled: Floats = (0.75 * kernel / np.linalg.norm(kernel, axis=0))[None, :, None, :].astype(np.float32)
    return scaled


def _shifted(rows: Any, rest: Any, reach: int, *, origin: float) -> Any:
    """Return evidence (n, n_time, 2 * reach + 1) at steps around the line, interpolated between the nearest places.

    Args:
        rows: Evidence (n, n_time, places) around the middle column.
        rest: Pixels (n, n_time, 1) from that column to the line.
        reach: Steps to either side.
        origin: The first place of the middle column.
    """
    steps = (np.arange(-reach, reach + 1) / STEPS * PER_PIXEL + origin + (PER_PIXEL - 1) / 2).astype(np.float32)
    distance = np.arange(rows.shape[2], dtype=np.float32)[:, None] - steps  # (places, steps)
    weights = ops.relu(1.0 - ops.abs(ops.subtract(distance, PER_PIXEL * rest[..., None])))
    return ops.sum(rows[..., None] * weights, axis=2)


def _grid(largest: float, step: float) -> npt.NDArray[np.float64]:
    """Return multiples of `step` from -largest to largest."""
    count = int(np.floor(largest / step + 1e-9))
    grid: npt.NDArray[np.float64] = step * np.arange(-count, count + 1, dtype=np.float64)
    return grid
