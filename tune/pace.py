"""The pace at which a model predicts on this machine: measured once, then kept in the user's cache folder.

A file there is a saving of two seconds and nothing else: one that is damaged, foreign or gone is measured anew.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from results.errors import RecordError
from results.files import read_moderate, write_atomically
from results.schema import SchemaError, read_json, to_json
from results.text import printable
from tune.provenance import device_model

if TYPE_CHECKING:  # what these import takes seconds
    from seti_model.exported import ExportedModel
    from seti_model.pace import Pace

WORTH_MEASURING = 4096  # images; fewer are done before a better pace would pay
_PACKAGES = ("seti-tune", "tensorflow", "numpy")
_MOST_BYTES = 65_536


@dataclass(frozen=True)
class _Kept:
    """What a file of the cache says; `of` is what it holds for, in words and digests."""

    of: Mapping[str, str]
    batch: Annotated[int, Meta(ge=1, le=4096)]
    side_by_side: Annotated[int, Meta(ge=1, le=4096)]
    images_per_s: Annotated[float, Meta(ge=0, le=1e12)]


def pace_of(model: ExportedModel, images: int, cores: int) -> tuple[Pace, str]:
    """Return how to predict so many images, and where that is known from in words.

    It is what was kept, or is measured and kept where there are many images, else the usual pace.
    """
    from seti_model.pace import Pace, measure_pace

    kept = kept_pace(model, cores)
    if kept is not None:
        return kept, f"as measured before, in {_shown(model, cores)}"
    if images < WORTH_MEASURING:
        return Pace.usual(cores), "not measured for few images"
    before = time.perf_counter()
    pace = measure_pace(model, cores)
    if pace is None:
        return Pace.usual(cores), "not measured, as other work keeps the machine busy"
    return pace, f"measured in {time.perf_counter() - before:.1f} s, {keep_pace(model, pace, cores)}"


def kept_pace(model: ExportedModel, cores: int) -> Pace | None:
    """Return what this user kept for the same machine, model and libraries; None where there is nothing whole."""
    from seti_model.pace import Pace

    of = _of(model, cores)
    try:
        file = _file(of)
        status = file.lstat()
        if not stat.S_ISREG(status.st_mode) or (hasattr(os, "geteuid") and status.st_uid != os.geteuid()):
            return None
        kept = read_json(read_moderate(file, _MOST_BYTES), _Kept)
    except (OSError, RuntimeError, SchemaError):  # RuntimeError: there is no home
        return None
    is_same = kept.of == of and kept.side_by_side <= cores
    return Pace(kept.batch, kept.side_by_side, kept.images_per_s) if is_same else None


def keep_pace(model: ExportedModel, pace: Pace, cores: int) -> str:
    """Keep a pace that was measured, where that can be; say where, or why not."""
    of = _of(model, cores)
    try:
        text = to_json(_Kept(of, pace.batch, pace.side_by_side, pace.images_per_s or 0.0))
        write_atomically(_file(of), f"{text}\n")
    except (RecordError, RuntimeError) as error:
        return f"not kept: {printable(str(error))}"
    return f"kept in {_shown(model, cores)}"


def _file(of: Mapping[str, str]) -> Path:
    """Return the file of a pace in the user's cache folder, where the XDG base directory specification has it.

    Raises:
        RuntimeError: The user has no home.
    """
    named = os.environ.get("XDG_CACHE_HOME", "")
    cache = Path(named) if named.startswith("/") else Path.home() / ".cache"
    digest = hashlib.sha256(json.dumps(of, sort_keys=True).encode()).hexdigest()
    return cache / "seti-tune" / "pace" / f"{digest[:32]}.json"


def _shown(model: ExportedModel, cores: int) -> str:
    return printable(str(_file(_of(model, cores))))


def _of(model: ExportedModel, cores: int) -> dict[str, str]:
    """Return what a pace depends on."""
    machine = {"processor": device_model(gpu=False) or platform.machine(), "cores": str(cores)}
    packages = {name: version(name) for name in _PACKAGES}
    return machine | packages | {"model": model.digest or model.weights_digest}
