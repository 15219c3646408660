"""Images that occur twice, or of one constant value: what is dropped of them, what stays, and what is said of it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from seti_model.data.dataset import SplitData

NOTES = ("duplicates_removed", "constant_images", "equal_images")  # what `origin` says of the images
_HELD_OUT_FIRST = ("test", "validation", "train")
_NAMED = 10  # images, or groups of equal ones, that a remark names


def remarks(origin: Mapping[str, Any]) -> list[str]:
    """Return what `without_duplicates` noted in words, a line each; none where there is nothing to say."""
    said = [
        f"removed from {split}: {n} images that also occur, byte for byte, in a split held out further"
        for split, n in origin.get("duplicates_removed", {}).items()
        if n
    ]
    constant = [image for images in origin.get("constant_images", {}).values() for image in images]
    if constant:
        what = f"{_counted(constant, 'image')} of one constant value{_contradiction(constant)}"
        said.append(f"{what}: {_named([[image] for image in constant])}")
    for split, groups in origin.get("equal_images", {}).items():
        if groups:
            what = f"{_counted(groups, 'group')} of equal images in {split}{max(map(_contradiction, groups))}"
            said.append(f"{what}: {_named(groups)}")
    return said


def without_duplicates(
    splits: Mapping[str, SplitData], class_names: Sequence[str]
) -> tuple[dict[str, SplitData], dict[str, Any]]:
    """Drop images that occur byte for byte in a more held-out split: test before validation before training.

    Returns:
        The splits, and what `origin` of a data set says of its images: how many were dropped from each split; which
        are of one constant value, and which equal others of their split, by place and class. These stay.
    """
    hashes = {name: [_hash(image) for image in data.images] for name, data in splits.items()}
    held_out: set[bytes] = set()
    kept = dict(splits)
    removed = dict.fromkeys(splits, 0)
    for name in (name for name in _HELD_OUT_FIRST if name in splits):
        keep = np.flatnonzero([found not in held_out for found in hashes[name]])
        held_out.update(hashes[name])
        removed[name] = len(hashes[name]) - len(keep)
        if removed[name]:
            kept[name] = splits[name].take(keep)
    constant, equal = {}, {}
    for name, data in splits.items():
        images = [(_place(name, data, row), class_names[label]) for row, label in enumerate(data.labels)]
        is_constant = [image.min() == image.max() for image in data.images]
        constant[name] = [image for image, yes in zip(images, is_constant, strict=True) if yes]
        same: dict[bytes, list[tuple[str, str]]] = {}
        for image, found, yes in zip(images, hashes[name], is_constant, strict=True):
            if not yes:
                same.setdefault(found, []).append(image)
        equal[name] = [group for group in same.values() if len(group) > 1]
    return kept, dict(zip(NOTES, (removed, constant, equal), strict=True))


def _hash(image: npt.NDArray[np.uint8]) -> bytes:
    return hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()


def _place(split: str, data: SplitData, row: int) -> str:
    return f"{split}, row {row + 1}" if data.source is None else data.source.place(row)


def _counted(things: Sequence[object], word: str) -> str:
    return f"{len(things)} {word}{'s' if len(things) > 1 else ''}"


def _contradiction(images: Sequence[Sequence[str]]) -> str:
    return ", of different classes" if len({class_name for _, class_name in images}) > 1 else ""


def _named(groups: Sequence[Sequence[Sequence[str]]]) -> str:
    words = [" = ".join(f"{place} ({class_name})" for place, class_name in group) for group in groups[:_NAMED]]
    more = [f"{len(groups) - _NAMED} more, see dataset.json"] if len(groups) > _NAMED else []
    return f"{'; '.join([*words, *more])}; kept, remove what is wrong from the source"
