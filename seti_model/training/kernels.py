"""Our own kernels: the two layers Keras does slowly or with hidden state, and Adam with the course's decay.

Every other layer is called as it is. Adam passes over memory once per parameter; its rate decays as a staircase.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.config import TrainingConfig
from seti_model.runtime import derive_seed

Normalise = Callable[[keras.layers.BatchNormalization, tf.Tensor], tf.Tensor]
Drop = Callable[[keras.layers.Dropout, tf.Tensor], tf.Tensor]
# Keras's defaults, as in the course.
BETA_1 = 0.9
BETA_2 = 0.999
EPSILON = 1e-7


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


class FusedAdam:
    """Adam with Keras's arithmetic, done by TensorFlow's fused kernel.

    No Keras optimiser: those make several passes over memory (about twice the time of a step of the course network)
    and their path through `tf.distribute` never releases a model (keras#20552).
    Source: doi:10.48550/arXiv.1412.6980; rate of batch b: `learning_rate * decay_rate ** (b // decay_steps)`.
    """

    def __init__(self, config: TrainingConfig, variables: Mapping[str, tf.Variable]) -> None:
        self._config = config
        self._variables = dict(variables)
        self._first = {name: _zeros_like(variable) for name, variable in self._variables.items()}
        self._second = {name: _zeros_like(variable) for name, variable in self._variables.items()}

    def learning_rate(self, step: tf.Tensor) -> tf.Tensor:
        """Return the rate, float32 scalar, of batch `step` (int64, counted from 0 over the whole training)."""
        staircase = tf.cast(step // self._config.decay_steps, tf.float32)
        return self._config.learning_rate * tf.pow(tf.constant(self._config.decay_rate, tf.float32), staircase)

    def apply(self, gradients: Sequence[tf.Tensor], step: tf.Tensor) -> None:
        """Update every variable, in the order given at the start; `step` counts batches from 0."""
        batches = tf.cast(step + 1, tf.float32)
        beta_1_power = tf.pow(tf.constant(BETA_1, tf.float32), batches)
        beta_2_power = tf.pow(tf.constant(BETA_2, tf.float32), batches)
        learning_rate = self.learning_rate(step)
        for (name, variable), gradient in zip(self._variables.items(), gradients, strict=True):
            tf.raw_ops.ResourceApplyAdam(
                var=variable.handle,
                m=self._first[name].handle,
                v=self._second[name].handle,
                beta1_power=beta_1_power,
                beta2_power=beta_2_power,
                lr=learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradient,
            )

    def state(self) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        """Yield copies of both moments as `adam_m/<variable>` and `adam_v/<variable>`, one by one."""
        for name, moment in self._moments().items():
            yield name, moment.numpy()

    def restore(self, state: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Set both moments from what `state` returned."""
        for name, moment in self._moments().items():
            moment.assign(state[name])

    def _moments(self) -> dict[str, Any]:
        first = {f"adam_m/{name}": moment for name, moment in self._first.items()}
        return first | {f"adam_v/{name}": moment for name, moment in self._second.items()}


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


def _zeros_like(variable: tf.Variable) -> tf.Variable:
    return tf.Variable(tf.zeros(variable.shape, tf.float32), trainable=False)
