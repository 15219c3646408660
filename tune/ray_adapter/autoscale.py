"""Room that is asked of a cluster which grows on request, and given back: Ray keeps a request until the next one."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from results.study import ResourcesSection
from tune.ray_adapter.cluster import join_with_token

WITHDRAW_S = 60.0  # for joining a cluster and saying one thing


@contextlib.contextmanager
def room_asked_for(resources: ResourcesSection, trials: int) -> Iterator[None]:
    """Ask, while the block runs, for room for as many trials at once as the study allows.

    Args:
        resources: What a trial gets.
        trials: How many there are; more are never at once.
    """
    from ray.autoscaler.sdk import request_resources

    bundle = {"CPU": float(resources.cpus_per_trial)}
    if resources.gpus_per_trial:
        bundle["GPU"] = resources.gpus_per_trial
    request_resources(bundles=[bundle] * min(resources.max_concurrent or trials, trials))
    try:
        yield
    finally:
        with contextlib.suppress(Exception):  # without a head there is nothing left to be withdrawn
            request_resources(bundles=[])


def withdraw_for(head: str) -> None:
    """Give back what a driver asked for that was killed; Ray is joined in a process of its own.

    Args:
        head: HOST:PORT.
    """
    words = [sys.executable, "-P", "-m", "tune.ray_adapter.autoscale", head]
    with contextlib.suppress(subprocess.TimeoutExpired):
        subprocess.run(words, timeout=WITHDRAW_S, capture_output=True, check=False)


def _withdraw(head: str) -> None:
    join_with_token(head)
    import ray
    from ray.autoscaler.sdk import request_resources

    ray.init(address=head, log_to_driver=False)
    request_resources(bundles=[])


if __name__ == "__main__":
    _withdraw(sys.argv[1])
