"""Data sets on disk: whole or not at all, identified by their content, with splits that share nothing."""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seti_model.data.dataset import Dataset, Split, SplitData, TrainingData, compute_digest, write_dataset
from seti_model.data.kind import ImageKind, PixelRule
from seti_model.data.repeated import remarks
from seti_model.data.sources.archive import read_npz
from seti_model.data.splits import split_by_fractions
from seti_model.errors import DatasetError

NAMES = ("tone", "noise")


def make_split(n, *, seed, shape=(4, 6, 1), n_classes=2, groups=None):
    images = np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)
    return SplitData(images, (np.arange(n) % n_classes).astype(np.int8), groups=groups)


def make_splits(**counts):
    return {name: make_split(n, seed=seed) for seed, (name, n) in enumerate(counts.items())}


@pytest.fixture
def written(tmp_path):
    return write_dataset(tmp_path / "d", make_splits(train=6, validation=4, test=2), NAMES, {"made": "for a test"})


# Round trip and digest


@settings(max_examples=25)
@given(
    counts=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    shape=st.tuples(st.integers(1, 9), st.integers(2, 9), st.integers(1, 3)),
    n_classes=st.integers(2, 5),
    has_groups=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_what_is_written_is_read_back(counts, shape, n_classes, has_groups, seed):
    splits = {}
    for name, n in zip(("train", "validation", "test"), counts, strict=False):
        groups = np.array([f"{name}-{row}" for row in range(n)]) if has_groups else None
        data = make_split(n, seed=seed + len(splits), shape=shape, n_classes=n_classes, groups=groups)
        data.images[:, 0, 0, 0] = 100 * len(splits) + np.arange(n)  # all different
        splits[name] = SplitData(data.images, data.labels, pd.DataFrame({"snr": np.arange(n) / 3}), groups)
    names = [f"class {label}" for label in range(n_classes)]
    with tempfile.TemporaryDirectory() as folder:
        dataset = write_dataset(Path(folder) / "d", splits, names, {"seed": seed})
        dataset.verify()
        assert dataset.class_names == tuple(names)
        assert dataset.image_shape == shape
        assert dataset.origin["seed"] == seed
        assert dataset.digest == compute_digest(splits, names)
        assert set(dataset.splits) == set(splits)
        for name, data in splits.items():
            read = dataset.unlocked().split(name)
            assert np.array_equal(read.images, data.images)
            assert np.array_equal(read.labels, data.labels)
            assert read.truth.equals(data.truth)
            assert (read.groups is None) if data.groups is None else np.array_equal(read.groups, data.groups)


def test_digest_ignores_where_and_how_it_was_made(tmp_path):
    splits = make_splits(train=6, validation=4)
    first = write_dataset(tmp_path / "a", splits, NAMES, {"made": "here"})
    second = write_dataset(tmp_path / "deeper" / "b", splits, NAMES, {"made": "there"})
    assert first.digest == second.digest


@given(st.data())
@settings(max_examples=50)
def test_digest_changes_with_any_pixel_label_name_or_group(data):
    groups = {name: np.array([f"{name}{row}" for row in range(4)]) for name in ("train", "validation")}
    splits = {name: make_split(4, seed=1, groups=groups[name]) for name in groups}
    names = list(NAMES)
    before = compute_digest(splits, names)
    changed = splits[data.draw(st.sampled_from(sorted(splits)))]
    row = data.draw(st.integers(0, 3))
    match data.draw(st.sampled_from(["pixel", "label", "name", "group"])):
        case "pixel":
            changed.images[row, data.draw(st.integers(0, 3)), data.draw(st.integers(0, 5)), 0] ^= 1
        case "label":
            changed.labels[row] ^= 1
        case "name":
            names[row % 2] += "!"
        case "group":
            changed.groups[row] = "other"
    assert compute_digest(splits, names) != before


def test_digest_tells_swapped_splits_apart():
    a, b = make_split(4, seed=1), make_split(4, seed=2)
    assert compute_digest({"train": a, "validation": b}, NAMES) != compute_digest({"train": b, "validation": a}, NAMES)


def test_changed_pixel_on_disk_is_found_by_verify(written):
    file = written.path / "test_images.npy"
    images = np.load(file)
    images[1, 2, 3, 0] ^= 1
    np.save(file, images)
    with pytest.raises(DatasetError, match=r"digest [0-9a-f]{12}…, but dataset.json says"):
        Dataset.open(written.path).verify()


def test_the_test_split_is_locked_until_it_is_asked_for_by_name(written):
    locked = rf"{written.path}: the test split is locked, .* `seti-tune finals RUN`, or add --unlock-test to `evaluate`"
    for dataset in (written, Dataset.open(written.path)):
        with pytest.raises(DatasetError, match=locked):
            dataset.split("test")
    unlocked = written.unlocked()
    assert len(unlocked.split("test").labels) == 2
    with pytest.raises(DatasetError, match=locked):  # unlocking made a copy
        written.split("test")
    with pytest.raises(DatasetError, match="no split 'tests'; it has train, validation, test"):
        unlocked.split("tests")


def test_a_locked_test_split_is_counted_hashed_and_checked(tmp_path):
    splits = make_splits(train=6, validation=4, test=4)
    splits["test"] = SplitData(
        splits["test"].images, splits["test"].labels, pd.DataFrame({"snr": [2.0, 5.0, 3.0, 4.0]})
    )
    dataset = write_dataset(tmp_path / "d", splits, NAMES, {})
    dataset.verify()
    assert dataset.splits == ("train", "validation", "test")
    assert dataset.class_counts("test") == {"tone": 2, "noise": 2}
    counts = dataset.pixel_counts("test")
    assert counts.sum() == splits["test"].images.size
    assert all(counts[value] == np.count_nonzero(splits["test"].images == value) for value in range(256))
    assert dataset.truth_ranges("test") == {"snr": (2.0, 5.0)}
    assert dataset.truth_ranges("train") == {}


def test_training_data_lacks_the_test_split(written):
    data = written.training_data()
    assert {field.name for field in dataclasses.fields(TrainingData)} == {
        "train",
        "validation",
        "class_names",
        "digest",
        "prepared_in",
        "fresh",
        "kind",
    }
    assert type(data.train) is Split
    assert (len(data.train.labels), len(data.validation.labels)) == (6, 4)
    assert not hasattr(data, "test")
    assert data.digest == written.digest


def test_images_stay_on_disk_and_cannot_be_written_to(written):
    images = Dataset.open(written.path).split("train").images
    assert isinstance(images, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        images[0, 0, 0, 0] = 1


def test_classes_are_counted(written):
    assert written.class_counts("train") == {"tone": 3, "noise": 3}


# Nothing half-written


def test_existing_target_is_refused_and_untouched(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes.txt").write_text("keep")
    with pytest.raises(DatasetError, match="exists already; choose another folder or delete it first"):
        write_dataset(tmp_path / "d", make_splits(train=2, validation=2), NAMES, {})
    assert (tmp_path / "d" / "notes.txt").read_text() == "keep"


def test_failure_while_writing_leaves_nothing_behind(tmp_path):
    splits = make_splits(train=2, validation=2)
    broken = {"not": math.nan}  # json refuses it after the arrays have been written
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_dataset(tmp_path / "d", splits, NAMES, broken)
    assert list(tmp_path.iterdir()) == []


def test_unwritable_target_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"file/d: cannot be written .*; free some space or choose another folder"):
        write_dataset(tmp_path / "file" / "d", make_splits(train=2, validation=2), NAMES, {})


# Duplicates


def test_image_in_two_splits_stays_in_the_held_out_one(tmp_path):
    splits = make_splits(train=6, validation=4, test=2)
    splits["train"].images[0] = splits["test"].images[0]
    splits["train"].images[5] = splits["validation"].images[2]
    splits["validation"].images[3] = splits["test"].images[1]
    dataset = write_dataset(tmp_path / "d", splits, NAMES, {})
    assert dataset.origin["duplicates_removed"] == {"train": 2, "validation": 1, "test": 0}
    assert np.array_equal(dataset.split("train").images, splits["train"].images[1:5])
    assert np.array_equal(dataset.split("train").labels, splits["train"].labels[1:5])
    assert np.array_equal(dataset.split("validation").images, splits["validation"].images[:3])
    dataset.verify()


def test_constant_and_equal_images_are_kept_and_named_with_their_classes(tmp_path):
    splits = make_splits(train=6, validation=4, test=2)
    for split, row, label in (("train", 1, 0), ("train", 4, 1), ("test", 0, 0)):
        splits[split].images[row] = 10 * row
        splits[split].labels[row] = label
    splits["validation"].images[3] = splits["validation"].images[0]
    splits["validation"].labels[[0, 3]] = (1, 0)
    dataset = write_dataset(tmp_path / "d", splits, NAMES, {})
    assert [len(dataset.unlocked().split(name).labels) for name in ("train", "validation", "test")] == [6, 4, 2]
    tone, noise = NAMES
    assert dataset.origin["constant_images"] == {
        "train": [["train, row 2", tone], ["train, row 5", noise]],
        "validation": [],
        "test": [["test, row 1", tone]],
    }
    assert remarks(dataset.origin) == [
        f"3 images of one constant value, of different classes: train, row 2 ({tone}); train, row 5 ({noise}); "
        f"test, row 1 ({tone}); kept, remove what is wrong from the source",
        f"1 group of equal images in validation, of different classes: validation, row 1 ({noise}) = validation, row 4 "
        f"({tone}); kept, remove what is wrong from the source",
    ]


def test_images_are_named_by_the_row_of_the_file_they_came_from(tmp_path):
    images, labels = make_split(40, seed=1).images, np.arange(40).astype(np.int8) % 2
    images[[7, 30]] = 0
    images[21] = images[5]
    np.savez(tmp_path / "mine.npz", x=images, y=labels, class_names=["a", "b"])
    data = read_npz(tmp_path / "mine.npz").data
    splits = split_by_fractions(data, (0.6, 0.2, 0.2), seed=3, class_names=("a", "b"))
    origin = write_dataset(tmp_path / "d", splits, ("a", "b"), {}).origin
    named = {place for images in origin["constant_images"].values() for place, _ in images}
    assert named == {f"{tmp_path}/mine.npz, row 8", f"{tmp_path}/mine.npz, row 31"}


def test_a_hundred_blank_images_are_counted_and_ten_are_named(tmp_path):
    splits = make_splits(train=120, validation=4)
    splits["train"].images[:100] = 0
    [remark] = remarks(write_dataset(tmp_path / "d", splits, NAMES, {}).origin)
    assert remark.startswith("100 images of one constant value, of different classes: train, row 1 (")
    assert "; 90 more, see dataset.json; " in remark
    assert remark.count("row") == 10


def test_split_that_consists_of_duplicates_is_refused(tmp_path):
    split = make_split(3, seed=1)
    with pytest.raises(DatasetError, match="without duplicates, split 'train': no images; every split needs at least"):
        write_dataset(tmp_path / "d", {"train": split, "validation": split}, NAMES, {})


# Refusals


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train": None}, r"splits validation; expected train, validation and perhaps test"),
        ({"dev": make_split(2, seed=9)}, r"splits train, validation, dev; expected"),
        ({"train": make_split(2, seed=9, shape=(4, 5, 1))}, r"split 'validation': images uint8 \(4, 4, 6, 1\)"),
        (
            {"train": SplitData(np.zeros((2, 4, 6, 1)), np.zeros(2, np.int8))},
            r"images float64 \(2, 4, 6, 1\), expected",
        ),
        (
            {"train": SplitData(np.zeros((2, 4, 6), np.uint8), np.zeros(2, np.int8))},
            r"images uint8 \(2, 4, 6\), expected",
        ),
        ({"train": SplitData(np.zeros((2, 4, 6, 1), np.uint8), np.zeros(3, np.int8))}, r"labels int8 \(3,\), expected"),
        (
            {"train": SplitData(np.zeros((2, 4, 6, 1), np.uint8), np.zeros(2, int))},
            r"labels int64 \(2,\), expected int8",
        ),
        (
            {"train": SplitData(np.zeros((2, 4, 6, 1), np.uint8), np.array([0, 2], np.int8))},
            r"row 2: label 2, expected",
        ),
        ({"train": SplitData(np.zeros((2, 4, 6, 1), np.uint8), np.array([-1, 0], np.int8))}, r"row 1: label -1, exp"),
        ({"train": SplitData(np.zeros((0, 4, 6, 1), np.uint8), np.zeros(0, np.int8))}, r"no images; every split needs"),
        ({"train": make_split(2, seed=9, groups=np.array(["a"]))}, r"groups of 1 images, expected 2"),
        (
            {"train": make_split(2, seed=9, groups=np.array(["a", "b"]))},
            r"groups for some splits only; give them for all",
        ),
    ],
)
def test_unusable_splits_are_refused(tmp_path, change, message):
    splits = make_splits(train=6, validation=4) | change
    splits = {name: data for name, data in splits.items() if data is not None}
    with pytest.raises(DatasetError, match=message):
        write_dataset(tmp_path / "d", splits, NAMES, {})
    assert list(tmp_path.iterdir()) == []


