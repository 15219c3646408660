"""A search space: its parameters with their conditions, read from TOML, validated, sampled and fingerprinted."""

from __future__ import annotations

import difflib
import hashlib
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from search_spaces.parameters import Float, Parameter, SpaceError, Value, parameter_from_mapping
from search_spaces.toml_files import read_toml

_SHIPPED = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Space:
    """Parameters in the order of declaration; a condition refers to an earlier one.

    Raises:
        SpaceError: No parameter, a name twice, a condition on a parameter that is not declared before or on
            a value that parameter cannot have.
    """

    name: str
    description: str
    parameters: tuple[Parameter, ...]

    def __post_init__(self) -> None:
        for key in ("name", "description"):
            value = getattr(self, key)
            if not isinstance(value, str) or not value.strip():
                raise SpaceError(f'space {self.name!r}: {key}={value!r} must be a text; write {key} = "…"')
        if not self.parameters:
            raise SpaceError(f"space {self.name!r}: there is no parameter; declare at least one")
        declared: dict[str, Parameter] = {}
        for parameter in self.parameters:
            if parameter.name in declared:
                raise SpaceError(f"space {self.name!r}, parameter {parameter.name!r}: declared twice; remove one")
            self._check_conditions(parameter, declared)
            declared[parameter.name] = parameter

    @classmethod
    def from_mapping(cls, mapping: Mapping[str, Any]) -> Space:
        """Build a space from `name`, `description` and `parameters`, the inverse of `to_mapping`.

        Raises:
            SpaceError: Unknown or missing keys, or a declaration that is refused.
        """
        known = ("name", "description", "parameters")
        missing = [key for key in known if key not in mapping]
        unknown = sorted(set(mapping) - set(known))
        if missing or unknown:
            problem = f"{', '.join(missing)} missing" if missing else f"unknown key {unknown[0]!r}"
            raise SpaceError(f"{problem}; a space has {', '.join(known)}")
        declarations = mapping["parameters"]
        if not isinstance(declarations, Mapping):
            raise SpaceError(f'parameters={declarations!r} is no table; write [parameters."network.filters_1"]')
        parameters = tuple(parameter_from_mapping(name, item) for name, item in declarations.items())
        return cls(mapping["name"], mapping["description"], parameters)

    def to_mapping(self) -> dict[str, Any]:
        """Return the space as TOML and JSON can hold it."""
        parameters = {parameter.name: parameter.to_mapping() for parameter in self.parameters}
        return {"name": self.name, "description": self.description, "parameters": parameters}

    @property
    def fingerprint(self) -> str:
        """SHA-256 over names, types, ranges, steps and conditions, in hexadecimal.

        Equal fingerprints mean the same search; names and reasons for the reader do not count. The order of
        declaration does: a sampler draws in it, so another order proposes other configurations from one seed.
        """
        canonical = [(parameter.name, {**parameter.to_mapping(), "reason": None}) for parameter in self.parameters]
        text = json.dumps(canonical, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
        return hashlib.sha256(text.encode("ascii")).hexdigest()

    def active(self, values: Mapping[str, Value]) -> tuple[Parameter, ...]:
        """Return the parameters whose conditions hold for the values chosen so far, in order of declaration.

        A condition on a parameter that is inactive, or not chosen yet, does not hold.
        """
        names: set[str] = set()
        found = []
        for parameter in self.parameters:
            if all(
                condition.parameter in names and values.get(condition.parameter) in condition.values
                for condition in parameter.when
            ):
                names.add(parameter.name)
                found.append(parameter)
        return tuple(found)

    def is_active(self, name: str, values: Mapping[str, Value]) -> bool:
        """Return whether the parameter called `name` has a value in a configuration that begins with `values`.

        Asked in the order of declaration this is the loop of a searcher: ask, choose, ask for the next.
        """
        return any(parameter.name == name for parameter in self.active(values))

    def restrict(self, values: Mapping[str, Value]) -> dict[str, Value]:
        """Return the active parameters' part of a configuration that has more fields, e.g. of the baseline.

        Raises:
            SpaceError: What remains is no point of the space.
        """
        known = {parameter.name: values[parameter.name] for parameter in self.parameters if parameter.name in values}
        names = {parameter.name for parameter in self.active(known)}
        chosen = {name: value for name, value in known.items() if name in names}
        self.validate(chosen)
        return chosen

    def validate(self, values: Mapping[str, Value]) -> None:
        """Refuse what is no point of the space.

        Raises:
            SpaceError: An unknown parameter, a value out of range, an active parameter without a value, or a
                value for an inactive one.
        """
        declared = {parameter.name: parameter for parameter in self.parameters}
        for name, value in values.items():
            if name not in declared:
                raise SpaceError(f"space {self.name!r}: {name!r} is no parameter of it; known: {', '.join(declared)}")
            if not declared[name].contains(value):
                raise self._error(name, f"{value!r} is not {declared[name].expected}; choose a value within")
        active = {parameter.name for parameter in self.active(values)}
        for name in declared:
            if name in active and name not in values:
                raise self._error(name, f"no value, expected {declared[name].expected}; give one")
            if name in values and name not in active:
                needed = " and ".join(f"{c.parameter} in {list(c.values)}" for c in declared[name].when)
                raise self._error(name, f"{values[name]!r} given, but it counts only where {needed}; leave it out")

    def sample(self, rng: random.Random) -> dict[str, Value]:
        """Draw one configuration: every active parameter independently, in order of declaration."""
        values: dict[str, Value] = {}
        for parameter in self.parameters:
            if self.is_active(parameter.name, values):
                values[parameter.name] = parameter.sample(rng)
        return values

    def check_fields(self, field_types: Mapping[str, type]) -> None:
        """Refuse a parameter that a configuration cannot take.

        Args:
            field_types: The type of every field of the configuration by its full name.

        Raises:
            SpaceError: A parameter that is no field, or whose values are of another type than the field's.
        """
        for parameter in self.parameters:
            expected = field_types.get(parameter.name)
            if expected is None:
                near = difflib.get_close_matches(parameter.name, field_types, n=1)
                advice = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(sorted(field_types))}"
                raise self._error(parameter.name, f"no field of the configuration; {advice}")
            found = parameter.value_type
            if found is not expected:
                raise self._error(
                    parameter.name,
                    f"its values are of type {found.__name__}, the field is of type {expected.__name__}; "
                    "change the type or the choices",
                )

    def _check_conditions(self, parameter: Parameter, declared: Mapping[str, Parameter]) -> None:
        for condition in parameter.when:
            other = declared.get(condition.parameter)
            if other is None:
                raise self._error(
                    parameter.name,
                    f"when refers to {condition.parameter!r}, which is not declared before it; "
                    "declare that parameter first",
                )
            if isinstance(other, Float):
                raise self._error(
                    parameter.name,
                    f"when refers to {other.name!r}, a float; a condition needs a parameter of type int or categorical",
                )
            for value in condition.values:
                if not other.contains(value):
                    raise self._error(
                        parameter.name,
                        f"when refers to {other.name!r} = {value!r}, which cannot happen: "
                        f"it is {other.expected}; correct the value",
                    )

    def _error(self, name: str, problem: str) -> SpaceError:
        return SpaceError(f"space {self.name!r}, parameter {name!r}: {problem}")


