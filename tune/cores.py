"""How many cores this process may use: those of its affinity, or fewer where its control group has a quota of time."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

GROUPS = Path("/sys/fs/cgroup")
MEMBERSHIP = Path("/proc/self/cgroup")


def cores() -> int:
    """Return how many cores this process may use at the same time, at least 1."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *(math.ceil(share) for share in _quotas())]))


def _quotas() -> Iterator[float]:
    """Yield the cores that each of the control groups may use that this process is in, where there is a limit."""
    try:
        lines = MEMBERSHIP.read_text().splitlines()
    except OSError:  # another system
        return
    for line in lines:  # "0::/a/b" of version 2, "4:cpu,cpuacct:/a/b" of version 1
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        root = GROUPS / "cpu" if controllers else GROUPS
        group = root / path.lstrip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(root):
                with contextlib.suppress(OSError, ValueError):  # no such file, or "max": no limit
                    quota, period = _numbers(folder)
                    if quota > 0:  # -1 in version 1: no limit
                        yield quota / period


def _numbers(group: Path) -> tuple[float, float]:
    if (both := group / "cpu.max").exists():
        quota, period = both.read_text().split()
        return float(quota), float(period)
    return tuple(float((group / f"cpu.cfs_{name}_us").read_text()) for name in ("quota", "period"))  # type: ignore[return-value]
