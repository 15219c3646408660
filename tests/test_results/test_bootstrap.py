"""Numbers of the delivered network are those of scikit-learn, and their intervals cover the truth."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import f1_score, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from results.stats import bootstrap as delivered
from results.stats.bootstrap import delivered_estimates, paired_estimates
from results.stats.intervals import IntervalError, paired_difference_interval, wilson_interval
from results.stats.metrics import MetricsError, classification_metrics
from results.stats.weighted import roc_area

NAMES = ("squiggle", "narrowbanddrd", "narrowband", "noise")


def drawn(rng, n, skill):
    """Labels and probabilities of a network that is the better the larger `skill`."""
    y_true = rng.integers(0, 4, n)
    evidence = rng.normal(size=(n, 4)) + skill * np.eye(4)[y_true]
    y_prob = np.exp(evidence)
    return y_true, y_prob / y_prob.sum(axis=1, keepdims=True)


def estimates_of(found):
    macro = [found.accuracy, found.macro_f1, found.macro_auc, found.calibration.corrected]
    return macro + [getattr(one, name) for one in found.classes for name in ("precision", "recall", "f1", "auc")]


@pytest.fixture(scope="module")
def example():
    return drawn(np.random.default_rng(0), 300, 1.5)


def test_values_are_those_of_scikit_learn(example):
    y_true, y_prob = example
    found, metrics = delivered_estimates(y_true, y_prob, NAMES), classification_metrics(y_true, y_prob, NAMES)
    assert (found.n, found.accuracy.value, found.macro_f1.value) == (
        300,
        metrics.accuracy,
        pytest.approx(metrics.macro_f1),
    )
    assert found.macro_auc.value == pytest.approx(roc_auc_score(y_true, y_prob, multi_class="ovr"))
    for label, one in enumerate(found.classes):
        assert (one.class_name, one.n) == (NAMES[label], metrics.support[label])
        assert one.precision.value == pytest.approx(metrics.precision[label])
        assert one.recall.value == pytest.approx(metrics.recall[label])
        assert one.f1.value == pytest.approx(f1_score(y_true == label, y_prob.argmax(axis=1) == label))
        assert one.auc.value == pytest.approx(roc_auc_score(y_true == label, y_prob[:, label]))


def test_intervals_of_precision_and_recall_are_those_of_statsmodels(example):
    y_true, y_prob = example
    predicted = y_prob.argmax(axis=1)
    one = delivered_estimates(y_true, y_prob, NAMES).classes[2]
    hits = int(((y_true == 2) & (predicted == 2)).sum())
    for estimate, n in ((one.precision, (predicted == 2).sum()), (one.recall, (y_true == 2).sum())):
        assert (estimate.low, estimate.high) == pytest.approx(proportion_confint(hits, n, method="wilson"))


def test_every_interval_holds_its_value_and_lies_in_0_to_1(example):
    for estimate in estimates_of(delivered_estimates(*example, NAMES)):
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1
        assert estimate.low < estimate.high


@given(scores=st.lists(st.sampled_from([0.1, 0.4, 0.5, 0.9]), min_size=4, max_size=30), seed=st.integers(0, 99))
def test_weighted_area_under_the_curve_is_that_of_scikit_learn_with_ties(scores, seed):
    rng = np.random.default_rng(seed)
    positive = np.arange(len(scores)) % 2 == 0
    weights = rng.integers(0, 3, (1, len(scores))).astype(float)
    weights[0, :2] = 1
    expected = roc_auc_score(positive, scores, sample_weight=weights[0])
    assert roc_area(np.array(scores), positive, weights)[0] == pytest.approx(expected)


def test_resamples_draw_each_image_equally_often_and_do_not_depend_on_their_parts(monkeypatch):
    whole = np.concatenate(list(delivered._resamples(50, seed=1)))
    assert whole.shape == (delivered.RESAMPLES, 50)
    assert (whole.sum(axis=1) == 50).all()
    assert whole.mean(axis=0) == pytest.approx(np.ones(50), abs=0.12)  # five deviations of a mean of 2000
    monkeypatch.setattr(delivered, "_CELLS", 700)
    assert (np.concatenate(list(delivered._resamples(50, seed=1))) == whole).all()


def test_interval_of_f1_holds_the_shares_that_the_exact_binomial_allows():
    # 16 hits among 25 images that are of the class or taken for it: F1 = 2 * 16 / (25 + 16).
    y_true = np.repeat([0, 0, 1, 1], [16, 4, 5, 15])
    predicted = np.repeat([0, 1, 0, 1], [16, 4, 5, 15])
    f1 = delivered_estimates(y_true, np.eye(2)[predicted], ("a", "b")).classes[0].f1
    assert f1.value == pytest.approx(32 / 41)
    low, high = (one / (2 - one) for one in (f1.low, f1.high))  # back to the share of hits
    assert (low, high) == pytest.approx(wilson_interval(16, 25))
    # Half of the tail's own image counted, as Wilson's interval does in the mean over shares.
    assert binom.sf(16, 25, low) + binom.pmf(16, 25, low) / 2 == pytest.approx(0.025, abs=0.01)
    assert binom.cdf(15, 25, high) + binom.pmf(16, 25, high) / 2 == pytest.approx(0.025, abs=0.01)


def test_intervals_of_f1_and_auc_cover_the_truth_in_95_percent(monkeypatch):
    monkeypatch.setattr(delivered, "RESAMPLES", 200)  # a deviation known to 5 % is enough here
    rng, covered = np.random.default_rng(9), []
    for skill, n in ((1.5, 80), (1.5, 300), (3.0, 200)):
        y_true, y_prob = drawn(rng, 200_000, skill)
        numbers = delivered._f1_and_areas(y_true, y_prob, np.ones((1, y_true.size)))
        f1, auc, average = (part[0].mean() for part in numbers)
        for seed in range(200):
            found = delivered_estimates(*drawn(rng, n, skill), NAMES, seed=seed)
            pairs = [(found.macro_f1, f1), (found.macro_auc, auc), (found.classes[0].f1, f1)]
            pairs += [(found.classes[1].auc, auc), (found.classes[1].average_precision, average)]
            covered.append([one.low <= truth <= one.high for one, truth in pairs])
    # Of 600 draws each: one standard deviation is 0.009.
    assert all(0.93 <= share <= 0.97 for share in np.mean(covered, axis=0)), np.mean(covered, axis=0)


def test_paired_bootstrap_covers_the_difference_in_95_percent(monkeypatch):
    monkeypatch.setattr(delivered, "RESAMPLES", 300)
    rng = np.random.default_rng(10)

    def both(n):
        y_true, y_prob = drawn(rng, n, 1.5)
        noisy = y_prob * rng.lognormal(0, 1, y_prob.shape)  # sees the same images, a little worse
        return y_true, y_prob, noisy / noisy.sum(axis=1, keepdims=True)

    y_true, y_prob_a, y_prob_b = both(400_000)
    scores = [f1_score(y_true, one.argmax(axis=1), average="macro") for one in (y_prob_a, y_prob_b)]
    truth = scores[0] - scores[1]
    found = [paired_estimates(*both(n), seed=seed).macro_f1 for seed, n in enumerate([80, 200, 400] * 500)]
    # One standard deviation of 1500 draws is 0.006.
    assert 0.93 <= np.mean([one.low <= truth <= one.high for one in found]) <= 0.97


def test_paired_bootstrap_agrees_with_the_closed_interval_of_the_accuracies(example):
    y_true, y_prob = example
    other = drawn(np.random.default_rng(1), 300, 1.5)[1]
    found = paired_estimates(y_true, y_prob, other)
    closed = paired_difference_interval(y_prob.argmax(axis=1) == y_true, other.argmax(axis=1) == y_true)
    assert found.accuracy.value == pytest.approx(closed.difference)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((closed.low, closed.high), abs=0.012)
    f1 = [f1_score(y_true, one.argmax(axis=1), average="macro") for one in (y_prob, other)]
    assert found.macro_f1.value == pytest.approx(f1[0] - f1[1])


def test_same_network_twice_differs_by_nothing(example):
    y_true, y_prob = example
    found = paired_estimates(y_true, y_prob, y_prob)
    assert (found.accuracy.low, found.accuracy.value, found.accuracy.high) == (0, 0, 0)
    assert (found.macro_f1.low, found.macro_f1.value, found.macro_f1.high) == (0, 0, 0)


def test_network_without_a_mistake_still_has_intervals():
    y_true = np.repeat(np.arange(4), [10, 20, 30, 40])
    found = delivered_estimates(y_true, np.eye(4)[y_true], NAMES)
    for estimate in estimates_of(found):
        if estimate is not found.calibration.corrected:
            assert (estimate.value, estimate.high) == (1, 1)
            assert 0.6 < estimate.low < 0.99
    assert found.classes[0].auc.low == pytest.approx(wilson_interval(10, 10)[0])  # ten separate pairs
    assert found.classes[3].auc.low == pytest.approx(wilson_interval(40, 40)[0])


def test_number_without_meaning_is_nan_and_does_not_spoil_the_mean():
    y_true = np.array([0, 0, 0, 1, 1, 1])
    y_prob = np.array([[0.8, 0.2, 0], [0.7, 0.3, 0], [0.4, 0.6, 0], [0.3, 0.7, 0], [0.2, 0.8, 0], [0.6, 0.4, 0]])
    found = delivered_estimates(y_true, y_prob, NAMES[:3])
    never = found.classes[2]
    for estimate in (never.precision, never.recall, never.f1, never.auc):
        assert np.isnan([estimate.value, estimate.low, estimate.high]).all()
    assert found.macro_f1.value == pytest.approx((found.classes[0].f1.value + found.classes[1].f1.value) / 2)
    assert not math.isnan(found.macro_auc.low)
    alone = delivered_estimates(y_true[:1], y_prob[:1], NAMES[:3])
    assert math.isnan(alone.macro_auc.value)


def test_evaluation_is_a_function_of_the_seed_and_quick():
    y_true, y_prob = drawn(np.random.default_rng(2), 800, 1.5)
    start = time.process_time()
    first = delivered_estimates(y_true, y_prob, NAMES, seed=5)
    assert time.process_time() - start < 3  # 0.4 s on an idle core
    assert delivered_estimates(y_true, y_prob, NAMES, seed=5) == first
    assert delivered_estimates(y_true, y_prob, NAMES, seed=6).macro_f1 != first.macro_f1


def test_predictions_and_levels_that_make_no_sense_are_refused(example):
    y_true, y_prob = example
    with pytest.raises(MetricsError, match=r"y_prob: shape \(300, 4\), expected \(n, 2\)"):
        delivered_estimates(y_true, y_prob, ("a", "b"))
    with pytest.raises(MetricsError, match=r"y_true: shape \(300,\), expected \(299,\)"):
        paired_estimates(y_true, y_prob, y_prob[:-1])
    with pytest.raises(IntervalError, match=r"level=95: expected a probability"):
        delivered_estimates(y_true, y_prob, NAMES, level=95)
    with pytest.raises(IntervalError, match=r"level=95: expected a probability"):
        paired_estimates(y_true, y_prob, y_prob, level=95)
