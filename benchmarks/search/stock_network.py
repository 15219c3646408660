"""The course network as one writes it with stock Keras, and the graphs of our fast families, trained with `fit`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy.typing as npt
import tensorflow as tf

from benchmarks.search.setting import BATCH
from benchmarks.search.stock import FAMILY

Arrays = npt.NDArray[Any]
KERNEL = 5
CLASSES = 4
DECAY_STEPS = 5  # batches, as in the course


def one_thread() -> None:
    """Give TensorFlow the one thread that each worker has; two workers with two each would only be in their way."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def build(
    point: Mapping[str, Any], data: Mapping[str, Arrays], *, epochs: int, momentum: float, seed: int
) -> keras.Model:
    """Return the compiled network of a point of the space: the course's, or the graph that ours has of a family.

    Args:
        point: Of the space, with what is fixed of every configuration.
        data: Prepared for its family.
        epochs: After which a cosine ends.
        momentum: Of batch normalisation in the course's network; the graphs of the families say theirs.
        seed: Of the weights of a family; stock Keras draws those of the course's network itself.
    """
    shape = data["train_images"].shape[1:]
    model = _family(point, shape, seed) if FAMILY in point else _course(point, shape, momentum)
    model.compile(
        optimizer=keras.optimizers.Adam(
            _rate(point, len(data["train_labels"]), epochs),
            global_clipnorm=point.get("training.clip_norm") or None,
        ),
        loss="sparse_categorical_crossentropy",
        metrics=["accuracy"],
    )
    return model


def _rate(point: Mapping[str, Any], images: int, epochs: int) -> keras.optimizers.schedules.LearningRateSchedule:
    if point.get("training.schedule") == "cosine":
        steps = epochs * -(-images // point["training.batch_size"])
        return keras.optimizers.schedules.CosineDecay(point["training.learning_rate"], steps)
    return keras.optimizers.schedules.ExponentialDecay(
        point["training.learning_rate"], DECAY_STEPS, point["training.decay_rate"], staircase=True
    )


def _family(point: Mapping[str, Any], shape: tuple[int, ...], seed: int) -> keras.Model:
    from seti_model.config import Configuration
    from seti_model.network import PixelScale, build_network

    return build_network(Configuration.from_mapping(point), shape, CLASSES, seed=seed, pixels=PixelScale())


def _course(point: Mapping[str, Any], shape: tuple[int, ...], momentum: float) -> keras.Model:
    def block(filters: int) -> list[keras.layers.Layer]:
        return [
            keras.layers.Conv2D(filters, KERNEL, padding="same"),
            keras.layers.BatchNormalization(momentum=momentum),
            keras.layers.ReLU(),
            keras.layers.MaxPooling2D(2),
            keras.layers.Dropout(point["network.conv_dropout"]),
        ]

    return keras.Sequential(
        [
            keras.Input(shape),
            keras.layers.Rescaling(1 / 255),
            *block(point["network.filters_1"]),
            *block(point["network.filters_2"]),
            keras.layers.Flatten(),
            keras.layers.Dense(point["network.dense_units"]),
            keras.layers.BatchNormalization(momentum=momentum),
            keras.layers.ReLU(),
            keras.layers.Dropout(point["network.dense_dropout"]),
            keras.layers.Dense(CLASSES, activation="softmax"),
        ]
    )


def fit(
    model: keras.Model,
    arrays: Mapping[str, Arrays],
    epochs: int,
    callbacks: Sequence[keras.callbacks.Callback],
    point: Mapping[str, Any],
) -> Any:
    """Train with random mirroring along frequency, as the course does, or along both axes; return Keras's history."""

    def mirrored(images: tf.Tensor) -> tf.Tensor:
        images = tf.image.random_flip_left_right(images)
        return tf.image.random_flip_up_down(images) if point.get("augment.flip_time") else images

    pairs = tf.data.Dataset.from_tensor_slices((arrays["train_images"], arrays["train_labels"]))
    batches = pairs.shuffle(len(arrays["train_labels"])).batch(point.get("training.batch_size", BATCH))
    batches = batches.map(lambda images, labels: (mirrored(images), labels))
    return model.fit(
        batches,
        epochs=epochs,
        validation_data=(arrays["validation_images"], arrays["validation_labels"]),
        callbacks=list(callbacks),
        shuffle=False,  # it is already
        verbose=0,
    )
