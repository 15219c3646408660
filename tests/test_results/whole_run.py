"""A run folder with something of everything: all ends of trials, a fault, rungs, finals, images and markup in names."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.findings import Findings, Importance, write_importance
from results.log.history import History
from results.log.recorder import EventLog
from results.log.records import (
    AttemptEnded,
    AttemptStarted,
    Epoch,
    Event,
    FinalEvaluated,
    FinalsDecided,
    ImagesRecord,
    StudyEnded,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState, load_run
from results.predictions import Predictions, errors_by_class, example_images, write_examples, write_predictions
from results.run_folder import EXAMPLES, VALIDATION_ERRORS
from results.study import DataSection, ResourcesSection
from results.tables.leaderboard import write_tables

EVIL = "<script>document.title='taken'</script>"
CLASSES = ("squiggle", "narrowbanddrd", "narrowband", "noise")
SPACE = {
    "parameters": {
        "training.learning_rate": {"type": "float", "low": 0.0001, "high": 0.1, "log": True},
        "network.filters_1": {"type": "int", "low": 8, "high": 64},
        "network.activation": {"type": "categorical", "choices": ["relu", "<b>elu</b>"]},
    }
}
N = 200


def write_whole_run(
    run: Path, hand: Any, *, recipe: str = "course", images: ImagesRecord | None = None, channels: int = 1
) -> None:
    """Write 30 trials: 20 completed, 6 stopped, 2 failed, 1 diverged, 1 running; trial 7 wins the finals."""
    with EventLog(run) as log:
        study = hand.study(name=EVIL, trials=30, space=SPACE, validation_images=800, images=images)
        data = DataSection(simulate=recipe, seed=0, train=3200, validation=800, test=N)
        record = dataclasses.replace(study.study, resources=ResourcesSection(cpus_per_trial=2), data=data)
        log.append(dataclasses.replace(study, study=record))
        for number in range(30):
            log.append(*_trial(hand, number))
        log.append(*_finals(hand, run, channels))
        log.append(StudyEnded(finished=True, reason="all trials ended"))
    write_tables(run, load_run(run))
    shares = {"training.learning_rate": 0.7, "network.filters_1": 0.2, "network.activation": 0.1}
    write_importance(run, Importance("PED-ANOVA", 20, "f", shares))


def findings(run: Path, state: RunState) -> Findings:
    """What a run found, from a state in memory: without steps and costs, which only a log tells."""
    return Findings(run, History(state, (), ()))


def predictions(right: int, n: int = N) -> Predictions:
    """The first `right` of `n` images are right; strong signals come first."""
    truth = np.arange(n) % 4
    said = np.where(np.arange(n) < right, truth, (truth + 1) % 4)
    sure = np.linspace(0.6, 0.95, n)[:, None]
    y_prob = np.where(np.eye(4)[said] == 1, sure, (1 - sure) / 3)
    ratio = np.where(truth == 3, np.nan, np.linspace(0.5, 0.2, n))
    return Predictions(truth, y_prob, CLASSES, pd.DataFrame({"amplitude_ratio": ratio}))


def _trial(hand: Any, number: int) -> Iterator[Event]:
    level = 0.9 if number == 7 else 0.5 + 0.01 * number
    parameters = {
        "training.learning_rate": 0.0001 * 1.2**number,
        "network.filters_1": 8 + number,
        "network.activation": ("relu", "<b>elu</b>")[number % 2],
    }
    if number == 29:  # running, after its worker died once and two epochs had to be repeated
        yield TrialStarted(trial=29, parameters=parameters, configuration=parameters, seed=29, max_epochs=3)
        yield AttemptStarted(trial=29, attempt=0)
        for epoch in (1, 2):
            yield Epoch(trial=29, attempt=0, epoch=epoch, validation_accuracy=0.4, seconds=1800.0)
        yield AttemptEnded(trial=29, attempt=0, why="the worker died")
        yield AttemptStarted(trial=29, attempt=1)
        yield Epoch(trial=29, attempt=1, epoch=1, validation_accuracy=0.4, seconds=900.0)
        return
    ends = {3: ("diverged", "loss is nan"), 4: ("failed", f"ValueError: {EVIL}"), 5: ("failed", "out of memory")}
    status, reason = ends.get(number, ("stopped", "ASHA") if 10 <= number < 16 else ("completed", ""))
    n = {"completed": 3, "stopped": 1, "diverged": 2, "failed": 0}[status]
    values = [level - 0.1, level - 0.05, level][3 - n :] if status != "diverged" else [0.3, float("nan")]
    word = "exempt" if number % 10 == 0 else "stop" if status == "stopped" else "go on"
    rungs = {1: (values[0], 0.5, word)} if values else {}
    events = hand.trial(number, values, status, reason=reason, rungs=rungs, parameters=parameters)
    yield from (dataclasses.replace(e, seconds=3600.0) if isinstance(e, Epoch) else e for e in events)


def _finals(hand: Any, run: Path, channels: int) -> Iterator[Event]:
    evaluated = []
    for trial, objectives, right in ((7, (0.8, 0.78), (170, 160)), (0, (0.5, 0.52), (140, 150))):
        for repeat, objective in enumerate(objectives):
            for event in hand.trial(trial, [0.1, objective]):
                if not isinstance(event, TrialEnded) or event.repeat is None:
                    yield dataclasses.replace(event, repeat=repeat)
            path = f"final/predictions/{trial:04d}-{repeat}.parquet"
            write_predictions(run / path, predictions(right[repeat]))
            evaluated.append(FinalEvaluated(trial=trial, repeat=repeat, predictions=path, n=N, correct=right[repeat]))
    yield FinalsDecided(finalists=(7, 0), seeds=2, search_trials=29, winner=7, delivered=0)
    yield from evaluated
    write_predictions(run / "final/validation_predictions.parquet", predictions(700, 800))
    (run / "final" / "model.json").write_text('{"weights_digest": null}')  # as in the events made by hand
    images = np.random.default_rng(0).integers(0, 256, (800, 64, 128, channels), dtype=np.uint8)
    write_examples(run / EXAMPLES, example_images(predictions(170), images[:N]))
    write_examples(run / VALIDATION_ERRORS, errors_by_class(predictions(700, 800), images))
