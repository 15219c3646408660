"""What made the difference: best trials with and without a choice, on the same images."""

from typing import Any

import pytest

from results.difference import contrasts
from results.log.state import RunState
from results.stats.intervals import paired_difference_interval

N = 40


def run(hand: Any, *trials: tuple[int, str, str, str]) -> RunState:
    """Trials by number of right images, preparation, family and status; those right are the first ones."""
    state = RunState()
    state.apply(hand.study(validation_images=N))
    for number, (right, steps, family, status) in enumerate(trials):
        configuration = {"prepare.steps": steps, "network.family": family}
        correct = [image < right for image in range(N)]
        for event in hand.trial(number, [right / N], status, configuration=configuration, right=correct):
            state.apply(event)
    return state


def test_each_choice_is_compared_with_the_best_trial_without_it(hand: Any) -> None:
    state = run(
        hand,
        (24, "", "course", "completed"),
        (26, "", "course", "completed"),
        (34, "align", "course", "stopped"),
        (38, "align", "drift", "completed"),
        (20, "align", "small", "completed"),
    )
    preparation, family, rest = contrasts(state)
    assert (preparation.chosen, preparation.best.started.trial) == ("align", 3)
    assert (preparation.other, preparation.without.started.trial) == ("none", 1)
    assert (family.chosen, family.other, family.without.started.trial) == ("drift", "course", 2)
    assert (rest.best.started.trial, rest.without.started.trial) == (1, 0)
    expected = paired_difference_interval([i < 38 for i in range(N)], [i < 34 for i in range(N)])
    assert family.difference == expected
    assert family.difference.difference == pytest.approx(0.1)


def test_a_trial_that_differs_in_one_choice_alone_is_preferred(hand: Any) -> None:
    state = run(
        hand,
        (30, "", "course", "completed"),
        (26, "", "drift", "completed"),
        (38, "align", "drift", "completed"),
        (32, "align", "course", "completed"),
    )
    preparation, family, rest = contrasts(state)
    assert preparation.without.started.trial == 1
    assert family.without.started.trial == 3
    assert rest.best is rest.without
    assert rest.difference is None


def test_trials_of_before_there_were_families_are_of_the_course_without_preparation(hand: Any) -> None:
    state = RunState()
    state.apply(hand.study(validation_images=N))
    for number, values in enumerate(({}, {}, {"network.family": "course", "prepare.steps": ""})):
        for event in hand.trial(number, [0.5 + number / 8], configuration=values):
            state.apply(event)
    assert contrasts(state) == ()
    for event in hand.trial(3, [0.9], configuration={"network.family": "small", "prepare.steps": "align"}):
        state.apply(event)
    assert [one.other for one in contrasts(state)] == ["none", "course", "the baseline's"]
    assert contrasts(state)[-1].best.started.trial == 2


def test_what_does_not_vary_has_no_contrast(hand: Any) -> None:
    state = run(hand, (24, "align", "course", "completed"), (30, "align", "small", "completed"))
    assert [one.what for one in contrasts(state)] == ["family", "all other parameters"]
    assert contrasts(run(hand, (24, "", "course", "completed"), (30, "", "course", "completed"))) == ()
    assert contrasts(RunState()) == ()


def test_without_flags_of_right_images_there_is_no_interval(hand: Any) -> None:
    state = RunState()
    state.apply(hand.study(validation_images=N))
    for number, family in enumerate(("course", "drift")):
        for event in hand.trial(number, [0.5 + number / 4], configuration={"network.family": family}):
            state.apply(event)
    assert [one.difference for one in contrasts(state)] == [None, None]
