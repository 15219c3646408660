"""Checkpoints: the full state of a training after an epoch, complete or absent, verified when read.

A folder `<epoch, four digits>/` holds `state.npz` (weights, Adam's moments), `best_weights.npz`,
`best_probabilities.npz` and `training.json` (what it belongs to, the history, the digest of every file).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from seti_model.config import EPOCHS, Configuration, may_be_prolonged
from seti_model.data.kind import ImageKind
from seti_model.errors import CheckpointError, ConfigError, DamagedCheckpointError, DatasetError
from seti_model.files import UNREADABLE, written_whole
from seti_model.training.arrays import Arrays, read_arrays, write_arrays
from seti_model.training.outcome import CheckpointInfo, EpochResult, TrainedNetwork

FORMAT = 1
ACCURACY = "accuracy"
_STATE, _BEST, _PROBABILITIES, _RECORD = "state.npz", "best_weights.npz", "best_probabilities.npz", "training.json"
_SHOWN = 60  # letters of a value in a message
_COMPLETE = re.compile(r"\d{4,}")


@dataclass(frozen=True)
class Identity:
    """What a checkpoint belongs to; training continues bit for bit only if all of it is the same."""

    configuration: Mapping[str, Any]
    seed: int
    data_digest: str
    threads: int
    init_digest: str | None = None  # of the weights the training started from; None if from scratch
    criterion: str = ACCURACY  # by which the best epoch is found


@dataclass(frozen=True)
class TrainingState:
    """All that a training needs to go on after its last epoch in `history`."""

    history: tuple[EpochResult, ...]
    best: TrainedNetwork
    best_probabilities: npt.NDArray[np.float32]
    state: Arrays  # weights and moments, read back; empty when writing, where they come one by one


@dataclass(frozen=True)
class _Network:
    """What `TrainedNetwork` holds beside its weights and what the identity says."""

    shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    pixel_mean: float
    pixel_deviation: float
    kind: ImageKind = field(default_factory=ImageKind)


@dataclass(frozen=True)
class _Record:
    """What `training.json` holds, but for format and digest; `identity` has the fields of `Identity`."""

    identity: dict[str, Any]
    network: _Network
    history: tuple[EpochResult, ...]
    files: dict[str, str]


def save_checkpoint(
    folder: Path,
    identity: Identity,
    training: TrainingState,
    state: Iterable[tuple[str, npt.NDArray[Any]]],
    *,
    previous: Path | None = None,
) -> CheckpointInfo:
    """Write the checkpoint of the last epoch of `training.history` below `folder`, whole or not at all.

    Args:
        folder: Made if need be; only one training may write to it.
        identity: What the checkpoint belongs to.
        training: History and best network.
        state: Weights and moments by name, taken one by one so that they need not be in memory together.
        previous: A checkpoint with the same best epoch, whose files are linked rather than written again.

    Raises:
        CheckpointError: No space, or the folder cannot be written.
    """
    start = time.perf_counter()
    epoch = training.history[-1].epoch
    final = folder / f"{epoch:04d}"
    with written_whole(final, CheckpointError, "free some space or check the folder, and continue") as temporary:
        temporary.mkdir()
        digest = _write_files(temporary, identity, training, state, previous)
        size = sum(file.stat().st_size for file in temporary.iterdir())
        if final.exists():  # of an earlier training to the same folder, continued from before this epoch
            shutil.rmtree(final)
    return CheckpointInfo(final, size, digest, time.perf_counter() - start)


def load_checkpoint(path: Path, identity: Identity) -> TrainingState:
    """Read and verify a checkpoint.

    Raises:
        DamagedCheckpointError: Absent or damaged.
        CheckpointError: Of another configuration, seed, data set, thread count or start.
    """
    record = _read_record(path)
    with _as_declared(path):
        # A field that was not there then has the value that was meant.
        belongs_to = (
            {"criterion": ACCURACY} | record.identity | {"configuration": _configuration(path, record).to_mapping()}
        )
        _require_same(path, belongs_to, dataclasses.asdict(identity))
        probabilities = _read_verified(path, _PROBABILITIES, record)["probabilities"]
        return TrainingState(
            record.history, _best_network(path, record), probabilities, _read_verified(path, _STATE, record)
        )


def load_best(path: Path) -> TrainedNetwork:
    """Read and verify the best weights of a checkpoint; its other files may be gone.

    Raises:
        DamagedCheckpointError: Absent or damaged.
    """
    record = _read_record(path)
    with _as_declared(path):
        return _best_network(path, record)


def load_best_probabilities(path: Path) -> npt.NDArray[np.float32]:
    """Read and verify what the best epoch said of the validation images, (n_validation, n_classes).

    Raises:
        DamagedCheckpointError: Absent or damaged.
    """
    record = _read_record(path)
    with _as_declared(path):
        return _read_verified(path, _PROBABILITIES, record)["probabilities"]


def prune_checkpoints(newest: Path, keep: int) -> None:
    """Remove all but the `keep` newest of the checkpoints beside `newest` up to and with it."""
    complete = (path for path in newest.parent.iterdir() if _COMPLETE.fullmatch(path.name))
    up_to_newest = sorted((int(path.name), path) for path in complete if int(path.name) <= int(newest.name))
    for _, path in up_to_newest[:-keep]:
        shutil.rmtree(path, ignore_errors=True)  # one that stays behind takes space, it harms nothing else


@contextlib.contextmanager
def _as_declared(path: Path) -> Iterator[None]:
    """Say of a record that fits its digest and yet is none of ours that it is damaged."""
    try:
        yield
    except (LookupError, TypeError, AttributeError, ValueError, DatasetError) as error:
        raise _damaged(path / _RECORD, f"{type(error).__name__}: {error}") from error


def _best_network(path: Path, record: _Record) -> TrainedNetwork:
    identity = msgspec.convert(record.identity, Identity)
    return TrainedNetwork(
        configuration=_configuration(path, record),
        **vars(record.network),
        data_digest=identity.data_digest,
        weights=_read_verified(path, _BEST, record),
        digest=record.files[_BEST],
        init_digest=identity.init_digest,
        seed=identity.seed,
    )


def _configuration(path: Path, record: _Record) -> Configuration:
    try:
        return Configuration.from_mapping(record.identity["configuration"])
    except ConfigError as error:
        raise CheckpointError(f"{path}: of another version of seti-tune ({error}); start afresh") from error


def _read_verified(path: Path, name: str, record: _Record) -> Arrays:
    file, expected = path / name, record.files[name]
    try:
        arrays, digest = read_arrays(file)
    except FileNotFoundError as error:
        raise DamagedCheckpointError(f"{file}: missing; continue from a complete checkpoint or start afresh") from error
    except UNREADABLE as error:
        raise _damaged(file, str(error)) from error
    if digest != expected:
        raise _damaged(file, f"digest {digest[:12]}, expected {expected[:12]}")
    return arrays


def _write_files(
    folder: Path,
    identity: Identity,
    training: TrainingState,
    state: Iterable[tuple[str, npt.NDArray[Any]]],
    previous: Path | None,
) -> str:
    files = {_STATE: write_arrays(folder / _STATE, state)}
    known = _link(previous, folder) if previous else {}
    best = {_BEST: training.best.weights, _PROBABILITIES: {"probabilities": training.best_probabilities}}
    for name, arrays in best.items():
        files[name] = known.get(name) or write_arrays(folder / name, arrays.items())
    names = [one.name for one in dataclasses.fields(_Network)]
    record = {
        "format": FORMAT,
        "identity": dataclasses.asdict(identity),
        "network": dataclasses.asdict(_Network(**{name: getattr(training.best, name) for name in names})),
        "history": [epoch.to_mapping() for epoch in training.history],
        "files": files,
    }
    digest = _digest_of(record)
    text = json.dumps(record | {"digest": digest}, indent=1, allow_nan=False)
    (folder / _RECORD).write_text(text, encoding="utf-8")
    return digest


def _link(previous: Path, folder: Path) -> dict[str, str]:
    """Link the best epoch's files; return their digests, or nothing where the file system has no links."""
    try:
        digests = _read_record(previous).files
        for name in (_BEST, _PROBABILITIES):
            os.link(previous / name, folder / name)
    except (CheckpointError, OSError):
        for name in (_BEST, _PROBABILITIES):
            (folder / name).unlink(missing_ok=True)
        return {}
    return {name: digests[name] for name in (_BEST, _PROBABILITIES)}


