"""The `.json` beside an exported model: which weights it has and what they mean. Needs neither Keras nor TensorFlow."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from seti_model.config import Configuration
from seti_model.errors import ConfigError, ModelError
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


def describe(trained: TrainedNetwork) -> str:
    """Return the description of a network, as JSON."""
    record = {
        "format": FORMAT,
        "class_names": trained.class_names,
        "shape": trained.shape,
        "data_digest": trained.data_digest,
        "weights_digest": trained.digest,
        "init_digest": trained.init_digest,
        "configuration": trained.configuration.to_mapping(),
    }
    return json.dumps(record, indent=1) + "\n"


def read_description(model: Path) -> Description:
    """Read the description of the model file `model`.

    Raises:
        ModelError: A missing file, or a model that was not exported by seti-tune.
    """
    if not model.is_file():
        raise ModelError(f"{model}: no such file; give a model.keras written by seti-tune")
    file = description_path(model)
    record = _read(model, file)
    try:
        configuration = Configuration.from_mapping(record["configuration"])
    except ConfigError as error:
        raise ModelError(f"{file}: of another version of seti-tune ({error}); export it again") from error
    return Description(
        configuration,
        tuple(record["shape"]),
        tuple(record["class_names"]),
        record["data_digest"],
        record["weights_digest"],
    )


def _read(model: Path, file: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        required = ("format", "class_names", "shape", "data_digest", "weights_digest", "configuration")
        missing = [name for name in required if name not in record]
    except FileNotFoundError as error:
        raise ModelError(f"{file}: missing, so the classes have no names; keep it beside {model.name}") from error
    except OSError as error:
        raise ModelError(f"{file}: cannot be read ({error.strerror}); ask for access or export it again") from error
    except ValueError as error:
        raise ModelError(f"{file}: not JSON ({error}); export the model again") from error
    if missing or record["format"] != FORMAT:
        raise ModelError(f"{file}: not a description of format {FORMAT}; export the model again")
    return record
