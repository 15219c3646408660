"""Files that appear whole or not at all, records that no file may replace, and paths that stay below their root."""

from __future__ import annotations

import contextlib
import errno
import lzma
import os
import secrets
import shutil
import stat
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from results.errors import RecordError
from results.run_folder import (
    BEST,
    CHECKPOINTS,
    EXPORTS,
    FINAL,
    INITIAL_MODEL,
    LOG_NAME,
    PREPARED,
    RAY_FOLDER,
    RECEIPTS,
    STUDY_FILES,
)

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
# What a run, a data set or a model is read from: no table or page may be put over such a file.
_RECORDS = (".json", ".jsonl", ".keras", ".npy", ".npz", ".parquet", ".pb", ".toml")
# Where a run is written to, and how many folders deep; of checkpoints there are thousands, see `inside`.
_WRITTEN = {
    LOG_NAME: 0,
    CHECKPOINTS: 1,
    RECEIPTS: 1,
    FINAL: 2,
    BEST: 1,
    EXPORTS: 3,
    PREPARED: 2,
    INITIAL_MODEL.partition("/")[0]: 1,
    RAY_FOLDER: 0,
    STUDY_FILES: 1,
}
MOST_BYTES = 2**26  # of a record that is read whole
_LONGEST_NAME = 200  # bytes at most 255 with what is put before it
_SHOWN = 60  # letters of a path in a message
_RESTORE = "restore what names it from a copy"
LEDGER = "test_uses.jsonl"  # in a data set: who used its test split
_LOGS = {LOG_NAME: "the log of a run", LEDGER: "the list of the uses of a test split"}


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file, text as UTF-8, so that a reader sees the old or the new one, never a part.

    Raises:
        RecordError: As `replacing`.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give the path of a new, empty file to write to; once that is on the disk, it takes the place of `path`.

    The folder is made if need be; the suffix of the path given is that of `path`. A link at `path` is replaced, not
    followed.

    Raises:
        RecordError: It cannot be written, is a folder, a device or a pipe, or is a log; what was there is still there.
    """
    _require_file_name(path)
    # Several processes may write the same file, the page of a run for instance, and none may be sent elsewhere by a
    # link that another user has put there before.
    temporary = path.with_name(f".{secrets.token_hex(8)}.{_end(path.name)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666))
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


def read_moderate(path: Path, most: int = MOST_BYTES) -> bytes:
    """Return the content of a file that is never large; a pipe is not waited for.

    Raises:
        OSError: It is not there, cannot be read, is no file, or is larger than `most` bytes.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "is no regular file", str(path))
        if status.st_size > most:
            raise OSError(errno.EFBIG, f"{status.st_size} bytes, at most {most} are read", str(path))
        return file.read()


def inside(root: Path, relative: str | Path) -> Path:
    """Return a path that a file names, below a root; the root may be a link, below it none is followed.

    Raises:
        RecordError: It does not lie below the root, or a link leads to it.
    """
    if not is_below(relative):
        raise RecordError(f"{root}: a path below it is expected, found {str(relative)[:_SHOWN]!r}; {_RESTORE}")
    path = root
    for part in PurePosixPath(relative).parts:
        path = path / part
        try:
            is_link = path.is_symlink()
        except OSError as error:
            raise RecordError(f"{path}: cannot be used ({error.strerror}); {_RESTORE}") from error
        if is_link:
            raise RecordError(f"{path}: is a link, and none is followed below {root}; put there what it leads to")
    return path


def is_below(relative: str | Path) -> bool:
    """Return whether a path is relative, names something and leads upwards nowhere."""
    parts = PurePosixPath(relative).parts
    return bool(parts) and parts[0] != "/" and ".." not in parts and "\0" not in str(relative)


def remove_inside(root: Path, relative: str | Path) -> None:
    """Remove a file or folder below a root with all that is in it; links on the way and in it are not followed.

    Raises:
        RecordError: It does not lie below the root, or a link leads to it.
        OSError: Something of it cannot be removed.
    """
    path = inside(root, relative)
    folder = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for part in PurePosixPath(relative).parts[:-1]:
            above, folder = folder, os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
            os.close(above)
        if stat.S_ISDIR(os.lstat(path.name, dir_fd=folder).st_mode):
            shutil.rmtree(path.name, dir_fd=folder)
        else:
            os.unlink(path.name, dir_fd=folder)
    except FileNotFoundError:
        return
    finally:
        os.close(folder)


def _end(name: str) -> str:
    """Return the end of a name, its suffix in it, that leaves room for what is put before it."""
    return os.fsdecode(os.fsencode(name)[-_LONGEST_NAME:]) if name.isascii() else name[-_LONGEST_NAME // 4 :]


def refuse_links(run: Path) -> None:
    """Refuse a run folder from which a link leads elsewhere: what is written and deleted there would be elsewhere too.

    Raises:
        RecordError: The first one. The run folder itself may be a link.
    """
    for name, depth in _WRITTEN.items():
        refuse_links_in(run / name, depth)


def refuse_links_in(folder: Path, depth: int) -> None:
    """Refuse a folder that is a link, or has one in it, so many folders deep.

    Raises:
        RecordError: The first one.
    """
    for link in _links(folder, depth):
        raise RecordError(
            f"{link}: is a link, and what is written or deleted there would be elsewhere; put there what it leads to, "
            "or remove it"
        )


def _links(path: Path, depth: int) -> Iterator[Path]:
    """Yield the links among a path and what is in it, so many folders deep."""
    if path.is_symlink():
        yield path
        return
    if depth == 0:
        return
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_symlink():
                    yield Path(entry.path)
                elif depth > 1 and entry.is_dir(follow_symlinks=False):
                    yield from _links(Path(entry.path), depth - 1)
    except OSError:  # not there; or who writes there says why it cannot be
        return


def check_output(path: Path) -> None:
    """Refuse a file named by a user that would replace a record; for commands that work before they write.

    Raises:
        RecordError: It is a folder, a link, a device, a pipe or a log, or an existing file of a kind that runs, data
            sets and models are read from.
    """
    _require_file_name(path)
    if os.path.islink(path):  # noqa: PTH114 - of an unreadable path this is False
        raise RecordError(f"{path}: is a link, which would be replaced; name the file that it leads to")
    if path.suffix.lower() in _RECORDS and os.path.lexists(path):
        raise RecordError(f"{path}: exists and may be part of a run, a data set or a model; name another file")


def _require_file_name(path: Path) -> None:
    name = path.name.lower()  # some file systems do not tell the case
    if name in _LOGS:
        raise RecordError(f"{path}: {name} is {_LOGS[name]}, which nothing may replace; name another file")
    if path.name in ("", "..") or os.path.isdir(path):  # noqa: PTH112 - of an unreadable path this is False
        raise RecordError(f"{path}: this is a folder, a file is expected; name a file in it or another one")
    with contextlib.suppress(OSError):  # whoever writes it says why it cannot be
        kind = path.lstat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISLNK(kind)):
            raise RecordError(f"{path}: is a device, a pipe or a socket, which would be replaced; name a file")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
