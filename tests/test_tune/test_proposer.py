"""The proposer against real Optuna: what it is told, and that it proposes what the space holds."""

import random
from typing import Any

import pytest

from results.errors import RecordError
from results.log.records import AttemptEnded, Epoch, Status, TrialEnded, TrialStarted
from results.log.state import TrialState
from search_spaces.space import Space, load_space
from tune.loop.proposer import Proposer, frozen_trial


def record(number: int, parameters: dict[str, Any], status: str, curve: list[float]) -> TrialState:
    trial = TrialState(
        TrialStarted(trial=number, parameters=parameters, configuration=parameters, seed=0, max_epochs=9)
    )
    for epoch, value in enumerate(curve, start=1):
        trial.add_epoch(Epoch(trial=number, attempt=0, epoch=epoch, validation_accuracy=value))
    trial.ended = TrialEnded(trial=number, status=status, reason="", epochs=len(curve))
    return trial


def proposer(space: Space, sampler: str = "tpe", seed: int = 1) -> Proposer:
    return Proposer(space, sampler=sampler, startup_trials=5, seed=seed)


@pytest.mark.parametrize("sampler", ["tpe", "random"])
@pytest.mark.parametrize("name", ["baseline", "extended"])
def test_every_proposal_is_a_point_of_the_space(name: str, sampler: str) -> None:
    space = load_space(name)
    ours = proposer(space, sampler)
    rng = random.Random(1)
    for number in range(25):
        values = ours.propose(number)
        space.validate(values)
        ours.tell(record(number, values, Status.COMPLETED, [rng.random()]))


def test_optuna_is_told_what_really_happened() -> None:
    ours = proposer(load_space("baseline"))
    curves = {Status.COMPLETED: [0.5, 0.7, 0.6], Status.STOPPED: [0.4, 0.3], Status.DIVERGED: [0.3], Status.FAILED: []}
    for number, (status, curve) in enumerate(curves.items()):
        ours.tell(record(number, ours.propose(number), status, curve))
    completed, stopped, diverged, failed = ours.study.trials
    assert (completed.state.name, completed.value) == ("COMPLETE", 0.7)
    assert (stopped.state.name, stopped.intermediate_values) == ("PRUNED", {1: 0.4, 2: 0.4})
    assert (diverged.state.name, diverged.constraints) == ("PRUNED", {"trainable": 1.0})
    assert failed.state.name == "FAIL"


def test_a_configuration_that_ran_out_of_memory_is_infeasible_other_failures_are_not() -> None:
    ours, rebuilt = proposer(load_space("baseline")), proposer(load_space("baseline"))
    causes = [["memory"], [None, "memory"], ["memory", None], [None]]
    for number, attempts in enumerate(causes):
        trial = record(number, ours.propose(number), Status.FAILED, [])
        for attempt, cause in enumerate(attempts):
            trial.attempts_ended[attempt] = AttemptEnded(trial=number, attempt=attempt, why="", cause=cause)
        ours.tell(trial)
        rebuilt.add(trial)
    for study in (ours.study, rebuilt.study):
        assert [t.state.name for t in study.trials] == ["PRUNED", "PRUNED", "FAIL", "FAIL"]
        assert [t.constraints for t in study.trials] == [{"trainable": 1.0}, {"trainable": 1.0}, {}, {}]


@pytest.mark.parametrize("name", ["baseline", "extended"])
def test_a_rebuilt_proposer_proposes_what_the_first_one_would(name: str) -> None:
    space = load_space(name)
    first, rng = proposer(space), random.Random(2)
    told = []
    for number in range(18):
        status = rng.choice([Status.COMPLETED, Status.STOPPED, Status.DIVERGED, Status.FAILED])
        told.append(record(number, first.propose(number), status, [rng.random() for _ in range(3)]))
        first.tell(told[-1])
    running = record(18, first.propose(18), Status.FAILED, [])
    running.ended = None
    second = proposer(space)
    second.rebuild([*told, running])
    for told_trial, rebuilt in zip(first.study.trials, second.study.trials, strict=True):
        assert (rebuilt.state, rebuilt.values, rebuilt.params) == (
            told_trial.state,
            told_trial.values,
            told_trial.params,
        )
        assert rebuilt.intermediate_values == told_trial.intermediate_values
    assert second.propose(19) == first.propose(19)


def test_a_study_that_is_not_whole_is_a_bug_that_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="trial 3 is 0 for Optuna; the rebuilt study is not whole"):
        proposer(load_space("baseline")).propose(3)


