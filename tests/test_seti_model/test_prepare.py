"""Preparation as part of a training and of its model: the same images in training, in prediction, from the disk."""

import dataclasses
import multiprocessing
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import STEPS, WITHOUT_OPERATIONS, Configuration
from seti_model.data.align import align
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.prepare import KEPT, cut_noise, prepare, prepare_data, prepared_form, sky_and_noise
from seti_model.data.simulator import CLASS_NAMES, simulate
from seti_model.errors import ConfigError, DatasetError, ModelError
from seti_model.exported import as_model, export_model, export_saved_model, load_model
from seti_model.prepare_ops import OPERATIONS, align_op, prepare_op
from seti_model.training.train import train

ALIGNED = {
    "prepare.steps": "align",
    "align.half_width": 6,
    "network.filters_1": 4,
    "network.filters_2": 4,
    "network.dense_units": 16,
    "network.kernel": 3,
    "training.epochs": 2,
    "training.batch_size": 16,
}


@pytest.fixture(scope="module")
def data() -> TrainingData:
    splits = [simulate("wide", n, 3, split=name) for name, n in (("train", 48), ("validation", 24))]
    return TrainingData(*(Split(s.images, s.labels) for s in splits), CLASS_NAMES, "d" * 64)


def test_only_the_fields_of_steps_in_use_are_recorded_and_the_default_has_none():
    assert Configuration().to_mapping()["prepare.steps"] == ""
    assert not any(name.startswith(("align.", "crop.")) for name in Configuration().to_mapping())
    recorded = Configuration.from_mapping({"prepare.steps": "crop, align", "crop.n_freq": 64}).to_mapping()
    assert recorded["crop.n_freq"] == 64
    assert recorded["align.half_width"] == 12
    assert "resize.n_time" not in recorded
    assert Configuration.from_mapping(recorded).to_mapping() == recorded


@pytest.mark.parametrize("steps", ["alin", "align,align", "align,"])
def test_an_unknown_step_is_refused_with_the_known_ones(steps):
    with pytest.raises(
        ConfigError, match=r"prepare\.steps: .* choose some of align, crop, cut_noise, grey, resize, scale, sigma_clip"
    ):
        Configuration.from_mapping({"prepare.steps": steps})


def test_steps_follow_each_other_in_their_order(data):
    first = Configuration.from_mapping(
        {"prepare.steps": "crop,resize", "crop.n_freq": 64, "resize.n_time": 32, "resize.n_freq": 16}
    )
    images = prepare(data.train.images, first.preparation)
    assert (images.shape[1:], images.dtype) == prepared_form((64, 128, 1), first.preparation)
    assert images.shape == (48, 32, 16, 1)
    other = Configuration.from_mapping(
        first.to_mapping() | {"prepare.steps": "resize,crop", "crop.n_freq": 8, "crop.n_time": 8}
    )
    assert prepare(data.train.images, other.preparation).shape == (48, 8, 8, 1)


def test_colours_become_grey_and_outliers_are_cut_off():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 9, 3)).astype(np.uint8)
    one = Configuration.from_mapping({"prepare.steps": "grey,sigma_clip", "sigma_clip.sigma": 1.0})
    prepared = prepare(images, one.preparation)
    grey = images @ np.array([0.299, 0.587, 0.114])
    assert prepared.shape == (3, 8, 9, 1)
    for mine, theirs in zip(prepared[..., 0], grey, strict=True):
        assert np.allclose(mine, np.clip(theirs, theirs.mean() - theirs.std(), theirs.mean() + theirs.std()), atol=1e-3)


def test_noise_is_cut_to_the_sky_and_the_source_spread_over_the_scale():
    """A sky of 40 with a deviation of 4, and a source that the mean and deviation of all pixels are far off from."""
    images = np.random.default_rng(0).normal(40, 4, (2, 60, 60, 1))
    images[0, 20:30, 20:40] += 150
    configuration = Configuration.from_mapping({"prepare.steps": "cut_noise,scale"})
    cut = cut_noise(images.astype(np.float32), sigma=3.0)
    sky = np.median(cut)
    assert sky == pytest.approx(40, abs=0.3)
    is_source = np.zeros((60, 60), np.bool_)
    is_source[20:30, 20:40] = True
    assert np.array_equal(cut[0][is_source], images[0][is_source].astype(np.float32))
    assert np.mean(cut[0][~is_source] == cut.min()) > 0.99, "a Gaussian leaves 0.13 % above three deviations"
    assert sky_and_noise(images)[1].ravel() == pytest.approx([4, 4], rel=0.05)
    scaled = prepare(images.astype(np.float32), configuration.preparation)
    assert (scaled.dtype, scaled.min(), scaled.max()) == (np.float32, 0, 255)
    assert np.median(scaled[0]) == 0
    blank = np.full((1, 8, 8, 1), 7, np.uint8)
    assert not prepare(blank, configuration.preparation).any()
    assert np.array_equal(cut_noise(blank, sigma=3.0), blank)


def test_the_operations_cut_noise_and_scale_as_the_functions_do():
    rng = np.random.default_rng(0)
    images = np.clip(rng.normal(40, 4, (5, 30, 40, 2)), 0, 255).astype(np.uint8)
    images[0, 5:9] = 200
    images[1] = 7
    configuration = Configuration.from_mapping({"prepare.steps": "cut_noise,scale", "cut_noise.sigma": 2.0})
    said = prepare_op(tf.constant(images), configuration.preparation)
    np.testing.assert_allclose(said, prepare(images, configuration.preparation), atol=1e-4)


