"""Objectives are what scikit-learn computes, and their intervals and tests cover and err as often as they say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    log_loss,
    recall_score,
    roc_auc_score,
    roc_curve,
)

from results.errors import RecordError
from results.objective import NAMES, Objective
from results.stats import objectives
from results.stats.objectives import (
    DRAWS,
    drawn_difference,
    drawn_values,
    interval,
    objective_value,
    pack_values,
    unpack_values,
)
from results.stats.seeds import drawn_difference_over_retrainings, drawn_over_retrainings

CLASSES = ("squiggle", "narrowbanddrd", "narrowband", "noise")
Labels, Floats = npt.NDArray[np.int64], npt.NDArray[np.float64]
ALL = [Objective(name, "noise", 0.05) for name in NAMES]  # type: ignore[arg-type]
WITH_DRAWS = [one for one in ALL if not one.is_accuracy]
EACH = pytest.mark.parametrize("objective", WITH_DRAWS, ids=NAMES[1:])


def images(
    seed: int, n: int, skill: float = 1.0, shares: tuple[float, ...] = (0.3, 0.25, 0.2, 0.25), coarse: bool = False
) -> tuple[Labels, Floats]:
    """Labels, and what a network of some skill says of them."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(4, n, p=shares)
    return truth, said(rng, truth, skill, coarse)


def said(rng: np.random.Generator, truth: Labels, skill: float, coarse: bool = False) -> Floats:
    logits = rng.normal(size=(truth.size, 4)) + skill * np.eye(4)[truth]
    if coarse:
        logits = np.round(logits)  # many equal probabilities
    exponents = np.exp(logits)
    return exponents / exponents.sum(axis=1, keepdims=True)


def sklearn_value(objective: Objective, truth: Labels, probabilities: Floats) -> float:
    predicted = probabilities.argmax(axis=1)
    match objective.name:
        case "accuracy":
            return float(accuracy_score(truth, predicted))
        case "balanced_accuracy":
            return float(balanced_accuracy_score(truth, predicted))
        case "macro_f1":
            return float(f1_score(truth, predicted, average="macro"))
        case "auc":
            return float(roc_auc_score(truth, probabilities, multi_class="ovr", average="macro", labels=range(4)))
        case "loss":
            return float(log_loss(truth, probabilities, labels=range(4)))
    false, true, _ = roc_curve(truth != 3, 1 - probabilities[:, 3], drop_intermediate=False)
    return float(true[false <= objective.false_alarm].max())


@pytest.mark.parametrize("objective", ALL, ids=NAMES)
@pytest.mark.parametrize("coarse", [False, True])
def test_each_objective_is_that_of_scikit_learn(objective: Objective, coarse: bool) -> None:
    for seed in range(5):
        truth, probabilities = images(seed, 300, coarse=coarse)
        found = objective_value(objective, truth, probabilities, CLASSES)
        assert found == pytest.approx(sklearn_value(objective, truth, probabilities), abs=1e-12)


@given(st.integers(0, 10**6), st.integers(30, 80), st.floats(0, 4), st.sampled_from(ALL))
@settings(max_examples=60, deadline=None)
def test_a_weighted_value_is_that_of_the_images_repeated(seed: int, n: int, skill: float, objective: Objective) -> None:
    truth, probabilities = images(seed, n, skill, coarse=True)
    weights = np.random.default_rng(seed).integers(0, 3, (2, n)).astype(np.float64)
    found = objectives._weighted(objective, truth, probabilities, CLASSES)(weights)
    for row, value in zip(weights.astype(int), found, strict=True):
        chosen = np.repeat(np.arange(n), row)
        expected = objective_value(objective, truth[chosen], probabilities[chosen], CLASSES)
        assert value == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_a_class_that_does_not_occur_is_left_out_and_a_background_that_is_none_gives_no_number() -> None:
    truth, probabilities = images(1, 200, shares=(0.5, 0.5, 0.0, 0.0))
    by_hand = recall_score(truth, probabilities.argmax(axis=1), labels=[0, 1], average="macro")
    assert objective_value(Objective("balanced_accuracy"), truth, probabilities, CLASSES) == pytest.approx(by_hand)
    for background in ("noise", "hum"):
        at_rate = Objective("recall_at_false_alarm", background)
        assert math.isnan(objective_value(at_rate, truth, probabilities, CLASSES))
        assert np.isnan(drawn_values(at_rate, truth, probabilities, CLASSES)).all()


