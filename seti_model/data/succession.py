"""Frames taken in quick succession show nearly the same thing: which of them are one group, from a table of times.

Neighbours in time that are at most a gap apart are one group, and so are theirs: a chain. A split that keeps groups
together then holds no near-duplicate of another split's image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from seti_model.data.sources.tables import read_table
from seti_model.errors import DatasetError

_NEEDED, _OPTIONAL = ("file", "time"), ("region",)
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
        DatasetError: As `read_table`; a time that is none, or a file that is there twice.
    """
    frames: dict[str, Frame] = {}
    for line, row in read_table(path, _NEEDED, _OPTIONAL, may_be_empty=[_OPTIONAL])[1]:
        place, file = f"{path}, line {line}", row["file"]
        if file in frames:
            raise DatasetError(f"{place}: {file[:_SHOWN]!r} is there twice; leave one row of it")
        frames[file] = Frame(file, _time(place, row["time"]), row.get("region", ""))
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


def _time(place: str, text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
        return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise DatasetError(
            f"{place}: {text[:_SHOWN]!r} is no time; write ISO 8601, for example 2011-02-15T01:44:00"
        ) from error
