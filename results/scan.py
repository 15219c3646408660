"""What a scan found and how far it came: the records of its journal, and the tables that follow from them.

`journal.jsonl` is the only truth of a scan: a line of what it scans with, one for each file, and one for each block of
tiles with the candidates that were found in it. All else in the folder follows from it, and from the pictures.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from results.errors import RecordError
from results.log.chain import LONGEST_LINE
from results.schema import SchemaError, Value, parse_json, read, to_json
from results.text import csv_cell

JOURNAL, CANDIDATES, SUMMARY, PAGE, PICTURES = (
    *("journal.jsonl", "candidates.csv", "scan.json"),
    *("candidates.html", "pictures"),
)
FORMAT = 1
STREAM = "standard input"  # in place of a file


@dataclass(frozen=True)
class ScanBegun:
    """What a scan is made with: another one of these would find other candidates."""

    format: int
    model: str  # path
    model_digest: str
    class_names: tuple[str, ...]
    background: str
    threshold: float  # of the score, 1 - p(background)
    tiling: dict[str, Value | None]
    batch: int
    false_alarm: float | None = None  # None: the threshold was given
    series: dict[str, Value | None] | None = None  # of time series


@dataclass(frozen=True)
class ScannedFile:
    """A file as it was when its first block was read; its place among these lines is its number."""

    file: str
    n_channels: int
    dt_s: float | None
    first_frequency_mhz: float | None
    df_mhz: float | None
    start_mjd: float | None
    source_name: str


@dataclass(frozen=True)
class Candidate:
    """A tile that scores above the threshold; `time_s`, `mjd` and `frequency_mhz` are those of its middle.

    Where the line of a signal was found, the frequency is the line's, and the drift is known. None: not known.
    """

    file: str
    tile: int
    class_name: str
    probability: float  # of that class
    score: float  # 1 - p(background)
    time_s: float | None
    mjd: float | None
    frequency_mhz: float | None
    drift_hz_per_s: float | None
    low_frequency_mhz: float | None
    high_frequency_mhz: float | None
    duration_s: float | None
    picture: str | None = None  # relative to the folder


@dataclass(frozen=True)
class SkippedTile:
    """A tile that was not classified, and why."""

    tile: int
    why: str


@dataclass(frozen=True)
class ScannedBlock:
    """Tiles `first` to `first + tiles` - 1 of a file are done."""

    file: str
    first: int
    tiles: int
    skipped: tuple[SkippedTile, ...] = ()
    n_blank: int = 0  # values that were no numbers
    candidates: tuple[Candidate, ...] = ()


Line = ScanBegun | ScannedFile | ScannedBlock
_KINDS: Mapping[str, Any] = {"begun": ScanBegun, "file": ScannedFile, "block": ScannedBlock}
_NAMES = {cls: name for name, cls in _KINDS.items()}


def to_line(record: Line) -> bytes:
    """Return a record as one line of JSON.

    Raises:
        RecordError: A number that is not finite.
    """
    try:
        text = to_json({"kind": _NAMES[type(record)]} | _plain(record), indent=None)
    except SchemaError as error:
        raise RecordError(
            f"{type(record).__name__}: cannot be recorded: {error}; correct it where it comes from"
        ) from error
    return text.encode() + b"\n"


def _plain(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def read_journal(folder: Path) -> Iterator[Line]:
    """Yield the records of a scan in order, that of its begin first; a torn last line is ignored.

    Raises:
        RecordError: There is no journal, or a line other than a torn last one is damaged.
    """
    path = folder / JOURNAL
    if path.exists() and not path.is_file():
        raise RecordError(f"{path}: is no file, a journal is expected; restore it from a copy")
    try:
        file = path.open("rb")
    except FileNotFoundError as error:
        raise RecordError(
            f"{folder}: no folder of a scan ({JOURNAL} is missing); give one that a scan wrote"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); ask for access or restore it") from error
    with file:
        for number, line in enumerate(_whole_lines(path, file), start=1):
            try:
                record = _record(line)
                if isinstance(record, ScanBegun) != (number == 1):
                    raise SchemaError("the begin of a scan is the first line and no other")
            except SchemaError as error:
                raise RecordError(
                    f"{path}, line {number}: damaged: {error}; restore the file from a copy, or cut it off before this "
                    "line to continue from there"
                ) from error
            yield record


def _whole_lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    for line in iter(partial(file.readline, LONGEST_LINE), b""):
        if line[-1:] != b"\n":
            if len(line) == LONGEST_LINE:
                raise RecordError(f"{path}: a line is longer than {LONGEST_LINE} bytes; restore the file from a copy")
            return
        yield line


def _record(line: bytes) -> Line:
    values = parse_json(line)
    kind = values.pop("kind", None) if isinstance(values, dict) else None
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SchemaError(f"kind: expected one of {', '.join(_KINDS)}")
    record: Line = read(values, _KINDS[kind])
    if isinstance(record, ScanBegun) and record.format != FORMAT:
        raise SchemaError(f"format {record.format}, this seti-tune reads {FORMAT}; use the one that wrote it")
    return record


_COLUMNS = {
    "time_s": "{:.6f}",
    "mjd": "{:.9f}",
    "frequency_mhz": "{:.9f}",
    "drift_hz_per_s": "{:.6g}",
    "class_name": "{}",
    "probability": "{:.6f}",
    "score": "{:.6f}",
    "file": "{}",
    "tile": "{}",
    "low_frequency_mhz": "{:.9f}",
    "high_frequency_mhz": "{:.9f}",
    "duration_s": "{:.6f}",
    "picture": "{}",
}
HEAD = ",".join(name.removesuffix("_name") for name in _COLUMNS) + "\n"


def cells(candidate: Candidate) -> dict[str, str]:
    """Return what a table says of a candidate, by column; empty where it is not known."""
    values = {name: getattr(candidate, name) for name in _COLUMNS}
    return {name: "" if value is None else _COLUMNS[name].format(value) for name, value in values.items()}


def csv_lines(candidates: Iterable[Candidate]) -> str:
    """Return candidates as lines of `candidates.csv`, without its head."""
    text = io.StringIO(newline="")
    rows = ([csv_cell(cell) for cell in cells(candidate).values()] for candidate in candidates)
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def absolute(path: Path) -> str:
    """Return how a journal names a file: from the root on, so that one file has one name wherever a scan is started."""
    return os.path.abspath(path)  # noqa: PTH100 - links are not followed
