"""Predicted probabilities on disk: Parquet files with the truth beside them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from results.errors import RecordError
from results.files import UNREADABLE, replacing

_PROBABILITY, _TRUTH = "p:", "truth:"


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class Predictions:
    """What one network said of one split.

    Attributes:
        y_true: Class indices (n,).
        y_prob: Probabilities (n, n_classes).
        class_names: One name per column of `y_prob`.
        truth: What is known of each image, one row per image, e.g. its amplitude ratio; no columns where nothing is.
    """

    y_true: npt.NDArray[np.integer]
    y_prob: npt.NDArray[np.floating]
    class_names: tuple[str, ...]
    truth: pd.DataFrame

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the true one, (n,)."""
        return np.asarray(self.y_prob.argmax(axis=1) == self.y_true)


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write columns `y_true`, `p:<class>` for each class and `truth:<name>`; a reader never sees a part.

    Raises:
        RecordError: The file cannot be written.
    """
    frame = pd.DataFrame(predictions.y_prob, columns=[f"{_PROBABILITY}{name}" for name in predictions.class_names])
    frame.insert(0, "y_true", predictions.y_true)
    truth = predictions.truth.reset_index(drop=True).add_prefix(_TRUTH)
    with replacing(path) as temporary:
        pd.concat([frame, truth], axis="columns").to_parquet(temporary, index=False)


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        RecordError: Missing or damaged.
    """
    if not path.is_file():
        raise RecordError(f"{path}: missing; continue the run with `seti-tune resume RUN`, which predicts again")
    try:
        return _from_frame(pd.read_parquet(path))
    except (*UNREADABLE, RecordError) as error:
        raise RecordError(
            f"{path}: cannot be read as predictions ({error}); delete it and continue the run with `seti-tune resume "
            "RUN`, which predicts again"
        ) from error


def _from_frame(frame: pd.DataFrame) -> Predictions:
    columns = frame.filter(regex=f"^{_PROBABILITY}")
    names = tuple(str(name).removeprefix(_PROBABILITY) for name in columns.columns)
    y_true, y_prob = frame["y_true"].to_numpy(), columns.to_numpy()
    if not np.issubdtype(y_true.dtype, np.integer) or not np.all((y_true >= 0) & (y_true < len(names))):
        raise RecordError(f"y_true holds others than the classes 0..{len(names) - 1}")
    if not np.issubdtype(y_prob.dtype, np.floating) or not np.all((y_prob >= 0) & (y_prob <= 1)):
        raise RecordError("a probability outside 0..1")
    truth = frame.filter(regex=f"^{_TRUTH}").rename(columns=lambda name: str(name).removeprefix(_TRUTH))
    return Predictions(y_true, y_prob, names, truth)
