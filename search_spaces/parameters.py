"""The three kinds of parameter a space may hold, each checked once, and their conditions."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, cast

Value = bool | int | float | str
# An Optuna float distribution accepts values within this many steps of low + k * step.
STEP_TOLERANCE = 1e-8
_MOST_STEPS = 10**9  # of a range: with more of them a number has not the digits to tell them apart


class SpaceError(Exception):
    """A space or a configuration that cannot be used: the message names the place, the value and the next step."""

    exit_code = 2  # of a command that ends with it


@dataclass(frozen=True)
class Condition:
    """True where the parameter called `parameter` is active and has one of `values`."""

    parameter: str
    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.values, tuple) or not self.values:
            raise SpaceError(f"when {self.parameter!r}: expected a list of at least one value, e.g. [3, 4]")


@dataclass(frozen=True)
class Float:
    """A real number in `low..high`, both included.

    With `log` the logarithm is drawn uniformly; with `step` only `low + k * step` is possible, as in Optuna.

    Raises:
        SpaceError: Bounds not finite, empty or reversed, `log` at or below zero or together with `step`,
            a step that does not divide the range, no reason.
    """

    name: str
    low: float
    high: float
    log: bool = False
    step: float | None = None
    when: tuple[Condition, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        _check_common(self)
        for key in ("low", "high", "step"):
            value = getattr(self, key)
            if key != "step" or value is not None:
                object.__setattr__(self, key, _finite(self, key, value))
        _check_range(self, self.log, self.step)

    @property
    def value_type(self) -> type:
        """The type of its values."""
        return float

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        grid = f" in steps of {self.step} from {self.low}" if self.step is not None else ""
        return f"a number in {self.low}..{self.high}{grid}"

    def contains(self, value: object) -> bool:
        """Return whether `value` is possible; an int counts as a number, a bool does not."""
        if isinstance(value, bool) or not isinstance(value, int | float) or not self.low <= value <= self.high:
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return abs(steps - round(steps)) < STEP_TOLERANCE

    def sample(self, rng: random.Random) -> float:
        """Draw one value."""
        if self.step is not None:
            steps = rng.randint(0, round((self.high - self.low) / self.step))
            return min(self.low + steps * self.step, self.high)
        if self.log:
            value = math.exp(rng.uniform(math.log(self.low), math.log(self.high)))
            return min(max(value, self.low), self.high)  # exp(log(low)) may fall below low by rounding
        return rng.uniform(self.low, self.high)

    def to_mapping(self) -> dict[str, Any]:
        """Return the declaration as TOML and JSON can hold it, without the name."""
        step = {} if self.step is None else {"step": self.step}
        return {"type": "float", "low": self.low, "high": self.high, "log": self.log, **step, **_common(self)}


@dataclass(frozen=True)
class Int:
    """An integer `low + k * step` in `low..high`, both included; with `log` drawn uniformly in the logarithm.

    Raises:
        SpaceError: As for `Float`, and bounds or a step that are no integers.
    """

    name: str
    low: int
    high: int
    log: bool = False
    step: int = 1
    when: tuple[Condition, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        _check_common(self)
        for key in ("low", "high", "step"):
            if type(getattr(self, key)) is not int:
                raise _error(
                    self, f"{key}={getattr(self, key)!r} must be an integer", "round it, or write type = 'float'"
                )
        _check_range(self, self.log, None if self.step == 1 else self.step)

    @property
    def value_type(self) -> type:
        """The type of its values."""
        return int

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        grid = f" in steps of {self.step} from {self.low}" if self.step != 1 else ""
        return f"an integer in {self.low}..{self.high}{grid}"

    def contains(self, value: object) -> bool:
        """Return whether `value` is possible; neither a bool nor a float is an integer here."""
        return type(value) is int and self.low <= value <= self.high and (value - self.low) % self.step == 0

    def sample(self, rng: random.Random) -> int:
        """Draw one value."""
        if self.log:
            value = round(math.exp(rng.uniform(math.log(self.low - 0.5), math.log(self.high + 0.5))))
            return min(max(value, self.low), self.high)
        return self.low + self.step * rng.randint(0, (self.high - self.low) // self.step)

    def to_mapping(self) -> dict[str, Any]:
        """Return the declaration as TOML and JSON can hold it, without the name."""
        numbers = {"low": self.low, "high": self.high, "log": self.log, "step": self.step}
        return {"type": "int", **numbers, **_common(self)}


@dataclass(frozen=True)
class Categorical:
    """One of several values of one type, without an order.

    Raises:
        SpaceError: Fewer than two choices, a choice twice, choices of several types or not finite, no reason.
    """

    name: str
    choices: tuple[Value, ...]
    when: tuple[Condition, ...] = ()
    reason: str = ""

    def __post_init__(self) -> None:
        _check_common(self)
        if not isinstance(self.choices, tuple) or len(self.choices) < 2:
            raise _error(self, f"choices={self.choices!r}: at least two are expected", "one value belongs into [fixed]")
        kinds = {type(choice) for choice in self.choices}
        if len(kinds) > 1 or not kinds <= {bool, int, float, str}:
            found = ", ".join(sorted(kind.__name__ for kind in kinds))
            raise _error(self, f"choices are of type {found}", "write all as one of bool, int, float, string")
        if any(isinstance(choice, float) and not math.isfinite(choice) for choice in self.choices):
            raise _error(self, f"choices={list(self.choices)!r} must be finite", "remove nan and inf")
        if any(isinstance(choice, str) and not choice.isprintable() for choice in self.choices):
            raise _error(self, f"choices={list(self.choices)!r} have letters that cannot be shown", "leave them out")
        twice = sorted({str(choice) for choice in self.choices if self.choices.count(choice) > 1})
        if twice:
            raise _error(self, f"the choice {twice[0]} is listed twice", "remove one")

    @property
    def value_type(self) -> type:
        """The type of its values."""
        return type(self.choices[0])

    @property
    def expected(self) -> str:
        """What a value must be, in words."""
        return f"one of {', '.join(map(repr, self.choices))}"

    def contains(self, value: object) -> bool:
        """Return whether `value` is one of the choices, of the same type: True is not 1."""
        return type(value) is self.value_type and value in self.choices

    def sample(self, rng: random.Random) -> Value:
        """Draw one value."""
        return rng.choice(self.choices)

    def to_mapping(self) -> dict[str, Any]:
        """Return the declaration as TOML and JSON can hold it, without the name."""
        return {"type": "categorical", "choices": list(self.choices), **_common(self)}


Parameter = Float | Int | Categorical
_KINDS: Mapping[str, tuple[Callable[..., Parameter], tuple[str, ...], tuple[str, ...]]] = {
    "float": (Float, ("low", "high"), ("log", "step")),
    "int": (Int, ("low", "high"), ("log", "step")),
    "categorical": (Categorical, ("choices",), ()),
}


def parameter_from_mapping(name: str, declaration: object) -> Parameter:
    """Build a parameter from its declaration in a space file, the inverse of `to_mapping`.

    Raises:
        SpaceError: Unknown type, unknown or missing keys, or values the parameter refuses.
    """
    place = f"parameter {name!r}"
    if not isinstance(declaration, Mapping):
        raise SpaceError(f"{place}: {declaration!r} is no table; write [parameters.{name!r}] with type, low, high, …")
    values = dict(declaration)
    nested = [key for key, value in values.items() if isinstance(value, Mapping) and key != "when"]
    if nested and "type" not in values:
        raise SpaceError(
            f'{place}: {nested[0]!r} is a table; put the name in quotes: [parameters."{name}.{nested[0]}"]'
        )
    kind = values.pop("type", None)
    if not isinstance(kind, str) or kind not in _KINDS:
        raise SpaceError(f"{place}: type={kind!r} is unknown; choose one of {', '.join(_KINDS)}")
    build, required, optional = _KINDS[kind]
    required = (*required, "reason")
    missing = [key for key in required if key not in values]
    if missing:
        raise SpaceError(
            f"{place}: {', '.join(missing)} missing; a parameter of type {kind} needs {', '.join(required)}"
        )
    known = (*required, *optional, "when")
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise SpaceError(f"{place}: unknown key {unknown[0]!r}; known: type, {', '.join(known)}")
    values["when"] = _conditions(place, values.get("when", {}))
    if isinstance(values.get("choices"), list):
        values["choices"] = tuple(values["choices"])
    return build(name=name, **values)


def _conditions(place: str, when: object) -> tuple[Condition, ...]:
    if not isinstance(when, Mapping) or not all(isinstance(values, list) and values for values in when.values()):
        raise SpaceError(f'{place}: when={when!r} is not understood; write e.g. when = {{ "network.blocks" = [3, 4] }}')
    return tuple(Condition(parameter, tuple(values)) for parameter, values in when.items())


def _common(parameter: Parameter) -> dict[str, Any]:
    when = {condition.parameter: list(condition.values) for condition in parameter.when}
    return {**({"when": when} if when else {}), "reason": parameter.reason}


def _error(parameter: Parameter, problem: str, remedy: str) -> SpaceError:
    return SpaceError(f"parameter {parameter.name!r}: {problem}; {remedy}")


def _check_common(parameter: Parameter) -> None:
    name, reason, when = cast(Sequence[Any], (parameter.name, parameter.reason, parameter.when))
    if not isinstance(name, str) or not name:
        raise _error(parameter, "the name must be a string", "use a field of the configuration")
    if not name.isprintable():
        raise _error(parameter, "the name has characters that cannot be shown", "use a field of the configuration")
    if not isinstance(reason, str) or not reason.strip():
        raise _error(parameter, "the reason is missing", "say in a sentence why it varies and over this range")
    if not isinstance(when, tuple) or not all(isinstance(condition, Condition) for condition in when):
        raise _error(parameter, f"when={when!r} is no tuple of conditions", "write Condition(parameter, values)")


def _finite(parameter: Parameter, key: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _error(parameter, f"{key}={value!r} must be a number", "write it without quotes")
    if not math.isfinite(value):
        raise _error(parameter, f"{key}={value!r} must be finite", "give the largest or smallest value worth trying")
    return float(value)


def _check_range(parameter: Float | Int, log: object, step: float | None) -> None:
    low, high = parameter.low, parameter.high
    if not isinstance(log, bool):
        raise _error(parameter, f"log={log!r} must be true or false", "write it without quotes")
    if low == high:
        raise _error(parameter, f"low=high={low!r} leaves nothing to search", "put the value into [fixed] instead")
    if low > high:
        raise _error(parameter, f"low={low!r} must be below high={high!r}", "swap them")
    if log and low <= 0:
        raise _error(parameter, f"log needs low above 0, found low={low!r}", "raise low or remove log")
    if parameter.step is not None and parameter.step <= 0:
        raise _error(parameter, f"step={parameter.step!r} must be above 0", "remove it or make it positive")
    if step is None:
        return
    if log:
        raise _error(parameter, f"log together with step={step!r} is not possible", "remove one of them")
    # In decimals as written, so that 0.5 is divisible by 0.05; Optuna judges in the same way.
    width, written = Decimal(str(high)) - Decimal(str(low)), Decimal(str(step))
    if width / written > _MOST_STEPS:
        raise _error(parameter, f"step={step!r} makes more than {_MOST_STEPS} values", "remove it or make it larger")
    if written > width or width % written != 0:
        last = float(low) + float(width // written) * float(step)
        fitting = f"high={type(high)(last)!r}" if written <= width else f"a step of at most {type(high)(width)!r}"
        raise _error(parameter, f"step={step!r} does not divide the range {low!r}..{high!r}", f"use {fitting}")
