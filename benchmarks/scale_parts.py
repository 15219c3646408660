"""What `benchmarks.scale` measures in processes of their own: each part prints one line of JSON, its numbers."""

from __future__ import annotations

import gc
import json
import math
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.millisecond import accuracy
from results.log.lines import to_line
from results.log.recorder import Recorder
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    Rung,
    RungDecision,
    Status,
    StudyEnded,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState, load_run
from results.run_folder import LOG_NAME
from results.study import Provenance
from tune.loop.coordinator import Coordinator
from tune.loop.proposer import Proposer
from tune.loop.search import SearchPlan
from tune.process.upkeep import Upkeep
from tune.resume import opening_events
from tune.study import Study, load_study
from tune.trainable import Entered, EpochReport, Task
from tune.view.live import Progress
from tune.view.terminal import QUIET

WORKERS, PROPOSALS = 16, 20
EPOCHS, RUNGS = 100, (1, 3, 9, 27, 81)  # of each trial of the long log


def drive(path: Path, run: Path) -> dict[str, float]:
    """Search with all that a driver has beside Ray; of `WORKERS` live trials any may be the next to report."""
    study = load_study(str(path))
    rng = random.Random(0)  # noqa: S311 - which worker is next
    with Recorder(run) as recorder:
        recorder.write(*opening_events(study, recorder.state, run, data=(None, None), provenance=Provenance()))
        progress = Progress(study, recorder.state, view=QUIET)
        recorder.listen(progress.update)
        with Upkeep(recorder, keeps_training_state=True), progress:
            coordinator = Coordinator(SearchPlan(study, recorder.state, run), recorder, max_concurrent=WORKERS)
            gc.collect()
            before_kb, began = psutil.Process().memory_info().rss / 1e3, time.process_time()
            live: list[Iterator[bool]] = []
            while True:
                while (task := coordinator.next_task()) is not None:
                    live.append(_attempt(coordinator, task))
                if not live:
                    break
                worker = rng.randrange(len(live))
                if next(live[worker], True):
                    live[worker] = live[-1]
                    live.pop()
                progress.tick()
            cpu_s, grown_kb = time.process_time() - began, psutil.Process().memory_info().rss / 1e3 - before_kb
        recorder.write(StudyEnded(finished=True, reason="all trials ended"))
        epochs = sum(len(trial.epochs) for trial in recorder.state.trials.values())
    return {"cpu_s": cpu_s, "grown_kb": grown_kb, "epochs": epochs}


def _attempt(coordinator: Coordinator, task: Task) -> Iterator[bool]:
    """Report one epoch after the other; the last one yields nothing more."""
    coordinator.receive(task, Entered(node="here", pid=os.getpid()))
    for epoch in range(1, task.max_epochs + 1):
        value = accuracy(float(task.configuration["x"]), epoch, task.seed)
        if coordinator.receive(task, EpochReport(epoch=epoch, validation_accuracy=value, seconds=0.001)):
            return
        yield False


def propose(path: Path, run: Path) -> dict[str, float]:
    """Rebuild the sampler from a run that has ended and ask it for further trials."""
    study, state = load_study(str(path)), load_run(run)
    began = time.process_time()
    proposer = Proposer(study.space, sampler="tpe", startup_trials=study.search.startup_trials, seed=study.study.seed)
    trials = state.search_trials()
    proposer.rebuild(trials)
    rebuilt_s, began = time.process_time() - began, time.process_time()
    for number in range(len(trials), len(trials) + PROPOSALS):
        proposer.propose(number)
    return {"rebuild_s": rebuilt_s, "proposal_ms": 1e3 * (time.process_time() - began) / PROPOSALS}


def write_long_log(path: Path, run: Path, trials: int, is_network: str) -> dict[str, float]:
    """Write the log of a run whose trials all end after `EPOCHS` epochs, of which the last line says what it holds.

    Args:
        path: The study.
        run: The run folder to make.
        trials: How many.
        is_network: "network" where each epoch holds all that our networks measure, else what any trainable's does.
    """
    study, rng = load_study(str(path)), random.Random(0)  # noqa: S311 - numbers for a log
    run.mkdir(parents=True)
    events = 0
    with (run / LOG_NAME).open("w", encoding="utf-8") as file:
        for line in _long_run(study, run, trials, rng, is_network == "network"):
            file.write(line + "\n")
            events += 1
    return {"mb": (run / LOG_NAME).stat().st_size / 1e6, "events": events}


def _long_run(study: Study, run: Path, trials: int, rng: random.Random, is_network: bool) -> Iterator[str]:
    yield from map(to_line, opening_events(study, RunState(), run, data=(None, None), provenance=Provenance()))
    for number in range(trials):
        parameters = study.baseline_parameters() if number == 0 else None
        parameters = parameters or study.space.sample(rng)
        of = {"trial": number}
        yield to_line(
            TrialStarted(
                **of,
                parameters=parameters,
                configuration=study.configuration(parameters),
                seed=number,
                is_baseline=number == 0,
                max_epochs=EPOCHS,
            )
        )
        yield to_line(AttemptStarted(**of, attempt=0))
        yield to_line(AttemptRunning(**of, attempt=0, node="here", pid=1))
        best = 0.0
        for epoch in range(1, EPOCHS + 1):
            best = max(best, value := accuracy(float(parameters["x"]), epoch, number))
            yield _epoch_line(number, epoch, value, rng, is_network)
            if epoch in RUNGS:
                yield to_line(
                    Rung(
                        **of,
                        epoch=epoch,
                        value=best,
                        seen=number + 1,
                        better=0,
                        cutoff=0.0,
                        decision=RungDecision.GO_ON,
                    )
                )
        yield to_line(AttemptEnded(**of, attempt=0, why=Status.COMPLETED))
        yield to_line(
            TrialEnded(
                **of, status=Status.COMPLETED, reason="all epochs done", epochs=EPOCHS, best_epoch=1, objective=best
            )
        )
    yield to_line(StudyEnded(finished=True, reason="all trials ended"))


