"""Course CSV files: every spelling read exactly, every fault named with its file and row."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seti_model.data.sources.course_csv import COURSE_CLASS_NAMES, COURSE_USUAL_NAMES, read_csv
from seti_model.errors import DatasetError

NAMES = ("a", "b")
SHAPE = (2, 3)


def write_rows(path, rows):
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    return path


@pytest.fixture
def csv_files(tmp_path):
    """Three images of 2 x 3 pixels, their labels, and a function that replaces a row of one of the files."""
    images = write_rows(tmp_path / "images.csv", [["0.000000", "0.2", "0.4", "0.6", "0.8", "1"]] * 3)
    labels = write_rows(tmp_path / "labels.csv", [["1", "0"], ["0", "1"], ["1.0", "0.0"]])

    def replace(path, row, text):
        lines = path.read_text().splitlines()
        lines[row - 1 : row] = [text]
        path.write_text("\n".join(lines) + "\n")

    return images, labels, replace


@pytest.mark.parametrize(
    "spell",
    ["{:.2e}", "{:f}", "{:.6f}", "{:.18e}", "{!r}", "{:g}", " {:.4f}"],
    ids=["1.00e+00", "1.000000", "six decimals", "savetxt", "shortest", "six digits", "blanks"],
)
def test_every_pixel_value_survives_every_spelling(tmp_path, spell):
    k = np.arange(256)
    images = write_rows(tmp_path / "images.csv", [[spell.format(float(value)) for value in k / 255]])
    labels = write_rows(tmp_path / "labels.csv", [[spell.format(value) for value in (0.0, 1.0)]])
    data = read_csv(images, labels, NAMES, shape=(16, 16))
    assert np.array_equal(data.images.ravel(), k)
    assert data.labels.tolist() == [1]


def test_time_goes_down_the_rows_and_labels_follow(csv_files):
    images, labels, _ = csv_files
    data = read_csv(images, labels, NAMES, shape=SHAPE)
    assert data.images[0, :, :, 0].tolist() == [[0, 51, 102], [153, 204, 255]]
    assert data.images.shape == (3, 2, 3, 1)
    assert data.labels.tolist() == [0, 1, 0]
    assert (data.images.dtype, data.labels.dtype) == (np.uint8, np.int8)


def test_windows_line_ends_and_a_missing_last_one_are_read(csv_files):
    images, labels, _ = csv_files
    images.write_bytes(images.read_bytes().replace(b"\n", b"\r\n").rstrip())
    assert len(read_csv(images, labels, NAMES, shape=SHAPE).labels) == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0,0,0,0", r"images.csv, row 2: 5 columns, expected 2 x 3 = 6; correct the file or give its --shape"),
        ("0,0,0,0,0,0,0", r"images.csv, row 2: 7 columns, expected 2 x 3 = 6"),
        ("0,0,0,x1,0,0", r"images.csv, row 2: 'x1' in column 4 is not a number; correct it"),
        ("0,0,0,,0,0", r"images.csv, row 2: '' in column 4 is not a number; correct it"),
        ("0,0,nan,0,0,0", r"images.csv, row 2: value nan lies outside 0\.\.1; scale the pixels to 0\.\.1"),
        ("0,0,1.01,0,0,0", r"images.csv, row 2: value 1\.01 lies outside 0\.\.1"),
        ("0,0,-0.01,0,0,0", r"images.csv, row 2: value -0\.01 lies outside 0\.\.1"),
        ("0,0,255,0,0,0", r"images.csv, row 2: value 255 lies outside 0\.\.1"),
        ("0,0,inf,0,0,0", r"images.csv, row 2: value inf lies outside 0\.\.1"),
    ],
)
def test_bad_row_of_pixels_is_named(csv_files, text, message):
    images, labels, replace = csv_files
    replace(images, 2, text)
    with pytest.raises(DatasetError, match=message):
        read_csv(images, labels, NAMES, shape=SHAPE)


@given(row=st.integers(1, 400), bad=st.sampled_from(["0.5,x", "0.5", "0.5,2"]))
def test_bad_row_is_named_wherever_it_is(tmp_path_factory, row, bad):
    folder = tmp_path_factory.mktemp("csv")
    images = write_rows(
        folder / "images.csv", [["0.5", bad[4:]] if at == row else ["0.5", "0.5"] for at in range(1, 401)]
    )
    if bad == "0.5":
        images.write_text(images.read_text().replace("0.5,\n", "0.5\n"))
    labels = write_rows(folder / "labels.csv", [["0", "1"]] * 400)
    with pytest.raises(DatasetError, match=rf"images.csv, row {row}: "):
        read_csv(images, labels, NAMES, shape=(1, 2))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,0", r"labels.csv, row 3: 0, 0 is not one-hot; expected a single 1 among zeros"),
        ("1,1", r"labels.csv, row 3: 1, 1 is not one-hot"),
        ("0.5,0.5", r"labels.csv, row 3: 0\.5, 0\.5 is not one-hot"),
        ("2,-1", r"labels.csv, row 3: 2, -1 is not one-hot"),
        ("nan,1", r"labels.csv, row 3: nan, 1 is not one-hot"),
        ("1,0,0", r"labels.csv, row 3: 3 columns, expected one for each class name"),
        ("tone,0", r"labels.csv, row 3: 'tone' in column 1 is not a number"),
    ],
)
def test_bad_label_row_is_named(csv_files, text, message):
    images, labels, replace = csv_files
    replace(labels, 3, text)
    with pytest.raises(DatasetError, match=message):
        read_csv(images, labels, NAMES, shape=SHAPE)


def test_different_numbers_of_images_and_labels_are_refused(csv_files):
    images, labels, _ = csv_files
    labels.write_text(labels.read_text() + "0,1\n")
    with pytest.raises(DatasetError, match=r"images.csv: 3 images, but .*labels.csv has 4 labels; make them match"):
        read_csv(images, labels, NAMES, shape=SHAPE)


@pytest.mark.parametrize("content", ["", "\n\n"])
def test_empty_file_is_refused(csv_files, content):
    images, labels, _ = csv_files
    images.write_text(content)
    with pytest.raises(
        DatasetError, match=r"images.csv: .*; expected rows of comma-separated numbers without a header"
    ):
        read_csv(images, labels, NAMES, shape=SHAPE)


def test_header_is_refused_as_row_one(csv_files):
    images, labels, _ = csv_files
    images.write_text("p0,p1,p2,p3,p4,p5\n" + images.read_text())
    with pytest.raises(DatasetError, match=r"images.csv, row 1: 'p0' in column 1 is not a number"):
        read_csv(images, labels, NAMES, shape=SHAPE)


@pytest.mark.parametrize("which", [0, 1])
def test_missing_file_is_named(csv_files, which):
    csv_files[which].unlink()
    with pytest.raises(DatasetError, match=rf"{csv_files[which].name}: no such file; check the path"):
        read_csv(csv_files[0], csv_files[1], NAMES, shape=SHAPE)


def test_more_classes_than_labels_can_hold_are_refused(csv_files):
    with pytest.raises(DatasetError, match=r"128 classes, at most 127 are possible"):
        read_csv(csv_files[0], csv_files[1], [str(n) for n in range(128)], shape=SHAPE)


def test_file_of_several_blocks_is_read_whole_and_its_last_row_checked(tmp_path):
    """Blocks have eight megabytes; 200 rows of 8192 numbers with six decimals are fifteen."""
    pixels = np.random.default_rng(1).integers(0, 256, (200, 8192), np.uint8)
    spelled = np.array([f"{k / 255:.6f}" for k in range(256)])
    images = write_rows(tmp_path / "images.csv", spelled[pixels])
    labels = write_rows(tmp_path / "labels.csv", [["1", "0"]] * 200)
    data = read_csv(images, labels, NAMES)
    assert np.array_equal(data.images.reshape(200, 8192), pixels)
    with images.open("a") as file:
        file.write(",".join(["0"] * 8191 + ["7"]) + "\n")
    with pytest.raises(DatasetError, match="row 201: value 7 lies outside"):
        read_csv(images, labels, NAMES)


@pytest.mark.slow
def test_course_size_is_read_in_twenty_seconds_of_one_core(tmp_path):
    spelled = np.array([f"{k / 255:.6f}" for k in range(256)])
    rng = np.random.default_rng(1)
    with (tmp_path / "images.csv").open("w") as file:
        for _ in range(3200):
            file.write(",".join(spelled[rng.integers(0, 256, 8192)]) + "\n")
    labels = write_rows(tmp_path / "labels.csv", [["1", "0"]] * 3200)
    assert (tmp_path / "images.csv").stat().st_size == pytest.approx(235e6, rel=0.01)
    start = time.process_time()
    assert len(read_csv(tmp_path / "images.csv", labels, NAMES).labels) == 3200
    assert time.process_time() - start < 20


@pytest.mark.parametrize(("split", "per_class"), [("train", 800), ("validation", 200)])
def test_genuine_label_files_have_balanced_classes(real_data, tmp_path, split, per_class):
    images = write_rows(tmp_path / "images.csv", [["0.5"]] * (4 * per_class))
    data = read_csv(images, real_data / f"course_{split}_labels.csv", COURSE_CLASS_NAMES, shape=(1, 1))
    assert np.bincount(data.labels).tolist() == [per_class] * 4


def test_genuine_labels_are_the_strips_true_classes(real_data, tmp_path):
    """The strips carry labels found independently of the files; the usual names would contradict them."""
    images = write_rows(tmp_path / "images.csv", [["0.5"]] * 800)
    data = read_csv(images, real_data / "course_validation_labels.csv", COURSE_CLASS_NAMES, shape=(1, 1))
    with np.load(real_data / "course_strips_378x8x128.npz") as strips:
        assert np.array_equal(data.labels[strips["validation_row"]], strips["y"])
        assert tuple(strips["class_names"]) == COURSE_CLASS_NAMES
    assert set(COURSE_USUAL_NAMES) == set(COURSE_CLASS_NAMES)