def test_tpe_avoids_a_region_told_as_diverged() -> None:
    """FACTS: told as FAIL most proposals go on diverging; told as infeasible about a third do."""
    space = Space.from_mapping(
        {
            "name": "cliff",
            "description": "Better and better up to a cliff.",
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0, "reason": "The only one."}},
        }
    )

    def diverging(told_as: str) -> int:
        count = 0
        for seed in range(6):
            ours = proposer(space, seed=seed)
            for number in range(40):
                values = ours.propose(number)
                x = float(values["x"])
                over = x > 0.5
                count += over and number >= 5
                ours.tell(record(number, values, told_as if over else Status.COMPLETED, [] if over else [x]))
        return count

    infeasible, failed = diverging(Status.DIVERGED), diverging(Status.FAILED)
    assert infeasible <= failed / 2, (infeasible, failed)


STATUSES = [Status.COMPLETED, Status.STOPPED, Status.STOPPED, Status.DIVERGED, Status.FAILED]


def search_on(ours: Proposer, known: dict[int, TrialState], numbers: range, rng: random.Random) -> list[dict[str, Any]]:
    """Propose trials, five at once, of which any may end next in any way; return the proposals."""
    proposed = []
    for number in numbers:
        parameters = ours.propose(number)
        proposed.append(parameters)
        known[number] = record(number, parameters, Status.FAILED, [])
        known[number].ended = None
        running = [n for n, trial in known.items() if trial.ended is None]
        if len(running) >= 5:
            ended = rng.choice(running)
            curve = [rng.choice([0.2, 0.4, rng.random()]) for _ in range(rng.randint(1, 4))]
            known[ended] = record(ended, dict(known[ended].parameters), rng.choice(STATUSES), curve)
            ours.tell(known[ended])
    return proposed


def test_up_to_a_thousand_trials_the_sampler_sees_all_of_them_and_then_proposes_what_it_would_after_a_resume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = load_space("extended")
    whole, known = proposer(space), dict[int, TrialState]()
    first = search_on(whole, known, range(60), random.Random(3))
    monkeypatch.setattr("tune.loop.proposer.MOST", 60)
    ours, known = proposer(space), dict[int, TrialState]()
    assert search_on(ours, known, range(60), random.Random(3)) == first
    search_on(ours, known, range(60, 90), random.Random(4))
    rebuilt = proposer(space)
    rebuilt.rebuild(known[number] for number in sorted(known))
    again = search_on(rebuilt, dict(known), range(90, 110), random.Random(5))
    assert again == search_on(ours, known, range(90, 110), random.Random(5))
    assert len(ours.study.trials) == 110, "all are there for everyone but the sampler"


def test_the_best_as_tpe_ranks_them_and_those_that_run_are_in_the_window(monkeypatch: pytest.MonkeyPatch) -> None:
    from optuna.samplers._tpe.sampler import _split_trials

    monkeypatch.setattr("tune.loop.proposer.MOST", 120)
    ours, known = proposer(load_space("baseline"), sampler="random"), dict[int, TrialState]()
    search_on(ours, known, range(400), random.Random(6))
    seen = ours.study.get_trials(deepcopy=False)
    assert len(seen) < 160
    assert {n for n, trial in known.items() if trial.ended is None} <= {trial.number for trial in seen}
    for wanted in (5, 25):
        whole = [trial for trial in ours.study.trials if trial.state.name != "FAIL"]
        best, _ = _split_trials(ours.study, whole, wanted)
        ours_best, _ = _split_trials(ours.study, [trial for trial in seen if trial.state.name != "FAIL"], wanted)
        assert [trial.number for trial in ours_best] == [trial.number for trial in best]


def test_a_study_that_draws_many_at_random_does_not_do_so_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune.loop.proposer.MOST", 20)
    ours = Proposer(load_space("baseline"), sampler="random", startup_trials=50, seed=1)
    search_on(ours, {}, range(300), random.Random(1))
    seen = [trial for trial in ours.study.get_trials(deepcopy=False) if trial.state.name in ("COMPLETE", "PRUNED")]
    assert 50 <= len(seen) <= 200


def test_a_trial_that_is_no_point_of_the_space_is_named() -> None:
    space = load_space("baseline")
    values = space.sample(random.Random(1))
    for wrong in ({**values, "network.colour": 1}, {**values, "training.learning_rate": 99.0}):
        with pytest.raises(RecordError, match="is no point of space 'baseline'; restore the log from a copy"):
            frozen_trial(record(0, wrong, Status.COMPLETED, [0.5]), space)
