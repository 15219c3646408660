"""Files that appear whole or not at all, and records that no file may replace."""

from __future__ import annotations

import contextlib
import os
import threading
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from results.errors import RecordError
from results.run_folder import LOG_NAME

# What damaged archives, arrays and tables were seen to end in when they are read.
UNREADABLE = (
    OSError,
    ValueError,
    TypeError,
    AttributeError,
    LookupError,
    RuntimeError,
    EOFError,
    MemoryError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
)
# What a run, a data set or a model is read from: no table or page may be put over such a file.
_RECORDS = (".json", ".jsonl", ".keras", ".npy", ".npz", ".parquet", ".pb", ".toml")
LEDGER = "test_uses.jsonl"  # in a data set: who used its test split
_LOGS = {LOG_NAME: "the log of a run", LEDGER: "the list of the uses of a test split"}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old or the new one, never a part.

    Raises:
        RecordError: As `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write a file to; once that is on the disk, it takes the place of `path`.

    The folder is made if need be; the suffix of the path given is that of `path`.

    Raises:
        RecordError: It cannot be written, is a folder, or is a log; what was there is still there.
    """
    _require_file_name(path)
    # Threads of several processes may write the same file: the page of a run, for instance.
    temporary = path.with_name(f".{threading.get_native_id()}.{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot be written ({error.strerror or error}); free some space or name another file"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def check_output(path: Path) -> None:
    """Refuse a file named by a user that would replace a record; for commands that work before they write.

    Raises:
        RecordError: It is a folder, a log, or an existing file of a kind that runs, data sets and models are read from.
    """
    _require_file_name(path)
    if path.suffix.lower() in _RECORDS and os.path.lexists(path):
        raise RecordError(f"{path}: exists and may be part of a run, a data set or a model; name another file")


def _require_file_name(path: Path) -> None:
    name = path.name.lower()  # some file systems do not tell the case
    if name in _LOGS:
        raise RecordError(f"{path}: {name} is {_LOGS[name]}, which nothing may replace; name another file")
    if path.name in ("", "..") or os.path.isdir(path):  # noqa: PTH112 - of an unreadable path this is False
        raise RecordError(f"{path}: this is a folder, a file is expected; name a file in it or another one")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
