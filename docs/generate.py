"""Write the generated parts of these pages anew, from the sources themselves: `python docs/generate.py`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import itertools
import json
import typing
from collections.abc import Callable, Iterator, Mapping
from enum import Enum, EnumType
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal, Union

import msgspec

from results import receipt, study
from results.log import records
from seti_model import config

FOLDER = Path(__file__).parent
TYPES = {int: "integer", float: "number", str: "string", bool: "boolean", tuple: "list", Mapping: "object"}
CONFIGURATION = config.SECTIONS
HEADER = ("| key | type | default | meaning |", "|---|---|---|---|")


def generated(page: str) -> str:
    """Return the page with what stands between each pair of markers made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        if begin in page:
            before, _, rest = page.partition(begin)
            page = f"{before}{begin}{make()}\n{rest[rest.index(end) :]}"
    return page


def _events() -> str:
    return "\n\n".join(f"**`{kind}`**: {_described(cls)}" for kind, cls in records.EVENTS.items())


def _receipt() -> str:
    return "\n\n".join(f"**{cls.__name__}**: {_described(cls)}" for cls in (receipt.Receipt, receipt.Environment))


def _study_file() -> str:
    return "\n\n".join(f"## [{name}]\n\n{_words(cls)}\n\n{_table(cls)}" for name, cls in study.SECTIONS.items())


def _configuration() -> str:
    return "\n".join([*HEADER, *(row for name, cls in CONFIGURATION.items() for row in _rows(cls, f"{name}."))])


PARTS: Mapping[str, Callable[[], str]] = {
    "events": _events,
    "receipt": _receipt,
    "study file": _study_file,
    "configuration": _configuration,
}


def _table(cls: type) -> str:
    """Return a row a key and, below, which of them may have another value when a run goes on."""
    free = [f"`{key}`" for key, hint in _hints(cls) if study.MAY_CHANGE in getattr(hint, "__metadata__", ())]
    note = ["", f"May have another value when a run goes on: {', '.join(free)}."] if free else []
    return "\n".join([*HEADER, *_rows(cls, ""), *note])


def _rows(cls: type, prefix: str) -> Iterator[str]:
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    meanings = dict(_comments(cls))
    for name, hint in _hints(cls):
        shown = f"`{json.dumps(defaults[name])}`" if defaults[name] not in (None, "") else "none"
        yield f"| `{prefix}{name}` | {_type(hint)} | {shown} | {meanings[name]} |"


def _hints(cls: type) -> Iterator[tuple[str, Any]]:
    hints = typing.get_type_hints(cls, include_extras=True)
    yield from ((field.name, hints[field.name]) for field in dataclasses.fields(cls))


def _words(cls: type) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split())


def _described(cls: type) -> str:
    """Return what a record says of itself and, in a line of their own, its fields."""
    return f"{_words(cls)}\n<br>{' · '.join(_fields(cls))}"


def _fields(cls: type) -> Iterator[str]:
    comments = dict(_comments(cls))
    optional = {f.name for f in dataclasses.fields(cls) if (f.default, f.default_factory) != (dataclasses.MISSING,) * 2}
    for name, hint in _hints(cls):
        if name != "time":
            may_be_missing = "?" if name in optional else " or null" if type(None) in typing.get_args(hint) else ""
            comment = f" ({comments[name]})" if comments[name] else ""
            yield f"`{name}` {_type(hint)}{may_be_missing}{comment}"


def _comments(cls: type) -> Iterator[tuple[str, str]]:
    """Yield each field with the comment at the end of its line or, where there is none, in the lines above it."""
    for base in reversed(cls.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        source = inspect.getsource(base)
        lines = source.splitlines()
        for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                above = itertools.takewhile(lambda line: line.strip().startswith("# "), lines[node.lineno - 2 :: -1])
                at_end = lines[(node.end_lineno or 1) - 1].partition("  # ")[2]
                words = [at_end] if at_end else [line.strip().removeprefix("# ") for line in reversed([*above])]
                yield node.target.id, " ".join(words).strip()


def _type(hint: Any) -> str:
    """Return a type in words, with its least and largest value."""
    inner = [one for one in typing.get_args(hint) if one is not type(None)]
    origin = typing.get_origin(hint)
    if origin is Annotated or origin in (Union, UnionType):
        limits = [f"{sign} {limit:.7g}" for one in inner[1:] for sign, limit in _limits(one)]
        return ", ".join([_type(inner[0]), *limits])
    if origin is Literal or isinstance(hint, EnumType):
        words = ", ".join(f'"{one}"' for one in inner or typing.cast("type[Enum]", hint))
        return f"string ({words})"
    return TYPES.get(origin or hint, "object")


def _limits(mark: object) -> Iterator[tuple[str, float]]:
    if isinstance(mark, msgspec.Meta):
        signs = {"at least": mark.ge, "above": mark.gt, "at most": mark.le, "below": mark.lt}
        yield from ((sign, limit) for sign, limit in signs.items() if limit is not None and limit < study.FINITE)


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.md")):
        file.write_text(generated(file.read_text(encoding="utf-8")), encoding="utf-8")
