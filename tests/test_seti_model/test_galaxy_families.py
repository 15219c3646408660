"""The networks of radio galaxies: sizes as published, they learn, continue, and keep an earlier one's blocks."""

import numpy as np
import pytest
from made_galaxies import CLASSES, galaxies

from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.errors import ConfigError
from seti_model.exported import as_model, export_model, load_initial, load_model
from seti_model.network import PixelScale, build_network
from seti_model.training.arrays import read_arrays
from seti_model.training.train import Checkpoints, train

RMSPROP = {"training.optimizer": "rmsprop", "training.learning_rate": 0.001, "training.decay_rate": 1.0}
AUGMENTED = {"augment.rotate": 180.0, "augment.flip_time": True, "training.clip_norm": 1.0, "training.batch_size": 10}
ALHASSAN = {"network.family": "alhassan", **{f"alhassan.filters_{n}": 4 for n in (1, 2, 3)}, "alhassan.dense_units": 8}
ANIYAN = {"network.family": "aniyan", **{f"aniyan.filters_{n}": 4 for n in range(1, 6)}, "aniyan.dense_units": 8}
BOTH = pytest.mark.parametrize("family", [ALHASSAN, ANIYAN], ids=["alhassan", "aniyan"])


def split(n, seed):
    images, labels = galaxies(n, seed)
    return Split(images[..., None], labels)


@pytest.fixture(scope="module")
def data():
    return TrainingData(split(80, 1), split(40, 2), CLASSES, "d" * 64)


def trained(values, data, **arguments):
    return train(Configuration.from_mapping({**RMSPROP, **AUGMENTED, **values}), data, seed=1, **arguments)


def layers(family, size):
    """Return the shapes of what a default network computes and its number of weights."""
    configuration = Configuration.from_mapping({"network.family": family})
    network = build_network(configuration, (size, size, 1), 4, seed=1, pixels=PixelScale())
    return {layer.name: layer.output.shape[1:] for layer in network.layers}, network.count_params()


def test_the_network_of_alhassan_has_the_sizes_it_was_published_with():
    shapes, weights = layers("alhassan", 150)
    assert [shapes[f"block_{n}_pool"] for n in (1, 2, 3)] == [(75, 75, 32), (37, 37, 64), (18, 18, 194)]
    assert (shapes["dense"], shapes["logits"]) == ((194,), (4,))
    convolutions = (9 + 1) * 32 + (9 * 32 + 1) * 64 + (9 * 64 + 1) * 194
    assert weights == convolutions + (18 * 18 * 194 + 1) * 194 + 195 * 4


def test_the_network_of_aniyan_and_thorat_has_the_sizes_it_was_published_with():
    shapes, weights = layers("aniyan", 150)
    assert [shapes[f"block_{n}_conv"] for n in range(1, 6)] == [
        (35, 35, 96),
        (17, 17, 256),
        (8, 8, 384),
        (8, 8, 384),
        (8, 8, 256),
    ]
    assert (shapes["block_5_pool"], shapes["dense_2"]) == ((3, 3, 256), (4096,))
    filters, kernels = (1, 96, 256, 384, 384, 256), (11, 5, 3, 3, 3)
    convolutions = sum(
        (k**2 * before + 1 + 4) * after for k, before, after in zip(kernels, filters, filters[1:], strict=False)
    )
    assert weights == convolutions + (9 * 256 + 1) * 4096 + 4097 * 4096 + 4097 * 4


@BOTH
def test_lobes_are_told_apart_at_any_angle(family, data):
    wider = {name: 16 if "filters" in name else value for name, value in family.items()} | {
        "training.epochs": 12,
        f"{family['network.family']}.dense_units": 32,
    }
    assert trained(wider, data).best_validation_accuracy > 0.85


@BOTH
def test_continued_from_a_checkpoint_the_weights_are_those_of_one_go(family, data, tmp_path):
    values = {**family, "training.epochs": 2}
    whole = trained(values, data, checkpoints=Checkpoints(tmp_path, keep=9))
    again = trained(values, data, resume_from=tmp_path / "0001")
    assert again.last_weights_digest == whole.last_weights_digest
    state, _ = read_arrays(tmp_path / "0001" / "state.npz")
    kept = {name.partition("/")[0] for name in state} - {"weights"}
    assert kept == {"rmsprop_v"}


def test_rotation_and_optimiser_make_a_difference(data):
    changes = ({}, {"augment.rotate": 0.0}, {"training.optimizer": "adam"})
    digests = {trained({**ALHASSAN, "training.epochs": 1, **one}, data).last_weights_digest for one in changes}
    assert len(digests) == 3


@BOTH
def test_a_second_survey_begins_with_the_blocks_of_the_first(family, data, tmp_path):
    first = trained({**family, "training.epochs": 1}, data)
    export_model(first.best, tmp_path / "model.keras")
    said = load_model(tmp_path / "model.keras").predict(data.validation.images)
    assert np.array_equal(said, as_model(first.best).predict(data.validation.images))
    earlier = load_initial(tmp_path / "model.keras").weights
    values = {**family, "training.epochs": 1, "training.frozen_blocks": 2}
    result = trained(values, data, init_from=tmp_path / "model.keras")
    stayed = {name for name in earlier if np.array_equal(result.best.weights[name], earlier[name])}
    assert stayed == {name for name in earlier if name.startswith(("block_1_", "block_2_"))}


@pytest.mark.parametrize(
    ("family", "shape", "message"),
    [
        ("alhassan", (7, 40, 1), r"halves images three times and needs at least 8x8 pixels, these have 7x40; choose"),
        ("aniyan", (80, 66, 1), r"needs at least 67x67 pixels, these images have 80x66; choose another family"),
        ("vgg16", (32, 31, 1), r"needs one or three channels and at least 32x32 pixels, these images are 32x31 with 1"),
        ("vgg16", (32, 32, 2), r"these images are 32x32 with 2; choose another family, size or prepare\.steps"),
    ],
)
def test_images_that_do_not_fit_are_refused(family, shape, message):
    configuration = Configuration.from_mapping({"network.family": family})
    with pytest.raises(ConfigError, match=message):
        build_network(configuration, shape, 2, seed=1, pixels=PixelScale())


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"alhassan.kernel": 0}, r"alhassan\.kernel: 0 lies outside 1\.\.31"),
        ({"alhassan.filters_3": 0}, r"alhassan\.filters_3: 0 lies outside 1\.\.4096"),
        ({"aniyan.filters_5": 0}, r"aniyan\.filters_5: 0 lies outside"),
        ({"aniyan.dropout": 1.0}, r"aniyan\.dropout: 1\.0 lies outside 0\.0\.\.0\.95"),
        ({"vgg16.dense_units": 0}, r"vgg16\.dense_units: 0 lies outside"),
        ({"network.family": "vgg16", "network.standardise": True}, r"='vgg16' knows the scale .*standardise=false"),
    ],
)
def test_what_no_network_can_have_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Configuration.from_mapping(values)
