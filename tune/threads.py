"""Workers and threads of a search whose study says neither: one thread each while there are trials for all cores.

Two workers of one thread train 1.1 to 2 times as many images a second as one of two threads (`benchmarks.concurrency`),
so further threads are tried only where cores would have no trial, each number in a process of its own.
"""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from results.log.records import ThreadsRecord
from results.log.state import RunState
from seti_model.config import Configuration
from seti_model.data.dataset import TrainingData
from seti_model.own import search_too
from tune.cores import cores
from tune.study import Study

FASTER = 1.1  # than half as many threads, for so many to be taken
FEWEST_IMAGES = 5000  # that the search trains on in all, below which the seconds of measuring are not won back
LONGEST_S = 60.0  # of one measurement, importing TensorFlow included
_TICK_S = 0.1


def as_recorded(study: Study, state: RunState) -> Study:
    """Return a study with the threads that its run began with, where the study does not say how many."""
    if study.says_threads or state.started is None:
        return study
    return with_threads(study, state.study.resources.cpus_per_trial)


def with_threads(study: Study, threads: int) -> Study:
    """Return a study whose trials have so many threads."""
    return dataclasses.replace(study, resources=dataclasses.replace(study.resources, cpus_per_trial=threads))


def choose_threads(study: Study, data: TrainingData | None, *, check: Callable[[], None]) -> ThreadsRecord:
    """Return how many trials run at once on this machine, and with how many threads.

    Args:
        study: It says neither.
        data: What its trials see.
        check: Called again and again; what it raises ends a measurement.
    """
    here = cores()
    workers, threads, rates = min(here, study.study.trials), 1, dict[str, float]()
    images = 0 if data is None else study.study.trials * study.study.max_epochs * len(data.train.labels)
    can_measure = study.is_network and images >= FEWEST_IMAGES and workers <= here // 2
    while can_measure and data is not None and (tried := 2 * threads if rates else 1) <= here // workers:
        best = max(rates.values(), default=0.0)
        rates[str(tried)] = _measured(study, data, tried, check)
        if rates[str(tried)] <= FASTER * best:
            break
        threads = tried
    return ThreadsRecord(cores=here, workers=workers, threads=threads, images_per_s=rates)


def in_words(chosen: ThreadsRecord) -> str:
    """Say what was chosen and why."""
    each = f"{chosen.threads} thread{'s' if chosen.threads > 1 else ''}"
    words = f"{chosen.workers} at a time on {chosen.cores} core{'s' if chosen.cores > 1 else ''}, {each} each"
    if not any(chosen.images_per_s.values()):
        return words
    rates = ", ".join(f"{rate:.1f} with {threads}" for threads, rate in chosen.images_per_s.items())
    return f"{words}: the baseline alone trains {rates} (images/s)"


def _measured(study: Study, data: TrainingData, threads: int, check: Callable[[], None]) -> float:
    """Return images per second of the baseline in a process of its own; 0 where it cannot be trained so."""
    order = {
        "configuration": study.configuration(study.baseline_parameters() or {}),
        "shape": data.train.images.shape[1:],
        "class_names": data.class_names,
        "home": str(study.home),
        "threads": threads,
    }
    command = [sys.executable, "-P", "-m", "tune.threads", json.dumps(order)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        end = time.monotonic() + LONGEST_S
        while process.poll() is None and time.monotonic() < end:
            time.sleep(_TICK_S)
            check()
    finally:
        process.kill()
        said = process.communicate()[0]
    return float(said.split()[-1]) if process.returncode == 0 and said else 0.0


def _measure(order: str) -> float:
    from seti_model.runtime import prepare_process

    given = json.loads(order)
    prepare_process(given["threads"])
    search_too(Path(given["home"]))
    from seti_model.training.rate import training_rate

    configuration = Configuration.from_mapping(given["configuration"])
    return training_rate(configuration, tuple(given["shape"]), tuple(given["class_names"]))


if __name__ == "__main__":
    print(_measure(sys.argv[1]))
