"""The comparison on recorded curves: each rule decides as it does in its own loop, and its costs are what was seen."""

import dataclasses
import json
from pathlib import Path

import optuna
import pytest

from benchmarks.search import record, recorded, stock_optuna, stock_ray
from benchmarks.search.job import ROOT
from benchmarks.search.measures import epochs_to, target_of
from benchmarks.search.setting import SETTINGS, WIDE, first_parameters, space
from benchmarks.search.ways import RANDOM
from results.learning_curves import read_curves, write_curves
from results.log.records import Status
from results.schema import Value
from seti_model.runtime import derive_seed
from tune.loop.proposer import suggest
from tune.replay.nearest import Nearest

ONE_WORKER = dataclasses.replace(SETTINGS[WIDE], workers=1)
SPENT = {way: (recorded.Costs(3.0, 1.0, 2.0, 5.0), recorded.Costs(2.0, 0.5, 1.0, 4.0)) for way in recorded.SEARCHES}


@pytest.fixture(scope="module")
def nearest() -> Nearest:
    return recorded.recorded_curves()


@pytest.mark.parametrize("seed", [1, 2])
def test_optuna_replayed_decides_what_its_own_loop_decides(nearest: Nearest, seed: int) -> None:
    told = list[tuple[int, int, float]]()

    def objective(trial: optuna.Trial) -> float:
        values = suggest(trial, space(ONE_WORKER))
        curve = nearest.curve(nearest.configuration(values), derive_seed(seed, trial.number))
        for epoch, value in enumerate(curve.values, start=1):
            told.append((trial.number, epoch, value))
            trial.report(value, epoch)
            if epoch < ONE_WORKER.max_epochs and trial.should_prune():
                raise optuna.TrialPruned
        return max(curve.values)

    study = optuna.create_study(
        study_name=f"optuna-{seed}",
        direction="maximize",
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=stock_optuna.pruner(ONE_WORKER),
    )
    study.enqueue_trial(first_parameters(ONE_WORKER))
    study.optimize(objective, n_trials=ONE_WORKER.trials)
    replayed = recorded.of_stock(recorded.OptunaRule(ONE_WORKER, seed), nearest, setting=ONE_WORKER, seed=seed)
    assert [(one.trial, one.epoch, one.accuracy) for one in replayed.told] == told
    assert replayed.delivered == study.best_trial.number
    assert len({trial for trial, _, _ in told}) == 25
    assert len(told) < 25 * ONE_WORKER.max_epochs, "nothing was stopped, so that nothing of the pruner was compared"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ray_tune_replayed_decides_what_its_own_loop_decides(tmp_path: Path) -> None:
    import ray
    from ray import tune

    known = read_curves([recorded.CURVES])
    # A training of Ray's does not know the number of its trial, so each configuration has one curve here.
    once = {tuple(sorted(curve.parameters.items())): curve for curve in known.curves}
    nearest = Nearest(dataclasses.replace(known, curves=tuple(once.values())))

    def train(config: dict[str, Value]) -> None:
        for value in nearest.curve(nearest.configuration(config), 0).values:
            tune.report({stock_ray.ACCURACY: value})

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, object_store_memory=100 * 2**20)
    try:
        results = tune.Tuner(
            tune.with_resources(train, {"cpu": 1}),
            tune_config=stock_ray.tune_config(ONE_WORKER, 5),
            run_config=tune.RunConfig(storage_path=str(tmp_path), verbose=0),
        ).fit()
    finally:
        ray.shutdown()
    replayed = recorded.of_stock(recorded.RayRule(ONE_WORKER, 5), nearest, setting=ONE_WORKER, seed=5)
    curves = [[one.accuracy for one in replayed.told if one.trial == trial] for trial in range(ONE_WORKER.trials)]
    assert curves == [list(result.metrics_dataframe[stock_ray.ACCURACY]) for result in results]
    best = results.get_best_result(stock_ray.ACCURACY, "max", scope="all")
    assert nearest.configuration(best.config) == replayed.configuration
    assert len(replayed.told) < 25 * ONE_WORKER.max_epochs, "nothing was stopped, so that nothing of ASHA was compared"


def test_a_random_search_trains_everything_to_the_end_and_sets_the_target(nearest: Nearest) -> None:
    setting = SETTINGS[WIDE]
    searches = [recorded.SEARCHES[RANDOM](nearest, setting, seed) for seed in (1, 2, 3)]
    assert {len(one.told) for one in searches} == {setting.trials * setting.max_epochs}
    records = [
        recorded.as_record(RANDOM, one, nearest, seed=seed, spent=SPENT) for seed, one in enumerate(searches, start=1)
    ]
    assert target_of(records) == sorted(max(told.accuracy for told in one.told) for one in searches)[1]
    first, seconds = records[0], sum(one.seconds for one in searches[0].told)
    assert first.epochs[-1].cpu_s == pytest.approx(3.0 + 25 * 1.0 + 2.0 * seconds)
    assert first.epochs[0].wall_s == pytest.approx(2.0 + 0.5 + searches[0].told[0].seconds)
    assert first.cpu_s == pytest.approx(first.epochs[-1].cpu_s + 5.0)


