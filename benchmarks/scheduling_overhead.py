"""What lies between two trials on a worker, and what a warm worker keeps: ours against stock Ray Tune, in one run.

The network is the course's with a filter count of its own in every trial, trained for an epoch on few images. The
overhead runs from the last epoch record of one trial to the entry of `train` in the next on the same worker; building
and tracing the network are reported apart. Stock Ray Tune trains the same function with a new actor for every trial.
"""

from __future__ import annotations

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from datetime import datetime
from pathlib import Path
from typing import Any

TRIALS, STOCK_TRIALS = 100, 20
SPACE = """name = "counts"
description = "Another network in every trial."
[parameters."network.filters_1"]
type = "int"
low = 4
high = 40
reason = "Any count."
[parameters."network.filters_2"]
type = "int"
low = 28
high = 64
reason = "Any count, the baseline's among them."
"""
STUDY = f"""[study]
space = "counts.toml"
trials = {TRIALS}
max_epochs = 1
seed = 1
[search]
sampler = "random"
[data]
path = "data"
[fixed]
"network.dense_units" = 16
[finals]
enabled = false
"""


def main() -> None:
    """Print both overheads at the median, their ratio, building times and the growth of the workers."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        command = [sys.executable, "-m", "tune.cli.main"]
        counts = ["--train", "64", "--validation", "32", "--test", "8", "--seed", "1"]
        subprocess.run([*command, "data", "simulate", str(path / "data"), *counts], check=True, capture_output=True)
        (path / "counts.toml").write_text(SPACE)
        (path / "study.toml").write_text(STUDY)
        start = time.perf_counter()
        search = [*command, "search", str(path / "study.toml"), "--run", str(path / "run")]
        subprocess.run(search, check=True, capture_output=True)
        whole_s = time.perf_counter() - start
        ours, builds, growth, distinct = _ours(path / "run")
        stock_command = [sys.executable, "-m", "benchmarks.scheduling_overhead", str(path / "data")]
        done = subprocess.run(stock_command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    stock = [float(value) for value in done.stdout.splitlines()[-1].split()]
    print(f"between two trials on a worker; {TRIALS} trials ({distinct} different networks), {whole_s:.0f} s in all")
    for name, values in (("ours, warm workers", ours), (f"stock Ray Tune ({STOCK_TRIALS} trials, new actors)", stock)):
        print(f"{name:<48}{statistics.median(values):>8.3f} s at the median, {max(values):.3f} s at most")
    print(f"{'ratio of the medians':<48}{statistics.median(stock) / statistics.median(ours):>8.0f}x")
    print(f"{'building and tracing a network':<48}{statistics.median(builds):>8.3f} s at the median")
    print(f"{'resident memory above that of trial 5':<48}{max(growth):>8.0f} MB at most, per worker")


def _ours(run: Path) -> tuple[list[float], list[float], list[float], int]:
    """Return overheads, building times, each worker's growth in MB, and the number of different networks."""
    from results.log.state import load_run

    by_worker: dict[int, list[Any]] = defaultdict(list)
    state = load_run(run)
    for trial in state.search_trials():
        (running,) = trial.running.values()
        by_worker[running.pid].append((trial.epochs[1], trial.checkpoint))
    overheads, growth = [], []
    for done in by_worker.values():
        for (before, _), (epoch, checkpoint) in itertools.pairwise(done):
            trained_s = (epoch.seconds or 0) + (epoch.build_seconds or 0) + (checkpoint.seconds or 0)
            overheads.append(_time(epoch.time) - trained_s - _time(before.time))
        late = [epoch.resident_mb for epoch, _ in done if epoch.trial >= 5]
        growth.append(max(late) - late[0])
    builds = [t.epochs[1].build_seconds or 0.0 for t in state.search_trials()]
    distinct = len({tuple(t.started.parameters.items()) for t in state.search_trials()})
    return overheads, builds, growth, distinct


def _time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _stock(data: Path) -> None:
    """Run stock Ray Tune and print the seconds between a trial's last report and the next trial's `train`."""
    os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_USAGE_STATS_ENABLED="0")
    import ray
    from ray import tune as ray_tune

    from seti_model.data.dataset import Dataset

    os.environ["MALLOC_ARENA_MAX"] = "1"
    cpus = len(os.sched_getaffinity(0))
    ray.init(num_cpus=cpus, include_dashboard=False, log_to_driver=False)
    tuner = ray_tune.Tuner(
        ray_tune.with_parameters(_train, data=Dataset.open(data).training_data()),
        param_space={"filters_1": ray_tune.randint(4, 41), "filters_2": ray_tune.randint(28, 65)},
        tune_config=ray_tune.TuneConfig(num_samples=STOCK_TRIALS, max_concurrent_trials=cpus),
        run_config=ray_tune.RunConfig(storage_path=str(data.parent / "stock"), verbose=0),
    )
    rows = [result.metrics for result in tuner.fit()]
    ray.shutdown()
    ends = sorted(row["reported"] for row in rows if row)
    begins = sorted(row["entered"] for row in rows if row)[cpus:]  # the first ones followed nobody
    print(*(begin - end for end, begin in zip(ends, begins, strict=False)))


def _train(config: dict[str, int], data: Any) -> None:
    from ray import tune as ray_tune

    from seti_model.config import Configuration
    from seti_model.runtime import prepare_process

    prepare_process(1)
    from seti_model.training.train import Checkpoints, train

    values: dict[str, Any] = {f"network.{name}": count for name, count in config.items()}
    configuration = Configuration.from_mapping(values | {"network.dense_units": 16, "training.epochs": 1})
    entered = time.time()
    with tempfile.TemporaryDirectory() as folder:
        result = train(configuration, data, seed=1, checkpoints=Checkpoints(Path(folder)))
        ray_tune.report({"accuracy": result.best_validation_accuracy, "entered": entered, "reported": time.time()})


if __name__ == "__main__":
    _stock(Path(sys.argv[1]))
