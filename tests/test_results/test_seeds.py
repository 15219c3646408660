"""Intervals over retrainings agree with statsmodels in their limits, and cover where seeds and images both vary."""

import itertools
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.special import ndtr, ndtri
from scipy.stats import norm
from scipy.stats import t as student_t
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from results.stats.intervals import IntervalError, score_limits, wilson_interval
from results.stats.seeds import accuracy_over_retrainings, difference_over_retrainings, objective_over_retrainings

TABLES = hnp.arrays(np.bool_, st.tuples(st.integers(2, 5), st.integers(2, 30)))


# Spread of the seeds' accuracies, and of the images' difficulty: 1 correlates the seeds a little, 3 makes them nearly
# agree on every image.
SPREADS = list(itertools.product([0.0, 0.01, 0.03], [1.0, 3.0]))


def flags(rng, accuracy, n_seeds, seed_deviation, difficulty, spread):
    """Simulated flags with exactly that accuracy in the mean, when `difficulty` (n_images,) is N(0, `spread`)."""
    of_seed = np.full(n_seeds, accuracy)
    if seed_deviation:
        size = accuracy * (1 - accuracy) / seed_deviation**2 - 1
        of_seed = rng.beta(accuracy * size, (1 - accuracy) * size, n_seeds)
    # The mean of Phi(m + b) over b ~ N(0, s) is Phi(m / sqrt(1 + s**2)).
    middle = ndtri(of_seed.clip(1e-12, 1 - 1e-12))[:, None] * math.sqrt(1 + spread**2)
    return rng.random((n_seeds, difficulty.size)) < ndtr(middle + difficulty)


@pytest.mark.parametrize(
    ("n_seeds", "n_images", "accuracy"),
    [(3, 80, 0.5), (3, 80, 0.95), (3, 400, 0.75), (5, 200, 0.9), (10, 80, 0.75), (10, 400, 0.95)],
)
def test_interval_of_a_configuration_covers_its_accuracy_in_95_percent(n_seeds, n_images, accuracy):
    rng, covered = np.random.default_rng(3), []
    for seed_deviation, spread in SPREADS * 300:
        table = flags(rng, accuracy, n_seeds, seed_deviation, rng.normal(0, spread, n_images), spread)
        found = accuracy_over_retrainings(table).mean
        covered.append(found.low <= accuracy <= found.high)
    # One standard deviation of 1800 draws is 0.005.
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize(
    ("n_seeds", "n_images", "accuracies"),
    [((3, 3), 80, (0.75, 0.75)), ((3, 3), 400, (0.8, 0.75)), ((3, 3), 80, (0.95, 0.9)), ((5, 3), 200, (0.8, 0.75))],
)
def test_interval_of_a_difference_covers_it_in_95_percent(n_seeds, n_images, accuracies):
    rng, covered = np.random.default_rng(4), []
    truth = accuracies[0] - accuracies[1]
    for seed_deviation, spread in SPREADS * 300:
        difficulty = rng.normal(0, spread, n_images)  # an image that is hard for a is hard for b
        pairs = zip(accuracies, n_seeds, strict=True)
        a, b = (flags(rng, accuracy, seeds, seed_deviation, difficulty, spread) for accuracy, seeds in pairs)
        found = difference_over_retrainings(a, b)
        covered.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


