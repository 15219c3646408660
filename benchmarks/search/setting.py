"""What all ways have in common: data, space, budget, rule, and the configuration that each tries first."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search_spaces.space import Space, load_space
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset, TrainingData
from seti_model.data.simulator import simulate, simulate_dataset

SPACE = Path(__file__).with_name("course_network.toml")
FULL_SPACE = "quickstart"  # the shipped space, with preparation and two further families
DATA, TEST = "data", "test.npz"
DATA_SEED = 1
BATCH = 32


@dataclass(frozen=True)
class Setting:
    """The budget of each search. `grace_epochs` and `reduction_factor` are those of every rule that stops trials."""

    name: str
    trials: int
    max_epochs: int
    train: int  # images
    validation: int
    test: int
    dense_units: int
    grace_epochs: int
    reduction_factor: int = 2
    workers: int = 2  # of one thread each
    seeds: int = 5


SETTINGS = {
    one.name: one
    for one in (
        # Data, epochs and dense layer of the study quickstart; no way sees the test images.
        Setting("quickstart", 16, 8, train=640, validation=400, test=2000, dense_units=128, grace_epochs=2),
        Setting("quick", 3, 2, train=64, validation=48, test=48, dense_units=8, grace_epochs=1, seeds=1),
        Setting("tiny", 1, 1, train=32, validation=16, test=16, dense_units=4, grace_epochs=1, workers=1, seeds=1),
    )
}


def make_data(setting: Setting, folder: Path) -> None:
    """Simulate training and validation images, which every way gets, and test images, which none gets."""
    if not (folder / DATA).exists():
        counts = {"train": setting.train, "validation": setting.validation}
        simulate_dataset(folder / DATA, "course", counts, DATA_SEED)
    if not (folder / TEST).exists():
        test = simulate("course", setting.test, DATA_SEED, split="test")
        np.savez(folder / TEST, images=test.images, labels=test.labels)


def training_data(folder: Path) -> TrainingData:
    """Return what a way may see."""
    return Dataset.open(folder / DATA).training_data()


def test_images(folder: Path) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return images and labels on which what was delivered is judged."""
    with np.load(folder / TEST) as content:
        return content["images"], content["labels"]


def space() -> Space:
    """Return the space of the course network, which all ways but the one with the full space search."""
    return load_space(SPACE)


def first_parameters() -> dict[str, bool | int | float | str]:
    """Return the course's own configuration, which every way tries first, as ours does: it is known to all."""
    return space().restrict(Configuration().to_mapping())
