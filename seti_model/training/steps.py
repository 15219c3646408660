"""The three compiled functions of a training: one batch, the statistics of a batch, probabilities."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.network import named_weights
from seti_model.training.kernels import Graph, Moments
from seti_model.training.optimizers import FusedOptimizer

# Images at a time in validation, whatever the training's batch size: bounds the memory, keeps probabilities equal.
INFERENCE_BATCH = 64


class TrainingSteps:
    """`train_batch` and `batch_moments` of one network; built once, traced once for every batch size.

    Never through XLA: on a CPU it is several times slower than TensorFlow's own kernels.
    """

    def __init__(
        self,
        graph: Graph,
        optimizer: FusedOptimizer,
        *,
        seed: int,
        pixels: tf.DType,
        class_weights: npt.NDArray[np.float32] | None = None,
    ) -> None:
        weights = None if class_weights is None else tf.constant(class_weights, tf.float32)
        trainable = [variable.value for variable in graph.network.trainable_variables]
        constrained = [variable for variable in graph.network.trainable_variables if variable.constraint is not None]
        images = _image_spec(graph.network, pixels)

        def train_batch(pixels: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tf.Tensor:
            # Only what the trained weights act on is differentiated, so frozen blocks have no backward pass.
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(trainable)
                logits, moments, others = graph.training_logits(pixels, seed=seed, step=step)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses if weights is None else losses * tf.gather(weights, labels))
                total = tf.add_n([loss, *others]) if others else loss
            gradients = tape.gradient(total, trainable, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            optimizer.apply([tf.convert_to_tensor(gradient) for gradient in gradients], step)
            for variable in constrained:
                variable.value.assign(variable.constraint(variable.value))
            _follow(graph, moments)
            correct = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), labels)
            return tf.stack([loss, tf.reduce_sum(tf.cast(correct, tf.float32))])

        def batch_moments(pixels: tf.Tensor) -> dict[str, Moments]:
            return graph.batch_moments(pixels)

        labels, step = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int64)
        #: (pixels, labels int32, step int64) -> float32 (2,): mean loss, number of correct images.
        self.train_batch = _compiled(train_batch, images, labels, step)
        #: pixels -> statistics of the batch by the layer's name, none of frozen blocks.
        self.batch_moments = _compiled(batch_moments, images)


def compile_inference(graph: Graph, pixels: tf.DType) -> Any:
    """Return a function (pixels, moments) -> (probabilities, log-probabilities), float32 (n, n_classes)."""
    moments = {
        name: Moments(*2 * [tf.TensorSpec(layer.moving_mean.shape, tf.float32)]) for name, layer in graph.norms.items()
    }

    def infer(pixels: tf.Tensor, moments: dict[str, Moments]) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities, logits = graph.inference(pixels, moments)
        return probabilities, tf.nn.log_softmax(logits)

    return _compiled(infer, _image_spec(graph.network, pixels), moments)


def save_inference(
    network: keras.Model,
    folder: Path,
    *,
    shape: tuple[int, int, int],
    prepare: Callable[[tf.Tensor], tf.Tensor] = lambda pixels: pixels,
) -> None:
    """Write `folder`, a SavedModel of the network with its moving averages: `pixels` in, `probabilities` out.

    Its signatures are `serving_default` for float32 pixels and `uint8`; both take values 0..255.

    Args:
        network: Of which the SavedModel is made.
        folder: To be written.
        shape: Of an image as it comes: n_time, n_freq, channels.
        prepare: What is done to images before the network sees them, as operations of TensorFlow.

    Raises:
        OSError: It cannot be written.
    """
    module, graph = tf.Module(), Graph(network)
    module.weights = [variable.value for variable in network.variables]  # what a SavedModel keeps

    def signature(kind: tf.DType) -> Any:
        def infer(pixels: tf.Tensor) -> dict[str, tf.Tensor]:
            moments = {
                name: Moments(layer.moving_mean.value, layer.moving_variance.value)
                for name, layer in graph.norms.items()
            }
            return {"probabilities": graph.inference(prepare(pixels), moments)[0]}

        return _compiled(infer, tf.TensorSpec((None, *shape), kind, name="pixels"))

    signatures = {"serving_default": signature(tf.float32), "uint8": signature(tf.uint8)}
    try:
        tf.saved_model.save(module, str(folder), signatures=signatures)
    except tf.errors.OpError as error:  # "… PATH; File too large [Op:SaveV2]"
        raise OSError(error.message.split("; ")[-1].partition(" [")[0]) from error


def moving_moments(graph: Graph) -> dict[str, Moments]:
    """Return the moving averages as they stand, as arrays by the layer's name."""
    return {
        name: Moments(layer.moving_mean.value.numpy(), layer.moving_variance.value.numpy())
        for name, layer in graph.norms.items()
    }


def weight_values(network: keras.Model) -> dict[str, Any]:
    """Return copies of all weights as arrays by `<layer>/<variable>`."""
    return {name: weight.value.numpy() for name, weight in named_weights(network).items()}


def _follow(graph: Graph, moments: dict[str, Moments]) -> None:
    for name, batch in moments.items():  # none of frozen blocks
        layer = graph.norms[name]
        for average, value in ((layer.moving_mean.value, batch.mean), (layer.moving_variance.value, batch.variance)):
            average.assign(average * layer.momentum + value * (1 - layer.momentum))


def _image_spec(network: keras.Model, pixels: tf.DType) -> tf.TensorSpec:
    return tf.TensorSpec(network.input_shape, pixels)  # (None, n_time, n_freq, channels)


def _compiled(function: Any, *specs: Any) -> Any:
    compiled = tf.function(function, input_signature=specs, jit_compile=False, autograph=False)
    return compiled.get_concrete_function()  # traced now, so that tracing counts as building and happens once
