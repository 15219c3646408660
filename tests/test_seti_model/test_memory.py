"""A process that trains one network after the other gives back what each of them took."""

import json
import subprocess
import sys

import numpy as np
import pytest

from seti_model.runtime import outside_heap

# Trains one epoch of a few batches for each pair of filter counts; prints resident MB after each.
TRAIN_ALL = """
import gc, json, sys
import numpy as np, psutil
from seti_model.runtime import prepare_process
prepare_process(1)
from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.training.train import train
pairs, shape, dense = json.loads(sys.argv[1])
rng = np.random.default_rng(0)
split = Split(rng.integers(0, 256, (80, *shape, 1), dtype=np.uint8), rng.integers(0, 4, 80).astype(np.int8))
data = TrainingData(split, split, ("a", "b", "c", "d"), "d" * 64)
resident = []
for first, second in pairs:
    values = {"network.filters_1": first, "network.filters_2": second, "network.dense_units": dense}
    values |= {"training.epochs": 1, "training.recalibration_batches": 2}
    train(Configuration.from_mapping(values), data, seed=1)
    gc.collect()
    resident.append(psutil.Process().memory_info().rss / 1e6)
print(json.dumps(resident))
"""


def resident_after_each(pairs, shape, dense):
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_ALL, json.dumps([pairs, shape, dense])],
        capture_output=True,
        text=True,
        check=True,
        timeout=500,
    )
    return json.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to give memory back")
def test_twelve_course_size_networks_leave_less_than_60_mb_behind():
    others = [(16, 16), (64, 64), (24, 48), (48, 24), (16, 64), (64, 16), (40, 40), (32, 32), (20, 56), (56, 20)]
    resident = resident_after_each([(32, 64), *others, (32, 64)], (64, 128), 1024)
    assert resident[-1] - resident[1] < 60, resident


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to give memory back")
def test_eight_networks_of_five_million_parameters_leave_less_than_one_of_them_behind():
    """A leak of a whole model would be 7 x 60 MB (weights, two moments); without one about 2 MB each remain."""
    others = [(16, 32), (32, 16), (24, 24), (16, 24), (24, 16), (28, 28)]
    resident = resident_after_each([(32, 32), *others, (32, 32)], (32, 64), 1024)
    assert resident[-1] - resident[1] < 40, resident


def test_array_outside_the_heap_is_an_equal_writable_copy():
    array = np.arange(12, dtype=np.float32).reshape(3, 4)
    copy = outside_heap(array)
    copy[0, 0] = 9
    assert array[0, 0] == 0
    assert np.array_equal(copy[1:], array[1:])
    assert outside_heap(np.empty((0, 3))).shape == (0, 3)


FIFTY_GRAPHS = """
import gc, json
import numpy as np, psutil
from seti_model.runtime import prepare_process
prepare_process(1)
from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.training.train import train
rng = np.random.default_rng(0)
split = Split(rng.integers(0, 256, (64, 64, 64, 1), dtype=np.uint8), rng.integers(0, 4, 64).astype(np.int8))
data = TrainingData(split, split, ("a", "b", "c", "d"), "d" * 64)
resident = []
for number in range(50):
    small = {"network.family": "small", "small.dense_1": 1500 + 8 * number, "small.convolutions": number % 3}
    values = small if number % 2 else {"network.family": "drift", "drift.features": 8 + number}
    train(Configuration.from_mapping({**values, "training.epochs": 1}), data, seed=1)
    gc.collect()
    resident.append(psutil.Process().memory_info().rss / 1e6)
print(json.dumps(resident))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only glibc is told to give memory back")
def test_fifty_networks_of_other_families_leave_4_mb_each_behind_at_most():
    """Every second one has 2.4 million weights or more: a leak of whole models would be 25 x 29 MB."""
    done = subprocess.run([sys.executable, "-c", FIFTY_GRAPHS], capture_output=True, text=True, check=True, timeout=590)
    resident = json.loads(done.stdout)
    assert resident[-1] - resident[9] < 40 * 4, resident
