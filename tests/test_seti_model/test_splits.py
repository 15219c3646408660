"""Divided data: in proportion, without dividing a group, without losing an image."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seti_model.data.dataset import SplitData
from seti_model.data.splits import carve_test, split_by_fractions
from seti_model.errors import DatasetError

NAMES = ("tone", "noise")


def make_split(n, *, seed, shape=(4, 6, 1), n_classes=2, groups=None):
    images = np.random.default_rng(seed).integers(0, 256, (n, *shape), np.uint8)
    return SplitData(images, (np.arange(n) % n_classes).astype(np.int8), groups=groups)


@settings(max_examples=60)
@given(
    n=st.integers(30, 120),
    n_groups=st.integers(10, 30),
    fractions=st.sampled_from([(0.6, 0.2, 0.2), (0.34, 0.33, 0.33), (0.5, 0.3, 0.2)]),
    seed=st.integers(0, 1000),
)
def test_no_group_is_divided_and_no_image_lost(n, n_groups, fractions, seed):
    rng = np.random.default_rng(seed)
    data = make_split(n, seed=seed, groups=rng.integers(0, n_groups, n).astype(str))
    parts = split_by_fractions(data, fractions, seed, class_names=NAMES)
    groups = [set(part.groups.tolist()) for part in parts.values()]
    assert sum(map(len, groups)) == len(set().union(*groups))
    pixels = np.concatenate([part.images for part in parts.values()])
    assert sorted(image.tobytes() for image in pixels) == sorted(image.tobytes() for image in data.images)


@settings(max_examples=40)
@given(n=st.integers(20, 200), n_classes=st.integers(2, 4), seed=st.integers(0, 1000))
def test_every_class_is_divided_in_proportion(n, n_classes, seed):
    data = make_split(n, seed=seed, n_classes=n_classes)
    names = [str(label) for label in range(n_classes)]
    parts = split_by_fractions(data, (0.6, 0.2, 0.2), seed, class_names=names)
    total = np.bincount(data.labels)
    for fraction, part in zip((0.6, 0.2, 0.2), parts.values(), strict=True):
        assert np.bincount(part.labels, minlength=n_classes) == pytest.approx(fraction * total, abs=1)


def test_division_depends_on_the_seed_only():
    data = make_split(60, seed=1)
    one, same, other = (split_by_fractions(data, (0.6, 0.2, 0.2), seed, class_names=NAMES) for seed in (1, 1, 2))
    assert np.array_equal(one["test"].images, same["test"].images)
    assert not np.array_equal(one["test"].images, other["test"].images)


def test_carved_test_split_is_stratified_and_disjoint():
    data = make_split(100, seed=1)
    train, test = carve_test(data, 0.2, 1, class_names=NAMES)
    assert np.bincount(train.labels).tolist() == [40, 40]
    assert np.bincount(test.labels).tolist() == [10, 10]
    assert not {image.tobytes() for image in train.images} & {image.tobytes() for image in test.images}


def test_truth_and_groups_follow_their_images():
    images = np.arange(40, dtype=np.uint8).reshape(40, 1, 1, 1)
    data = SplitData(
        images, np.arange(40, dtype=np.int8) % 2, pd.DataFrame({"row": range(40)}), np.arange(40).astype(str)
    )
    for part in split_by_fractions(data, (0.5, 0.25, 0.25), 3, class_names=NAMES).values():
        rows = part.images.ravel()
        assert part.truth.row.tolist() == rows.tolist()
        assert part.groups.astype(int).tolist() == rows.tolist()
        assert part.labels.tolist() == (rows % 2).tolist()


@pytest.mark.parametrize(
    "fractions", [(0.6, 0.4), (0.6, 0.2, 0.1), (0.8, 0.2, 0.0), (1.2, -0.1, -0.1), (math.nan,) * 3]
)
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(DatasetError, match=r"expected three positive numbers with sum 1.*write for example 0\.6,0\.2"):
        split_by_fractions(make_split(60, seed=1), fractions, 1, class_names=NAMES)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, math.nan])
def test_bad_test_fraction_is_refused(fraction):
    with pytest.raises(DatasetError, match="expected a number between 0 and 1"):
        carve_test(make_split(60, seed=1), fraction, 1, class_names=NAMES)


def test_class_too_small_for_every_split_is_refused():
    data = make_split(60, seed=1)
    labels = np.zeros(60, np.int8)
    labels[:2] = 1
    with pytest.raises(
        DatasetError, match=r"class 'noise': none of its 2 images reaches the .* split; give it a larger"
    ):
        split_by_fractions(SplitData(data.images, labels), (0.6, 0.2, 0.2), 1, class_names=NAMES)


def test_class_with_too_few_groups_is_refused():
    data = make_split(60, seed=1, groups=np.array(["one", "two"]).repeat(30))
    with pytest.raises(DatasetError, match="none of its 2 groups reaches the test split"):
        split_by_fractions(data, (0.6, 0.2, 0.2), 1, class_names=NAMES)
