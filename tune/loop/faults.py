"""Faults that are no configuration's: a machine's own, and of code that raises the same in one trial after another."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

from results.log.records import Cause, TrialKey
from results.log.state import TrialState

BENCH_AFTER = 3  # different trials in a row
_PLACE = re.compile(r"(\w+): .*\(([^()\s]+:\d+)\)", re.DOTALL)  # as `tune.trainable` writes it


class Faults:
    """Which trials a node has failed through its own fault, since one went well there."""

    def __init__(self) -> None:
        self._failed: defaultdict[str, list[TrialKey]] = defaultdict(list)

    def went_well(self, node_id: str) -> None:
        """Take note of an epoch on a node."""
        self._failed.pop(node_id, None)

    def are_too_many(self, node_id: str, key: TrialKey) -> bool:
        """Take note of a fault; return whether the node is to get no trials any more."""
        failed = self._failed[node_id]
        failed += [] if key in failed else [key]
        return len(failed) >= BENCH_AFTER


class Exceptions:
    """In which trials training raised what where, since this driver began: its code may have been mended before."""

    def __init__(self) -> None:
        self._met: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)

    def other_trial(self, reason: str, trial: int) -> int | None:
        """Take note of why an attempt failed; return another trial that met the same exception at the same place.

        Both are read from the reason, `ValueError: … (module.py:12)`; one that names no place is like no other.
        """
        found = _PLACE.fullmatch(reason)
        if found is None:
            return None
        met = self._met[found.groups()]
        met += [] if trial in met else [trial]
        return next((other for other in met if other != trial), None)

    def went_well(self, trial: int) -> None:
        """Take note that a trial came to its end: what it met was no fault of the code."""
        for met in self._met.values():
            met[:] = [one for one in met if one != trial]


def nodes_for(trial: TrialState, nodes: Sequence[str] | None) -> tuple[str, ...] | None:
    """Return where a trial may go next: where it met no fault yet, or anywhere once it met one on every node.

    Args:
        trial: What is known of it.
        nodes: All that have trials, by Ray's identity; None where there is one machine.
    """
    if nodes is None:
        return None
    met = [n for n, ended in trial.attempts_ended.items() if ended.cause == Cause.NODE and n in trial.running]
    faulty = {trial.running[n].node_id for n in met}
    return tuple(node for node in nodes if node not in faulty) or tuple(nodes)
