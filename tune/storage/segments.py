"""The log of a run in a store: `log/000000001.jsonl` and so on, the lines of one decision in one segment.

Each begins with a line that says which one it is and what the one before it was (SHA-256), so that a reader sees what
is missing and what was written twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path

from results.errors import RecordError
from results.log.lines import from_line
from results.log.reading import read_events
from results.log.recorder import is_being_written
from results.log.records import Checkpoint, StudyStarted
from results.log.state import fold
from results.run_folder import FINAL, INITIAL_MODEL, LOG_NAME, SOURCE, is_folder_name
from tune.errors import StorageError, StudyError
from tune.storage.lease import Lease
from tune.storage.store import Store, store_at

SEGMENTS = "log"
KEPT = (SOURCE, str(Path(INITIAL_MODEL).parent), FINAL)  # of a run folder, beside log and checkpoints
NOTHING = hashlib.sha256(b"").hexdigest()


class StoredLog:
    """A second place for the log of a run: what it is told stands in the store when it returns."""

    def __init__(self, store: Store, lease: Lease | None = None) -> None:
        """Begin with nothing read; without a lease it is only read."""
        self._store, self._lease = store, lease
        self._number, self._previous = 0, NOTHING
        self._is_lost = False

    def settle(self, log: Path) -> None:
        """Make the run folder's log and the store's the same: one of them may have more lines.

        Raises:
            RecordError: They are not of one run, or parted: two drivers went on from the same events.
            StorageError: The store does not answer, or what it holds is damaged.
        """
        stored, here = self.read(), log.read_bytes()
        if here.startswith(stored):
            if here == stored:
                return
            if not stored and any(isinstance(event, Checkpoint) for event in read_events(log.parent)):
                raise RecordError(
                    f"{self._store.named('')}: holds nothing of the run in {log.parent}, whose checkpoints are "
                    "elsewhere; copy the store of that run there first, or give its address"
                )
            self.write(here[len(stored) :])
        elif stored.startswith(here):
            with log.open("ab") as file:
                file.write(stored[len(here) :])
                file.flush()
                os.fsync(file.fileno())
        else:
            same = _same_lines(stored, here)
            raise RecordError(
                f"{log}, line {same + 1}: is another one in {self._store.named('')}; another driver has gone on "
                "there: move this folder away and continue with `seti-tune resume` and that address"
            )

    def read(self) -> bytes:
        """Return the log as the store has it.

        Raises:
            StorageError: A segment is missing, or one was written twice, or is damaged.
        """
        keys = [key for key in self._store.files(SEGMENTS) if key.endswith(".jsonl")]
        lines = []
        self._number, self._previous = 0, NOTHING
        for key, content in zip(keys, self._store.read_all(keys), strict=True):
            number = self._number + 1
            if key != _key(number):
                raise self._damaged(_key(number), "missing, later ones are there")
            head, _, rest = (content or b"").partition(b"\n")
            try:
                says = json.loads(head)
                belongs = (says["segment"], says["previous"])
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise self._damaged(key, "its first line does not say which segment it is") from error
            if belongs != (number, self._previous):
                why = f"was written twice, segment {number} follows another one"
                raise self._damaged(_key(number - 1) if number > 1 else key, why)
            if not rest.endswith(b"\n"):
                raise self._damaged(key, "its last line is cut off")
            lines.append(rest)
            self._number, self._previous = number, hashlib.sha256(content or b"").hexdigest()
        return b"".join(lines)

    def write(self, lines: bytes) -> None:
        """Write the next segment. Once the store was lost nothing more is written: what follows stays on the disk.

        Raises:
            StorageError: The store does not answer, or another driver writes to it.
        """
        if self._is_lost:
            return
        if self._lease is None:
            raise RuntimeError("a log in a store is written with a lease only")
        number = self._number + 1
        head = json.dumps({"segment": number, "previous": self._previous}).encode() + b"\n"
        try:
            self._lease.check()
            if not self._store.write_new(_key(number), head + lines):
                raise StorageError(
                    f"{self._store.named(_key(number))}: another driver has written this segment; look at the run "
                    "there, or start the same command again when it has ended"
                )
        except StorageError:
            self._is_lost = True
            raise
        self._number, self._previous = number, hashlib.sha256(head + lines).hexdigest()

    def _damaged(self, key: str, why: str) -> StorageError:
        return DamagedLogError(
            f"{self._store.named(key)}: {why}; restore it from a copy, or remove it and all later ones to continue "
            "from there"
        )


class DamagedLogError(StorageError):
    """Segments that are no whole log: the message names the first one that does not fit."""

    exit_code = 2


@contextlib.contextmanager
def stored_log(uri: str | None, *, say: Callable[[str], None], check: Callable[[], None]) -> Iterator[StoredLog | None]:
    """Give the log of a run in a store, held for writing; None where the study has no store.

    Args:
        uri: The address of the store.
        say: Called with a line before waiting for another driver.
        check: Called while waiting; what it raises ends it.

    Raises:
        StudyError: Another driver writes to this run.
        StorageError: The store does not answer.
    """
    if uri is None:
        yield None
        return
    store = store_at(uri)
    with Lease(store, say=say, check=check) as lease:
        yield StoredLog(store, lease)


def keep(uri: str | None, run: Path) -> None:
    """Copy what a run folder holds beside log and checkpoints to its store.

    Raises:
        StorageError: The store does not answer.
    """
    for name in KEPT if uri is not None else ():
        if (run / name).exists():
            store_at(str(uri)).put(run / name, name)


def restore(uri: str, run: Path | None) -> Path:
    """Make a run folder from what a store holds, `runs/<name of the study>` by default; return it.

    One that has a log already is given what that lacks.

    Raises:
        StudyError: The store holds no run, or the folder that of another.
        StorageError: The store does not answer, or what it holds is damaged.
        RecordError: The folder cannot be written to.
    """
    store = store_at(uri)
    lines = StoredLog(store).read()
    if not lines:
        raise StudyError(f"{store.named('')}: holds no run; give the uri that its study has in [storage]")
    folder = run or Path("runs") / _name(store, lines)
    log = folder / LOG_NAME
    if log.is_file() and log.stat().st_size:
        _bring_up(log, lines, store)
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in KEPT:
            store.fetch(name, folder / name)
        _replace(log, lines)  # last, so that a folder with a log is whole
    except OSError as error:
        raise RecordError(f"{folder}: cannot be written to ({error.strerror}); name another with --run") from error
    return folder


def bring_up_to_date(run: Path) -> None:
    """Give a run folder what its log lacks and the store has, before the study is read from it.

    Raises:
        StudyError: The store holds another run.
        StorageError: The store does not answer, or what it holds is damaged.
        RecordError: The log is damaged.
    """
    uri = fold(run).study.storage.uri
    if uri is not None:
        store = store_at(uri)
        _bring_up(run / LOG_NAME, StoredLog(store).read(), store)


def _bring_up(log: Path, stored: bytes, store: Store) -> None:
    here = log.read_bytes()
    whole = here[: here.rfind(b"\n") + 1]
    if stored and whole and stored.partition(b"\n")[0] != whole.partition(b"\n")[0]:
        raise StudyError(
            f"{log.parent}: holds another run than {store.named('')}; name another folder with --run, or the uri of "
            "this one"
        )
    if len(stored) > len(whole) and stored.startswith(whole) and not is_being_written(log.parent):
        _replace(log, stored)


def _replace(log: Path, lines: bytes) -> None:
    temporary = log.with_name(f".{secrets.token_hex(8)}.{LOG_NAME}")
    with temporary.open("xb") as file:
        file.write(lines)
    temporary.replace(log)


def _same_lines(one: bytes, other: bytes) -> int:
    pairs = zip(one.splitlines(), other.splitlines(), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _name(store: Store, lines: bytes) -> str:
    first = from_line(lines.partition(b"\n")[0])
    if not isinstance(first, StudyStarted):
        raise DamagedLogError(f"{store.named(_key(1))}: does not begin with study_started; restore it from a copy")
    name = first.study.study.name
    if not is_folder_name(name):
        raise DamagedLogError(f"{store.named(_key(1))}: names the study {name!r}, which is no name of a folder")
    return name


def _key(number: int) -> str:
    return f"{SEGMENTS}/{number:09d}.jsonl"
