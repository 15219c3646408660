"""Our own kernels: the two layers Keras does slowly or with hidden state. Every other layer is called as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf
from keras.layers import BatchNormalization, Dropout

from seti_model.network import named_layers
from seti_model.runtime import derive_seed


class Moments(NamedTuple):  # a tuple, because TensorFlow takes and returns no dataclass
    """Mean and biased variance per channel, float32 (channels,)."""

    mean: tf.Tensor
    variance: tf.Tensor


Normalise = Callable[[str, BatchNormalization, tf.Tensor], tf.Tensor]
Drop = Callable[[str, Dropout, tf.Tensor], tf.Tensor]


class Graph:
    """A network as it is trained and asked: any graph of Keras layers, with two kinds of layer calculated by us.

    Batch normalisation and dropout are handed to us wherever the graph calls them, in models within the model too;
    every other layer is called as Keras calls it, and keeps its weights. Nothing of the network is copied.

    Attributes:
        network: The stock network, from pixel values 0..255 to probabilities.
        norms: Its layers of batch normalisation that are ours to calculate, by name.
        states: Variables that are no weights: what layers draw their random numbers from.
    """

    def __init__(self, network: keras.Model) -> None:
        self.network = network
        layers = dict(named_layers(network))
        names = {id(layer): name for name, layer in layers.items()}
        self.norms = {name: layer for name, layer in layers.items() if _is_ours(layer, BatchNormalization)}
        drops = [layer for layer in layers.values() if _is_ours(layer, Dropout)]
        known = {id(variable) for variable in (*network.weights, *(v for layer in drops for v in layer.variables))}
        self.states = [variable for variable in network.variables if id(variable) not in known]
        self._normalise: Normalise = _unchanged
        self._drop: Drop = _unchanged

        def replaced(layer: Any) -> Any:
            if _is_ours(layer, BatchNormalization):
                return _Handed(layer, lambda values: self._normalise(names[id(layer)], layer, values))
            if _is_ours(layer, Dropout):
                return _Handed(layer, lambda values: self._drop(names[id(layer)], layer, values))
            return layer

        self._softmax = network.layers[-1]
        up_to_logits = keras.Model(network.inputs, self._softmax.input)
        self._graph = keras.models.clone_model(up_to_logits, clone_function=replaced, recursive=True)

    def training_logits(
        self, pixels: tf.Tensor, *, seed: int, step: tf.Tensor
    ) -> tuple[tf.Tensor, dict[str, Moments], list[tf.Tensor]]:
        """Return logits with dropout and batch statistics, those statistics by the layer's name, and other losses.

        There are no statistics of frozen blocks. The dropout masks depend on `seed`, the layer and `step` (int64,
        batches from 0) alone: there is no state to save. A frozen block (its layers are not trainable) is in
        inference mode, without dropout: the statistics it came with were taken without, and dropout would change the
        variance they stand for (doi:10.1109/CVPR.2019.00279). Other losses are those that layers add for themselves.
        """
        statistics: dict[str, list[Moments]] = {}
        calls: dict[str, int] = {}

        def drop(name: str, layer: Dropout, values: tf.Tensor) -> tf.Tensor:
            calls[name] = call = calls.get(name, 0) + 1
            own = derive_seed(seed, name) if call == 1 else derive_seed(seed, name, call)
            return _drop(layer, values, tf.stack([tf.constant(own, tf.int64), step]))

        logits = self._logits(pixels, _by_batch_into(statistics), drop, training=True)
        return logits, _pooled(statistics), [tf.cast(loss, tf.float32) for loss in self._graph.losses]

    def batch_moments(self, pixels: tf.Tensor) -> dict[str, Moments]:
        """Return the statistics of one batch: earlier layers normalised by the same batch, without dropout.

        Frozen blocks are normalised by their own statistics and have none in the answer.
        """
        statistics: dict[str, list[Moments]] = {}
        self._logits(pixels, _by_batch_into(statistics), _unchanged, training=False)
        return _pooled(statistics)

    def inference(self, pixels: tf.Tensor, moments: Mapping[str, Moments]) -> tuple[tf.Tensor, tf.Tensor]:
        """Return probabilities and logits normalised by the given statistics, without dropout."""

        def normalise(name: str, layer: BatchNormalization, values: tf.Tensor) -> tf.Tensor:
            return _by_known(layer, values, moments[name])

        logits = self._logits(pixels, normalise, _unchanged, training=False)
        return self._softmax(logits), logits

    def _logits(self, pixels: tf.Tensor, normalise: Normalise, drop: Drop, *, training: bool) -> tf.Tensor:
        """Return logits float32 (n, n_classes) for pixel values 0..255."""
        self._normalise, self._drop = normalise, drop
        try:
            return tf.cast(self._graph(tf.cast(pixels, tf.float32), training=training), tf.float32)
        finally:
            self._normalise, self._drop = _unchanged, _unchanged


class _Handed(keras.layers.Layer):  # type: ignore[misc]  # Keras is untyped
    """Stands in a graph where another layer stood, and hands its input on."""

    def __init__(self, layer: keras.layers.Layer, calculate: Callable[[tf.Tensor], tf.Tensor]) -> None:
        super().__init__(name=layer.name, dtype=layer.dtype_policy, autocast=False)
        self.supports_masking = True
        self._calculate = calculate

    def call(self, values: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None) -> tf.Tensor:
        return self._calculate(values)


def _is_ours(layer: Any, kind: type[BatchNormalization] | type[Dropout]) -> bool:
    """Whether a layer is one that we calculate: not a class derived from it, nor an unusual form of it."""
    if type(layer) is not kind:
        return False
    if layer.compute_dtype == "float64" or layer.activity_regularizer is not None:
        return False
    if isinstance(layer, Dropout):
        return layer.noise_shape is None
    last = -1 if layer.input_spec is None else layer.input_spec.ndim - 1
    usual = not (layer.renorm or layer.synchronized or layer.gamma_regularizer or layer.beta_regularizer)
    return usual and layer.axis in (-1, last)


def _by_batch_into(statistics: dict[str, list[Moments]]) -> Normalise:
    def normalise(name: str, layer: BatchNormalization, values: tf.Tensor) -> tf.Tensor:
        if not layer.trainable:
            return _by_known(layer, values, Moments(layer.moving_mean.value, layer.moving_variance.value))
        planes = _four_dimensional(values)
        normalised, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            planes, *_scale_and_offset(layer), epsilon=layer.epsilon, is_training=True
        )
        # The kernel applies Bessel's correction to the variance it returns, Keras's moving variance does not.
        count = tf.cast(tf.reduce_prod(tf.shape(planes)[:3]), tf.float32)
        statistics.setdefault(name, []).append(Moments(mean, variance * ((count - 1) / count)))
        return tf.reshape(normalised, tf.shape(values))

    return normalise


def _pooled(statistics: Mapping[str, Sequence[Moments]]) -> dict[str, Moments]:
    """Return the statistics of each layer; of one that the graph calls several times, those of all calls together."""
    return {name: calls[0] if len(calls) == 1 else _together(calls) for name, calls in statistics.items()}


def _together(calls: Sequence[Moments]) -> Moments:
    means, variances = tf.stack([one.mean for one in calls]), tf.stack([one.variance for one in calls])
    variance = tf.reduce_mean(variances, axis=0) + tf.math.reduce_variance(means, axis=0)
    return Moments(tf.reduce_mean(means, axis=0), variance)


def _scale_and_offset(layer: BatchNormalization) -> tuple[tf.Tensor, tf.Tensor]:
    """Return gamma and beta, float32 (channels,), of a layer that may have neither."""
    channels = layer.moving_mean.shape
    return (
        layer.gamma.value if layer.scale else tf.ones(channels),
        layer.beta.value if layer.center else tf.zeros(channels),
    )


def _by_known(layer: BatchNormalization, values: tf.Tensor, known: Moments) -> tf.Tensor:
    normalised, _, _ = tf.compat.v1.nn.fused_batch_norm(
        _four_dimensional(values),
        *_scale_and_offset(layer),
        mean=known.mean,
        variance=known.variance,
        epsilon=layer.epsilon,
        is_training=False,
    )
    return tf.reshape(normalised, tf.shape(values))


def _four_dimensional(values: tf.Tensor) -> tf.Tensor:
    return values if values.shape.rank == 4 else tf.reshape(values, [-1, 1, 1, values.shape[-1]])


def _drop(layer: Dropout, values: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    if layer.rate == 0 or not layer.trainable:
        return values
    return tf.nn.experimental.stateless_dropout(values, layer.rate, seed, rng_alg="philox")


def _unchanged(name: str, layer: keras.layers.Layer, values: tf.Tensor) -> tf.Tensor:
    return values