@EACH
def test_the_same_images_are_drawn_for_every_network_and_each_class_keeps_its_number(objective: Objective) -> None:
    truth, probabilities = images(2, 150)
    assert (
        drawn_values(objective, truth, probabilities, CLASSES) == drawn_values(objective, truth, probabilities, CLASSES)
    ).all()
    weights = np.concatenate(list(objectives._draws(truth)))
    assert weights.shape == (DRAWS, 150)
    for label in range(4):
        assert (weights[:, truth == label].sum(axis=1) == (truth == label).sum()).all()
    assert np.abs(weights.mean(axis=0) - 1).max() < 5 / math.sqrt(DRAWS)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=DRAWS, max_size=DRAWS))
def test_drawn_values_survive_as_text(values: list[float]) -> None:
    assert unpack_values(pack_values(values)).tolist() == values


@pytest.mark.parametrize("text", ["?", "AAAA", pack_values([0.0] * (DRAWS - 1))])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(RecordError, match=r"drawn values.*; restore the log from a copy"):
        unpack_values(text)


def covered(limits: list[tuple[float, float]], truth: float) -> float:
    return float(np.mean([low <= truth <= high for low, high in limits]))


SETS = [(80, (0.25, 0.25, 0.25, 0.25)), (800, (0.25, 0.25, 0.25, 0.25)), (800, (0.05, 0.05, 0.1, 0.8))]
FEW, MANY = 60, 500  # simulated sets of images


@EACH
@pytest.mark.parametrize(
    ("n", "shares", "runs"),
    [
        (120, (0.25, 0.25, 0.25, 0.25), FEW),
        *(pytest.param(n, shares, MANY, marks=pytest.mark.slow) for n, shares in SETS),
    ],
)
def test_intervals_of_a_value_and_of_a_difference_cover_about_95_percent(
    objective: Objective, n: int, shares: tuple[float, ...], runs: int
) -> None:
    def pair(rng: np.random.Generator, truth: Labels) -> tuple[Floats, Floats]:
        common = rng.normal(size=(truth.size, 4)) + 1.5 * np.eye(4)[truth]
        both = (common + 0.7 * rng.normal(size=common.shape) + more * np.eye(4)[truth] for more in (0.4, 0.0))
        a, b = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in both)
        return a, b

    rng = np.random.default_rng(5)
    counts = np.round(n * np.array(shares)).astype(int)
    many = np.repeat(np.arange(4), 100 * counts)
    true = [objective_value(objective, many, one, CLASSES) for one in pair(rng, many)]
    of_value, of_difference = [], []
    for _ in range(runs):
        truth = np.repeat(np.arange(4), counts)
        values, drawn = [], []
        for one in pair(rng, truth):
            values.append(objective_value(objective, truth, one, CLASSES))
            drawn.append(drawn_values(objective, truth, one, CLASSES))
        found = interval(objective, values[0], drawn[0])
        of_value.append((found.low, found.high))
        differ = drawn_difference(values[0], values[1], drawn[0], drawn[1], n)
        of_difference.append((differ.low, differ.high))
        assert (differ.p_value < 0.05) == (differ.low > 0 or differ.high < 0)
    # Less three deviations of a binomial; a recall at a rate rests on a handful of images.
    least = (0.88 if objective.name == "recall_at_false_alarm" else 0.92) - 3 * math.sqrt(0.05 / runs)
    print(objective.name, n, shares, covered(of_value, true[0]), covered(of_difference, true[0] - true[1]))
    assert covered(of_value, true[0]) >= least
    assert covered(of_difference, true[0] - true[1]) >= least


