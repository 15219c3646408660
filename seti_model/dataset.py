"""Contract only; the implementation follows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Images = npt.NDArray[np.uint8]  # (n, n_time, n_freq, channels)
Labels = npt.NDArray[np.int8]  # (n,)


class DatasetError(ValueError):
    """Data that cannot be used: the message names the file and place, what was found and what to do."""


@dataclass(frozen=True)
class Split:
    """Images and labels of one split; the arrays may be memory-mapped and are never written to."""

    images: Images
    labels: Labels


@dataclass(frozen=True)
class TrainingData:
    """What a training may see: never the test split. Travels through Ray's object store without a copy."""

    train: Split
    validation: Split
    class_names: tuple[str, ...]
    digest: str  # SHA-256 of the whole data set, hex
