import keras
import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import TrainingConfig
from seti_model.training.kernels import FusedAdam

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


def test_restored_moments_continue_as_if_nothing_had_happened():
    variable, copy = tf.Variable([1.0, 2.0]), tf.Variable([1.0, 2.0])
    first, second = FusedAdam(CONFIG, {"w": variable}, batches=1000), FusedAdam(CONFIG, {"w": copy}, batches=1000)
    first.apply([tf.constant([0.5, -0.5])], step(0))
    copy.assign(variable)
    second.restore(dict(first.state()))
    for optimizer in (first, second):
        optimizer.apply([tf.constant([0.1, 0.3])], step(1))
    assert np.array_equal(variable.numpy(), copy.numpy())