def _epoch_line(trial: int, epoch: int, value: float, rng: random.Random, is_network: bool) -> str:
    """Return a line as `to_line` would; a million of them through it would take longer than all that is measured."""
    numbers: dict[str, Any] = {"trial": trial, "attempt": 0, "epoch": epoch, "validation_accuracy": value}
    if is_network:
        losses = ("validation_loss", "train_accuracy", "train_loss", "learning_rate")
        numbers |= {name: rng.random() for name in losses}
    numbers["seconds"] = rng.random()
    if is_network:
        numbers |= {"build_seconds": 0.0, "prepare_seconds": 0.0, "images_per_s": 1e3 * rng.random()}
    numbers["resident_mb"] = 1e3 + rng.random()
    if is_network:
        numbers["model_parameters"] = 33_600_000
    numbers["weights_digest"] = f"{rng.getrandbits(256):064x}"
    if is_network:
        numbers["best_weights_digest"] = f"{rng.getrandbits(256):064x}"
    time_ = f"2026-01-01T{trial // 600 % 24:02d}:{trial // 10 % 60:02d}:{trial % 10:02d}.{epoch % 1000:03d}Z"
    return json.dumps({"v": 1, "kind": "epoch", "time": time_} | numbers, separators=(",", ":"))


def search_with_ray(path: Path, run: Path) -> dict[str, float]:
    """Run a whole study with Ray on this machine, as if it had `WORKERS` CPUs."""
    from tune.process.driver import run_study
    from tune.ray_adapter import cluster

    cluster.cores = lambda: WORKERS
    began = time.perf_counter()
    state = run_study(load_study(str(path)), run, view=QUIET).state
    return _rate(state, time.perf_counter() - began)


def _rate(state: RunState, whole_s: float) -> dict[str, float]:
    """Return trials per second from the first start to the last end, and what the whole took."""
    trials = state.search_trials()
    begins = [datetime.fromisoformat(trial.started.time) for trial in trials]
    ends = [datetime.fromisoformat(trial.ended.time) for trial in trials if trial.ended]
    search_s = (max(ends) - min(begins)).total_seconds()
    return {"trials": len(ends), "search_s": search_s, "whole_s": whole_s, "cpu_s": time.process_time()}


def stock(path: Path, folder: Path) -> dict[str, float]:
    """Run stock Ray Tune with OptunaSearch, ASHA and reused actors over the same space; nothing is kept or resumed."""
    os.environ.update(TUNE_DISABLE_AUTO_CALLBACK_LOGGERS="1", RAY_USAGE_STATS_ENABLED="0", MALLOC_ARENA_MAX="1")
    import ray
    from ray import tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    study = load_study(str(path))
    trials, epochs = study.study.trials, study.study.max_epochs

    def train(config: dict[str, Any]) -> None:
        for epoch in range(1, epochs + 1):
            noise = (int(config["nuisance_0"] * 1e9) * 2654435761 + epoch * 40503) % 1000 / 1000 - 0.5
            value = (1 - (config["x"] - 0.3) ** 2) * (1 - math.exp(-epoch / 3)) + 0.02 * noise
            ray_tune.report({"accuracy": value})

    began = time.perf_counter()
    ray.init(num_cpus=WORKERS, include_dashboard=False, log_to_driver=False, object_store_memory=256 * 2**20)
    space: dict[str, Any] = {
        p.name: ray_tune.loguniform(p.low, p.high) if p.log else ray_tune.uniform(p.low, p.high)
        for p in study.space.parameters
    }
    tuner = ray_tune.Tuner(
        train,
        param_space=space,
        tune_config=ray_tune.TuneConfig(
            metric="accuracy",
            mode="max",
            num_samples=trials,
            max_concurrent_trials=WORKERS,
            reuse_actors=True,
            search_alg=OptunaSearch(seed=1),
            scheduler=ASHAScheduler(max_t=epochs, grace_period=1, reduction_factor=3),
        ),
        run_config=ray_tune.RunConfig(name="stock", storage_path=str(folder), verbose=0),
    )
    begun = time.perf_counter()
    done = len(tuner.fit())
    search_s = time.perf_counter() - begun
    ray.shutdown()
    whole_s = time.perf_counter() - began
    return {"trials": done, "search_s": search_s, "whole_s": whole_s, "cpu_s": time.process_time()}


PARTS: dict[str, Callable[..., dict[str, float]]] = {
    "drive": drive,
    "propose": propose,
    "write": write_long_log,
    "ours": search_with_ray,
    "stock": stock,
}

if __name__ == "__main__":
    name, *words = sys.argv[1:]
    arguments = [int(word) if word.isdigit() else Path(word) if "/" in word else word for word in words]
    print(json.dumps(PARTS[name](*arguments)))
