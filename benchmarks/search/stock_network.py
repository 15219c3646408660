"""The course network as one writes it with stock Keras, trained with `model.fit`; nothing of ours is in it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy.typing as npt
import tensorflow as tf

from benchmarks.search.setting import BATCH

KERNEL = 5
CLASSES = 4
DECAY_STEPS = 5  # batches, as in the course
STOCK_MOMENTUM = 0.99  # Keras's default for batch normalisation


def one_thread() -> None:
    """Give TensorFlow the one thread that each worker has; two workers with two each would only be in their way."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def build(values: Mapping[str, Any], shape: tuple[int, ...], *, dense_units: int, momentum: float) -> keras.Model:
    """Return the compiled network of a point of the space."""

    def block(filters: int) -> list[keras.layers.Layer]:
        return [
            keras.layers.Conv2D(filters, KERNEL, padding="same"),
            keras.layers.BatchNormalization(momentum=momentum),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
            keras.layers.Dropout(values["network.conv_dropout"]),
        ]

    model = keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            *block(values["network.filters_1"]),
            *block(values["network.filters_2"]),
            keras.layers.Flatten(),
            keras.layers.Dense(dense_units),
            keras.layers.BatchNormalization(momentum=momentum),
            keras.layers.ReLU(),
            keras.layers.Dropout(values["network.dense_dropout"]),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )
    rate = keras.optimizers.schedules.ExponentialDecay(
        values["training.learning_rate"], DECAY_STEPS, values["training.decay_rate"], staircase=True
    )
    model.compile(optimizer=keras.optimizers.Adam(rate), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def fit(
    model: keras.Model,
    arrays: Mapping[str, npt.NDArray[Any]],
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Any:
    """Train with random mirroring along frequency, as the course does; return Keras's history."""
    pairs = tf.data.Dataset.from_tensor_slices((arrays["train_images"], arrays["train_labels"]))
    batches = pairs.shuffle(len(arrays["train_labels"])).batch(BATCH)
    batches = batches.map(lambda images, labels: (tf.image.random_flip_left_right(images), labels))
    return model.fit(
        batches,
        epochs=epochs,
        validation_data=(arrays["validation_images"], arrays["validation_labels"]),
        callbacks=list(callbacks),
        verbose=0,
    )
