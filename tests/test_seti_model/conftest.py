"""One thread for every training of the test process, and small data that a small network can learn."""

from __future__ import annotations

import numpy as np
import pytest

from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.runtime import prepare_process

SMALL = {
    "network.filters_1": 4,
    "network.filters_2": 6,
    "network.kernel": 3,
    "network.dense_units": 16,
    "training.epochs": 3,
    "training.batch_size": 16,
    "training.recalibration_batches": 2,
}


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    prepare_process(threads=1)


@pytest.fixture(scope="session")
def configure():
    """Return a function: changed fields -> Configuration of a network of about 2000 parameters."""

    def make(**changes):
        return Configuration.from_mapping(SMALL | {name.replace("__", "."): value for name, value in changes.items()})

    return make


@pytest.fixture(scope="session")
def striped_data():
    """Noise with a bright stripe whose column tells the class; 50 training images make a partial batch of 2."""
    rng = np.random.default_rng(0)

    def split(n):
        labels = rng.integers(0, 3, n).astype(np.int8)
        images = rng.integers(0, 120, (n, 16, 16, 1)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 3 * label : 3 * label + 3] += 100
        return Split(images, labels)

    return TrainingData(split(50), split(30), ("left", "middle", "right"), "d" * 64)
