"""What a training hands back: epochs, result, the network as plain arrays. Needs neither Keras nor TensorFlow."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.config import Configuration
from seti_model.data.kind import ImageKind
from seti_model.training.arrays import Arrays

_LEFT_OUT = ("checkpoint", "validation_correct", "validation_probabilities")


class Diverged(ArithmeticError):  # noqa: N818 - the word of the record, and of DESIGN.md
    """A loss that is not finite. `epoch` counts from 1, `batch` from 0; None means validation."""

    def __init__(self, epoch: int, batch: int | None, message: str) -> None:
        super().__init__(epoch, batch, message)  # all three, so that it survives pickling
        self.epoch = epoch
        self.batch = batch
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Criterion:
    """By what the epoch whose weights are kept is chosen: the first one of the highest value.

    `of` takes labels, integer (n_validation,), and probabilities, float32 (n_validation, n_classes).
    """

    name: str
    of: Callable[[npt.NDArray[Any], npt.NDArray[np.float32]], float]


@dataclass(frozen=True)
class CheckpointInfo:
    """A complete checkpoint on disk."""

    path: Path
    bytes: int
    digest: str  # SHA-256, hex; covers every file of the folder
    seconds: float  # spent writing it


@dataclass(frozen=True)
class EpochResult:
    """One epoch, as reported after its validation and checkpoint. Loss is categorical cross-entropy in nats."""

    epoch: int  # from 1
    learning_rate: float  # of the last batch
    train_loss: float  # mean over the epoch, with dropout and augmentation
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    seconds: float  # the whole epoch, without the checkpoint
    train_seconds: float
    recalibration_seconds: float
    validation_seconds: float
    build_seconds: float  # building and tracing; 0 but in the first epoch of a call
    images_per_s: float  # training images per second of train_seconds
    resident_mb: float  # 10**6 bytes, of the process
    is_best: bool
    best_epoch: int
    weights_digest: str  # SHA-256, hex; the weights as training goes on with them
    best_weights_digest: str  # the weights kept: statistics recomputed, as validated and exported
    model_parameters: int
    prepare_seconds: float = 0.0  # preparing images; 0 but in the first epoch of a call
    merit: float | None = None  # by which the best epoch is found, see `Criterion`; none: the validation accuracy
    validation_correct: tuple[bool, ...] | None = None  # which images were right, (n_validation,); of a new best only
    # (n_validation, n_classes); of a new best only
    validation_probabilities: npt.NDArray[np.float32] | None = dataclasses.field(default=None, compare=False)
    checkpoint: CheckpointInfo | None = None

    def to_mapping(self) -> dict[str, Any]:
        """Return plain values by field name for JSON or a table, without the checkpoint and what is of each image."""
        names = (field.name for field in dataclasses.fields(self))
        return {name: getattr(self, name) for name in names if name not in _LEFT_OUT}


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer; compare digests
class TrainedNetwork:
    """Weights with all that is needed to use them elsewhere."""

    configuration: Configuration
    shape: tuple[int, int, int]  # n_time, n_freq, channels
    class_names: tuple[str, ...]
    data_digest: str
    pixel_mean: float  # of the training pixels / 255
    pixel_deviation: float
    weights: Arrays  # by `<layer>/<variable>`
    digest: str  # SHA-256 of the weights, hex
    init_digest: str | None = None  # of the weights it was trained from; None if from scratch
    seed: int = 0  # of the training: a network of one's own may draw constants from it
    kind: ImageKind = field(default_factory=ImageKind)


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer; compare digests
class TrainingResult:
    """A training that ended: all epochs run, or stopped by `on_epoch`."""

    history: tuple[EpochResult, ...]
    best: TrainedNetwork
    best_epoch: int
    best_validation_accuracy: float
    last_weights_digest: str
    validation_probabilities: npt.NDArray[np.float32]  # (n_validation, n_classes), at the best epoch
    stopped: bool  # before the last epoch of the configuration

    @property
    def best_weights_digest(self) -> str:
        """Digest of the weights of the best epoch."""
        return self.best.digest
