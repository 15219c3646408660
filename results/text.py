"""Anybody's text where it leaves us: names and reasons come from files, paths and exceptions of all kinds."""

from __future__ import annotations

import re
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


def printable(text: str) -> str:
    """Return a text for a terminal: escape sequences, line feeds and lone surrogates are written out as escapes."""
    return text if text.isprintable() else "".join(map(_shown, text))


def one_line(text: str) -> str:
    """Return a text with spaces for line feeds and control characters, for where it may be long."""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())


def csv_cell(value: Any) -> Any:
    """Return a value as it may stand in a CSV: what a spreadsheet would run as a formula has an apostrophe before it.

    Source: CWE-1236.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _NUMBER.fullmatch(value):
        return value
    return f"'{value}"


def _shown(letter: str) -> str:
    return letter if letter.isprintable() else letter.encode("unicode_escape", "surrogatepass").decode()