@EACH
@pytest.mark.parametrize("runs", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_equal_networks_are_told_apart_in_about_one_case_of_twenty(objective: Objective, runs: int) -> None:
    rng, n, wrong = np.random.default_rng(6), 400, 0
    for _ in range(runs):
        truth = np.repeat(np.arange(4), n // 4)
        both = [said(rng, truth, 1.5) for _ in range(2)]
        values = [objective_value(objective, truth, one, CLASSES) for one in both]
        drawn = [drawn_values(objective, truth, one, CLASSES) for one in both]
        wrong += drawn_difference(values[0], values[1], drawn[0], drawn[1], n).p_value < 0.05
    print(f"{objective.name}: {wrong / runs:.3f} told apart")
    assert wrong / runs <= 0.06 + 3 * math.sqrt(0.05 / runs)


def test_networks_of_equal_predictions_are_not_told_apart_and_have_no_interval_without_a_spread() -> None:
    truth, probabilities = images(7, 100)
    for objective in WITH_DRAWS:
        value, drawn = (of(objective, truth, probabilities, CLASSES) for of in (objective_value, drawn_values))
        assert drawn_difference(value, value, drawn, drawn, 100).p_value == 1
    certain = np.eye(4)[truth]
    for objective in WITH_DRAWS:
        value, drawn = (of(objective, truth, certain, CLASSES) for of in (objective_value, drawn_values))
        found = interval(objective, value, drawn)
        assert found.value == value
        assert math.isnan(found.low)


def retrained(rng: np.random.Generator, truth: Labels, skill: float, seeds: int) -> list[Floats]:
    easy = rng.normal(size=(truth.size, 4))  # what all retrainings find easy or hard alike
    skills = skill + 0.15 * rng.normal(size=seeds)
    logits = [easy + 0.8 * rng.normal(size=easy.shape) + one * np.eye(4)[truth] for one in skills]
    return [np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in logits]


@EACH
@pytest.mark.parametrize("runs", [20, pytest.param(400, marks=pytest.mark.slow)])
def test_intervals_over_retrainings_cover_about_95_percent(objective: Objective, runs: int) -> None:
    rng, seeds, counts = np.random.default_rng(8), 4, (60, 60, 60, 120)
    many = np.repeat(np.arange(4), [4000, 4000, 4000, 8000])
    true = [
        float(
            np.mean(
                [
                    objective_value(objective, many, one, CLASSES)
                    for _ in range(3)
                    for one in retrained(rng, many, skill, 8)
                ]
            )
        )
        for skill in (2.0, 1.7)
    ]
    of_mean, of_difference = [], []
    for _ in range(runs):
        truth = np.repeat(np.arange(4), counts)
        parts: list[Any] = []
        for skill in (2.0, 1.7):
            of = retrained(rng, truth, skill, seeds)
            parts.append(
                (
                    [objective_value(objective, truth, one, CLASSES) for one in of],
                    np.stack([drawn_values(objective, truth, one, CLASSES) for one in of]),
                )
            )
        mean = drawn_over_retrainings(*parts[0], truth.size, is_share=not objective.is_minimised).mean
        of_mean.append((mean.low, mean.high))
        differ = drawn_difference_over_retrainings(parts[0], parts[1], truth.size)
        of_difference.append((differ.low, differ.high))
    print(f"{objective.name}: {covered(of_mean, true[0]):.3f} {covered(of_difference, true[0] - true[1]):.3f}")
    least = 0.92 - 3 * math.sqrt(0.05 / runs)
    assert covered(of_mean, true[0]) >= least
    assert covered(of_difference, true[0] - true[1]) >= least


def test_one_retraining_says_nothing_of_the_spread_over_seeds() -> None:
    truth, probabilities = images(9, 100)
    values, drawn = [0.5], drawn_values(ALL[1], truth, probabilities, CLASSES)[None]
    assert math.isnan(drawn_over_retrainings(values, drawn, 100, is_share=True).mean.low)
    assert math.isnan(drawn_difference_over_retrainings((values, drawn), (values, drawn), 100).low)
