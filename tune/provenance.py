"""Where a run came from: versions, commit, machine. Written once into the log, read by people and by receipts."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from results.study import Provenance

OURS = ("tune", "search_spaces", "seti_model", "results")
PACKAGES = ("seti-tune", "ray", "optuna", "tensorflow", "keras", "numpy", "pandas", "scikit-learn")
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile")


def provenance(cluster: Mapping[str, Any] | None = None) -> Provenance:
    """Return what a run is made with."""
    return Provenance(
        versions={name: version(name) for name in PACKAGES},
        python=platform.python_version(),
        commit=_commit(),
        machine={
            "node": platform.node(),
            "system": f"{platform.system()} {platform.release()}",
            "processor": platform.machine(),
            "cpus": os.cpu_count(),
        },
        cluster=cluster or {},
    )


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 (hex) over the files of the four packages as they lie here."""
    home, digest = Path(__file__).resolve().parent.parent, hashlib.sha256()
    files = (file for name in OURS for kind in ("*.py", "*.toml") for file in (home / name).rglob(kind))
    for file in sorted(files):
        digest.update(f"{file.relative_to(home).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def device_model(*, gpu: bool) -> str | None:
    """Return the model of the processor, or of this machine's GPUs; None where a GPU does not say what it is."""
    if gpu:
        found = _values("Model", Path("/proc/driver/nvidia/gpus").glob("*/information"))
        return ", ".join(sorted(set(found))) or None
    file = [Path("/proc/cpuinfo")]
    names, numbers = _values("model name", file), [_values(name, file) for name in ("cpu family", "model")]
    if not names:
        return platform.processor() or platform.machine()
    # Virtual machines hide the name; by the instruction sets TensorFlow chooses its kernels, and with them rounding.
    words = [f"family {'.'.join(n[0] for n in numbers if n)}"]
    flags = {flag for line in _values("flags", file)[:1] for flag in line.split()}
    return ", ".join([names[0], *words, *(flag for flag in _INSTRUCTION_SETS if flag in flags)])


def has_gpu() -> bool:
    """Return whether this machine has a driver with a GPU; asks no library."""
    return any(Path("/proc/driver/nvidia/gpus").glob("*")) or Path("/dev/nvidiactl").exists()


def _values(name: str, files: Iterable[Path]) -> list[str]:
    """Return the values of `name: value` in files of /proc; another system has none."""
    lines = [line.partition(":") for file in files if file.is_file() for line in file.read_text().splitlines()]
    return [value.strip() for key, _, value in lines if key.strip() == name]


def _commit() -> str | None:
    """Return the commit this code runs from, with "+changes" where the checkout differs; None outside a checkout."""
    home = Path(__file__).resolve().parent.parent
    if not (home / ".git").exists():
        return None

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", home, *arguments], capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("+changes" if git("status", "--porcelain", "-uno") else "")
    except (OSError, subprocess.SubprocessError) as error:
        print(f"the commit is not recorded: {error}", file=sys.stderr)
        return None
