"""Stock Ray Tune as its documentation shows: Tuner, OptunaSearch, ASHAScheduler and its callback for Keras.

In its favour: one thread a worker, one checkpoint a trial, and the configuration of the course is tried first.
A process of its own: `python -m benchmarks.search.stock_ray FOLDER SETTING SEED MOMENTUM`.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray import tune as ray_tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from benchmarks.search.record import Reported
from benchmarks.search.setting import SETTINGS, Setting, first_parameters, space
from benchmarks.search.stock import FAMILY, WINNER_MODEL, arrays, note, prepared, write_winner
from tune.loop.proposer import suggest

ACCURACY = "accuracy"


def train(config: dict[str, Any], *, data: dict[str, Any], setting: Setting, momentum: float, seed: int) -> None:
    """Train one configuration in Ray's worker."""
    from benchmarks.search import stock_network

    stock_network.one_thread()
    from ray.tune.integration.keras import TuneReportCheckpointCallback

    stock_network.keras.utils.set_random_seed(seed)
    point, given = setting.fixed | config, data[config.get(FAMILY, "")]
    model = stock_network.build(point, given, epochs=setting.max_epochs, momentum=momentum, seed=seed)
    report = TuneReportCheckpointCallback(metrics={ACCURACY: "val_accuracy"})
    stock_network.fit(model, given, setting.max_epochs, [report], point)


class Note(ray_tune.Callback):
    """Writes each report down with its time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_trial_result(self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Take a report, also the one by which a trial is stopped."""
        number, epoch = trials.index(trial), result["training_iteration"]
        note(self._folder, Reported(number, epoch, float(result[ACCURACY]), time.time(), trial.config))


def main(folder: Path, setting: Setting, seed: int, momentum: float) -> None:
    """Search, and leave the best network in the folder."""
    ray.init(num_cpus=setting.workers, include_dashboard=False, log_to_driver=False, object_store_memory=256 * 2**20)
    data = prepared(arrays(folder.parent), setting)
    given = ray_tune.with_parameters(train, data=data, setting=setting, momentum=momentum, seed=seed)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(given, {"cpu": 1}), tune_config=tune_config(setting, seed), run_config=_run(folder)
    )
    results = tuner.fit()
    best = results.get_best_result(ACCURACY, "max", scope="all")
    with best.get_best_checkpoint(ACCURACY, "max").as_directory() as at:
        shutil.copy(Path(at) / "model.keras", folder / WINNER_MODEL)
    trial = [result.path for result in results].index(best.path)
    write_winner(folder, trial, best.metrics_dataframe[ACCURACY].max(), best.config)
    ray.shutdown()


def searcher(setting: Setting, seed: int) -> OptunaSearch:
    """Return what proposes."""
    first = first_parameters(setting)
    return OptunaSearch(
        partial(suggest, space=space(setting)), metric=ACCURACY, mode="max", points_to_evaluate=[first], seed=seed
    )


def scheduler(setting: Setting) -> ASHAScheduler:
    """Return what stops trials."""
    return ASHAScheduler(
        max_t=setting.max_epochs, grace_period=setting.grace_epochs, reduction_factor=setting.reduction_factor
    )


def tune_config(setting: Setting, seed: int) -> ray_tune.TuneConfig:
    """Return how Ray Tune searches."""
    return ray_tune.TuneConfig(
        metric=ACCURACY,
        mode="max",
        num_samples=setting.trials,
        max_concurrent_trials=setting.workers,
        search_alg=searcher(setting, seed),
        scheduler=scheduler(setting),
    )


def _run(folder: Path) -> ray_tune.RunConfig:
    return ray_tune.RunConfig(
        name="search",
        storage_path=str(folder),
        checkpoint_config=ray_tune.CheckpointConfig(
            num_to_keep=1, checkpoint_score_attribute=ACCURACY, checkpoint_score_order="max"
        ),
        callbacks=[Note(folder)],
        verbose=0,
    )


if __name__ == "__main__":
    os.environ.update(RAY_USAGE_STATS_ENABLED="0")
    main(Path(sys.argv[1]).absolute(), SETTINGS[sys.argv[2]], int(sys.argv[3]), float(sys.argv[4]))