def test_truth_of_another_length_is_refused(tmp_path):
    splits = make_splits(train=6, validation=4)
    splits["train"] = SplitData(splits["train"].images, splits["train"].labels, pd.DataFrame({"snr": [1.0]}))
    with pytest.raises(DatasetError, match=r"split 'train': truth of 1 images, expected 6; correct it"):
        write_dataset(tmp_path / "d", splits, NAMES, {})


@pytest.mark.parametrize("names", [("tone",), ("tone", "tone"), ("tone", "")])
def test_unusable_class_names_are_refused(tmp_path, names):
    with pytest.raises(DatasetError, match="give two or more, each different"):
        write_dataset(tmp_path / "d", make_splits(train=6, validation=4), names, {})


def test_group_divided_among_given_splits_is_refused(tmp_path):
    splits = {
        "train": make_split(2, seed=1, groups=np.array(["m31", "m33"])),
        "validation": make_split(2, seed=2, groups=np.array(["m33", "m81"])),
    }
    with pytest.raises(DatasetError, match="group 'm33' is divided between train and validation; move its images"):
        write_dataset(tmp_path / "d", splits, NAMES, {})


def test_missing_split_is_named(tmp_path):
    dataset = write_dataset(tmp_path / "d", make_splits(train=6, validation=4), NAMES, {})
    with pytest.raises(DatasetError, match="no split 'test'; it has train, validation"):
        dataset.split("test")


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda path: (path / "dataset.json").unlink(), r"dataset.json: missing; make a data set with `seti-tune data"),
        (lambda path: (path / "dataset.json").write_text("{"), r"dataset.json: not JSON \(.*\); make the data set"),
        (lambda path: (path / "dataset.json").write_text("[]"), r"format_version: expected 1, found nothing; make"),
        (lambda path: rewrite(path, format_version=2), r"format_version: expected 1, found 2; make"),
        (lambda path: rewrite(path, channels="1"), r'dataset.json: channels: expected int, found "1"; make'),
        (lambda path: rewrite(path, shape=[4, "6"]), r'shape\[1\]: expected int, found "6"; make'),
        (lambda path: rewrite(path, shape=[4]), "shape: expected array of length 2"),
        (lambda path: rewrite(path, counts={"train": "6"}), "counts.*: expected int, found"),
        (lambda path: rewrite(path, digset="d"), "Object contains unknown field digset; make"),
        (
            lambda path: (path / "dataset.json").write_text('{"format_version": 1}'),
            "missing required field shape; make",
        ),
        (lambda path: rewrite(path, class_names=["tone"]), r"class names 'tone'; give two or more"),
        (lambda path: rewrite(path, class_names=[1, 2]), r"class_names\[0\]: expected str, found 1; make"),
        (lambda path: rewrite(path, shape=[4, 7]), r"shape \(6, 4, 6, 1\), but dataset.json says \(6, 4, 7, 1\)"),
        (lambda path: rewrite(path, counts={"train": 5, "validation": 4}), r"but dataset.json says \(5, 4, 6, 1\)"),
        (lambda path: (path / "train_labels.npy").unlink(), r"train_labels.npy: cannot be read .*; make the data set"),
        (lambda path: (path / "train_images.npy").write_bytes(b"no"), r"train_images.npy: cannot be read"),
        (lambda path: (path / "train_truth.parquet").write_bytes(b"no"), r"train_truth.parquet: cannot be read"),
        (
            lambda path: np.save(path / "test_labels.npy", np.array([0, 7], np.int8)),
            r"'test', row 2: label 7, expected",
        ),
    ],
)
def test_damaged_data_set_is_one_clear_error(written, edit, message):
    edit(written.path)
    with pytest.raises(DatasetError, match=message):
        Dataset.open(written.path)


