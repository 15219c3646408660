"""The `.json` beside an exported model: which weights it has and what they mean. Needs neither Keras nor TensorFlow.

Its digest covers all that it says, the digests of weights and architecture among it: a model with another order of the
class names, another preparation or another activation has another digest.
"""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from seti_model.config import Configuration
from seti_model.data.dataset import MOST_PIXELS
from seti_model.data.kind import ImageKind
from seti_model.errors import ConfigError, ModelError
from seti_model.fields import Value
from seti_model.files import would_burst
from seti_model.schema import JsonFile, SchemaError, read_file
from seti_model.training.outcome import TrainedNetwork

FORMAT = 1
_ARCHITECTURE = "config.json"  # in a `.keras` file
_MOST_ARCHITECTURE = 2**24  # bytes; that of a network of a hundred layers has some 2**17
_SHOWN = 300  # letters of what a reader says


@dataclass(frozen=True)
class Description:
    """What the file beside a model says of it; that it is true of the model `load_model` verifies.

    Both digests but that of the weights are None in what was exported before they were made.
    """

    configuration: Configuration
    shape: tuple[int, int, int]  # n_time, n_freq, channels
    class_names: tuple[str, ...]
    data_digest: str
    weights_digest: str  # SHA-256, hex
    architecture_digest: str | None  # of the network's layers, as the model file holds them
    digest: str | None  # of all this
    kind: ImageKind = field(default_factory=ImageKind, kw_only=True)


def description_path(model: Path) -> Path:
    """Return the path of the description of the model file `model`."""
    return model.with_suffix(".json")


class _DescriptionFile(JsonFile, frozen=True, kw_only=True):
    VERSION = ("format", FORMAT)

    format: int = FORMAT
    class_names: tuple[str, ...]
    shape: tuple[int, int, int]
    data_digest: str
    weights_digest: str
    init_digest: str | None = None
    architecture_digest: str | None = None
    configuration: dict[str, Value]
    kind: ImageKind | None = None
    digest: str | None = None


def describe(trained: TrainedNetwork, architecture_digest: str) -> tuple[str, str]:
    """Return the description of a network, as JSON, and its digest."""
    record = _DescriptionFile(
        class_names=trained.class_names,
        shape=trained.shape,
        data_digest=trained.data_digest,
        weights_digest=trained.digest,
        init_digest=trained.init_digest,
        architecture_digest=architecture_digest,
        configuration=trained.configuration.to_mapping(),
        kind=trained.kind,
    )
    digest = _digest(record)
    return json.dumps(msgspec.to_builtins(msgspec.structs.replace(record, digest=digest)), indent=1) + "\n", digest


def architecture_digest(model: Path) -> str:
    """Return the digest of a model's layers and their settings, before anything is made of them: SHA-256, hex.

    Raises:
        ModelError: The file is damaged, or no model of Keras.
    """
    try:
        with zipfile.ZipFile(model) as archive:
            inside, there = sum(one.file_size for one in archive.infolist()), model.stat().st_size
            if would_burst(inside, there):
                raise ValueError(f"it holds {inside / 1e6:.0f} MB in {there / 1e6:.1f} MB")
            claimed = archive.getinfo(_ARCHITECTURE).file_size
            if claimed > _MOST_ARCHITECTURE:
                raise ValueError(f"{_ARCHITECTURE} of {claimed} bytes, at most {_MOST_ARCHITECTURE} are read")
            content = archive.read(_ARCHITECTURE)
    except Exception as error:  # whatever a damaged archive does to its reader
        raise unreadable(model, error) from error
    return hashlib.sha256(content).hexdigest()


def unreadable(model: Path, error: Exception) -> ModelError:
    """Return what is said of a model file that cannot be used, for whatever reason."""
    why = " ".join(str(error).split())[:_SHOWN] or type(error).__name__
    return ModelError(f"{model}: cannot be read as a Keras model ({why}); export it again")


def read_description(model: Path) -> Description:
    """Read the description of the model file `model`.

    Raises:
        ModelError: A missing file, or a model that was not exported by seti-tune.
    """
    if not model.is_file():
        raise ModelError(f"{model}: no such file; give a model.keras written by seti-tune")
    file = description_path(model)
    try:
        record = read_file(file, _DescriptionFile)
        configuration = Configuration.from_mapping(record.configuration)
    except FileNotFoundError as error:
        raise ModelError(f"{file}: missing, so the classes have no names; keep it beside {model.name}") from error
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); ask for access or export it again") from error
    except SchemaError as error:
        raise ModelError(f"{error}; export the model again") from error
    except ConfigError as error:
        raise ModelError(f"{file}: of another version of seti-tune ({error}); export it again") from error
    if record.digest is not None and record.digest != _digest(record):
        raise ModelError(
            f"{file}: its digest does not fit what it says: it was changed; restore it from a copy, or export the "
            "model again"
        )
    _require_sensible(file, record)
    return Description(
        configuration,
        record.shape,
        record.class_names,
        record.data_digest,
        record.weights_digest,
        record.architecture_digest,
        record.digest,
        kind=record.kind or ImageKind(),
    )


def _digest(record: _DescriptionFile) -> str:
    said: dict[str, Any] = msgspec.to_builtins(msgspec.structs.replace(record, digest=None))
    if record.kind is None:  # exported before images were said to be of anything
        del said["kind"]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _require_sensible(file: Path, record: _DescriptionFile) -> None:
    names, pixels = record.class_names, math.prod(record.shape)
    if len(names) < 2 or len(set(names)) < len(names) or not all(name and name.isprintable() for name in names):
        raise ModelError(f"{file}: class_names: two or more are expected, each different; export the model again")
    if min(record.shape) < 1 or pixels > MOST_PIXELS:
        raise ModelError(
            f"{file}: shape: three positive numbers of {MOST_PIXELS} pixels at most are expected, found "
            f"{list(record.shape)}; export the model again"
        )