def test_all_ways_begin_with_the_same_configuration(nearest: Nearest) -> None:
    setting = dataclasses.replace(SETTINGS[WIDE], trials=2, workers=1)
    curve = nearest.curve(nearest.configuration(first_parameters(setting)), derive_seed(1, 0))
    for search in recorded.SEARCHES.values():
        first = [one.accuracy for one in search(nearest, setting, 1).told if one.trial == 0]
        assert first == list(curve.values[: len(first)])


def test_what_is_delivered_is_a_trial_that_its_way_would_deliver(nearest: Nearest) -> None:
    setting = SETTINGS[WIDE]
    for way, search in recorded.SEARCHES.items():
        outcome = search(nearest, setting, 4)
        ends = {one.trial: one.epoch for one in outcome.told}
        best = {trial: max(one.accuracy for one in outcome.told if one.trial == trial) for trial in ends}
        able = best if way == "ray" else {trial: best[trial] for trial in ends if ends[trial] == setting.max_epochs}
        assert best[outcome.delivered] == max(able.values())
        assert outcome.delivered in able


def test_costs_are_found_again_in_what_a_search_reported(nearest: Nearest) -> None:
    known = recorded.Costs(9.0, 4.0, 1.7, 6.0)
    points = [dict(curves[0].parameters) for curves in nearest.curves[:6]]
    begun, seconds, epochs = set[int](), 0.0, list[record.Epoch]()
    for trial in range(6):
        for epoch in range(1, 5 + trial % 3):
            begun.add(trial)
            seconds += nearest.curve(trial, 1).seconds[epoch - 1]
            spent = known.by(len(begun), seconds)
            epochs.append(record.Epoch(trial, epoch, 0.5, spent / 2, spent, images=256))
    one = record.Searched(
        way="ray",
        seed=1,
        setting={},
        machine={},
        versions={},
        load_before=0.0,
        wall_s=epochs[-1].wall_s + 3.0,
        cpu_s=epochs[-1].cpu_s + 6.0,
        winner=record.Winner(0, 0.5, 0.5),
        epochs=tuple(epochs),
        parameters={str(trial): point for trial, point in enumerate(points)},
    )
    found = recorded.costs([one], nearest, "cpu_s")
    assert list(vars(found).values()) == pytest.approx(list(vars(known).values()), abs=0.01)
    assert recorded.costs([one], nearest, "wall_s").end == pytest.approx(3.0, abs=0.01)


def test_without_a_live_search_of_each_way_it_says_what_to_run(nearest: Nearest) -> None:
    with pytest.raises(SystemExit, match=r"no live search of ours, ray, optuna, random; run: .* --setting wide"):
        recorded.fitted([], nearest)
    live = [one for one in record.read(recorded.RESULTS / WIDE) if one.way != "ray"]
    with pytest.raises(SystemExit, match=r"no live search of ray; run: "):
        recorded.fitted(live, nearest)


def test_curves_that_end_early_are_refused(monkeypatch: pytest.MonkeyPatch, nearest: Nearest, tmp_path: Path) -> None:
    cut = [dataclasses.replace(nearest.recorded.curves[0], values=(0.5,), seconds=(1.0,), status=Status.STOPPED)]
    file = tmp_path / "cut.parquet"
    write_curves(file, dataclasses.replace(nearest.recorded, curves=(*nearest.recorded.curves, *cut)))
    monkeypatch.setattr(recorded, "CURVES", file)
    with pytest.raises(SystemExit, match="holds curves that end early; record them without a stopping rule"):
        recorded.recorded_curves()


def test_the_committed_numbers_are_what_the_curves_say_and_the_page_holds_the_table(nearest: Nearest) -> None:
    place = recorded.RESULTS / f"{WIDE}-recorded"
    kept = json.loads((place / recorded.NUMBERS).read_text())
    lines = {(line["way"], line["seed"]): line for line in kept["searches"]}
    assert len(lines) == len(recorded.SEARCHES) * recorded.SEEDS
    for way, search in recorded.SEARCHES.items():
        one = recorded.as_record(way, search(nearest, SETTINGS[WIDE], 2), nearest, seed=2, spent=SPENT)
        assert epochs_to(one, kept["target"]) == (lines[way, 2]["until_target"], lines[way, 2]["had_it"])
        assert lines[way, 2]["delivered"] == round(one.winner.test_accuracy, 6)
    assert (place / recorded.TABLE).read_text().strip() in (ROOT / "docs" / "search-benchmark.md").read_text()
    spent = recorded.fitted(record.read(recorded.RESULTS / WIDE), nearest)
    assert recorded.as_mapping(spent) == kept["costs"]


@pytest.mark.slow
def test_the_committed_table_is_what_all_seeds_say(nearest: Nearest) -> None:
    spent = recorded.fitted(record.read(recorded.RESULTS / WIDE), nearest)
    text = recorded.table(recorded.all_records(nearest, recorded.SEEDS, spent), nearest, spent)
    assert (recorded.RESULTS / f"{WIDE}-recorded" / recorded.TABLE).read_text() == f"{text}\n"
