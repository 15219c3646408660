"""A network of one's own: a frozen dataclass of hyperparameters in a module of the user's, with a method `build`.

The module is found as Python finds modules; where a study or a training is started, its folder is among the places.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

from seti_model.config import Configuration, NetworkConfig, Value, typed_value
from seti_model.errors import ConfigError

TYPES = (bool, int, float, str)


def search_too(folder: Path) -> None:
    """Have Python look for modules in `folder` too, after all other places."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def own_fields(family: str) -> Mapping[str, type]:
    """Return the type of every field of a network of one's own by its full name, e.g. `{"Spiral.turns": int}`.

    Raises:
        ConfigError: The class is not there, or is no dataclass of such fields with a method `build`.
    """
    section, cls = NetworkConfig(family=family).section, _class(family)
    hints = get_type_hints(cls)
    fields = {field.name: hints[field.name] for field in dataclasses.fields(cls)}
    for name, kind in fields.items():
        if kind not in TYPES:
            raise ConfigError(
                f"{family}: field {name!r} is of type {kind}; a hyperparameter is one of bool, int, float, str"
            )
    return {f"{section}.{name}": kind for name, kind in fields.items()}


def completed(configuration: Configuration) -> Configuration:
    """Return a configuration with all fields of a network of one's own and the digest of its source.

    Raises:
        ConfigError: The class is not there or refuses the fields.
    """
    network = configuration.network
    if not network.is_own:
        return configuration
    made = load_own(network.family, configuration.own)
    own = {field.name: getattr(made, field.name) for field in dataclasses.fields(made)}
    named = dataclasses.replace(network, source=source_digest(network.family))
    return dataclasses.replace(configuration, network=named, own=own)


def load_own(family: str, fields: Mapping[str, Value]) -> Any:
    """Return the user's dataclass made with these fields.

    Raises:
        ConfigError: The class is not there or refuses them.
    """
    known, cls = own_fields(family), _class(family)
    for name in fields:
        if f"{cls.__name__}.{name}" not in known:
            raise ConfigError(
                f"{cls.__name__}.{name} is no field of {family}; known: {', '.join(sorted(known)) or 'none'}"
            )
    typed = {name: typed_value(full := f"{cls.__name__}.{name}", fields[name], known[full]) for name in fields}
    try:
        return cls(**typed)
    except Exception as error:  # whatever the user's checks raise
        raise ConfigError(f"{family}: refuses {typed}: {error}") from error


def source_digest(family: str) -> str:
    """Return the SHA-256, hex, of the file that the class is defined in."""
    return hashlib.sha256(Path(inspect.getfile(_class(family))).read_bytes()).hexdigest()


def require_same_source(network: NetworkConfig) -> None:
    """Refuse to build a network whose module has changed since its configuration was recorded.

    Raises:
        ConfigError: It has, or the module is not there.
    """
    digest = source_digest(network.family)
    if network.source and network.source != digest:
        raise ConfigError(
            f"{network.family}: its file has digest {digest[:12]}, the configuration was made with "
            f"{network.source[:12]}; restore the file, or begin anew with the changed one"
        )


def _class(family: str) -> Any:
    module, _, name = family.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:  # whatever a user's module does when it is imported
        raise ConfigError(
            f"network.family = {family!r}: {type(error).__name__}: {error}; correct it, or put the module beside the "
            "study file"
        ) from error
    if not (dataclasses.is_dataclass(found) and callable(getattr(found, "build", None))):
        raise ConfigError(f"network.family = {family!r}: {name} is no dataclass with a method build; write it as one")
    return found
