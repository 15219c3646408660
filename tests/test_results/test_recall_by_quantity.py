"""Recall against a physical quantity is counted by hand, and found where it was put."""

import numpy as np
import pandas as pd
import pytest

from results.stats.detection import DetectionError, recall_by_quantity
from results.stats.intervals import IntervalError, wilson_interval
from results.stats.metrics import MetricsError

NAMES = ("squiggle", "narrowband", "noise")


def test_recall_and_detection_are_those_counted_by_hand():
    truth = pd.DataFrame({"amplitude_ratio": [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, np.nan, np.nan]})
    y_true = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([2, 1, 0, 0, 1, 0, 2, 0])
    curves = recall_by_quantity(
        y_true, np.eye(3)[predicted], truth["amplitude_ratio"].to_numpy(), NAMES, noise_class=2, bins=2
    )
    assert [curve.class_name for curve in curves] == ["squiggle", "narrowband"]
    faint, bright = curves[0].bins
    assert (faint.n, faint.low, faint.median, faint.high) == (2, 0.1, pytest.approx(0.15), 0.2)
    assert (faint.recall.value, faint.detected.value) == (0, 0.5)
    assert (bright.recall.value, bright.detected.value) == (1, 1)
    assert [(one.n, one.recall.value, one.detected.value) for one in curves[1].bins] == [(1, 1, 1), (1, 0, 1)]
    assert (bright.recall.low, bright.recall.high) == wilson_interval(2, 2)


def test_class_without_the_quantity_has_no_curve_and_nan_images_are_left_out():
    drift = np.array([np.nan, np.nan, 1.0, np.nan, 2.0])
    curves = recall_by_quantity(np.array([0, 0, 1, 1, 1]), np.eye(3)[[0, 0, 1, 1, 2]], drift, NAMES, noise_class=2)
    assert [(curve.class_name, sum(one.n for one in curve.bins)) for curve in curves] == [("narrowband", 2)]


def test_amplitude_at_which_half_is_found_shows_in_the_bins():
    rng = np.random.default_rng(13)
    amplitude = rng.uniform(0, 1, 4000)
    is_found = rng.random(4000) < 1 / (1 + np.exp(-(amplitude - 0.5) / 0.1))
    bins = recall_by_quantity(
        np.zeros(4000, int), np.eye(3)[np.where(is_found, 0, 2)], amplitude, NAMES, noise_class=2, bins=20
    )[0].bins
    assert [one.n for one in bins] == [200] * 20
    middle = np.array([one.median for one in bins])
    expected = 1 / (1 + np.exp(-(middle - 0.5) / 0.1))
    covered = [one.recall.low - 0.01 <= p <= one.recall.high + 0.01 for one, p in zip(bins, expected, strict=True)]
    assert sum(covered) >= 17  # of 20; the curve bends within a bin by up to 0.01
    assert all(one.recall == one.detected for one in bins)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"quantity": np.zeros(3)},
            DetectionError,
            r"quantity of shape \(3,\): expected \(2,\), finite or NaN; give",
        ),
        ({"quantity": np.array([0, np.inf])}, DetectionError, r"quantity of shape \(2,\): expected \(2,\), finite"),
        ({"noise_class": -1}, DetectionError, r"noise class -1: expected 0\.\.2"),
        ({"bins": 0}, IntervalError, r"bins=0: expected at least 1"),
        ({"class_names": ("a", "b")}, MetricsError, r"y_prob: shape \(2, 3\), expected \(n, 2\)"),
    ],
)
def test_input_that_does_not_fit_is_refused(change, error, message):
    given = {"y_true": np.array([0, 1]), "y_prob": np.eye(3)[:2], "quantity": np.zeros(2), "class_names": NAMES}
    with pytest.raises(error, match=message):
        recall_by_quantity(**{**given, "noise_class": 2, **change})
