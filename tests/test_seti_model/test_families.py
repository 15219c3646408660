"""The families beside the course's: what they see, what they refuse, what is exported of them."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from seti_model.config import Configuration
from seti_model.data.align import row_times
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.prepare import prepare, prepared_form
from seti_model.data.simulator import CLASS_NAMES, simulate
from seti_model.errors import CheckpointError, ConfigError
from seti_model.exported import as_model, export_model, export_saved_model, load_initial
from seti_model.families import DriftConfig
from seti_model.network import PixelScale, build_network
from seti_model.networks.drift import OFFSETS, STEPS, bank, profiles
from seti_model.training.train import Checkpoints, train

QUICK = {"training.learning_rate": 0.005, "training.schedule": "cosine", "training.clip_norm": 1.0}
DRIFT = {"network.family": "drift", "drift.features": 16, **QUICK}
SMALL = {"network.family": "small", "training.learning_rate": 0.003}


@pytest.fixture(scope="module")
def bent_lines():
    """480 training and 240 validation images; a narrowbanddrd bends by up to a pixel, a narrowband does not."""
    train_split, validation = simulate("wide", 480, seed=1), simulate("wide", 240, seed=1, split="validation")
    splits = [Split(made.images, made.labels) for made in (train_split, validation)]
    return TrainingData(*splits, CLASS_NAMES, "d" * 64)


def trained(values, data, **arguments):
    return train(Configuration.from_mapping(values), data, seed=1, **arguments)


def accuracy_on_pair(result, data):
    labels = data.validation.labels
    pair = np.isin(labels, [CLASS_NAMES.index("narrowband"), CLASS_NAMES.index("narrowbanddrd")])
    return np.mean(result.validation_probabilities[pair].argmax(axis=1) == labels[pair])


def test_drift_tells_bent_lines_from_straight_ones_where_the_course_network_cannot(bent_lines):
    drift = trained({**DRIFT, "training.epochs": 5}, bent_lines)
    course = {"network.filters_1": 4, "network.filters_2": 4, "network.dense_units": 16, "training.epochs": 2}
    assert accuracy_on_pair(drift, bent_lines) > 0.9
    assert accuracy_on_pair(trained(course, bent_lines), bent_lines) < 0.7
    assert drift.best_validation_accuracy > 0.9


def test_small_without_convolutions_learns_aligned_images_within_seconds(bent_lines):
    result = trained({**SMALL, "small.convolutions": 0, "training.epochs": 8, "small.dropout": 0.1}, bent_lines)
    assert result.best_validation_accuracy > 0.85


def test_a_curve_of_the_bank_follows_its_formula_and_weighs_every_row_alike():
    config = DriftConfig(max_curvature=0.2, curvature_step=0.1, max_slope=0.4, slope_step=0.4)
    kernel, reach = bank(config, 32)
    steps, n_time, curves = kernel.shape
    assert (n_time, curves, reach) == (32, 5 * 3, (steps - 1) // 2 + OFFSETS)
    np.testing.assert_allclose(kernel.sum(axis=0), 1, rtol=1e-5)
    places = (kernel * (np.arange(steps) - (steps - 1) / 2)[:, None, None]).sum(
        axis=0
    ) / STEPS  # pixels, (rows, curves)
    u = row_times(32) + 0.5
    legendre = 6 * u**2 - 6 * u + 1
    for number, (curvature, slope) in enumerate((c, r) for c in (-0.2, -0.1, 0, 0.1, 0.2) for r in (-0.4, 0, 0.4)):
        expected = curvature * (legendre - legendre.mean()) + slope * (u - 0.5)
        np.testing.assert_allclose(places[:, number], expected, atol=1e-5)


def test_the_profile_of_a_line_has_its_place_within_the_pixel():
    kernel = profiles()[0, :, 0, :]
    np.testing.assert_allclose(np.linalg.norm(kernel, axis=0), 0.75, rtol=1e-6)
    centre = (np.arange(-4, 5)[:, None] * kernel).sum(axis=0) / kernel.sum(axis=0)
    np.testing.assert_allclose(centre, (np.arange(8) - 3.5) / 8, atol=0.02)


@pytest.mark.parametrize("family", ["drift", "small"])
@pytest.mark.parametrize(("shape", "n_classes"), [((32, 96, 1), 2), ((50, 61, 1), 7)])
def test_nothing_is_fixed_to_one_shape_or_number_of_classes(family, shape, n_classes):
    rng = np.random.default_rng(2)
    split = Split(rng.integers(0, 256, (30, *shape), np.uint8), (np.arange(30) % n_classes).astype(np.int8))
    data = TrainingData(split, split, tuple("abcdefg"[:n_classes]), "d" * 64)
    result = trained({"network.family": family, "training.epochs": 1}, data)
    assert result.validation_probabilities.shape == (30, n_classes)


@pytest.mark.parametrize("values", [DRIFT, SMALL], ids=["drift", "small"])
def test_continued_from_a_checkpoint_the_weights_are_those_of_one_go(values, bent_lines, tmp_path):
    data = dataclasses.replace(bent_lines, train=Split(bent_lines.train.images[:80], bent_lines.train.labels[:80]))
    values = {**values, "training.epochs": 2}
    whole = trained(values, data)
    first = []
    trained(
        values,
        data,
        checkpoints=Checkpoints(tmp_path, keep=2),
        on_epoch=lambda epoch: first.append(epoch.checkpoint.path) or True,
    )
    again = trained(values, data, resume_from=first[0])
    assert again.last_weights_digest == whole.last_weights_digest


def test_a_cosine_cannot_be_prolonged_because_its_rate_fell_to_another_end(bent_lines, tmp_path):
    data = dataclasses.replace(bent_lines, train=Split(bent_lines.train.images[:32], bent_lines.train.labels[:32]))
    values = {**SMALL, "small.convolutions": 0, "training.epochs": 2}
    for schedule, is_refused in (("cosine", True), ("staircase", False)):
        paths = []
        trained(
            {**values, "training.schedule": schedule},
            data,
            checkpoints=Checkpoints(tmp_path / schedule),
            on_epoch=lambda epoch, paths=paths: paths.append(epoch.checkpoint.path) or False,
        )
        longer = {**values, "training.schedule": schedule, "training.epochs": 3}
        if is_refused:
            with pytest.raises(CheckpointError, match=r"made with training\.epochs=2, this training has 3"):
                trained(longer, data, resume_from=paths[-1])
        else:
            assert len(trained(longer, data, resume_from=paths[-1]).history) == 3


def test_drift_opens_anywhere_and_gives_the_same_probabilities(bent_lines, tmp_path):
    data = dataclasses.replace(bent_lines, train=Split(bent_lines.train.images[:160], bent_lines.train.labels[:160]))
    result = trained({**DRIFT, "training.epochs": 1}, data)
    export_model(result.best, tmp_path / "model.keras")
    export_saved_model(result.best, tmp_path / "saved")
    images = data.validation.images[:100]
    configuration = Configuration.from_mapping(DRIFT)
    np.savez(tmp_path / "asked.npz", raw=images, prepared=prepare(images, configuration.preparation))
    code = (
        "import keras, numpy as np, sys, tensorflow as tf\n"
        "asked = np.load('asked.npz')\n"
        "model = keras.models.load_model('model.keras', safe_mode=True, compile=False)\n"
        "saved = tf.saved_model.load('saved').signatures['uint8']\n"
        "np.savez('said.npz', keras=model.predict(asked['prepared'], verbose=0),\n"
        "         saved=saved(tf.constant(asked['raw']))['probabilities'])\n"
        "assert not any(name.startswith(('seti_model', 'tune', 'results')) for name in sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    ours = as_model(result.best).predict(images)
    with np.load(tmp_path / "said.npz") as said:
        np.testing.assert_allclose(said["keras"], ours, atol=1e-4)
        np.testing.assert_allclose(said["saved"], ours, atol=1e-4)


def test_a_family_made_for_aligned_images_has_them_unless_told_otherwise():
    drift = Configuration.from_mapping({"network.family": "drift"}).to_mapping()
    assert (drift["prepare.steps"], drift["align.shift"]) == ("align", "whole")
    assert "network.filters_1" not in drift
    assert "small.filters" not in drift
    assert Configuration.from_mapping(drift).to_mapping() == drift
    assert Configuration.from_mapping({"network.family": "small", "prepare.steps": ""}).prepare.names == ()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"network.family": "course2"},
            r"network\.family: 'course2' is unknown; choose one of course, drift, small, alhassan, aniyan, vgg16, or",
        ),
        ({"network.family": "drift", "prepare.steps": ""}, r"'drift' reads the rest of each shift; let align be"),
        (
            {"network.family": "drift", "align.shift": "fraction"},
            r"be the last of prepare\.steps, and set align\.shift='whole'",
        ),
        ({"network.family": "drift", "network.standardise": True}, r"knows the scale of its images; set network\.st"),
        ({"network.family": "own:training"}, r"a class cannot be called 'training'; give it another name"),
        ({"drift.features": 0}, r"drift\.features: 0 lies outside 1\.\.1024"),
        ({"small.convolutions": 4}, r"small\.convolutions: 4 lies outside 0\.\.3"),
        ({"training.schedule": "linear"}, r"training\.schedule: 'linear' is unknown; choose one of staircase, cosine"),
    ],
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Configuration.from_mapping(values)


def test_too_few_columns_for_the_curves_are_refused():
    configuration = Configuration.from_mapping(
        {"network.family": "drift", "align.half_width": 1, "drift.max_curvature": 2.0}
    )
    shape, _ = prepared_form((64, 128, 1), configuration.preparation)
    with pytest.raises(ConfigError, match=r"images of 3 columns hold fewer; raise align\.half_width"):
        build_network(configuration, shape, 4, seed=1, pixels=PixelScale())


def test_blocks_of_another_family_can_be_kept_from_an_earlier_model(bent_lines, tmp_path):
    data = dataclasses.replace(bent_lines, train=Split(bent_lines.train.images[:64], bent_lines.train.labels[:64]))
    earlier = trained({**SMALL, "training.epochs": 1}, data)
    export_model(earlier.best, tmp_path / "model.keras")
    initial = load_initial(tmp_path / "model.keras")
    frozen = {**SMALL, "training.epochs": 1, "training.frozen_blocks": 1}
    result = trained(frozen, data, init_from=tmp_path / "model.keras")
    kept = [name for name in result.best.weights if name.startswith("block_1_")]
    assert kept
    assert all(np.array_equal(result.best.weights[name], initial.weights[name]) for name in kept)
    assert not np.array_equal(result.best.weights["block_2_conv/kernel"], initial.weights["block_2_conv/kernel"])
