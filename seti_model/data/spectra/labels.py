"""A table of labels for tiles: which class a file of spectra has, or the tile of it at some place."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from seti_model.data.dataset import SPLITS
from seti_model.data.sources.tables import read_table
from seti_model.data.spectra.filterbank import Header
from seti_model.errors import DatasetError

_PLACES = (("row", "channel"), ("start_time_s", "frequency_mhz"))
_SHOWN = 60  # letters of a cell


@dataclass(frozen=True)
class Label:
    """One row of the table; without a place it is for all tiles of its file that no other row is for."""

    where: str  # table and line, for messages
    file: str
    class_name: str
    split: str | None = None
    group: str | None = None
    place: tuple[float, float] | None = None  # row and channel from 0, or seconds from the start and MHz
    is_physical: bool = False  # the latter

    def row_and_channel(self, header: Header) -> tuple[int, int]:
        """Return the row and the channel that are meant.

        Raises:
            DatasetError: Times or frequencies of the file are not known, or the place lies beyond any file.
        """
        first, second = self.place or (0.0, 0.0)
        if self.is_physical:
            first, second = first / header.dt_s, (second - header.first_frequency_mhz) / header.df_mhz + 0.5
            if math.isnan(first + second):
                raise DatasetError(
                    f"{self.where}: times and frequencies of {header.path} are not known; give --sample-rate, or row "
                    "and channel in the table"
                )
        return math.floor(first), math.floor(second)


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read a table of labels: CSV with a header, columns `file` and `class`, and perhaps `split`, `group` and a place.

    Raises:
        DatasetError: As `read_table`, a place of which only half is there, or a row that is not as it should be.
    """
    columns, rows = read_table(path, ("file", "class"), ("split", "group", *chain(*_PLACES)), may_be_empty=_PLACES)
    for pair in _PLACES:
        if len(set(pair) & set(columns)) == 1:
            raise DatasetError(f"{path}: a place needs both columns, {pair[0]} and {pair[1]}; add the other one")
    return tuple(_label(f"{path}, line {line}", row) for line, row in rows)


def matched(labels: Sequence[Label], table: Path, files: Sequence[Path]) -> list[list[Label]]:
    """Return the labels of each file; a row names it as it was given, by its name alone, or beside the table.

    Raises:
        DatasetError: A row without a file, a file without a row, or a name that several files have.
    """
    known: dict[str, set[int]] = {}
    for number, file in enumerate(files):
        for name in (str(file), file.name, os.path.abspath(file)):  # noqa: PTH100 - links are not followed
            known.setdefault(name, set()).add(number)
    found: list[list[Label]] = [[] for _ in files]
    for label in labels:
        beside = os.path.abspath(table.parent / label.file)  # noqa: PTH100
        numbers = known.get(beside) or known.get(label.file) or set()
        if len(numbers) != 1:
            what = "is none of the files given" if not numbers else "is the name of several files"
            raise DatasetError(f"{label.where}: {label.file[:_SHOWN]!r} {what}; correct it, or name it with its folder")
        found[numbers.pop()].append(label)
    for file, some in zip(files, found, strict=True):
        if not some:
            raise DatasetError(f"{file}: has no row in {table}; add one or leave the file out")
    return found


def _label(where: str, row: Mapping[str, str]) -> Label:
    if row.get("split", SPLITS[0]) not in SPLITS:
        raise DatasetError(f"{where}: split {row['split'][:_SHOWN]!r}; choose one of {', '.join(SPLITS)}")
    given = [pair for pair in _PLACES if any(row.get(name) for name in pair)]
    if len(given) > 1:
        raise DatasetError(f"{where}: row and channel, and time and frequency; leave one of them out")
    place = (_number(where, row, given[0][0]), _number(where, row, given[0][1])) if given else None
    return Label(
        where=where,
        file=row["file"],
        class_name=row["class"],
        split=row.get("split"),
        group=row.get("group"),
        place=place,
        is_physical=given == [_PLACES[1]],
    )


def _number(where: str, row: Mapping[str, str], name: str) -> float:
    try:
        value = float(row[name])
    except ValueError:
        value = math.nan
    if not abs(value) < 2**53:
        raise DatasetError(f"{where}: {name} is {row[name][:_SHOWN]!r}, a number is expected; correct it")
    return value
