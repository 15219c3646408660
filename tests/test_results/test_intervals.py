"""Intervals agree with published examples and cover the truth as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from results.stats.intervals import IntervalError, paired_difference_interval, wilson_interval


def paired(both: int, only_a: int, only_b: int, neither: int):
    """Flags of two networks with the given four counts."""
    a = np.repeat([True, True, False, False], [both, only_a, only_b, neither])
    b = np.repeat([True, False, True, False], [both, only_a, only_b, neither])
    return a, b


@given(n=st.integers(1, 5000), share=st.floats(0, 1), level=st.sampled_from([0.68, 0.9, 0.95, 0.99]))
def test_wilson_interval_is_that_of_scipy(n, share, level):
    successes = round(share * n)
    expected = binomtest(successes, n).proportion_ci(confidence_level=level, method="wilson")
    low, high = wilson_interval(successes, n, level)
    assert low == pytest.approx(expected.low, abs=1e-12)
    assert high == pytest.approx(expected.high, abs=1e-12)
    assert 0 <= low <= successes / n <= high <= 1


def test_wilson_interval_of_all_right_has_its_closed_form():
    z2 = 1.959963984540054**2
    assert wilson_interval(10, 10) == (pytest.approx(10 / (10 + z2)), 1.0)
    assert wilson_interval(0, 10) == (0.0, pytest.approx(z2 / (10 + z2)))


@pytest.mark.parametrize("true_share", [0.5, 0.75, 0.95])
def test_wilson_interval_covers_the_truth_in_95_percent(true_share):
    rng = np.random.default_rng(1)
    drawn = rng.binomial(800, true_share, size=4000)
    covered = np.mean([low <= true_share <= high for low, high in (wilson_interval(int(k), 800) for k in drawn)])
    assert 0.93 <= covered <= 0.97


@pytest.mark.parametrize(
    ("counts", "limits"),
    [
        # Cavo et al. (2012) in M. W. Fagerland, S. Lydersen, P. Laake, Statistical Analysis of Contingency Tables
        # (2017), chapter 8, as printed by the tests of their R package contingencytables.
        ((59, 6, 16, 80), (-0.1186, -0.0046)),
        # R. G. Newcombe (1998), Stat. Med. 17, 2635, table II, method 10.
        ((36, 12, 2, 0), (0.0569, 0.3404)),
    ],
)
def test_paired_interval_is_that_of_published_examples(counts, limits):
    result = paired_difference_interval(*paired(*counts))
    assert (result.low, result.high) == (pytest.approx(limits[0], abs=5e-5), pytest.approx(limits[1], abs=5e-5))


def test_paired_difference_counts_each_network_alone():
    result = paired_difference_interval(*paired(500, 55, 45, 200))
    assert (result.n, result.only_a, result.only_b) == (800, 55, 45)
    assert result.difference == pytest.approx(0.0125)
    assert result.low < 0 < result.high
    assert result.level == 0.95


@given(both=st.integers(0, 300), only_a=st.integers(0, 60), only_b=st.integers(0, 60), neither=st.integers(1, 300))
def test_exchanging_the_networks_mirrors_the_interval(both, only_a, only_b, neither):
    a, b = paired(both, only_a, only_b, neither)
    forward, backward = paired_difference_interval(a, b), paired_difference_interval(b, a)
    assert forward.low == pytest.approx(-backward.high)
    assert forward.high == pytest.approx(-backward.low)
    assert -1 <= forward.low <= forward.difference <= forward.high <= 1
    assert forward.p_value == backward.p_value


@given(only_a=st.integers(0, 400), only_b=st.integers(0, 400))
def test_p_value_is_that_of_the_binomial_test(only_a, only_b):
    expected = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert paired_difference_interval(*paired(10, only_a, only_b, 10)).p_value == pytest.approx(expected, rel=1e-9)


def test_p_value_of_thousands_of_images_does_not_overflow():
    assert paired_difference_interval(*paired(0, 5200, 4800, 0)).p_value == pytest.approx(
        binomtest(4800, 10000).pvalue, rel=1e-9
    )


@pytest.mark.parametrize(
    "shares",
    [
        (0.70, 0.05, 0.05, 0.20),  # equal networks
        (0.72, 0.08, 0.04, 0.16),  # a is better by 0.04
        (0.60, 0.25, 0.05, 0.10),  # very different networks
        (0.5625, 0.1875, 0.1875, 0.0625),  # independent errors
    ],
)
@pytest.mark.parametrize("n", [80, 800])
def test_paired_interval_covers_the_truth_in_95_percent(shares, n):
    rng = np.random.default_rng(2)
    truth = shares[1] - shares[2]
    results = (paired_difference_interval(*paired(*counts)) for counts in rng.multinomial(n, shares, size=2000))
    covered = np.mean([result.low <= truth <= result.high for result in results])
    # Three standard deviations of 2000 draws are 0.015; the method is a little conservative for few images.
    assert 0.93 <= covered <= 0.97


def test_equal_networks_give_an_interval_around_zero_and_no_evidence():
    result = paired_difference_interval(*paired(60, 0, 0, 40))
    assert result.difference == 0
    assert result.p_value == 1
    assert result.low == pytest.approx(-result.high)
    assert 0 < result.high < 0.03


def test_network_that_is_always_right_is_handled():
    result = paired_difference_interval([True] * 20, [True] * 10 + [False] * 10)
    assert result.difference == 0.5
    assert 0.2 < result.low < 0.5 < result.high < 0.8


@pytest.mark.parametrize(("successes", "n"), [(-1, 10), (11, 10), (0, 0)])
def test_impossible_counts_are_refused(successes, n):
    with pytest.raises(IntervalError, match=rf"{successes} successes of {n}: expected 0 <= successes <= n and n >= 1"):
        wilson_interval(successes, n)


@pytest.mark.parametrize("level", [0, 1, 95, -0.5, math.nan])
def test_impossible_level_is_refused(level):
    with pytest.raises(IntervalError, match=r"level=.*: expected a probability between 0 and 1, e\.g\. 0\.95"):
        wilson_interval(1, 2, level)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ([True], [True, False], r"correct_a has 1 images and correct_b 2; give the same images"),
        ([], [], r"correct_a has 0 images and correct_b 0; give the same images, at least one"),
        ([1, 0], [True, False], r"correct_a: shape \(2,\) of int64, expected bool \(n,\); give predicted == true"),
        ([True], [[True]], r"correct_b: shape \(1, 1\) of bool, expected bool \(n,\)"),
    ],
)
def test_flags_of_different_images_are_refused(a, b, message):
    with pytest.raises(IntervalError, match=message):
        paired_difference_interval(a, b)
