"""Aligning against lines whose place is known, and against what physics says must not matter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seti_model.data.align import MIDDLE, align, find_lines
from seti_model.data.simulator import simulate
from seti_model.errors import ConfigError

T = (np.arange(64) - 31.5) / 63


def line(position: float, drift: float, *, width: float = 0.8, n_freq: int = 128) -> np.ndarray:
    """A bright line of a Gaussian profile along `position + drift * T`, periodic in frequency; (1, 64, n_freq)."""
    distance = np.arange(n_freq) - (position + drift * T)[:, None]
    distance = (distance + n_freq / 2) % n_freq - n_freq / 2
    return np.exp(-0.5 * (distance / width) ** 2)[None]


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 127.99), st.floats(-11, 11), st.sampled_from([1.0, -1.0]))
def test_a_line_is_found_within_a_twentieth_of_a_pixel_bright_or_dark(position, drift, sign):
    found = find_lines(sign * line(position, drift))
    assert abs((found.position[0] - position + 64) % 128 - 64) < 0.05
    assert abs(found.drift[0] - drift) < 0.12
    assert found.sign[0] == sign


@settings(max_examples=30, deadline=None)
@given(st.floats(0, 127.99), st.floats(-11, 11))
def test_an_aligned_line_stands_upright_in_the_middle(position, drift):
    images = (255 * line(position, drift))[..., None].astype(np.float32)
    aligned = align(images, half_width=6)[0, :, :, 0]
    assert aligned.shape == (64, 13)
    assert (aligned.argmax(axis=1) == 6).all()
    centre = (aligned[:, 4:9] - aligned.min()) @ np.arange(-2, 3) / (aligned[:, 4:9] - aligned.min()).sum(axis=1)
    assert np.abs(centre).max() < 0.1


def test_whole_shifts_hand_on_what_is_left_of_each_row():
    images = (255 * line(40.3, 7.0))[..., None].astype(np.float32)
    aligned = align(images, half_width=5, shift="whole")
    assert aligned.shape == (1, 64, 11, 2)
    rest = (aligned[0, :, 0, 1].astype(np.float64) - MIDDLE) / (2 * MIDDLE)
    assert (np.abs(rest) <= 0.5).all()
    assert (aligned[0, ..., 1] == aligned[0, :, :1, 1]).all()
    places = 40.3 + 7.0 * T
    assert np.abs((np.rint(places) + rest - places)[np.abs(np.abs(rest) - 0.5) > 0.2]).max() < 0.15


def test_the_ground_its_scale_and_a_roll_in_frequency_do_not_matter():
    images = simulate("course", 8, 3).images
    plain = align(images, half_width=10)
    assert np.allclose(align(np.roll(images, 17, axis=2), half_width=10), plain, atol=0.01)
    rescaled = (images.astype(np.float32) * 0.25 + 40).astype(np.float32)
    assert np.allclose(align(rescaled, half_width=10), plain, atol=1e-3)


def test_an_image_gives_the_same_whatever_stands_beside_it():
    images = simulate("course", 40, 5).images
    together = align(images, half_width=12)
    alone = np.concatenate([align(images[i : i + 1], half_width=12) for i in range(len(images))])
    assert np.array_equal(together, alone)


def test_images_of_one_value_and_none_at_all_are_no_error():
    assert np.isfinite(align(np.full((2, 64, 128, 1), 7, np.uint8), half_width=3)).all()
    assert align(np.empty((0, 64, 128, 1), np.uint8), half_width=3).shape == (0, 64, 7, 1)


@pytest.mark.parametrize(
    ("given", "channels"), [({"half_width": 64}, 1), ({"half_width": 3, "shift": "half"}, 1), ({"half_width": 3}, 3)]
)
def test_what_cannot_be_aligned_is_refused_with_what_is_possible(given, channels):
    with pytest.raises(ConfigError, match=r"at most 63 columns fit, one channel is expected"):
        align(np.zeros((1, 64, 128, channels), np.uint8), **given)
