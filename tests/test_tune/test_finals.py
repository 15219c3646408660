"""From an ended search to the model that is handed on: retrainings, the decision, the test split, `final/`."""

import dataclasses
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import Bench, NetworkBench, finish_here, outcome
from processes import search, values

from results.finals import is_stale, standings
from results.findings import Findings
from results.log.reading import read_events
from results.log.recorder import EventLog, Recorder
from results.log.records import FinalEvaluated, FinalsDecided, StudyResumed, TrialEnded
from results.log.state import RunState, load_run
from results.predictions import read_examples, read_predictions
from results.report import content
from results.report.markdown import to_markdown
from results.run_folder import LOG_NAME
from results.study import Provenance
from results.tables.leaderboard import rank_trials
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from tune.errors import StudyError
from tune.finals import conclude_finals, reopenings
from tune.loop.next_work import finals_wait, has_work
from tune.study import NETWORK, Study, load_study


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Study:
    return load_study(quick_study(trials=15, diverges_above=0.93, nan_below=0.15))


def conclude(study: Study, run: Path) -> RunState:
    with Recorder(run) as recorder:
        conclude_finals(study, recorder)
    return load_run(run)


def test_the_best_three_and_the_baseline_are_retrained_from_three_fresh_seeds_each(
    study: Study, tmp_path: Path
) -> None:
    state = Bench(study, tmp_path / "run").run()
    best = [t.started.trial for t in rank_trials(state)[0][:3]]
    finals = state.final_trials()
    assert {t.started.key for t in finals} == {(trial, repeat) for trial in {*best, 0} for repeat in range(3)}
    assert len({t.started.seed for t in state.trials.values()}) == len(state.trials)
    for final in finals:
        assert final.started.configuration == state.trials[final.started.trial, None].started.configuration
        assert len(final.epochs) == study.study.max_epochs
        assert not final.rungs


def test_every_finalist_has_its_first_seed_before_any_has_its_second(study: Study, tmp_path: Path) -> None:
    state = Bench(study, tmp_path / "run").run()
    repeats = [repeat for _, repeat in state.trials if repeat is not None]
    assert repeats == sorted(repeats)


