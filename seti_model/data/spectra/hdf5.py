"""Breakthrough Listen's HDF5 files of spectra: a data set `data` (n_time, n_polarisations, n_channels) with attributes.

Source: M. Lebofsky et al. 2019, PASP 131, 124505, doi:10.1088/1538-3873/ab3e82, section 3; the attributes are the
keywords of SIGPROC's header, the compression is bitshuffle with LZ4 (HDF5 filter 32008, from `hdf5plugin`).

That filter believes what a chunk says of its size and reads beyond its memory where that is not so; therefore every
chunk is looked at before HDF5 unpacks it.
"""

from __future__ import annotations

import contextlib
import math
import struct
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from seti_model.data.spectra.filterbank import Header, Power, RawFile, Spectra, checked_header
from seti_model.errors import DatasetError
from seti_model.files import UNREADABLE

_TYPES = ("uint8", "int8", "uint16", "float32")
_CHUNK_BYTES = 2**28  # unpacked, of which HDF5 holds one or two
_CACHE_BYTES, _CACHE_SLOTS = 2**27, 10_007  # of unpacked chunks: neighbouring tiles lie in the same ones
_BITSHUFFLE, _HEAD = 32008, struct.Struct(">QI")  # the filter, and what stands before the blocks of a chunk
_PACKINGS = (2, 3)  # LZ4, Zstandard
_MOST_CHUNKS = 2**18  # that are looked at for a block
_SHOWN = 200  # letters of what HDF5 says