def rewrite(path, **changes):
    file = path / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


# What images are of


def test_what_images_are_of_is_kept_and_is_no_part_of_the_digest(tmp_path):
    kind = ImageKind("galaxies", ("row", "column"), PixelRule((8, 8), scale="asinh"))
    plain = write_dataset(tmp_path / "plain", make_splits(train=4, validation=2), NAMES, {})
    made = write_dataset(tmp_path / "galaxies", make_splits(train=4, validation=2), NAMES, {}, kind=kind)
    assert Dataset.open(made.path).kind == kind
    assert plain.kind == ImageKind("radio spectrograms", ("time", "frequency"))
    assert made.digest == plain.digest
    assert made.training_data().kind == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"size": (0, 8)}, r"size \(0, 8\): two numbers of 1 to 65536 are expected; correct it"),
        ({"size": (9000, 9000)}, r"size \(9000, 9000\): at most 4194304 pixels are made; choose a smaller one"),
        ({"filter": "sharp"}, r"filter 'sharp' is unknown; choose one of nearest, box"),
        ({"colour": "red"}, r"colour 'red' is unknown; choose one of as it is, grey, rgb"),
        ({"scale": "log"}, r"scale 'log' is unknown; choose one of range, percentile, asinh, sigma_clip"),
        ({"ground": 256}, r"ground 256: a grey of 0 to 255 is expected; correct it"),
        ({"low": 99.5}, r"percentiles 99.5,99.5: two rising numbers of 0 to 100; correct them"),
        ({"sigma": 0.0}, r"sigma 0: a number of 0.1 to 1000 is expected; correct it"),
    ],
)
def test_rules_that_no_pixel_can_follow_are_refused(values, message):
    with pytest.raises(DatasetError, match=message):
        PixelRule(**values)


def test_words_that_cannot_be_shown_are_refused():
    with pytest.raises(DatasetError, match=r"'a\\x1b': at most 100 letters that can be shown; choose others"):
        ImageKind("a\x1b")


def test_a_rule_that_was_changed_on_the_disk_is_refused(tmp_path):
    made = write_dataset(
        tmp_path / "d", make_splits(train=4, validation=2), NAMES, {}, kind=ImageKind(picture=PixelRule())
    )
    file = made.path / "dataset.json"
    file.write_text(file.read_text().replace('"range"', '"log"'))
    with pytest.raises(DatasetError, match=r"dataset.json: scale 'log' is unknown"):
        Dataset.open(made.path)
