"""Spectra read block by block: what all files of them have in common, and SIGPROC's filterbank files, `.fil`.

Source of the format: D. R. Lorimer, "SIGPROC-v3.7: (Pulsar) Signal Processing Programs", 2006, section 3 (header and
data), and its `read_header.c`. A header is a sequence of keywords, each a 32-bit length and that many letters, with a
value of the keyword's type behind it, from HEADER_START to HEADER_END; the samples follow row by row, little-endian.
"""

from __future__ import annotations

import math
import os
import struct
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from seti_model.errors import DatasetError
from seti_model.files import require_file

if TYPE_CHECKING:
    from seti_model.data.spectra.voltages import TimeSeries

Power = npt.NDArray[np.float32]  # (n_rows, n_channels), linear units of the file
MOST_CHANNELS = 2**30
MOST_VALUES = 2**26  # that one call of `read` returns: 268 MB
FIL_SUFFIXES = (".fil",)
HDF5_SUFFIXES = (".h5", ".hdf5")
SERIES_SUFFIXES = (".npy", ".dat", ".bin")
_HEADER_BYTES = 2**16
_LONGEST_KEYWORD, _LONGEST_TEXT = 80, 1024  # letters; the first is SIGPROC's own limit
_LONGEST_NAME = 100  # letters of a source that are kept
_TEXTS = ("rawdatafile", "source_name")
_INTEGERS = (
    *("telescope_id", "machine_id", "data_type", "barycentric", "pulsarcentric", "nbits", "nsamples", "nchans"),
    *("nifs", "nbeams", "ibeam", "nbins", "npuls"),
)
_DOUBLES = ("az_start", "za_start", "src_raj", "src_dej", "tstart", "tsamp", "fch1", "foff", "refdm", "period")
_TYPES = {8: "u1", 16: "<u2", 32: "<f4"}


@dataclass(frozen=True)
class Header:
    """What is known of a file of spectra.

    Columns stand in the order of the file: column k is centred on `first_frequency_mhz + k * df_mhz`, so that frequency
    falls from left to right where `df_mhz` is negative, as most telescopes write it. What is not known is NaN.
    """

    path: Path
    n_time: int  # rows when the file was opened; `Spectra.count_rows` asks anew
    n_channels: int
    n_bits: int  # of a sample as stored
    dt_s: float
    first_frequency_mhz: float
    df_mhz: float  # signed
    start_mjd: float  # of the first row
    source_name: str


