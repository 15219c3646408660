"""JSON files of this package read as the type declared for them, by msgspec."""

from __future__ import annotations

import json
import re
import stat
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import msgspec

from seti_model.errors import DatasetError

MOST_BYTES = 2**26
T = TypeVar("T", bound="JsonFile")


class SchemaError(ValueError):
    """A file that does not fit: the message names file and key, what is expected and what was found."""


class JsonFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a JSON file holds; `VERSION` is the key that says its version, and the one that is read."""

    VERSION: ClassVar[tuple[str, int]]


def read_file(file: Path, cls: type[T]) -> T:
    """Read a JSON file.

    Raises:
        OSError: It is not there or cannot be read.
        SchemaError: It is no JSON, of another version, or a value is missing, unknown or of another type than declared.
    """
    status = file.stat()
    if stat.S_ISREG(status.st_mode) and status.st_size > MOST_BYTES:
        raise SchemaError(f"{file}: {status.st_size} bytes, at most {MOST_BYTES} are read")
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        raise SchemaError(f"{file}: a device, a pipe or a socket; a file is expected")
    try:
        values = msgspec.json.decode(file.read_bytes())
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"{file}: not JSON ({error})") from error
    key, version = cls.VERSION
    found = values.get(key) if isinstance(values, dict) else None
    if found != version:
        raise SchemaError(
            f"{file}: {key}: expected {version}, found {'nothing' if found is None else repr(found)[:60]}"
        )
    try:
        return msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        raise SchemaError(f"{file}: {_sentence(str(error), values)}") from error
    except DatasetError as error:
        raise SchemaError(f"{file}: {error}") from error


def _sentence(message: str, values: Any) -> str:
    """Return msgspec's message with the key first, and what was found there."""
    what, _, path = message.replace("`", "").partition(" - at $")
    for name, index in re.findall(r"\.(\w+)|\[(\d+)\]", path):
        values = values[name or int(index)]
    expected = what.partition(", got ")[0].replace("Expected ", "expected ")
    return f"{path.removeprefix('.')}: {expected}, found {json.dumps(values)[:60]}" if path else what
