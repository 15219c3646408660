import math

from hypothesis import given
from hypothesis import strategies as st

from tune.loop.asha import decide, is_exempt, rung_epochs

VALUES = st.floats(0, 1)


def test_rungs_are_whole_epochs_below_the_last_one() -> None:
    assert rung_epochs(4, 3, 12) == (4,)
    assert rung_epochs(1, 3, 81) == (1, 3, 9, 27)
    assert rung_epochs(12, 3, 12) == ()


def test_no_rung_is_lost_to_a_logarithm() -> None:
    """The float logarithm of factor 3 up to 243, and of 10 up to 1000, loses one."""
    assert rung_epochs(1, 3, 244) == (1, 3, 9, 27, 81, 243)
    assert rung_epochs(1, 10, 1001) == (1, 10, 100, 1000)


def test_one_in_three_goes_on_when_they_arrive_from_best_to_worst() -> None:
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4]
    went_on = [value for i, value in enumerate(values) if not decide(value, sorted(values[:i]), 3).stop]
    assert went_on == [0.9]


def test_a_hand_computed_rung() -> None:
    decision = decide(0.6, [0.2, 0.5, 0.6, 0.7, 0.9], 3)
    assert (decision.seen, decision.better, decision.cutoff, decision.stop) == (6, 2, 0.7, True)


@given(value=VALUES, others=st.lists(VALUES, max_size=30), factor=st.integers(2, 5))
def test_a_trial_stops_exactly_when_it_is_below_the_cutoff(value: float, others: list[float], factor: int) -> None:
    decision = decide(value, sorted(others), factor)
    assert decision.stop == (value < decision.cutoff)
    assert decision.better == sum(o > value for o in others)


@given(values=st.lists(VALUES, min_size=1, max_size=30), factor=st.integers(2, 5))
def test_the_best_so_far_and_its_equals_always_go_on(values: list[float], factor: int) -> None:
    assert not decide(max(values), sorted(values), factor).stop


@given(values=st.lists(VALUES | st.sampled_from([0.25, 0.5, 0.75]), min_size=1, max_size=30), factor=st.integers(2, 5))
def test_the_cutoff_is_the_last_value_that_goes_on_counted_from_the_best(values: list[float], factor: int) -> None:
    value, *others = values
    places = math.ceil(len(values) / factor)
    assert decide(value, sorted(others), factor).cutoff == sorted(values, reverse=True)[places - 1]


@given(st.floats(0, 1), st.integers(0, 300))
def test_the_share_of_exempt_trials_is_the_one_asked_for(fraction: float, n: int) -> None:
    exempt = sum(is_exempt(trial, fraction) for trial in range(n + 1))
    assert exempt == math.floor(n * fraction)
    assert not is_exempt(0, fraction)
