"""TOML files that a user writes, read within limits: they hold a page of text, and nobody waits for more."""

from __future__ import annotations

import re
import stat
import tomllib
from pathlib import Path
from typing import Any

MOST_BYTES = 2**18
DEEPEST = 16  # tables and lists in one another
LARGEST = 2**63 - 1  # of whole numbers, either sign
# Nothing is looked at twice: each part is taken whole, and only where none has begun before.
_PART = r"""(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')"""
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
    if found := _LONG_KEY.search(text):
        line = text.count("\n", 0, found.start()) + 1
        raise ValueError(f"line {line}: a key of more than {DEEPEST} parts")
    try:
        values = tomllib.loads(text)
    except RecursionError as error:
        raise ValueError(f"nested deeper than {DEEPEST}") from error
    _require_moderate(values)
    return text, values


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
