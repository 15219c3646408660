"""Breakthrough Listen's HDF5 files of spectra: a data set `data` (n_time, n_polarisations, n_channels) with attributes.

Source: M. Lebofsky et al. 2019, PASP 131, 124505, doi:10.1088/1538-3873/ab3e82, section 3; the attributes are the
keywords of SIGPROC's header, the compression is bitshuffle with LZ4 (HDF5 filter 32008, from `hdf5plugin`).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from seti_model.data.spectra.filterbank import Header, Power, Spectra, checked_header
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE

_TYPES = ("uint8", "int8", "uint16", "float32")
_CHUNK_BYTES = 2**28  # unpacked, of which HDF5 holds one or two
_CACHE_BYTES, _CACHE_SLOTS = 2**27, 10_007  # of unpacked chunks: neighbouring tiles lie in the same ones
_FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 32000: "LZF", 32008: "bitshuffle"}
_SHOWN = 200  # letters of what HDF5 says


class Hdf5(Spectra):
    """An open `.h5` file of spectra; where it was written to since it is opened anew, as HDF5 keeps what it read."""

    def __init__(self, path: Path) -> None:
        self._h5py = _modules(path)
        self._file, self._data = self._open(path)
        try:
            super().__init__(_header(path, self._data))
        except BaseException:
            self._file.close()
            raise

    def count_rows(self) -> int:
        """Return how many rows the file has by now."""
        if self._stamp != _stamp(self.header.path):
            file, data = self._open(self.header.path)
            self._file.close()
            self._file, self._data = file, data
        return int(self._data.shape[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _open(self, path: Path) -> tuple[Any, Any]:
        """Return the file and the data set in it, which is checked before any of it is read."""
        file = None
        try:
            self._stamp = _stamp(path)
            file = self._h5py.File(path, "r", locking=False, rdcc_nbytes=_CACHE_BYTES, rdcc_nslots=_CACHE_SLOTS)
            data = _checked_data(path, file, self._h5py)
        except UNREADABLE as error:
            if file is not None:
                file.close()
            raise DatasetError(f"{path}: cannot be read as HDF5 ({_said(error)}); copy it anew") from error
        except DatasetError:
            if file is not None:
                file.close()
            raise
        return file, data

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        rows, columns = slice(first_row, first_row + n_rows), slice(first_channel, first_channel + n_channels)
        try:
            return np.asarray(self._data[rows, 0, columns]).astype(np.float32, copy=False)
        except UNREADABLE as error:
            raise DatasetError(
                f"{self.header.path}, rows {first_row}..{first_row + n_rows - 1}: cannot be read ({_said(error)}); "
                "copy it anew"
            ) from error


def _modules(path: Path) -> Any:
    try:
        import h5py
        import hdf5plugin  # noqa: F401 - its import makes the filters known
    except ImportError as error:
        raise DatasetError(
            f"{path}: to read HDF5 needs {error.name or 'h5py'}, which is not installed; "
            "run pip install 'seti-tune[filterbank]'"
        ) from error
    return h5py


def _checked_data(path: Path, file: Any, h5py: Any) -> Any:
    if "data" not in file or not isinstance(file.get("data", getlink=True), h5py.HardLink):
        raise DatasetError(f"{path}: has no data set 'data' of its own; give a filterbank file of Breakthrough Listen")
    data = file["data"]
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise DatasetError(f"{path}: 'data' is no data set that lies in the file; copy it whole")
    if data.dtype.name not in _TYPES:
        raise DatasetError(f"{path}: samples of type {str(data.dtype)[:40]}, expected {', '.join(_TYPES)}; convert it")
    if data.ndim != 3:
        raise DatasetError(f"{path}: 'data' of shape {data.shape}, expected (n_time, 1, n_channels); reshape it")
    if data.shape[1] != 1:
        raise DatasetError(f"{path}: {data.shape[1]} polarisations, one is read; add them up or save one of them")
    chunk = math.prod(data.chunks or (0,)) * data.dtype.itemsize
    if chunk > _CHUNK_BYTES:
        raise DatasetError(f"{path}: chunks of {chunk} bytes, at most {_CHUNK_BYTES} are read; save it in smaller ones")
    _check_filters(path, data)
    return data


def _check_filters(path: Path, data: Any) -> None:
    properties = data.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code = properties.get_filter(number)[0]
        if code not in _FILTERS:
            raise DatasetError(
                f"{path}: packed by HDF5 filter {code}, {', '.join(_FILTERS.values())} are read; save it with one of "
                "them"
            )


def _header(path: Path, data: Any) -> Header:
    return checked_header(
        Header(
            path=path,
            n_time=int(data.shape[0]),
            n_channels=int(data.shape[2]),
            n_bits=8 * data.dtype.itemsize,
            dt_s=_number(path, data, "tsamp"),
            first_frequency_mhz=_number(path, data, "fch1"),
            df_mhz=_number(path, data, "foff"),
            start_mjd=_number(path, data, "tstart", math.nan) or math.nan,
            source_name=_text(path, data, "source_name"),
        )
    )


def _attribute(path: Path, data: Any, name: str) -> Any:
    """Return an attribute that holds one value, None where there is none."""
    try:
        if name not in data.attrs:
            return None
        identity = data.attrs.get_id(name)
        if math.prod(identity.shape) != 1:
            raise DatasetError(f"{path}: attribute {name!r} of 'data' has shape {identity.shape}; give it one value")
        return np.asarray(data.attrs[name]).ravel()[0]
    except UNREADABLE as error:
        raise DatasetError(
            f"{path}: attribute {name!r} of 'data' cannot be read ({_said(error)}); copy it anew"
        ) from error


def _number(path: Path, data: Any, name: str, default: float | None = None) -> float:
    value = _attribute(path, data, name)
    if value is None and default is not None:
        return default
    if value is None:
        raise DatasetError(f"{path}: 'data' has no attribute {name!r}; write it with one")
    if not isinstance(value, np.integer | np.floating):
        raise DatasetError(f"{path}: attribute {name!r} of 'data' is no number; write one")
    return float(value)


def _text(path: Path, data: Any, name: str) -> str:
    value = _attribute(path, data, name)
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value or "")


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
