"""The steps of a preparation as operations of TensorFlow, so that a SavedModel can begin with raw pixels.

Each computes what its function in `seti_model.data` computes, to rounding; `resize` has no such operation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from seti_model.config import Preparation
from seti_model.data import align as aligning
from seti_model.data.kind import LUMINANCE


def prepare_op(images: tf.Tensor, preparation: Preparation) -> tf.Tensor:
    """Return images (n, n_time, n_freq, channels) of known shape as `prepare` returns them, float32."""
    for name, settings in preparation.steps:
        images = OPERATIONS[name](tf.cast(images, tf.float64), **settings)
    return tf.cast(images, tf.float32)


def align_op(images: tf.Tensor, *, half_width: int, shift: str, max_drift: float) -> tf.Tensor:
    """See `seti_model.data.align.align`."""
    n_time, n_freq = int(images.shape[1]), int(images.shape[2])
    values = images[..., 0] - tf.reduce_mean(images[..., 0], axis=(1, 2), keepdims=True)
    deviation = tf.math.reduce_std(values, axis=(1, 2), keepdims=True)
    values /= tf.where(deviation > 0, deviation, tf.ones_like(deviation))
    position, drift, sign = _line(values, max_drift)
    places = position[:, None] + drift[:, None] * aligning.row_times(n_time)
    signed = values * sign[:, None, None]
    if shift == "fraction":
        turns = 2 * np.pi * np.arange(n_freq // 2 + 1) / n_freq
        shifted = tf.signal.irfft(tf.signal.rfft(signed) * _turn(turns * (places - half_width)[:, :, None]), [n_freq])
        return aligning.MIDDLE + aligning.DEVIATION * shifted[:, :, : 2 * half_width + 1, None]
    whole = tf.round(places)
    by = tf.range(-half_width, half_width + 1, dtype=tf.int64)
    crop = tf.gather(signed, (tf.cast(whole, tf.int64)[:, :, None] + by) % n_freq, batch_dims=2)
    rest = tf.broadcast_to((places - whole)[:, :, None], tf.shape(crop))
    return tf.stack([aligning.MIDDLE + aligning.DEVIATION * crop, aligning.MIDDLE * (1 + 2 * rest)], axis=3)


def crop_op(images: tf.Tensor, *, n_time: int, n_freq: int) -> tf.Tensor:
    """See `seti_model.data.prepare.crop`."""
    top, left = (int(images.shape[1]) - n_time) // 2, (int(images.shape[2]) - n_freq) // 2
    return images[:, top : top + n_time, left : left + n_freq]


def grey_op(images: tf.Tensor) -> tf.Tensor:
    """See `seti_model.data.prepare.grey`."""
    if images.shape[3] == 1:
        return images
    return tf.reduce_sum(images * tf.constant(LUMINANCE, tf.float64), axis=3, keepdims=True)


def sigma_clip_op(images: tf.Tensor, *, sigma: float) -> tf.Tensor:
    """See `seti_model.data.prepare.sigma_clip`."""
    mean = tf.reduce_mean(images, axis=(1, 2, 3), keepdims=True)
    reach = sigma * tf.math.reduce_std(images, axis=(1, 2, 3), keepdims=True)
    return tf.clip_by_value(images, mean - reach, mean + reach)


OPERATIONS: Mapping[str, Callable[..., tf.Tensor]] = {
    "align": align_op,
    "crop": crop_op,
    "grey": grey_op,
    "sigma_clip": sigma_clip_op,
}


def _line(values: tf.Tensor, max_drift: float) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return position, drift and sign of the best line of standardised images (n, n_time, n_freq), float64 (n,)."""
    n_time, n_freq = int(values.shape[1]), int(values.shape[2])
    time, turns = aligning.row_times(n_time), 2 * np.pi * np.arange(n_freq // 2 + 1) / n_freq
    rows, drifts = tf.signal.rfft(values), aligning.drift_grid(max_drift)
    phases = np.exp(1j * turns[:, None, None] * time[:, None] * drifts)  # (frequency, time, drift)
    sums = tf.transpose(tf.matmul(tf.transpose(rows, (2, 0, 1)), phases), (1, 2, 0))
    profiles = tf.signal.irfft(sums, [aligning.OVERSAMPLED * n_freq])
    flat = tf.reshape(profiles, (-1, len(drifts) * aligning.OVERSAMPLED * n_freq))
    best = _first_largest(tf.abs(flat))
    sign = tf.where(
        tf.gather(flat, best, batch_dims=1) < 0, tf.constant(-1.0, tf.float64), tf.constant(1.0, tf.float64)
    )
    position = tf.cast(best % (aligning.OVERSAMPLED * n_freq), tf.float64) / aligning.OVERSAMPLED
    drift = tf.gather(tf.constant(drifts), best // (aligning.OVERSAMPLED * n_freq))
    by = np.arange(-2, 3)
    for step, drift_step in aligning.REFINED:
        places = position[:, None] + drift[:, None] * time
        turned = tf.transpose(rows * _turn(turns * places[:, :, None]), (2, 0, 1))
        along = tf.matmul(turned, np.exp(1j * turns[:, None, None] * time[:, None] * by * drift_step))
        across = np.exp(1j * turns[:, None] * by * step) * aligning.weights_of_frequencies(n_freq)[:, None]
        near = tf.math.real(tf.matmul(tf.transpose(along, (1, 2, 0)), across[None])) * sign[:, None, None]
        chosen = _first_largest(tf.reshape(near, (-1, by.size**2)))
        drift += tf.gather(tf.constant(by * drift_step), chosen // by.size)
        position += tf.gather(tf.constant(by * step), chosen % by.size)
    return position % n_freq, drift, sign


def _turn(angle: tf.Tensor) -> tf.Tensor:
    return tf.complex(tf.cos(angle), tf.sin(angle))


def _first_largest(values: tf.Tensor) -> Any:
    near = values >= tf.reduce_max(values, axis=1, keepdims=True) * (1 - 1e-9)
    return tf.argmax(tf.cast(near, tf.int32), axis=1)
