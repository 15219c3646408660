"""One line of `events.jsonl` as an event and back: fast where a line is as it should be, with care where it is not."""

from __future__ import annotations

import dataclasses
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec

from results.errors import RecordError
from results.log.chain import KEY, LONGEST_LINE
from results.log.records import EVENTS, SCHEMA_VERSION, Event, StudyResumed, StudyStarted
from results.schema import SchemaError, parse_json, read, to_json

_SHOWN = 60  # letters of a value in a message
_RETIRED = {StudyStarted.kind: ("known",)}  # keys that earlier versions wrote and nothing reads any more


def to_line(event: Event) -> str:
    """Return the event as one line of JSON, without the line feed.

    A number that is not finite is written as null and named, with what it was, under `not_finite`.

    Raises:
        RecordError: A value that no reader would take.
    """
    line: dict[str, Any] = {"v": SCHEMA_VERSION, "kind": event.kind, "time": event.time}
    not_finite = {}
    for f in dataclasses.fields(event):
        value = getattr(event, f.name)
        if isinstance(value, float) and not math.isfinite(value):
            not_finite[f.name] = repr(value)
            line[f.name] = None
        elif value is not None or _is_required(f):
            line[f.name] = value
    if not_finite:
        line["not_finite"] = not_finite
    try:
        text = to_json(line, indent=None)
        from_line(text)
    except (SchemaError, RecordError) as error:
        raise RecordError(
            f"{event.kind}: cannot be recorded: {error}; correct that value where it comes from"
        ) from error
    if len(text) > LONGEST_LINE // 4:  # of a letter UTF-8 makes four bytes at most
        raise RecordError(
            f"{event.kind}: cannot be recorded: {len(text)} letters, at most {LONGEST_LINE // 4} are; shorten what it "
            "names"
        )
    return text


def from_line(line: bytes | str) -> Event:
    """Read one line.

    Raises:
        RecordError: No JSON object, another schema version, an unknown kind, an unknown or missing field, a value of
            another type than its field.
    """
    try:
        twin = _NAMED.decode(line)
        event: Event = msgspec.convert(twin, _TWINS[type(twin)], from_attributes=True)
        return event
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return _carefully(line)
    except SchemaError as error:
        raise RecordError(str(error)) from error


def _carefully(line: bytes | str) -> Event:
    """Read one line whatever it holds: the way that can say what does not fit.

    Raises:
        SchemaError: As `from_line`.
    """
    values = parse_json(line)
    if not isinstance(values, dict):
        raise SchemaError(
            f"expected an object, found {'a list' if isinstance(values, list) else repr(values)[:_SHOWN]}"
        )
    version, kind = values.pop("v", None), values.pop("kind", None)
    values.pop(KEY, None)
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise SchemaError(
            f"schema version {repr(version)[:_SHOWN]}, this seti-tune reads {SCHEMA_VERSION}; use the one that wrote it"
        )
    if not isinstance(kind, str) or kind not in EVENTS:
        raise SchemaError(f"kind: expected one of {', '.join(EVENTS)}, found {repr(kind)[:_SHOWN]}")
    for name in _RETIRED.get(kind, ()):
        values.pop(name, None)
    if "not_finite" in values:
        _restore_numbers(values)
    if "time" not in values:
        raise SchemaError(f"{kind}.time: missing")
    for name, value in values.items():
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise SchemaError(f"{name}: expected an integer of 64 bits, found {str(value)[:_SHOWN]}")
    return read(values, EVENTS[kind])


def _restore_numbers(values: dict[str, Any]) -> None:
    """Put the numbers that JSON cannot hold back to where null stands for them."""
    named = values.pop("not_finite")
    for name, text in read({"not_finite": named}, _NotFinite).not_finite.items():
        if values.get(name, 0) is not None:
            raise SchemaError(
                f"not_finite.{name}: expected null at {name}, found {repr(values.get(name, 'nothing'))[:_SHOWN]}"
            )
        values[name] = float(text)


@dataclass(frozen=True)
class _NotFinite:
    not_finite: Mapping[str, Literal["nan", "inf", "-inf"]]


def _is_required(f: dataclasses.Field[Any]) -> bool:
    return f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING


_Integer = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]  # JSON may hold any other
_BOUNDED: Mapping[Any, Any] = {int: _Integer, int | None: _Integer | None}


def _twin(cls: type[Event]) -> type[msgspec.Struct]:
    """Return a type with the keys of an event's line, of which it refuses others, as no dataclass does."""
    hints = {name: _BOUNDED.get(hint, hint) for name, hint in typing.get_type_hints(cls, include_extras=True).items()}
    keys: list[Any] = [("v", Literal[1]), (KEY, str, "")]
    for f in dataclasses.fields(cls):
        is_needed = _is_required(f) or f.name == "time"
        keys.append((f.name, hints[f.name]) if is_needed else (f.name, hints[f.name], None))
    return msgspec.defstruct(cls.kind, keys, tag_field="kind", tag=cls.kind, forbid_unknown_fields=True, kw_only=True)


# A log may hold a million lines, nearly all of them of these kinds and without a fault. They are read by the twin of
# their kind, which says that every key is known, and from it into the record, in half the time of reading with care.
_TWINS = {_twin(cls): cls for cls in EVENTS.values() if cls not in (StudyStarted, StudyResumed)}  # they hold records
_NAMED = msgspec.json.Decoder[Any](typing.Union[tuple(_TWINS)])  # noqa: UP007 - of types that are made here
