"""Which nodes of a cluster get trials: those that were looked at and have the same code, libraries and run folder.

A small task on each node says what is there, before its first trial, also where it joins while a search runs. A node
that does not fit is named with what to do, and the others go on.
"""

from __future__ import annotations

import platform
import secrets
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from results.log.recorder import Recorder
from results.log.records import NodeChecked
from results.run_folder import RAY_FOLDER
from seti_model.errors import ConfigError
from seti_model.own import source_digest
from tune.errors import ClusterError, StorageError, StudyError, TuneError
from tune.loop.coordinator import Coordinator
from tune.provenance import PACKAGES, code_digest
from tune.ray_adapter.cluster import fitting, memory_share, room
from tune.storage.store import Store, store_at
from tune.study import Study
from tune.trainable import load_trainable

NODES = "nodes"  # of a store: what is written there to be seen
STORE_WAITS_S = (0.5, 1.0, 2.0)  # between the tries of a node to reach it
TRIES = 3  # to ask a node whose worker dies
LOOK_S = 2.0  # between two looks at which nodes are alive
ANSWER_S = 60.0  # within which a node has to answer before the search starts without it
REFUSED_S = 300.0  # that nodes which do not fit are waited with for others
SAY_S = 60.0  # between two lines about waiting
VISIBLE_S = 10.0  # within which a file is seen on another node of a shared file system


@dataclass(frozen=True)
class Found:
    """What a node says of itself; `storage` and `modules` are empty where nothing is wrong.

    `sources` are the digests of networks and steps of the user's own, by name.
    """

    code: str
    versions: Mapping[str, str]
    storage: str
    modules: str
    sources: Mapping[str, str]
    free_gb: float | None


