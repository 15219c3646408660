"""Reliability bins hold what they say, and the interval of the calibration error covers where a bootstrap does not."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from results.stats.calibration import calibration_error, reliability_bins
from results.stats.intervals import IntervalError, equal_count_groups, wilson_interval
from results.stats.metrics import MetricsError


def predictions(confidence, correct):
    """Labels and probabilities of four classes with that confidence in class 0, right where `correct`."""
    y_prob = np.repeat((1 - confidence)[:, None] / 3, 4, axis=1)
    y_prob[:, 0] = confidence
    return np.where(correct, 0, 1), y_prob


def drawn(rng, n, share_right):
    confidence = 0.25 + 0.75 * rng.beta(2, 1.2, n)
    return predictions(confidence, rng.random(n) < share_right(confidence))


@given(values=st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.4]) | st.floats(0, 1), max_size=60), groups=st.integers(1, 12))
def test_groups_hold_every_image_once_in_order_and_keep_equal_values_together(values, groups):
    found = equal_count_groups(np.array(values), groups)
    assert sorted(np.concatenate([np.zeros(0, int), *found])) == list(range(len(values)))
    assert len(found) <= groups
    ranges = [(values[group[0]], values[group[-1]]) for group in found]
    assert all(first[1] < second[0] for first, second in pairwise(ranges))


@given(n=st.integers(1, 200), groups=st.integers(1, 12))
def test_groups_of_different_values_differ_by_one_image_at_most(n, groups):
    sizes = [group.size for group in equal_count_groups(np.random.default_rng(n).permutation(n), groups)]
    assert max(sizes) - min(sizes) <= 1
    assert len(sizes) == min(n, groups)


def test_no_group_at_all_is_refused():
    with pytest.raises(IntervalError, match=r"bins=0: expected at least 1; ask for about one bin per 20 images"):
        equal_count_groups(np.arange(3), 0)


def test_bins_are_those_worked_out_by_hand():
    confidence = np.array([0.4, 0.5, 0.6, 0.7, 0.8, 0.9])
    bins = reliability_bins(*predictions(confidence, np.array([1, 0, 0, 1, 1, 1]) == 1), bins=2)
    assert [one.n for one in bins] == [3, 3]
    assert [one.confidence for one in bins] == pytest.approx([0.5, 0.8])
    assert [one.accuracy.value for one in bins] == pytest.approx([1 / 3, 1])
    for one, right in zip(bins, (1, 3), strict=True):
        expected = proportion_confint(right, 3, method="wilson")
        assert (one.accuracy.low, one.accuracy.high) == pytest.approx(expected)
    assert calibration_error(bins).plain == pytest.approx((1 / 6 + 0.2) / 2)


SHARES_RIGHT = {
    "calibrated": lambda confidence: confidence,
    "slightly overconfident": lambda confidence: confidence - 0.02,
    "overconfident": lambda confidence: confidence - 0.1,
    "the more overconfident the surer": lambda confidence: 0.25 + 0.8 * (confidence - 0.25),
    "both ways": lambda confidence: confidence + 0.06 * np.sin(12 * confidence),
}


def test_interval_of_the_calibration_error_covers_it_in_95_percent():
    rng, covered = np.random.default_rng(6), {}
    for name, share_right in SHARES_RIGHT.items():
        # Half a million images know the error to 0.001; of the calibrated network it is zero.
        many = calibration_error(reliability_bins(*drawn(rng, 500_000, share_right))).plain
        truth = 0.0 if name == "calibrated" else many
        found = [calibration_error(reliability_bins(*drawn(rng, 800, share_right))).corrected for _ in range(120)]
        covered[name] = np.mean([one.low <= truth <= one.high for one in found])
    assert 0.93 <= np.mean(list(covered.values())) <= 0.97
    assert min(covered.values()) >= 0.90  # one standard deviation of 120 draws is 0.02


def test_error_of_a_calibrated_network_is_corrected_to_almost_nothing():
    found = calibration_error(reliability_bins(*drawn(np.random.default_rng(7), 800, SHARES_RIGHT["calibrated"])))
    assert found.plain > 0.02  # by chance alone
    assert found.corrected.low == 0
    assert found.corrected.value < found.plain / 2


def test_large_error_needs_no_correction():
    confidence = np.linspace(0.85, 0.95, 1000)
    found = calibration_error(reliability_bins(*predictions(confidence, np.arange(1000) % 2 == 0)))
    assert found.plain == pytest.approx(0.4)
    assert found.corrected.value == pytest.approx(0.4, abs=0.002)
    # Ten independent bins of one sign: the error is the difference of the means, with their normal interval.
    half = 1.96 * math.sqrt(0.25 / 1000)
    assert (found.corrected.low, found.corrected.high) == pytest.approx((0.4 - half, 0.4 + half), abs=0.003)


def test_network_always_sure_and_always_right_may_still_be_wrong_at_times():
    found = calibration_error(reliability_bins(*predictions(np.ones(50), np.full(50, True))))
    assert (found.plain, found.corrected.value, found.corrected.low) == (0, 0, 0)
    assert found.corrected.high == pytest.approx(1 - wilson_interval(50, 50)[0])
    assert len(found.bins) == 1


def test_calibration_error_is_a_function_of_the_seed():
    bins = reliability_bins(*drawn(np.random.default_rng(8), 300, SHARES_RIGHT["both ways"]))
    assert calibration_error(bins, seed=3) == calibration_error(bins, seed=3)
    assert calibration_error(bins, seed=3).corrected.high == pytest.approx(
        calibration_error(bins, seed=4).corrected.high, abs=0.004
    )


def test_predictions_and_levels_that_make_no_sense_are_refused():
    y_true, y_prob = predictions(np.array([0.5, 0.7]), np.array([True, False]))
    with pytest.raises(MetricsError, match=r"y_true: shape \(1,\), expected \(2,\)"):
        reliability_bins(y_true[:1], y_prob)
    with pytest.raises(IntervalError, match=r"level=95: expected a probability"):
        reliability_bins(y_true, y_prob, level=95)
    with pytest.raises(IntervalError, match=r"level=0: expected a probability"):
        calibration_error(reliability_bins(y_true, y_prob), level=0)
