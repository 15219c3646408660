"""Starting from an earlier model: what is taken, what stays, what is refused."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import Configuration
from seti_model.data.dataset import Split
from seti_model.errors import CheckpointError, ConfigError, ModelError
from seti_model.exported import export_model, load_initial, load_model
from seti_model.network import named_weights
from seti_model.training.arrays import read_arrays
from seti_model.training.kernels import Graph
from seti_model.training.train import Checkpoints, train
from seti_model.training.trainer import Session, pixel_scale

VARIANTS = {"standardised": {"network__standardise": True}, "bfloat16": {"training__precision": "mixed_bfloat16"}}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def earlier(request, configure, striped_data, tmp_path_factory):
    """A network that has learnt something, where it was exported to, and its changed fields."""
    result = train(configure(training__epochs=5, **request.param), striped_data, seed=3)
    path = tmp_path_factory.mktemp("earlier") / "model.keras"
    export_model(result.best, path)
    return result, path, request.param


@pytest.fixture(scope="module")
def standardised(configure, striped_data, tmp_path_factory):
    """The same for one network that standardises."""
    result = train(configure(network__standardise=True), striped_data, seed=3)
    path = tmp_path_factory.mktemp("standardised") / "model.keras"
    export_model(result.best, path)
    return result, path


@pytest.fixture(scope="module")
def brighter(striped_data):
    """The striped data in another survey: brighter and with less contrast."""

    def change(split):
        return Split((split.images // 2 + 100).astype(np.uint8), split.labels)

    return dataclasses.replace(
        striped_data, train=change(striped_data.train), validation=change(striped_data.validation), digest="b" * 64
    )


def test_training_starts_where_the_earlier_model_ended_to_the_last_bit(earlier, configure, striped_data):
    result, path, changes = earlier
    for frozen in (0, 2):
        configuration = configure(training__recalibration_batches=0, training__frozen_blocks=frozen, **changes)
        session = Session(configuration, striped_data, seed=9, initial=load_initial(path))
        start = session.validate(0, session.statistics())
        assert start.accuracy == result.best_validation_accuracy
        assert np.array_equal(start.probabilities, result.validation_probabilities)


def _block(name):
    return int(name[len("block_")]) if name.startswith("block_") else 9


@pytest.mark.parametrize("frozen", [0, 1])
def test_frozen_blocks_stay_to_the_last_bit_and_all_else_is_trained(earlier, configure, brighter, tmp_path, frozen):
    first, path, changes = earlier
    configuration = configure(training__frozen_blocks=frozen, training__epochs=2, **changes)
    result = train(configuration, brighter, seed=4, init_from=path, checkpoints=Checkpoints(tmp_path))
    stayed = {name for name, array in result.best.weights.items() if np.array_equal(array, first.best.weights[name])}
    assert stayed == {name for name in first.best.weights if _block(name) <= frozen}
    state, _ = read_arrays(tmp_path / "0002" / "state.npz")
    moments = {name.removeprefix("adam_m/") for name in state if name.startswith("adam_m/")}
    trained = {name for name in first.best.weights if "moving" not in name}
    assert moments == {name for name in trained if _block(name) > frozen}
    assert result.best.init_digest == first.best_weights_digest
    export_model(result.best, tmp_path / "next.keras")
    predicted = load_model(tmp_path / "next.keras").predict(brighter.validation.images)
    assert np.array_equal(predicted, result.validation_probabilities)


def test_again_and_continued_is_the_same_to_the_last_bit(standardised, configure, brighter, tmp_path):
    configuration = configure(network__standardise=True, training__frozen_blocks=1, augment__noise=0.05)
    arguments = {"seed": 5, "init_from": standardised[1]}
    first = train(configuration, brighter, checkpoints=Checkpoints(tmp_path, keep=9), **arguments)
    again = train(configuration, brighter, **arguments)
    continued = train(configuration, brighter, resume_from=tmp_path / "0001", **arguments)
    for other in (again, continued):
        assert other.last_weights_digest == first.last_weights_digest
        assert other.best_weights_digest == first.best_weights_digest
        assert (other.best.pixel_mean, other.best.pixel_deviation) == (
            first.best.pixel_mean,
            first.best.pixel_deviation,
        )


def test_dropout_of_frozen_blocks_is_off(standardised, configure, striped_data):
    def digest(frozen, dropout):
        configuration = configure(
            network__standardise=True,
            network__conv_dropout=dropout,
            training__frozen_blocks=frozen,
            training__epochs=1,
        )
        return train(configuration, striped_data, seed=5, init_from=standardised[1]).last_weights_digest

    assert digest(2, 0.9) == digest(2, 0.0)
    assert digest(1, 0.9) != digest(1, 0.0)


def _start(configuration, data, path):
    return Session(configuration, data, seed=1, initial=load_initial(path))


def test_our_frozen_step_is_that_of_stock_keras(standardised, configure, striped_data):
    """Keras, too, runs a batch normalisation that is not trainable by its moving statistics."""
    changes = {"network__standardise": True, "network__conv_dropout": 0.0, "network__dense_dropout": 0.0}
    network = _start(configure(training__frozen_blocks=1, **changes), striped_data, standardised[1])._network
    images = striped_data.train.images[:16]
    logits, moments, _ = Graph(network).training_logits(images, seed=1, step=tf.constant(0, tf.int64))
    before = {name: weight.numpy() for name, weight in named_weights(network).items()}
    stock = network(images.astype(np.float32), training=True)  # moves the averages of what is trained
    np.testing.assert_allclose(tf.nn.softmax(logits), stock, atol=1e-5)
    assert list(moments) == ["block_2_norm", "dense_norm"]
    for name, weight in named_weights(network).items():
        assert np.array_equal(weight.numpy(), before[name]) == ("moving" not in name or _block(name) == 1)


def test_frozen_blocks_have_no_backward_pass(standardised, configure, striped_data):
    for frozen in (0, 1, 2):
        configuration = configure(network__standardise=True, training__frozen_blocks=frozen)
        graph = _start(configuration, striped_data, standardised[1])._steps.train_batch.graph
        assert sum(step.type == "Conv2DBackpropFilter" for step in graph.get_operations()) == 2 - frozen


def test_pixel_scale_is_that_of_the_earlier_model_and_goes_on_to_the_next(
    standardised, configure, striped_data, brighter, tmp_path
):
    own, earlier = pixel_scale(brighter.train.images), pixel_scale(striped_data.train.images)
    assert own.mean > earlier.mean + 0.1
    path = standardised[1]
    for generation in range(2):
        best = train(configure(network__standardise=True, training__epochs=1), brighter, seed=1, init_from=path).best
        assert (best.pixel_mean, best.pixel_deviation) == (earlier.mean, earlier.deviation)
        path = tmp_path / f"{generation}.keras"
        export_model(best, path)


def test_softmax_starts_afresh_where_the_classes_are_others(standardised, configure, striped_data):
    path, weights = standardised[1], standardised[0].best.weights
    data = dataclasses.replace(striped_data, class_names=("west", "middle", "east", "none"))
    scratch = Session(configure(network__standardise=True), data, seed=1).weights()
    started = _start(configure(network__standardise=True), data, path).weights()
    assert started["logits/kernel"].shape == (16, 4)
    for name, array in started.items():
        assert np.array_equal(array, (scratch if name.startswith("logits/") else weights)[name]), name


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network__dense_units": 17}, r"layer 'dense', kernel: shape \(96, 16\) in the earlier .*, \(96, 17\) here;"),
        ({"network__filters_1": 5}, r"'block_1_conv', kernel: shape \(3, 3, 1, 4\) .* \(3, 3, 1, 5\) here; set"),
        ({"network__blocks": 1}, r"'dense', .*, \(256, 16\) here; .* as in model\.json .* shape \(16, 16, 1\)"),
        ({"network__standardise": False}, r"network\.standardise=True, this training has False; .* set it as there"),
    ],
)  # fmt: skip
def test_a_network_that_does_not_fit_is_refused(standardised, configure, striped_data, changes, message):
    configuration = configure(**{"network__standardise": True} | changes)
    with pytest.raises(ModelError, match=message):
        train(configuration, striped_data, seed=1, init_from=standardised[1])


def test_a_block_that_the_earlier_model_does_not_have_cannot_be_frozen(configure, striped_data, tmp_path):
    """16 channels of 4x4 pixels are as many numbers as 4 channels of 8x8, so that the dense layer fits."""
    path = tmp_path / "shallow.keras"
    export_model(train(configure(network__blocks=1, training__epochs=1), striped_data, seed=1).best, path)
    deeper = configure(network__filters_2=16, training__frozen_blocks=2)
    with pytest.raises(ModelError, match=r"has no block 2, which training\.frozen_blocks=2 wants .*; lower it"):
        train(deeper, striped_data, seed=1, init_from=path)


def test_nothing_can_be_frozen_from_scratch(configure, striped_data):
    with pytest.raises(ConfigError, match=r"training\.frozen_blocks=1: .* name one with init_from or set it to 0"):
        train(configure(training__frozen_blocks=1), striped_data, seed=1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"training.frozen_blocks": 6}, r"training\.frozen_blocks: 6 lies outside 0\.\.5"),
        ({"training.frozen_blocks": 3}, r"frozen_blocks: 3 is more than network\.blocks=2; freeze at most as many"),
        (
            {"network.family": "alhassan", "training.frozen_blocks": 4},
            r"frozen_blocks: 4 is more than the 3 blocks of network\.family='alhassan'; freeze at most as many",
        ),
        ({"network.family": "drift", "training.frozen_blocks": 1}, r"1 is more than the 0 blocks of .*'drift'"),
    ],
)
def test_more_frozen_blocks_than_there_are_is_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        Configuration.from_mapping(values)


def test_a_training_from_other_weights_is_not_continued(standardised, configure, striped_data, tmp_path):
    configuration = configure(network__standardise=True, training__epochs=1)
    result, path = standardised
    train(configuration, striped_data, seed=5, checkpoints=Checkpoints(tmp_path), init_from=path)
    with pytest.raises(CheckpointError, match=rf"init_digest='{result.best.digest}', this training has None; continue"):
        train(configuration, striped_data, seed=5, resume_from=tmp_path / "0001")
