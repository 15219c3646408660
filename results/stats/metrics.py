"""How well a network classifies: accuracy, loss, per-class numbers and confusion, as records, text and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from results.stats.intervals import wilson_interval
from results.text import csv_cell

# Softmax in bfloat16 or read back from six decimals does not add up to one exactly.
SUM_TOLERANCE = 1e-2
# Keras clips probabilities here, so that a loss of this module and one of a training agree.
PROBABILITY_FLOOR = 1e-7


class MetricsError(ValueError):
    """Labels or probabilities that do not fit together: the message names the row and what is expected."""


@dataclass(frozen=True)
class ClassificationMetrics:
    """Numbers of one network on one split; tuples run over the classes in the order of `class_names`.

    `accuracy_low..accuracy_high` is the 95 % Wilson interval; `loss` is the mean cross-entropy in nats, with
    probabilities of at least 1e-7. Rows of `confusion` are the true classes, columns the predicted ones. Where a
    number has no meaning it is NaN: the precision of a class never predicted, the recall of a class that does not
    occur, the F1 of one that does neither; `macro_f1` is the mean of the others. A class that occurs and is never
    found has an F1 of 0.
    """

    class_names: tuple[str, ...]
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    loss: float
    precision: tuple[float, ...]
    recall: tuple[float, ...]
    f1: tuple[float, ...]
    support: tuple[int, ...]
    macro_f1: float
    confusion: tuple[tuple[int, ...], ...]


def classification_metrics(
    y_true: npt.NDArray[Any], y_prob: npt.NDArray[Any], class_names: Sequence[str]
) -> ClassificationMetrics:
    """Evaluate predicted probabilities against the truth.

    Args:
        y_true: Class indices, integer (n,).
        y_prob: Probability of every class, float (n, n_classes); the prediction is the largest, the first of equals.
        class_names: One name per column of `y_prob`.

    Raises:
        MetricsError: Shapes that do not fit, no image, a label outside the classes, a row that is no
            probability distribution.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    names = tuple(class_names)
    truth, probabilities = check_predictions(np.asarray(y_true), np.asarray(y_prob), names)
    labels, predicted = list(range(len(names))), probabilities.argmax(axis=1)
    n, correct = int(truth.size), int(np.sum(predicted == truth))
    low, high = wilson_interval(correct, n)
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, labels=labels, average=None, zero_division=np.nan
    )
    of_truth = np.maximum(probabilities[np.arange(n), truth], PROBABILITY_FLOOR)
    return ClassificationMetrics(
        class_names=names,
        n=n,
        accuracy=correct / n,
        accuracy_low=low,
        accuracy_high=high,
        loss=float(-np.log(of_truth).mean()),
        precision=tuple(map(float, precision)),
        recall=tuple(map(float, recall)),
        f1=tuple(map(float, f1)),
        support=tuple(map(int, support)),
        macro_f1=float(np.nanmean(f1)),
        confusion=tuple(tuple(map(int, row)) for row in confusion_matrix(truth, predicted, labels=labels)),
    )


def check_predictions(
    truth: npt.NDArray[Any], probabilities: npt.NDArray[Any], names: tuple[str, ...]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """Return labels, int64 (n,), and probabilities, float64 (n, n_classes), whose rows add up to one exactly.

    Raises:
        MetricsError: As for `classification_metrics`.
    """
    classes = len(names)
    if classes < 2 or len(set(names)) != classes:
        raise MetricsError(f"class_names={names!r}: expected at least two different names; name every class once")
    if probabilities.ndim != 2 or probabilities.shape[1] != classes:
        raise MetricsError(
            f"y_prob: shape {probabilities.shape}, expected (n, {classes}) for {', '.join(names)}; "
            "use the class names of the data set the network was trained on"
        )
    if truth.shape != probabilities.shape[:1] or truth.size == 0:
        raise MetricsError(
            f"y_true: shape {truth.shape}, expected ({len(probabilities)},) as y_prob has rows, and at least one; "
            "predict the whole split"
        )
    if not np.issubdtype(truth.dtype, np.integer):
        raise MetricsError(f"y_true: {truth.dtype}, expected integer class indices; convert one-hot rows with argmax")
    _refuse_rows(
        "y_true", (truth < 0) | (truth >= classes), truth, f"a class index in 0..{classes - 1}; check the labels"
    )
    values = probabilities.astype(np.float64)
    # Written so that NaN counts as bad.
    in_range = ((values >= 0) & (values <= 1 + SUM_TOLERANCE)).all(axis=1)
    bad = ~(in_range & (np.abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE))
    _refuse_rows("y_prob", bad, probabilities, "probabilities that add up to 1; apply softmax, or drop the network")
    return truth.astype(np.int64), values / values.sum(axis=1, keepdims=True)


def summary_line(metrics: ClassificationMetrics) -> str:
    """Return accuracy with its interval, loss and number of images in one line."""
    return (
        f"accuracy {metrics.accuracy:.3f} (95 % {metrics.accuracy_low:.3f} to {metrics.accuracy_high:.3f}), "
        f"cross-entropy {metrics.loss:.3f}, {metrics.n} images"
    )


def report_text(metrics: ClassificationMetrics) -> str:
    """Return the numbers as aligned columns for a terminal, without a final line feed."""
    header = ["class", "precision", "recall", "F1", "images"]
    table = [header, *_class_rows(metrics), ["mean", "", "", _number(metrics.macro_f1), str(metrics.n)]]
    confusion = [["true \\ predicted", *metrics.class_names]]
    confusion += [[name, *map(str, row)] for name, row in zip(metrics.class_names, metrics.confusion, strict=True)]
    return "\n".join([summary_line(metrics), "", *_aligned(table), "", *_aligned(confusion)])


def confusion_csv(metrics: ClassificationMetrics) -> str:
    """Return the confusion matrix with names as CSV, rows true and columns predicted."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["true_class", *map(csv_cell, metrics.class_names)])
    for name, row in zip(metrics.class_names, metrics.confusion, strict=True):
        writer.writerow([csv_cell(name), *row])
    return text.getvalue()


def _refuse_rows(name: str, bad: npt.NDArray[np.bool_], values: npt.NDArray[Any], expected: str) -> None:
    if bad.any():
        row = int(np.argmax(bad))
        raise MetricsError(f"{name}, row {row}: {values[row].tolist()!r}, expected {expected}")


def _class_rows(metrics: ClassificationMetrics) -> list[list[str]]:
    columns = zip(metrics.class_names, metrics.precision, metrics.recall, metrics.f1, metrics.support, strict=True)
    return [[name, _number(p), _number(r), _number(f), str(images)] for name, p, r, f, images in columns]


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.3f}"


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    return [
        "  ".join(
            cell.ljust(width) if column == 0 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
