"""What a search may cost in core-hours: no epoch begins after it, whoever goes on with the run."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, Crash

from results.log.reading import read_events
from results.log.records import Epoch
from results.log.state import load_run
from tune.loop.next_work import has_work
from tune.process.driver import run_study
from tune.study import Study, load_study
from tune.view.eta import epochs_left

EPOCH_S = 1.0  # of the bench


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Callable[[float], Study]:
    def with_budget(epochs: float) -> Study:
        path = quick_study(trials=30, extra="[resources]\ncpus_per_trial = 2\n")
        hours = epochs * EPOCH_S * 2 / 3600
        path.write_text(path.read_text().replace("[study]", f"[study]\ncore_hours = {hours!r}"))
        return load_study(path)

    return with_budget


def spent(run: Path) -> int:
    """Epochs of the search, also those that were done again."""
    return sum(isinstance(e, Epoch) and e.repeat is None for e in read_events(run))


@pytest.mark.parametrize("workers", [1, 4])
def test_it_is_passed_by_an_epoch_a_worker_at_most(
    study: Callable[[float], Study], tmp_path: Path, workers: int
) -> None:
    state = Bench(study(40), tmp_path / "run", workers=workers, epoch_seconds=EPOCH_S).run(random.Random(1))
    assert 40 <= spent(tmp_path / "run") <= 40 + workers - 1
    assert state.n_search < 30
    cut = [t for t in state.search_trials() if t.ended and "core-hours" in t.ended.reason]
    assert 1 <= len(cut) <= workers
    assert {t.status for t in cut} <= {"stopped"}
    assert cut[0].ended is not None
    assert cut[0].ended.reason == f"the {40 * 2 / 3600:g} core-hours of the study are spent"
    assert state.final_trials(), "the finals come on top"


def test_a_run_that_goes_on_spends_no_more_and_a_larger_budget_begins_new_trials(
    study: Callable[[float], Study], tmp_path: Path
) -> None:
    run, rng = tmp_path / "run", random.Random(3)
    for _ in range(6):
        with pytest.raises(Crash, match=r"^$"):
            Bench(study(40), run, crash_after=rng.randint(5, 20), epoch_seconds=EPOCH_S).run()
    state = Bench(study(40), run, epoch_seconds=EPOCH_S).run()
    assert spent(run) == 40
    assert not has_work(study(40), state)
    assert not state.open
    more = Bench(study(60), run, epoch_seconds=EPOCH_S).run()
    assert spent(run) == 60
    assert more.n_search > state.n_search


def test_an_interrupted_trial_of_a_spent_search_is_stopped_without_an_attempt(
    study: Callable[[float], Study], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash, match=r"^$"):
        Bench(study(40), run, crash_after=7, epoch_seconds=EPOCH_S).run()
    (key,) = load_run(run).open
    state = Bench(study(1), run, epoch_seconds=EPOCH_S).run()
    assert state.trials[key].status == "stopped"
    assert list(state.trials[key].attempts) == [0]


def test_how_it_ended_names_the_budget(study: Callable[[float], Study], tmp_path: Path) -> None:
    run = tmp_path / "run"
    spent_study = study(40).without_finals()
    state = Bench(spent_study, run, epoch_seconds=EPOCH_S).run()
    outcome = run_study(spent_study, run)
    assert outcome.state.ended is not None
    assert outcome.state.ended.reason == f"core-hours spent after {state.n_search} of 30 trials"


def test_no_more_epochs_are_expected_than_the_budget_allows(study: Callable[[float], Study], tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(Crash):
        Bench(study(40), run, crash_after=60, epoch_seconds=EPOCH_S).run()
    state, without_finals = load_run(run), study(40).without_finals()
    least, most = epochs_left(without_finals, state)
    assert least <= most == pytest.approx(40 - spent(run))
