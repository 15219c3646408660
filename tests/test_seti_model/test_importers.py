"""NumPy archives and folders of images: read exactly, or refused with the place and what to do."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from seti_model.data.sources.archive import read_npz
from seti_model.data.sources.folder import read_folder
from seti_model.errors import DatasetError

# NumPy archives


def archive(tmp_path, **arrays):
    defaults = {
        "x": np.arange(24, dtype=np.uint8).reshape(4, 2, 3),
        "y": np.array([0, 1, 0, 1]),
        "class_names": np.array(["tone", "noise"]),
    }
    kept = {name: array for name, array in (defaults | arrays).items() if array is not None}
    np.savez(tmp_path / "d.npz", **kept)
    return tmp_path / "d.npz"


def test_npz_is_read_with_names_and_groups(tmp_path):
    read = read_npz(archive(tmp_path, groups=np.array([1, 1, 2, 2])))
    assert read.class_names == ("tone", "noise")
    assert read.data.images.shape == (4, 2, 3, 1)
    assert read.data.images.ravel().tolist() == list(range(24))
    assert read.data.labels.tolist() == [0, 1, 0, 1]
    assert read.data.groups.tolist() == ["1", "1", "2", "2"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_npz_of_numbers_in_0_1_is_brought_to_8_bits(tmp_path, dtype):
    k = np.arange(256).reshape(1, 16, 16)
    read = read_npz(archive(tmp_path, x=(k / 255).astype(dtype), y=np.array([0])))
    assert np.array_equal(read.data.images[..., 0], k)


def test_npz_keeps_its_channels(tmp_path):
    assert read_npz(archive(tmp_path, x=np.zeros((4, 2, 3, 5), np.uint8))).data.images.shape == (4, 2, 3, 5)


def test_given_class_names_take_precedence(tmp_path):
    assert read_npz(archive(tmp_path), ("a", "b", "c")).class_names == ("a", "b", "c")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": None}, r"d.npz: no array 'x', only y, class_names; save x and y"),
        ({"y": None}, r"d.npz: no array 'y', only x, class_names; save x and y"),
        ({"class_names": None}, r"d.npz: no array 'class_names'; give --class-names, in the order of the labels"),
        ({"x": np.zeros((4, 6), np.uint8)}, r"d.npz: x has shape \(4, 6\), expected \(n, h, w\) or"),
        ({"x": np.zeros((0, 2, 3), np.uint8)}, r"d.npz: x has shape \(0, 2, 3\), expected"),
        ({"x": np.zeros((4, 2, 3), np.int32)}, r"d.npz: pixels of type int32, expected uint8 or numbers in 0\.\.1"),
        ({"x": np.full((4, 2, 3), 1.5)}, r"d.npz, row 1: value 1\.5 lies outside 0\.\.1"),
        ({"x": np.full((4, 2, 3), np.nan)}, r"d.npz, row 1: value nan lies outside 0\.\.1"),
        ({"y": np.array([0, 1, 2, 0])}, r"d.npz, row 3: label 2, expected 0\.\.1; correct it or the class names"),
        ({"y": np.array([0, 1, 0, -1])}, r"d.npz, row 4: label -1, expected 0\.\.1"),
        ({"y": np.array([0, 1, 0])}, r"d.npz: y is int64 \(3,\), expected integers of shape \(4,\)"),
        ({"y": np.eye(4)}, r"d.npz: y is float64 \(4, 4\), expected integers of shape \(4,\)"),
        ({"groups": np.array([1, 2])}, r"d.npz: groups has shape \(2,\), expected \(4,\); one for each image"),
        ({"y": np.array([None] * 4)}, r"d.npz: cannot be read as .npz .*; save it with numpy.savez"),
        ({"class_names": np.array([str(n) for n in range(128)])}, r"128 classes, at most 127 are possible; merge some"),
    ],
)
def test_unusable_archive_is_refused(tmp_path, arrays, message):
    with pytest.raises(DatasetError, match=message):
        read_npz(archive(tmp_path, **arrays))


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 torn"])
def test_file_that_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "d.npz").write_bytes(content)
    with pytest.raises(DatasetError, match=r"d.npz: cannot be read as .npz .*; save it with numpy.savez"):
        read_npz(tmp_path / "d.npz")


def test_single_array_is_no_archive(tmp_path):
    np.save(tmp_path / "d.npy", np.zeros(3))
    with pytest.raises(DatasetError, match=r"d.npy: cannot be read as .npz"):
        read_npz(tmp_path / "d.npy")


def test_missing_archive_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"d.npz: no such file; check the path"):
        read_npz(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("file", "shape", "n_classes"),
    [("ml4seti_400x64x128", (400, 64, 128, 1), 4), ("frdeep_nvss_600x150x150", (600, 150, 150, 1), 2)],
)
def test_genuine_archives_are_read(real_data, file, shape, n_classes):
    read = read_npz(real_data / f"{file}.npz")
    assert read.data.images.shape == shape
    assert len(read.class_names) == n_classes


# Folders of PNG images


@pytest.fixture
def folder(tmp_path):
    for name, grey in (("noise", 10), ("Tone", 200), ("hum", 90)):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("L", (3, 2), grey + number).save(tmp_path / name / f"{number}.png")
    return tmp_path


def test_folders_become_classes_in_sorted_order(folder):
    (folder / "hum" / "README.txt").write_text("not an image")
    (folder / ".cache").mkdir()
    read = read_folder(folder)
    assert read.class_names == ("Tone", "hum", "noise")
    assert read.data.labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert read.data.images.shape == (6, 2, 3, 1)
    assert read.data.images[:, 0, 0, 0].tolist() == [200, 201, 90, 91, 10, 11]


def test_colour_images_have_three_channels(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (3, 2), (1, 2, 3)).save(tmp_path / name / "0.PNG")
    assert read_folder(tmp_path).data.images[0, 0, 0].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("RGBA", (1, 2, 3, 255), [1, 2, 3]),
        ("RGBA", (7, 7, 7, 255), [7, 7, 7]),  # grey, and three channels as of an RGB file
        ("LA", (7, 255), [7]),
    ],
)
def test_an_opaque_alpha_channel_is_left_out(tmp_path, mode, colour, expected):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        Image.new(mode, (3, 2), colour).save(tmp_path / name / "0.png")
    images = read_folder(tmp_path).data.images
    assert images.shape == (2, 2, 3, len(expected))
    assert images[0, 0, 0].tolist() == expected


def test_what_matplotlib_saves_is_read_as_the_colours_it_drew(tmp_path):
    from matplotlib.image import imsave

    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        imsave(tmp_path / name / "0.png", np.eye(4), cmap="gray")
    with Image.open(tmp_path / "a" / "0.png") as picture:
        assert picture.mode == "RGBA"
    assert np.array_equal(read_folder(tmp_path).data.images[0, :, :, 1], 255 * np.eye(4, dtype=np.uint8))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: Image.new("RGBA", (3, 2), (1, 2, 3, 254)).save(f / "hum" / "1.png"),
            r"1.png: 6 of 6 pixels are transparent; say what lies under them \(--ground 0\), or save it on a ground",
        ),
        (lambda f: Image.new("LA", (3, 2)).save(f / "hum" / "1.png"), r"1.png: 6 of 6 pixels are transparent; say"),
        (
            lambda f: Image.new("L", (4, 2)).save(f / "hum" / "1.png"),
            r"1.png: shape \(2, 4, 1\), but .* has \(2, 3, 1\)",
        ),
        (lambda f: Image.new("RGB", (3, 2)).save(f / "hum" / "1.png"), r"shape \(2, 3, 3\), but .*; bring all to one"),
        (
            lambda f: Image.new("I;16", (3, 2)).save(f / "hum" / "1.png"),
            r"1.png: values of type uint16, and nothing says how they become 8-bit pixels; convert",
        ),
        (lambda f: (f / "hum" / "1.png").write_bytes(b"no"), r"1.png: cannot be read as PNG .*; replace it"),
        (lambda f: tear(f / "hum" / "1.png"), r"1.png: cannot be read as PNG .*; replace it"),
        (lambda f: (f / "empty").mkdir(), r"empty: no PNG or FITS files; add some or move the folder away"),
    ],
)
def test_unusable_folder_is_refused(folder, spoil, message):
    spoil(folder)
    with pytest.raises(DatasetError, match=message):
        read_folder(folder)


def tear(file):
    file.write_bytes(file.read_bytes()[:50])


def test_more_classes_than_labels_can_tell_apart_are_refused(tmp_path):
    for number in range(128):
        (tmp_path / f"{number}").mkdir()
        Image.new("L", (3, 2)).save(tmp_path / f"{number}" / "0.png")
    with pytest.raises(DatasetError, match=r"128 classes, at most 127 are possible; merge some"):
        read_folder(tmp_path)


def test_folder_without_classes_is_refused(tmp_path):
    (tmp_path / "only").mkdir()
    with pytest.raises(DatasetError, match=r"1 class folders, expected two or more; one folder for each class"):
        read_folder(tmp_path)


def test_missing_folder_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"nowhere: no such folder; give one that holds a folder of pictures"):
        read_folder(tmp_path / "nowhere")