class Spectra(ABC):
    """An open file of spectra, read in blocks; a context manager."""

    def __init__(self, header: Header) -> None:
        self.header = header

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self, first_row: int, n_rows: int, first_channel: int = 0, n_channels: int | None = None) -> Power:
        """Return the power of rows `first_row` to `first_row + n_rows` - 1, all channels or some in a row.

        Raises:
            DatasetError: The file has no such rows or channels, became shorter or is damaged, or the block holds more
                than `MOST_VALUES` values.
        """
        path, all_channels = self.header.path, self.header.n_channels
        count = all_channels - first_channel if n_channels is None else n_channels
        if n_rows * count > MOST_VALUES:
            raise DatasetError(
                f"{path}: {n_rows} rows of {count} channels at once, at most {MOST_VALUES} values are read; "
                "ask for fewer rows or channels"
            )
        rows = self.count_rows()
        if min(first_row, n_rows, first_channel, count) < 0 or first_row + n_rows > rows:
            raise DatasetError(f"{path}: rows {first_row}..{first_row + n_rows - 1} of {rows}; ask for what is there")
        if first_channel + count > all_channels:
            last = first_channel + count - 1
            raise DatasetError(f"{path}: channels {first_channel}..{last} of {all_channels}; ask for what is there")
        if n_rows * count == 0:
            return np.empty((n_rows, count), np.float32)
        return self._read(first_row, n_rows, first_channel, count)

    @abstractmethod
    def count_rows(self) -> int:
        """Return how many whole rows the file has by now: it may be growing.

        Raises:
            DatasetError: It cannot be asked.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""

    @abstractmethod
    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power: ...


def open_spectra(path: Path, series: TimeSeries | None = None) -> Spectra:
    """Open a file of spectra by its suffix: `.fil`, `.h5`, or a time series, which is transformed while it is read.

    Args:
        path: A regular file, or a link to one.
        series: What a time series (`.npy`, `.dat`, `.bin`) does not say of itself; nothing for other files.

    Raises:
        DatasetError: A missing, foreign, damaged or hostile file, or one of a kind that is not read.
    """
    suffix = path.suffix.lower()
    require_file(path, DatasetError)
    if suffix in FIL_SUFFIXES:
        return _Filterbank(path)
    if suffix in HDF5_SUFFIXES:
        from seti_model.data.spectra.hdf5 import Hdf5  # h5py, for such files alone

        return Hdf5(path)
    if suffix in SERIES_SUFFIXES:
        from seti_model.data.spectra.voltages import TimeSeries, Voltages

        return Voltages(path, series or TimeSeries())
    known = ", ".join((*FIL_SUFFIXES, *HDF5_SUFFIXES, *SERIES_SUFFIXES))
    raise DatasetError(f"{path}: no file of spectra by its name; give one of {known}")


def checked_header(header: Header) -> Header:
    """Return a header that can be worked with.

    Raises:
        DatasetError: A number of channels, a time or a frequency that no file has.
    """
    numbers = {
        "the time of a row": (header.dt_s, 1e-12, 1e6, "s"),
        "the width of a channel": (abs(header.df_mhz), 1e-15, 1e9, "MHz"),
        "the first frequency": (abs(header.first_frequency_mhz), 0.0, 1e9, "MHz"),
        "the start": (0.0 if math.isnan(header.start_mjd) else abs(header.start_mjd), 0.0, 1e6, "MJD"),
    }
    if not 1 <= header.n_channels <= MOST_CHANNELS:
        raise DatasetError(
            f"{header.path}: {header.n_channels} channels, expected 1 to {MOST_CHANNELS}; copy it anew or divide it"
        )
    for what, (value, low, high, unit) in numbers.items():
        if not low <= value <= high:
            raise DatasetError(
                f"{header.path}: {what} is {value:g} {unit}, expected {low:g} to {high:g}; correct its header"
            )
    return replace(header, source_name=header.source_name[:_LONGEST_NAME])


class RawFile:
    """Numbers of one type in a row, from some byte of a file on; they are read with their place, so nothing is shared.

    A mapping of the file would end the process where somebody makes the file shorter.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path") from error

    def size(self) -> int:
        """Return how many bytes the file has by now."""
        return os.fstat(self._file.fileno()).st_size

    def numbers(self, offset: int, count: int, dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Return `count` numbers that begin at byte `offset`.

        Raises:
            DatasetError: They cannot be read, or the file ends before.
        """
        data, done = bytearray(count * dtype.itemsize), 0
        wanted = memoryview(data)
        try:
            while done < len(data):
                n = os.preadv(self._file.fileno(), [wanted[done:]], offset + done)
                if n == 0:
                    raise DatasetError(f"{self.path}: became shorter while it was read; copy it anew")
                done += n
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot be read ({error.strerror}); copy it anew") from error
        return np.frombuffer(data, dtype)

    def head(self, n_bytes: int) -> bytes:
        """Return the first bytes of the file, fewer where it has fewer."""
        try:
            return os.pread(self._file.fileno(), n_bytes, 0)
        except OSError as error:
            raise DatasetError(f"{self.path}: cannot be read ({error.strerror}); give a file") from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class _Filterbank(Spectra):
    """A `.fil` file. A row that is not whole yet does not count."""

    def __init__(self, path: Path) -> None:
        self._raw = RawFile(path)
        try:
            found, self._offset = _read_keywords(path, self._raw.head(_HEADER_BYTES))
            self._dtype = _sample_type(path, found)
            super().__init__(self._checked(path, found))
        except BaseException:
            self._raw.close()
            raise

    def _checked(self, path: Path, found: dict[str, Any]) -> Header:
        missing = [name for name in ("nchans", "tsamp", "fch1", "foff") if name not in found]
        if missing:
            raise DatasetError(f"{path}: its header has no {missing[0]!r}; write it with one")
        header = checked_header(
            Header(
                path=path,
                n_time=0,
                n_channels=found["nchans"],
                n_bits=found["nbits"],
                dt_s=found["tsamp"],
                first_frequency_mhz=found["fch1"],
                df_mhz=found["foff"],
                start_mjd=found.get("tstart", math.nan) or math.nan,
                source_name=found.get("source_name", ""),
            )
        )
        self._row_bytes = header.n_channels * self._dtype.itemsize
        return replace(header, n_time=self.count_rows())

    def count_rows(self) -> int:
        return max(0, self._raw.size() - self._offset) // self._row_bytes

    def close(self) -> None:
        self._raw.close()

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        start = self._offset + first_row * self._row_bytes
        if n_channels == self.header.n_channels:
            block = self._raw.numbers(start, n_rows * n_channels, self._dtype)
            return block.reshape(n_rows, n_channels).astype(np.float32, copy=False)
        power = np.empty((n_rows, n_channels), np.float32)
        for row in range(n_rows):
            at = start + row * self._row_bytes + first_channel * self._dtype.itemsize
            power[row] = self._raw.numbers(at, n_channels, self._dtype)
        return power


def _sample_type(path: Path, found: dict[str, Any]) -> np.dtype[Any]:
    if found.get("data_type", 1) != 1:
        raise DatasetError(
            f"{path}: data type {found['data_type']} of SIGPROC, only 1 (filterbank) is read; convert it"
        )
    if found.get("nifs", 1) != 1:
        raise DatasetError(
            f"{path}: {found['nifs']} polarisations (nifs), one is read; add them up or save one of them"
        )
    if found.get("nbits") not in _TYPES:
        raise DatasetError(f"{path}: {found.get('nbits')} bits a sample, 8, 16 or 32 are read; convert it to 8 bits")
    is_signed = found["nbits"] == 8 and found.get("signed", 0) > 0
    return np.dtype("i1" if is_signed else _TYPES[found["nbits"]])


def _read_keywords(path: Path, data: bytes) -> tuple[dict[str, Any], int]:
    """Return the values of a header by keyword, and where the samples begin."""
    words, found = _Words(path, data), dict[str, Any]()
    if words.text(_LONGEST_KEYWORD) != "HEADER_START":
        raise DatasetError(f"{path}: does not begin with HEADER_START; give a SIGPROC filterbank file")
    while (keyword := words.text(_LONGEST_KEYWORD)) != "HEADER_END":
        if keyword in _TEXTS:
            found[keyword] = words.text(_LONGEST_TEXT)
        elif keyword in _INTEGERS:
            found[keyword] = words.value("<i")
        elif keyword in _DOUBLES:
            found[keyword] = words.value("<d")
        elif keyword == "signed":
            found[keyword] = words.value("<b")
        elif keyword == "FREQUENCY_START":
            raise DatasetError(f"{path}: has a table of frequencies, which is not read; save it with fch1 and foff")
        else:
            raise DatasetError(f"{path}: unknown keyword {keyword!r} in its header; write it without")
    return found, words.at


class _Words:
    """A header that is read piece by piece."""

    def __init__(self, path: Path, data: bytes) -> None:
        self._path, self._data, self.at = path, data, 0

    def value(self, kind: str) -> Any:
        size = struct.calcsize(kind)
        piece = self._data[self.at : self.at + size]
        if len(piece) < size:
            raise DatasetError(f"{self._path}: its header does not end; give a whole SIGPROC filterbank file")
        self.at += size
        return struct.unpack(kind, piece)[0]

    def text(self, longest: int) -> str:
        length = self.value("<i")
        if not 0 <= length <= longest:
            raise DatasetError(
                f"{self._path}: a word of {length} letters at byte {self.at - 4} of its header, at most {longest} are "
                "read; give a SIGPROC filterbank file"
            )
        letters: bytes = self.value(f"{length}s")
        return letters.decode("ascii", "backslashreplace")
