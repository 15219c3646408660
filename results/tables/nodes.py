"""What each machine did for a run: how fast it trained, and whether it may have trials."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass

from results.log.records import NodeChecked
from results.log.state import RunState

MIN_EPOCHS, MIN_TRIALS = 10, 3  # fewer say little: networks differ in speed too
SLOW_SHARE = 0.5  # of what the others do


@dataclass(frozen=True)
class NodeUse:
    """One machine: `images_per_s` is the median over the epochs trained there, `others` the median of the others'."""

    node: str
    checked: NodeChecked | None  # as it was found, on a cluster
    trials: int
    epochs: int
    images_per_s: float | None
    others: float | None

    @property
    def is_slow(self) -> bool:
        """Whether it trains less than half as fast as the others; of too few epochs nothing is said."""
        if self.images_per_s is None or self.others is None or self.epochs < MIN_EPOCHS or self.trials < MIN_TRIALS:
            return False
        return self.images_per_s < SLOW_SHARE * self.others


def node_uses(state: RunState) -> list[NodeUse]:
    """Return the machines that were looked at or trained, by name; of one machine alone, and no cluster, none."""
    checked = {found.node: found for found in state.nodes.values()}  # the last word where one has joined again
    names = sorted({*checked, *(r.node for trial in state.trials.values() for r in trial.running.values())})
    if len(names) < 2 and not checked:
        return []
    speeds: defaultdict[str, list[float]] = defaultdict(list)
    epochs: defaultdict[str, int] = defaultdict(int)
    trials: defaultdict[str, set[object]] = defaultdict(set)
    for key, trial in state.trials.items():
        for epoch in trial.epochs.values():
            if running := trial.running.get(epoch.attempt):
                epochs[running.node] += 1
                trials[running.node].add(key)
                speeds[running.node] += [] if epoch.images_per_s is None else [epoch.images_per_s]
    medians = {name: statistics.median(found) for name, found in speeds.items() if found}

    def use(name: str) -> NodeUse:
        others = [median for other, median in medians.items() if other != name]
        other = statistics.median(others) if others else None
        return NodeUse(name, checked.get(name), len(trials[name]), epochs[name], medians.get(name), other)

    return [use(name) for name in names]
