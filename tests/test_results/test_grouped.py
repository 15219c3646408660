"""Intervals of shares whose images come in groups: equal images count once, single ones as always."""

import math

import numpy as np
import pytest

from results.stats.grouped import share_by_group
from results.stats.intervals import IntervalError, wilson_estimate


def test_images_without_companions_have_the_plain_wilson_interval():
    hits = np.arange(50) % 5 > 0
    assert share_by_group(hits, np.ones(50, bool), np.arange(50)) == wilson_estimate(40, 50)


def test_only_what_is_counted_counts():
    hits, counted = np.array([True, True, False, True]), np.array([True, False, True, False])
    assert share_by_group(hits, counted, np.arange(4)) == wilson_estimate(1, 2)
    assert math.isnan(share_by_group(hits, np.zeros(4, bool), np.arange(4)).value)


def test_the_same_image_many_times_is_one_image():
    """Ten copies of each of 30 images say no more than these, and a little less than thirty independent ones."""
    once = np.arange(30) % 3 > 0
    groups = np.repeat(np.arange(30), 10)
    many = share_by_group(np.repeat(once, 10), np.ones(300, bool), groups)
    plain, naive = wilson_estimate(20, 30), wilson_estimate(200, 300)
    assert many.value == pytest.approx(2 / 3)
    assert many.high - many.low == pytest.approx(plain.high - plain.low, rel=0.08)
    assert many.high - many.low > 2.5 * (naive.high - naive.low)


def test_all_right_is_as_sure_as_there_are_groups():
    found = share_by_group(np.ones(300, bool), np.ones(300, bool), np.repeat(np.arange(30), 10))
    assert found.value == found.high == 1
    assert found.low == pytest.approx(30 / (30 + 2.0452**2), abs=1e-4)  # Student's quantile of 29 degrees


def test_one_group_alone_says_nothing():
    found = share_by_group(np.array([True, True, False]), np.ones(3, bool), np.zeros(3))
    assert (found.low, found.high) == (0, 1)


@pytest.mark.parametrize("groups", [20, 100])
def test_the_interval_covers_the_truth_in_95_percent(groups):
    rng, truth, covered = np.random.default_rng(1), 0.8, []
    for _ in range(1500):  # each group has a share of its own around 0.8: a design effect of about 2.8
        shares = np.repeat(rng.beta(3.2, 0.8, groups), 10)
        found = share_by_group(
            rng.random(10 * groups) < shares, np.ones(10 * groups, bool), np.arange(10 * groups) // 10
        )
        covered.append(found.low <= truth <= found.high)
    assert 0.935 <= np.mean(covered) <= 0.975


def test_arrays_that_do_not_go_together_are_refused():
    with pytest.raises(IntervalError, match=r"hits \(2,\), counted \(3,\), groups \(2,\): expected three of \(n,\)"):
        share_by_group(np.ones(2, bool), np.ones(3, bool), np.arange(2))
