"""Dividing images among splits: stratified by class, never through a group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import SplitData
from seti_model.errors import DatasetError

_TOLERANCE = 1e-6  # of the sum of fractions, for values such as 0.333333


def split_by_fractions(
    data: SplitData, fractions: Sequence[float], seed: int, *, class_names: Sequence[str]
) -> dict[str, SplitData]:
    """Divide `data` at random into train, validation and test, each class in the given proportions.

    Without groups every class is divided exactly, up to rounding; with groups as well as their sizes allow.

    Raises:
        DatasetError: Not three positive fractions of sum 1, a negative seed, or a class that does not reach all splits.
    """
    if len(fractions) != 3 or not all(0 < part < 1 for part in fractions) or abs(sum(fractions) - 1) > _TOLERANCE:
        raise DatasetError(
            f"fractions {', '.join(f'{part:g}' for part in fractions)}: expected three positive numbers with sum 1, "
            "for train, validation and test; write for example 0.6,0.2,0.2"
        )
    return _divide(data, dict(zip(("train", "validation", "test"), fractions, strict=True)), seed, class_names)


def carve_test(
    train: SplitData, fraction: float, seed: int, *, class_names: Sequence[str]
) -> tuple[SplitData, SplitData]:
    """Take a stratified test split out of the training split.

    Returns:
        The remaining training split and the test split.

    Raises:
        DatasetError: The fraction is not between 0 and 1, or a class does not reach both splits, or a negative seed.
    """
    if not 0 < fraction < 1:
        raise DatasetError(f"test fraction {fraction:g}: expected a number between 0 and 1; write for example 0.2")
    parts = _divide(train, {"train": 1 - fraction, "test": fraction}, seed, class_names)
    return parts["train"], parts["test"]


def _divide(
    data: SplitData, fractions: dict[str, float], seed: int, class_names: Sequence[str]
) -> dict[str, SplitData]:
    if seed < 0:
        raise DatasetError(f"split seed {seed}: at least 0 is expected; choose another one")
    counts, group_of = _class_counts_by_group(data, len(class_names))
    owner = _assign(counts, np.array(list(fractions.values())), np.random.default_rng(seed))
    parts = {}
    for number, name in enumerate(fractions):
        rows = np.flatnonzero(owner[group_of] == number)
        absent = np.flatnonzero(np.bincount(data.labels[rows], minlength=len(class_names)) == 0)
        if len(absent):
            class_name, n = class_names[absent[0]], int(np.count_nonzero(counts[:, absent[0]]))
            raise DatasetError(
                f"class {class_name!r}: none of its {n} {'images' if data.groups is None else 'groups'} reaches the "
                f"{name} split; give it a larger fraction or more images"
            )
        parts[name] = data.take(rows)
    return parts


def _class_counts_by_group(data: SplitData, n_classes: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.intp]]:
    """Return the images per group and class (n_groups, n_classes), and the group number of each image (n,)."""
    if data.groups is None:
        group_of = np.arange(len(data.labels))
    else:
        group_of = np.unique(data.groups, return_inverse=True)[1]
    counts = np.zeros((int(group_of.max()) + 1, n_classes), np.int64)
    np.add.at(counts, (group_of, data.labels), 1)
    return counts, group_of


def _assign(
    counts: npt.NDArray[np.int64], fractions: npt.NDArray[np.float64], rng: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Return the split number of each group: large groups first, each to where its classes lack most."""
    order = rng.permutation(len(counts))
    order = order[np.argsort(-counts[order].sum(axis=1), kind="stable")]
    lacking = fractions[:, None] * counts.sum(axis=0)  # (n_splits, n_classes)
    owner = np.empty(len(counts), np.intp)
    for group in order:
        owner[group] = np.argmax(lacking @ counts[group])
        lacking[owner[group]] -= counts[group]
    return owner
