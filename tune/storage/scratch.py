"""An attempt on the disk of its worker, where nothing is shared but a store: folders that go when nobody uses them."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from tune.errors import StorageError
from tune.storage.store import store_at
from tune.trainable import AttemptOutcome, CheckpointLost, EpochReport, Left, Message, OnEpoch, Task, Tell, Trainable

_YOUNG_S = 60.0  # a folder that may not have its lock yet
_held: dict[Path, IO[bytes]] = {}  # folders that this process shares with others, as long as it lives


class Scratch:
    """An attempt on the disk of its worker: what it continues from is fetched, what it reports was brought first."""

    def __init__(self, task: Task, folder: Path) -> None:
        """Begin an attempt in a folder of its own.

        Args:
            task: As the driver has it: its paths are those of the run folder on the driver's machine.
            folder: Empty, on this machine.

        Raises:
            StorageError: The store does not say where it is.
        """
        self._task, self._folder = task, folder
        self._run = task.checkpoint_folder.parents[2]
        self._store = store_at(str(task.storage))
        self._brought: dict[Path, str] = {}  # what is in the store, by where it is here
        self._error: StorageError | None = None

    def trainable(self, inner: Trainable) -> Trainable:
        """Return a trainable that is given paths on this machine."""

        def here(task: Task, data: Any, on_epoch: OnEpoch) -> None:
            try:
                local = dataclasses.replace(
                    task,
                    checkpoint_folder=self._folder / "checkpoints",
                    resume_from=self._checkpoint(task.resume_from),
                    init_from=self._initial_model(task.init_from),
                )
            except StorageError as error:
                self._error = error
                raise
            inner(local, data, on_epoch)

        return here

    def tell(self, inner: Tell) -> Tell:
        """Return what takes an attempt's messages: a checkpoint is in the store before its epoch is told."""

        def here(message: Message) -> bool:
            self._follow()
            if isinstance(message, EpochReport):
                message = self._brought_before(message)
            elif isinstance(message, Left) and self._error is not None:
                message = Left(AttemptOutcome.STORAGE, str(self._error))  # whatever the trainable made of it
            return inner(message)

        return here

    def _checkpoint(self, path: Path | None) -> Path | None:
        key, target = self._key(path), self._folder / "resume_from"
        if key is not None and not self._store.fetch(key, target):
            raise CheckpointLost(f"{self._store.named(key)}: is not there any more")
        return None if key is None else target

    def _initial_model(self, path: Path | None) -> Path | None:
        if path is None:
            return None
        key, target = self._key(path.parent), self._folder / "init_from"  # its description lies beside it
        if not self._store.fetch(str(key), target):
            raise StorageError(f"{self._store.named(str(key))}: is not there any more; put it back from a copy")
        return target / path.name

    def _key(self, path: Path | None) -> str | None:
        return None if path is None else path.relative_to(self._run).as_posix()

    def _brought_before(self, report: EpochReport) -> EpochReport:
        """Copy the checkpoint of a report to the store; return the report as the driver is to see it."""
        if self._error is not None:
            raise self._error
        if report.checkpoint is None:
            return report
        checkpoint, folder = Path(report.checkpoint).resolve(), (self._folder / "checkpoints").resolve()
        if folder not in checkpoint.parents or not checkpoint.exists():
            return report  # the driver says what is wrong with it
        path = self._task.checkpoint_folder / checkpoint.relative_to(folder)
        began = time.perf_counter()
        try:
            self._store.put(checkpoint, str(self._key(path)))
        except StorageError as error:
            self._error = error
            raise
        self._brought[checkpoint] = str(self._key(path))
        seconds = (report.checkpoint_seconds or 0.0) + time.perf_counter() - began
        return dataclasses.replace(report, checkpoint=path, checkpoint_seconds=seconds)

    def _follow(self) -> None:
        """Remove from the store what the trainable has removed here: the driver knows of a later one by then."""
        for path, key in list(self._brought.items()):
            if not path.exists():
                del self._brought[path]
                with contextlib.suppress(StorageError):  # it takes space, it harms nothing else
                    self._store.remove(*(self._store.files(key) or [key]))


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Give an empty folder on this machine, below its folder for temporary files, and remove it afterwards.

    What workers left behind that were killed is removed first.
    """
    sweep()
    _own_root()
    folder = Path(tempfile.mkdtemp(prefix="attempt-", dir=_root()))
    with (folder / ".lock").open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def shared_folder(uri: str) -> Path:
    """Return a folder that the workers of a run on one machine share; it lasts as long as any of them."""
    _own_root()
    folder = _root() / f"prepared-{hashlib.sha256(uri.encode()).hexdigest()[:16]}"
    while folder not in _held:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):  # swept just now
            lock = (folder / ".lock").open("ab")
            fcntl.flock(lock, fcntl.LOCK_SH)
            if (folder / ".lock").exists():
                _held[folder] = lock
    return folder


def sweep() -> None:
    """Remove the folders here that no worker uses any more."""
    for folder in _root().glob("*-*"):
        try:
            with (folder / ".lock").open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except FileNotFoundError:
            with contextlib.suppress(OSError):
                if time.time() - folder.stat().st_mtime > _YOUNG_S:
                    shutil.rmtree(folder, ignore_errors=True)
        except OSError:
            continue  # in use


def _own_root() -> None:
    """Make the folder for all of them; one that others could write to is not used.

    Raises:
        StorageError: It is another user's, or open to others.
    """
    root = _root()
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = root.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise StorageError(f"{root}: is not this user's alone; remove it, or name another folder with TMPDIR")


def _root() -> Path:
    return Path(tempfile.gettempdir()) / f"seti-tune-{os.getuid()}"
