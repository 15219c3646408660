"""Images as they arrive, one row of a table each: frames in a pipe, or the files of a folder that is followed."""

from __future__ import annotations

import csv
import io
import math
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.files import check_output
from results.log.recorder import take_lock, whole_lines
from results.scan import STREAM, absolute
from results.text import csv_cell, printable
from seti_model.data.sources.pictures import SUFFIXES
from seti_model.data.sources.unlabelled import read_unlabelled
from seti_model.errors import DatasetError
from tune.errors import ScanError
from tune.process.signals import Interrupted, Signals
from tune.scan.engine import Block, Engine, Rates, Reading
from tune.scan.source import POLL_S, SETTLED_S, stamp

if TYPE_CHECKING:  # what it imports takes seconds
    from seti_model.exported import ExportedModel

_BATCH = 64


@dataclass(frozen=True)
class Frames:
    """Frames of one size in a pipe, 8-bit pixels row by row; those that have arrived go together."""

    pipe: BinaryIO
    shape: tuple[int, int, int]
    reading: Reading

    def blocks(self) -> Iterator[Block]:
        """Yield frames as soon as one is there; say at the end what fills none."""
        size, data, first = math.prod(self.shape), bytearray(), 0
        while True:
            before = time.monotonic()
            some = self.pipe.read1(_BATCH * size - len(data))  # type: ignore[attr-defined]
            self.reading.add(arrival_s=time.monotonic() - before)
            data += some
            n = len(data) // size
            if n:
                images = np.frombuffer(bytes(data[: n * size]), np.uint8).reshape(n, *self.shape)
                places = tuple((STREAM, first + i) for i in range(n))
                yield Block(STREAM, first, n, images, places, time.monotonic())
                first, data = first + n, data[n * size :]
            if not some:
                if data:
                    print(f"note: {len(data)} bytes at the end are no frame of {size}: dropped", file=sys.stderr)
                return


class Folder:
    """The pictures of a folder as they arrive; a file counts once it has not changed for half a second."""

    def __init__(self, folder: Path, model: ExportedModel, done: set[str], reading: Reading) -> None:
        """Remember the folder, and which files are done, by their cells in the table."""
        self._folder, self._model, self._done, self._reading = folder, model, done, reading
        self._stamps: dict[Path, tuple[int, int] | None] = {}
        self._bad: dict[Path, tuple[int, int] | None] = {}

    def blocks(self, idle_s: float | None) -> Iterator[Block]:
        """Yield what is there and what arrives, for ever or until nothing came for so long.

        Raises:
            DatasetError: The folder is gone.
        """
        last = time.monotonic()
        while True:
            files = self._settled()
            for start in range(0, len(files), _BATCH):
                block = self._read(files[start : start + _BATCH])
                if block.tiles:
                    yield block
                    last = time.monotonic()
            if idle_s is not None and time.monotonic() - last > idle_s:
                return
            time.sleep(POLL_S)
            self._reading.add(arrival_s=POLL_S)

    def _settled(self) -> list[Path]:
        """Return the files that are not done and have not changed since the last look."""
        try:
            names = sorted(entry.name for entry in os.scandir(self._folder) if not entry.name.startswith("."))
        except OSError as error:
            raise DatasetError(f"{self._folder}: cannot be read ({error.strerror}); give a folder") from error
        found = [self._folder / name for name in names if name.lower().endswith(SUFFIXES)]
        stamps = {file: stamp(file) for file in found if cell_of(file) not in self._done}
        before, self._stamps = self._stamps, stamps
        return [file for file, one in stamps.items() if one and one == before.get(file) and one != self._bad.get(file)]

    def _read(self, files: Sequence[Path]) -> Block:
        """Return the images of some files; those that cannot be read and are old enough are named and left out."""
        begun = time.monotonic()
        images, places = [np.empty((0, *self._model.shape), np.uint8)], list[tuple[str, int]]()
        for file in files:
            try:
                some = read_unlabelled(file, self._model.shape, self._model.kind.picture)
            except DatasetError as error:
                if (one := self._stamps[file]) and time.time() - one[1] / 1e9 > SETTLED_S:
                    self._bad[file] = one
                    print(f"note: left out: {printable(str(error))}", file=sys.stderr)
                continue
            images.append(some.images)
            places += [(printable(absolute(file)), index) for index in some.indices]
            self._done.add(cell_of(file))
        self._reading.add(disk_s=time.monotonic() - begun)
        return Block(str(self._folder), 0, len(places), np.concatenate(images), tuple(places), begun)


