"""A study ranks by what it asks for: rungs, sampler, leaderboard, finals and pages, also where less is better."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
from bench import Bench, Crash, run_here
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from processes import search
from sklearn.utils.class_weight import compute_class_weight

from results.finals import decide, finalists
from results.findings import Findings
from results.log.reading import read_events
from results.log.recorder import Recorder
from results.log.records import Rung
from results.log.state import RunState, load_run
from results.objective import NAMES, Objective
from results.predictions import read_predictions
from results.report.content import report
from results.report.markdown import to_markdown
from results.run_folder import TEST_PREDICTIONS, VALIDATION_PREDICTIONS
from results.stats.objectives import drawn_values, objective_value, unpack_values
from results.tables.json_output import leaderboard_json
from results.tables.leaderboard import leaderboard_table
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.errors import CheckpointError
from seti_model.runtime import prepare_process
from seti_model.training.checkpoint import _digest_of
from seti_model.training.outcome import Criterion
from seti_model.training.train import Checkpoints, train
from seti_model.training.trainer import class_weights
from tune.errors import StudyError
from tune.export.optuna import export_journal
from tune.finals import conclude_finals
from tune.process.driver import prepare_data
from tune.study import Study, load_study
from tune.trainable import EpochReport

SMALL = """
"network.filters_1" = 2
"network.filters_2" = 2
"network.dense_units" = 8
"training.batch_size" = 16
"""


def outcome(state: RunState) -> list[Any]:
    return [
        (t.started.parameters, t.status, {n: e.value for n, e in sorted(t.epochs.items())})
        for t in state.search_trials()
    ]


@pytest.mark.parametrize("name", NAMES)
def test_a_search_finds_what_its_objective_asks_for(
    name: str, quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = load_study(quick_study(trials=25, objective=name))
    state = Bench(study, tmp_path / "run").run()
    best = state.ranked(1)[0]
    assert best.parameters["x"] == pytest.approx(0.3 if name == "accuracy" else 0.7, abs=0.15)
    assert (best.value < 0.2) if name == "loss" else (best.value > 0.8)
    rows = [row for row in leaderboard_table(state).rows if row["rank"]]
    values = [row["objective"] for row in rows]
    assert values == sorted(values, reverse=name != "loss")
    assert len(rows) < 25, "none was stopped"
    sign = -1 if name == "loss" else 1
    for rung in (e for e in read_events(tmp_path / "run") if isinstance(e, Rung)):
        assert (rung.decision == "stop") <= (sign * rung.value < sign * rung.cutoff)
    for trial in state.search_trials():
        reached = [e.value for e in trial.epochs.values()]
        assert trial.best is not None
        assert trial.best.value == (min if name == "loss" else max)(reached)
        if trial.status == "stopped":
            assert f"is {'above' if name == 'loss' else 'below'} " in (trial.ended.reason if trial.ended else "")


def test_a_dry_run_says_what_is_asked_for(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    path = quick_study(objective="macro_f1")
    path.write_text(path.read_text().replace("[study]\n", "[study]\ncore_hours = 2.5\n"))
    done = search(path, tmp_path / "run", "--dry-run")
    assert "\nranked by macro F1\n" in done.stdout
    assert "\nno epoch of the search begins after 2.5 core-hours\n" in done.stdout


@pytest.mark.parametrize("name", ["loss", "auc"])
def test_an_interrupted_search_goes_on_as_if_it_had_not_been(
    name: str, quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = load_study(quick_study(trials=15, objective=name))
    whole = outcome(Bench(study, tmp_path / "whole").run())
    rng = random.Random(3)
    for _ in range(100):
        try:
            state = Bench(study, tmp_path / "run", crash_after=rng.randint(1, 60)).run()
            break
        except Crash:
            continue
    assert outcome(state) == whole


def test_optuna_looks_for_the_lowest_loss_and_shows_it(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    bench = Bench(load_study(quick_study(trials=12, objective="loss")), tmp_path / "run")
    state = bench.run()
    export_journal(state, tmp_path / "journal.log")
    journal = optuna.load_study(
        storage=JournalStorage(JournalFileBackend(str(tmp_path / "journal.log"))), study_name="quick"
    )
    for found in (bench.plan.proposer.study, journal):
        assert found.direction == optuna.study.StudyDirection.MINIMIZE
        assert found.best_value == state.ranked(1)[0].value
        for trial in found.trials:
            recorded = state.trials[trial.number, None]
            curve = list(trial.intermediate_values.values())
            assert curve == sorted(curve, reverse=True)
            assert trial.value == recorded.value


def test_finals_are_decided_by_the_lowest_loss(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    state = Bench(load_study(quick_study(trials=15, objective="loss")), tmp_path / "run").run()
    chosen = [t.started.trial for t in finalists(state, 3, 6)]
    decision = decide(state, chosen, 3)
    assert decision is not None
    of_winner = {r: state.trials[decision.winner, r].value for r in range(3)}
    assert of_winner[decision.delivered] == min(of_winner.values())
    means = {n: np.mean([state.trials[n, r].value for r in range(3)]) for n in chosen}
    assert means[decision.winner] == min(means.values())


def test_a_trainable_that_does_not_report_the_objective_is_told_how(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study(trials=2, objective="macro_f1")), tmp_path / "run")
    task = bench.coordinator.next_task()
    assert task is not None
    assert task.objective == Objective("macro_f1")
    bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=0.5, metrics={"auc": 0.7}))
    assert bench.state.trials[0, None].attempts_ended[0].why == (
        "a report that cannot be recorded: the objective 'macro_f1' is not in metrics (auc); report it with "
        "EpochReport(..., metrics={'macro_f1': ...})"
    )


def test_a_loss_is_taken_from_its_own_field_and_one_that_is_not_finite_diverges(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study(trials=2, objective="loss")), tmp_path / "run")
    task = bench.coordinator.next_task()
    assert task is not None
    bench.coordinator.receive(task, EpochReport(epoch=1, validation_accuracy=0.5, validation_loss=0.25))
    assert bench.state.trials[0, None].value == 0.25
    bench.coordinator.receive(task, EpochReport(epoch=2, validation_accuracy=0.5, validation_loss=math.inf))
    ended = bench.state.trials[0, None].ended
    assert ended is not None
    assert (ended.status, ended.reason, ended.objective) == ("diverged", "validation cross-entropy is inf", 0.25)


def test_a_search_for_the_lowest_loss_from_start_to_pages(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    run = tmp_path / "run"
    done = search(quick_study(trials=12, objective="loss", extra="[finals]\nseeds = 2\n"), run)
    assert done.returncode == 0, done.stderr
    state = load_run(run)
    assert state.ranked(1)[0].parameters["x"] == pytest.approx(0.7, abs=0.2)
    assert f"cross-entropy {state.ranked(1)[0].value:.4f}" in done.stdout
    assert "objective: cross-entropy, the lowest first" in done.stdout
    best = min(Findings.read(run).standings, key=lambda one: one.searched)
    assert f"Optimism of the search: its best, trial {best.trial}, had {best.searched:.4f} there" in done.stdout
    table = leaderboard_table(state)
    assert json.loads(leaderboard_json(run, state, table, in_all=12))["ranked_by"] == "loss"
    page = to_markdown(report(Findings.read(run)))
    assert "Validation cross-entropy" in page
    assert "(less is better), without test images" in page
    assert all(one.over_seeds.low >= 0 for one in Findings.read(run).standings if len(one.objectives) > 1)
    assert "ccuracy" not in page
    receipt = json.loads((run / "receipts" / "0001.json").read_text())
    assert receipt["ranked_by"]["name"] == "loss"
    assert receipt["objective"] == pytest.approx(state.trials[1, None].value)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_command_searches_for_each_objective(name: str, quick_study: Callable[..., Path], tmp_path: Path) -> None:
    done = search(quick_study(trials=25, objective=name, short_finals=True), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    state = load_run(tmp_path / "run")
    decision = state.decisions[-1]
    found = state.trials[decision.winner, None].parameters["x"]
    assert found == pytest.approx(0.3 if name == "accuracy" else 0.7, abs=0.2)


# Real networks -----------------------------------------------------------------------------------------------


NAMES_OF_CLASSES = ("left", "right", "noise")
SPACE = """
name = "rate"
description = "One parameter."
[parameters."training.learning_rate"]
type = "float"
low = 0.001
high = 0.01
log = true
reason = "A test."
"""


@pytest.fixture(scope="module")
def unbalanced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of noise, and of few images with a faint stripe at one side or the other."""
    rng = np.random.default_rng(0)

    def split(n: int) -> SplitData:
        labels = rng.choice(3, n, p=(0.1, 0.1, 0.8)).astype(np.int8)
        images = rng.integers(0, 120, (n, 16, 16, 1)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            if label < 2:
                image[:, 8 * label : 8 * label + 3] += 25
        return SplitData(images, labels)

    folder = tmp_path_factory.mktemp("unbalanced") / "data"
    splits = {name: split(n) for name, n in (("train", 200), ("validation", 150), ("test", 100))}
    write_dataset(folder, splits, NAMES_OF_CLASSES, origin={})
    return folder


def network_study(
    folder: Path, data: Path, objective: str, *, seeds: int = 0, more: str = "", fixed: str = ""
) -> Study:
    (folder / "rate.toml").write_text(SPACE)
    path = folder / "study.toml"
    path.write_text(
        f'[study]\nspace = "rate.toml"\ntrials = 2\nmax_epochs = 5\nobjective = "{objective}"\n{more}\n[data]\n'
        f'path = "{data}"\n[finals]\nenabled = {str(bool(seeds)).lower()}\nseeds = {seeds or 1}\nfinalists = 1\n'
        f"max_finalists = 1\n[fixed]\n{SMALL}{fixed}"
    )
    return load_study(path)


@pytest.mark.parametrize("name", ["balanced_accuracy", "loss", "recall_at_false_alarm"])
def test_a_network_is_kept_and_tested_by_the_objective(name: str, unbalanced: Path, tmp_path: Path) -> None:
    study = network_study(tmp_path, unbalanced, name, seeds=2, more="false_alarm = 0.02")
    run = tmp_path / "run"
    run_here(study, run)
    with Recorder(run) as recorder:
        conclude_finals(study, recorder)
    state, found = load_run(run), Findings.read(run)
    objective = Objective(name, "noise", 0.02)  # type: ignore[arg-type]
    assert state.study.objective == objective
    decision = state.decisions[-1]
    delivered = state.trials[decision.winner, decision.delivered]
    validation = read_predictions(run / VALIDATION_PREDICTIONS)
    arguments = validation.y_true, validation.y_prob, validation.class_names
    assert delivered.value == pytest.approx(objective_value(objective, *arguments), abs=1e-6)
    assert delivered.best is not None
    assert delivered.best.validation_drawn is not None
    drawn = unpack_values(delivered.best.validation_drawn)
    assert drawn == pytest.approx(drawn_values(objective, *arguments), abs=1e-5, nan_ok=True)
    test = read_predictions(run / TEST_PREDICTIONS)
    expected = objective_value(objective, test.y_true, test.y_prob, test.class_names)
    assert found.tested[0].objective.value == pytest.approx(expected)
    assert len(found.tested) == (2 if decision.winner else 1)
    page = to_markdown(report(found))
    assert f"{objective.words} {expected:.4f}" in page
    first = leaderboard_table(state).rows[0]
    assert (first["rank"], first["tied"]) == (1, True)


def test_a_network_continued_from_a_checkpoint_keeps_the_same_epoch_and_no_other_objective_may_go_on(
    unbalanced: Path, tmp_path: Path
) -> None:
    data = Dataset.open(unbalanced).training_data()
    configuration = Configuration.from_mapping(network_study(tmp_path, unbalanced, "auc").configuration({}))
    auc = Criterion("auc", lambda labels, found: objective_value(Objective("auc"), labels, found, NAMES_OF_CLASSES))
    prepare_process(threads=1)
    whole = train(configuration, data, seed=1, criterion=auc, checkpoints=Checkpoints(tmp_path / "whole", keep=9))
    values = [epoch.merit for epoch in whole.history]
    assert whole.best_epoch == values.index(max(filter(None, values))) + 1
    assert values != [epoch.validation_accuracy for epoch in whole.history]
    begun = tmp_path / "whole" / "0002"
    again = train(configuration, data, seed=1, criterion=auc, resume_from=begun)
    assert (again.best_epoch, again.best_weights_digest) == (whole.best_epoch, whole.best_weights_digest)
    with pytest.raises(CheckpointError, match=r"criterion"):
        train(configuration, data, seed=1, resume_from=begun)


def test_balanced_weights_are_those_of_scikit_learn_and_find_more_of_the_rare_classes(
    unbalanced: Path, tmp_path: Path
) -> None:
    data = Dataset.open(unbalanced).training_data()
    labels = np.asarray(data.train.labels)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert class_weights(data) == pytest.approx(expected)
    prepare_process(threads=1)
    recalls = {}
    for weights in ("equal", "balanced"):
        fixed = f'"training.class_weights" = "{weights}"\n'
        study = network_study(tmp_path, unbalanced, "balanced_accuracy", fixed=fixed)
        result = train(Configuration.from_mapping(study.configuration({})), data, seed=1)
        found = result.validation_probabilities.argmax(axis=1)
        rare = np.asarray(data.validation.labels) < 2
        recalls[weights] = float(np.mean(found[rare] < 2))
    assert recalls["balanced"] > recalls["equal"]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            'background = "hum"',
            r"\[study\] background = 'hum' is none of its classes; choose one of left, right, noise",
        ),
        (
            "false_alarm = 0.001",
            r"\d+ validation images of 'noise' cannot tell a false-alarm rate of 0.001, at least 999 can; raise "
            r"\[study\] false_alarm, or add such images",
        ),
    ],
)
def test_a_background_that_cannot_set_the_rate_is_refused_before_anything_is_trained(
    more: str, message: str, unbalanced: Path, tmp_path: Path
) -> None:
    study = network_study(tmp_path, unbalanced, "recall_at_false_alarm", more=more)
    with pytest.raises(StudyError, match=message):
        prepare_data(study, tmp_path / "run", say=print)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('objective = "f2"', r"objective: expected one of accuracy, balanced_accuracy, .*, found \"f2\""),
        ("false_alarm = 1.0", r"false_alarm: expected .*1, found 1"),
    ],
)
def test_an_objective_that_is_none_is_refused(line: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text(f'[study]\nspace = "baseline"\n{line}\n[data]\nsimulate = "course"\n')
    with pytest.raises(StudyError, match=message):
        load_study(tmp_path / "study.toml")


def test_drawn_values_of_another_number_fail_the_attempt_that_reports_them(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study(trials=2, objective="macro_f1")), tmp_path / "run")
    for drawn, metrics in (([0.5] * 100, {"macro_f1": 0.5}), (None, {"macro_f1": None})):
        task = bench.coordinator.next_task()
        assert task is not None
        report = EpochReport(epoch=1, validation_accuracy=0.5, metrics=metrics, validation_drawn=drawn)  # type: ignore[arg-type]
        bench.coordinator.receive(task, report)
    reasons = [ended.why for ended in bench.state.trials[0, None].attempts_ended.values()]
    assert "validation_drawn holds 100 values, 200 are expected" in reasons[0]
    assert "the objective 'macro_f1' is not in metrics" in reasons[1]


def test_a_checkpoint_whose_history_holds_no_numbers_is_damaged(unbalanced: Path, tmp_path: Path) -> None:
    data = Dataset.open(unbalanced).training_data()
    configuration = Configuration.from_mapping(network_study(tmp_path, unbalanced, "accuracy").configuration({}))
    prepare_process(threads=1)
    train(configuration, data, seed=1, checkpoints=Checkpoints(tmp_path / "c"), on_epoch=lambda epoch: True)
    path = tmp_path / "c" / "0001" / "training.json"
    record = json.loads(path.read_text())
    del record["digest"]
    record["history"][0]["merit"] = "high"
    path.write_text(json.dumps(record | {"digest": _digest_of(record)}))
    with pytest.raises(CheckpointError, match=r"damaged.*Expected `float . null`, got `str` - at `\$\.history"):
        train(configuration, data, seed=1, resume_from=tmp_path / "c" / "0001")
