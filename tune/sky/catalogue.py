"""The table of objects whose cut-outs are wanted: read whole and checked before anything is asked of a server."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from results.files import read_moderate
from tune.errors import FetchError

COLUMNS = ("name", "ra", "dec", "class")
MOST_OBJECTS = 1_000_000
_NOT_IN_A_NAME = re.compile(r"[^A-Za-z0-9+._-]+")
_LONGEST_NAME = 120
_SHOWN = 60  # letters of a cell in a message


@dataclass(frozen=True)
class Target:
    """One object: J2000 position in degrees, the class that is its label, and the name of its file."""

    name: str
    ra_deg: float
    dec_deg: float
    class_name: str
    file: str


def read_catalogue(path: Path) -> tuple[Target, ...]:
    """Read a CSV table with columns name, ra, dec (degrees, J2000) and class; other columns are left alone.

    Raises:
        FetchError: It is missing or no such table; a row without a name or a class, with an impossible position, or
            whose file would be that of another row.
    """
    targets: dict[str, Target] = {}
    rows = csv.DictReader(io.StringIO(_text(path), newline=""))
    try:
        missing = [name for name in COLUMNS if name not in (rows.fieldnames or ())]
        if missing:
            raise FetchError(f"{path}: no column {missing[0]!r}; the first row names name, ra, dec and class")
        for number, row in enumerate(rows, start=2):
            place = f"{path}, row {number}"
            target = _target(place, row)
            other = targets.setdefault(target.file.casefold(), target)
            if other is not target:
                raise FetchError(
                    f"{place}: {target.name[:_SHOWN]!r} would have the same file as {other.name[:_SHOWN]!r}, "
                    f"{target.file}; give it another name, or leave one of them out"
                )
            if len(targets) > MOST_OBJECTS:
                raise FetchError(f"{path}: more than {MOST_OBJECTS} objects; divide it")
    except csv.Error as error:
        raise FetchError(f"{path}: cannot be read as CSV ({error}); save it as a table with commas") from error
    if not targets:
        raise FetchError(f"{path}: no row below the names of the columns; add one for each object")
    return tuple(targets.values())


def _text(path: Path) -> str:
    try:
        return read_moderate(path).decode("utf-8-sig")
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise FetchError(f"{path}: byte {error.start} is not UTF-8; save the table as UTF-8") from error


def _target(place: str, row: Mapping[str, str | None]) -> Target:
    name, class_name = ((row[key] or "").strip() for key in ("name", "class"))
    for key, value in (("name", name), ("class", class_name)):
        if not value:
            raise FetchError(f"{place}: no {key}; give one or remove the row")
    return Target(
        name=name,
        ra_deg=_degrees(place, row, "ra", (0.0, 360.0)),
        dec_deg=_degrees(place, row, "dec", (-90.0, 90.0)),
        class_name=class_name,
        file=f"{_file_stem(name)}.fits",
    )


def _degrees(place: str, row: Mapping[str, str | None], key: str, limits: tuple[float, float]) -> float:
    text = (row[key] or "").strip()
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = limits
    if not low <= value <= high or (key == "ra" and value == high):
        below = "below " if key == "ra" else ""
        raise FetchError(
            f"{place}: {key} {text[:_SHOWN]!r}, expected degrees from {low:g} to {below}{high:g} (J2000); convert "
            "hours and minutes to degrees"
        )
    return value


def _file_stem(name: str) -> str:
    """Return a name as a file may have it on any system, and as no option and no hidden file is written."""
    stem = _NOT_IN_A_NAME.sub("_", name)[:_LONGEST_NAME]
    return f"_{stem}" if stem[0] in ".-" else stem
