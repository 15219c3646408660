"""One writer of a run in a store: a file that its driver writes anew, `lease/000000001.json`, the next one's is `…2`.

Who finds one waits until it has said nothing for `SILENT_S`, by the clock of who waits, and then writes the next; a
holder on the same machine that is gone need not be waited for. A driver that ends in order gives its lease back.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import psutil

from results.log.records import utc_now
from tune.errors import StorageError, StudyError
from tune.storage.store import Store

LEASES = "lease"
RENEW_S = 15.0  # between two signs of life
SILENT_S = 60.0  # without one, and the next driver may take over
SETTLE_S = 0.5  # before a lease is read back where the store itself does not refuse a second one
LOOK_S = 1.0


@dataclass(frozen=True)
class Holder:
    """Who writes to a run: `beat` counts signs of life, `mark` tells one driver from all others."""

    mark: str
    host: str
    machine: str  # what its process number belongs to; "" where that cannot be told
    pid: int
    started: float  # of the process
    time: str
    beat: int = 0
    is_released: bool = False

    @classmethod
    def here(cls) -> Holder:
        """Return one for this process."""
        started = psutil.Process().create_time()
        return cls(secrets.token_hex(16), socket.gethostname(), _machine(), os.getpid(), started, utc_now())

    def to_bytes(self) -> bytes:
        """Return it as the store keeps it."""
        return json.dumps(dataclasses.asdict(self), indent=1).encode()

    @property
    def is_here(self) -> bool:
        """Whether it runs, or ran, on this machine."""
        return bool(self.machine) and self.machine == _machine()

    @property
    def is_gone(self) -> bool:
        """Whether its process on this machine has ended."""
        try:
            return abs(psutil.Process(self.pid).create_time() - self.started) > 1
        except psutil.Error:
            return True


class Lease:
    """The right to write to a run, held by this process while the block lasts."""

    def __init__(
        self,
        store: Store,
        *,
        say: Callable[[str], None],
        check: Callable[[], None] = lambda: None,
        renew_s: float = RENEW_S,
        silent_s: float = SILENT_S,
    ) -> None:
        """Hold nothing yet.

        Args:
            store: Where the run is.
            say: Called with a line before waiting.
            check: Called again and again while waiting; what it raises ends it.
            renew_s: Between two signs of life.
            silent_s: As `SILENT_S`; the same for all drivers of a store.
        """
        self._store, self._say, self._check = store, say, check
        self._renew_s, self._silent_s = renew_s, silent_s
        self._holder, self._key = Holder.here(), ""
        self._renewed = 0.0
        self._is_over = threading.Event()
        self._beating = threading.Lock()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        """Take the lease.

        Raises:
            StudyError: Another driver writes to this run.
            StorageError: The store does not answer.
        """
        while True:
            keys = _leases(self._store)
            if keys:
                self._wait_for(keys[-1])
            self._key = f"{LEASES}/{1 + (_number(keys[-1]) if keys else 0):09d}.json"
            asked = time.time()
            if self._store.write_new(self._key, self._holder.to_bytes()):
                break  # else another driver was faster, and is waited for
        if not self._store.is_conditional:
            time.sleep(SETTLE_S)
        self._require_own()
        self._renewed = asked
        self._store.remove(*keys)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._is_over.set()
        if kind is not None and issubclass(kind, StorageError):
            return  # nobody would answer, so it runs out by itself
        self._thread.join()
        try:
            if self._store.read(self._key) is not None:
                self._store.write(self._key, dataclasses.replace(self._holder, is_released=True).to_bytes())
        except StorageError:
            return

    def check(self) -> None:
        """Make sure that the lease is held, to be called before something is written.

        Raises:
            StorageError: Another driver has taken over, or the store does not answer.
        """
        if self._is_late:
            self._beat()

    @property
    def _is_late(self) -> bool:
        """Whether another driver may have taken over: this process was stopped, or the store did not answer."""
        return time.time() - self._renewed > self._silent_s / 2

    def _require_own(self) -> None:
        last = _leases(self._store)[-1:]
        holder = None if last != [self._key] else _read(self._store, self._key)
        if holder is None or holder.mark != self._holder.mark:
            raise StorageError(
                f"{self._store.named('')}: another driver has taken over this run; look at it there, or start the "
                "same command again when it has ended"
            )

    def _wait_for(self, key: str) -> None:
        """Return once the holder of a lease is gone.

        Raises:
            StudyError: It is not.
        """
        found = _read(self._store, key)
        if found is None or found.is_released or (found.is_here and found.is_gone):
            return
        until, said = time.monotonic() + self._silent_s, False
        while time.monotonic() < until:
            self._check()
            now = _read(self._store, key)
            if now is None or now.is_released:
                return
            if found.is_here or now.beat != found.beat:
                raise StudyError(
                    f"{self._store.named('')}: {found.host} (process {found.pid}) is running this study; wait for it "
                    "to end"
                )
            if not said:
                self._say(f"{found.host} may still run this study; going on if it is silent for {self._silent_s:.0f} s")
                said = True
            time.sleep(min(LOOK_S, self._silent_s / 10))

    def _renew(self) -> None:
        while not self._is_over.wait(self._renew_s):
            try:
                self._beat()
            except StorageError:
                continue  # whoever writes next asks whose the lease is

    def _beat(self) -> None:
        with self._beating:
            if self._is_late:
                self._require_own()
            asked = time.time()
            self._holder = dataclasses.replace(self._holder, beat=self._holder.beat + 1, time=utc_now())
            self._store.write(self._key, self._holder.to_bytes())
            self._renewed = asked


def _read(store: Store, key: str) -> Holder | None:
    content = store.read(key)
    try:
        return None if content is None else msgspec.json.decode(content, type=Holder)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise StorageError(f"{store.named(key)}: damaged ({error}); remove it if no driver is running") from error


def _leases(store: Store) -> list[str]:
    return [key for key in store.files(LEASES) if re.fullmatch(r"\d{1,18}\.json", Path(key).name)]


def _number(key: str) -> int:
    return int(Path(key).stem)


def _machine() -> str:
    """Return what tells this machine, since it was started, and its list of processes from others."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{socket.gethostname()} {boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
