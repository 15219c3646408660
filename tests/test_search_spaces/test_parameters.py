"""A parameter says what it may be, draws only that, and refuses a declaration that makes no sense."""

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import FloatDistribution, IntDistribution

from search_spaces.parameters import Categorical, Condition, Float, Int, SpaceError, parameter_from_mapping

REASON = "Because the test says so."


def test_float_contains_both_bounds_and_nothing_outside():
    rate = Float("training.learning_rate", 1e-4, 1e-2, log=True, reason=REASON)
    assert rate.contains(1e-4)
    assert rate.contains(1e-2)
    assert not rate.contains(0.99e-4)
    assert not rate.contains(1.01e-2)


@pytest.mark.parametrize("value", [True, "0.5", None, math.nan, math.inf])
def test_float_contains_no_bool_text_or_nan(value):
    assert not Float("x", 0.0, 2.0, reason=REASON).contains(value)


@pytest.mark.parametrize("value", [True, 16.0, "16", None, 17])
def test_int_contains_only_integers_of_its_grid(value):
    assert not Int("x", 1, 64, step=7, reason=REASON).contains(value)
    assert Int("x", 1, 64, step=7, reason=REASON).contains(15)


def test_true_is_not_the_choice_one():
    assert not Categorical("x", (1, 2), reason=REASON).contains(True)
    assert not Categorical("x", (True, False), reason=REASON).contains(1)
    assert not Categorical("x", (1.0, 2.0), reason=REASON).contains(1)
    assert Categorical("x", ("adam", "sgd"), reason=REASON).contains("sgd")


@given(low=st.integers(-50, 50), step=st.integers(2, 9), steps=st.integers(1, 20), seed=st.integers(0, 99))
def test_int_grid_is_that_of_optuna(low, step, steps, seed):
    parameter = Int("x", low, low + steps * step, step=step, reason=REASON)
    distribution = IntDistribution(low, low + steps * step, step=step)
    assert distribution._contains(parameter.sample(random.Random(seed)))
    for value in range(low - 2, low + steps * step + 3):
        assert parameter.contains(value) == distribution._contains(value)


@given(tenths=st.integers(0, 9), step=st.sampled_from([0.05, 0.1, 0.2, 0.25]), steps=st.integers(1, 9))
def test_float_grid_is_that_of_optuna(tenths, step, steps):
    low = tenths / 10
    high = round(low + steps * step, 10)
    parameter = Float("x", low, high, step=step, reason=REASON)
    distribution = FloatDistribution(low, high, step=step)  # an indivisible range would warn, and fail here
    assert distribution.high == parameter.high
    for k in range(steps + 1):
        value = min(low + k * step, high)
        assert parameter.contains(value)
        assert distribution._contains(value)
    assert not parameter.contains(low + step / 2)


@given(seed=st.integers(0, 2**32))
def test_samples_lie_within(seed):
    rng = random.Random(seed)
    for parameter in (
        Float("x", -1.0, 3.0, reason=REASON),
        Float("x", 1e-4, 1e-2, log=True, reason=REASON),
        Float("x", 0.0, 0.7, step=0.05, reason=REASON),
        Int("x", 1, 100, log=True, reason=REASON),
        Int("x", 3, 7, step=2, reason=REASON),
        Categorical("x", (False, True), reason=REASON),
    ):
        value = parameter.sample(rng)
        assert parameter.contains(value)
        assert type(value) is parameter.value_type


def test_logarithmic_draws_are_uniform_in_the_logarithm():
    rng = random.Random(1)
    rate = Float("x", 1e-4, 1e-2, log=True, reason=REASON)
    below = sum(rate.sample(rng) < 1e-3 for _ in range(2000))
    assert below == pytest.approx(1000, abs=90)  # four standard deviations of a fair coin
    units = Int("x", 1, 100, log=True, reason=REASON)
    below = sum(units.sample(rng) <= 7 for _ in range(2000))  # ln(7.5 / 0.5) / ln(100.5 / 0.5) = 0.511
    assert below == pytest.approx(1021, abs=90)


def test_every_value_of_a_grid_is_drawn():
    rng = random.Random(2)
    assert {Int("x", 3, 7, step=2, reason=REASON).sample(rng) for _ in range(99)} == {3, 5, 7}
    drawn = {round(Float("x", 0.0, 0.3, step=0.1, reason=REASON).sample(rng), 9) for _ in range(99)}
    assert drawn == {0.0, 0.1, 0.2, 0.3}


