"""What a network said of a split, on disk: probabilities with the truth beside them, and images to look at."""

from __future__ import annotations

import base64
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.files import UNREADABLE, replacing
from results.stats.metrics import SUM_TOLERANCE

if TYPE_CHECKING:
    import pandas as pd

_PROBABILITY, _TRUTH = "p:", "truth:"
ERRORS, ERRORS_OF_CLASS = 12, 4
_MOST_CELLS = 10**8  # of predictions: a file of a kilobyte may claim any number
_MOST_BYTES = 2**29  # of all example images
_MOST_PIXELS = 256  # along a side, in the report


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
    import pandas as pd  # which a search need not wait for

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
    import pandas as pd

    if not path.is_file():
        raise RecordError(f"{path}: missing; continue the run with `seti-tune resume RUN`, which predicts again")
    try:
        _require_moderate(path)
        return _from_frame(pd.read_parquet(path))
    except (*UNREADABLE, RecordError) as error:
        raise RecordError(
            f"{path}: cannot be read as predictions ({error}); delete it and continue the run with `seti-tune resume "
            "RUN`, which predicts again"
        ) from error


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class ExampleImages:
    """Images of a split with what a model said of them.

    Attributes:
        index: Their places in the split (k,).
        images: Pixels, uint8 (k, n_time, n_freq) or (k, n_time, n_freq, channels).
        y_true: Class indices (k,).
        y_prob: Probabilities (k, n_classes).
        class_names: One name per column of `y_prob`.
    """

    index: npt.NDArray[np.integer]
    images: npt.NDArray[np.uint8]
    y_true: npt.NDArray[np.integer]
    y_prob: npt.NDArray[np.floating]
    class_names: tuple[str, ...]

    @property
    def correct(self) -> npt.NDArray[np.bool_]:
        """Whether the most probable class is the true one, (k,)."""
        return np.asarray(self.y_prob.argmax(axis=1) == self.y_true)


def example_images(predictions: Predictions, images: npt.NDArray[Any], errors: int = ERRORS) -> ExampleImages:
    """Choose the `errors` wrong images of the highest probability, then the first right image of each class.

    Args:
        predictions: Of the test split.
        images: Its pixels, uint8 (n, ...), in the same order; may be mapped from the disk.
        errors: At most so many.
    """
    correct = predictions.correct
    right = [
        np.flatnonzero(correct & (predictions.y_true == label))[:1] for label in range(len(predictions.class_names))
    ]
    return _examples(predictions, images, [_surest(predictions, ~correct)[:errors], *right])


def errors_by_class(predictions: Predictions, images: npt.NDArray[Any], each: int = ERRORS_OF_CLASS) -> ExampleImages:
    """Choose of each class the `each` images that were taken for another one with the highest probability.

    Args:
        predictions: Of a split.
        images: Its pixels, uint8 (n, ...), in the same order; may be mapped from the disk.
        each: At most so many of a class.
    """
    wrong = ~predictions.correct
    classes = range(len(predictions.class_names))
    return _examples(
        predictions, images, [_surest(predictions, wrong & (predictions.y_true == label))[:each] for label in classes]
    )


def _surest(predictions: Predictions, among: npt.NDArray[np.bool_]) -> npt.NDArray[np.intp]:
    """Return the places of some images by falling probability of what they were taken for."""
    places = np.flatnonzero(among)
    return places[np.argsort(-predictions.y_prob.max(axis=1)[places], kind="stable")]


def _examples(
    predictions: Predictions, images: npt.NDArray[Any], places: Sequence[npt.NDArray[np.intp]]
) -> ExampleImages:
    index = np.concatenate(places).astype(np.int64)
    return ExampleImages(
        index=index,
        images=np.stack([images[i] for i in index]) if index.size else np.zeros((0, 1, 1), np.uint8),
        y_true=predictions.y_true[index],
        y_prob=predictions.y_prob[index],
        class_names=predictions.class_names,
    )


