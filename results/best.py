"""What the best trial of a search without finals said of the validation images, and its surest errors among them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy.typing as npt

from results.files import inside
from results.log.state import TrialState
from results.predictions import Predictions, errors_by_class, read_predictions, write_examples, write_predictions
from results.run_folder import best_errors_path, best_predictions_path
from results.stats.bootstrap import DeliveredEstimates, delivered_estimates
from results.stats.metrics import ClassificationMetrics, classification_metrics

_SAME = 1e-9  # of an accuracy that is a share of counted images


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class Best:
    """A trial with what it said of the validation images at its best epoch."""

    trial: int
    predictions: Predictions

    @cached_property
    def metrics(self) -> ClassificationMetrics:
        """The usual numbers and the confusion matrix."""
        p = self.predictions
        return classification_metrics(p.y_true, p.y_prob, p.class_names)

    @cached_property
    def numbers(self) -> DeliveredEstimates:
        """Every number with its interval."""
        p = self.predictions
        return delivered_estimates(p.y_true, p.y_prob, p.class_names)


def read_best(run: Path, ranked: Sequence[TrialState]) -> Best | None:
    """Return what is kept of the first of the trials; None where that is nothing, or of an epoch before its best.

    Raises:
        RecordError: What is kept is damaged.
    """
    for trial in ranked[:1]:
        path = inside(run, best_predictions_path(trial.started.trial))
        if path.is_file() and trial.best is not None:
            found = read_predictions(path)
            if math.isclose(found.correct.mean(), trial.best.validation_accuracy, abs_tol=_SAME):
                return Best(trial.started.trial, found)
    return None


def write_best(run: Path, trial: int, predictions: Predictions, images: npt.NDArray[Any]) -> None:
    """Keep what a trial said of the validation images and, of these, the pixels of its surest errors.

    Raises:
        RecordError: A file cannot be written, or a link leads to it.
    """
    write_examples(inside(run, best_errors_path(trial)), errors_by_class(predictions, images))
    write_predictions(inside(run, best_predictions_path(trial)), predictions)