BAD_NUMBERS: list[tuple[dict[str, Any], str]] = [
    ({"low": 1.0, "high": 1.0}, r"parameter 'x': low=high=1.0 leaves nothing to search; put the value into \[fixed\]"),
    ({"low": 0.1, "high": 0.001}, r"parameter 'x': low=0\.1 must be below high=0\.001; swap them"),
    ({"low": 0.0, "high": 1.0, "log": True}, r"log needs low above 0, found low=0\.0; raise low or remove log"),
    ({"low": 0.1, "high": 1.1, "log": True, "step": 0.1}, r"log together with step=0\.1 is not possible; remove one"),
    (
        {"low": 0.0, "high": 1.0, "step": 0.3},
        r"step=0\.3 does not divide the range 0\.0\.\.1\.0; use high=0\.8999+|0\.9",
    ),
    ({"low": 0.0, "high": 1.0, "step": 2.0}, r"step=2\.0 does not divide .*; use a step of at most 1\.0"),
    ({"low": 0.0, "high": 1.0, "step": 0.0}, r"step=0\.0 must be above 0"),
    ({"low": math.nan, "high": 1.0}, r"low=nan must be finite; give the largest or smallest"),
    ({"low": 0.0, "high": math.inf}, r"high=inf must be finite"),
    ({"low": "0", "high": 1.0}, r"low='0' must be a number; write it without quotes"),
    ({"low": False, "high": 1.0}, r"low=False must be a number"),
    ({"low": 0.0, "high": 1.0, "log": 1}, r"log=1 must be true or false"),
    ({"low": 0.0, "high": 1.0, "reason": "  "}, r"the reason is missing; say in a sentence"),
    ({"low": 0.0, "high": 1.0, "reason": 3}, r"the reason is missing"),
    ({"low": 0.0, "high": 1.0, "name": ""}, r"the name must be a string; use a field"),
    ({"low": 0.0, "high": 1.0, "when": {"a": 1}}, r"when=\{'a': 1\} is no tuple of conditions; write Condition"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD_NUMBERS)
def test_impossible_float_is_refused(arguments, message):
    with pytest.raises(SpaceError, match=message):
        Float(**{"name": "x", "reason": REASON, **arguments})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"low": 1, "high": 1}, r"low=high=1 leaves nothing to search"),
        ({"low": 9, "high": 1}, r"low=9 must be below high=1; swap them"),
        ({"low": True, "high": 3}, r"low=True must be an integer; round it, or write type = 'float'"),
        ({"low": 1, "high": 3.0}, r"high=3\.0 must be an integer"),
        ({"low": 0, "high": 8, "log": True}, r"log needs low above 0, found low=0"),
        ({"low": 1, "high": 9, "log": True, "step": 2}, r"log together with step=2 is not possible"),
        ({"low": 16, "high": 64, "step": 20}, r"step=20 does not divide the range 16\.\.64; use high=56"),
        ({"low": 16, "high": 64, "step": 50}, r"step=50 does not divide the range 16\.\.64; use a step of at most 48"),
        ({"low": 1, "high": 9, "step": -1}, r"step=-1 must be above 0"),
    ],
)
def test_impossible_int_is_refused(arguments, message):
    with pytest.raises(SpaceError, match=message):
        Int(name="x", reason=REASON, **arguments)


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ((), r"parameter 'x': choices=\(\): at least two are expected"),
        ((32,), r"choices=\(32,\): at least two are expected; one value belongs into \[fixed\]"),
        ([16, 32], r"choices=\[16, 32\]: at least two"),
        ((16, 32, 16), r"the choice 16 is listed twice; remove one"),
        ((True, 1), r"choices are of type bool, int; write all as one of"),
        ((1, 2.0), r"choices are of type float, int"),
        (((1,), (2,)), r"choices are of type tuple"),
        ((1.0, math.nan), r"choices=\[1\.0, nan\] must be finite; remove nan and inf"),
    ],
)
def test_impossible_choices_are_refused(choices, message):
    with pytest.raises(SpaceError, match=message):
        Categorical("x", choices, reason=REASON)


def test_condition_without_values_is_refused():
    with pytest.raises(SpaceError, match=r"when 'network\.blocks': expected a list of at least one value"):
        Condition("network.blocks", ())


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (3, r"parameter 'x': 3 is no table; write \[parameters\.'x'\]"),
        ({"type": "real"}, r"parameter 'x': type='real' is unknown; choose one of float, int, categorical"),
        ({}, r"type=None is unknown"),
        ({"type": ["int"]}, r"type=\['int'\] is unknown"),
        (
            {"filters_1": {"type": "int"}},
            r"'filters_1' is a table; put the name in quotes: \[parameters\.\"x\.filters_1",
        ),
        ({"type": "int", "low": 1}, r"high, reason missing; a parameter of type int needs low, high, reason"),
        ({"type": "int", "low": 1, "high": 2, "reason": REASON, "lo": 1}, r"unknown key 'lo'; known: type, low, high"),
        ({"type": "categorical", "choices": [1, 2], "reason": REASON, "log": True}, r"unknown key 'log'"),
        ({"type": "categorical", "choices": "ab", "reason": REASON}, r"choices='ab': at least two"),
        (
            {"type": "int", "low": 1, "high": 2, "reason": REASON, "when": {"a": 3}},
            r"when=\{'a': 3\} is not understood",
        ),
        (
            {"type": "int", "low": 1, "high": 2, "reason": REASON, "when": [3]},
            r"when=\[3\] is not understood; write e\.g",
        ),
    ],
)
def test_impossible_declaration_is_refused(declaration, message):
    with pytest.raises(SpaceError, match=message):
        parameter_from_mapping("x", declaration)


@pytest.mark.parametrize(
    "parameter",
    [
        Float("x", 0, 1, reason=REASON),
        Float("x", 0.0, 0.5, step=0.05, when=(Condition("y", (1, 2)),), reason=REASON),
        Int("x", 1, 100, log=True, reason=REASON),
        Int("x", 16, 64, step=8, reason=REASON),
        Categorical("x", (True, False), when=(Condition("y", ("a",)), Condition("z", (3,))), reason=REASON),
    ],
)
def test_mapping_gives_the_same_parameter_back(parameter):
    assert parameter_from_mapping("x", parameter.to_mapping()) == parameter


def test_words_for_what_is_expected():
    assert Int("x", 16, 64, step=8, reason=REASON).expected == "an integer in 16..64 in steps of 8 from 16"
    assert Float("x", 0, 1, reason=REASON).expected == "a number in 0.0..1.0"
    assert Categorical("x", ("a", "b"), reason=REASON).expected == "one of 'a', 'b'"
