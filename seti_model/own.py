"""What a user writes beside a study: a network, as a frozen dataclass with a method `build`, and steps of preparation.

A step is a function `images, *, field=default -> images`. Both are named `module:name`, and their fields `name.field`.
A module is found as Python finds modules; where a study or a training is started, its folder is among the places.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

from seti_model.config import Configuration, section_of, typed_value
from seti_model.errors import ConfigError
from seti_model.fields import Value
from seti_model.pretrained import weights_digest

TYPES = (bool, int, float, str)


def search_too(folder: Path) -> None:
    """Have Python look for modules in `folder` too, after all other places."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))


def own_fields(name: str) -> Mapping[str, type]:
    """Return the type of every field of a network or step by its full name, e.g. `{"Spiral.turns": int}`.

    Raises:
        ConfigError: It is not there, is neither such a class nor such a function, or a field is of another type.
    """
    return {f"{section_of(name)}.{field}": kind for field, (kind, _) in _declared(name).items()}


def completed(configuration: Configuration, folder: Path = Path()) -> Configuration:
    """Return a configuration with all fields of what is the user's, and the digests of its modules and weights.

    Args:
        configuration: As it was asked for.
        folder: What the file of weights is relative to; the one returned has its whole path.

    Raises:
        ConfigError: Something of it is not there or refuses its fields.
    """
    network, prepare, vgg16 = configuration.network, configuration.prepare, configuration.vgg16
    if configuration.pretrained:
        file = (folder / configuration.pretrained).absolute()
        vgg16 = dataclasses.replace(vgg16, weights=str(file), source=weights_digest(file))
    own: dict[str, Value] = {}
    if network.is_own:
        made = load_network(network.family, configuration.own_fields(network.family))
        for name, kind in own_fields(network.family).items():
            own[name] = typed_value(name, getattr(made, name.partition(".")[2]), kind)
        network = dataclasses.replace(network, source=source_digest([network.family]))
    for name in prepare.own:
        given = _typed(name, configuration.own_fields(name))
        own |= {f"{section_of(name)}.{f}": given.get(f, default) for f, (_, default) in _declared(name).items()}
    if prepare.own:
        prepare = dataclasses.replace(prepare, source=source_digest(prepare.own))
    return dataclasses.replace(configuration, network=network, prepare=prepare, vgg16=vgg16, own=own)


def load_network(family: str, fields: Mapping[str, Value]) -> Any:
    """Return the user's dataclass made with these fields.

    Raises:
        ConfigError: The class is not there or refuses them.
    """
    typed = _typed(family, fields)
    cls: Any = _found(family)
    if not (hasattr(cls, "__dataclass_fields__") and callable(getattr(cls, "build", None))):
        raise ConfigError(f"{family}: is no dataclass with a method build; write it as one")
    try:
        return cls(**typed)
    except Exception as error:  # whatever the user's checks raise
        raise ConfigError(f"{family}: refuses {typed}: {error}") from error


def load_step(name: str) -> Callable[..., Any]:
    """Return the user's function.

    Raises:
        ConfigError: It is not there, or is none.
    """
    found: Callable[..., Any] = _found(name)
    if not inspect.isfunction(found):
        raise ConfigError(f"{name}: is no function; a step is a function from images to images")
    return found


def source_digest(names: Sequence[str]) -> str:
    """Return the SHA-256, hex, over the files of the modules that these names begin with.

    Raises:
        ConfigError: Something is not there, or its file was changed after this process has read it.
    """
    sha = hashlib.sha256()
    for name in names:
        module = _imported(name)
        now = _file_digest(module)
        if now != _read[module.__name__]:
            raise ConfigError(f"{module.__file__}: was changed while it is in use; restore it, or start a new process")
        sha.update(now)
    return sha.hexdigest()


def require_same_source(names: Sequence[str], recorded: str) -> None:
    """Refuse to use what has changed since a configuration was recorded.

    Raises:
        ConfigError: A file has changed, or is not there.
    """
    digest = source_digest(names)
    if recorded and recorded != digest:
        raise ConfigError(
            f"{', '.join(names)}: the source has digest {digest[:12]}, the configuration was made with "
            f"{recorded[:12]}; restore the file, or begin anew with the changed one"
        )


def _typed(name: str, fields: Mapping[str, Value]) -> dict[str, Value]:
    known = own_fields(name)
    for field in fields:
        if f"{section_of(name)}.{field}" not in known:
            raise ConfigError(
                f"{section_of(name)}.{field} is no field of {name}; known: {', '.join(sorted(known)) or 'none'}"
            )
    return {field: typed_value(full := f"{section_of(name)}.{field}", fields[field], known[full]) for field in fields}


def _declared(name: str) -> dict[str, tuple[type, Any]]:
    """Return type and default of every field: of a dataclass, or of a function's keywords after its `*`."""
    found = _found(name)
    try:
        fields: dict[str, tuple[Any, Any]]
        hints = get_type_hints(found)
        if dataclasses.is_dataclass(found):
            fields = {f.name: (hints.get(f.name), f.default) for f in dataclasses.fields(found)}
        else:
            keywords = [p for p in inspect.signature(found).parameters.values() if p.kind is p.KEYWORD_ONLY]
            fields = {p.name: (hints.get(p.name), p.default) for p in keywords}
    except (NameError, TypeError, ValueError) as error:
        raise ConfigError(f"{name}: no fields can be read ({error}); write a dataclass or function") from error
    for field, (kind, default) in fields.items():
        if kind not in TYPES or not isinstance(default, TYPES):
            raise ConfigError(
                f"{name}: field {field!r} is {kind} = {default!r}; a field is a bool, int, float or str with a default"
            )
    return fields


def _found(name: str) -> Any:
    module, attribute = _imported(name), name.partition(":")[2]
    try:
        return getattr(module, attribute)
    except AttributeError as error:
        raise ConfigError(
            f"{name!r}: there is no {attribute} in {module.__file__}; correct the name, or rename your module if "
            "this is another one"
        ) from error


_read: dict[str, bytes] = {}  # digests of modules' files when they were imported, which happens once in a process


def _imported(name: str) -> ModuleType:
    module = name.partition(":")[0]
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # whatever a user's module does when it is imported
        raise ConfigError(
            f"{name!r}: {type(error).__name__}: {error}; correct it, or put the module into the folder of the study "
            "file, or into the one you are in"
        ) from error
    _read.setdefault(found.__name__, _file_digest(found))
    return found


def _file_digest(module: ModuleType) -> bytes:
    file = module.__file__
    return hashlib.sha256(Path(file).read_bytes() if file else b"").digest()
