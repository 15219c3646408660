"""The course's network, and deeper ones of the same kind."""

from __future__ import annotations

from typing import Any

import keras

from seti_model.config import NetworkConfig
from seti_model.errors import ConfigError
from seti_model.networks.layers import dense, drawn
from seti_model.runtime import derive_seed

BATCH_NORM_EPSILON = 1e-3  # Keras's default, as in the course


def build(
    config: NetworkConfig, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Sequential:
    """Build blocks of convolutions, a dense layer, and the logits.

    Raises:
        ConfigError: The image is too small for the number of blocks.
    """
    _require_room(config, shape)
    layers: list[Any] = []
    for block, filters in enumerate(config.filters, start=1):
        layers += _block(config, block, filters, seed, precision)
    layers += [
        keras.layers.Flatten(dtype=precision, name="flatten"),
        dense("dense", config.dense_units, seed, precision=precision),
        _batch_norm(config, "dense", precision),
        keras.layers.ReLU(dtype=precision, name="dense_relu"),
        keras.layers.Dropout(
            config.dense_dropout, seed=derive_seed(seed, "dense", "dropout"), dtype=precision, name="dense_dropout"
        ),
        dense("logits", n_classes, seed),
    ]
    return keras.Sequential([keras.Input(shape), *layers])


def _block(config: NetworkConfig, block: int, filters: int, seed: int, precision: str) -> list[Any]:
    name = f"block_{block}"
    return [
        keras.layers.Conv2D(
            filters,
            config.kernel,
            padding="same",
            kernel_initializer=drawn(seed, name),
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


def _batch_norm(config: NetworkConfig, name: str, precision: str) -> Any:
    return keras.layers.BatchNormalization(
        momentum=config.batch_norm_momentum, epsilon=BATCH_NORM_EPSILON, dtype=precision, name=f"{name}_norm"
    )


def _require_room(config: NetworkConfig, shape: tuple[int, int, int]) -> None:
    n_time, n_freq, _ = shape
    smallest = 2**config.blocks
    if min(n_time, n_freq) < smallest:
        raise ConfigError(
            f"network.blocks={config.blocks} halves the image {config.blocks} times and needs at least "
            f"{smallest}x{smallest} pixels, the data set has {n_time}x{n_freq}; choose fewer blocks"
        )
