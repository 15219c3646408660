"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import lzma
import os
import secrets
import shutil
import stat
import sys
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil

from seti_model.errors import SetiModelError

ARCHIVE_BYTES, ARCHIVE_RATIO = 2**29, 100
_WRITING, _HEX = ".writing-", "[0-9a-f]" * 16
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
    ArithmeticError,
    tokenize.TokenError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
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
    _require_replaceable(path, error)
    # Of a name that nobody can know before: a link that waits there would lead the writer elsewhere.
    temporary = path.with_name(f"{_WRITING}{secrets.token_hex(8)}-{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        for left in path.parent.glob(f"{_WRITING}{_HEX}-{glob.escape(path.name)}"):  # by a process that was killed
            _remove(left)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync_one(path.parent)
    except OSError as failure:
        raise error(f"{path}: cannot be written ({failure.strerror or failure}); {way}") from failure
    finally:
        with contextlib.suppress(OSError):
            _remove(temporary)


def require_file(path: Path, error: type[SetiModelError]) -> None:
    """Refuse what would never end when it is read: a pipe, a device; what is not there says so when it is opened.

    Args:
        path: A file, or a link to one.
        error: What is raised.
    """
    with contextlib.suppress(OSError, ValueError):
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise error(f"{path}: is a device, a pipe or a socket, a file is expected; save what it gives as a file")


def check_archive(path: Path, error: type[SetiModelError]) -> None:
    """Refuse an `.npz` file that would become much larger than any data set is: a bomb.

    Raises:
        SetiModelError: As `error`; a file that is no archive is left to its reader.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            claimed = sum(one.file_size for one in archive.infolist())
        there = path.stat().st_size
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, NotImplementedError):
        return
    if would_burst(claimed, there):
        raise error(
            f"{path}: holds {claimed / 1e6:.0f} MB in {there / 1e6:.1f} MB; at most {ARCHIVE_BYTES / 1e6:.0f} MB, or "
            f"{ARCHIVE_RATIO} times the file, are read; save it uncompressed with numpy.savez"
        )
    require_room(f"{path}", claimed, error)


def would_burst(inside: int, there: int) -> bool:
    """Return whether an archive of `there` bytes claims to hold more, `inside`, than any that was made to be read."""
    return inside > max(ARCHIVE_BYTES, ARCHIVE_RATIO * there)


def require_room(place: str, needed: int, error: type[SetiModelError]) -> None:
    """Refuse what does not fit into the memory that is free, before it is taken.

    Args:
        place: What needs it, for the message.
        needed: Bytes.
        error: What is raised.
    """
    free = psutil.virtual_memory().available
    if needed > free:
        raise error(
            f"{place}: its images need {needed / 1e9:.1f} GB of memory, {free / 1e9:.1f} GB are free; make them "
            "smaller or fewer"
        )


def _require_replaceable(path: Path, error: type[SetiModelError]) -> None:
    with contextlib.suppress(OSError, ValueError):
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind) or stat.S_ISLNK(kind)):
            raise error(f"{path}: is a device, a pipe or a socket, which would be replaced; name a file")


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


def is_unicode(array: npt.NDArray[Any]) -> bool:
    """Return whether an array holds no text that cannot be: NumPy reads any 32 bits as a letter, Python does not."""
    if array.dtype.kind != "U" or not array.size:
        return True
    letters = np.ascontiguousarray(array).view(np.dtype(np.uint32).newbyteorder(array.dtype.byteorder))
    return int(letters.max()) <= sys.maxunicode