class Hdf5(Spectra):
    """An open `.h5` file of spectra; where it was written to since it is opened anew, as HDF5 keeps what it read."""

    def __init__(self, path: Path) -> None:
        self._h5py = _modules(path)
        self._file, self._data, self._raw = self._open(path)
        try:
            super().__init__(_header(path, self._data))
        except BaseException:
            self.close()
            raise

    def count_rows(self) -> int:
        """Return how many rows the file has by now."""
        if self._stamp != _stamp(self.header.path):
            opened = self._open(self.header.path)
            self.close()
            self._file, self._data, self._raw = opened
        return int(self._data.shape[0])

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._raw.close()

    def _open(self, path: Path) -> tuple[Any, Any, RawFile]:
        """Return the file, the data set in it, which is checked before any of it is read, and the bytes of the file."""
        with contextlib.ExitStack() as undone:
            try:
                self._stamp = _stamp(path)
                raw = RawFile(path)
                undone.callback(raw.close)
                options = {"locking": False, "rdcc_nbytes": _CACHE_BYTES, "rdcc_nslots": _CACHE_SLOTS}
                file = self._h5py.File(path, "r", **options)
                undone.callback(file.close)
                data = _checked_data(path, file, self._h5py)
            except UNREADABLE as error:
                raise DatasetError(f"{path}: cannot be read as HDF5 ({_said(error)}); copy it anew") from error
            undone.pop_all()
        return file, data, raw

    def _read(self, first_row: int, n_rows: int, first_channel: int, n_channels: int) -> Power:
        rows, columns = slice(first_row, first_row + n_rows), slice(first_channel, first_channel + n_channels)
        try:
            if self._data.chunks is not None:
                self._check_chunks(rows, columns)
            return np.asarray(self._data[rows, 0, columns]).astype(np.float32, copy=False)
        except UNREADABLE as error:
            raise DatasetError(
                f"{self.header.path}, rows {first_row}..{first_row + n_rows - 1}: cannot be read ({_said(error)}); "
                "copy it anew"
            ) from error

    def _check_chunks(self, rows: slice, columns: slice) -> None:
        """Refuse chunks that do not hold what their filter would take from them; ValueError says what."""
        high, _, wide = self._data.chunks
        down = range(rows.start // high * high, rows.stop, high)
        across = range(columns.start // wide * wide, columns.stop, wide)
        if len(down) * len(across) > _MOST_CHUNKS:
            raise DatasetError(
                f"{self.header.path}: more than {_MOST_CHUNKS} chunks for {rows.stop - rows.start} rows; save it in "
                "larger chunks"
            )
        is_packed = self._data.id.get_create_plist().get_nfilters() > 0
        for row, channel in product(down, across):
            info = self._data.id.get_chunk_info_by_coord((row, 0, channel))
            if info.byte_offset is None:  # nothing was written there
                continue
            whole = math.prod(self._data.chunks) * self._data.dtype.itemsize
            if not is_packed or info.filter_mask:
                is_right = info.size == whole
            else:
                packed = self._raw.numbers(info.byte_offset, info.size, np.dtype("u1")).tobytes()
                is_right = _is_whole(packed, whole, self._data.dtype.itemsize)
            if not is_right:
                raise ValueError(f"the chunk of row {row}, channel {channel} is damaged")


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
    filters = [properties.get_filter(number) for number in range(properties.get_nfilters())]
    if not filters:
        return
    code, _, options = filters[0][:3]
    # Version, version, bytes of a number, numbers of a block, how they are packed.
    is_known = len(options) >= 5 and options[2] == data.dtype.itemsize and options[4] in _PACKINGS
    if len(filters) > 1 or code != _BITSHUFFLE or not is_known:
        codes = ", ".join(str(one[0]) for one in filters[:5])
        raise DatasetError(
            f"{path}: packed by HDF5 filter {codes}, only bitshuffle with LZ4 or Zstandard ({_BITSHUFFLE}) is read; "
            "save it so, or unpacked by h5repack -f NONE"
        )


def _is_whole(packed: bytes, whole: int, itemsize: int) -> bool:
    """Return whether a chunk of bitshuffle says that it becomes `whole` bytes, and its blocks end where it ends.

    Source: `bshuf_h5filter.c` and `bshuf_blocked_wrap_fun` of bitshuffle 0.5: sizes big-endian, blocks of a multiple of
    eight numbers, each with its length before it, and up to seven numbers left as they are at the end.
    """
    if len(packed) < _HEAD.size:
        return False
    claimed, block = _HEAD.unpack_from(packed)
    if claimed != whole or block == 0 or block % (8 * itemsize):
        return False
    n, per_block = whole // itemsize, block // itemsize
    at = _HEAD.size
    for _ in range(n // per_block + (n % per_block >= 8)):
        if at + 4 > len(packed):
            return False
        at += 4 + int.from_bytes(packed[at : at + 4], "big")
    return at + n % 8 * itemsize <= len(packed)


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


def _attribute(path: Path, data: Any, name: str, kinds: str) -> Any:
    """Return an attribute that holds one value of a kind of NumPy's, None where there is none.

    Nothing of another kind is read: HDF5 was seen to loop for ever on a damaged heap of texts.
    """
    try:
        if name not in data.attrs:
            return None
        identity = data.attrs.get_id(name)
        if identity.dtype.kind not in kinds:
            return None
        if identity.shape is None or math.prod(identity.shape) != 1:
            raise DatasetError(f"{path}: attribute {name!r} of 'data' has shape {identity.shape}; give it one value")
        return np.asarray(data.attrs[name]).ravel()[0]
    except UNREADABLE as error:
        raise DatasetError(
            f"{path}: attribute {name!r} of 'data' cannot be read ({_said(error)}); copy it anew"
        ) from error


def _number(path: Path, data: Any, name: str, default: float | None = None) -> float:
    value = _attribute(path, data, name, "iuf")
    if value is None and default is not None:
        return default
    if value is None:
        raise DatasetError(f"{path}: 'data' has no number as its attribute {name!r}; write it with one")
    return float(value)


def _text(path: Path, data: Any, name: str) -> str:
    """Return a text of fixed length, and nothing for one of any length."""
    value = _attribute(path, data, name, "S")
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else ""


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    return status.st_size, status.st_mtime_ns


def _said(error: BaseException) -> str:
    return " ".join(str(error).split())[:_SHOWN] or type(error).__name__
