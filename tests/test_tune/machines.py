"""Several machines on one: each in network, process, mount and host-name namespaces of its own, on one switch.

A Ray driver looks for raylets in the list of processes, so that network namespaces alone are not enough. All addresses
are of namespaces that are made here; what is started here ends by the pid of its machine.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil

RAY_FOLDER = "/tmp/seti-ray"  # noqa: S108 - of each machine's own, empty memory
PORT = 6379


def unavailable() -> str | None:
    """Return why namespaces cannot be made here; None where they can."""
    try:
        test = ["unshare", "-n", "-u", "-m", "-p", "-f", "--mount-proc", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
        done = subprocess.run(test, capture_output=True, text=True, check=False)
        made = subprocess.run(["ip", "netns", "add", f"seti-try-{os.getpid()}"], capture_output=True, check=False)
        subprocess.run(["ip", "netns", "delete", f"seti-try-{os.getpid()}"], capture_output=True, check=False)
    except FileNotFoundError as error:
        return f"{error.filename} is not installed"
    return None if done.returncode == 0 and made.returncode == 0 else "namespaces are not permitted"


@dataclass
class Machine:
    """One machine: `init` holds its namespaces together, and its death is a power cut."""

    name: str
    address: str
    port: str  # of the switch
    switch: str
    token: str
    init: psutil.Process

    def run(self, *words: str | Path, check: bool = True, timeout: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a command there to its end."""
        return subprocess.run(
            self._entered(words), capture_output=True, text=True, env=self.environment, timeout=timeout, check=check
        )

    def as_user(self, home: Path, *words: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run a command there with another home folder and without the token of these machines."""
        kept = {name: value for name, value in self.environment.items() if not name.startswith("RAY_AUTH")}
        environment = kept | {"HOME": str(home)} | variables
        return subprocess.run(
            self._entered(words), capture_output=True, text=True, env=environment, timeout=400, check=False
        )

    def start(self, *words: str | Path, out: Path) -> subprocess.Popen[str]:
        """Start a command there; what it says goes to the file `out`."""
        with out.open("w") as stream:
            return subprocess.Popen(
                self._entered(words), stdout=stream, stderr=subprocess.STDOUT, env=self.environment, text=True
            )

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": self.token,
            "RAY_worker_niceness": "0",
            "RAY_TMPDIR": RAY_FOLDER,
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_prestart_worker_first_driver": "0",
        }

    def start_ray(self, *words: str, cpus: int) -> None:
        """Start Ray's processes there: `--head`, or `--address=…`."""
        ray = str(Path(sys.executable).with_name("ray"))
        memory = ("--object-store-memory", str(100 * 2**20))
        self.run(ray, "start", *words, f"--num-cpus={cpus}", f"--node-ip-address={self.address}", *memory)

    def kill(self) -> None:
        """Cut the power."""
        self.init.kill()
        self.init.wait(10)

    def cut(self, *, is_cut: bool = True) -> None:
        """Pull its network cable, or put it back."""
        _ip("netns", "exec", self.switch, "ip", "link", "set", self.port, "down" if is_cut else "up")

    def _entered(self, words: Sequence[str | Path]) -> list[str]:
        return ["nsenter", "-t", str(self.init.pid), "-a", *map(str, words)]


@dataclass
class Machines:
    """Machines on a switch; all of them end with the block that made them."""

    made: list[Machine] = field(default_factory=list)
    _mark: str = field(default_factory=lambda: f"seti{os.getpid() % 10000}{secrets.token_hex(1)}")
    _token: str = field(default_factory=lambda: secrets.token_hex(32))

    def __enter__(self) -> Self:
        self._switch = f"{self._mark}s"
        self._stack = contextlib.ExitStack()
        _ip("netns", "add", self._switch)
        self._stack.callback(_ip, "netns", "delete", self._switch)
        _ip("netns", "exec", self._switch, "ip", "link", "add", "switch", "type", "bridge")
        _ip("netns", "exec", self._switch, "ip", "link", "set", "switch", "up")
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self) -> Machine:
        """Make one more machine."""
        number = len(self.made) + 1
        name, address = f"machine{number}", f"10.77.0.{number}"
        space, port = f"{self._mark}n{number}", f"port{number}"
        _ip("netns", "add", space)
        self._stack.callback(_ip, "netns", "delete", space)
        _ip("link", "add", "eth0", "netns", space, "type", "veth", "peer", "name", port, "netns", self._switch)
        _ip("netns", "exec", self._switch, "ip", "link", "set", port, "master", "switch", "up")
        for settings in (
            ("addr", "add", f"{address}/24", "dev", "eth0"),
            ("link", "set", "eth0", "up"),
            ("link", "set", "lo", "up"),
        ):
            _ip("netns", "exec", space, "ip", *settings)
        own = (
            f"hostname {name} && mount -t tmpfs tmpfs /dev/shm && mkdir -p {RAY_FOLDER} && "
            f"mount -t tmpfs tmpfs {RAY_FOLDER} && exec sleep infinity"
        )
        words = [
            "ip",
            "netns",
            "exec",
            space,
            "unshare",
            "-u",
            "-m",
            "-p",
            "-f",
            "--kill-child",
            "--mount-proc",
            "sh",
            "-c",
            own,
        ]
        outer = subprocess.Popen(words)
        self._stack.callback(_end, outer)
        init = _first_child(outer)
        machine = Machine(name, address, port, self._switch, self._token, init)
        self.made.append(machine)
        return machine


def _first_child(outer: subprocess.Popen[bytes]) -> psutil.Process:
    """Return the first process of the machine, once it has all that is its own."""
    until = time.monotonic() + 20
    while time.monotonic() < until and outer.poll() is None:
        for child in psutil.Process(outer.pid).children(recursive=True):
            with contextlib.suppress(psutil.Error):
                if child.name() == "sleep":
                    return child
        time.sleep(0.05)
    raise RuntimeError("a machine did not start; its namespaces cannot be made here")


def _end(outer: subprocess.Popen[bytes]) -> None:
    outer.kill()
    outer.wait()


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@contextlib.contextmanager
def ray_machines(*cpus: int) -> Iterator[Machines]:
    """Give machines with Ray on them, the first one its head, with so many processors each."""
    with Machines() as machines:
        for number in cpus:
            machine = machines.add()
            if len(machines.made) == 1:
                machine.start_ray("--head", f"--port={PORT}", "--include-dashboard=false", cpus=number)
            else:
                machine.start_ray(f"--address={machines.made[0].address}:{PORT}", cpus=number)
        yield machines
