"""Intervals over retrainings agree with statsmodels in their limits, and cover where seeds and images both vary."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import norm
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from results.intervals import IntervalError, wilson_interval
from results.retrainings import accuracy_over_retrainings, difference_over_retrainings, objective_over_retrainings

TABLES = hnp.arrays(np.bool_, st.tuples(st.integers(2, 5), st.integers(2, 30)))


def flags(rng, n_seeds, n_images, accuracy, seed_deviation, difficulty):
    """Simulated flags whose seeds and images have the given mean exactly; accuracies of seeds follow a beta law.

    Images differ by `difficulty` (n_images,): deviation 1 correlates the seeds a little, 3 makes them nearly agree.
    """
    of_seed = np.full(n_seeds, accuracy)
    if seed_deviation:
        size = accuracy * (1 - accuracy) / seed_deviation**2 - 1
        of_seed = rng.beta(accuracy * size, (1 - accuracy) * size, n_seeds)
    # E over b ~ N(0, d) of Phi(m + b) is Phi(m / sqrt(1 + d**2)).
    middle = norm.ppf(of_seed.clip(1e-12, 1 - 1e-12))[:, None] * math.sqrt(1 + difficulty["deviation"] ** 2)
    return rng.random((n_seeds, n_images)) < norm.cdf(middle + difficulty["image"])


def difficulty(rng, n_images, deviation):
    return {"deviation": deviation, "image": deviation * rng.standard_normal(n_images)}


@pytest.mark.parametrize("deviation", [1.0, 3.0])
@pytest.mark.parametrize("seed_deviation", [0.0, 0.01, 0.03])
@pytest.mark.parametrize(
    ("n_seeds", "n_images", "accuracy"),
    [(3, 80, 0.5), (3, 80, 0.75), (3, 80, 0.95), (3, 800, 0.75), (5, 200, 0.9), (10, 80, 0.75), (10, 800, 0.5)],
)
def test_interval_of_a_configuration_covers_its_accuracy_in_95_percent(
    n_seeds, n_images, accuracy, seed_deviation, deviation
):
    rng, covered = np.random.default_rng(3), []
    for _ in range(800):
        table = flags(rng, n_seeds, n_images, accuracy, seed_deviation, difficulty(rng, n_images, deviation))
        found = accuracy_over_retrainings(table).accuracy
        covered.append(found.low <= accuracy <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97


@pytest.mark.parametrize("deviation", [1.0, 3.0])
@pytest.mark.parametrize("seed_deviation", [0.0, 0.01, 0.03])
@pytest.mark.parametrize(
    ("n_seeds", "n_images", "accuracies"),
    [((3, 3), 80, (0.75, 0.75)), ((3, 3), 800, (0.8, 0.75)), ((3, 3), 80, (0.95, 0.9)), ((10, 3), 200, (0.6, 0.5))],
)
def test_interval_of_a_difference_covers_it_in_95_percent(n_seeds, n_images, accuracies, seed_deviation, deviation):
    rng, covered = np.random.default_rng(4), []
    truth = accuracies[0] - accuracies[1]
    for _ in range(800):
        images = difficulty(rng, n_images, deviation)  # a hard image is hard for both
        a, b = (
            flags(rng, seeds, n_images, mean, seed_deviation, images)
            for seeds, mean in zip(n_seeds, accuracies, strict=True)
        )
        found = difference_over_retrainings(a, b)
        covered.append(found.low <= truth <= found.high)
    assert 0.93 <= np.mean(covered) <= 0.97
