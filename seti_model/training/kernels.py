"""Our own kernels for the two layers Keras does slowly or with hidden state; every other layer is called as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import keras
import tensorflow as tf

from seti_model.runtime import derive_seed

Normalise = Callable[[keras.layers.BatchNormalization, tf.Tensor], tf.Tensor]
Drop = Callable[[keras.layers.Dropout, tf.Tensor], tf.Tensor]


class Moments(NamedTuple):  # a tuple, because TensorFlow takes and returns no dataclass
    """Mean and biased variance per channel, float32 (channels,)."""

    mean: tf.Tensor
    variance: tf.Tensor


def logits(network: keras.Sequential, pixels: tf.Tensor, *, normalise: Normalise, drop: Drop) -> tf.Tensor:
    """Walk over the layers up to the softmax; return logits float32 (n, n_classes) for pixel values 0..255."""
    values = tf.cast(pixels, tf.float32)
    for layer in network.layers[:-1]:
        if isinstance(layer, keras.layers.BatchNormalization):
            values = normalise(layer, values)
        elif isinstance(layer, keras.layers.Dropout):
            values = drop(layer, values)
        else:
            values = layer(values)
    return values


def training_logits(
    network: keras.Sequential, pixels: tf.Tensor, *, seed: int, step: tf.Tensor
) -> tuple[tf.Tensor, dict[str, Moments]]:
    """Return logits with dropout and batch statistics, and those statistics by the layer's name; none of frozen blocks.

    The dropout masks depend on `seed`, the layer and `step` (int64, batches from 0) alone: there is no state to save.
    A frozen block (its layers are not trainable) is in inference mode, without dropout: the statistics it came with
    were taken without, and dropout would change the variance they stand for (doi:10.1109/CVPR.2019.00279).
    """
    moments: dict[str, Moments] = {}

    def drop(layer: keras.layers.Dropout, values: tf.Tensor) -> tf.Tensor:
        return _drop(layer, values, tf.stack([tf.constant(derive_seed(seed, layer.name), tf.int64), step]))

    return logits(network, pixels, normalise=_by_batch_into(moments), drop=drop), moments


def batch_moments(network: keras.Sequential, pixels: tf.Tensor) -> dict[str, Moments]:
    """Return the statistics of one batch: earlier layers normalised by the same batch, without dropout.

    Frozen blocks are normalised by their own statistics and have none in the answer.
    """
    moments: dict[str, Moments] = {}
    logits(network, pixels, normalise=_by_batch_into(moments), drop=_keep)
    return moments


def inference_logits(network: keras.Sequential, pixels: tf.Tensor, moments: Mapping[str, Moments]) -> tf.Tensor:
    """Return logits normalised by the given statistics, without dropout."""

    def normalise(layer: keras.layers.BatchNormalization, values: tf.Tensor) -> tf.Tensor:
        return _by_known(layer, values, moments[layer.name])

    return logits(network, pixels, normalise=normalise, drop=_keep)


def batch_norms(network: keras.Sequential) -> list[keras.layers.BatchNormalization]:
    """Return the layers whose statistics the functions above take and give, first one first."""
    return [layer for layer in network.layers if isinstance(layer, keras.layers.BatchNormalization)]


def _by_batch_into(moments: dict[str, Moments]) -> Normalise:
    def normalise(layer: keras.layers.BatchNormalization, values: tf.Tensor) -> tf.Tensor:
        if not layer.trainable:
            return _by_known(layer, values, Moments(layer.moving_mean.value, layer.moving_variance.value))
        planes = _four_dimensional(values)
        normalised, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            planes, layer.gamma.value, layer.beta.value, epsilon=layer.epsilon, is_training=True
        )
        # The kernel applies Bessel's correction to the variance it returns, Keras's moving variance does not.
        count = tf.cast(tf.reduce_prod(tf.shape(planes)[:3]), tf.float32)
        moments[layer.name] = Moments(mean, variance * ((count - 1) / count))
        return tf.reshape(normalised, tf.shape(values))

    return normalise


def _by_known(layer: keras.layers.BatchNormalization, values: tf.Tensor, known: Moments) -> tf.Tensor:
    normalised, _, _ = tf.compat.v1.nn.fused_batch_norm(
        _four_dimensional(values),
        layer.gamma.value,
        layer.beta.value,
        mean=known.mean,
        variance=known.variance,
        epsilon=layer.epsilon,
        is_training=False,
    )
    return tf.reshape(normalised, tf.shape(values))


def _four_dimensional(values: tf.Tensor) -> tf.Tensor:
    return values if values.shape.rank == 4 else tf.reshape(values, [-1, 1, 1, values.shape[-1]])


def _drop(layer: keras.layers.Dropout, values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    if layer.rate == 0 or not layer.trainable:
        return values
    return tf.nn.experimental.stateless_dropout(values, layer.rate, seed, rng_alg="philox")


def _keep(layer: keras.layers.Dropout, values: tf.Tensor) -> tf.Tensor:
    return values