@settings(max_examples=25)  # statsmodels takes its time
@given(table=TABLES)
def test_interval_is_that_of_the_mean_squares_of_statsmodels(table):
    n_seeds, n_images = table.shape
    mean = table.mean()
    seed, image = np.indices(table.shape)
    frame = pd.DataFrame({"right": table.ravel() * 1.0, "seed": seed.ravel(), "image": image.ravel()})
    squares = anova_lm(ols("right ~ C(seed) + C(image)", frame).fit())["mean_sq"]
    images = max(0.0, squares["C(image)"] - squares["Residual"])
    variance = (squares["C(seed)"] + images) / table.size
    found = accuracy_over_retrainings(table)
    assert found.mean.value == pytest.approx(mean)
    assert found.seed_deviation == pytest.approx(
        math.sqrt(max(0.0, squares["C(seed)"] - squares["Residual"]) / n_images), abs=1e-6
    )
    if variance < 1e-9 or mean in (0, 1):  # tested below
        return
    freedom = (squares["C(seed)"] + images) ** 2 / (
        squares["C(seed)"] ** 2 / (n_seeds - 1) + images**2 / (n_images - 1)
    )
    effective = mean * (1 - mean) / variance
    of_parts = [student_t.ppf(0.975, n_seeds - 1), student_t.ppf(0.975, n_images - 1)]
    cochran = np.average(of_parts, weights=[squares["C(seed)"], images])
    quantile = (student_t.ppf(0.975, freedom) + cochran) / 2
    alpha = 2 * norm.sf(quantile)  # so that the Wilson interval takes this quantile
    expected = proportion_confint(mean * effective, effective, alpha=alpha, method="wilson")
    assert (found.mean.low, found.mean.high) == pytest.approx(expected, abs=1e-6)


def test_retrainings_that_agree_on_every_image_leave_the_images_alone():
    once = np.repeat([True, False], [60, 20])
    found = accuracy_over_retrainings(np.tile(once, (3, 1)))
    quantile = student_t.ppf(0.975, 79)
    assert (found.mean.low, found.mean.high) == pytest.approx(score_limits(0.75, 79, quantile))
    assert found.seed_deviation == 0


@pytest.mark.parametrize("right", [True, False])
def test_retrainings_always_right_or_wrong_have_the_interval_of_one_on_these_images(right):
    found = accuracy_over_retrainings(np.full((3, 50), right)).mean
    assert (found.low, found.high) == pytest.approx(wilson_interval(50 * right, 50))


def test_equal_seeds_with_mistakes_of_their_own_have_the_interval_of_one_on_these_images():
    # Every image is right with exactly one seed, and every seed on 27: nothing varies, which rounding must not hide.
    table = np.arange(81) % 3 == np.arange(3)[:, None]
    found = accuracy_over_retrainings(table).mean
    assert (found.low, found.high) == pytest.approx(wilson_interval(27, 81))
    difference = difference_over_retrainings(table, table)
    half = math.hypot(found.value - found.low, found.high - found.value)
    assert (difference.low, difference.value, difference.high) == pytest.approx((-half, 0, half))


@given(table=TABLES)
def test_interval_of_any_table_lies_in_0_to_1_and_holds_the_mean(table):
    found = accuracy_over_retrainings(table).mean
    assert 0 <= found.low <= found.value + 1e-12
    assert found.value - 1e-12 <= found.high <= 1
    assert found.high > found.low


def test_one_retraining_gives_no_interval():
    once = np.array([[True, True, False, True]])
    found = accuracy_over_retrainings(once)
    assert (found.mean.value, found.n_seeds, found.n_images) == (0.75, 1, 4)
    assert np.isnan([found.mean.low, found.mean.high, found.seed_deviation]).all()
    difference = difference_over_retrainings(once, np.zeros((3, 4), bool))
    assert difference.value == 0.75
    assert np.isnan([difference.low, difference.high]).all()


def test_images_alike_for_all_leave_the_t_interval_of_welch():
    # Every image is right with exactly one seed of a and two of b: only the seeds vary.
    a, b = np.zeros((3, 80), bool), np.ones((3, 80), bool)
    a[np.repeat([0, 1, 2], [20, 25, 35]), np.arange(80)] = True
    b[np.repeat([0, 1, 2], [10, 40, 30]), np.arange(80)] = False
    seeds = CompareMeans(DescrStatsW(a.mean(axis=1)), DescrStatsW(b.mean(axis=1)))
    found = difference_over_retrainings(a, b)
    assert found.value == pytest.approx(-1 / 3)
    assert (found.low, found.high) == pytest.approx(seeds.tconfint_diff(usevar="unequal"))


