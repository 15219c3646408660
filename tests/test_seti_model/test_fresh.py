"""Data without end: every epoch's images are new, and the same whenever and wherever they are made."""

import dataclasses
import json

import numpy as np
import pytest

from seti_model.config import Configuration
from seti_model.data.dataset import DATASET_FILE, Dataset, Split
from seti_model.data.fresh import PART, TrainingImages
from seti_model.data.prepare import prepare
from seti_model.data.simulator import simulate, simulate_dataset
from seti_model.errors import DatasetError
from seti_model.training.train import Checkpoints, train

N, EPOCHS = 40, 3
COUNTS = {"train": N, "validation": 16, "test": 8}
FIELDS = {
    "network.family": "small",
    "small.convolutions": 0,
    "small.dense_1": 8,
    "align.half_width": 4,
    "training.epochs": EPOCHS,
    "training.batch_size": 16,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return simulate_dataset(tmp_path_factory.mktemp("fresh") / "data", "course", COUNTS, 7, fresh=True).path


def images_of(data, configuration):
    prepared = dataclasses.replace(data.train, images=prepare(data.train.images, configuration.preparation))
    images = TrainingImages(data, prepared, configuration.preparation, epochs=EPOCHS)
    try:
        return [images.epoch(epoch) for epoch in range(1, EPOCHS + 1)]
    finally:
        images.close()


@pytest.mark.parametrize("shared", [False, True])
def test_each_epoch_has_the_next_images_of_the_series(folder, tmp_path, shared):
    data = Dataset.open(folder).training_data(prepared_in=tmp_path if shared else None)
    whole = simulate("course", EPOCHS * N, seed=7)
    for epoch, split in enumerate(images_of(data, Configuration())):
        assert np.array_equal(split.images, whole.images[epoch * N : (epoch + 1) * N])
        assert split.labels.tolist() == whole.labels[epoch * N : (epoch + 1) * N].tolist()


def test_further_images_are_prepared_as_the_first_are(folder):
    configuration = Configuration.from_mapping(FIELDS)
    whole = prepare(simulate("course", EPOCHS * N, seed=7).images, configuration.preparation)
    found = images_of(Dataset.open(folder).training_data(), configuration)
    assert np.array_equal(np.concatenate([split.images for split in found]), whole)


def test_a_training_is_the_same_alone_shared_and_continued(folder, tmp_path):
    configuration, dataset = Configuration.from_mapping(FIELDS), Dataset.open(folder)
    alone = train(configuration, dataset.training_data(), seed=3)
    shared = dataset.training_data(prepared_in=tmp_path / "shared")
    begun = train(
        configuration, shared, seed=3, checkpoints=Checkpoints(tmp_path / "c"), on_epoch=lambda epoch: epoch.epoch == 2
    )
    assert (len(begun.history), begun.stopped) == (2, True)
    whole = train(configuration, shared, seed=3, resume_from=tmp_path / "c" / "0002")
    assert [epoch.weights_digest for epoch in whole.history] == [epoch.weights_digest for epoch in alone.history]


def test_new_images_give_other_weights_from_the_second_epoch_on(folder, tmp_path):
    plain = simulate_dataset(tmp_path / "plain", "course", COUNTS, 7)
    assert plain.digest != Dataset.open(folder).digest
    digests = [
        [epoch.weights_digest for epoch in train(Configuration.from_mapping(FIELDS), data, seed=3).history]
        for data in (plain.training_data(), Dataset.open(folder).training_data())
    ]
    assert [a == b for a, b in zip(*digests, strict=True)] == [True, False, False]


def test_a_training_that_is_left_leaves_the_next_images_unfinished(folder, tmp_path):
    data = dataclasses.replace(Dataset.open(folder).training_data(), prepared_in=tmp_path)
    n = 100 * PART
    many = Split(np.zeros((n, 64, 128, 1), np.uint8), np.zeros(n, np.int8))
    images = TrainingImages(data, many, Configuration().preparation, epochs=EPOCHS)
    images.epoch(1)
    images.close()
    images._pool.shutdown(wait=True)  # what is in hand
    assert not list(tmp_path.glob("simulated-*/000002.npy")), "a hundred parts take half a minute"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"physics": {"noise_sigma": "loud"}}, r"dataset\.json: fresh\.physics: Expected `float`, got `str`"),
        ({"seed": -1}, "simulation with seed -1: it may not be negative"),
    ],
)
def test_physics_that_cannot_be_read_are_refused(folder, tmp_path, change, message):
    data = Dataset.open(folder).training_data()
    data = dataclasses.replace(data, fresh=dataclasses.replace(data.fresh, **change))
    with pytest.raises(DatasetError, match=message):
        train(Configuration.from_mapping(FIELDS), data, seed=1)


def test_what_is_still_to_come_belongs_to_the_digest(tmp_path):
    dataset = simulate_dataset(tmp_path / "d", "course", {"train": 4, "validation": 4}, 1, fresh=True)
    dataset.verify()
    file = dataset.path / DATASET_FILE
    record = json.loads(file.read_text())
    record["fresh"]["seed"] = 2
    file.write_text(json.dumps(record))
    with pytest.raises(DatasetError, match=r"its files were changed, make the data set again"):
        Dataset.open(dataset.path).verify()