def test_the_decision_follows_from_the_means_and_is_recorded_once(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    state = conclude(study, run)
    (decision,) = state.decisions
    means = {n: np.mean([t.best.validation_accuracy for t in of(state, n)]) for n in decision.finalists}
    assert decision.winner == max(means, key=lambda n: means[n])
    best = max(of(state, decision.winner), key=lambda t: t.best.validation_accuracy)
    assert decision.delivered == best.started.repeat
    assert conclude(study, run).decisions == [decision]


def of(state: RunState, trial: int) -> list[Any]:
    return [t for t in state.final_trials() if t.started.trial == trial]


def test_more_seeds_keep_the_earlier_retrainings_and_are_a_second_decision(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    before = {row[0]: row for row in outcome(conclude(study, run))}
    more = study.with_finals(seeds=5)
    Bench(more, run).run()
    state = conclude(more, run)
    after = {row[0]: row for row in outcome(state)}
    assert all(after[key] == row for key, row in before.items())
    assert [d.seeds for d in state.decisions] == [3, 5]
    assert len(standings(state, [state.decisions[-1].winner], 5)[0].objectives) == 5


def test_a_study_file_and_the_record_that_differ_do_not_decide_in_turns(study: Study, tmp_path: Path) -> None:
    """Fewer finalists with more seeds were asked for; then the file is searched again and the run is resumed."""
    run = tmp_path / "run"
    Bench(study, run).run()
    conclude(study, run)
    other = study.with_finals(finalists=2, seeds=5)
    Bench(other, run).run()
    decided = conclude(other, run).decisions
    assert len(decided) == 2
    for one in (study, other, study):
        assert not has_work(one, load_run(run))
        assert conclude(one, run).decisions == decided


def test_finals_that_were_off_are_waited_for_once_they_are_on(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    assert not finals_wait(study.without_finals(), load_run(run))
    with EventLog(run) as log:
        log.append(StudyResumed(study=study.without_finals().record(), provenance=Provenance()))
    assert conclude(study, run).decisions == [], "as recorded there are none"
    assert finals_wait(study, load_run(run))


def test_smaller_finals_do_not_replace_larger_ones(study: Study, tmp_path: Path) -> None:
    """The study file still says three seeds when the same search is started again."""
    run = tmp_path / "run"
    larger = study.with_finals(finalists=4, seeds=4)
    Bench(larger, run).run()
    decided = conclude(larger, run).decisions
    assert conclude(study, run).decisions == decided


def test_an_extended_search_makes_the_finals_stale_and_the_next_ones_a_further_use(
    study: Study, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    conclude(study, run)
    Bench(dataclasses.replace(study.with_trials(25), finals=study.without_finals().finals), run).run()
    assert is_stale(load_run(run))
    assert "These finals are stale: they were decided after 15 trials, there are more now" in report(run)
    longer = study.with_trials(25)
    Bench(longer, run).run()
    state = conclude(longer, run)
    assert [d.search_trials for d in state.decisions] == [15, 25]
    assert not is_stale(state)


def report(run: Path) -> str:
    return to_markdown(content.report(Findings.read(run)))


def test_without_finals_nothing_is_retrained_or_decided(study: Study, tmp_path: Path) -> None:
    off = study.without_finals()
    state = Bench(off, tmp_path / "run").run()
    assert state.final_trials() == []
    assert conclude(off, tmp_path / "run").decisions == []


def test_nothing_is_decided_while_a_retraining_is_open(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    lines = (run / LOG_NAME).read_text().splitlines(keepends=True)
    (run / LOG_NAME).write_text("".join(lines[:-1]))  # the end of the last retraining
    assert conclude(study, run).decisions == []


def test_a_retraining_of_a_trainable_without_checkpoints_is_not_opened_again(study: Study, tmp_path: Path) -> None:
    state = Bench(study, tmp_path / "run").run()
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    assert reopenings(study, tmp_path / "run", state) == []
    assert not has_work(study, state)


# The real network ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Study, Path]:
    """A search of four small networks on simulated images, with its finals concluded."""
    folder = tmp_path_factory.mktemp("finals")
    simulate_dataset(folder / "data", "course", {"train": 32, "validation": 32, "test": 40}, 1)
    (folder / "narrow.toml").write_text(
        'name = "narrow"\ndescription = "Small and quick."\n[parameters."network.filters_1"]\ntype = "int"\n'
        'low = 4\nhigh = 32\nreason = "One is enough."\n'
    )
    (folder / "study.toml").write_text(
        '[study]\nspace = "narrow.toml"\ntrials = 4\nmax_epochs = 2\nseed = 3\n'
        '[data]\npath = "data"\n[asha]\ngrace_epochs = 2\n[finals]\nfinalists = 2\nseeds = 2\n'
        '[fixed]\n"network.dense_units" = 16\n"training.recalibration_batches" = 1\n"network.filters_2" = 4\n'
    )
    study = load_study(folder / "study.toml")
    run = folder / "run"
    NetworkBench(study, run, Dataset.open(folder / "data").training_data()).run()
    conclude(study, run)
    return study, run


@pytest.fixture
def network(finished: tuple[Study, Path], tmp_path: Path) -> tuple[Study, Path]:
    shutil.copytree(finished[1], tmp_path / "run")
    return finished[0], tmp_path / "run"


def test_winner_and_baseline_predict_the_test_split_with_every_retraining_after_the_decision(
    finished: tuple[Study, Path],
) -> None:
    study, run = finished
    kinds = [e for e in read_events(run) if isinstance(e, FinalsDecided | FinalEvaluated)]
    assert isinstance(kinds[0], FinalsDecided)
    assert {(e.trial, e.repeat) for e in kinds[1:]} == {(n, r) for n in {kinds[0].winner, 0} for r in (0, 1)}
    data = Dataset.open(study.home / "data")
    for one in Findings.read(run).tested:
        for predictions in one.predictions:
            assert predictions.y_true.tolist() == data.unlocked().split("test").labels.tolist()
            assert predictions.class_names == data.class_names


def test_the_model_that_is_handed_on_gives_the_recorded_probabilities_to_the_last_bit(
    finished: tuple[Study, Path],
) -> None:
    from seti_model.exported import load_model

    study, run = finished
    model = load_model(run / "final" / "model.keras")
    state, data = load_run(run), Dataset.open(study.home / "data").unlocked()
    decision = state.decisions[-1]
    delivered = state.trials[decision.winner, decision.delivered]
    for split in ("test", "validation"):
        stored = read_predictions(run / "final" / f"{split}_predictions.parquet")
        assert np.array_equal(model.predict(data.split(split).images), stored.y_prob)
    assert delivered.best is not None
    assert stored.correct.mean() == delivered.best.validation_accuracy, "not the retraining of the log"


def test_what_is_known_of_the_test_images_stands_beside_their_predictions(finished: tuple[Study, Path]) -> None:
    study, run = finished
    stored = read_predictions(run / "final" / "test_predictions.parquet").truth
    truth = Dataset.open(study.home / "data").unlocked().split("test").truth
    assert truth is not None
    assert len(stored.columns) > 2
    assert stored.equals(truth.reset_index(drop=True))


def test_the_worst_errors_are_kept_with_their_own_pixels(finished: tuple[Study, Path]) -> None:
    study, run = finished
    examples = read_examples(run / "final" / "example_images.npz")
    assert examples is not None
    split = Dataset.open(study.home / "data").unlocked().split("test")
    stored = read_predictions(run / "final" / "test_predictions.parquet")
    assert np.array_equal(examples.images, split.images[examples.index])
    assert np.array_equal(examples.y_prob, stored.y_prob[examples.index])
    assert (~examples.correct).sum() == min(12, (~stored.correct).sum())


def test_concluding_again_writes_nothing(network: tuple[Study, Path]) -> None:
    study, run = network
    before = (run / LOG_NAME).read_bytes(), (run / "final" / "model.keras").stat().st_mtime_ns
    conclude(study, run)
    assert ((run / LOG_NAME).read_bytes(), (run / "final" / "model.keras").stat().st_mtime_ns) == before


def test_interrupted_between_two_predictions_only_the_missing_ones_are_made(network: tuple[Study, Path]) -> None:
    study, run = network
    lines = (run / LOG_NAME).read_text().splitlines(keepends=True)
    (run / LOG_NAME).write_text("".join(lines[:-2]))
    before = load_run(run)
    shutil.rmtree(run / "final")
    after = conclude(study, run)
    assert len(after.decisions) == 1
    assert set(after.finals) - set(before.finals)
    for key, event in before.finals.items():
        assert after.finals[key] == event
    assert (run / "final" / "model.keras").exists()


def test_a_lost_final_folder_is_written_again_from_the_weights(network: tuple[Study, Path]) -> None:
    study, run = network
    stored = (run / "final" / "model.json").read_text()
    shutil.rmtree(run / "final")
    conclude(study, run)
    assert (run / "final" / "model.json").read_text() == stored
    assert len(Findings.read(run).tested) > 0


@pytest.mark.parametrize("name", ["model.keras", "saved_model/saved_model.pb", "validation_predictions.parquet"])
def test_a_file_lost_from_the_final_folder_is_written_again(network: tuple[Study, Path], name: str) -> None:
    study, run = network
    (run / "final" / name).unlink()
    log = (run / LOG_NAME).read_bytes()
    conclude(study, run)
    assert (run / "final" / name).is_file()
    assert (run / LOG_NAME).read_bytes() == log


def test_a_delivered_retraining_that_fails_when_done_again_is_not_delivered(network: tuple[Study, Path]) -> None:
    study, run = network
    state = load_run(run)
    decision = state.decisions[-1]
    shutil.rmtree(run / "checkpoints")
    (run / "final" / "model.keras").unlink()
    key = {"trial": decision.winner, "repeat": decision.delivered}
    with EventLog(run) as log:
        log.append(*reopenings(study, run, state))
        log.append(TrialEnded(**key, status="failed", reason="no", epochs=0))
    with pytest.raises(StudyError, match="are gone; continue with"):
        conclude(study, run)
    last = load_run(run).decisions[-1]
    assert (last.winner, last.delivered) != (decision.winner, decision.delivered)
    assert reopenings(study, run, load_run(run)), "the weights that are needed now can be had again"


@pytest.mark.parametrize("damage", ["gone", "empty"])
def test_retrainings_whose_weights_are_gone_are_opened_again_while_they_are_needed(
    network: tuple[Study, Path], damage: str
) -> None:
    study, run = network
    for file in (run / "checkpoints").rglob("best_weights.npz"):
        _ = file.unlink() if damage == "gone" else file.write_bytes(b"")
    state = load_run(run)
    assert reopenings(study, run, state) == [], "all was predicted and handed on"
    (run / "final" / "model.json").unlink()
    decision = state.decisions[-1]
    (event,) = reopenings(study, run, state)
    assert (event.trial, event.repeat, event.cause) == (decision.winner, decision.delivered, "checkpoint")
    state.apply(event)
    assert has_work(study, state)
    undecided = RunState(e for e in read_events(run) if not isinstance(e, FinalsDecided | FinalEvaluated))
    again = {(event.trial, event.repeat) for event in reopenings(study, run, undecided)}
    assert again == {(trial, repeat) for trial in (decision.winner, 0) for repeat in range(2)}


def test_figures_of_the_finals_never_come_from_another_data_set(network: tuple[Study, Path], tmp_path: Path) -> None:
    study, run = network
    shutil.rmtree(run / "final")
    simulate_dataset(tmp_path / "other", "course", {"train": 4, "validation": 4, "test": 4}, 2)
    with pytest.raises(
        StudyError, match=r"its trials saw the data set [0-9a-f]{64}, the one given now is [0-9a-f]{64}; restore"
    ):
        conclude(study.with_data(tmp_path / "other"), run)


def test_weights_lost_after_the_start_are_one_line_that_says_how_to_go_on(network: tuple[Study, Path]) -> None:
    study, run = network
    shutil.rmtree(run / "final")
    shutil.rmtree(run / "checkpoints")
    with pytest.raises(
        StudyError,
        match=r"the weights of the retrained trial \d+ are gone; continue with `seti-tune resume .*again",
    ):
        conclude(study, run)


def test_finals_of_a_study_without_the_network_have_no_test_figures(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study, run).run()
    conclude(study, run)
    assert study.study.trainable != NETWORK
    assert Findings.read(run).tested == []
    assert "Winner of the finals: trial" in report(run)


# The commands -------------------------------------------------------------------------------------------------


def finals(run: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune.cli.main", "finals", str(run), *more]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.slow
def test_finals_after_the_search_are_those_of_a_search_that_includes_them(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    path = quick_study(trials=5, extra="[resources]\nmax_concurrent = 2\n[finals]\nfinalists = 2\nseeds = 2\n")
    finish_here(load_study(path), tmp_path / "at once")
    finish_here(load_study(path).without_finals(), tmp_path / "later")
    assert not load_run(tmp_path / "later").final_trials()
    later = finals(tmp_path / "later")
    assert later.returncode == 0, later.stderr
    assert "Winner of the finals: trial" in later.stdout
    assert values(tmp_path / "later") == values(tmp_path / "at once")
    more = finals(tmp_path / "later", "--finalists", "3", "--seeds", "3")
    assert more.returncode == 0, more.stderr
    state = load_run(tmp_path / "later")
    assert [(len(d.finalists), d.seeds) for d in state.decisions] == [(3, 2), (4, 3)]
    assert search(path, tmp_path / "later").returncode == 0
    assert load_run(tmp_path / "later").decisions == state.decisions


def test_finals_of_a_search_that_has_not_ended_are_refused_with_two_ways_on(study: Study, tmp_path: Path) -> None:
    run = tmp_path / "run"
    Bench(study.with_trials(4), run).run()
    with EventLog(run) as log:
        log.append(StudyResumed(study=study.record(), provenance=Provenance()))
    refused = finals(run)
    assert refused.returncode == 2
    assert (
        f"{run}: its search has not ended (4 of 15 trials); continue it with `seti-tune resume {run}`" in refused.stderr
    )
    assert f"or end it there with `seti-tune resume {run} --trials 4`" in refused.stderr


@pytest.mark.parametrize(("option", "number"), [("--finalists", "0"), ("--seeds", "-1")])
def test_impossible_numbers_are_refused(study: Study, tmp_path: Path, option: str, number: str) -> None:
    Bench(study, tmp_path / "run").run()
    refused = finals(tmp_path / "run", option, number)
    assert refused.returncode == 2
    assert refused.stderr.strip() == f"seti-tune: {option} {number}: 1 to 1000 are expected; choose a number within"
