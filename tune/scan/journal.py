"""The one writer of a scan's journal: a block is done once its line, with its candidates, is on the disk."""

from __future__ import annotations

import math
import os
from pathlib import Path
from types import TracebackType
from typing import Self

from results.errors import RecordError
from results.log.recorder import take_lock, whole_lines
from results.scan import (
    CANDIDATES,
    HEAD,
    JOURNAL,
    Line,
    ScanBegun,
    ScannedBlock,
    ScannedFile,
    absolute,
    csv_lines,
    read_journal,
    to_line,
)
from seti_model.data.spectra.filterbank import Header
from tune.errors import ScanError

_ELSEWHERE = "choose another --out"


class Journal:
    """The journal of a folder, open for writing; it holds a lock that the kernel drops when the process dies.

    Attributes:
        done: Tiles that are done, by the absolute path of a file.
        tiles: All of them.
        skipped: How many of them were not classified.
        n_blank: Values that were no numbers.
        n_candidates: Candidates that were found.
        n_pictures: Candidates that have a picture.
    """

    def __init__(self, folder: Path, begun: ScanBegun, *, goes_on: bool = True) -> None:
        """Take the lock, cut off a torn last line, and read how far an earlier process came.

        Args:
            folder: Is made if need be.
            begun: What is scanned with; that of the journal must be the same, wherever the model lies.
            goes_on: Whether a journal that is there already may be continued.

        Raises:
            ScanError: Another process is scanning into this folder, it was begun otherwise, or it cannot go on.
            RecordError: The folder cannot be written to, or the journal is damaged.
        """
        self.folder, self._path = folder, folder / JOURNAL
        self.done: dict[str, int] = {}
        self.files: dict[str, ScannedFile] = {}  # by their absolute path, in the order of their numbers
        self.tiles = self.skipped = self.n_blank = self.n_candidates = self.n_pictures = 0
        self._descriptor = self._opened()
        try:
            os.ftruncate(self._descriptor, whole_lines(self._path))
            if os.fstat(self._descriptor).st_size == 0:
                self._append(begun)
            elif not goes_on:
                raise ScanError(f"{folder}: has a journal, and standard input cannot be continued; {_ELSEWHERE}")
            self._recall(begun)
        except BaseException:
            self.close()
            raise

    def require_same(self, header: Header) -> None:
        """Make sure that a file that was begun is still that file.

        Raises:
            ScanError: It was replaced.
        """
        found = _scanned_file(header)
        if self.files.get(found.file, found) != found:
            raise ScanError(
                f"{header.path}: another file than the one that was begun (start, channels or source differ); "
                f"restore it, or {_ELSEWHERE}"
            )

    def file(self, header: Header) -> int:
        """Return the number of a file, which is written down before its first block."""
        found = _scanned_file(header)
        if found.file not in self.files:
            self.files[found.file] = found
            self._append(found)
        return list(self.files).index(found.file)

    def block(self, block: ScannedBlock) -> None:
        """Put a block and its candidates on the disk; then it is done."""
        self._append(block)
        self._count(block)
        if block.candidates:
            self._table.write(csv_lines(block.candidates))
            self._table.flush()

    def close(self) -> None:
        """Release the lock. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            if table := getattr(self, "_table", None):
                table.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self) -> int:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            descriptor = os.open(self._path, flags, 0o644)
        except OSError as error:
            raise RecordError(f"{self.folder}: cannot be written to ({error.strerror}); {_ELSEWHERE}") from error
        try:
            take_lock(descriptor)
        except BlockingIOError as error:
            os.close(descriptor)
            raise ScanError(f"{self.folder}: another process scans into it; wait for it, or {_ELSEWHERE}") from error
        return descriptor

    def _recall(self, begun: ScanBegun) -> None:
        """Read what is there, and write the table of candidates from it."""
        table = self.folder / CANDIDATES
        if table.is_symlink() or (table.exists() and not table.is_file()):
            raise RecordError(f"{table}: is no file, a table is written there; remove it")
        self._table = table.open("w", encoding="utf-8", newline="")
        self._table.write(HEAD)
        for record in read_journal(self.folder):
            if isinstance(record, ScanBegun):
                _require_same(self.folder, record, begun)
            elif isinstance(record, ScannedFile):
                self.files[record.file] = record
            else:
                self._count(record)
                self._table.write(csv_lines(record.candidates))
        self._table.flush()

    def _count(self, block: ScannedBlock) -> None:
        self.done[block.file] = block.first + block.tiles
        self.tiles += block.tiles
        self.skipped += len(block.skipped)
        self.n_blank += block.n_blank
        self.n_candidates += len(block.candidates)
        self.n_pictures += sum(candidate.picture is not None for candidate in block.candidates)

    def _append(self, record: Line) -> None:
        data, size = memoryview(to_line(record)), os.fstat(self._descriptor).st_size
        try:
            while data:
                data = data[os.write(self._descriptor, data) :]
            os.fsync(self._descriptor)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise RecordError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and start the same command "
                "again, everything recorded so far is kept"
            ) from error


def _require_same(folder: Path, earlier: ScanBegun, now: ScanBegun) -> None:
    """Refuse to go on with what would find other candidates; the model may lie elsewhere now."""
    words = {
        "model_digest": "another model",
        "tiling": "another tiling",
        "series": "other samples",
        "threshold": "another threshold",
        "background": "another background",
        "class_names": "other classes",
        "batch": "another --batch",
        "false_alarm": "another threshold",
    }
    for name, what in words.items():
        before, after = getattr(earlier, name), getattr(now, name)
        if before != after:
            raise ScanError(f"{folder}: was begun with {what} ({_short(before)}, now {_short(after)}); {_ELSEWHERE}")


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:24]}…"


def _scanned_file(header: Header) -> ScannedFile:
    return ScannedFile(
        file=absolute(header.path),
        n_channels=header.n_channels,
        dt_s=known(header.dt_s),
        first_frequency_mhz=known(header.first_frequency_mhz),
        df_mhz=known(header.df_mhz),
        start_mjd=known(header.start_mjd),
        source_name=header.source_name,
    )


def known(value: float) -> float | None:
    """Return a number, None for one that is not known: NaN."""
    return value if math.isfinite(value) else None
