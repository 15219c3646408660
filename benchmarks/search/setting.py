"""What all ways have in common: data, space, budget, rule, and the configuration that each tries first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.parameters import Value
from search_spaces.space import Space, load_space
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset, TrainingData
from seti_model.data.simulator import simulate, simulate_dataset

BENCHMARKS = Path(__file__).resolve().parents[1]
FULL_SPACE = "quickstart"  # the shipped space, with preparation and two further families
DATA, TEST = "data", "test.npz"
DATA_SEED = 1
BATCH = 32
WIDE = "wide"


@dataclass(frozen=True)
class Setting:
    """The budget of each search. `grace_epochs` and `reduction_factor` are those of every rule that stops trials."""

    name: str
    trials: int
    max_epochs: int
    train: int  # images
    validation: int
    test: int
    grace_epochs: int
    reduction_factor: int = 2
    workers: int = 2  # of one thread each
    seeds: int = 5
    preset: str = "course"  # of the simulated images
    space_file: str = "search/course_network.toml"  # in `benchmarks`
    fixed: Mapping[str, Value] = field(default_factory=dict)  # of every configuration, beside its parameters
    first: Mapping[str, Value] = field(default_factory=dict)  # where the configuration tried first is not the default


SETTINGS = {
    one.name: one
    for one in (
        # Data, epochs and dense layer of the study quickstart; no way sees the test images.
        Setting(
            "quickstart",
            16,
            8,
            train=640,
            validation=400,
            test=2000,
            grace_epochs=2,
            fixed={"network.dense_units": 128},
        ),
        # The space and data of the recorded curves, and the rule that a search has where nothing else is said.
        Setting(
            WIDE,
            25,
            12,
            train=256,
            validation=600,
            test=2000,
            grace_epochs=4,
            reduction_factor=3,
            seeds=1,
            preset="wide",
            space_file="replay/wide_space.toml",
            fixed={"drift.curvature_step": 0.14, "drift.slope_step": 0.25},
            first={"network.family": "small"},
        ),
        Setting(
            "quick", 3, 2, train=64, validation=48, test=48, grace_epochs=1, seeds=1, fixed={"network.dense_units": 8}
        ),
        Setting(
            "tiny",
            1,
            1,
            train=32,
            validation=16,
            test=16,
            grace_epochs=1,
            workers=1,
            seeds=1,
            fixed={"network.dense_units": 4},
        ),
    )
}


def make_data(setting: Setting, folder: Path) -> None:
    """Simulate training and validation images, which every way gets, and test images, which none gets."""
    if not (folder / DATA).exists():
        counts = {"train": setting.train, "validation": setting.validation}
        simulate_dataset(folder / DATA, setting.preset, counts, DATA_SEED)
    if not (folder / TEST).exists():
        test = simulate(setting.preset, setting.test, DATA_SEED, split="test")
        np.savez(folder / TEST, images=test.images, labels=test.labels)


def training_data(folder: Path) -> TrainingData:
    """Return what a way may see."""
    return Dataset.open(folder / DATA).training_data()


def test_images(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return images and labels on which what was delivered is judged."""
    with np.load(folder / TEST) as content:
        return content["images"], content["labels"]


def space(setting: Setting) -> Space:
    """Return what all ways search but the one with the full space."""
    return load_space(BENCHMARKS / setting.space_file)


def first_parameters(setting: Setting) -> dict[str, Value]:
    """Return the configuration that every way tries first, as ours does: the course's own, or that of a family."""
    return space(setting).restrict(Configuration.from_mapping(setting.first).to_mapping())
