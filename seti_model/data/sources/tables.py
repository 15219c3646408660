"""Tables: the one reader of all that are CSV with a header, and those that say class and group of images."""

from __future__ import annotations

import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from seti_model.data.dataset import MOST_IMAGES, SPLITS, Source, SplitData
from seti_model.data.sources.imported import Imported
from seti_model.errors import DatasetError
from seti_model.files import require_file

MOST_BYTES = 2**26  # of a table
_LONGEST = 1000  # letters of a cell
_ROW = re.compile(r"(?:(?P<file>.*), row )?(?P<row>\d{1,9})")
_COMMENT = re.compile(r"(^|\s)#.*")
_NAMED = 3  # lines that a message names
_GUARDED = re.compile(r"^'(?=[=+@\t\r-])")  # before what a spreadsheet would run, in tables that we write


@dataclass(frozen=True)
class LabelTable:
    """The rows of a table of labels, in their order: file relative to its folder, class, perhaps split and group."""

    path: Path
    files: tuple[str, ...]
    classes: tuple[str, ...]
    splits: tuple[str, ...] | None
    groups: tuple[str, ...] | None


def read_labels(path: Path) -> LabelTable:
    """Read a CSV file with a header: `file`, `class`, and perhaps `split` and `group`; other columns are not looked at.

    Raises:
        DatasetError: A missing file or column, an empty cell, a file twice, a path that leads out of the folder, or
            a split that is none of train, validation and test.
    """
    columns, rows = read_table(path, ("file", "class"), ("split", "group"))
    files = tuple(_inside(path, number, row["file"]) for number, row in rows)
    seen: set[str] = set()
    for (number, row), file in zip(rows, files, strict=True):
        if file in seen:
            raise DatasetError(f"{path}, line {number}: {file!r} for the second time; keep one of its rows")
        seen.add(file)
        if "split" in columns and row["split"] not in SPLITS:
            raise DatasetError(
                f"{path}, line {number}: split {row['split']!r}, expected {', '.join(SPLITS)}; correct it"
            )
    of = {name: tuple(row[name] for _, row in rows) for name in columns}
    return LabelTable(path, files, of["class"], of.get("split"), of.get("group"))


def with_groups(read: Imported, path: Path, root: Path) -> Imported:
    """Give each image the group that a CSV file with `file`, or `row`, or both, and `group` says.

    Args:
        read: Images, whose source is known.
        path: The table. A file is named relative to `root`; a row counts from 1 in its file.
        root: The folder of the images.

    Raises:
        DatasetError: As `read_labels`; an image without a row, or a row without an image.
    """
    columns, rows = read_table(path, ("group",), ("file", "row"))
    if read.data.groups is not None:
        raise DatasetError(f"{path}: the images have groups already, by their source; leave one of both out")
    if columns == ("group",):
        raise DatasetError(f"{path}: no column file or row, by which images are found; add one")
    if "file" not in columns and read.data.source is not None and len(read.data.source.files) > 1:
        raise DatasetError(f"{path}: no column file, and the images are many files; add it")
    keys = _keys(read.data, root, by_file="file" in columns, by_row="row" in columns)
    group_of: dict[tuple[str, str], str] = {}
    for number, row in rows:
        key = (_inside(path, number, row["file"]) if "file" in row else "", row.get("row", ""))
        if group_of.setdefault(key, row["group"]) != row["group"]:
            raise DatasetError(f"{path}, line {number}: another group for the same image; keep one of its rows")
    known = set(keys)
    if absent := [key for key in group_of if key not in known]:
        raise DatasetError(f"{path}: {_some(absent)} not among the images; take the rows out")
    if without := [key for key in keys if key not in group_of]:
        raise DatasetError(f"{path}: no row for {_some(without)}; give every image a group")
    groups = np.array([group_of[key] for key in keys], np.str_)
    return dataclasses.replace(read, data=dataclasses.replace(read.data, groups=groups))


def without_dropped(read: Imported, path: Path, root: Path) -> Imported:
    """Leave out the images that a text file names, a line each: a file, `FILE, row N`, or a row alone; `#` a comment.

    Raises:
        DatasetError: A missing file, or a line that names no image.
    """
    lines = [_COMMENT.sub("", line).strip() for line in _read_text(path).splitlines()]
    by_file = {key: row for row, key in enumerate(_keys(read.data, root, by_file=True, by_row=False))}
    by_row = {key: row for row, key in enumerate(_keys(read.data, root, by_file=False, by_row=True))}
    by_both = {key: row for row, key in enumerate(_keys(read.data, root, by_file=True, by_row=True))}
    source = read.data.source
    by_place = {} if source is None else {source.place(row): row for row in range(len(read.data.labels))}
    dropped: set[int] = set()
    several = len(by_file) > 1
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        found = by_place.get(line, by_file.get((line, "")) if several else None)
        if found is None and (match := _ROW.fullmatch(line)):
            named, row = match["file"], str(int(match["row"]))
            found = by_both.get((named, row)) if named else None if several else by_row.get(("", row))
        if found is None:
            raise DatasetError(f"{path}, line {number}: {line[:_LONGEST]!r} names no image; correct it or take it out")
        dropped.add(found)
    keep = np.array([row for row in range(len(read.data.labels)) if row not in dropped], np.intp)
    if not keep.size:
        raise DatasetError(f"{path}: names all {len(read.data.labels)} images; leave some")
    kept = {file for (file, _), row in by_file.items() if row not in dropped}
    of_files = {name: {file: n for file, n in counts.items() if file in kept} for name, counts in read.notes.items()}
    notes = {**of_files, "dropped": len(dropped)}
    split_of = None if read.split_of is None else read.split_of[keep]
    return dataclasses.replace(read, data=read.data.take(keep), split_of=split_of, notes=notes)


