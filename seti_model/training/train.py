"""Train one configuration: a bit-for-bit function of configuration, seed, data and thread count. Knows no Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil

from seti_model.config import Configuration
from seti_model.data.dataset import TrainingData
from seti_model.data.fresh import TrainingImages
from seti_model.data.prepare import prepare_data
from seti_model.errors import CheckpointError
from seti_model.exported import load_initial
from seti_model.runtime import outside_heap, process_setup, release_memory, trim_heap
from seti_model.training.arrays import Arrays, digest_arrays
from seti_model.training.checkpoint import (
    ACCURACY,
    Identity,
    TrainingState,
    load_checkpoint,
    prune_checkpoints,
    save_checkpoint,
)
from seti_model.training.outcome import Criterion, EpochResult, TrainedNetwork, TrainingResult
from seti_model.training.trainer import Session, Validation


@dataclass(frozen=True)
class Checkpoints:
    """Where and when a training writes its checkpoints; one training at a time to a folder.

    Of the last `keep` an older one is removed when `on_epoch` has returned for its successor. One is written when the
    last one cost at most `share` of the time since, by default after every epoch, and in any case after `epochs` and
    after the last epoch.
    """

    folder: Path
    keep: int = 1
    share: float = math.inf
    epochs: Sequence[int] = ()

    def __post_init__(self) -> None:
        """Refuse to keep none.

        Raises:
            CheckpointError: `keep` is below 1.
        """
        if self.keep < 1:
            raise CheckpointError(f"keep={self.keep}: at least one checkpoint must be kept to continue from")


@dataclass(frozen=True)
class BuiltNetwork:
    """A network before its first epoch: its weights, counted, and what measures how long an image takes."""

    parameters: int
    latency_ms: Callable[[], float]


def train(
    configuration: Configuration,
    data: TrainingData,
    *,
    seed: int,
    on_epoch: Callable[[EpochResult], bool] | None = None,
    checkpoints: Checkpoints | None = None,
    init_from: Path | None = None,
    resume_from: Path | None = None,
    criterion: Criterion | None = None,
    on_built: Callable[[BuiltNetwork], None] | None = None,
) -> TrainingResult:
    """Train to `configuration.training.epochs`, or until `on_epoch` returns True; keep the best weights.

    Best is the first epoch of the highest validation accuracy, or of what the criterion computes. The same
    configuration, seed, data, initial weights and thread count give the same weights to the last bit, also in a process
    that trained something else before, and whether run straight through or continued from a checkpoint of any epoch.

    Args:
        configuration: What is trained; may have more epochs than the checkpoint it continues.
        data: Training and validation split.
        seed: Of weights, order, augmentation and dropout.
        on_epoch: Called after each epoch's validation and checkpoint. What it raises is passed on.
        checkpoints: Where and when they are written; None for none.
        init_from: A model.keras written by `export_model`, to start from its weights and its pixel scale instead of
            from scratch; where the class names differ the softmax layer starts afresh. Its first
            `training.frozen_blocks` blocks stay as they are there, statistics included. Given again to continue.
        resume_from: The checkpoint (folder of an epoch) to continue; it may lie elsewhere.
        criterion: What is highest at the best epoch; None for the accuracy.
        on_built: Called before the first epoch. What it raises is passed on.

    Raises:
        Diverged: A loss is not finite.
        ConfigError: The network does not fit the images, or blocks are to be frozen and there is no `init_from`.
        ModelError: `init_from` cannot be read, or its layers do not fit the network.
        CheckpointError: A checkpoint cannot be written, is damaged or belongs to another training.
        ProcessError: `prepare_process` has not been called.
    """
    release_memory()  # of a training that ended in an exception, now that its traceback is gone
    training = _Training(configuration, data, seed, init_from, criterion)
    trim_heap()  # a network needs its size three times while it is built
    with contextlib.closing(training):
        if on_built is not None:
            on_built(training.network)
        if resume_from is not None:
            training.resume(resume_from)
        stop = False
        while training.epochs_done < configuration.training.epochs and not stop:
            epoch = training.run_epoch()
            if checkpoints is not None and (
                epoch.epoch in (configuration.training.epochs, *checkpoints.epochs)
                or training.checkpoint_is_due(checkpoints.share)
            ):
                epoch = training.save(checkpoints.folder)
            stop = on_epoch is not None and on_epoch(epoch)
            if checkpoints is not None and epoch.checkpoint is not None:
                prune_checkpoints(epoch.checkpoint.path, checkpoints.keep)
    result = training.result()
    del training
    release_memory()
    return result


class _Training:
    """The bookkeeping around a session: history, best epoch, checkpoints."""

    def __init__(
        self,
        configuration: Configuration,
        data: TrainingData,
        seed: int,
        init_from: Path | None,
        criterion: Criterion | None,
    ) -> None:
        threads = process_setup().threads
        self._shape = data.train.images.shape[1:]  # before they are prepared
        start = time.perf_counter()
        stored, data = data, prepare_data(data, configuration.preparation)
        self._prepare_seconds = time.perf_counter() - start if configuration.preparation.steps else 0.0
        start = time.perf_counter()
        self._configuration, self._data = configuration, data
        epochs = configuration.training.epochs
        self._images = TrainingImages(stored, data.train, configuration.preparation, epochs=epochs)
        initial = None if init_from is None else load_initial(init_from)
        self._session = Session(configuration, data, seed=seed, initial=initial)
        self._build_seconds = time.perf_counter() - start
        init_digest = None if initial is None else initial.digest
        self._criterion = criterion
        name = ACCURACY if criterion is None else criterion.name
        self._identity = Identity(configuration.to_mapping(), seed, data.digest, threads, init_digest, name)
        self._history: list[EpochResult] = []
        self._best: TrainedNetwork | None = None
        self._best_probabilities: npt.NDArray[np.float32] = np.empty((0, 0), np.float32)
        self._since_checkpoint = time.perf_counter()
        self._checkpoint_seconds = 0.0  # what the last one cost
        self._same_best: Path | None = None  # the last checkpoint, while its best epoch is still the best

    @property
    def network(self) -> BuiltNetwork:
        return BuiltNetwork(self._session.parameters, self._session.latency_ms)

    @property
    def epochs_done(self) -> int:
        return len(self._history)

    def resume(self, checkpoint: Path) -> None:
        saved = load_checkpoint(checkpoint, self._identity)
        epochs = self._configuration.training.epochs
        if len(saved.history) > epochs:
            raise CheckpointError(
                f"{checkpoint}: holds {len(saved.history)} epochs, training.epochs={epochs}; ask for at least as many"
            )
        self._session.restore(saved.state)
        self._history = list(saved.history)
        self._best = self._trained_network(saved.best.weights)
        self._best_probabilities = saved.best_probabilities
        self._same_best = checkpoint

    def run_epoch(self) -> EpochResult:
        epoch = self.epochs_done + 1
        start = time.perf_counter()
        images = self._images.epoch(epoch)  # of data without end perhaps still in the making
        times = [time.perf_counter()]
        train_loss, train_accuracy = self._session.run_epoch(epoch, images)
        times.append(time.perf_counter())
        moments = self._session.statistics()
        times.append(time.perf_counter())
        validation = self._session.validate(epoch, moments)
        times.append(time.perf_counter())
        merit = self._merit(validation)
        is_best = all(merit > _merit_of(earlier) for earlier in self._history)
        if is_best:
            self._best = self._trained_network(self._session.weights(moments))
            self._best_probabilities = validation.probabilities
            self._same_best = None
        weights_digest = digest_arrays(self._session.weights().items())
        train_seconds, recalibration_seconds, validation_seconds = np.diff(times).tolist()
        result = EpochResult(
            epoch=epoch,
            learning_rate=self._session.learning_rate(epoch),
            train_loss=train_loss,
            train_accuracy=train_accuracy,
            validation_loss=validation.loss,
            validation_accuracy=validation.accuracy,
            seconds=time.perf_counter() - start,
            train_seconds=train_seconds,
            recalibration_seconds=recalibration_seconds,
            validation_seconds=validation_seconds,
            build_seconds=self._build_seconds,
            prepare_seconds=self._prepare_seconds,
            images_per_s=len(self._data.train.labels) / train_seconds,
            resident_mb=psutil.Process().memory_info().rss / 1e6,
            is_best=is_best,
            best_epoch=epoch if is_best else self._history[-1].best_epoch,
            weights_digest=weights_digest,
            best_weights_digest=self._kept().digest,
            model_parameters=self._session.parameters,
            merit=None if self._criterion is None else merit,
            validation_correct=self._correct(validation.probabilities) if is_best else None,
            validation_probabilities=validation.probabilities if is_best and self._criterion else None,
        )
        self._build_seconds = self._prepare_seconds = 0.0
        self._history.append(result)
        return result

    def close(self) -> None:
        self._images.close()

    def checkpoint_is_due(self, share: float) -> bool:
        """Whether the last checkpoint cost at most `share` of the time since; the first one is always due."""
        return self._checkpoint_seconds <= share * (time.perf_counter() - self._since_checkpoint)

    def save(self, folder: Path) -> EpochResult:
        state = TrainingState(tuple(self._history), self._kept(), self._best_probabilities, state={})
        info = save_checkpoint(folder, self._identity, state, self._session.state(), previous=self._same_best)
        self._same_best = info.path
        self._checkpoint_seconds, self._since_checkpoint = info.seconds, time.perf_counter()
        self._history[-1] = dataclasses.replace(self._history[-1], checkpoint=info)
        return self._history[-1]

    def result(self) -> TrainingResult:
        last = self._history[-1]
        return TrainingResult(
            history=tuple(self._history),
            best=self._kept(),
            best_epoch=last.best_epoch,
            best_validation_accuracy=self._history[last.best_epoch - 1].validation_accuracy,
            last_weights_digest=last.weights_digest,
            validation_probabilities=self._best_probabilities,
            stopped=self.epochs_done < self._configuration.training.epochs,
        )

    def _trained_network(self, weights: Arrays) -> TrainedNetwork:
        kept = {name: outside_heap(array) for name, array in weights.items()}
        return TrainedNetwork(
            configuration=self._configuration,
            shape=self._shape,
            class_names=self._data.class_names,
            data_digest=self._data.digest,
            pixel_mean=self._session.pixels.mean,
            pixel_deviation=self._session.pixels.deviation,
            weights=kept,
            digest=digest_arrays(kept.items()),
            init_digest=self._identity.init_digest,
            seed=self._identity.seed,
            kind=self._data.kind,
        )

    def _merit(self, validation: Validation) -> float:
        if self._criterion is None:
            return validation.accuracy
        return self._criterion.of(self._data.validation.labels, validation.probabilities)

    def _correct(self, probabilities: npt.NDArray[np.float32]) -> tuple[bool, ...]:
        return tuple((probabilities.argmax(axis=1) == self._data.validation.labels).tolist())

    def _kept(self) -> TrainedNetwork:
        if self._best is None:
            raise RuntimeError("no epoch has been trained yet")
        return self._best


def _merit_of(epoch: EpochResult) -> float:
    return epoch.validation_accuracy if epoch.merit is None else epoch.merit
