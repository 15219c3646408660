"""Who is retrained, who wins, and when a decision is out of date."""

import math
from typing import Any

import pytest

from results.finals import baseline_of, decide, finalists, is_stale, standings
from results.log.records import Event, FinalsDecided, TrialEnded, TrialStarted
from results.log.state import RunState


def retraining(hand: Any, trial: int, repeat: int, accuracies: list[float], status: str = "completed") -> list[Event]:
    import dataclasses

    return [dataclasses.replace(e, repeat=repeat) for e in hand.trial(trial, accuracies, status, reason="why")]


def numbers(trials: list[Any]) -> list[int]:
    return [trial.started.trial for trial in trials]


@pytest.fixture
def searched(hand: Any) -> list[Event]:
    """Trials 1 to 5 reach 0.5, 0.8, 0.7, 0.7, 0.7; the baseline 0.6; trial 6 was stopped at 0.9."""
    events = [hand.study(), *hand.trial(0, [0.4, 0.6])]
    for number, accuracy in enumerate((0.5, 0.8, 0.7, 0.7, 0.7), start=1):
        events += hand.trial(number, [0.1, accuracy])
    return events + hand.trial(6, [0.9], "stopped")


@pytest.mark.parametrize(
    ("wanted", "most", "expected"),
    [
        (1, 6, [2, 0]),
        (2, 6, [2, 3, 4, 5, 0]),  # trials 4 and 5 tie with the last one taken
        (2, 3, [2, 3, 4, 0]),  # up to the cap
        (5, 5, [2, 3, 4, 5, 0]),  # the baseline is among the best and not there twice
        (20, 20, [2, 3, 4, 5, 0, 1]),
    ],
)
def test_the_best_are_retrained_with_their_ties_and_always_the_baseline(
    searched: list[Event], wanted: int, most: int, expected: list[int]
) -> None:
    assert numbers(finalists(RunState(searched), wanted, most)) == expected


@pytest.mark.parametrize(("status", "expected"), [("diverged", [1, 0]), ("stopped", [1, 0]), ("failed", [1])])
def test_a_baseline_that_diverged_gets_another_chance_and_one_that_failed_does_not(
    hand: Any, status: str, expected: list[int]
) -> None:
    state = RunState([hand.study(), *hand.trial(0, [], status), *hand.trial(1, [0.5])])
    assert numbers(finalists(state, 3, 6)) == expected


def test_without_a_completed_trial_there_is_nobody_to_retrain(hand: Any) -> None:
    state = RunState([hand.study(), *hand.trial(0, [], "diverged")])
    assert finalists(state, 3, 6) == []
    assert decide(state, [], 3) is None


def test_the_best_mean_wins_not_the_best_single_training(hand: Any, searched: list[Event]) -> None:
    for repeat, (two, three) in enumerate([(0.9, 0.7), (0.5, 0.72), (0.6, 0.71)]):
        searched += retraining(hand, 2, repeat, [two]) + retraining(hand, 3, repeat, [0.1, three, 0.2])
    state = RunState(searched)
    first, second = standings(state, [2, 3], 3)
    assert (first.trial, second.trial) == (3, 2)
    assert first.mean == pytest.approx(0.71)
    assert first.optimism == pytest.approx(0.7 - 0.71)
    assert second.optimism == pytest.approx(0.8 - 2.0 / 3)
    decision = decide(state, [2, 3], 3)
    assert decision is not None
    assert (decision.winner, decision.delivered) == (3, 1)  # its best retraining on validation
    assert (decision.finalists, decision.seeds, decision.search_trials) == ((2, 3), 3, 7)


def test_a_configuration_that_loses_a_retraining_ranks_below_those_that_lose_none(
    hand: Any, searched: list[Event]
) -> None:
    searched += retraining(hand, 2, 0, [0.9]) + retraining(hand, 2, 1, [], "diverged")
    searched += retraining(hand, 3, 0, [0.6]) + retraining(hand, 3, 1, [0.6])
    best, other = standings(RunState(searched), [2, 3], 2)
    assert best.trial == 3
    assert other.lost == ("diverged: why",)
    assert other.objectives == (0.9,)


def test_equal_means_are_decided_by_the_trial_number_and_equal_seeds_by_the_first(
    hand: Any, searched: list[Event]
) -> None:
    for repeat in (0, 1):
        searched += retraining(hand, 3, repeat, [0.6]) + retraining(hand, 2, repeat, [0.6])
    decision = decide(RunState(searched), [3, 2], 2)
    assert decision is not None
    assert (decision.winner, decision.delivered) == (2, 0)


def test_finals_in_which_every_retraining_was_lost_decide_nothing(hand: Any, searched: list[Event]) -> None:
    searched += retraining(hand, 2, 0, [], "diverged")
    state = RunState(searched)
    assert decide(state, [2], 1) is None
    assert math.isnan(standings(state, [2], 1)[0].mean)


def test_a_decision_is_stale_once_another_trial_has_ended(hand: Any, searched: list[Event]) -> None:
    decision = FinalsDecided(finalists=[2, 0], seeds=1, search_trials=7, winner=2, delivered=0)  # type: ignore[arg-type]
    state = RunState(searched)
    state.decisions.append(decision)  # without the retrainings, which are of no interest here
    assert not is_stale(state)
    assert baseline_of(state, decision) == 0
    state.apply(TrialStarted(trial=7, parameters={}, configuration={}, seed=1, max_epochs=3))
    assert not is_stale(state), "a trial that runs changes nothing yet"
    state.apply(TrialEnded(trial=7, status="failed", reason="", epochs=0))
    assert is_stale(state)
