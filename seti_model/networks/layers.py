"""What the shipped families build alike: layers whose first weights depend on seed and name alone."""

from __future__ import annotations

from typing import Any

import keras

from seti_model.runtime import derive_seed


def drawn(seed: int, name: str) -> Any:
    """Return Keras's usual initialiser, its draw a function of seed and name."""
    return keras.initializers.GlorotUniform(seed=derive_seed(seed, name))


def dense(name: str, units: int, seed: int, *, precision: str = "float32", activation: str | None = None) -> Any:
    """Return a dense layer of that name."""
    return keras.layers.Dense(units, activation, kernel_initializer=drawn(seed, name), dtype=precision, name=name)