def cell_of(file: Path) -> str:
    """Return a file as it stands in the table."""
    return str(csv_cell(printable(absolute(file))))


class Table:
    """A table of predictions that grows: rows are on the disk before more is read, and a file is never in it twice."""

    def __init__(self, path: Path | None, model: ExportedModel, *, goes_on: bool) -> None:
        """Open a table, or standard output where `path` is None.

        Args:
            path: Its file; one that is there is continued, without a torn last line, if the model is the same.
            model: Whose predictions they are.
            goes_on: Whether what is there stays.

        Raises:
            ScanError: It was made by another model, or another process writes it.
            RecordError: It cannot be written.
        """
        self._head = ["file", "index", "predicted", *(f"p_{name}" for name in model.class_names)]
        self._digest, self._names = model.digest or model.weights_digest, model.class_names
        self._path, self._descriptor, self.done, self.rows = path, -1, set[str](), 0
        if path is None:
            print(_line(self._head), end="", flush=True)
        else:
            check_output(path)
            try:
                self._open(path, goes_on=goes_on)
            except OSError as error:
                self.close()
                raise RecordError(f"{path}: cannot be written ({error.strerror}); name another file") from error
            except ScanError:
                self.close()
                raise

    def record(self, block: Block, y_prob: npt.NDArray[np.float32]) -> None:
        """Write the rows of a block.

        Raises:
            RecordError: The disk is full or gone; what was written before stays.
        """
        lines = "".join(
            _line([file, str(index), self._names[row.argmax()], *(f"{value:.6f}" for value in row)])
            for (file, index), row in zip(block.places, y_prob, strict=True)
        )
        self.rows += len(block.places)
        if self._descriptor < 0:
            print("".join(f"{printable(line)}\n" for line in lines.splitlines()), end="", flush=True)
            return
        size = os.fstat(self._descriptor).st_size
        try:
            self._write(lines)
        except OSError as error:
            os.ftruncate(self._descriptor, size)
            raise RecordError(
                f"{self._path}: cannot be written ({error.strerror}); free some space and start the same command again"
            ) from error

    def close(self) -> None:
        """Let others write it. A second call does nothing."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, lines: str) -> None:
        data = memoryview(lines.encode("utf-8", "backslashreplace"))
        while data:
            data = data[os.write(self._descriptor, data) :]
        os.fsync(self._descriptor)

    def _open(self, path: Path, *, goes_on: bool) -> None:
        of_model = path.with_name(f"{path.name}.model")
        self._descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
        try:
            take_lock(self._descriptor)
        except BlockingIOError as error:
            raise ScanError(f"{path}: another process writes it; wait for it, or name another --csv") from error
        os.ftruncate(self._descriptor, whole_lines(path) if goes_on else 0)
        if os.fstat(self._descriptor).st_size == 0:
            of_model.write_text(f"{self._digest}\n")
            self._write(_line(self._head))
            return
        if not of_model.is_file() or of_model.read_text().strip() != self._digest:
            raise ScanError(f"{path}: holds predictions of another model; name another --csv")
        with path.open(newline="", encoding="utf-8") as file:
            self.done = {row["file"] for row in csv.DictReader(file)}


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerow([csv_cell(cell) for cell in cells])
    return text.getvalue()


def predict_arriving(
    model: ExportedModel, table: Table, blocks: Callable[[Reading], Iterator[Block]], *, batch: int | None
) -> int:
    """Classify images as they arrive, until their end or a signal; return the exit code.

    Args:
        model: Ready to predict.
        table: Where the rows go.
        blocks: Gives the source; it adds up what it waited.
        batch: Images at a time; None: as in `ExportedModel.predict`.
    """
    signals, reading, received = Signals(), Reading(), None
    engine = Engine(
        predict=lambda images: model.predict(images, batch=batch),
        record=table.record,
        show=lambda rates: print(_words(rates), file=sys.stderr),
        check=signals.check,
        reading=reading,
    )
    model.warm_up()
    try:
        with signals.installed():
            engine.run(blocks(reading))
    except Interrupted as interrupted:
        received = interrupted.name
    print(_words(engine.rates()), file=sys.stderr)
    return {None: 0, "SIGINT": 130}.get(received, 3)


def _words(rates: Rates) -> str:
    return (
        f"{rates.tiles} images, {rates.tiles_per_s:.1f} images/s, latency p50 {rates.latency_p50_s:.3f} s, p99 "
        f"{rates.latency_p99_s:.3f} s; the reader waited {rates.reader_waited_s:.1f} s for the network, the network "
        f"{rates.network_waited_s:.1f} s for the reader"
    )
