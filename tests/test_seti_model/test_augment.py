import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seti_model.config import AugmentConfig
from seti_model.training.augment import augment_batch, epoch_order

OFF = AugmentConfig(flip_frequency=False)


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (200, 6, 10, 2), dtype=np.uint8)


def augment(images, config, *, seed=1, epoch=1, batch=0):
    return augment_batch(images, config, seed=seed, epoch=epoch, batch=batch)


def test_nothing_switched_on_changes_nothing(images):
    assert np.array_equal(augment(images, OFF), images)


def test_about_half_of_the_images_are_mirrored_in_frequency(images):
    before = images.copy()
    changed = augment(images, AugmentConfig(flip_frequency=True))
    mirrored = np.all(changed == images[:, :, ::-1], axis=(1, 2, 3))
    assert np.all(mirrored | np.all(changed == images, axis=(1, 2, 3)))
    assert 70 <= mirrored.sum() <= 130  # 100 expected, 4 standard deviations
    assert np.array_equal(images, before)


def test_flip_in_time_reverses_rows(images):
    changed = augment(images, AugmentConfig(flip_time=True, flip_frequency=False))
    reversed_rows = np.all(changed == images[:, ::-1], axis=(1, 2, 3))
    assert 70 <= reversed_rows.sum() <= 130
    assert np.all(reversed_rows | np.all(changed == images, axis=(1, 2, 3)))


def test_shifts_are_cyclic_and_reach_both_limits(images):
    changed = augment(images, AugmentConfig(flip_frequency=False, shift_time=1, shift_frequency=3))
    found = set()
    for before, after in zip(images, changed, strict=True):
        [shift] = [
            (rows, columns)
            for rows in range(-1, 2)
            for columns in range(-3, 4)
            if np.array_equal(np.roll(before, (rows, columns), axis=(0, 1)), after)
        ]
        found.add(shift)
    assert len(found) == 21  # 200 draws from 3 x 7


def test_noise_has_the_deviation_asked_for_and_stays_in_range():
    grey = np.full((50, 32, 32, 1), 128, np.uint8)
    changed = augment(grey, AugmentConfig(flip_frequency=False, noise=0.04))
    assert changed.dtype == np.uint8
    assert changed.astype(float).std() == pytest.approx(0.04 * 255, rel=0.02)
    dark = augment(np.zeros((1, 32, 32, 1), np.uint8), AugmentConfig(noise=0.5))
    assert dark.min() == 0
    assert dark.max() < 256


@given(seed=st.integers(0, 2**31 - 1), epoch=st.integers(1, 50), batch=st.integers(0, 50))
def test_same_seed_epoch_and_batch_give_the_same_images(seed, epoch, batch):
    images = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6, 1)
    config = AugmentConfig(flip_time=True, shift_frequency=2, noise=0.1)
    first = augment(images, config, seed=seed, epoch=epoch, batch=batch)
    assert np.array_equal(first, augment(images, config, seed=seed, epoch=epoch, batch=batch))
    assert not np.array_equal(first, augment(images, config, seed=seed, epoch=epoch, batch=batch + 1))


def test_order_of_an_epoch_holds_every_image_once_and_needs_no_other_epoch():
    orders = [epoch_order(100, seed=3, epoch=epoch) for epoch in range(1, 4)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[2], epoch_order(100, seed=3, epoch=3))
