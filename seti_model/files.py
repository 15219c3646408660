"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from seti_model.errors import SetiModelError

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


@contextlib.contextmanager
def written_whole(path: Path, error: type[SetiModelError], way: str) -> Iterator[Path]:
    """Give a path to write a file or a folder to; once all of it is on the disk, it takes the place of `path`.

    Where it fails or is interrupted, nothing of it stays. Only one process may write the same path.

    Args:
        path: A file is replaced, a folder must not exist; folders above it are made if need be.
        error: What is raised in place of an OSError.
        way: What its message says is to be done.
    """
    temporary = path.with_name(f".writing-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)  # of a process that was killed
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync_one(path.parent)
    except OSError as failure:
        raise error(f"{path}: cannot be written ({failure.strerror or failure}); {way}") from failure
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    if path.is_dir():
        for below in path.iterdir():
            _sync(below)
    _sync_one(path)


def _sync_one(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
