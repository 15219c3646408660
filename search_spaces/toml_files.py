"""TOML: files that a user writes, read within limits, as nobody waits for more than a page; and such a text written."""

from __future__ import annotations

import json
import math
import re
import stat
import tomllib
from collections.abc import Mapping
from numbers import Integral, Real
from pathlib import Path
from typing import Any

MOST_BYTES = 2**18
DEEPEST = 16  # tables and lists in one another
LARGEST = 2**63 - 1  # of whole numbers, either sign
# Nothing is looked at twice: each part is taken whole, and only where none has begun before.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LONG_KEY = re.compile(rf"(?<![\w.-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{DEEPEST},}}")


def read_toml(path: Path) -> tuple[str, dict[str, Any]]:
    """Return the text of a file and its values.

    Raises:
        OSError: It is not there or cannot be read.
        UnicodeDecodeError: It is not UTF-8.
        ValueError: No TOML, or too large, too deep or with too large a number; the message says which and where.
    """
    kind = path.stat()
    if stat.S_ISREG(kind.st_mode) and kind.st_size > MOST_BYTES:
        raise ValueError(f"{kind.st_size} bytes, at most {MOST_BYTES} are read")
    if not (stat.S_ISREG(kind.st_mode) or stat.S_ISDIR(kind.st_mode)):
        raise ValueError("a device, a pipe or a socket; a file is expected")
    text = path.read_text(encoding="utf-8")
    return text, parse_toml(text)


def parse_toml(text: str) -> dict[str, Any]:
    """Return the values of a text.

    Raises:
        ValueError: As in `read_toml`.
    """
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"line {line}: a key of more than {DEEPEST} parts")
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST}") from error
    _require_moderate(values)
    return values


def toml_text(values: Mapping[str, Any]) -> str:
    """Return values as TOML, each table on the first level as a section; paths are written as texts.

    Raises:
        ValueError: What TOML or a study has no value for, such as None; the message names the key.
    """
    single = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    blocks = ["".join(_assignment(name, value, name) for name, value in single.items())]
    blocks += [
        f"[{_key(name, name)}]\n"
        + "".join(_assignment(key, value, f"[{name}] {key}") for key, value in section.items())
        for name, section in values.items()
        if isinstance(section, Mapping)
    ]
    return "\n".join(filter(None, blocks))


def _assignment(name: object, value: object, where: str) -> str:
    return f"{_key(name, where)} = {_value(value, where, DEEPEST)}\n"


def _key(name: object, where: str) -> str:
    if not isinstance(name, str):
        raise ValueError(f"{where}: the key is {name!r}, a text is expected")
    return name if _BARE.fullmatch(name) else _quoted(name, where)


def _value(value: object, where: str, deepest: int) -> str:
    if not deepest:
        raise ValueError(f"{where}: nested deeper than {DEEPEST}")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return _quoted(str(value), where)
    if isinstance(value, Integral):  # NumPy's too
        return str(int(value))
    if isinstance(value, Real):
        return repr(float(value)) if math.isfinite(value) else f"{float(value):f}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(one, where, deepest - 1) for one in value)}]"
    if isinstance(value, Mapping):
        pairs = (f"{_key(key, where)} = {_value(one, where, deepest - 1)}" for key, one in value.items())
        return f"{{{', '.join(pairs)}}}"
    raise ValueError(f"{where} = {value!r:.60}: no value of TOML's")


def _quoted(text: str, where: str) -> str:
    if not text.isascii() and any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ValueError(f"{where}: {text!r:.60} is no text")
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _require_moderate(values: dict[str, Any]) -> None:
    waiting: list[tuple[Any, int]] = [(values, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > DEEPEST:
            raise ValueError(f"nested deeper than {DEEPEST}")
        if isinstance(value, dict):
            waiting += [(inner, depth + 1) for inner in value.values()]
        elif isinstance(value, list):
            waiting += [(inner, depth + 1) for inner in value]
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise ValueError(f"a whole number of {len(str(abs(value)))} digits, at most {LARGEST} is read")
