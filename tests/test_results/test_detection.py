"""A threshold keeps its false-alarm rate on new noise, and what it finds is counted by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from results.stats.detection import (
    DetectionError,
    detection_at_threshold,
    noise_needed,
    signal_scores,
    threshold_at_rate,
)
from results.stats.intervals import IntervalError
from results.stats.metrics import MetricsError

NAMES = ("squiggle", "narrowband", "noise")


@pytest.mark.parametrize("rate", [0.1, 0.01, 1 / 3, 0.25, 0.003])
def test_minimum_of_noise_images_just_sets_a_threshold(rate):
    minimum = noise_needed(rate).minimum
    scores = np.arange(minimum) / minimum
    assert threshold_at_rate(scores, rate).score == scores.max()  # no false alarm in validation
    with pytest.raises(
        DetectionError, match=rf"{minimum - 1} noise images cannot set .* at least {minimum} are needed, \d+ for a rate"
    ):
        threshold_at_rate(scores[:-1], rate)


def test_noise_needed_for_common_rates_is_about_one_and_a_hundred_over_the_rate():
    assert [noise_needed(rate).minimum for rate in (0.1, 0.01)] == [9, 99]
    assert [noise_needed(rate).precise for rate in (0.1, 0.01)] == [865, 9508]
    # That many give 865 * 0.1 false alarms, of which 1.96 deviations are a fifth.
    assert 1.96 * math.sqrt(865 * 0.1 * 0.9) == pytest.approx(0.2 * 86.5, rel=1e-3)
    assert threshold_at_rate(np.arange(865.0), 0.1).needed.precise == 865


@given(
    scores=st.lists(st.sampled_from([0.0, 0.5, 0.9, 1.0]) | st.floats(0, 1), min_size=9, max_size=200),
    rate=st.floats(0.1, 0.9),
)
def test_at_most_the_allowed_noise_images_of_validation_lie_above_whatever_is_equal(scores, rate):
    threshold = threshold_at_rate(np.array(scores), rate)
    above = sum(score > threshold.score for score in scores)
    assert above <= threshold.allowed <= rate * (len(scores) + 1) - 1 + 1e-6
    assert threshold.score in scores
    if len(set(scores)) == len(scores):
        assert above == threshold.allowed


@pytest.mark.parametrize(("n", "rate"), [(200, 0.1), (150, 0.01), (37, 0.25)])
def test_false_alarm_rate_on_new_noise_is_that_expected(n, rate):
    # Uniform scores: the rate of a threshold is 1 - threshold.
    rng = np.random.default_rng(12)
    found = [threshold_at_rate(rng.random(n), rate) for _ in range(3000)]
    rates = np.array([1 - one.score for one in found])
    assert found[0].expected.value <= rate
    assert rates.mean() == pytest.approx(found[0].expected.value, abs=4 * rates.std() / math.sqrt(3000))
    covered = np.mean((found[0].expected.low <= rates) & (rates <= found[0].expected.high))
    assert 0.93 <= covered <= 0.97


def test_saturated_scores_do_not_exceed_the_rate():
    # Half of the noise has p(noise) = 0: no threshold below them keeps the rate, so nothing is called a signal.
    threshold = threshold_at_rate(np.repeat([0.2, 1.0], [50, 50]), 0.1)
    assert threshold.score == 1.0
    found = detection_at_threshold(threshold, np.array([0, 2]), np.eye(3)[[0, 0]], NAMES, noise_class=2)
    assert (found.recall.value, found.false_alarms.value) == (0, 0)


def test_detections_are_those_counted_by_hand():
    threshold = threshold_at_rate(np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]), 0.2)
    assert (threshold.allowed, threshold.score) == (1, 0.8)
    p_noise = np.array([0.1, 0.15, 0.3, 0.05, 0.2, 0.9, 0.01, 0.5])  # 0.2 is exactly at the threshold
    y_prob = np.stack([(1 - p_noise) / 2, (1 - p_noise) / 2, p_noise], axis=1)
    y_true = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    found = detection_at_threshold(threshold, y_true, y_prob, NAMES, noise_class=2)
    assert [(one.class_name, one.n, one.recall.value) for one in found.classes] == [
        ("squiggle", 3, 2 / 3),
        ("narrowband", 2, 0.5),
    ]
    assert (found.n_signals, found.recall.value) == (5, 3 / 5)
    assert (found.n_noise, found.false_alarms.value) == (3, 1 / 3)
    assert (found.recall.low, found.recall.high) == pytest.approx(proportion_confint(3, 5, method="wilson"))


def test_split_without_noise_says_nothing_of_false_alarms():
    threshold = threshold_at_rate(np.arange(9) / 10, 0.1)
    found = detection_at_threshold(threshold, np.array([0]), np.eye(3)[[0]], NAMES, noise_class=2)
    assert found.n_noise == 0
    assert math.isnan(found.false_alarms.value)
    assert [one.n for one in found.classes] == [1, 0]


def test_score_keeps_small_probabilities_of_noise_apart():
    y_prob = np.array([[1, 1e-12], [1, 1e-10]], np.float32)
    assert signal_scores(y_prob, 1)[0] > signal_scores(y_prob, 1)[1]


@pytest.mark.parametrize("rate", [0, 1, -0.1, math.nan, 10])
def test_rate_that_is_no_share_is_refused(rate):
    with pytest.raises(DetectionError, match=r"false-alarm rate .*: expected a share between 0 and 1, e\.g\. 0\.01"):
        noise_needed(rate)


def test_scores_levels_and_classes_that_make_no_sense_are_refused():
    with pytest.raises(DetectionError, match=r"noise scores of shape \(10,\): expected finite numbers \(n,\)"):
        threshold_at_rate(np.array([math.nan] * 10), 0.1)
    with pytest.raises(DetectionError, match=r"noise scores of shape \(10, 1\): expected finite numbers"):
        threshold_at_rate(np.zeros((10, 1)), 0.1)
    with pytest.raises(IntervalError, match=r"level=95: expected a probability"):
        threshold_at_rate(np.zeros(10), 0.1, level=95)
    threshold = threshold_at_rate(np.zeros(10), 0.1)
    with pytest.raises(DetectionError, match=r"noise class 3: expected 0\.\.2; give the class without a signal"):
        detection_at_threshold(threshold, np.array([0]), np.eye(3)[[0]], NAMES, noise_class=3)
    with pytest.raises(MetricsError, match=r"y_true: shape \(2,\), expected \(1,\)"):
        detection_at_threshold(threshold, np.array([0, 1]), np.eye(3)[[0]], NAMES, noise_class=2)
