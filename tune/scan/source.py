"""Where the blocks of a scan come from: files of spectra, a folder as files arrive in it, or samples as they arrive."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from results.scan import STREAM, absolute
from seti_model.data.recipe import power_of
from seti_model.data.spectra.filterbank import (
    FIL_SUFFIXES,
    HDF5_SUFFIXES,
    MOST_VALUES,
    SERIES_SUFFIXES,
    Header,
    Power,
    Spectra,
    open_spectra,
)
from seti_model.data.spectra.tiles import TilePlace, Tiling, count_tiles, read_tiles
from seti_model.data.spectra.voltages import TimeSeries
from seti_model.errors import DatasetError
from tune.scan.engine import Block, Reading

SUFFIXES = (*FIL_SUFFIXES, *HDF5_SUFFIXES, *SERIES_SUFFIXES)
BLANK = "more than half of its values are no numbers"
CONSTANT = "all its values are the same"
POLL_S = 0.5
SETTLED_S = 10.0  # a file that cannot be opened and has not changed for so long is named
_CHUNK = 2**20  # bytes of standard input at once


@dataclass(frozen=True)
class Cut:
    """How files become blocks."""

    tiling: Tiling
    series: TimeSeries
    batch: int = 64
    readers: int = 1  # threads that make pixels


class Files:
    """The blocks of files of spectra, in order; those that are done already are left out."""

    def __init__(self, cut: Cut, reading: Reading, done: Mapping[str, int], on_file: Callable[[Header], None]) -> None:
        """Remember how to read.

        Args:
            cut: How files become blocks.
            reading: Is added up to.
            done: How many tiles are done, by the absolute path of a file.
            on_file: Is told of each file before its first block.
        """
        self._cut, self._reading, self._done, self._on_file = cut, reading, dict(done), on_file
        self._known: dict[str, Header] = {}

    def blocks(self, files: Sequence[Path]) -> Iterator[Block]:
        """Yield what the files hold by now.

        Raises:
            DatasetError: A file that cannot be opened, has no room for a tile, or is gone.
        """
        for file in files:
            yield from self._of_file(file)

    def followed(
        self, folders: Sequence[Path], on_bad: Callable[[str], None], *, idle_s: float | None = None
    ) -> Iterator[Block]:
        """Yield what is in folders and what arrives in them, files that grow too, for ever or until nothing comes.

        Args:
            folders: Are looked at every half a second; names that begin with a dot are left out.
            on_bad: Is told of a file that cannot be read and does not change any more; it is left out until it does.
            idle_s: End when nothing arrived for so long.

        Raises:
            DatasetError: A folder is gone.
        """
        seen: dict[Path, tuple[int, int]] = {}
        last = time.monotonic()
        while True:
            for file in [file for folder in folders for file in spectra_in(folder)]:
                found = stamp(file)
                if found is None or seen.get(file) == found:
                    continue
                try:
                    for block in self._of_file(file):
                        yield block
                        last = time.monotonic()
                except DatasetError as error:
                    if time.time() - found[1] / 1e9 < SETTLED_S:
                        continue  # it is still being written, perhaps
                    on_bad(str(error))
                seen[file] = found
            if idle_s is not None and time.monotonic() - last > idle_s:
                return
            time.sleep(POLL_S)
            self._reading.add(arrival_s=POLL_S)

    def _of_file(self, file: Path) -> Iterator[Block]:
        name, batch = absolute(file), self._cut.batch
        with _Timed(open_spectra(file, self._cut.series)) as spectra:
            last = count_tiles(spectra.header, self._cut.tiling, spectra.count_rows())
            first = self._done.get(name, 0)
            if first > last:
                raise DatasetError(
                    f"{file}: has {last} tiles, {first} of it are done already: it became shorter; restore it, or "
                    "choose another --out"
                )
            if name not in self._known:
                require_fit(spectra, self._cut.tiling)
                self._on_file(spectra.header)
                self._known[name] = spectra.header
            tasks = (
                partial(self._block, spectra, name, range(start, min(start + batch, last)))
                for start in range(first, last, batch)
            )
            for block in _in_order(tasks, self._cut.readers):
                self._done[name] = block.first + block.tiles
                yield block

    def _block(self, spectra: _Timed, name: str, tiles: range) -> Block:
        begun, before = time.monotonic(), spectra.seconds
        images, places, damaged = _read(spectra, self._cut.tiling, tiles)
        block = block_of(name, tiles, images, places, tiling=self._cut.tiling, damaged=damaged, begun=begun)
        disk_s = spectra.seconds - before
        self._reading.add(disk_s=disk_s, pixels_s=time.monotonic() - begun - disk_s)
        return block


def spectra_in(folder: Path) -> list[Path]:
    """Return the files of spectra in a folder by name, without those that begin with a dot.

    Raises:
        DatasetError: The folder cannot be looked at.
    """
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{folder}: cannot be read ({error.strerror}); give a folder") from error
    return [folder / name for name in names if name.lower().endswith(SUFFIXES)]


def require_fit(spectra: Spectra, tiling: Tiling) -> None:
    """Refuse spectra that have fewer channels than a tile.

    Raises:
        DatasetError: They have.
    """
    next(read_tiles(spectra, tiling, stop=0), None)


def block_of(
    name: str,
    tiles: range,
    images: Sequence[npt.NDArray[np.uint8]] | npt.NDArray[np.uint8],
    places: Sequence[TilePlace],
    *,
    tiling: Tiling,
    damaged: Sequence[tuple[int, str]] = (),
    begun: float,
) -> Block:
    """Return a block without the tiles that hold nothing: those of one value, and those without numbers."""
    kept, skipped = [], list(damaged)
    for n, (image, place) in enumerate(zip(images, places, strict=True)):
        if 2 * place.n_blank > tiling.n_rows * tiling.n_channels:
            skipped.append((place.tile, BLANK))
        elif image.min() == image.max():
            skipped.append((place.tile, CONSTANT))
        else:
            kept.append(n)
    empty = np.empty((0, tiling.n_time, tiling.n_freq, 1), np.uint8)
    stacked = np.stack([images[n] for n in kept]) if kept else empty
    return Block(name, tiles.start, len(tiles), stacked, tuple(places[n] for n in kept), begun, tuple(sorted(skipped)))


def _read(
    spectra: Spectra, tiling: Tiling, tiles: range
) -> tuple[list[npt.NDArray[np.uint8]], list[TilePlace], list[tuple[int, str]]]:
    """Return images and places of tiles; where they cannot be read together, each by itself, without the damaged."""
    try:
        return *_some(spectra, tiling, tiles), []
    except DatasetError:
        if not os.path.exists(spectra.header.path):  # noqa: PTH110 - of an unreadable path this is False
            raise
    images, places, damaged = list[npt.NDArray[np.uint8]](), list[TilePlace](), list[tuple[int, str]]()
    for tile in tiles:
        try:
            image, place = _some(spectra, tiling, range(tile, tile + 1))
        except DatasetError as error:
            damaged.append((tile, str(error)))
            continue
        images += image
        places += place
    return images, places, damaged


def _some(spectra: Spectra, tiling: Tiling, tiles: range) -> tuple[list[npt.NDArray[np.uint8]], list[TilePlace]]:
    images, places = list[npt.NDArray[np.uint8]](), list[TilePlace]()
    for some in read_tiles(spectra, tiling, first=tiles.start, stop=tiles.stop, batch=len(tiles)):
        images += list(some.images)
        places += some.places
    if len(images) < len(tiles):
        raise DatasetError(f"{spectra.header.path}: became shorter while it was read; copy it anew")
    return images, places


def _in_order(tasks: Iterator[Callable[[], Block]], workers: int) -> Iterator[Block]:
    """Yield what tasks return, in their order; with several workers some run ahead."""
    if workers == 1:
        yield from (task() for task in tasks)
        return
    with ThreadPoolExecutor(workers, thread_name_prefix="scan-pixels") as pool:
        ahead: list[Future[Block]] = []
        try:
            for task in tasks:
                ahead.append(pool.submit(task))
                if len(ahead) > workers:
                    yield ahead.pop(0).result()
            for future in ahead:
                yield future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def stamp(file: Path) -> tuple[int, int] | None:
    """Return size and time of change; None for what is no file, or is gone again."""
    try:
        status = file.stat()
    except OSError:
        return None
    return (status.st_size, status.st_mtime_ns) if file.is_file() else None


class _Timed(Spectra):
    """Spectra that are read by one thread at a time, and the time it takes."""

    def __init__(self, inner: Spectra) -> None:
        super().__init__(inner.header)
        self._inner, self._lock, self._local = inner, threading.Lock(), threading.local()

    @property
    def seconds(self) -> float:
        """How long this thread has read, without its waiting for others."""
        return float(getattr(self._local, "seconds", 0.0))

    def count_rows(self) -> int:
        """Return how many rows there are by now."""
        with self._lock:
            return self._inner.count_rows()

    def close(self) -> None:
        """Close the file."""
        self._inner.close()

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        with self._lock:
            before = time.monotonic()
            try:
                return self._inner.read(first_row, n_rows, first_channel, n_channels)
            finally:
                self._local.seconds = self.seconds + time.monotonic() - before


class Samples(Spectra):
    """Rows of spectra as they arrive; what no further tile needs is forgotten."""

    def __init__(self, header: Header) -> None:
        super().__init__(header)
        self._rows, self._first = np.empty((0, header.n_channels), np.float32), 0

    def add(self, rows: Power, *, needed_from: int) -> None:
        """Add rows at the end; rows before `needed_from` are asked for no more."""
        self._rows = np.concatenate([self._rows, rows])[max(0, needed_from - self._first) :]
        self._first = max(self._first, needed_from)

    def count_rows(self) -> int:
        """Return how many rows have arrived."""
        return self._first + len(self._rows)

    def close(self) -> None:
        """Forget all."""

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        start = first_row - self._first
        return self._rows[start : start + n_rows, first_channel : first_channel + n_channels]


class Stream:
    """The blocks of raw samples that arrive in a pipe: real and imaginary part in turn, without a header."""

    def __init__(self, pipe: BinaryIO, cut: Cut, reading: Reading) -> None:
        """Remember the pipe.

        Raises:
            DatasetError: The type of a sample is not said, or a row of tiles is too large to be held.
        """
        series, tiling = cut.series, cut.tiling
        if series.dtype is None:
            raise DatasetError("standard input says nothing of its samples; give --dtype, one of int8, int16, float32")
        if tiling.n_rows * series.n_fft > MOST_VALUES:
            raise DatasetError(
                f"--fft {series.n_fft}: {tiling.n_rows} rows of a tile are {tiling.n_rows * series.n_fft} values, at "
                f"most {MOST_VALUES} are held; choose a smaller --fft or --tile"
            )
        self._dtype = np.dtype(series.dtype).newbyteorder("<")
        self._row_bytes = 2 * series.n_fft * self._dtype.itemsize
        self._pipe, self._cut, self._reading = pipe, cut, reading
        self.header = _stream_header(series)
        self.left_samples = 0  # at the end, which fill no tile
        self.arrived_samples = 0

    def blocks(self) -> Iterator[Block]:
        """Yield blocks as soon as their last sample has arrived.

        Raises:
            DatasetError: A tile takes more channels than a row has.
        """
        spectra, tiling = Samples(self.header), self._cut.tiling
        step = (tiling.step_time or 1) * tiling.rows_per_pixel
        per_row = count_tiles(replace(self.header, n_time=tiling.n_rows), tiling)
        require_fit(spectra, tiling)
        for row_of_tiles in range(2**62):
            first = row_of_tiles * step
            wanted = first + tiling.n_rows - spectra.count_rows()
            data = self._exactly(wanted * self._row_bytes)
            if len(data) < wanted * self._row_bytes:
                covered = first - step + tiling.n_rows if row_of_tiles else 0
                self.left_samples = self.arrived_samples - covered * self._cut.series.n_fft
                return
            begun = resumed = time.monotonic()
            samples = np.frombuffer(data, self._dtype).astype(np.float32).reshape(-1, 2)
            with np.errstate(over="ignore", invalid="ignore"):
                spectra.add(power_of(samples, self._cut.series.n_fft), needed_from=first)
            tile = row_of_tiles * per_row
            for some in read_tiles(spectra, tiling, first=tile, stop=tile + per_row, batch=self._cut.batch):
                tiles = range(some.places[0].tile, some.places[0].tile + len(some.places))
                block = block_of(STREAM, tiles, some.images, some.places, tiling=tiling, begun=begun)
                self._reading.add(pixels_s=time.monotonic() - resumed)
                yield block
                resumed = time.monotonic()

    def _exactly(self, n_bytes: int) -> bytearray:
        """Return so many bytes, fewer at the end of the pipe."""
        data, before = bytearray(), time.monotonic()
        while len(data) < n_bytes:
            some = self._pipe.read1(min(_CHUNK, n_bytes - len(data)))  # type: ignore[attr-defined]
            if not some:
                break
            data += some
        self._reading.add(arrival_s=time.monotonic() - before)
        self.arrived_samples += len(data) // (2 * self._dtype.itemsize)
        return data


def _stream_header(series: TimeSeries) -> Header:
    rate = series.sample_rate_hz
    df_mhz = math.nan if rate is None else rate / series.n_fft / 1e6
    return Header(
        path=Path(STREAM),
        n_time=0,
        n_channels=series.n_fft,
        n_bits=32,
        dt_s=math.nan if rate is None else series.n_fft / rate,
        first_frequency_mhz=-(series.n_fft // 2) * df_mhz,
        df_mhz=df_mhz,
        start_mjd=math.nan,
        source_name="",
    )
