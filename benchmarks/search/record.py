"""One finished search as a JSON file: every epoch it reported, what was spent by then, what its winner is worth."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec
import psutil

_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


@dataclass(frozen=True)
class Reported:
    """An epoch as a way itself reports it; `at` is seconds since 1970, `parameters` the point of the space."""

    trial: int
    epoch: int
    validation_accuracy: float
    at: float
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class Epoch:
    """An epoch with what the search had spent by then, all its processes together; `images` were trained on in it."""

    trial: int
    epoch: int
    validation_accuracy: float
    wall_s: float
    cpu_s: float
    images: int


@dataclass(frozen=True)
class Winner:
    """What a way delivers: its trial, the validation accuracy it reports, and how the network does on unseen images."""

    trial: int
    validation_accuracy: float
    test_accuracy: float


@dataclass(frozen=True)
class Searched:
    """A search of one way and seed; the epochs are in the order of their reports.

    `parameters` are the points of the space by the number of the trial, as text; older records have none.
    """

    way: str
    seed: int
    setting: dict[str, Any]
    machine: dict[str, Any]
    versions: dict[str, str]
    load_before: float  # processes that wanted to run on the machine, mean of a minute
    wall_s: float
    cpu_s: float
    winner: Winner
    epochs: tuple[Epoch, ...]
    parameters: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def best(self) -> float:
        """The best validation accuracy that was reported."""
        return max(epoch.validation_accuracy for epoch in self.epochs)


def place(folder: Path, way: str, seed: int) -> Path:
    """Return where the record of a way and seed is."""
    return folder / f"{way}-{seed}.json"


def write(folder: Path, searched: Searched) -> None:
    """Write a record, whole or not at all; an epoch is a line."""
    fields = dataclasses.asdict(searched)
    epochs = fields.pop("epochs")
    lines = ",\n".join("  " + json.dumps(epoch, allow_nan=False) for epoch in epochs)
    head = json.dumps(fields, indent=1, allow_nan=False).removesuffix("\n}")
    folder.mkdir(parents=True, exist_ok=True)
    final = place(folder, searched.way, searched.seed)
    temporary = final.with_suffix(".part")
    temporary.write_text(f'{head},\n "epochs": [\n{lines}\n ]\n}}\n', encoding="utf-8")
    temporary.replace(final)


def read(folder: Path) -> tuple[Searched, ...]:
    """Return all records of a folder, in the order of their names."""
    return tuple(msgspec.json.decode(file.read_bytes(), type=Searched) for file in sorted(folder.glob("*.json")))


def machine() -> dict[str, Any]:
    """Return the features of this machine that decide how fast it trains."""
    info = Path("/proc/cpuinfo")
    flags = set(info.read_text().split()) if info.is_file() else set()
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "instruction_sets": [name for name in _INSTRUCTION_SETS if name in flags],
        "memory_gb": round(psutil.virtual_memory().total / 1e9),
    }


def versions() -> dict[str, str]:
    """Return what was compared."""
    return {name: version(name) for name in ("ray", "optuna", "keras", "tensorflow")}


def machine_in_words(records: Sequence[Searched]) -> str:
    """Return the machines of some records by their features."""
    found = {
        f"{one['cores']} cores ({one['processor']}: {', '.join(one['instruction_sets']) or 'no vector units known'}), "
        f"{one['memory_gb']} GB"
        for one in (record.machine for record in records)
    }
    return "; ".join(sorted(found))
