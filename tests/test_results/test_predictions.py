"""Which test images are kept to be looked at, and how."""

import base64
import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from results.errors import RecordError
from results.predictions import (
    Predictions,
    errors_by_class,
    example_images,
    png_uri,
    read_examples,
    write_examples,
)

NAMES = ("on", "off")
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 8, 16, 1), dtype=np.uint8)


def predictions(p_on: list[float], truth: list[int]) -> Predictions:
    y_prob = np.stack([p_on, 1 - np.array(p_on)], axis=1)
    return Predictions(np.array(truth), y_prob, NAMES, pd.DataFrame(index=range(len(truth))))


def test_errors_come_by_falling_probability_then_the_first_right_image_of_each_class() -> None:
    said = predictions([0.6, 0.9, 0.8, 0.2, 0.7, 0.1], [1, 1, 0, 1, 1, 0])
    found = example_images(said, IMAGES, errors=3)
    assert found.index.tolist() == [1, 5, 4, 2, 3]  # 1 and 5 were as sure; 0 is the fourth error
    assert found.correct.tolist() == [False, False, False, True, True]
    assert np.array_equal(found.images, IMAGES[[1, 5, 4, 2, 3]])


def test_errors_of_a_class_are_those_of_the_highest_probability() -> None:
    said = predictions([0.6, 0.9, 0.8, 0.2, 0.7, 0.1], [1, 1, 0, 1, 1, 0])
    found = errors_by_class(said, IMAGES, each=2)
    assert found.index.tolist() == [5, 1, 4]  # of "on" there is one, of "off" the two surest of three
    assert found.y_true.tolist() == [0, 1, 1]
    assert np.array_equal(found.images, IMAGES[[5, 1, 4]])
    assert errors_by_class(predictions([0.9, 0.1], [0, 1]), IMAGES).index.size == 0


def test_a_class_that_was_never_right_has_no_right_image() -> None:
    assert example_images(predictions([0.9, 0.9], [0, 1]), IMAGES).index.tolist() == [1, 0]


def test_what_was_written_is_read_again(tmp_path: Path) -> None:
    examples = example_images(predictions([0.9, 0.9], [0, 1]), IMAGES)
    write_examples(tmp_path / "final" / "images.npz", examples)
    again = read_examples(tmp_path / "final" / "images.npz")
    assert again is not None
    assert again.class_names == NAMES
    for name in ("index", "images", "y_true", "y_prob"):
        assert np.array_equal(getattr(again, name), getattr(examples, name))
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["images.npz"]


@pytest.mark.parametrize("channels", [2, 3, 5])
def test_images_of_any_number_of_channels_are_read_again_and_drawn(channels: int, tmp_path: Path) -> None:
    images = np.repeat(IMAGES, channels, axis=-1)
    write_examples(tmp_path / "images.npz", example_images(predictions([0.9, 0.9], [0, 1]), images))
    again = read_examples(tmp_path / "images.npz")
    assert again is not None
    assert again.images.shape == (2, 8, 16, channels)
    assert png_uri(again.images[0]).startswith("data:image/png;base64,")


def test_examples_without_a_pixel_are_damaged(tmp_path: Path) -> None:
    said = predictions([0.9, 0.9], [0, 1])
    write_examples(tmp_path / "images.npz", example_images(said, np.zeros((2, 0, 16, 1), np.uint8)))
    with pytest.raises(RecordError, match=r"cannot be read as example images \(images without a pixel\); restore it"):
        read_examples(tmp_path / "images.npz")


def test_a_file_that_is_not_there_is_none_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "images.npz"
    assert read_examples(path) is None
    for damage in (b"", b"PK\x03\x04 and no more", b"something else"):
        path.write_bytes(damage)
        with pytest.raises(
            RecordError, match=r"cannot be read as example images .*; restore it from a copy, or remove it"
        ):
            read_examples(path)


@pytest.mark.parametrize("shape", [(8, 16), (8, 16, 1), (8, 16, 3)])
def test_a_picture_holds_the_pixels_themselves(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    head, _, data = png_uri(image).partition(",")
    assert head == "data:image/png;base64"
    pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))
    assert np.array_equal(pixels, image.reshape(pixels.shape))


def test_a_large_picture_is_made_small() -> None:
    data = png_uri(np.zeros((1024, 512), np.uint8)).partition(",")[2]
    assert Image.open(io.BytesIO(base64.b64decode(data))).size == (128, 256)
