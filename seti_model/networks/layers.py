"""What the shipped families build alike: layers whose first weights depend on seed and name alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras

from seti_model.runtime import derive_seed


def drawn(seed: int, name: str) -> Any:
    """Return Keras's usual initialiser, its draw a function of seed and name."""
    return keras.initializers.GlorotUniform(seed=derive_seed(seed, name))


def dense(name: str, units: int, seed: int, *, precision: str = "float32", activation: str | None = None) -> Any:
    """Return a dense layer of that name."""
    return keras.layers.Dense(units, activation, kernel_initializer=drawn(seed, name), dtype=precision, name=name)


@dataclass(frozen=True)
class Maker:
    """Layers of one network: named, drawn from its seed, at its precision."""

    seed: int
    precision: str

    def convolution(self, name: str, filters: int, kernel: int, **options: Any) -> Any:
        """Return a convolution, padded unless `options` of `keras.layers.Conv2D` say otherwise."""
        start = drawn(self.seed, name)
        options = {"padding": "same", "kernel_initializer": start, **options}
        return keras.layers.Conv2D(filters, kernel, dtype=self.precision, name=name, **options)

    def normalisation(self, name: str, momentum: float) -> Any:
        """Return a batch normalisation whose moving averages have that momentum."""
        return keras.layers.BatchNormalization(momentum=momentum, dtype=self.precision, name=name)

    def relu(self, name: str) -> Any:
        """Return a ReLU."""
        return keras.layers.ReLU(dtype=self.precision, name=name)

    def pooling(self, name: str, size: int, strides: int) -> Any:
        """Return a max pooling without padding."""
        return keras.layers.MaxPooling2D(size, strides, dtype=self.precision, name=name)

    def flat(self, name: str) -> Any:
        """Return a layer that makes one row of an image."""
        return keras.layers.Flatten(dtype=self.precision, name=name)

    def dropout(self, name: str, rate: float) -> Any:
        """Return a dropout layer."""
        return keras.layers.Dropout(rate, seed=derive_seed(self.seed, name), dtype=self.precision, name=name)
