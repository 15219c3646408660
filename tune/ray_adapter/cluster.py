"""Ray: connect to a cluster or start one on this machine, and leave nothing of it behind."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from results.commands import command
from results.study import ResourcesSection
from seti_model.runtime import importing
from tune.cores import cores
from tune.errors import StudyError
from tune.ray_adapter.tokens import AUTH_MODE, guard_token, settle_token

CONNECT_TIMEOUT_S = 5.0
HEAD_TIMEOUT_S = 10
_MOST_PORT = 65535
ASK_S = 30.0  # for the status of a cluster, which takes a second
_ROUNDING = 1e-9  # of 1 / 0.1
KILL_NOTICED_S = 20  # ample time for Ray to notice that a worker is gone
# Ours is the only record, so Ray's own loggers, progress tables, snapshots and signal handler stay off.
_QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000000",
    "TUNE_WARN_THRESHOLD_S": "30",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Ray Tune would keep one trial waiting for a worker, and start workers one after another; the coordinator counts.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
}
# With an arena for each of Ray's threads training is a fifth slower: its arrays are mapped anew at every step.
_WORKERS = {"MALLOC_ARENA_MAX": "1"}
# Where it cannot be imported, as without ray[default], what Ray starts serves no dashboard. Else Ray waits 4 s for the
# port of a server that nobody here asks, 52365, where another Ray on the machine has it.
_DASHBOARD = "ray.dashboard.optional_deps"
DRIVER = "SETI_TUNE_DRIVER"  # in the environment of a cluster's workers: whose they are


@dataclass(frozen=True)
class Cluster:
    """What there is to run on; `max_concurrent` trials fit, or as many as the study allows; 0 where it has yet to grow.

    `memory_mb` (10**6 bytes) is the share of one worker on the node where it is smallest, `address` where the head is
    (HOST:PORT), None on this machine alone.
    """

    nodes: int
    cpus: float
    gpus: float
    max_concurrent: int
    memory_mb: float | None
    address: str | None


def concurrency(resources: ResourcesSection, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many trials run at once: what fits, added up over nodes, or as many as the study allows.

    Args:
        resources: What a trial gets.
        nodes: Ray's resources of each node, "CPU" in cores and "GPU" in cards.

    Raises:
        StudyError: Not even one fits.
    """
    most = room(resources, nodes)
    if not most:
        largest = max(nodes, key=lambda node: (node.get("GPU", 0), node.get("CPU", 0)), default={})
        raise StudyError(
            f"[resources] a trial asks for {resources.cpus_per_trial} CPUs and {resources.gpus_per_trial:g} GPUs of "
            f"one node, the largest has {largest.get('CPU', 0):g} and {largest.get('GPU', 0):g}; ask for less, give "
            "--address of a cluster with larger ones, or set autoscaled = true where a cluster grows on request"
        )
    return most


def room(resources: ResourcesSection, nodes: Sequence[Mapping[str, float]]) -> int:
    """Return how many trials fit on these nodes, or as many as the study allows."""
    fit = sum(fitting(resources, node) for node in nodes)
    return min(fit, resources.max_concurrent or fit)


def fitting(resources: ResourcesSection, node: Mapping[str, float]) -> int:
    """Return how many trials fit on a node; a part of a GPU is never taken from two cards."""
    by_cpu, gpus = int(node.get("CPU", 0) / resources.cpus_per_trial), resources.gpus_per_trial
    if gpus == 0:
        return by_cpu
    cards = int(node.get("GPU", 0))
    return min(by_cpu, int(cards / gpus) if gpus >= 1 else cards * int(1 / gpus + _ROUNDING))


def memory_share(nodes: Sequence[Mapping[str, float]], resources: ResourcesSection, max_concurrent: int) -> float:
    """Return the memory of one worker in 10**6 bytes: that of its node by as many workers as run there.

    Args:
        nodes: Ray's resources of each node, "CPU" in cores and "memory" in bytes.
        resources: What a trial gets; its own figure goes before.
        max_concurrent: How many trials run at once in the whole cluster.
    """
    if resources.memory_mb is not None:
        return resources.memory_mb
    shares = [
        node["memory"] / min(max_concurrent, fitting(resources, node))
        for node in nodes
        if fitting(resources, node) and "memory" in node
    ]
    return min(shares, default=math.inf) / 1e6


class MemoryKills:
    """Whether the kernel of this machine has killed a process for want of memory a moment ago."""

    def __init__(self) -> None:
        self._seen: list[tuple[float, int]] = [(time.monotonic(), killed_for_memory())]

    def look(self) -> None:
        """Note the count; to be called again and again, so that an old kill is not taken for one of now."""
        now = time.monotonic()
        if now - self._seen[-1][0] >= 1:
            recent = [entry for entry in self._seen if now - entry[0] < KILL_NOTICED_S]
            self._seen = [*(recent or self._seen[-1:]), (now, killed_for_memory())]

    def is_recent(self) -> bool:
        """Return whether there has been one since the oldest count that is kept; that one is then answered for."""
        now = killed_for_memory()
        if now <= self._seen[0][1]:
            return False
        self._seen = [(when, min(count + 1, now)) for when, count in self._seen]
        return True


