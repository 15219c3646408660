"""What is a machine's own fault and no configuration's: where a trial goes next, and which node gets none any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from results.log.records import Cause, TrialKey
from results.log.state import TrialState

BENCH_AFTER = 3  # different trials in a row


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
