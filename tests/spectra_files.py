"""Files of spectra as their documents describe them, written byte by byte and not by what reads them.

`.fil`: D. R. Lorimer, "SIGPROC-v3.7", section 3. `.h5`: Lebofsky et al. 2019, doi:10.1088/1538-3873/ab3e82.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

TYPES = {8: "u1", 16: "<u2", 32: "<f4"}
FIELDS = {"fch1": 1420.0, "foff": -1e-6, "tsamp": 0.5, "tstart": 60_000.0}


def word(text: str) -> bytes:
    """A keyword or a text: its length and its letters."""
    return struct.pack("<i", len(text)) + text.encode("latin-1")


def fil_header(n_channels: int, n_bits: int = 32, **fields: Any) -> bytes:
    """The header of a `.fil` file; a field that is None is left out."""
    integers = {"telescope_id": 6, "machine_id": 20, "data_type": 1, "nchans": n_channels, "nbits": n_bits, "nifs": 1}
    values = FIELDS | integers | {"source_name": "HIP1"} | fields
    pieces = [word("HEADER_START")]
    for name, value in values.items():
        if value is None:
            continue
        kind = "<d" if isinstance(value, float) else "<b" if name == "signed" else "<i"
        pieces += [word(name), word(value) if isinstance(value, str) else struct.pack(kind, value)]
    return b"".join([*pieces, word("HEADER_END")])


def write_fil(path: Path, power: np.ndarray[Any, Any], n_bits: int = 32, **fields: Any) -> Path:
    """Write power (n_time, n_channels) as a `.fil` file."""
    path.write_bytes(fil_header(power.shape[1], n_bits, **fields) + power.astype(TYPES[n_bits]).tobytes())
    return path


def write_h5(
    path: Path, power: np.ndarray[Any, Any], *, packed: Any = None, chunks: Any = None, **attributes: Any
) -> Path:
    """Write power (n_time, n_channels) as an `.h5` file, packed by bitshuffle as Breakthrough Listen does."""
    import h5py
    import hdf5plugin

    with h5py.File(path, "w") as file:
        file.attrs["CLASS"], file.attrs["VERSION"] = "FILTERBANK", "1.0"
        packing = hdf5plugin.Bitshuffle(nelems=0, cname="lz4") if packed is None else packed
        data = file.create_dataset("data", data=power[:, None, :], chunks=chunks, **packing)
        values = FIELDS | {"nchans": power.shape[1], "nifs": 1, "source_name": "HIP1"} | attributes
        for name, value in values.items():
            if value is not None:
                value = np.bytes_(value) if isinstance(value, str) else value  # of fixed length
                data.attrs[name] = value
    return path
