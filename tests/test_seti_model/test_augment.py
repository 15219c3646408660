import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seti_model.config import AugmentConfig, Configuration
from seti_model.errors import ConfigError
from seti_model.training.augment import augment_batch, epoch_order, rotated

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


def blob(angle, *, sky=10.0):
    """A Gaussian 12 pixels from the middle of 41x41, at an angle counter-clockwise from the right, on a flat sky."""
    rows, columns = np.mgrid[:41, :41] - 20
    turn = np.deg2rad(angle)
    away = (columns - 12 * np.cos(turn)) ** 2 + (rows + 12 * np.sin(turn)) ** 2
    return (sky + 200 * np.exp(-away / 18))[None, :, :, None]


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
@pytest.mark.parametrize("angle", [-180.0, -33.3, 0.0, 45.0, 90.0, 170.0])
def test_an_image_is_turned_about_its_middle(angle, kind):
    turned = rotated(np.rint(blob(30.0)).astype(kind), np.array([angle]))
    assert turned.dtype == kind
    # Bilinear interpolation flattens a peak of this width by up to 200 / 9 / 4.
    np.testing.assert_allclose(turned, blob(30.0 + angle), atol=6)


def test_what_comes_in_from_outside_is_the_sky_of_the_border():
    noise = np.random.default_rng(3).normal(60, 3, (20, 30, 40, 2)).astype(np.float32)
    noise[:, 10:20, 15:25] += 150
    noise[..., 1] += 50
    turned = rotated(noise, np.full(20, 45.0))
    corners = turned[:, [0, 0, -1, -1], [0, -1, 0, -1]]
    assert np.all(np.ptp(corners, axis=1) == 0)
    np.testing.assert_allclose(corners.mean(axis=(0, 1)), [60, 110], atol=0.5)
    assert not rotated(np.zeros((1, 9, 9, 1), np.uint8), np.array([45.0])).any()


def test_angles_are_drawn_up_to_the_largest_either_way():
    """The place of the blob tells the angle."""
    images = np.repeat(np.rint(blob(0.0, sky=0.0)).astype(np.uint8), 300, axis=0)
    for largest in (20, 180):
        changed = augment(images, AugmentConfig(flip_frequency=False, rotate=largest)).astype(float)[..., 0]
        rows, columns = np.mgrid[:41, :41] - 20
        angles = np.rad2deg(np.arctan2(-(changed * rows).sum((1, 2)), (changed * columns).sum((1, 2))))
        assert abs(angles.mean()) < 4 * largest / np.sqrt(3 * 300)
        assert -largest - 1 < angles.min() < -0.95 * largest
        assert 0.95 * largest < angles.max() < largest + 1


def test_switched_on_rotation_leaves_all_other_draws_as_they_were():
    images = np.random.default_rng(4).integers(0, 256, (20, 15, 15, 1), dtype=np.uint8)
    others = {"flip_time": True, "flip_frequency": True, "shift_time": 2, "shift_frequency": 3, "noise": 0.1}
    hardly = augment(images, AugmentConfig(**others, rotate=1e-9))
    assert np.array_equal(hardly, augment(images, AugmentConfig(**others)))


def test_no_rotation_of_places_within_a_pixel():
    with pytest.raises(
        ConfigError, match=r"augment\.rotate: the last channel .* holds places, .* set augment\.rotate=0"
    ):
        Configuration.from_mapping({"network.family": "drift", "augment.rotate": 5.0})
    with pytest.raises(ConfigError, match=r"augment\.rotate: 181\.0 lies outside 0\.0\.\.180\.0"):
        AugmentConfig(rotate=181.0)


@given(seed=st.integers(0, 2**31 - 1), epoch=st.integers(1, 50), batch=st.integers(0, 50))
def test_same_seed_epoch_and_batch_give_the_same_images(seed, epoch, batch):
    images = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6, 1)
    config = AugmentConfig(flip_time=True, shift_frequency=2, rotate=90.0, noise=0.1)
    first = augment(images, config, seed=seed, epoch=epoch, batch=batch)
    assert np.array_equal(first, augment(images, config, seed=seed, epoch=epoch, batch=batch))
    assert not np.array_equal(first, augment(images, config, seed=seed, epoch=epoch, batch=batch + 1))


def test_order_of_an_epoch_holds_every_image_once_and_needs_no_other_epoch():
    orders = [epoch_order(100, seed=3, epoch=epoch) for epoch in range(1, 4)]
    assert all(sorted(order) == list(range(100)) for order in orders)
    assert not np.array_equal(orders[0], orders[1])
    assert np.array_equal(orders[2], epoch_order(100, seed=3, epoch=3))
