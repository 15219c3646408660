"""Time series of complex samples as spectra, by the course's recipe: rows of some samples, FFT, no window, power.

They are read and transformed block by block, so that they go the same way as files of spectra from there on.
"""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from seti_model.data.recipe import N_FFT, power_of
from seti_model.data.spectra.filterbank import Header, Power, RawFile, Spectra
from seti_model.errors import DatasetError

DTYPES = ("int8", "int16", "float32")  # of real and imaginary part, one after the other, little-endian
MOST_FFT = 2**20
_HEAD_BYTES = 2**16
_SAMPLES = 2**21  # transformed at once
_PAIRS = ("i1", "i2", "f4", "f8")


@dataclass(frozen=True)
class TimeSeries:
    """What a file of samples does not say of itself.

    Without a sample rate its times and frequencies are not known: NaN. Frequencies count from the centre of the band.
    """

    n_fft: int = N_FFT  # samples of a row, channels of its spectrum
    dtype: str | None = None  # one of `DTYPES`, for files without a header
    sample_rate_hz: float | None = None

    def __post_init__(self) -> None:
        """Refuse what no spectra come from.

        Raises:
            DatasetError: A number of samples, a type or a rate that cannot be.
        """
        if not 2 <= self.n_fft <= MOST_FFT:
            raise DatasetError(f"FFT of {self.n_fft} samples: 2 to {MOST_FFT} are possible; choose another --fft")
        if self.dtype is not None and self.dtype not in DTYPES:
            raise DatasetError(f"samples of type {self.dtype!r}: {', '.join(DTYPES)} are read; choose one as --dtype")
        if self.sample_rate_hz is not None and not 1e-6 <= self.sample_rate_hz <= 1e15:
            raise DatasetError(
                f"sample rate {self.sample_rate_hz:g} Hz: expected 1e-06 to 1e+15; correct --sample-rate"
            )


class Voltages(Spectra):
    """An open time series; its rows are spectra of `n_fft` samples each."""

    def __init__(self, path: Path, series: TimeSeries) -> None:
        self._raw = RawFile(path)
        try:
            self._dtype, self._offset, self._most = _layout(path, self._raw, series)
        except BaseException:
            self._raw.close()
            raise
        self._row_bytes = 2 * series.n_fft * self._dtype.itemsize
        rate = series.sample_rate_hz
        df_mhz = math.nan if rate is None else rate / series.n_fft / 1e6
        super().__init__(
            Header(
                path=path,
                n_time=self.count_rows(),
                n_channels=series.n_fft,
                n_bits=8 * self._dtype.itemsize,
                dt_s=math.nan if rate is None else series.n_fft / rate,
                first_frequency_mhz=-(series.n_fft // 2) * df_mhz,
                df_mhz=df_mhz,
                start_mjd=math.nan,
                source_name="",
            )
        )

    def count_rows(self) -> int:
        """Return how many whole rows the file has by now."""
        there = max(0, self._raw.size() - self._offset) // self._row_bytes
        return there if self._most is None else min(there, self._most // self._row_bytes)

    def close(self) -> None:
        """Close the file."""
        self._raw.close()

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        n_fft = self.header.n_channels
        power = np.empty((n_rows, n_channels), np.float32)
        step = max(1, _SAMPLES // n_fft)
        for row in range(0, n_rows, step):
            count = min(step, n_rows - row)
            start = self._offset + (first_row + row) * self._row_bytes
            samples = self._raw.numbers(start, 2 * count * n_fft, self._dtype).reshape(-1, 2)
            with np.errstate(over="ignore", invalid="ignore"):  # of what is no number; tiles count it
                some = power_of(samples.astype(np.float32), n_fft)
            power[row : row + count] = some[:, first_channel : first_channel + n_channels]
        return power


def _layout(path: Path, raw: RawFile, series: TimeSeries) -> tuple[np.dtype[Any], int, int | None]:
    """Return the type of a real or imaginary part, where the samples begin, and how many bytes they are, if known."""
    if path.suffix.lower() != ".npy":
        if series.dtype is None:
            raise DatasetError(f"{path}: says nothing of its samples; give --dtype, one of {', '.join(DTYPES)}")
        return np.dtype(series.dtype).newbyteorder("<"), 0, None
    if series.dtype is not None:
        raise DatasetError(f"{path}: says of what type its samples are; leave --dtype out")
    shape, in_columns, dtype, offset = _npy_header(path, raw.head(_HEAD_BYTES))
    is_complex = len(shape) == 1 and dtype.kind == "c" and dtype.itemsize in (8, 16)
    is_pairs = len(shape) == 2 and shape[1] == 2 and dtype.str[1:] in _PAIRS and not in_columns
    if not (is_complex or is_pairs):
        raise DatasetError(
            f"{path}: {str(dtype)[:40]} {shape}, expected complex numbers (n,), or pairs (n, 2) of integers of 8 or "
            "16 bits or of floats, row after row; save it so"
        )
    part = np.dtype(f"{dtype.byteorder.replace('|', '=')}f{dtype.itemsize // 2}") if is_complex else dtype
    n_bytes = 2 * shape[0] * part.itemsize
    if raw.size() - offset < n_bytes:
        raise DatasetError(f"{path}: {raw.size()} bytes, its header says {offset + n_bytes}; copy it anew")
    return part, offset, n_bytes


def _npy_header(path: Path, head: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(head)
    try:
        version = np.lib.format.read_magic(stream)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version}")
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, in_columns, dtype = readers[version](stream)
    except Exception as error:
        why = " ".join(str(error).split())[:200]
        raise DatasetError(f"{path}: cannot be read as .npy ({why}); save it with numpy.save") from error
    if not all(isinstance(n, int) and 0 <= n < 2**60 for n in shape):
        raise DatasetError(f"{path}: shape {str(shape)[:60]}; save it with numpy.save")
    return shape, in_columns, dtype, stream.tell()
