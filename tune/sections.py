"""The sections of a study file and their types: what may be written, what holds where nothing is."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from results.commands import command
from tune.errors import StudyError

NETWORK = "tune.trial:train_network"  # the course network, as logs and receipts name it wherever its code lies
Value = bool | int | float | str


@dataclass(frozen=True)
class StudySection:
    """What is searched, how long, from which seed."""

    space: str
    name: str = ""
    trials: int = 40
    max_epochs: int = 12
    seed: int = 0
    time_limit_h: float | None = None  # no new trial starts after it
    max_retries: int = 2  # of a training function that raises or finds no memory; deaths of workers do not count
    max_consecutive_failures: int = 5  # as many failed trials in a row end the study
    trainable: str = NETWORK
    init_from: str | None = None  # an earlier model.keras, relative to the study file, that every trial starts from


@dataclass(frozen=True)
class SearchSection:
    """How configurations are proposed."""

    sampler: str = "tpe"
    startup_trials: int = 10


@dataclass(frozen=True)
class DataSection:
    """Where the data set is (relative to the study file), or how it is simulated (into the run folder)."""

    path: str | None = None
    simulate: str | None = None
    train: int = 3200
    validation: int = 800
    test: int = 800
    seed: int = 1


@dataclass(frozen=True)
class AshaSection:
    """When poor trials are stopped. Exempt ones run to the end, so that what stopping costs can be known."""

    grace_epochs: int = 4
    reduction_factor: int = 3
    exempt_fraction: float = 0.1  # at 0.1 1 in 10 trials, beside the baseline


@dataclass(frozen=True)
class ResourcesSection:
    """What a trial gets. One thread per CPU. `max_concurrent` is by default what fits on the machine or cluster.

    A worker of more than `memory_mb` (10**6 bytes) after an epoch is replaced, unless it trains its first trial; by
    default that is a worker's share of its node.
    """

    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    max_concurrent: int | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class FinalsSection:
    """Whether the best of the search and the baseline are retrained from fresh seeds, and the winner evaluated.

    The best `finalists` are taken, with those that tie with the last of them up to `max_finalists`.
    """

    enabled: bool = True
    finalists: int = 3
    max_finalists: int = 6
    seeds: int = 3


SECTIONS: Mapping[str, type] = {
    "study": StudySection,
    "search": SearchSection,
    "data": DataSection,
    "asha": AshaSection,
    "resources": ResourcesSection,
    "finals": FinalsSection,
}


def read_section(path: Path, section: str, values: object) -> Any:
    """Return one typed section; `path` is named in errors.

    Raises:
        StudyError: An unknown key, or a value of the wrong type.
    """
    cls = SECTIONS[section]
    hints = typing.get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise StudyError(f"{path}: {section} is {values!r}; a section [{section}] is expected")
    typed = {}
    for key, value in values.items():
        if key not in hints:
            raise StudyError(f"{path}: [{section}] has an unknown key {key!r}; known: {', '.join(hints)}")
        expected = [t for t in typing.get_args(hints[key]) or (hints[key],) if t is not types.NoneType]
        if float in expected and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) not in expected:
            names = " or ".join(t.__name__ for t in expected)
            raise StudyError(
                f"{path}: [{section}] {key} = {value!r} is of type {type(value).__name__}, expected {names}"
            )
        typed[key] = value
    return cls(**typed)


def simulation_command(data: Mapping[str, Any], out: Path) -> str:
    """Return the command that simulates a data set as the section [data] says, into `out`."""
    counts = {name: data[name] for name in ("train", "validation", "test", "seed")}
    return command("data", "simulate", out, preset=data["simulate"], **counts)


def check_values(path: Path, section: str, values: object) -> None:
    """Make sure that a section holds single values only.

    Raises:
        StudyError: It is no section, or holds a table or a list.
    """
    if not isinstance(values, Mapping):
        raise StudyError(f"{path}: {section} is {values!r}; a section [{section}] is expected")
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str):
            raise StudyError(
                f"{path}: [{section}] {name!r} = {value!r} is no single value; quote names with a dot, "
                'as in "training.batch_size" = 32'
            )