def test_a_step_that_images_do_not_allow_is_refused():
    for steps, message in (
        ("grey", "grey: images of 2 channels"),
        ("crop", "crop.n_time=64, crop.n_freq=64: more than"),
    ):
        with pytest.raises(ConfigError, match=message):
            prepare(np.zeros((1, 8, 8, 2), np.uint8), Configuration.from_mapping({"prepare.steps": steps}).preparation)


def test_a_model_prepares_what_it_predicts_as_its_training_did(data, tmp_path):
    configuration = Configuration.from_mapping(ALIGNED)
    result = train(configuration, data, seed=1)
    assert result.best.shape == (64, 128, 1), "the shape of images as they come"
    said = as_model(result.best).predict(data.validation.images)
    assert np.array_equal(said, result.validation_probabilities)
    export_model(result.best, tmp_path / "m.keras")
    model = load_model(tmp_path / "m.keras")
    assert model.network.input_shape == (None, 64, 13, 1)
    assert np.array_equal(model.predict(data.validation.images), said)
    assert np.allclose(model.predict(data.validation.images[:1]), said[:1], atol=1e-5)


def test_a_saved_model_takes_raw_images_and_needs_tensorflow_alone(data, tmp_path):
    """Also of noise, whose best line is one of many that are nearly as good."""
    for steps in ("align", "crop,grey,sigma_clip,align"):
        configuration = Configuration.from_mapping(ALIGNED | {"prepare.steps": steps, "align.shift": "fraction"})
        best = train(configuration, data, seed=1).best
        export_saved_model(best, tmp_path / steps)
        np.save(tmp_path / "images.npy", simulate("course", 256, 9).images)
        code = (
            "import sys, numpy as np, tensorflow as tf\n"
            f"model = tf.saved_model.load({str(tmp_path / steps)!r})\n"
            f"images = np.load({str(tmp_path / 'images.npy')!r})\n"
            "predict = model.signatures['uint8']\n"
            "said = [predict(tf.constant(images[i : i + 64]))['probabilities'] for i in (0, 64, 128, 192)]\n"
            f"np.save({str(tmp_path / 'said.npy')!r}, np.concatenate(said))\n"
            "assert 'seti_model' not in sys.modules\n"
        )
        subprocess.run([sys.executable, "-P", "-c", code], check=True, cwd=tmp_path, capture_output=True)
        ours = as_model(best).predict(np.load(tmp_path / "images.npy"))
        assert np.abs(np.load(tmp_path / "said.npy") - ours).max() < 1e-4


@pytest.mark.parametrize("shift", ["fraction", "whole"])
def test_the_operations_align_as_the_function_does(shift):
    import tensorflow as tf

    images = simulate("course", 96, 4).images
    settings = {"half_width": 12, "shift": shift, "max_drift": 11.5}
    ours, theirs = align(images, **settings), align_op(tf.constant(images, tf.float64), **settings).numpy()
    assert np.abs(ours - theirs).max() < 1e-3


def test_every_step_but_those_named_has_an_operation(data, tmp_path):
    assert {*OPERATIONS, *WITHOUT_OPERATIONS} == set(STEPS)
    best = train(
        Configuration.from_mapping(ALIGNED | {"prepare.steps": "resize", "training.epochs": 1}), data, seed=1
    ).best
    with pytest.raises(ModelError, match=r"prepare\.steps = 'resize' is no operation of TensorFlow; use the \.keras"):
        export_saved_model(best, tmp_path / "saved")


def test_prepared_images_are_made_once_shared_and_bounded(data, tmp_path):
    shared = dataclasses.replace(data, prepared_in=tmp_path)
    plain = prepare_data(data, Configuration.from_mapping(ALIGNED).preparation)
    for width in range(2, 2 + KEPT + 3):
        preparation = Configuration.from_mapping(ALIGNED | {"align.half_width": width}).preparation
        prepare_data(shared, preparation)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == KEPT
    kept = prepare_data(shared, Configuration.from_mapping(ALIGNED).preparation)
    assert np.array_equal(kept.train.images, plain.train.images)
    made = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/train.npy")}
    prepare_data(shared, Configuration.from_mapping(ALIGNED).preparation)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*/train.npy")} == made
    assert train(Configuration.from_mapping(ALIGNED), shared, seed=1).last_weights_digest == (
        train(Configuration.from_mapping(ALIGNED), data, seed=1).last_weights_digest
    )


def prepare_with(half_width, data):
    prepare_data(data, Configuration.from_mapping(ALIGNED | {"align.half_width": half_width}).preparation)


def test_more_choices_in_the_making_than_are_kept_do_not_disturb_each_other(data, tmp_path):
    shared = dataclasses.replace(data, prepared_in=tmp_path)
    processes = [
        multiprocessing.get_context("fork").Process(target=prepare_with, args=(width, shared))
        for width in range(1, KEPT + 9)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * len(processes)
    assert sum(path.is_dir() for path in tmp_path.iterdir()) <= KEPT + 8


def test_what_is_kept_and_damaged_says_what_to_do(data, tmp_path):
    shared, preparation = (
        dataclasses.replace(data, prepared_in=tmp_path),
        Configuration.from_mapping(ALIGNED).preparation,
    )
    prepare_data(shared, preparation)
    next(tmp_path.glob("*/train.npy")).write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"cannot be used .* delete .* and start the same command again"):
        prepare_data(shared, preparation)


def test_whole_shifts_learn_with_flips(data):
    changed = ALIGNED | {"align.shift": "whole", "augment.flip_time": True}
    result = train(Configuration.from_mapping(changed), data, seed=2)
    again = train(Configuration.from_mapping(changed), data, seed=2)
    assert result.last_weights_digest == again.last_weights_digest