def read_table(
    path: Path, needed: Sequence[str], optional: Sequence[str], *, may_be_empty: Sequence[Sequence[str]] = ()
) -> tuple[tuple[str, ...], list[tuple[int, Mapping[str, str]]]]:
    """Read a CSV file with a header; columns that are not asked for are not looked at.

    Args:
        path: The file, UTF-8.
        needed: Columns that must be there.
        optional: Columns that may be there.
        may_be_empty: Those of them, in sets that belong together, whose cells may be empty.

    Returns:
        The columns that are there of those asked for, and (line, cells by column) of each row.

    Raises:
        DatasetError: A missing or oversized file, a missing column, or a row that does not fit the header.
    """
    reader = csv.reader(_read_text(path).splitlines(), strict=True)
    rows: list[tuple[int, Mapping[str, str]]] = []
    try:
        header = [name.strip() for name in next(reader, [])]
        columns = _columns(path, header, needed, optional)
        for cells in reader:
            if len(rows) == MOST_IMAGES:
                raise DatasetError(f"{path}: more than {MOST_IMAGES} rows; divide it")
            if any(cell.strip() for cell in cells):
                row = _row(f"{path}, line {reader.line_num}", header, cells, columns)
                rows.append((reader.line_num, row))
    except csv.Error as error:
        raise DatasetError(f"{path}, line {reader.line_num}: {error}; save it as a CSV file") from error
    if not rows:
        raise DatasetError(f"{path}: no rows below its header; add some")
    filled = set(columns) - {name for names in may_be_empty for name in names}
    for line, row in rows:
        if empty := [name for name in columns if name in filled and not row[name]]:
            raise DatasetError(f"{path}, line {line}: no {empty[0]}; fill it in")
    return columns, rows


def _keys(data: SplitData, root: Path, *, by_file: bool, by_row: bool) -> list[tuple[str, str]]:
    """Return how a table names each image: the file relative to `root`, the row from 1; empty where it does not say."""
    source = data.source or Source((), np.arange(len(data.labels)))
    one = len(source.files) == 1
    names = [file.relative_to(root).as_posix() if file.is_relative_to(root) else file.name for file in source.files]
    keys = []
    for row in source.rows.tolist():
        file = names[0 if one else row] if by_file and names else ""
        keys.append((file, str((row if one else 0) + 1) if by_row else ""))
    return keys


def _columns(path: Path, header: Sequence[str], needed: Sequence[str], optional: Sequence[str]) -> tuple[str, ...]:
    for name in (*needed, *(name for name in optional if name in header)):
        if header.count(name) != 1:
            raise DatasetError(
                f"{path}: {header.count(name)} columns {name!r} in its header, expected one; begin the file with "
                f"{','.join(needed)}"
            )
    return tuple(name for name in (*needed, *optional) if header.count(name) == 1)


def _row(place: str, header: Sequence[str], cells: Sequence[str], columns: Sequence[str]) -> Mapping[str, str]:
    if len(cells) != len(header):
        raise DatasetError(f"{place}: {len(cells)} columns, but its header has {len(header)}; correct it")
    row = {name: _GUARDED.sub("", cells[header.index(name)].strip(), count=1) for name in columns}
    for name, cell in row.items():
        if len(cell) > _LONGEST or not cell.isprintable():
            raise DatasetError(
                f"{place}: {name} {cell[:40]!r}, expected at most {_LONGEST} letters that can be shown; correct it"
            )
    return row


def _read_text(path: Path) -> str:
    require_file(path, DatasetError)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DatasetError(f"{path}: {path.stat().st_size} bytes, at most {MOST_BYTES} are read; make it shorter")
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError as error:
        raise DatasetError(f"{path}: no such file; check the path") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); ask for access or name another file") from error
    except ValueError as error:  # another encoding, or a path that cannot be
        raise DatasetError(f"{path}: is no text in UTF-8 ({error}); save it so") from error


def _inside(path: Path, line: int, name: str) -> str:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts:
        raise DatasetError(f"{path}, line {line}: {name!r} leads out of the folder; name files relative to it")
    return parts.as_posix()


def _some(keys: Sequence[tuple[str, str]]) -> str:
    words = [", ".join(part for part in (file, f"row {row}" if row else "") if part) for file, row in keys[:_NAMED]]
    more = f" and {len(keys) - _NAMED} more" if len(keys) > _NAMED else ""
    return f"{'; '.join(words)}{more}"
