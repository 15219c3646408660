"""The `.json` beside an exported model: which weights it has and what they mean. Needs neither Keras nor TensorFlow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import msgspec

from seti_model.config import Configuration, Value
from seti_model.errors import ConfigError, ModelError
from seti_model.schema import JsonFile, SchemaError, read_file
from seti_model.training.outcome import TrainedNetwork

FORMAT = 1


@dataclass(frozen=True)
class Description:
    """What the file beside a model says of it; that it is true of the weights `load_model` verifies."""

    configuration: Configuration
    shape: tuple[int, int, int]  # n_time, n_freq, channels
    class_names: tuple[str, ...]
    data_digest: str
    weights_digest: str  # SHA-256, hex


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
    configuration: dict[str, Value]


def describe(trained: TrainedNetwork) -> str:
    """Return the description of a network, as JSON."""
    record = _DescriptionFile(
        class_names=trained.class_names,
        shape=trained.shape,
        data_digest=trained.data_digest,
        weights_digest=trained.digest,
        init_digest=trained.init_digest,
        configuration=trained.configuration.to_mapping(),
    )
    return json.dumps(msgspec.to_builtins(record), indent=1) + "\n"


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
    return Description(configuration, record.shape, record.class_names, record.data_digest, record.weights_digest)
