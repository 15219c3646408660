"""How do the shipped networks do on real images of the challenge, and does it help to begin with simulated ones?

400 images of four classes are divided into five parts; each is tested by a network that was trained on three of the
others and chosen on the fourth. Networks are trained from scratch, or from one that was trained on the simulated preset
`challenge`; that one is also asked as it is. Settings were fixed on simulated images, never on these. Prints a Markdown
table. The images are genuine and not part of this project (SETI_TUNE_REAL_DATA, or ../shared/data).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import StratifiedKFold

from results.stats.intervals import wilson_estimate
from results.stats.seeds import accuracy_over_retrainings, difference_over_retrainings
from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.simulator import simulate
from seti_model.runtime import prepare_process

FILE = "ml4seti_400x64x128.npz"
PARTS = 5
SIMULATED = {"train": 3200, "validation": 800}
# The preset drifts by up to 22 pixels and bends by up to 2.2.
ALIGNED = {"prepare.steps": "align", "align.max_drift": 22.0}
FALLING = {"training.schedule": "cosine", "training.clip_norm": 1.0, "augment.flip_time": True}
NETWORKS: Mapping[str, tuple[int, Mapping[str, Any]]] = {  # epochs on real images, fields
    "course, as published": (12, {}),
    "course, aligned": (12, {**ALIGNED, "network.standardise": True}),
    "small, aligned": (30, {**ALIGNED, "network.family": "small", "training.learning_rate": 0.003, **FALLING}),
    "drift": (
        30,
        {
            **ALIGNED,
            "network.family": "drift",
            "drift.max_curvature": 2.24,
            "drift.curvature_step": 0.16,
            "drift.max_slope": 1.0,
            "drift.slope_step": 0.2,
            "training.learning_rate": 0.005,
            **FALLING,
        },
    ),
}
SIMULATED_EPOCHS = 12


def main() -> None:
    """Train everything and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.real_images", description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS), metavar="NETWORK")
    options = parser.parse_args()
    prepare_process(1)
    start = time.perf_counter()
    images, labels, names = real_images()
    print("| network | start | accuracy | minus scratch |\n|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        simulated = simulated_data(names)
        for network in options.networks:
            model = Path(temporary) / f"{network}.keras"
            unchanged = pretrained(network, simulated, model, images) == labels
            scratch = np.stack([tested(network, images, labels, names, seed, None) for seed in range(options.seeds)])
            begun = np.stack([tested(network, images, labels, names, seed, model) for seed in range(options.seeds)])
            print_row(network, "simulated, as it is", np.stack([unchanged]), None)
            print_row(network, "scratch", scratch, None)
            print_row(network, "simulated", begun, scratch)
    print(f"\n{options.seeds} seeds, {PARTS} parts, one thread, {(time.perf_counter() - start) / 60:.0f} min")


def real_images() -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8], tuple[str, ...]]:
    """Return images (400, 64, 128, 1), labels and class names."""
    named = os.environ.get("SETI_TUNE_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    with np.load(folder / FILE) as content:
        return content["x"][..., None], content["y"].astype(np.int8), tuple(content["class_names"].tolist())


def simulated_data(names: tuple[str, ...]) -> TrainingData:
    """Simulate the `challenge` preset."""
    made = {split: simulate("challenge", n, 1, split=split) for split, n in SIMULATED.items()}
    splits = [Split(one.images, one.labels) for one in made.values()]
    return TrainingData(*splits, names, "simulated challenge")


def pretrained(
    network: str, simulated: TrainingData, model: Path, images: npt.NDArray[np.uint8]
) -> npt.NDArray[np.intp]:
    """Train on simulated images and export to `model`; return the classes it gives the real ones."""
    from seti_model.exported import as_model, export_model
    from seti_model.training.train import train

    configuration = Configuration.from_mapping({**NETWORKS[network][1], "training.epochs": SIMULATED_EPOCHS})
    best = train(configuration, simulated, seed=1).best
    export_model(best, model)
    return as_model(best).predict(images).argmax(axis=1)


def tested(
    network: str,
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.int8],
    names: tuple[str, ...],
    seed: int,
    model: Path | None,
) -> npt.NDArray[np.bool_]:
    """Return of every image whether the network that has not seen it is right."""
    from seti_model.exported import as_model
    from seti_model.training.train import train

    epochs, fields = NETWORKS[network]
    configuration = Configuration.from_mapping({**fields, "training.epochs": epochs})
    parts = [test for _, test in StratifiedKFold(PARTS, shuffle=True, random_state=0).split(images, labels)]
    right = np.zeros(len(labels), bool)
    for number, test in enumerate(parts):
        chosen = parts[(number + 1) % PARTS]
        rest = np.setdiff1d(np.arange(len(labels)), np.concatenate([test, chosen]))
        splits = [Split(images[rows], labels[rows]) for rows in (rest, chosen)]
        data = TrainingData(*splits, names, f"real {number}")
        best = train(configuration, data, seed=seed, init_from=model).best
        right[test] = as_model(best).predict(images[test]).argmax(axis=1) == labels[test]
    return right


def print_row(network: str, start: str, right: npt.NDArray[np.bool_], scratch: npt.NDArray[np.bool_] | None) -> None:
    """Print a line of the table; intervals over seeds and images."""
    differ = "" if scratch is None else f"{difference_over_retrainings(right, scratch):+.3f}"
    one = wilson_estimate(int(right.sum()), right.size)
    accuracy = one if len(right) == 1 else accuracy_over_retrainings(right).accuracy
    print(f"| {network} | {start} | {accuracy:.3f} | {differ} |", flush=True)


if __name__ == "__main__":
    main()
