"""A network, its optimiser and its data while they are trained: runs epochs, recomputes statistics, validates."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.config import BALANCED, Configuration
from seti_model.data.dataset import Images, Split, TrainingData
from seti_model.errors import ConfigError
from seti_model.exported import InitialModel, start_from
from seti_model.network import PixelScale, Shape, build_network, named_weights
from seti_model.training.arrays import Array, Arrays
from seti_model.training.augment import augment_batch, epoch_order
from seti_model.training.kernels import FusedAdam, Graph, Moments
from seti_model.training.outcome import Diverged
from seti_model.training.steps import INFERENCE_BATCH, TrainingSteps, compile_inference, moving_moments, weight_values

WARM_UP, LATENCY_RUNS = 5, 50  # predictions of one image: not counted, and counted
LATENCY_S = 5.0  # or as many as fit


@dataclass(frozen=True)
class Validation:
    """Loss in nats, accuracy and probabilities float32 (n_validation, n_classes)."""

    loss: float
    accuracy: float
    probabilities: npt.NDArray[np.float32]


class Session:
    """One network on one data set; its state after an epoch is a function of what it is made with alone."""

    def __init__(
        self, configuration: Configuration, data: TrainingData, *, seed: int, initial: InitialModel | None = None
    ) -> None:
        self._configuration, self._data, self._seed = configuration, data, seed
        shape: Shape = data.train.images.shape[1:]
        self.pixels = _scale(configuration, data, initial)
        self._network = build_network(configuration, shape, len(data.class_names), seed=seed, pixels=self.pixels)
        if initial is not None:
            frozen = configuration.training.frozen_blocks
            start_from(self._network, initial, class_names=data.class_names, frozen_blocks=frozen)
        self.parameters: int = self._network.count_params()
        names = {id(weight): name for name, weight in named_weights(self._network).items()}
        trainable = {names[id(weight)]: weight.value for weight in self._network.trainable_variables}
        self._batches = math.ceil(len(data.train.labels) / configuration.training.batch_size)
        batches = configuration.training.epochs * self._batches
        self._optimizer = FusedAdam(configuration.training, trainable, batches=batches)
        pixels = tf.as_dtype(data.train.images.dtype)
        self._graph = Graph(self._network)
        weights = class_weights(data) if configuration.training.class_weights == BALANCED else None
        self._steps = TrainingSteps(self._graph, self._optimizer, seed=seed, pixels=pixels, class_weights=weights)
        self._infer = compile_inference(self._graph, pixels)

    def run_epoch(self, epoch: int, train: Split) -> tuple[float, float]:
        """Train one epoch (from 1); return the mean loss and the accuracy over its images as they were trained.

        Args:
            epoch: From 1.
            train: Its images, prepared; as many in every epoch.

        Raises:
            Diverged: The loss of a batch is not finite; noticed at the latest when the next batch has been run.
        """
        order = epoch_order(len(train.labels), seed=self._seed, epoch=epoch)
        totals = np.zeros(2)
        pending: tuple[int, int, tf.Tensor] | None = None
        for batch, chosen in enumerate(_chunks(order, self._configuration.training.batch_size)):
            images = augment_batch(
                train.images[chosen],
                self._configuration.augment,
                seed=self._seed,
                epoch=epoch,
                batch=batch,
                mirrors_rest=self._configuration.preparation.mirrors_rest,
            )
            labels = train.labels[chosen].astype(np.int32)
            step = np.int64((epoch - 1) * self._batches + batch)
            outcome = self._steps.train_batch(images, labels, step)
            # Read one batch late, so that a GPU works while the next batch is made.
            totals += _finite_totals(epoch, pending)
            pending = (batch, len(chosen), outcome)
        totals += _finite_totals(epoch, pending)
        loss, accuracy = totals / len(order)
        return float(loss), float(accuracy)

    def learning_rate(self, epoch: int) -> float:
        """Return the rate of the last batch of `epoch`."""
        return float(self._optimizer.learning_rate(tf.constant(epoch * self._batches - 1, tf.int64)))

    def statistics(self) -> dict[str, Moments]:
        """Return batch-normalisation statistics for validation: recomputed, or the moving averages if set to 0.

        Recomputed over the same training images each time, as validation sees images: not augmented, without
        dropout. Each layer sees its predecessors normalised by their own batch, as in training; mean and variance
        are those of all batches pooled.
        """
        config = self._configuration.training
        if config.recalibration_batches == 0:
            return moving_moments(self._graph)
        images = self._data.train.images
        order = epoch_order(len(images), seed=self._seed, epoch=0)
        whole = max(len(order) // config.batch_size, 1)  # a partial batch would count as much as a whole one
        chosen = order[: min(whole, config.recalibration_batches) * config.batch_size]
        batches = [self._steps.batch_moments(images[some]) for some in _chunks(chosen, config.batch_size)]
        recomputed = {name: _pooled([batch[name] for batch in batches]) for name in batches[0]}
        return moving_moments(self._graph) | recomputed  # those of frozen blocks stay

    def validate(self, epoch: int, moments: dict[str, Moments]) -> Validation:
        """Predict the validation split with the given statistics.

        Raises:
            Diverged: The loss is not finite.
        """
        split: Split = self._data.validation
        labels = np.asarray(split.labels, dtype=np.int64)
        parts = [self._infer(images, moments) for images in _image_chunks(split.images)]
        probabilities = np.concatenate([np.asarray(part[0]) for part in parts])
        logarithms = np.concatenate([np.asarray(part[1]) for part in parts])
        loss = -float(np.mean(logarithms[np.arange(len(labels)), labels], dtype=np.float64))
        if not math.isfinite(loss):
            raise Diverged(epoch, None, f"epoch {epoch}: the validation loss is {loss}, not a finite number")
        return Validation(loss, float(np.mean(probabilities.argmax(axis=1) == labels)), probabilities)

    def latency_ms(self) -> float:
        """Measure how long one image takes to predict on the threads of this process: the median, in milliseconds."""
        image, moments, times = self._data.validation.images[:1], moving_moments(self._graph), list[float]()
        until = time.perf_counter() + LATENCY_S
        while len(times) < WARM_UP + LATENCY_RUNS and (len(times) <= WARM_UP or time.perf_counter() < until):
            start = time.perf_counter()
            np.asarray(self._infer(image, moments)[0])
            times.append(time.perf_counter() - start)
        return 1000 * statistics.median(times[WARM_UP:])

    def weights(self, moments: dict[str, Moments] | None = None) -> Arrays:
        """Return copies of all weights, with `moments` in place of the moving averages if given."""
        weights = weight_values(self._network)
        for layer, known in (moments or {}).items():
            weights[f"{layer}/moving_mean"] = np.asarray(known.mean)
            weights[f"{layer}/moving_variance"] = np.asarray(known.variance)
        return weights

    def state(self) -> Iterator[tuple[str, Array]]:
        """Yield weights and moments one by one: all that changes from batch to batch."""
        for name, weight in named_weights(self._network).items():
            yield f"weights/{name}", weight.value.numpy()
        for number, variable in enumerate(self._graph.states):
            yield f"states/{number}", variable.value.numpy()
        yield from self._optimizer.state()

    def restore(self, state: Arrays) -> None:
        """Set what `state` gave."""
        for name, weight in named_weights(self._network).items():
            weight.assign(state[f"weights/{name}"])
        for number, variable in enumerate(self._graph.states):
            variable.assign(state[f"states/{number}"])
        self._optimizer.restore(state)


def class_weights(data: TrainingData) -> npt.NDArray[np.float32]:
    """Return a weight for each class, float32 (n_classes,), by which all classes of the training split count the same.

    It is n / (n_classes * n_class), whose mean over the images is one where every class occurs, as of
    `sklearn.utils.class_weight`; 1 for a class that does not occur.
    """
    counts = np.bincount(data.train.labels.astype(np.int64), minlength=len(data.class_names))
    weights = len(data.train.labels) / (np.count_nonzero(counts) * np.maximum(counts, 1))
    return np.where(counts > 0, weights, 1.0).astype(np.float32)


def pixel_scale(images: Images) -> PixelScale:
    """Return mean and deviation of all pixels / 255, of uint8 from whole-number counts: exact in any order."""
    if images.dtype != np.uint8:
        return PixelScale(float(images.mean(dtype=np.float64)) / 255, float(images.std(dtype=np.float64)) / 255)
    counts = np.zeros(256, dtype=np.int64)
    for some in _image_chunks(images):
        counts += np.bincount(some.ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(np.average(values, weights=counts))
    return PixelScale(mean, float(np.sqrt(np.average((values - mean) ** 2, weights=counts))))


def _scale(configuration: Configuration, data: TrainingData, initial: InitialModel | None) -> PixelScale:
    if initial is not None:
        return initial.scale(configuration.network)
    if configuration.training.frozen_blocks:
        raise ConfigError(
            f"training.frozen_blocks={configuration.training.frozen_blocks}: blocks can only be kept as an earlier "
            "model has them; name one with init_from or set it to 0"
        )
    return pixel_scale(data.train.images) if configuration.network.standardise else PixelScale()


def _chunks(order: npt.NDArray[np.int64], size: int) -> Iterator[npt.NDArray[np.int64]]:
    for start in range(0, len(order), size):
        yield order[start : start + size]


def _image_chunks(images: Images) -> Iterator[Images]:
    for start in range(0, len(images), INFERENCE_BATCH):
        yield np.asarray(images[start : start + INFERENCE_BATCH])


def _finite_totals(epoch: int, pending: tuple[int, int, tf.Tensor] | None) -> npt.NDArray[np.float64]:
    """Return the sum of losses and the number of correct images of a batch that was run."""
    if pending is None:
        return np.zeros(2)
    batch, size, outcome = pending
    loss, correct = (float(value) for value in outcome.numpy())
    if not math.isfinite(loss):
        raise Diverged(epoch, batch, f"epoch {epoch}, batch {batch}: the training loss is {loss}, not a finite number")
    return np.array([loss * size, correct])


def _pooled(batches: list[Any]) -> Moments:
    means = np.array([batch.mean.numpy() for batch in batches], dtype=np.float64)
    variances = np.array([batch.variance.numpy() for batch in batches], dtype=np.float64)
    # The spread of the batches' means belongs to the variance of all; unlike E[x²]-E[x]² this cannot cancel.
    variance = variances.mean(axis=0) + means.var(axis=0)
    return Moments(means.mean(axis=0).astype(np.float32), variance.astype(np.float32))
