"""A table of a run's trials: chosen, sorted and cut by what a user typed, as columns of text or as a frame."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import eq, ge, gt, le, lt, ne
from typing import TYPE_CHECKING, Any

from results.errors import TableError
from results.text import csv_cell, printable

if TYPE_CHECKING:
    import pandas as pd

Cell = bool | int | float | str | None
Row = Mapping[str, Cell]
NUMBER, FLAG, TEXT = "number", "true or false", "text"
_KINDS = {"int": NUMBER, "float": NUMBER, "bool": FLAG, "text": TEXT}
# Of what may hold anything nothing is inferred: pandas would make a float of the int 16 beside an empty cell.
_FRAME_TYPES = {"int": "Int64", "float": "Float64", "bool": "boolean", "text": "string", "any": "object"}
_OPERATORS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": ne,
    "<=": le,
    ">=": ge,
    "=": eq,
    "<": lt,
    ">": gt,
}
_CONDITION = re.compile(r"\s*([\w.]+)\s*(!=|<=|>=|=|<|>)\s*(.*?)\s*")
_BEST_FIRST = ("objective", "objective_low", "objective_high")


@dataclass(frozen=True)
class Table:
    """Rows in order; `types` names the columns and what they hold: int, float, bool, text or any."""

    types: Mapping[str, str]
    rows: tuple[Row, ...]

    def frame(self) -> pd.DataFrame:
        """Return it as a frame; columns that may lack a value have nullable types."""
        import pandas as pd  # not at the top: reading a record must not cost the import of pandas

        frame = pd.DataFrame(self.rows, columns=list(self.types), dtype="object")
        return frame.astype({name: _FRAME_TYPES[kind] for name, kind in self.types.items()})


def select(table: Table, *, where: Sequence[str] = (), sort: str | None = None, top: int | None = None) -> Table:
    """Return the rows that meet all conditions, sorted, the first `top` of them.

    Args:
        table: The whole.
        where: Conditions `NAME OP VALUE` with one of != <= >= = < >. A row without that value meets none.
        sort: `COLUMN`, `COLUMN:asc` or `COLUMN:desc`; ascending, but the objective with the best first. Equal rows
            keep their order, rows without a value come last.
        top: At most so many rows.

    Raises:
        TableError: An unknown or ambiguous name, no condition, a value that does not fit its column.
    """
    rows = list(table.rows)
    for condition in where:
        meets = _condition(table, condition)
        rows = [row for row in rows if meets(row)]
    if sort is not None:
        rows = _sorted(table, rows, sort)
    if top is not None and top < 1:
        raise TableError(f"--top {top}: at least 1 is expected; leave it out for all")
    return replace(table, rows=tuple(rows[:top]))


def find_column(table: Table, name: str) -> str:
    """Return the column of that name, or the only one whose dotted name ends in it.

    Raises:
        TableError: There is none, or more than one.
    """
    if name in table.types:
        return name
    ends = [column for column in table.types if column.endswith(f".{name}")]
    if len(ends) == 1:
        return ends[0]
    if ends:
        raise TableError(f"{name!r} is the end of {', '.join(ends)}; write the whole name")
    shorts = {column.rsplit(".", maxsplit=1)[-1] for column in table.types}
    close = difflib.get_close_matches(name, sorted({*table.types, *shorts}), n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise TableError(f"no column {name!r}; {hint}There are {', '.join(table.types)}")


def columns_text(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines of aligned columns without empty ones; heads wider than all their cells are broken in two."""
    heads, rows = list(map(printable, heads)), [list(map(printable, row)) for row in rows]
    filled = [i for i in range(len(heads)) if not rows or any(row[i] for row in rows)]
    heads, rows = [heads[i] for i in filled], [[row[i] for i in filled] for row in rows]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(len(heads))]
    broken = [_break(head, width) for head, width in zip(heads, widths, strict=True)]
    lines = [[upper for upper, _ in broken], [lower for _, lower in broken], *rows]
    if not any(lines[0]):
        lines = lines[1:]
    widths = [max(len(line[i]) for line in lines) for i in range(len(heads))]
    return ["  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines]


def cell_text(value: object) -> str:
    """Return a value as a table shows it: four significant digits, an empty text as "none", nothing without a value."""
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value) or "none"


