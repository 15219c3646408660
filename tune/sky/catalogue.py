"""The table of objects whose cut-outs are wanted: read whole and checked before anything is asked of a server."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from seti_model.data.sources.tables import read_table
from seti_model.errors import DatasetError

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
        DatasetError: As `read_table`; too many rows, an impossible position, or a row whose file would be that of
            another one.
    """
    rows = read_table(path, COLUMNS, ())[1]
    if len(rows) > MOST_OBJECTS:
        raise DatasetError(f"{path}: {len(rows)} objects, at most {MOST_OBJECTS} are fetched; divide it")
    targets: dict[str, Target] = {}
    for line, row in rows:
        place = f"{path}, line {line}"
        target = _target(place, row)
        other = targets.setdefault(target.file.casefold(), target)
        if other is not target:
            raise DatasetError(
                f"{place}: {target.name[:_SHOWN]!r} would have the same file as {other.name[:_SHOWN]!r}, "
                f"{target.file}; give it another name, or leave one of them out"
            )
    return tuple(targets.values())


def file_of(name: str) -> str:
    """Return the file of an object: a name for any system, of no option, no hidden file and no formula of a table."""
    stem = _NOT_IN_A_NAME.sub("_", name)[:_LONGEST_NAME]
    return f"_{stem}.fits" if stem.startswith((".", "-", "+")) else f"{stem}.fits"


def _target(place: str, row: Mapping[str, str]) -> Target:
    return Target(
        name=row["name"],
        ra_deg=_degrees(place, "ra", row["ra"], (0.0, 360.0)),
        dec_deg=_degrees(place, "dec", row["dec"], (-90.0, 90.0)),
        class_name=row["class"],
        file=file_of(row["name"]),
    )


def _degrees(place: str, column: str, text: str, limits: tuple[float, float]) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    low, high = limits
    if not low <= value <= high or (column == "ra" and value == high):
        below = "below " if column == "ra" else ""
        raise DatasetError(
            f"{place}: {column} {text[:_SHOWN]!r}, expected degrees from {low:g} to {below}{high:g} (J2000); convert "
            "hours and minutes to degrees"
        )
    return value
