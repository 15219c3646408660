"""What makes two data sets, or two images, the same: the digest of a data set and duplicates across splits."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from seti_model.data.split_data import SplitData

_HELD_OUT_FIRST = ("test", "validation", "train")
_ROWS = 1024  # images read at a time


def compute_digest(splits: Mapping[str, SplitData], class_names: Sequence[str]) -> str:
    """Return the SHA-256 (hex) over class names and, split by split, pixels, labels and groups."""
    digest = hashlib.sha256(json.dumps(list(class_names)).encode())
    for name in sorted(splits):
        data = splits[name]
        groups = None if data.groups is None else data.groups.tolist()
        digest.update(json.dumps([name, data.images.shape, groups]).encode())
        for start in range(0, len(data.images), _ROWS):
            digest.update(np.ascontiguousarray(data.images[start : start + _ROWS]).data)
        digest.update(np.ascontiguousarray(data.labels).data)
    return digest.hexdigest()


def without_duplicates(splits: Mapping[str, SplitData]) -> tuple[dict[str, SplitData], dict[str, int]]:
    """Drop images that occur byte for byte in a more held-out split: test before validation before training.

    Returns:
        The splits, and how many images were dropped from each. Repetitions within one split stay.
    """
    held_out: set[bytes] = set()
    kept = dict(splits)
    removed = dict.fromkeys(splits, 0)
    for name in (name for name in _HELD_OUT_FIRST if name in splits):
        hashes = [
            hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=16).digest() for image in splits[name].images
        ]
        keep = np.flatnonzero([found not in held_out for found in hashes])
        held_out.update(hashes)
        removed[name] = len(hashes) - len(keep)
        if removed[name]:
            kept[name] = splits[name].take(keep)
    return kept, removed