def csv_text(frame: pd.DataFrame, *, has_header: bool = True) -> str:
    """Return a frame as CSV that a spreadsheet may open."""
    import pandas as pd

    texts = frame.select_dtypes(["object", "string"]).columns
    safe = frame.assign(**{str(name): pd.Series(map(csv_cell, frame[name]), frame.index, object) for name in texts})
    heads = [csv_cell(str(name)) for name in safe.columns] if has_header else False
    return str(safe.to_csv(index=False, header=heads))


def short_name(name: str) -> str:
    """Return the last part of a dotted parameter name."""
    return name.rsplit(".", maxsplit=1)[-1]


def _break(head: str, width: int) -> tuple[str, str]:
    places = [i + 1 for i, letter in enumerate(head) if letter in "_/ "]
    if len(head) <= width or not places:
        return "", head
    place = min(places, key=lambda i: max(i, len(head) - i))
    return head[:place].rstrip(), head[place:]


def _condition(table: Table, condition: str) -> Callable[[Row], bool]:
    match = _CONDITION.fullmatch(condition)
    if match is None or not match[3]:
        raise TableError(
            f"--where {condition!r}: NAME OP VALUE is expected, OP one of {' '.join(_OPERATORS)}; "
            "for instance --where 'learning_rate < 0.001'"
        )
    name, operator, text = find_column(table, match[1]), match[2], match[3]
    kind = _kind(table, name)
    if kind != NUMBER and operator not in ("=", "!="):
        raise TableError(
            f"--where {condition!r}: {name} holds {kind}, which is compared with = or != only; write one of them"
        )
    wanted = _value(text, kind)
    if wanted is None:
        raise TableError(f"--where {condition!r}: {name} holds {kind}, found {text!r}; write one")
    compare = _OPERATORS[operator]

    def meets(row: Row) -> bool:
        value = row[name]
        return value is not None and compare(str(value) if kind == TEXT else value, wanted)

    return meets


def _kind(table: Table, name: str) -> str:
    """Say what a column holds; that of a categorical parameter follows from its values."""
    if table.types[name] in _KINDS:
        return _KINDS[table.types[name]]
    values = [row[name] for row in table.rows if row[name] is not None]
    if values and all(isinstance(value, bool) for value in values):
        return FLAG
    if values and all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        return NUMBER
    return TEXT


def _value(text: str, kind: str) -> Cell:
    """Return what was typed as that kind, None where it is none."""
    if kind == TEXT:
        return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text
    if kind == FLAG:
        return {"true": True, "false": False}.get(text.lower())
    for number in (int, float):
        try:
            value = number(text)
        except ValueError:
            continue
        return value if value == value else None  # nan is no number to compare with
    return None


def _sorted(table: Table, rows: list[Row], sort: str) -> list[Row]:
    name, colon, direction = sort.partition(":")
    if direction not in (("asc", "desc") if colon else ("",)):
        raise TableError(f"--sort {sort!r}: COLUMN, COLUMN:asc or COLUMN:desc is expected; for instance --sort epochs")
    column = find_column(table, name)
    falling = direction == "desc" or (not direction and column in _BEST_FIRST)
    known = [row for row in rows if row[column] is not None]
    known.sort(key=lambda row: _order(row[column]), reverse=falling)
    return known + [row for row in rows if row[column] is None]


def _order(value: Cell) -> tuple[bool, float, str]:
    """Order numbers before texts, each by their own order."""
    return (True, 0.0, value) if isinstance(value, str) else (False, value or 0, "")