class Nodes:
    """The nodes of a cluster while a search runs."""

    def __init__(self, study: Study, run: Path, recorder: Recorder) -> None:
        """Begin with none.

        Args:
            study: What a trial is given and what it trains.
            run: The run folder.
            recorder: Takes what is found of a node; its state says which may have trials.
        """
        self._study, self._run, self._record = study, run, recorder.write
        self._state = recorder.state
        # Read now, as this process uses them: a module that is edited later must not end the search.
        self._sources = {name: source_digest([name]) for name in study.own_names()}
        self._nonce = secrets.token_hex(16)
        self._asked: dict[str, Any] = {}  # Ray's promise of an answer, by node
        self._unseen: dict[str, tuple[Found, float]] = {}  # what they wrote is not seen yet, and until when to look
        self._resources: dict[str, Mapping[str, float]] = {}  # of those that are alive
        self._names: dict[str, str] = {}  # of those that were asked
        self._tries: Counter[str] = Counter()  # that ended without a word, by node
        self._next_look = 0.0
        self._folder = run / RAY_FOLDER / "nodes"
        self._store = None if study.storage.uri is None else store_at(study.storage.uri)

    @property
    def admitted(self) -> tuple[str, ...]:
        """The nodes that get trials, by Ray's identity."""
        checked = self._state.nodes
        return tuple(sorted(node for node in self._resources if node in checked and checked[node].admitted))

    @property
    def max_concurrent(self) -> int:
        """How many trials fit on them, or as many as the study allows."""
        return room(self._study.resources, [self._resources[node] for node in self.admitted])

    @property
    def memory_mb(self) -> float:
        """A worker's share of the memory of its node, where it is smallest, in 10**6 bytes."""
        return memory_share(
            [self._resources[node] for node in self.admitted], self._study.resources, self.max_concurrent
        )

    def hand_to(self, coordinator: Coordinator) -> bool:
        """Tell the coordinator what there is to run on; return whether it has changed."""
        has_changed = coordinator.nodes != self.admitted or coordinator.max_concurrent != self.max_concurrent
        coordinator.nodes = self.admitted
        coordinator.max_concurrent, coordinator.memory_mb = self.max_concurrent, self.memory_mb
        return has_changed

    def in_words(self) -> str:
        """Say how many nodes have trials now."""
        n = len(self.admitted)
        words = f"{n} {'node has' if n == 1 else 'nodes have'} trials, {self.max_concurrent} at a time"
        return words if self.admitted else f"{words}: waiting for a node that can have one"

    def look_first(self, check: Callable[[], None], *, say: Callable[[str], None] = lambda words: None) -> None:
        """Look at all nodes and wait for what they say; where the cluster grows on request, for the first that fits.

        Args:
            check: Called ten times a second; what it raises ends the wait.
            say: Called with a line each minute of that wait.

        Raises:
            ClusterError: None may have a trial.
            StudyError: The run folder cannot be written.
            StorageError: The store does not answer.
        """
        self._show()
        self._ask()
        until = time.monotonic() + ANSWER_S
        while (self._asked or self._unseen or self._unasked()) and time.monotonic() < until:
            check()
            if time.monotonic() >= self._next_look:
                self._ask()
            self._take_answers(wait_s=0.1)
        for node in self._asked:  # it is admitted once it answers
            self._note(node, f"no answer within {ANSWER_S:.0f} s; look at it with `ray status`")
        if self._study.resources.autoscaled:
            self._wait_for_room(check, say)
        if not self.admitted:
            checked = self._state.nodes.values()
            first = next((f"node {node.node}: {node.reason}" for node in checked), "all nodes have left")
            raise ClusterError(f"{first}; no node of the cluster can have trials")

    def _wait_for_room(self, check: Callable[[], None], say: Callable[[str], None]) -> None:
        began = say_next = time.monotonic()
        while not self.admitted:
            check()
            refused = [found for node, found in self._state.nodes.items() if node in self._resources]
            if refused and time.monotonic() - began > REFUSED_S:
                return  # the next ones will be as these are
            if time.monotonic() >= say_next:
                why = f"; {refused[0].node}: {refused[0].reason}" if refused else ""
                say(f"no node has room for a trial (of {len(self._resources)}{why}); waiting for the cluster to grow")
                say_next += SAY_S
            self.look()
            time.sleep(0.1)

    def look(self) -> None:
        """Follow who joins and leaves."""
        if time.monotonic() >= self._next_look:
            self._ask()
        self._take_answers(wait_s=0.0)

    def _show(self) -> None:
        """Write where nodes must see it what they have to write again."""
        if self._store is not None:
            self._store.remove(*self._store.files(NODES))
            self._store.write(f"{NODES}/driver", self._nonce.encode())
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / "driver").write_text(self._nonce)
        except OSError as error:
            raise StudyError(f"{self._folder}: cannot be written ({error.strerror}); free some space") from error

    def _ask(self) -> None:
        """Send the task to every node that is new and has room for a trial."""
        self._next_look = time.monotonic() + LOOK_S
        alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
        self._resources = {node: one["Resources"] for node, one in alive.items()}
        self._asked = {node: answer for node, answer in self._asked.items() if node in alive}
        for node, one in alive.items():
            if node in self._names or not fitting(self._study.resources, one["Resources"]):
                continue
            self._names[node] = one["NodeManagerHostname"]
            here = NodeAffinitySchedulingStrategy(node, soft=False)
            task = ray.remote(num_cpus=0, max_retries=0)(look_here).options(scheduling_strategy=here)
            what = (self._study.study.trainable, tuple(self._sources), str(self._study.home), self._study.storage.uri)
            self._asked[node] = task.remote(str(self._folder), self._nonce, node, *what)

    def _unasked(self) -> bool:
        """Whether a node whose worker died is to be asked again."""
        return any(node in self._resources and node not in self._names for node in self._tries)

    def _take_answers(self, *, wait_s: float) -> None:
        self._look_for_files(wait_s)
        if not self._asked:
            return
        nodes = {answer: node for node, answer in self._asked.items()}
        ready, _ = ray.wait(list(nodes), num_returns=len(nodes), timeout=wait_s)
        for answer in ready:
            node = nodes[answer]
            del self._asked[node]
            try:
                found: Found = ray.get(answer)
            except RayError as error:
                self._tries[node] += 1
                if not isinstance(error, RayTaskError) and self._tries[node] < TRIES:
                    del self._names[node]  # its worker died, say; it is asked again
                    continue
                self._note(node, f"cannot run a task of seti-tune ({_words(error)}); install it there as here")
                continue
            if problem := self._problem(found):
                self._note(node, problem, found)
            else:
                self._unseen[node] = found, time.monotonic() + VISIBLE_S

    def _look_for_files(self, wait_s: float) -> None:
        """Admit the nodes whose file is seen here, refuse those whose file is not seen in time."""
        for node, (found, until) in list(self._unseen.items()):
            try:
                store, here = self._store, self._folder / node
                seen = here.read_bytes() if store is None else store.read(f"{NODES}/{node}")
                is_seen = seen == self._nonce.encode()
            except (OSError, StorageError):
                is_seen = False
            if not is_seen and time.monotonic() < until:
                time.sleep(wait_s)
                continue
            del self._unseen[node]
            place = f"{self._run} is not seen here; both must see the same folder under this path"
            if self._store is not None:
                place = f"{self._store.named('')} is not seen here; both must reach the same store there"
            self._note(node, "" if is_seen else f"what it writes into {place}", found)

    def _note(self, node: str, problem: str, found: Found | None = None) -> None:
        has = self._resources.get(node, {})  # nothing any more, where it has left meanwhile
        checked = NodeChecked(
            node=self._names[node],
            node_id=node,
            admitted=not problem,
            reason=problem,
            code=None if found is None else found.code,
            cpus=has.get("CPU", 0.0),
            gpus=has.get("GPU", 0.0),
            memory_gb=has.get("memory", 0.0) / 1e9,
            free_gb=None if found is None else found.free_gb,
        )
        self._record(checked)

    def _problem(self, found: Found) -> str:
        """Say what keeps a node from having trials; nothing where all is as here."""
        others = [
            f"{name} {found.versions.get(name, 'missing')} there, {ours} here"
            for name, ours in _versions().items()
            if found.versions.get(name) != ours
        ]
        if others:
            return f"has other libraries ({', '.join(others)}); install the same lock file there"
        if found.code != code_digest():
            return f"has other code of seti-tune ({found.code[:12]} there, {code_digest()[:12]} here); install the same"
        if found.modules:
            return found.modules
        for name, digest in found.sources.items():
            if digest != self._sources[name]:
                return f"has another version of the module of {name}; copy the one here to the same path there"
        return found.storage


