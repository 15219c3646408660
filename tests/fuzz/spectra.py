"""What is done to files of spectra, beyond damaged bytes: headers that claim what is not there, or nobody meant."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
from spectra_files import fil_header, word, write_fil, write_h5

from fuzz.mutations import STRINGS, Mutation, damaged

SIDE, FILES = 32, 6  # rows and channels; files, half of each class
_NUMBERS = (0.0, -1.0, 1e300, -1e300, 5e-324, float("nan"), float("inf"), 2.0**62)
_INTEGERS = (0, -1, 1, 2, 3, 4, 64, 2**30, 2**31 - 1, -(2**31))
_WORDS = {label: text.encode("utf-8", "replace").decode("latin-1") for label, text in STRINGS.items()}


def make(folder: Path) -> None:
    """Write files of both kinds with a table that says which have a line."""
    rng = np.random.default_rng(7)
    for suffix, write in (("fil", write_fil), ("h5", write_h5)):
        rows = ["file,class"]
        for number in range(FILES):
            power = rng.exponential(1e4, (SIDE, SIDE)).astype(np.float32)
            power[:, 9] *= 1 + 20 * (number % 2)
            write(folder / f"{number}.{suffix}", power)
            rows.append(f"{number}.{suffix},{'line' if number % 2 else 'noise'}")
        (folder / f"{suffix}.csv").write_text("\n".join(rows) + "\n")


def in_fil(path: Path, rng: random.Random) -> Mutation:
    """Put another header before the samples, or fewer or more of them behind it."""
    data = path.read_bytes()
    at = data.index(b"HEADER_END") + len("HEADER_END")
    way = rng.randrange(6)
    if way == 0:
        name = rng.choice(("fch1", "foff", "tsamp", "tstart"))
        value = rng.choice((*_NUMBERS, None))
        head, label = fil_header(SIDE, **{name: value}), f"{name}={value}"
    elif way == 1:
        name = rng.choice(("nchans", "nbits", "nifs", "data_type", "nbeams"))
        number = rng.choice((*_INTEGERS, None))
        head, label = fil_header(SIDE, **{name: number}), f"{name}={number}"
    elif way == 2:
        text = rng.choice(tuple(_WORDS))
        head, label = fil_header(SIDE, source_name=_WORDS[text]), f"source_name: {text}"
    elif way == 3:
        text = rng.choice(tuple(_WORDS))
        head, label = data[:at].replace(word("tsamp"), word(_WORDS[text]), 1), f"a keyword: {text}"
    elif way == 4:
        head = word("HEADER_START") + struct.pack("<i", rng.choice(_INTEGERS)) + bytes(rng.randrange(300))
        label = "a word of any length"
    else:
        how, head = damaged(data[:at], rng)
        path.write_bytes(head + data[at:])
        return Mutation(f"header, {how}", is_meaning=False)
    path.write_bytes(head + data[at:][: rng.choice((None, None, 0, 100))])
    return Mutation(label)


def in_h5(path: Path, rng: random.Random) -> Mutation:
    """Change an attribute, or put another object in the place of the data set."""
    if rng.random() < 0.6:
        name = rng.choice(("fch1", "foff", "tsamp", "tstart", "source_name"))
        label = rng.choice(tuple(_ATTRIBUTES))
        with h5py.File(path, "r+") as file:
            del file["data"].attrs[name]
            value = _ATTRIBUTES[label]()
            if value is not None:
                file["data"].attrs[name] = value
        return Mutation(f"{name}: {label}")
    label = rng.choice(tuple(_OBJECTS))
    with h5py.File(path, "r+") as file:
        attributes = dict(file["data"].attrs)
        del file["data"]
        _OBJECTS[label](file)
        is_own = isinstance(file.get("data", getlink=True), h5py.HardLink)  # else reading it would follow a link
        if is_own and isinstance(file["data"], h5py.Dataset):
            file["data"].attrs.update(attributes)
    return Mutation(label)


_ATTRIBUTES: Mapping[str, Callable[[], Any]] = {
    **{f"{value}": (lambda value=value: value) for value in _NUMBERS},
    **{
        f"text, {label}": (lambda text=text: text.replace("\0", ""))
        for label, text in _WORDS.items()
        if len(text) < 999
    },
    "nothing": lambda: None,
    "two values": lambda: [1.0, 2.0],
    "no values": lambda: np.empty((0,), "f8"),
    "empty": lambda: h5py.Empty("f8"),
    "complex": lambda: 1 + 2j,
    "true": lambda: True,
    "bytes": lambda: b"\xff\xfe",
    "a record": lambda: np.array((1, 2.0), dtype=[("a", "i4"), ("b", "f8")]),
    "five thousand values": lambda: np.zeros(5000),
}


def _dataset(shape: tuple[int, ...], kind: str, **options: Any) -> Callable[[h5py.File], Any]:
    return lambda file: file.create_dataset("data", shape, kind, **options)


_OBJECTS: Mapping[str, Callable[[h5py.File], Any]] = {
    "no data": lambda file: None,
    "a group": lambda file: file.create_group("data"),
    "a link to itself": lambda file: file.__setitem__("data", h5py.SoftLink("/data")),
    "a link upwards": lambda file: file.__setitem__("data", h5py.ExternalLink("../../outside/victim", "/data")),
    "data in another file": lambda file: file.create_dataset(
        "data", (SIDE, 1, SIDE), "u1", external=[("../outside/victim", 0, SIDE * SIDE)]
    ),
    "rows that are not there": _dataset((20_000, 1, SIDE), "f4", chunks=(1, 1, SIDE)),
    "10**12 channels": _dataset((SIDE, 1, 10**12), "f4", chunks=(1, 1, 1024)),
    "10**15 rows": _dataset((10**15, 1, SIDE), "u1", chunks=(1, 1, SIDE)),
    "chunks of one GB": _dataset((2**20, 1, 2**20), "u1", chunks=(2**10, 1, 2**20)),
    "no rows": _dataset((0, 1, SIDE), "f4"),
    "no channels": _dataset((SIDE, 1, 0), "f4"),
    "two polarisations": _dataset((SIDE, 2, SIDE), "f4"),
    "two dimensions": _dataset((SIDE, SIDE), "f4"),
    "a number alone": _dataset((), "f4"),
    "complex numbers": _dataset((SIDE, 1, SIDE), "c8"),
    "texts": _dataset((SIDE, 1, SIDE), "S9"),
    "texts of any length": lambda file: file.create_dataset("data", (SIDE, 1, SIDE), h5py.string_dtype()),
    "records": lambda file: file.create_dataset("data", (SIDE, 1, SIDE), np.dtype([("a", "f4"), ("b", "u1")])),
    "references": lambda file: file.create_dataset("data", (SIDE, 1, SIDE), h5py.ref_dtype),
    "another filter": _dataset((SIDE, 1, SIDE), "f4", **hdf5plugin.Zfp()),
    "numbers that are none": lambda file: file.create_dataset("data", data=np.full((SIDE, 1, SIDE), np.nan, "f4")),
    "numbers without end": lambda file: file.create_dataset("data", data=np.full((SIDE, 1, SIDE), 3e38, "f4")),
}


def in_packed(path: Path, rng: random.Random) -> Mutation:
    """Damage what is packed, which no header tells of."""
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info(0)
    data = path.read_bytes()
    packed = data[where.byte_offset : where.byte_offset + where.size]
    n = rng.choice((20, len(packed)))  # what a chunk says of itself, or all of it
    how, piece = damaged(packed[:n], rng)
    piece += packed[n:]
    piece = piece[: where.size].ljust(where.size, b"\0")
    path.write_bytes(data[: where.byte_offset] + piece + data[where.byte_offset + where.size :])
    return Mutation(f"what is packed, {how}", is_meaning=False)
