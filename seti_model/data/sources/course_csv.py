"""Reading the course's CSV files: a row of numbers an image, a one-hot row a label.

Nothing is guessed. A file that is not exactly what it should be is refused with its name and the row (from 1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import Source, SplitData
from seti_model.data.sources.imported import require_few_classes, to_uint8
from seti_model.errors import DatasetError
from seti_model.files import require_file

# The true meaning of the one-hot index in the course files.
COURSE_CLASS_NAMES = ("squiggle", "narrowbanddrd", "narrowband", "noise")
# The list printed with most copies: the order in which the classes were written to the file, not their index.
COURSE_USUAL_NAMES = ("squiggle", "narrowband", "noise", "narrowbanddrd")
_BLOCK_BYTES = 8 << 20
_MAX_NUMBER_BYTES = 32
MOST_COLUMNS = 2**18  # numbers in a row of a table; 512 x 512


def read_csv(
    images: Path, labels: Path, class_names: Sequence[str], *, shape: tuple[int, int] = (64, 128)
) -> SplitData:
    """Read one split of the course format: a row per image, values k/255, and a file of one-hot rows.

    The values are brought back to the 8 bits they come from, however many digits they were printed with.

    Args:
        images: `n_time * n_freq` numbers in 0..1 a row, comma-separated, no header; time varies slowest.
        labels: One number per class a row, a single 1 among zeros.
        class_names: By index of the one-hot row.
        shape: (n_time, n_freq).

    Raises:
        DatasetError: A missing file; a row with another number of columns, a value that is no number or outside
            0..1, a row that is not one-hot; different numbers of images and labels.
    """
    n_time, n_freq = shape
    hint = f"expected {n_time} x {n_freq} = {n_time * n_freq}; correct the file or give its --shape"
    require_few_classes(labels, len(class_names))
    per_class = "expected one for each class name; correct the file or the names"
    hot = [block for _, block in number_blocks(labels, len(class_names), per_class)]
    blocks = [to_uint8(block, f"{images}", first) for first, block in number_blocks(images, n_time * n_freq, hint)]
    pixels, one_hot = np.concatenate(blocks), np.concatenate(hot)
    is_one_hot = np.all((one_hot == 0) | (one_hot == 1), axis=1) & (one_hot.sum(axis=1) == 1)
    if not is_one_hot.all():
        row = int(np.argmin(is_one_hot))
        values = ", ".join(f"{value:g}" for value in one_hot[row])
        raise DatasetError(f"{labels}, row {row + 1}: {values} is not one-hot; expected a single 1 among zeros")
    if len(pixels) != len(one_hot):
        raise DatasetError(f"{images}: {len(pixels)} images, but {labels} has {len(one_hot)} labels; make them match")
    source = Source((images,), np.arange(len(pixels)))
    return SplitData(pixels.reshape(-1, n_time, n_freq, 1), one_hot.argmax(axis=1).astype(np.int8), source=source)


def number_blocks(path: Path, n_columns: int, hint: str) -> Iterator[tuple[int, npt.NDArray[np.float32]]]:
    """Yield (number of the first row, values (rows, n_columns)), a few megabytes at a time.

    Args:
        path: Comma-separated numbers, no header.
        n_columns: Of each row.
        hint: What the message says of a row with another number of them.

    Raises:
        DatasetError: A missing file, another number of columns, or what is no number.
    """
    import pyarrow as pa
    from pyarrow import csv

    require_file(path, DatasetError)
    if n_columns > MOST_COLUMNS:
        raise DatasetError(f"{path}: {n_columns} numbers a row, at most {MOST_COLUMNS} are read; save it as .npz")
    names = [str(column) for column in range(n_columns)]
    size = max(_BLOCK_BYTES, n_columns * _MAX_NUMBER_BYTES)
    row = 1
    try:
        reader = csv.open_csv(
            path,
            # Single-threaded, because only then pyarrow says in which row it failed.
            read_options=csv.ReadOptions(use_threads=False, block_size=size, column_names=names),
            convert_options=csv.ConvertOptions(column_types=dict.fromkeys(names, pa.float32()), null_values=[]),
        )
        for batch in reader:
            if batch.num_rows:
                yield row, np.stack([column.to_numpy() for column in batch.columns], axis=1)
            row += batch.num_rows
        if row == 1:
            raise pa.ArrowInvalid("no rows")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; check the path") from error
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(_explain_csv(path, str(error), hint)) from error


def _explain_csv(path: Path, message: str, hint: str) -> str:
    if match := re.search(r"Row #(\d+): Expected \d+ columns, got (\d+)", message):
        return f"{path}, row {match[1]}: {match[2]} columns, {hint}"
    if match := re.search(r"column #(\d+): Row #(\d+): .*invalid value '(.*)'", message, re.DOTALL):
        return f"{path}, row {match[2]}: {match[3][:40]!r} in column {int(match[1]) + 1} is not a number; correct it"
    return f"{path}: {message.splitlines()[0]}; expected rows of comma-separated numbers without a header"
