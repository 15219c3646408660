"""The numbers of an evaluation are those of a table worked out by hand, and say where they have no meaning."""

import io
import math
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from results.report.parts import confusion_table
from results.stats.intervals import wilson_interval
from results.stats.metrics import (
    MetricsError,
    classification_metrics,
    confusion_csv,
    report_text,
)

NAMES = ("squiggle", "narrowband", "noise")
# True class by row, predicted class by column.
CONFUSION = np.array([[8, 1, 1], [0, 6, 4], [2, 0, 3]])


def predictions(confusion, sure=0.8):
    """Labels and probabilities that give the confusion matrix, with `sure` on the predicted class."""
    classes = len(confusion)
    pairs = [(true, found) for (true, found), n in np.ndenumerate(confusion) for _ in range(n)]
    y_true = np.array([true for true, _ in pairs])
    y_prob = np.full((len(pairs), classes), (1 - sure) / (classes - 1))
    y_prob[np.arange(len(pairs)), [found for _, found in pairs]] = sure
    return y_true, y_prob


@pytest.fixture
def metrics():
    return classification_metrics(*predictions(CONFUSION), NAMES)


def test_numbers_are_those_worked_out_by_hand(metrics):
    assert metrics.n == 25
    assert metrics.accuracy == 17 / 25
    assert (metrics.accuracy_low, metrics.accuracy_high) == wilson_interval(17, 25)
    assert metrics.precision == pytest.approx((8 / 10, 6 / 7, 3 / 8))
    assert metrics.recall == pytest.approx((8 / 10, 6 / 10, 3 / 5))
    assert metrics.f1 == pytest.approx((16 / 20, 12 / 17, 6 / 13))
    assert metrics.macro_f1 == pytest.approx((16 / 20 + 12 / 17 + 6 / 13) / 3)
    assert metrics.support == (10, 10, 5)
    assert metrics.confusion == tuple(map(tuple, CONFUSION.tolist()))
    assert metrics.loss == pytest.approx(-(17 * math.log(0.8) + 8 * math.log(0.1)) / 25)


def test_perfect_elsewhere_and_chance_on_a_pair_gives_three_quarters():
    y_true = np.repeat(np.arange(4), 200)
    y_prob = np.eye(4)[y_true]
    y_prob[200:600] = [0, 0.5, 0.5, 0]
    metrics = classification_metrics(y_true, y_prob, ("squiggle", "narrowbanddrd", "narrowband", "noise"))
    assert metrics.accuracy == 0.75  # the first of equals is the prediction
    assert metrics.loss == pytest.approx(math.log(2) / 2, abs=1e-6)


def test_confident_mistake_costs_the_floor_of_keras():
    metrics = classification_metrics(np.array([0]), np.array([[0.0, 1.0]], np.float32), ("a", "b"))
    assert metrics.loss == pytest.approx(-math.log(1e-7), rel=1e-6)


def test_number_without_meaning_is_nan_and_does_not_spoil_the_mean():
    confusion = np.array([[2, 0, 0], [1, 0, 0], [0, 0, 0]])  # class 1 never predicted, class 2 does not occur
    metrics = classification_metrics(*predictions(confusion), NAMES)
    assert metrics.precision == pytest.approx((2 / 3, math.nan, math.nan), nan_ok=True)
    assert metrics.recall == pytest.approx((1, 0, math.nan), nan_ok=True)
    assert metrics.f1 == pytest.approx((0.8, 0, math.nan), nan_ok=True)
    assert metrics.macro_f1 == pytest.approx(0.4)
    assert "narrowband          -   0.000  0.000       1" in report_text(metrics)


def test_probabilities_of_low_precision_are_accepted_and_scaled():
    y_prob = np.array([[0.5, 0.498], [0.2, 0.804]], np.float16)
    assert classification_metrics(np.array([0, 1]), y_prob, ("a", "b")).accuracy == 1


GOOD = np.array([[0.9, 0.1], [0.3, 0.7]])
LABELS = np.array([0, 1])


@pytest.mark.parametrize(
    ("y_true", "y_prob", "names", "message"),
    [
        (LABELS, GOOD, ("a",), r"class_names=\('a',\): expected at least two different names"),
        (LABELS, GOOD, ("a", "a"), r"class_names=\('a', 'a'\): .*; name every class once"),
        (LABELS, GOOD, ("a", "b", "c"), r"y_prob: shape \(2, 2\), expected \(n, 3\) for a, b, c; use the class names"),
        (LABELS, GOOD[:, 0], ("a", "b"), r"y_prob: shape \(2,\), expected \(n, 2\)"),
        (LABELS[:1], GOOD, ("a", "b"), r"y_true: shape \(1,\), expected \(2,\) as y_prob has rows"),
        (LABELS[:0], GOOD[:0], ("a", "b"), r"y_true: shape \(0,\), .* and at least one; predict the whole split"),
        (np.eye(2), GOOD, ("a", "b"), r"y_true: shape \(2, 2\)"),
        (LABELS * 1.0, GOOD, ("a", "b"), r"y_true: float64, expected integer class indices; convert one-hot rows"),
        (LABELS + 1, GOOD, ("a", "b"), r"y_true, row 1: 2, expected a class index in 0\.\.1; check the labels"),
        (LABELS - 1, GOOD, ("a", "b"), r"y_true, row 0: -1, expected a class index"),
        (
            LABELS,
            GOOD * 2,
            ("a", "b"),
            r"y_prob, row 0: \[1\.8, 0\.2\], expected probabilities that add up to 1; apply",
        ),
        (LABELS, GOOD * [[1], [math.nan]], ("a", "b"), r"y_prob, row 1: \[nan, nan\], expected probabilities"),
        (
            LABELS,
            np.array([[1.5, -0.5], [0, 1]]),
            ("a", "b"),
            r"y_prob, row 0: \[1\.5, -0\.5\], expected probabilities",
        ),
    ],
)
def test_input_that_does_not_fit_is_refused(y_true, y_prob, names, message):
    with pytest.raises(MetricsError, match=message):
        classification_metrics(y_true, y_prob, names)


def test_report_for_the_terminal_has_aligned_columns(metrics):
    assert report_text(metrics).splitlines() == [
        "accuracy 0.680 (95 % 0.484 to 0.828), cross-entropy 0.889, 25 images",
        "",
        "class       precision  recall     F1  images",
        "squiggle        0.800   0.800  0.800      10",
        "narrowband      0.857   0.600  0.706      10",
        "noise           0.375   0.600  0.462       5",
        "mean                           0.656      25",
        "",
        "true \\ predicted  squiggle  narrowband  noise",
        "squiggle                 8           1      1",
        "narrowband               0           6      4",
        "noise                    2           0      3",
    ]


def test_confusion_as_a_table_has_a_row_and_a_column_for_each_class(metrics):
    table = confusion_table(metrics)
    assert table.rows[1] == ["narrowband", 0, 6, 4]
    assert table.heads[1:] == list(NAMES)


def test_confusion_is_read_back_from_csv(metrics):
    table = pd.read_csv(io.StringIO(confusion_csv(metrics)), index_col="true_class")
    assert tuple(table.columns) == tuple(table.index) == NAMES
    assert table.to_numpy().tolist() == CONFUSION.tolist()


def test_module_loads_without_scikit_learn_and_matplotlib():
    heavy = "{'sklearn', 'matplotlib', 'scipy'}"
    code = f"import results.stats.metrics, results.stats.intervals, sys; print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