@given(a=TABLES, data=st.data())
def test_exchanging_the_configurations_mirrors_the_difference(a, data):
    b = data.draw(hnp.arrays(np.bool_, st.tuples(st.integers(2, 4), st.just(a.shape[1]))))
    forward, backward = difference_over_retrainings(a, b), difference_over_retrainings(b, a)
    assert (forward.low, forward.high) == pytest.approx((-backward.high, -backward.low))
    assert -1 <= forward.low <= forward.value <= forward.high <= 1
    assert forward.high > forward.low  # also where nothing varies


def test_t_interval_and_further_retraining_are_those_of_statsmodels():
    objectives = [0.751, 0.763, 0.748, 0.770]
    found = objective_over_retrainings(objectives)
    assert (found.mean.low, found.mean.high) == pytest.approx(DescrStatsW(objectives).tconfint_mean())
    line = ols("y ~ 1", pd.DataFrame({"y": objectives})).fit().get_prediction(pd.DataFrame({"y": [0.0]}))
    expected = line.summary_frame()[["obs_ci_lower", "obs_ci_upper"]].to_numpy()[0]
    assert (found.next_retraining.low, found.next_retraining.high) == pytest.approx(expected)
    assert (found.n, found.deviation) == (4, pytest.approx(np.std(objectives, ddof=1)))


def test_mean_and_further_retraining_are_covered_in_95_percent():
    drawn = np.random.default_rng(5).normal(0.75, 0.02, (2000, 4))
    found = [objective_over_retrainings(row[:3]) for row in drawn]
    assert 0.93 <= np.mean([one.mean.low <= 0.75 <= one.mean.high for one in found]) <= 0.97
    pairs = zip(found, drawn[:, 3], strict=True)
    assert 0.93 <= np.mean([one.next_retraining.low <= y <= one.next_retraining.high for one, y in pairs]) <= 0.97


def test_one_objective_has_no_interval_and_equal_ones_have_no_width():
    alone = objective_over_retrainings([0.75])
    assert alone.mean.value == alone.next_retraining.value == 0.75
    assert np.isnan([alone.mean.low, alone.next_retraining.high, alone.deviation]).all()
    equal = objective_over_retrainings([0.75, 0.75, 0.75])
    assert (equal.mean.low, equal.next_retraining.high, equal.deviation) == (0.75, 0.75, 0.0)


@pytest.mark.parametrize(
    ("correct", "message"),
    [
        (
            np.ones(5, bool),
            r"correct: shape \(5,\) of bool, expected bool \(n_seeds, n_images\) .* one row",
        ),
        (np.ones((3, 5)), r"correct: shape \(3, 5\) of float64"),
        (np.ones((3, 1), bool), r"correct: shape \(3, 1\) of bool, .* at least two images"),
        (np.ones((0, 5), bool), r"correct: shape \(0, 5\)"),
    ],
)
def test_table_of_flags_that_makes_no_sense_is_refused(correct, message):
    with pytest.raises(IntervalError, match=message):
        accuracy_over_retrainings(correct)


def test_difference_on_other_images_is_refused():
    with pytest.raises(IntervalError, match=r"correct_a has 5 images and correct_b 4; give the same images"):
        difference_over_retrainings(np.ones((3, 5), bool), np.ones((3, 4), bool))


@pytest.mark.parametrize("objectives", [[], [0.7, math.nan], [[0.7]]])
def test_objectives_that_are_no_numbers_are_refused(objectives):
    with pytest.raises(IntervalError, match=r"objectives \[.*\]: expected finite numbers, .* did not complete"):
        objective_over_retrainings(objectives)


def test_impossible_level_is_refused_everywhere():
    table = np.eye(3, dtype=bool)
    for estimate in (
        lambda: accuracy_over_retrainings(table, 95),
        lambda: difference_over_retrainings(table, table, 95),
        lambda: objective_over_retrainings([0.7, 0.8], 95),
    ):
        with pytest.raises(IntervalError, match=r"level=95: expected a probability between 0 and 1"):
            estimate()
