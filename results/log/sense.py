"""Events that a line may hold and no driver writes: refused as they are folded in, for all who go by them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from results.errors import RecordError
from results.log.records import SpaceRecord, StudyStarted
from results.schema import Value


def require_start(started: StudyStarted) -> None:
    """Refuse what no driver begins with.

    Raises:
        RecordError: No validation images, or as `require_space`.
    """
    if started.validation_images is not None and started.validation_images < 1:
        raise RecordError(f"validation_images: expected at least 1, found {started.validation_images}")
    if started.space is not None:
        require_space(started.space)


def require_space(space: SpaceRecord) -> None:
    """Refuse a space without types, or with bounds that are no numbers.

    Raises:
        RecordError: It is such a one.
    """
    parameters = space.get("parameters", {})
    if not isinstance(parameters, Mapping) or not all("type" in spec for spec in parameters.values()):
        raise RecordError("space: expected parameters, each with its type")
    for name, spec in parameters.items():
        bounds = [spec[key] for key in ("low", "high") if key in spec]
        if not all(_is_number(bound) for bound in bounds) or not isinstance(spec.get("choices", []), list):
            raise RecordError(f"space: {name[:40]!r}: expected numbers as bounds and a list of choices")


def require_point(space: Mapping[str, Any], point: Mapping[str, Value]) -> None:
    """Refuse values that the space cannot have: tables, pages and samplers take them as they are.

    Raises:
        RecordError: There is one.
    """
    parameters = space.get("parameters", {})
    for name, value in point.items():
        spec = parameters.get(name, {})
        is_fit = _is_number(value) if spec.get("type") in ("float", "int") else value in spec.get("choices", [value])
        if not is_fit:
            raise RecordError(f"{name[:40]!r}: {str(value)[:40]!r} is no value of the space")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