def look_here(
    folder: str, nonce: str, node: str, trainable: str, own: Sequence[str], home: str, uri: str | None = None
) -> Found:
    """Say what is on this node: code, libraries, the user's modules, and whether it sees what the driver wrote.

    That is in the run folder, or in the store at `uri`, where there is one.
    """
    problem, sources = "", {}
    try:
        load_trainable(trainable, Path(home))
        sources = {name: source_digest([name]) for name in own}
    except (TuneError, ConfigError) as error:
        problem = str(error)
    storage = _storage(Path(folder), nonce, node) if uri is None else _store_problem(uri, nonce, node)
    space = Path(folder) if uri is None else Path(tempfile.gettempdir())
    return Found(code_digest(), _versions(), storage, problem, sources, _free_gb(space))


def _store_problem(uri: str, nonce: str, node: str) -> str:
    try:
        store = Store(uri, waits_s=STORE_WAITS_S)
        if store.read(f"{NODES}/driver") != nonce.encode():
            return f"sees another store as {store.named('')}; let the same one be reached under this address"
        store.write(f"{NODES}/{node}", nonce.encode())
    except StorageError as error:
        return f"cannot use the store: {error}"
    return ""


def _storage(folder: Path, nonce: str, node: str) -> str:
    run = folder.parent.parent
    shared = "the run folder must be storage that all nodes see under the same path"
    until = time.monotonic() + VISIBLE_S
    try:
        while not (folder / "driver").exists() and time.monotonic() < until:
            time.sleep(0.2)  # a network's file system may take a moment to show it
        if (folder / "driver").read_text() != nonce:
            return f"sees another folder as {run}; {shared}"
        (folder / node).write_text(nonce)
    except FileNotFoundError:
        return f"does not see what the driver wrote into {run}; {shared}"
    except OSError as error:
        return f"cannot write into {run} ({error.strerror}); {shared}, writable on each"
    return ""


def _free_gb(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / 1e9
    except OSError:
        return None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found


def _words(error: RayError) -> str:
    """Return the last line of Ray's long account, which names the error."""
    lines = str(getattr(error, "cause", None) or error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