def shipped_spaces() -> tuple[str, ...]:
    """Return the names of the spaces that come with the package, sorted."""
    return tuple(sorted(path.stem for path in _SHIPPED.glob("*.toml")))


def load_space(name_or_path: str | Path) -> Space:
    """Read a shipped space by its name, or any space from the path of a `.toml` file.

    Raises:
        SpaceError: An unknown name, a file that cannot be read, invalid TOML, or a space that is refused; the
            message begins with the file.
    """
    path = _path_of(name_or_path)
    try:
        return Space.from_mapping(read_toml(path)[1])
    except OSError as error:
        raise SpaceError(
            f"{path}: cannot be read ({error.strerror}); give the path of a .toml file "
            f"or a shipped space: {', '.join(shipped_spaces())}"
        ) from error
    except UnicodeDecodeError as error:
        raise SpaceError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except ValueError as error:
        raise SpaceError(f"{path}: invalid TOML: {error}; correct it there") from error
    except SpaceError as error:
        raise SpaceError(f"{path}: {error}") from error


def _path_of(name_or_path: str | Path) -> Path:
    if isinstance(name_or_path, Path) or name_or_path.endswith(".toml") or "/" in name_or_path:
        return Path(name_or_path)
    if name_or_path not in shipped_spaces():
        raise SpaceError(
            f"space {name_or_path!r} is unknown; shipped: {', '.join(shipped_spaces())}; "
            "or give the path of a .toml file"
        )
    return _SHIPPED / f"{name_or_path}.toml"