def write_examples(path: Path, examples: ExampleImages) -> None:
    """Write them as a compressed NumPy archive; a reader never sees a part.

    Raises:
        RecordError: The file cannot be written.
    """
    with replacing(path) as temporary:
        np.savez_compressed(temporary, **(vars(examples) | {"class_names": np.array(examples.class_names)}))


def read_examples(path: Path) -> ExampleImages | None:
    """Read what `write_examples` wrote; None where there is nothing, as in runs of before images were kept.

    Raises:
        RecordError: The file is damaged.
    """
    if not path.is_file():
        return None
    try:
        _require_small(path)
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            names = tuple(map(str, np.atleast_1d(stored["class_names"])))
            arrays = {name: stored[name] for name in ("index", "images", "y_true", "y_prob")}
        _require_examples(**arrays, classes=len(names))
    except UNREADABLE as error:
        raise RecordError(
            f"{path}: cannot be read as example images ({error}); restore it from a copy, or remove it"
        ) from error
    return ExampleImages(class_names=names, **arrays)


def _require_examples(index: Any, images: Any, y_true: Any, y_prob: Any, *, classes: int) -> None:
    n = len(index)
    kinds = index.dtype.kind + y_true.dtype.kind + y_prob.dtype.kind
    if kinds not in ("iif", "iuf", "uif", "uuf") or images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise ValueError("arrays of other types than they are written")
    if not (index.shape == y_true.shape == (n,) and y_prob.shape == (n, classes) and len(images) == n):
        raise ValueError("arrays whose shapes do not fit one another")
    if n and not 0 <= y_true.min() <= y_true.max() < classes:
        raise ValueError(f"y_true holds others than the classes 0..{classes - 1}")
    if n and not images.size:
        raise ValueError("images without a pixel")


def _require_small(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        claimed = sum(one.file_size for one in archive.infolist())
    if claimed > _MOST_BYTES:
        raise ValueError(f"{claimed} bytes, at most {_MOST_BYTES} are read")


def _require_moderate(path: Path) -> None:
    """Refuse a table that would be large in memory, whatever its size is on the disk."""
    from pyarrow import parquet
    from pyarrow.types import is_primitive

    claimed = parquet.read_metadata(path)
    if claimed.num_rows * claimed.num_columns > _MOST_CELLS:
        raise ValueError(f"{claimed.num_rows} rows of {claimed.num_columns} columns")
    if not all(map(is_primitive, claimed.schema.to_arrow_schema().types)):
        raise ValueError("a column that holds no numbers")


def png_uri(image: npt.NDArray[np.uint8]) -> str:
    """Return one image, uint8 (n_time, n_freq) or (n_time, n_freq, channels), as the address of an inlined PNG."""
    from PIL import Image

    pixels = image[..., 0] if image.ndim == 3 and image.shape[-1] != 3 else image
    picture = Image.fromarray(pixels)
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))
    file = io.BytesIO()
    picture.save(file, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"


def _from_frame(frame: pd.DataFrame) -> Predictions:
    columns = frame.filter(regex=f"^{_PROBABILITY}")
    names = tuple(str(name).removeprefix(_PROBABILITY) for name in columns.columns)
    y_true, y_prob = frame["y_true"].to_numpy(), columns.to_numpy()
    if not np.issubdtype(y_true.dtype, np.integer) or not np.all((y_true >= 0) & (y_true < len(names))):
        raise RecordError(f"y_true holds others than the classes 0..{len(names) - 1}")
    if not np.issubdtype(y_prob.dtype, np.floating) or not np.all((y_prob >= 0) & (y_prob <= 1)):
        raise RecordError("a probability outside 0..1")
    if not np.all(np.abs(y_prob.sum(axis=1) - 1) <= SUM_TOLERANCE):
        raise RecordError("probabilities that do not add up to 1")
    truth = frame.filter(regex=f"^{_TRUTH}").rename(columns=lambda name: str(name).removeprefix(_TRUTH))
    return Predictions(y_true, y_prob, names, truth)
