"""The course network built from stock Keras layers only, so that what is trained is also what is exported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from seti_model.config import NetworkConfig
from seti_model.errors import ConfigError
from seti_model.runtime import derive_seed

BATCH_NORM_EPSILON = 1e-3  # Keras's default, as in the course
Shape = tuple[int, int, int]  # n_time, n_freq, channels


@dataclass(frozen=True)
class PixelScale:
    """Mean and deviation of the training pixels after division by 255; used when `network.standardise` is set."""

    mean: float = 0.0
    deviation: float = 1.0


def build_network(
    config: NetworkConfig,
    shape: Shape,
    n_classes: int,
    *,
    seed: int,
    pixels: PixelScale,
    precision: str = "float32",
) -> keras.Sequential:
    """Build the network; input are pixel values 0..255 (n, n_time, n_freq, channels), output probabilities float32.

    Every layer carries its name, its initialiser's seed and its dtype policy: nothing depends on Keras's global
    state, which other trainings of the same process change. Scaling and softmax stay in float32 at any precision.

    Raises:
        ConfigError: The image is too small for the number of blocks, or there are fewer than two classes.
    """
    _require_room(config, shape, n_classes)
    layers: list[Any] = [
        keras.Input(shape=shape, dtype="float32", name="pixels"),
        keras.layers.Rescaling(1 / 255, dtype="float32", name="rescale"),
    ]
    if config.standardise:
        variance = pixels.deviation**2
        layers.append(
            keras.layers.Normalization(
                axis=None, mean=pixels.mean, variance=variance, dtype="float32", name="standardise"
            )
        )
    for block, filters in enumerate(config.filters, start=1):
        layers += _block(config, block, filters, seed, precision)
    layers += _head(config, n_classes, seed, precision)
    network = keras.Sequential(layers, name="seti_cnn")
    network.trainable = True
    return network


def named_weights(network: keras.Sequential) -> dict[str, Any]:
    """Return every weight, moving statistics included, as a Keras variable by `<layer>/<variable>`."""
    return {f"{layer.name}/{weight.name}": weight for layer in network.layers for weight in layer.weights}


def _block(config: NetworkConfig, block: int, filters: int, seed: int, precision: str) -> list[Any]:
    name = f"block_{block}"
    return [
        keras.layers.Conv2D(
            filters,
            config.kernel,
            padding="same",
            kernel_initializer=keras.initializers.GlorotUniform(seed=derive_seed(seed, name)),
            dtype=precision,
            name=f"{name}_conv",
        ),
        _batch_norm(config, name, precision),
        keras.layers.ReLU(dtype=precision, name=f"{name}_relu"),
        keras.layers.MaxPooling2D(2, dtype=precision, name=f"{name}_pool"),
        keras.layers.Dropout(
            config.conv_dropout, seed=derive_seed(seed, name, "dropout"), dtype=precision, name=f"{name}_dropout"
        ),
    ]


def _head(config: NetworkConfig, n_classes: int, seed: int, precision: str) -> list[Any]:
    return [
        keras.layers.Flatten(dtype=precision, name="flatten"),
        _dense("dense", config.dense_units, seed, precision),
        _batch_norm(config, "dense", precision),
        keras.layers.ReLU(dtype=precision, name="dense_relu"),
        keras.layers.Dropout(
            config.dense_dropout, seed=derive_seed(seed, "dense", "dropout"), dtype=precision, name="dense_dropout"
        ),
        _dense("logits", n_classes, seed, "float32"),
        # Apart from the dense layer, so that the loss is computed from logits and cannot overflow.
        keras.layers.Activation("softmax", dtype="float32", name="probabilities"),
    ]


def _dense(name: str, units: int, seed: int, precision: str) -> Any:
    initializer = keras.initializers.GlorotUniform(seed=derive_seed(seed, name))
    return keras.layers.Dense(units, kernel_initializer=initializer, dtype=precision, name=name)


def _batch_norm(config: NetworkConfig, name: str, precision: str) -> Any:
    return keras.layers.BatchNormalization(
        momentum=config.batch_norm_momentum, epsilon=BATCH_NORM_EPSILON, dtype=precision, name=f"{name}_norm"
    )


def _require_room(config: NetworkConfig, shape: Shape, n_classes: int) -> None:
    n_time, n_freq, _ = shape
    smallest = 2**config.blocks
    if min(n_time, n_freq) < smallest:
        raise ConfigError(
            f"network.blocks={config.blocks} halves the image {config.blocks} times and needs at least "
            f"{smallest}x{smallest} pixels, the data set has {n_time}x{n_freq}; choose fewer blocks"
        )
    if n_classes < 2:
        raise ConfigError(f"the data set has {n_classes} class, a classifier needs at least 2; check class_names")
