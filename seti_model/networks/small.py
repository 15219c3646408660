"""A small CNN for aligned images: what is left to see is how a line departs from a straight one, over all rows.

Places in frequency are never pooled: the bend that separates two classes is a fraction of a pixel. Without a
convolution it is a network of two dense layers, which learns within seconds.
"""

from __future__ import annotations

import keras

from seti_model.families import SmallConfig
from seti_model.networks.layers import dense, drawn
from seti_model.runtime import derive_seed

ROWS = 4  # that the first convolution sees, and that a pooling makes one
MOMENTUM = 0.9  # of the moving averages: 0.99 trails the weights for several of these short epochs


def build(
    config: SmallConfig, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Sequential:
    """Build convolutions that pool along time as long as there are rows, two dense layers, and the logits."""
    n_time, layers = shape[0], []
    for block in range(1, config.convolutions + 1):
        name, rows = f"block_{block}", min(ROWS, n_time)
        layers += [
            keras.layers.Conv2D(
                config.filters,
                (rows, config.kernel),
                padding="same",
                kernel_initializer=drawn(seed, name),
                dtype=precision,
                name=f"{name}_conv",
            ),
            keras.layers.BatchNormalization(momentum=MOMENTUM, dtype=precision, name=f"{name}_norm"),
            keras.layers.ReLU(dtype=precision, name=f"{name}_relu"),
            keras.layers.AveragePooling2D((rows, 1), dtype=precision, name=f"{name}_pool"),
        ]
        n_time //= rows
    layers += [
        keras.layers.Flatten(dtype=precision, name="flatten"),
        keras.layers.Dense(
            config.dense_1, "relu", kernel_initializer=drawn(seed, "1"), dtype=precision, name="dense_1"
        ),
        keras.layers.Dropout(config.dropout, seed=derive_seed(seed, "dropout"), dtype=precision, name="dropout"),
        keras.layers.Dense(
            config.dense_2, "relu", kernel_initializer=drawn(seed, "2"), dtype=precision, name="dense_2"
        ),
        dense("logits", n_classes, seed),
    ]
    return keras.Sequential([keras.Input(shape), *layers])
