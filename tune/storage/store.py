"""Files at an address that pyarrow reads: `put`, `fetch` and `exists`, asked again where the store does not answer.

Credentials are taken from the environment, as pyarrow and AWS do.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from pyarrow import ArrowException
from pyarrow import fs as arrow_fs

from results.files import is_below
from tune.errors import DiskError, StorageError, StorageRefusedError

WAITS_S = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)  # between two tries: an outage of half a minute ends nothing
ANSWER_S = 15.0  # for an answer to begin; a long file may take its time
AT_ONCE = 16  # files of a folder
PIECE = 2**22
PART = ".part"  # ends the name of a file that is being written
_OURS = ("endpoint_override", "region", "scheme")  # of a query, what a client of ours is made with
_WHOLE = ("s3", "gcs", "abfs")  # types of stores where a file appears whole, and has no folder
_REFUSALS = ("NO_SUCH_BUCKET", "ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "NO_CREDENTIALS")
_BOTO_REFUSALS = ("NoSuchBucket", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch")
T = TypeVar("T")


@functools.cache
def store_at(uri: str) -> Store:
    """Return the store at an address, one in each process.

    Raises:
        StorageError: As `Store`.
    """
    return Store(uri)


class Store:
    """All that lies below one address; keys are relative to it, with slashes."""

    def __init__(self, uri: str, *, waits_s: Sequence[float] = WAITS_S, is_conditional: bool = True) -> None:
        """Make the client; nothing is read yet.

        Args:
            uri: `s3://bucket/prefix` or any other that pyarrow reads.
            waits_s: Between two tries, in turn.
            is_conditional: Whether boto3 may be used where it is installed, so that the store itself lets a file be
                written once only.

        Raises:
            StorageRefusedError: pyarrow knows no such store.
            StorageError: The store does not say where it is.
        """
        self.uri = uri
        self._waits_s = tuple(waits_s)
        self._fs, self._root = self._trying("", lambda: _opened(uri, ANSWER_S))
        self._is_whole = self._fs.type_name in _WHOLE
        self._boto: Any = _boto_client(uri) if is_conditional and self._fs.type_name == "s3" else None

    @property
    def is_conditional(self) -> bool:
        """Whether the store itself refuses a second file of one name to `write_new`."""
        return self._boto is not None

    def put(self, source: Path, key: str) -> None:
        """Copy a file, or a folder with all that is in it, to the store.

        Raises:
            StorageError: The store does not answer.
        """
        if source.is_dir():
            files = [path for path in sorted(source.rglob("*")) if path.is_file()]
            self._all(files, lambda file: self.put(file, f"{key}/{file.relative_to(source).as_posix()}"))
            return

        def copy(stream: Any) -> None:
            with source.open("rb") as reader:
                shutil.copyfileobj(reader, stream, PIECE)

        self._trying(key, lambda: self._written(key, copy))

    def fetch(self, key: str, target: Path, *, without: Sequence[str] = ()) -> bool:
        """Copy a file or a folder from the store; return whether anything is there.

        Args:
            key: What is fetched.
            target: What it becomes here: whole or not at all.
            without: Names of files that are left out.

        Raises:
            StorageError: The store does not answer.
            DiskError: The disk here is full or cannot be written.
        """
        inside = self.files(key)
        names = {file: file.removeprefix(f"{key}/") for file in inside if file.rpartition("/")[2] not in without}
        for name in names.values():
            if not is_below(name):
                raise StorageRefusedError(
                    f"{self.named(key)}: holds a file {name!r}, which would lie outside of {target}; remove it"
                )
        temporary = target.with_name(f".{secrets.token_hex(8)}.{target.name}")
        try:
            if not inside:
                return self._copied(key, temporary, target)
            self._all(list(names), lambda file: self._download(file, temporary / names[file]))
            shutil.rmtree(target, ignore_errors=True)
            temporary.rename(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.unlink(missing_ok=True)
        return True

    def exists(self, key: str) -> bool:
        """Return whether there is a file of this name, or a folder with one.

        Raises:
            StorageError: The store does not answer.
        """
        found = self._trying(key, lambda: self._fs.get_file_info(self._path(key)))
        if found.type == arrow_fs.FileType.Directory:
            return bool(self.files(key))
        return bool(found.type == arrow_fs.FileType.File)

    def files(self, folder: str) -> list[str]:
        """Return the keys of all files below a folder, sorted; none where there is no such folder.

        Raises:
            StorageError: The store does not answer.
        """
        selector = arrow_fs.FileSelector(self._path(folder), recursive=True, allow_not_found=True)

        def names() -> list[str]:
            try:
                found = self._fs.get_file_info(selector)
            except NotADirectoryError:
                return []
            paths = [info.path for info in found if info.type == arrow_fs.FileType.File]
            return sorted(path.removeprefix(f"{self._root}/") for path in paths if not path.endswith(PART))

        return self._trying(folder, names)

    def write(self, key: str, content: bytes) -> None:
        """Write a small file, in place of one that is there.

        Raises:
            StorageError: The store does not answer.
        """
        self._trying(key, lambda: self._written(key, lambda stream: stream.write(content)))

    def write_new(self, key: str, content: bytes) -> bool:
        """Write a small file that must not be there yet; return False where there is one with another content.

        Raises:
            StorageError: The store does not answer.
        """
        is_new = None if self._boto is None else self._trying(key, lambda: self._put_once(key, content))
        if is_new:
            return True
        found = self.read(key)  # of an earlier try that was not answered, it may be ours
        if found is not None or is_new is False:
            return found == content
        self.write(key, content)
        return True

    def read(self, key: str) -> bytes | None:
        """Return the content of a file; None where there is none.

        Raises:
            StorageError: The store does not answer.
        """

        def content() -> bytes | None:
            try:
                with self._fs.open_input_file(self._path(key)) as stream:
                    return bytes(stream.read())
            except FileNotFoundError:
                return None

        return self._trying(key, content)

    def read_all(self, keys: Sequence[str]) -> Iterator[bytes | None]:
        """Yield the contents of many files in the order of `keys`, several read at a time.

        Raises:
            StorageError: The store does not answer.
        """
        with ThreadPoolExecutor(AT_ONCE) as pool:
            yield from pool.map(self.read, keys)

    def remove(self, *keys: str) -> None:
        """Remove files; one that is not there is none the less gone.

        Raises:
            StorageError: The store does not answer.
        """

        def gone(key: str) -> None:
            try:
                self._fs.delete_file(self._path(key))
            except FileNotFoundError:
                return

        self._all(list(keys), lambda key: self._trying(key, lambda: gone(key)))

    def named(self, key: str) -> str:
        """Return the address of a file, without the query."""
        address = self.uri.partition("?")[0].rstrip("/")
        return f"{address}/{key}" if key else address

    def _path(self, key: str) -> str:
        return f"{self._root}/{key}"

    def _all(self, items: Sequence[T], work: Callable[[T], object]) -> None:
        if len(items) == 1:
            work(items[0])
            return
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(work, items))

    def _written(self, key: str, write: Callable[[Any], object]) -> None:
        """Write a file so that no reader sees a part of it."""
        path = self._path(key)
        if self._is_whole:
            with self._fs.open_output_stream(path) as stream:
                write(stream)
            return
        temporary = f"{path}.{secrets.token_hex(4)}{PART}"
        self._fs.create_dir(path.rpartition("/")[0], recursive=True)
        try:
            with self._fs.open_output_stream(temporary) as stream:
                write(stream)
            if self._fs.type_name == "local":
                with open(temporary, "rb") as file:  # noqa: PTH123 - pyarrow's paths are texts
                    os.fsync(file.fileno())
            self._fs.move(temporary, path)
        except BaseException:
            if self._fs.get_file_info(temporary).type == arrow_fs.FileType.File:
                self._fs.delete_file(temporary)
            raise

    def _put_once(self, key: str, content: bytes) -> bool | None:
        """Ask the store for a file that is not there yet; return None where it does not know such a request."""
        bucket, _, name = self._path(key).partition("/")
        try:
            self._boto.put_object(Bucket=bucket, Key=name, Body=content, IfNoneMatch="*")
        except Exception as error:
            code = getattr(error, "response", {}).get("Error", {}).get("Code", "")
            if code in ("PreconditionFailed", "412"):
                return False
            if code in ("NotImplemented", "501"):
                self._boto = None
                return None
            if code in _BOTO_REFUSALS or type(error).__name__ == "NoCredentialsError":
                raise StorageRefusedError(_refused(self.named(key), error)) from error
            raise OSError(str(error)) from error
        return True

    def _copied(self, key: str, temporary: Path, target: Path) -> bool:
        try:
            self._download(key, temporary)
        except FileNotFoundError:
            return False
        temporary.replace(target)
        return True

    def _download(self, key: str, target: Path) -> None:
        def copy() -> None:
            with self._fs.open_input_stream(self._path(key)) as stream:
                _here(target, lambda: target.parent.mkdir(parents=True, exist_ok=True))
                with _here(target, lambda: target.open("wb", buffering=0)) as file:
                    for piece in iter(lambda: stream.read(PIECE), b""):
                        _here(target, functools.partial(_write_all, file, piece))

        self._trying(key, copy)

    def _trying(self, key: str, work: Callable[[], T]) -> T:
        """Do something that may have to be done again; a file that is not there is an answer."""
        waits, tries = iter(self._waits_s), itertools.count(1)
        while True:
            number, wait = next(tries), next(waits, None)
            try:
                return work()
            except FileNotFoundError:
                raise
            except (ValueError, NotImplementedError) as error:
                raise StorageRefusedError(
                    f"{self.named(key)}: cannot be used ({_words(error)}); give an address that pyarrow reads, "
                    "such as s3://bucket/prefix"
                ) from error
            except (OSError, ArrowException) as error:
                if any(word in str(error) for word in _REFUSALS):
                    raise StorageRefusedError(_refused(self.named(key), error)) from error
                if wait is None:
                    raise StorageError(
                        f"{self.named(key)}: no answer to {number} tries ({_words(error)}); everything recorded so "
                        "far is kept, start the same command again to go on"
                    ) from error
            time.sleep(wait)


def _here(target: Path, work: Callable[[], T]) -> T:
    """Do something on the disk of this machine; where that fails, asking the store again would not help."""
    try:
        return work()
    except OSError as error:
        raise DiskError(
            f"{target}: cannot be written ({error.strerror or error}); free some space there and start the same "
            "command again"
        ) from error


def _write_all(file: IO[bytes], piece: bytes) -> None:
    rest = memoryview(piece)
    while rest:
        rest = rest[file.write(rest) :]


def _opened(uri: str, answer_s: float) -> tuple[Any, str]:
    """Return pyarrow's file system and the path in it; for S3 with our own patience instead of its own."""
    parts = urlsplit(uri)
    query = dict(parse_qsl(parts.query))
    if parts.scheme != "s3" or not set(query) <= set(_OURS):
        file_system, root = arrow_fs.FileSystem.from_uri(uri)
        return file_system, root.rstrip("/")
    if not parts.netloc:
        raise ValueError("no bucket is named")
    if not query.keys() & {"region", "endpoint_override"}:
        query["region"] = arrow_fs.resolve_s3_region(parts.netloc)
    file_system = arrow_fs.S3FileSystem(
        **query,
        request_timeout=answer_s,
        connect_timeout=answer_s,
        retry_strategy=arrow_fs.AwsStandardS3RetryStrategy(max_attempts=1),
        allow_delayed_open=True,
    )
    return file_system, f"{parts.netloc}{unquote(parts.path)}".rstrip("/")


def _boto_client(uri: str) -> Any:
    """Return a client of boto3, which can ask for a file to be new; None where it is not installed."""
    try:
        boto3, config = importlib.import_module("boto3"), importlib.import_module("botocore.config")
    except ImportError:
        return None
    query = dict(parse_qsl(urlsplit(uri).query))
    endpoint = query.get("endpoint_override")
    url = None if endpoint is None else f"{query.get('scheme', 'https')}://{endpoint.rpartition('://')[2]}"
    once = {"total_max_attempts": 1}  # we try again ourselves
    settings = config.Config(retries=once, read_timeout=ANSWER_S, connect_timeout=ANSWER_S)
    region = query.get("region") or ("us-east-1" if url else None)
    return boto3.client("s3", endpoint_url=url, region_name=region, config=settings)


def _refused(address: str, error: Exception) -> str:
    return (
        f"{address}: refused ({_words(error)}); make the bucket, or give credentials for it in the environment, as AWS "
        "takes them"
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split()).rstrip(".")
