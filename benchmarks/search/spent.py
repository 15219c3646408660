"""Runs a command and follows the processor time of all its processes, those that have ended among them."""

from __future__ import annotations

import bisect
import contextlib
import os
import resource
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

EVERY_S = 0.5  # of a process that ends at most so much goes unseen
LEFT_S = 30.0  # for what a command leaves running


class CommandError(RuntimeError):
    """A command failed."""


@dataclass
class Spent:
    """Processor seconds of a command at the times of its samples, in seconds since 1970."""

    began: float
    at: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)

    def by(self, moment: float) -> float:
        """Return what was spent by a moment, straight between samples."""
        after = bisect.bisect_left(self.at, moment)
        if after == len(self.at):
            return self.cpu_s[-1]
        before_at, before = (self.at[after - 1], self.cpu_s[after - 1]) if after else (self.began, 0.0)
        share = (moment - before_at) / (self.at[after] - before_at) if self.at[after] > before_at else 1.0
        return before + max(share, 0.0) * (self.cpu_s[after] - before)


class Tree:
    """A process and all that descend from it, as far as they were seen: each keeps its last time when it is gone."""

    def __init__(self, root: int) -> None:
        self._seen: dict[psutil.Process, float] = {psutil.Process(root): 0.0}

    def cpu_s(self) -> float:
        """Look once; return the processor seconds of all that were ever seen."""
        self._find()
        for process in self._seen:
            with contextlib.suppress(psutil.Error):
                used = process.cpu_times()
                self._seen[process] = used.user + used.system
        return sum(self._seen.values())

    def _find(self) -> None:
        """Find descendants; one whose parent has ended is another's child by then, but was seen before."""
        of: dict[int, list[psutil.Process]] = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                of.setdefault(process.ppid(), []).append(process)
        new = [one for one in self._seen if one.is_running()]
        while new:
            new = [child for one in new for child in of.get(one.pid, ()) if child not in self._seen]
            self._seen.update(dict.fromkeys(new, 0.0))

    def end(self) -> None:
        """End what is left, asked first."""
        self._find()
        left = [one for one in self._seen if one.is_running()]
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        _, left = psutil.wait_procs(left, timeout=LEFT_S)
        for process in left:
            with contextlib.suppress(psutil.Error):
                process.kill()


def run(command: Sequence[str], log: Path, *, environment: dict[str, str]) -> Spent:
    """Run a command to its end; what it says goes to the file `log`.

    Raises:
        CommandError: It failed.
    """
    children_before = _of_children()
    with log.open("wb") as file:
        spent = Spent(time.time())
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env=os.environ | environment
        )
        tree = Tree(process.pid)
        try:
            while process.poll() is None:
                spent.cpu_s.append(tree.cpu_s())
                spent.at.append(time.time())
                time.sleep(EVERY_S)
        finally:
            tree.end()
            process.wait()
    spent.at.append(time.time())
    # What the system counted of ended children knows the last moments too, but not of processes that nobody waited for.
    spent.cpu_s.append(max(tree.cpu_s(), spent.cpu_s[-1], _of_children() - children_before))
    if process.returncode:
        last = log.read_text(errors="replace").strip().splitlines()[-1:]
        raise CommandError(
            f"{' '.join(command)}: exit code {process.returncode} ({''.join(last)}); {log} has all that it said"
        )
    return spent


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