def killed_for_memory() -> int:
    """Return how many processes the kernel of this machine has killed for want of memory; 0 where it does not say."""
    for file in (Path("/proc/vmstat"), Path("/sys/fs/cgroup/memory.events")):  # the first counts the second's too
        with contextlib.suppress(OSError):
            for line in file.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def check_address(address: str) -> None:
    """Refuse an address that cannot work, before anything is started.

    Raises:
        StudyError: A `ray://` address, one without a port, or no answer from there.
    """
    if address.startswith(("ray://", "http://", "https://")):
        raise StudyError(
            f"--address {address}: the search must run inside the cluster to keep its record; submit it there with "
            f"`{command('submit', 'STUDY', address='http://HEAD:8265', run='RUN')}`"
        )
    if address in ("auto", "local"):
        return
    host, _, port = address.rpartition(":")
    if not host or not re.fullmatch("[0-9]{1,5}", port) or int(port) > _MOST_PORT:
        raise StudyError(f"--address {address}: HOST:PORT is expected, or auto; for instance 10.0.0.1:6379")
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S).close()
    except (OSError, UnicodeError) as error:  # UnicodeError: a part of the host's name that is too long for one
        why = getattr(error, "strerror", None) or error
        raise StudyError(
            f"--address {address}: no answer ({why}); start the head with `ray start --head` "
            "there, or leave --address out to use this machine"
        ) from error


def connect(address: str | None, resources: ResourcesSection, *, folder: Path, data_bytes: int = 0) -> Cluster:
    """Connect to a cluster, or start Ray on this machine with as many CPUs as it may use.

    Args:
        address: HOST:PORT, "auto", or None for this machine.
        resources: What a trial gets.
        folder: An empty folder for Ray's own files. It is the current one while Ray starts, because workers search
            that one for modules: a user's `results.py` must not be taken for ours.
        data_bytes: Size of the data set.

    Raises:
        StudyError: The cluster cannot be reached or a trial does not fit into it.
    """
    os.environ.update(_QUIET, **_WORKERS)
    address = None if address == "local" else address
    if address is not None:
        check_address(address)
        join_with_token(address)
    # What Ray Tune has to say about its own snapshots and trials does not concern a user of ours.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with _ray_files(folder), contextlib.chdir(folder):
        if address is None:
            _start(data_bytes)
        else:
            _join(address)
    try:
        return _counted(address, resources)
    except StudyError:
        disconnect()
        raise


def _counted(address: str | None, resources: ResourcesSection) -> Cluster:
    """Return what the cluster that this process has joined has to run on."""
    import ray

    nodes = live_nodes()
    cpus, gpus = (sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU"))
    may_grow = address is not None and resources.autoscaled
    most = room(resources, nodes) if may_grow else concurrency(resources, nodes)
    head = None if address is None else ray.get_runtime_context().gcs_address
    share = memory_share(nodes, resources, most) if most else None
    return Cluster(len(nodes), cpus, gpus, most, share, head)


def driver_name(pid: int) -> str:
    """Return what the workers of a driver on this machine have as `DRIVER`."""
    return f"{socket.gethostname()}:{pid}"


def live_nodes() -> list[dict[str, float]]:
    """Return Ray's resources of each node that is alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def why_waiting() -> str:
    """Say as far as can be seen why Ray starts no worker for an attempt that fits."""
    import ray

    total, free = (has.get("CPU", 0.0) for has in (ray.cluster_resources(), ray.available_resources()))
    if free < 1:
        return f"all {total:g} CPUs of the cluster are taken, by other work too; see `ray status`"
    is_free = f"{free:g} of {total:g} CPUs of the cluster are free, so a worker does not start"
    return f"{is_free}; see `ray status`, and Ray's logs on the nodes"


@contextlib.contextmanager
def _ray_files(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise StudyError(
            f"{folder}: Ray cannot be started ({error.strerror or error}); make room there and in the folder for "
            "temporary files, whose path must be short (RAY_TMPDIR names another one)"
        ) from error


def join_with_token(address: str) -> None:
    """Use the token of this machine where the cluster wants one; to be called before Ray is imported.

    Raises:
        StudyError: The cluster wants a token that is not here, or none although RAY_AUTH_MODE asks for one.
    """
    if settle_token(address, partial(_lets_in, address)) and os.environ.get(AUTH_MODE, "").lower() == "token":
        raise StudyError(
            f"--address {address}: was started without a token, but {AUTH_MODE}=token is set on this machine "
            f"({socket.gethostname()}), and workers would fail; unset it, or start the cluster with a token"
        )


def _lets_in(address: str, mode: str) -> bool | None:
    """Ask a cluster for its status in a process of its own; False where it wants another token, None where unknown."""
    words = [sys.executable, "-P", "-c", "from ray.scripts.scripts import main; main()", "status"]
    words += [] if address == "auto" else ["--address", address]
    environment = os.environ | {AUTH_MODE: mode}
    try:
        done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=ASK_S, check=False)
    except subprocess.TimeoutExpired:
        return None
    return True if done.returncode == 0 else False if "AuthenticationError" in done.stderr else None


def _start(data_bytes: int) -> None:
    # A head on this machine that does not answer is dead; Ray would wait for a minute.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", str(HEAD_TIMEOUT_S))
    # Ray Tune starts each worker with an environment of its own; those that Ray starts ahead are never used.
    os.environ.setdefault("RAY_prestart_worker_first_driver", "0")
    memory = max(256 * 2**20, 3 * data_bytes)
    with importing(without=[_DASHBOARD]):
        import ray

        ray.init(
            address="local",
            num_cpus=cores(),
            include_dashboard=False,
            object_store_memory=memory,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    guard_token()


def _join(address: str) -> None:
    import ray

    environment = _WORKERS | {DRIVER: driver_name(os.getpid())}
    try:
        ray.init(
            address=address,
            runtime_env={"env_vars": environment},
            log_to_driver=False,
            logging_level=logging.CRITICAL,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise StudyError(
            f"--address {address}: cannot be joined ({first}); check the head with `ray status`, and its token "
            "if it uses one"
        ) from error


def disconnect() -> None:
    """Leave the cluster; one started here ends with all its processes."""
    import ray

    ray.shutdown()
