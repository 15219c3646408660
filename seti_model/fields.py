"""What a field of the configuration may hold, and the checks that all sections share."""

from __future__ import annotations

from typing import Any

from seti_model.errors import ConfigError

Value = bool | int | float | str


def within(name: str, value: Any, low: float, high: float) -> None:
    """Refuse a value outside a range, and what is no number.

    Raises:
        ConfigError: It lies outside; the message names the field.
    """
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name}: {value!r} lies outside {low}..{high}; choose a value within")


def one_of(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a text that is none of the choices.

    Raises:
        ConfigError: It is none; the message names the field and lists them.
    """
    if value not in choices:
        raise ConfigError(f"{name}: {value!r} is unknown; choose one of {', '.join(choices)}")
