"""Frames taken in quick succession show nearly the same thing: which of them are one group, from a table of times.

Neighbours in time that are at most a gap apart are one group, and so are theirs: a chain. A split that keeps groups
together then holds no near-duplicate of another split's image.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from seti_model.errors import DatasetError
from seti_model.files import require_file

MOST_BYTES = 2**26  # of a table
_FILE, _TIME, _REGION = "file", "time", "region"
_UNITS_S = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400}
_GAP = re.compile(r"(\d+(?:\.\d+)?)\s*(min|[smhd])")
_SHOWN = 60  # letters of a cell in a message


@dataclass(frozen=True)
class Frame:
    """A file, when it was taken, and what of the Sun or the sky it shows; an empty region is one of its own."""

    file: str
    time: datetime
    region: str = ""


def read_gap(text: str) -> timedelta:
    """Return a length of time such as `90s`, `30min`, `6h` or `2d`.

    Raises:
        DatasetError: It is none, or longer than a calendar.
    """
    found = _GAP.fullmatch(text.strip())
    seconds = float(found[1]) * _UNITS_S[found[2]] if found else math.nan
    if not 0 < seconds <= 1e9:
        raise DatasetError(
            f"--within {text[:_SHOWN]!r}: expected a length of time such as 90s, 30min, 6h or 2d; write one"
        )
    return timedelta(seconds=seconds)


def read_frames(path: Path) -> tuple[Frame, ...]:
    """Read a CSV table with columns `file` and `time`, perhaps `region`; times are ISO 8601, UTC where none is said.

    Raises:
        DatasetError: It is missing or no such table; a row without a file or a time, or a file that is there twice.
    """
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    frames: dict[str, Frame] = {}
    try:
        columns = rows.fieldnames or ()
        missing = [name for name in (_FILE, _TIME) if name not in columns]
        if missing:
            found = ", ".join(map(str, columns))[:_SHOWN]
            raise DatasetError(f"{path}: no column {missing[0]!r}, found {found!r}; the first row names file and time")
        for number, row in enumerate(rows, start=2):
            frame = _frame(f"{path}, row {number}", row)
            if frame.file in frames:
                raise DatasetError(f"{path}, row {number}: {frame.file[:_SHOWN]!r} is there twice; leave one row of it")
            frames[frame.file] = frame
    except csv.Error as error:
        raise DatasetError(f"{path}: cannot be read as CSV ({error}); save it as a table with commas") from error
    if not frames:
        raise DatasetError(f"{path}: no row below the names of the columns; add one for each file")
    return tuple(frames.values())


def groups_in_time(frames: Sequence[Frame], gap: timedelta) -> tuple[str, ...]:
    """Return the group of each frame: the region, if any, and the time of the first frame of its chain.

    Frames of different regions are never one group. A gap of exactly `gap` still joins.
    """
    groups = [""] * len(frames)
    order = sorted(range(len(frames)), key=lambda i: (frames[i].region, frames[i].time))
    before: Frame | None = None
    name = ""
    for index in order:
        frame = frames[index]
        if before is None or before.region != frame.region or frame.time - before.time > gap:
            name = f"{frame.region} {frame.time.isoformat()}".strip()
        groups[index], before = name, frame
    return tuple(groups)


def _text(path: Path) -> str:
    require_file(path, DatasetError)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{path}: larger than {MOST_BYTES / 1e6:.0f} MB, no table of files is; divide it")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path}: byte {error.start} is not UTF-8; save the table as UTF-8") from error


def _frame(place: str, row: dict[str, str | None]) -> Frame:
    file, time = ((row[name] or "").strip() for name in (_FILE, _TIME))
    if not file:
        raise DatasetError(f"{place}: no file; name one or remove the row")
    try:
        taken = datetime.fromisoformat(time)
        taken = taken.replace(tzinfo=UTC) if taken.tzinfo is None else taken.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DatasetError(
            f"{place}: {time[:_SHOWN]!r} is no time; write ISO 8601, for example 2011-02-15T01:44:00"
        ) from error
    return Frame(file, taken, (row.get(_REGION) or "").strip())