def _read_record(path: Path) -> _Record:
    file = path / _RECORD
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        digest = record.pop("digest")
        fits = digest == _digest_of(record)
    except FileNotFoundError as error:
        raise DamagedCheckpointError(
            f"{path}: no checkpoint there; give the folder of an epoch, such as …/0003"
        ) from error
    except UNREADABLE as error:  # deeply nested, or a number beyond all that a float holds
        raise _damaged(file, str(error)) from error
    if not fits:
        raise _damaged(file, "its digest does not fit its content")
    if record.get("format") != FORMAT:
        found = repr(record.get("format"))[:_SHOWN]
        raise CheckpointError(f"{file}: format {found}, expected {FORMAT}; start this training afresh")
    with _as_declared(path):
        return msgspec.convert(record, _Record)


def _digest_of(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _damaged(file: Path, why: str) -> DamagedCheckpointError:
    return DamagedCheckpointError(f"{file}: damaged ({why}); continue from an earlier checkpoint or start afresh")


def _require_same(path: Path, found: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    theirs, ours = (
        {**one["configuration"], **{name: value for name, value in one.items() if name != "configuration"}}
        for one in (found, expected)
    )
    for name in [*ours, *(name for name in theirs if name not in ours)]:
        if not (name == EPOCHS and may_be_prolonged(ours)) and ours.get(name) != theirs.get(name):
            raise CheckpointError(
                f"{path}: made with {name}={theirs.get(name)!r}, this training has {ours.get(name)!r}; "
                "continue with the same value or start afresh"
            )
