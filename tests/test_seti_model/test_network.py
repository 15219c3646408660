import keras
import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import Configuration, NetworkConfig, TrainingConfig
from seti_model.errors import ConfigError
from seti_model.network import PixelScale, build_network, named_weights
from seti_model.training.kernels import Graph
from seti_model.training.steps import compile_inference, moving_moments


def build(config=None, shape=(16, 16, 1), n_classes=3, *, seed=1, pixels=PixelScale(), precision="float32"):  # noqa: B008
    config = config or NetworkConfig(filters_1=4, filters_2=6, kernel=3, dense_units=16)
    configuration = Configuration(network=config, training=TrainingConfig(precision=precision))
    return build_network(configuration, shape, n_classes, seed=seed, pixels=pixels)


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (8, 16, 16, 1), dtype=np.uint8)


def test_course_network_has_the_published_number_of_parameters():
    network = build(NetworkConfig(), (64, 128, 1), 4)
    assert network.count_params() == 33_616_132


def test_every_layer_is_one_of_keras_own(images):
    network = build(NetworkConfig(standardise=True))
    assert all(type(layer).__module__.startswith("keras.src.layers.") for layer in network.layers)
    assert [layer.name for layer in network.layers[:3]] == ["rescale", "standardise", "block_1_conv"]


def test_output_is_a_float32_distribution_at_any_precision(images):
    for precision in ("float32", "mixed_bfloat16"):
        probabilities = build(precision=precision)(images.astype(np.float32))
        assert probabilities.dtype == tf.float32
        np.testing.assert_allclose(probabilities.numpy().sum(axis=1), 1, rtol=1e-5)


def test_precision_is_not_forgotten_when_keras_clears_its_session():
    keras.utils.clear_session()
    network = build(precision="mixed_bfloat16")
    policies = {layer.name: layer.dtype_policy.name for layer in network.layers}
    assert policies["block_1_conv"] == policies["dense"] == "mixed_bfloat16"
    assert policies["rescale"] == policies["logits"] == policies["probabilities"] == "float32"


def test_weights_depend_on_the_seed_and_on_nothing_before(images):
    first = named_weights(build(seed=1))
    build(seed=9)
    again, other = named_weights(build(seed=1)), named_weights(build(seed=2))
    assert first.keys() == again.keys() == other.keys()
    assert all(np.array_equal(first[name].numpy(), again[name].numpy()) for name in first)
    assert not np.array_equal(first["dense/kernel"].numpy(), other["dense/kernel"].numpy())
    assert not np.array_equal(
        first["block_1_conv/kernel"].numpy()[..., 0], first["block_1_conv/kernel"].numpy()[..., 1]
    )


def test_standardised_input_has_mean_0_and_deviation_1(images):
    pixels = PixelScale(float((images / 255).mean()), float((images / 255).std()))
    network = build(NetworkConfig(filters_1=4, filters_2=6, kernel=3, dense_units=16, standardise=True), pixels=pixels)
    values = network.get_layer("standardise")(network.get_layer("rescale")(images.astype(np.float32))).numpy()
    assert values.mean() == pytest.approx(0, abs=1e-5)
    assert values.std() == pytest.approx(1, abs=1e-5)


def test_image_too_small_for_the_blocks_is_refused():
    with pytest.raises(ConfigError, match=r"network\.blocks=4 .* at least 16x16 pixels, the data set has 8x128"):
        build(NetworkConfig(blocks=4), (8, 128, 1))


def test_single_class_is_refused():
    with pytest.raises(ConfigError, match="has 1 class, a classifier needs at least 2"):
        build(n_classes=1)


def _uneven_statistics(network):
    rng = np.random.default_rng(3)
    for layer in Graph(network).norms.values():
        channels = layer.moving_mean.shape
        layer.moving_mean.assign(rng.normal(size=channels))
        layer.moving_variance.assign(rng.uniform(0.5, 2, size=channels))
        layer.gamma.assign(rng.uniform(0.5, 2, size=channels))
        layer.beta.assign(rng.normal(size=channels))


def test_our_inference_is_that_of_stock_keras(images):
    network = build()
    _uneven_statistics(network)
    ours, logarithms = compile_inference(Graph(network), tf.uint8)(images, moving_moments(Graph(network)))
    np.testing.assert_allclose(ours, network(images.astype(np.float32), training=False), atol=1e-6)
    np.testing.assert_allclose(np.exp(logarithms), ours, atol=1e-6)


def test_our_batch_statistics_are_those_stock_keras_moves_its_averages_towards(images):
    config = NetworkConfig(filters_1=4, filters_2=6, kernel=3, dense_units=16, conv_dropout=0.0, dense_dropout=0.0)
    network = build(config)
    _uneven_statistics(network)
    graph = Graph(network)
    before = moving_moments(graph)
    logits, moments, _ = graph.training_logits(images, seed=1, step=tf.constant(0, tf.int64))
    stock = network(images.astype(np.float32), training=True)  # moves the averages
    np.testing.assert_allclose(tf.nn.softmax(logits), stock, atol=1e-5)
    for layer in graph.norms.values():
        old, batch = before[layer.name], moments[layer.name]
        # Shows that Bessel's correction is undone: with it, 8 images would give a variance 8/7 as large.
        expected = 0.99 * old.variance + 0.01 * batch.variance.numpy()
        np.testing.assert_allclose(layer.moving_variance.numpy(), expected, rtol=1e-5)
        np.testing.assert_allclose(layer.moving_mean.numpy(), 0.99 * old.mean + 0.01 * batch.mean, atol=1e-6)


def test_dropout_keeps_the_expectation_and_differs_between_steps_and_layers():
    layer, other = keras.layers.Dropout(0.25, name="one"), keras.layers.Dropout(0.25, name="two")
    network = keras.Sequential([keras.Input((1000,)), layer, other, keras.layers.Activation("softmax")])
    graph, ones = Graph(network), np.ones((200, 1000), np.uint8)

    def masks(step):
        values, _, _ = graph.training_logits(ones, seed=5, step=tf.constant(step, tf.int64))
        return values.numpy()

    first = masks(0)
    assert np.array_equal(first, masks(0))
    assert not np.array_equal(first, masks(1))
    # Both layers keep with probability 0.75 independently; 4 standard errors of 200 000 draws.
    assert (first > 0).mean() == pytest.approx(0.75**2, abs=4 * np.sqrt(0.25 / 200_000))
    assert first.mean() == pytest.approx(1, abs=0.01)
