import keras
import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import TrainingConfig
from seti_model.training.optimizers import FusedAdam, FusedRMSprop

CONFIG = TrainingConfig(learning_rate=0.01, decay_rate=0.9, decay_steps=3)


def step(number):
    return tf.constant(number, tf.int64)


def test_ten_steps_give_the_weights_of_keras_adam():
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((40, 30), (30,))]
    gradients = [[rng.normal(size=array.shape).astype(np.float32) * 10.0**-k for array in start] for k in range(10)]
    ours = [tf.Variable(array) for array in start]
    theirs = [keras.Variable(array) for array in start]
    fused = FusedAdam(CONFIG, {"kernel": ours[0], "bias": ours[1]}, batches=1000)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9, staircase=True)
    stock = keras.optimizers.Adam(schedule)
    for number, gradient in enumerate(gradients):
        fused.apply([tf.constant(array) for array in gradient], step(number))
        stock.apply([tf.constant(array) for array in gradient], theirs)
    for mine, keras_variable in zip(ours, theirs, strict=True):
        # Steps are about 0.01; the two differ in the order of float32 roundings.
        np.testing.assert_allclose(mine.numpy(), keras_variable.numpy(), atol=1e-6)


def test_ten_steps_give_the_weights_of_keras_rmsprop():
    """Gradients from 10 to 1e-9, where epsilon counts: it stands within the root in both."""
    rng = np.random.default_rng(0)
    start = [rng.normal(size=shape).astype(np.float32) for shape in ((40, 30), (30,))]
    gradients = [
        [rng.normal(size=array.shape).astype(np.float32) * 10.0 ** (1 - k) for array in start] for k in range(10)
    ]
    ours = [tf.Variable(array) for array in start]
    theirs = [keras.Variable(array) for array in start]
    fused = FusedRMSprop(CONFIG, {"kernel": ours[0], "bias": ours[1]}, batches=1000)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9, staircase=True)
    stock = keras.optimizers.RMSprop(schedule)
    for number, gradient in enumerate(gradients):
        before = ours[0].numpy()
        fused.apply([tf.constant(array) for array in gradient], step(number))
        stock.apply([tf.constant(array) for array in gradient], theirs)
        assert not np.array_equal(ours[0].numpy(), before)
        for mine, keras_variable in zip(ours, theirs, strict=True):
            # Steps are up to 0.03; the two differ in the order of float32 roundings.
            np.testing.assert_allclose(mine.numpy(), keras_variable.numpy(), atol=1e-6)


def test_epsilon_stands_within_the_root():
    """A first step of gradient g is rate * g / sqrt(0.1 g² + 1e-7): 0.0316 of the rate for g = 1e-5, not 3.06."""
    variable = tf.Variable([0.0])
    FusedRMSprop(CONFIG, {"w": variable}, batches=1000).apply([tf.constant([1e-5])], step(0))
    assert float(variable.numpy()[0]) == pytest.approx(-0.01 * 1e-5 / (0.1 * 1e-10 + 1e-7) ** 0.5, rel=1e-5)


@pytest.mark.parametrize("number", [0, 1, 2, 3, 8, 9, 100, 1199])
def test_learning_rate_falls_in_the_stairs_of_keras(number):
    fused = FusedAdam(CONFIG, {}, batches=1000)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 3, 0.9, staircase=True)
    assert float(fused.learning_rate(step(number))) == pytest.approx(float(schedule(number)), rel=1e-6)
    assert float(fused.learning_rate(step(number))) == pytest.approx(0.01 * 0.9 ** (number // 3), rel=1e-4)


def test_course_rate_after_one_and_twelve_epochs_is_the_published_one():
    # 100 batches an epoch: 0.0022 and 3e-7.
    fused = FusedAdam(TrainingConfig(), {}, batches=1000)
    assert float(fused.learning_rate(step(100))) == pytest.approx(0.0022, rel=0.01)
    assert float(fused.learning_rate(step(1200))) == pytest.approx(2.8e-7, rel=0.02)


@pytest.mark.parametrize("kind", [FusedAdam, FusedRMSprop])
def test_restored_moments_continue_as_if_nothing_had_happened(kind):
    variable, copy = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    first, second = kind(CONFIG, {"w": variable}, batches=1000), kind(CONFIG, {"w": copy}, batches=1000)
    first.apply([tf.constant([0.5, -0.5])], step(0))
    copy.assign(variable)
    second.restore(dict(first.state()))
    for optimizer in (first, second):
        optimizer.apply([tf.constant([0.1, 0.3])], step(1))
    assert np.array_equal(variable.numpy(), copy.numpy())
