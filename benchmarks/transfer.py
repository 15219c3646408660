"""Does starting from another survey help? Radio galaxies in FIRST and NVSS, both directions, against from scratch.

The same galaxies are in both surveys, so they are divided by object: one that a network was pretrained on is never in
the test split of the other survey. Writes data sets and models into a temporary folder, or one given by --out, and
prints a Markdown table. The images are genuine and not part of this project (SETI_TUNE_REAL_DATA, or ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import re
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from results.stats.seeds import objective_over_retrainings
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.data.splits import carve_test, split_by_fractions
from seti_model.runtime import prepare_process

FILES = {"FIRST": "frdeep_first_600x150x150.npz", "NVSS": "frdeep_nvss_600x150x150.npz"}
CLASSES = ("FRI", "FRII")
FRACTIONS = (0.6, 0.2, 0.2)  # of the objects, for training, validation and test
LOW_DATA = 0.25  # of the training objects of the survey that is trained on
CROP = 27  # pixels on each side: 92 % of the light of FIRST lies within, and a step takes half the time
BLANK = "FRICAT 13"  # its image in FIRST is empty
# Objects in both catalogues whose images are not equal byte for byte: what surrounds them in NVSS is the same
# (correlation 0.96 and 0.95; of all other pairs the next one has 0.75).
SAME = {"FRICAT 154": "CoNFIG 44", "FRICAT 151": "CoNFIG 15"}
# The better of two on the validation split from scratch.
NETWORK = {
    "network.blocks": 4,
    "network.filters_1": 8,
    "network.filters_2": 16,
    "network.filters_3": 32,
    "network.filters_4": 32,
    "network.kernel": 3,
    "network.conv_dropout": 0.1,
    "network.dense_units": 64,
    "network.standardise": True,
    "network.batch_norm_momentum": 0.9,
    "training.batch_size": 32,
    "training.learning_rate": 0.003,
    "training.decay_rate": 0.9,
    "training.recalibration_batches": 11,
    "augment.flip_time": True,
    "augment.flip_frequency": True,
}


@dataclass(frozen=True)
class Row:
    """One training: on which survey and how much of it, from what, and what it reached on the test split."""

    survey: str
    data: str
    start: str
    seed: int
    accuracy: float


def main() -> None:
    """Train everything and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.transfer", description=__doc__)
    parser.add_argument("--out", type=Path, help="folder for data sets and models (default: a temporary one)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=25)
    options = parser.parse_args()
    prepare_process(1)
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as temporary:
        out = options.out or Path(temporary)
        rows = [row for seed in range(options.seeds) for row in one_seed(out / f"seed-{seed}", seed, options.epochs)]
    print(table(rows))
    print(f"\n{options.seeds} seeds, {options.epochs} epochs, one thread, {(time.perf_counter() - start) / 60:.0f} min")


def one_seed(out: Path, seed: int, epochs: int) -> list[Row]:
    """Divide the objects, then train on each survey from scratch and from the other one."""
    data = divided(real_images(), out, seed)
    models, rows = {}, []
    for survey in FILES:
        models[survey] = out / f"{survey}.keras"
        rows.append(trained(data[survey, "all"], models[survey], survey, "all", "scratch", seed, epochs))
    for survey, other in (("NVSS", "FIRST"), ("FIRST", "NVSS")):
        rows.append(Row(survey, "none", f"{other} as it is", seed, accuracy_on(data[survey, "all"][1], models[other])))
        for amount in ("all", "quarter"):
            given: Any = (data[survey, amount], out / "target.keras", survey, amount)
            if amount != "all":
                rows.append(trained(*given, "scratch", seed, epochs))
            for frozen in (0, 1, 2):
                start = f"{other}, {frozen} frozen"
                rows.append(trained(*given, start, seed, epochs, init_from=models[other], frozen=frozen))
    return rows


def real_images() -> SplitData:
    """Return the images of both surveys; the group is the object, `truth` names the survey.

    The rows of the two files are in different orders. Catalogue and number, taken from the name of the source file,
    say what object an image is of: position angles then agree between the surveys (correlation 0.7), by row not at all.
    """
    named = os.environ.get("SETI_TUNE_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    images, labels, objects, surveys = [], [], [], []
    for survey, file in FILES.items():
        with np.load(folder / file) as content:
            images.append(content["x"][:, CROP:-CROP, CROP:-CROP, None])
            labels.append(content["y"].astype(np.int8))
            objects += [object_name(*pair) for pair in zip(content["source_file"], content["y"], strict=True)]
            surveys += len(content["y"]) * [survey]
    data = SplitData(
        np.concatenate(images),
        np.concatenate(labels),
        truth=pd.DataFrame({"survey": surveys}),
        groups=one_name(np.concatenate(images), np.array(objects)),
    )
    return data.take(np.flatnonzero(np.asarray(data.groups) != BLANK))


def object_name(source_file: str, label: int) -> str:
    """Return catalogue and number; in FIRST only the class tells the two catalogues without a name apart."""
    match = re.match(r"\d+", source_file)
    if match is None:
        raise ValueError(f"{source_file}: expected a name that begins with a number; the files are other ones")
    catalogue = "FRICAT" if "FRICAT" in source_file else ("CoNFIG", "FRII")[label]
    name = f"{catalogue} {match.group()}"
    return SAME.get(name, name)


def one_name(images: np.ndarray[Any, Any], objects: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Give objects that have the same image one name, in all their images."""
    first: dict[bytes, str] = {}
    for image, name in zip(images, objects.tolist(), strict=True):
        known = first.setdefault(image.tobytes(), name)
        if name != known and image.any():
            objects = np.where(objects == name, known, objects)
    return objects


def divided(both: SplitData, out: Path, seed: int) -> dict[tuple[str, str], tuple[Dataset, SplitData]]:
    """Write each survey as a data set with all and with a quarter of its training objects; objects divided once.

    Returns:
        By survey and amount the data set, which has no test split, and the test split.

    Raises:
        RuntimeError: An object would be in the test split of one survey and in another split of the other one.
    """
    parts = split_by_fractions(both, FRACTIONS, seed, class_names=CLASSES)
    parts["quarter"], _ = carve_test(parts["train"], 1 - LOW_DATA, seed, class_names=CLASSES)
    datasets = {}
    for survey in FILES:
        mine = {name: part.take(np.flatnonzero(part.truth["survey"] == survey)) for name, part in parts.items()}
        quarter, test = mine.pop("quarter"), mine.pop("test")
        for amount, splits in (("all", mine), ("quarter", mine | {"train": quarter})):
            data = write_dataset(out / f"{survey}-{amount}", splits, CLASSES, {"seed": seed})
            datasets[survey, amount] = (data, test)
    held_out = {name for _, test in datasets.values() for name in set(np.asarray(test.groups))}
    for data, _ in datasets.values():
        seen = {name for split in ("train", "validation") for name in set(np.asarray(data.split(split).groups))}
        if seen & held_out or any(data.origin["duplicates_removed"].values()):
            raise RuntimeError(f"{data.path}: {sorted(seen & held_out)} are tested and trained on; correct the groups")
    return datasets


def trained(
    data: tuple[Dataset, SplitData],
    model: Path,
    survey: str,
    amount: str,
    start: str,
    seed: int,
    epochs: int,
    init_from: Path | None = None,
    frozen: int = 0,
) -> Row:
    """Train one network, export it to `model` and test it."""
    from seti_model.exported import export_model
    from seti_model.training.train import train

    split, test = data[0].training_data(), data[1]
    steps = epochs * -(-len(split.train.labels) // 32)
    changes = {"training.epochs": epochs, "training.decay_steps": max(steps // 25, 1), "training.frozen_blocks": frozen}
    result = train(Configuration.from_mapping(NETWORK | changes), split, seed=seed, init_from=init_from)
    export_model(result.best, model)
    accuracy = accuracy_on(test, model)
    print(
        f"seed {seed} {survey} {amount} {start}: validation {result.best_validation_accuracy:.3f} "
        f"(epoch {result.best_epoch}), test {accuracy:.3f}",
        flush=True,
    )
    return Row(survey, amount, start, seed, accuracy)


def accuracy_on(test: SplitData, model: Path) -> float:
    """Return the accuracy of an exported model on the test split."""
    from seti_model.exported import load_model

    return float(np.mean(load_model(model).predict(test.images).argmax(axis=1) == test.labels))


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the mean and its 95 % t interval over seeds; each seed has its own division, weights and order."""
    mean = objective_over_retrainings(values).mean
    return mean.value, mean.low, mean.high


def table(rows: Sequence[Row]) -> str:
    """Return one line per survey, amount of data and start, differences to scratch paired by seed."""
    lines = [
        "| test on | trained on | start | test accuracy | difference to scratch |",
        "|---|---|---|---|---|",
    ]
    for survey, amount, start in dict.fromkeys((row.survey, row.data, row.start) for row in rows):
        chosen = [row for row in rows if (row.survey, row.data, row.start) == (survey, amount, start)]
        scratch = {r.seed: r.accuracy for r in rows if (r.survey, r.data, r.start) == (survey, amount, "scratch")}
        accuracy = "{:.3f} ({:.3f} to {:.3f})".format(*mean_interval([row.accuracy for row in chosen]))
        difference = ""
        if scratch and start != "scratch":
            difference = "{:+.3f} ({:+.3f} to {:+.3f})".format(
                *mean_interval([row.accuracy - scratch[row.seed] for row in chosen])
            )
        lines.append(f"| {survey} | {amount} | {start} | {accuracy} | {difference} |")
    return "\n".join([*lines[:2], *sorted(lines[2:])])


if __name__ == "__main__":
    main()
