"""Rows of images that several processes need: each makes parts that nobody else has begun, all read one file."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE, written_whole

Rows = npt.NDArray[Any]  # (n, ...)


def shared_rows(file: Path, n: int, make: Callable[[int, int], Rows], *, part: int) -> Rows:
    """Return the `n` rows of `file`, made together with all who ask for it at the same time, in parts of `part` rows.

    A part whose maker dies is made by another one. What is returned is a plain array over the file: its pages are
    shared by all who read it.

    Args:
        file: An `.npy` file, whole or not there; its folder is made if need be.
        n: Number of rows, at least 1.
        make: From the first row of a part and the one after its last to its rows; the same whoever makes them.
        part: Rows made at a time.

    Raises:
        DatasetError: The file cannot be written, or is damaged.
    """
    if not file.exists():
        parts = file.with_name(f".parts-{file.stem}")
        try:
            parts.mkdir(parents=True, exist_ok=True)
            _make_all(file, parts, n, make, part)
        except (OSError, DatasetError) as error:
            if not file.exists():  # else another process has put the parts together and removed them
                if isinstance(error, DatasetError):
                    raise
                way = "free some space, or use a disk that can lock files"
                raise DatasetError(f"{file}: cannot be written ({error.strerror or error}); {way}") from error
        shutil.rmtree(parts, ignore_errors=True)
    try:
        return np.asarray(np.load(file, mmap_mode="r"))
    except UNREADABLE as error:
        way = f"delete {file.parent} and start the same command again"
        raise DatasetError(f"{file}: cannot be used ({error}); {way}") from error


def _make_all(file: Path, parts: Path, n: int, make: Callable[[int, int], Rows], part: int) -> None:
    pieces = [(parts / f"{first:09d}.npy", first) for first in range(0, n, part)]
    for wait in (False, True):  # first what nobody has begun, then what others have begun and perhaps left
        for piece, first in pieces:
            with _lock(piece, wait=wait) as is_held:
                if is_held and not piece.exists() and not file.exists():
                    with written_whole(piece, DatasetError, "free some space") as temporary, temporary.open("wb") as to:
                        np.save(to, make(first, min(first + part, n)), allow_pickle=False)
    with _lock(parts / "whole", wait=True):
        if not file.exists():
            _put_together(file, [piece for piece, _ in pieces], n)


def _put_together(file: Path, pieces: list[Path], n: int) -> None:
    with written_whole(file, DatasetError, "free some space") as temporary:
        done, whole = 0, None
        for rows in map(np.load, pieces):  # one at a time in memory
            if whole is None:
                whole = np.lib.format.open_memmap(temporary, "w+", dtype=rows.dtype, shape=(n, *rows.shape[1:]))
            if rows.dtype != whole.dtype or rows.shape[1:] != whole.shape[1:]:
                raise DatasetError(
                    f"{file}: some images are {whole.dtype} {whole.shape[1:]}, others {rows.dtype} {rows.shape[1:]}; "
                    "prepare all of them alike"
                )
            whole[done : done + len(rows)] = rows
            done += len(rows)
        del whole  # written back


@contextlib.contextmanager
def _lock(file: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the lock beside a file; gives whether it is held, which without `wait` it may not be."""
    with os.fdopen(os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            yield False
        else:
            yield True
