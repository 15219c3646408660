"""Does asking for what one wants pay? Searches for an objective beside a search for accuracy, on rare signals.

Both searches have the same space, data, trials and seed. Their best configurations are retrained from fresh seeds, and
the test images, which no decision has seen, are predicted by the retraining that was best on validation by the search's
own objective. The difference is of the objective on these images, with the paired interval of the report. One process,
no Ray; about ten minutes. Run it with `python benchmarks/objectives.py OUT`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

import numpy as np

from results.finals import Role, Tested, configurations_difference, models_difference
from results.findings import Findings
from results.log.recorder import Recorder
from results.log.state import RunState
from results.objective import Objective
from results.receipt import write_receipts
from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.data.simulator import simulate_dataset
from tune.finals import conclude_finals
from tune.loop.coordinator import Coordinator
from tune.loop.executor import run_here
from tune.loop.search import SearchPlan
from tune.process.driver import prepare_data
from tune.provenance import provenance
from tune.resume import opening_events
from tune.study import Study, load_study
from tune.trainable import train_network

PRESET = "challenge"  # with signals that are hard to see
COUNTS = {"train": 4000, "validation": 3200, "test": 3200}
RARE = 0.125  # of the images of each class of signals so many are kept
OBJECTIVES = ("balanced_accuracy", "recall_at_false_alarm")
STUDY = """
[study]
space = "{space}"
trials = {trials}
max_epochs = {epochs}
seed = {seed}
objective = "{objective}"
false_alarm = 0.02
[data]
path = "{data}"
[finals]
finalists = 2
max_finalists = 2
seeds = 3
"""
SPACE = """
name = "rare"
description = "The small network on aligned images, with and without weights of the classes."
[parameters."training.class_weights"]
type = "categorical"
choices = ["equal", "balanced"]
reason = "Rare classes count for little in the loss, or as much as the others."
[parameters."training.learning_rate"]
type = "float"
low = 0.0005
high = 0.01
log = true
reason = "Around what the small network was measured with."
[parameters."small.filters"]
type = "int"
low = 8
high = 24
step = 8
reason = "Half and one and a half times the default."
[parameters."small.dropout"]
type = "float"
low = 0.0
high = 0.6
step = 0.1
reason = "None to twice the default."
"""
FIXED = """
[fixed]
"network.family" = "small"
"training.batch_size" = 64
"""


def rare_signals(folder: Path, seed: int) -> Path:
    """Return a simulated data set in which most images are noise."""
    path, even = folder / "rare", folder / "even"
    if path.exists():
        return path
    simulate_dataset(even, PRESET, {"train": sum(COUNTS.values()), "validation": 4}, seed)
    dataset = Dataset.open(even)
    of_all = dataset.split("train")
    labels, rng = np.asarray(of_all.labels), np.random.default_rng(seed)
    is_kept = (labels == dataset.class_names.index("noise")) | (rng.random(labels.size) < RARE)
    order, splits, first = rng.permutation(labels.size), {}, 0
    for name, count in COUNTS.items():
        rows = np.sort(order[first : first + count])
        rows, first = rows[is_kept[rows]], first + count
        splits[name] = SplitData(np.asarray(of_all.images)[rows], labels[rows])
    write_dataset(path, splits, dataset.class_names, origin={})
    return path


def searched(study: Study, run: Path) -> RunState:
    """Search, decide the finals and predict the test images; goes on where it was interrupted."""
    with Recorder(run) as recorder:
        data, digest = prepare_data(study, run, say=print)
        images = None if data is None else len(data.validation.labels)
        opening = opening_events(study, recorder.state, run, data=(digest, images), provenance=provenance())
        recorder.write(*opening)
        run_here(Coordinator(SearchPlan(study, recorder.state, run), recorder), data, train_network)
        conclude_finals(study, recorder)
        write_receipts(run, recorder.state)
        return recorder.state


def tested(run: Path, objective: Objective) -> Tested:
    """Return the winner of a run on the test images, by an objective of our choice."""
    found = Findings.read(run)
    winner = next(one for one in found.tested if one.role == Role.WINNER)
    return dataclasses.replace(winner, ranked_by=objective)


def main() -> int:
    """Print and write the differences."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "rare.toml").write_text(SPACE)
    data, rows = rare_signals(given.out, given.seed), []
    for objective in ("accuracy", *OBJECTIVES):
        path = given.out / f"{objective}.toml"
        path.write_text(
            STUDY.format(
                space="rare.toml",
                trials=given.trials,
                epochs=given.epochs,
                seed=given.seed,
                objective=objective,
                data=data.absolute(),
            )
            + FIXED
        )
        began = time.monotonic()
        searched(load_study(path), given.out / "runs" / objective)
        print(f"{objective}: searched in {time.monotonic() - began:.0f} s", flush=True)
    for name in OBJECTIVES:
        objective = Objective(name, false_alarm=0.02)  # type: ignore[arg-type]
        mine, other = (tested(given.out / "runs" / one, objective) for one in (name, "accuracy"))
        models, configurations = models_difference(mine, other), configurations_difference(mine, other)
        row = {
            "objective": name,
            "searched_for_it": dataclasses.asdict(mine.objective),
            "searched_for_accuracy": dataclasses.asdict(other.objective),
            "models": dataclasses.asdict(models.estimate) | {"p_value": models.p_value},
            "configurations": dataclasses.asdict(configurations),
        }
        rows.append(row)
        print(f"{name}: {mine.objective:.4f} searched for it, {other.objective:.4f} searched for accuracy")
        print(f"  models {models.estimate:+.4f}, configurations {configurations:+.4f}")
    (given.out / "objectives.json").write_text(json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
