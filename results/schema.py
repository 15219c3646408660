"""Plain values read as the type declared for them, by msgspec; what does not fit is said in one sentence.

`seti_model/schema.py` does the same for the two files of that package: neither may import the other.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import re
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
Value = bool | int | float | str  # what TOML and JSON hold singly
_WORDS = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "true or false",
    "null": "null",
    "object": "an object",
    "array": "a list",
    "bool | int | float | str": "a single value",
}
_LIMITS = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}
_PLAIN = {type(None): "null", dict: "object", list: "array", tuple: "array"}
_SURROGATE = re.compile("[\ud800-\udfff]")
_SHOWN = 60  # characters of a value in a message


class SchemaError(ValueError):
    """Values that do not fit: the message names the key, what is expected and what was found."""


def read(values: Any, cls: type[T]) -> T:
    """Return plain values, of JSON or TOML, as an instance of a declared type; nothing is converted but 1 to 1.0.

    Raises:
        SchemaError: A value of another type or outside its range, an unknown or a missing key.
    """
    try:
        made = msgspec.convert(values, cls)
    except msgspec.ValidationError as error:
        raise SchemaError(_sentence(str(error), values, cls)) from error
    names, nested = _shape(cls)
    if nested or (names and not values.keys() <= names.keys()):
        _refuse_unknown(values, made, "")
    return made


def read_json(text: bytes | str, cls: type[T]) -> T:
    """Return a JSON document as an instance of a declared type.

    Raises:
        SchemaError: It is no JSON, or as in `read`.
    """
    return read(parse_json(text), cls)


def parse_json(text: bytes | str) -> Any:
    """Return the plain values of a JSON document.

    Raises:
        SchemaError: It is no JSON.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise SchemaError(f"not JSON ({error})") from error


def to_json(record: object, *, indent: int | None = 1) -> str:
    """Return a record, or plain values that hold records, as JSON, on one line where `indent` is None.

    Raises:
        SchemaError: It holds a number that is not finite, or what JSON has no word for.
    """
    separators = (",", ":") if indent is None else None
    try:
        text = json.dumps(
            record, indent=indent, separators=separators, allow_nan=False, ensure_ascii=False, default=_fields
        )
        return _SURROGATE.sub(lambda half: f"\\\\u{ord(half[0]):04x}", text)  # of a path that is no text: written out
    except (TypeError, ValueError) as error:
        raise SchemaError(str(error)) from error


def _fields(record: Any) -> dict[str, Any]:
    if not dataclasses.is_dataclass(record):
        raise TypeError(f"Object of type {type(record).__name__} is not JSON serializable")
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


def _refuse_unknown(given: Mapping[str, Any], made: Any, where: str) -> None:
    names, nested = _shape(made.__class__)
    if not given.keys() <= names.keys():
        key = min(given.keys() - names.keys())
        raise SchemaError(f"{where}{key}: unknown; known are {', '.join(names)}")
    for name in nested:
        inner, record = given.get(name), getattr(made, name)
        pairs = zip(inner, record, strict=True) if isinstance(inner, list) else [(inner, record)]
        for one, its in pairs:
            if isinstance(one, Mapping):
                _refuse_unknown(one, its, f"{where}{name}.")


def _shape_of(cls: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the fields of a dataclass with their types, and which of them hold further dataclasses; none of others.

    Keys that earlier versions wrote and nothing reads any more, its `FORMER`, count as known.
    """
    if not dataclasses.is_dataclass(cls):
        return {}, ()
    hints = typing.get_type_hints(cls)
    names = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    nested = tuple(name for name, hint in names.items() if any(map(dataclasses.is_dataclass, _parts(hint))))
    return names | dict.fromkeys(getattr(cls, "FORMER", ())), nested


_shape: Callable[[Any], tuple[dict[str, Any], tuple[str, ...]]] = functools.cache(_shape_of)


def _parts(hint: Any) -> Iterator[Any]:
    """Yield a type and the types that it is made of."""
    yield hint
    for inner in typing.get_args(hint):
        yield from _parts(inner)


def _sentence(message: str, values: object, cls: Any) -> str:
    """Return msgspec's message as key, expectation and what was found."""
    what, _, path = message.partition(" - at `$")
    steps = re.findall(r"\.(\w+)|\[([^\]]+)\]", path.removesuffix("`"))
    expected, _, got = what.removeprefix("Expected `").partition("`, got `")
    where, found, hint = _find(values, [name or index for name, index in steps], got.removesuffix("`"), cls)
    key = f"{where}: " if where else ""
    if what.startswith("Object missing required field `"):
        return f"{where}{'.' if where else ''}{what.split('`')[1]}: missing"
    if got:
        words = _WORDS.get(expected) or " or ".join(_WORDS.get(one, one) for one in expected.split(" | "))
    elif limit := re.fullmatch(r"Expected `\w+` ([<>]=?) (.+)", what):
        words = f"{_LIMITS[limit[1]]} {limit[2].removesuffix('.0')}"
    elif what.startswith("Invalid enum value"):
        words = "one of " + ", ".join(map(str, _choices(hint)))
    else:
        return key + what
    return f"{key}expected {words}, found {_short(found)}"


def _find(values: object, steps: list[str], got: str, hint: Any, where: str = "") -> tuple[str, object, Any]:
    """Follow a path to where a value of the type `got` is; msgspec does not say which key of a mapping it means."""
    if not steps:
        return where, values, hint
    step, rest = steps[0], steps[1:]
    inner = [one for one in _parts(hint) if dataclasses.is_dataclass(one)]
    if step.isdigit() and isinstance(values, list):
        return _find(values[int(step)], rest, got, hint, f"{where}[{step}]")
    if step != "..." and isinstance(values, Mapping):
        hints = _shape(inner[0])[0] if inner else {}
        return _find(values[step], rest, got, hints.get(step), f"{where}.{step}" if where else step)
    found: tuple[str, object, Any] = (where, values, hint)
    for key, value in values.items() if isinstance(values, Mapping) else ():
        found = _find(value, rest, got, hint, f"{where}[{key!r}]" if where else repr(key))
        if _PLAIN.get(type(found[1]), type(found[1]).__name__) == got:
            return found
    return found


def _choices(hint: Any) -> Iterator[Any]:
    for part in _parts(hint):
        if typing.get_origin(part) is typing.Literal:
            yield from typing.get_args(part)
        elif isinstance(part, enum.EnumType):
            yield from typing.cast("type[enum.Enum]", part)


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
