"""What is done to NumPy archives and arrays, pictures, tables and model files, beyond damaged bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from fuzz.mutations import STRINGS, TAG, Mutation, changed_json, chunk, damaged, in_json, png, squeezed

BOMB = 2_500_000_000  # bytes, of which the archive holds eleven million or fewer
PIB = 2**50
WORDS = {label: text for label, text in STRINGS.items() if "\0" not in text}


def members(path: Path) -> dict[str, bytes]:
    """Return the files of an archive by name."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(path: Path, files: Mapping[str, bytes], *, method: int = zipfile.ZIP_STORED) -> None:
    """Write an archive that is the same whenever it is written."""
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)


def _patched(path: Path, local: int, central: int, value: int) -> None:
    """Put a number of two bytes at an offset into every header of an archive."""
    data = bytearray(path.read_bytes())
    for mark, offset in ((b"PK\x03\x04", local), (b"PK\x01\x02", central)):
        at = data.find(mark)
        while at >= 0:
            data[at + offset : at + offset + 2] = struct.pack("<H", value)
            at = data.find(mark, at + 4)
    path.write_bytes(bytes(data))


def in_zip(path: Path, rng: random.Random) -> Mutation:
    """Change the archive around its files."""
    files = members(path)
    name = rng.choice(tuple(files))
    way = rng.randrange(9)
    if way == 0:
        _patched(path, 6, 8, 1)
        return Mutation("an encrypted archive")
    if way == 1:
        method = rng.choice((99, 12, 14, 9))
        _patched(path, 8, 10, method)
        return Mutation(f"compression method {method}")
    if way == 2:
        _bomb(path, name, files)
        return Mutation("an archive of 2.5 GB")
    if way == 3:
        del files[name]
        label = "a member removed"
    elif way == 4:
        word = rng.choice(tuple(WORDS))
        files[WORDS[word].replace("\ud800", "?")[:60_000] or "x"] = files.pop(name)
        label = f"a member renamed to {word}"
    elif way == 5:
        how, files[name] = damaged(files[name], rng)
        pack(path, files)
        return Mutation(f"a member, {how}", is_meaning=False)
    elif way == 6:
        files |= {f"more{n}.npy": b"" for n in range(3000)}
        label = "3000 members more"
    elif way == 7:
        pack(path, files, method=rng.choice((zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)))
        _torn(path, rng)
        return Mutation("a compressed member damaged", is_meaning=False)
    else:
        a, b = rng.choice(tuple(files)), name
        files[a], files[b] = files[b], files[a]
        label = "two members swapped"
    pack(path, files)
    return Mutation(label)


def _torn(path: Path, rng: random.Random) -> None:
    data = bytearray(path.read_bytes())
    for _ in range(3):
        data[rng.randrange(60, max(len(data) // 2, 61))] ^= 1 << rng.randrange(8)
    path.write_bytes(bytes(data))


@cache
def _zeros(size: int, ahead: bytes) -> tuple[int, bytes]:
    """Return the checksum of some bytes with zeros after them, and all of it compressed."""
    check, packer, block, pieces = zlib.crc32(ahead), zlib.compressobj(9, zlib.DEFLATED, -15), bytes(1 << 24), []
    pieces.append(packer.compress(ahead) + packer.flush(zlib.Z_FULL_FLUSH))
    once = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    count = size // len(block)
    for _ in range(count):
        check = zlib.crc32(block, check)
    return check, b"".join([*pieces, once * count, packer.flush()])


def _bomb(path: Path, name: str, files: Mapping[str, bytes]) -> None:
    """Write an archive of which one member is large once it is unpacked, with a checksum that is right."""
    size = BOMB // (1 << 24) * (1 << 24)
    ahead = b""
    if name.endswith(".npy"):
        shape = (size // 256, 16, 16) if name == "x.npy" else (size,)
        ahead = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}")
    elif name.endswith(".json"):
        ahead = b'{"a":"'
    check, packed = _zeros(size, ahead)
    out, entries = io.BytesIO(), []
    for one, data in files.items():
        at = out.tell()
        content, crc, method, whole = data, zlib.crc32(data), 0, len(data)
        if one == name:
            content, crc, method, whole = packed, check, 8, size + len(ahead)
        fields = struct.pack("<HHHHHIII", 20, 0, method, 0, 33, crc, len(content), whole)
        out.write(b"PK\x03\x04" + fields + struct.pack("<HH", len(one), 0) + one.encode() + content)
        entries.append((b"PK\x01\x02" + struct.pack("<H", 20) + fields, one.encode(), at))
    start = out.tell()
    for fields, entry, at in entries:
        out.write(fields + struct.pack("<HHHHHII", len(entry), 0, 0, 0, 0, 0, at) + entry)
    size_of_all = out.tell() - start
    out.write(b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, len(entries), len(entries), size_of_all, start, 0))
    path.write_bytes(out.getvalue())


def header(text: str, *, version: bytes = b"\x01\x00") -> bytes:
    """Return the head of a `.npy` file with any words in it."""
    data = text.encode("latin-1", "replace") + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(data)) + data


_HEADERS: Mapping[str, Callable[[], bytes]] = {
    "a claim of 7 PiB": lambda: header(f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({PIB},), }}"),
    "a claim of 7 PiB in pictures": lambda: header(
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({PIB // 32}, 16, 16), }}"
    ),
    "pickled objects": lambda: header("{'descr': '|O', 'fortran_order': False, 'shape': (3,), }") + b"\x80\x04N.",
    "a negative shape": lambda: header("{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 16, 16), }") + b"x",
    "a shape beyond 64 bits": lambda: header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({2**70},), }}"),
    "brackets that do not close": lambda: header("{'descr': '|u1', 'shape': " + "(" * 40),
    "brackets in brackets": lambda: header("(" * 3000 + ")" * 3000),
    "a header that is no Python": lambda: header("{'descr': '|u1' 'x\n  \ty': \\"),
    "a header that calls": lambda: header("__import__('os').system('id')"),
    "an unknown type": lambda: header("{'descr': '<q9', 'fortran_order': False, 'shape': (3,), }") + b"xxx",
    "a structured type": lambda: (
        header("{'descr': [('a', '|u1'), ('b', '<f8')], 'fortran_order': False, 'shape': (1,), }") + b"x" * 9
    ),
    "a text type of one GB": lambda: header(f"{{'descr': '<U{2**28}', 'fortran_order': False, 'shape': (1,), }}"),
    "a bit more than nothing": lambda: b"\x93",
    "nothing": lambda: b"",
    "an unknown version": lambda: b"\x93NUMPY\x09\x00\x00\x00",
    "a header of four GB": lambda: b"\x93NUMPY\x02\x00" + struct.pack("<I", 2**32 - 1) + b"x" * 100,
    "text": lambda: b"no array at all\n",
    "an array in Fortran's order": lambda: (
        header("{'descr': '|u1', 'fortran_order': True, 'shape': (20, 16, 16), }") + b"x" * 5120
    ),
    "zeros of no end": lambda: header("{'descr': '|u1', 'fortran_order': False, 'shape': (20, 0, 16), }"),
}


def _npy(array: Any) -> bytes:
    out = io.BytesIO()
    np.save(out, array, allow_pickle=False)
    return out.getvalue()


def _array(old: np.ndarray[Any, Any], rng: random.Random) -> tuple[str, Any]:
    """Return what was done, and an array that is whole and not what is expected."""
    n = len(old) if old.ndim else 1
    word = rng.choice(tuple(WORDS))
    ways: dict[str, Callable[[], Any]] = {
        "other values": lambda: old[::-1] if old.dtype.kind in "US" else old ^ 1 if old.dtype.kind in "iu" else old,
        "reversed": lambda: old[::-1],
        "one fewer": lambda: old[:-1],
        "nothing of it": lambda: old[:0],
        "one dimension more": lambda: old[..., None],
        "flat": lambda: old.ravel(),
        "a single number": lambda: np.array(3),
        "NaN": lambda: np.full(old.shape, np.nan),
        "1e300": lambda: np.full(old.shape, 1e300),
        "fractions": lambda: np.full(old.shape, 0.5),
        "minus one": lambda: np.full(old.shape, -1, np.int64),
        "300": lambda: np.full(old.shape, 300, np.int64),
        "2**63": lambda: np.full(old.shape, 2**63, np.uint64),
        "complex numbers": lambda: np.full(old.shape, 1j),
        "true and false": lambda: np.full(old.shape, True),
        "half precision": lambda: np.full(old.shape, 0.25, np.float16),
        "big endian": lambda: np.full(old.shape, 1, ">i4"),
        "times": lambda: np.full(old.shape, np.datetime64("2020-01-01")),
        f"words, {word}": lambda: np.array([f"{WORDS[word]}{k}" for k in range(n)]),
        f"two words, {word}": lambda: np.array([WORDS[word], f"{WORDS[word]}2"]),
        "equal words": lambda: np.array(["same"] * n),
        "bytes": lambda: np.array([b"\xff\xfe"] * n),
        "200 words": lambda: np.array([f"c{k}" for k in range(200)]),
    }
    label = rng.choice(tuple(ways))
    return label, ways[label]()


def in_npz(path: Path, rng: random.Random) -> Mutation:
    """Change the archive, an array of it or a header."""
    way = rng.randrange(10)
    if way < 3:
        return in_zip(path, rng)
    files = members(path)
    name = rng.choice(tuple(files))
    if way < 5:
        label = rng.choice(tuple(_HEADERS))
        files[name] = _HEADERS[label]()
    elif way == 5 and len(files) > 1:
        label, files = "members without .npy", {one.removesuffix(".npy"): data for one, data in files.items()}
    else:
        label, array = _array(np.load(io.BytesIO(files[name])), rng)
        try:
            files[name] = _npy(array)
        except UnicodeEncodeError:  # a lone surrogate: NumPy stores its number
            files[name] = _npy(array.astype(np.str_))
    pack(path, files, method=rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)))
    return Mutation(f"{name}: {label}")


def in_npy(path: Path, rng: random.Random) -> Mutation:
    """Change an array that lies alone."""
    if rng.random() < 0.5:
        label = rng.choice(tuple(_HEADERS))
        path.write_bytes(_HEADERS[label]())
        return Mutation(f"{path.name}: {label}")
    before = np.load(path)
    label, array = _array(before, rng)
    path.write_bytes(_npy(array))
    return Mutation(f"{path.name}: {label}", is_wrong=not np.array_equal(before, np.load(path)))


def in_parquet(path: Path, rng: random.Random) -> Mutation:
    """Change columns, types or values of a table."""
    frame = pd.read_parquet(path)
    column = rng.choice(list(frame.columns))
    words = {label: text.replace("\ud800", "?") for label, text in STRINGS.items()}
    word = rng.choice(tuple(words))
    ways: dict[str, Callable[[], pd.DataFrame]] = {
        "a column removed": lambda: frame.drop(columns=column),
        "a row removed": lambda: frame.iloc[1:],
        "no rows": lambda: frame.iloc[:0],
        "NaN": lambda: frame.assign(**{column: np.nan}),
        "infinity": lambda: frame.assign(**{column: np.inf}),
        "minus one": lambda: frame.assign(**{column: -1}),
        "a large number": lambda: frame.assign(**{column: 2**62}),
        f"words, {word}": lambda: frame.assign(**{column: words[word]}),
        "fractions": lambda: frame.assign(**{column: 0.5}),
        "true": lambda: frame.assign(**{column: True}),
        "times": lambda: frame.assign(**{column: pd.Timestamp("2020-01-01")}),
        "rows reversed": lambda: frame.iloc[::-1].reset_index(drop=True),
        "values reversed": lambda: frame.assign(**{column: frame[column].to_numpy()[::-1]}),
        "an index of words": lambda: frame.set_axis([f"r{n}" for n in range(len(frame))], axis="index"),
        f"a column named {word}": lambda: frame.rename(columns={column: str(column)[:2] + words[word]}),
        f"a column more, {word}": lambda: frame.assign(**{"truth:" + words[word]: 0.5}),
        "lists": lambda: frame.assign(**{column: pd.Series([[1, 2]] * len(frame), index=frame.index)}),
    }
    label = rng.choice(tuple(ways))
    try:
        ways[label]().to_parquet(path)
    except (ValueError, TypeError):  # a column of that name is there
        frame.iloc[1:].to_parquet(path)
    return Mutation(f"{column}: {label}")


FORMATS = ("GIF", "BMP", "TIFF", "JPEG", "PPM", "WEBP", "ICO", "TGA", "PCX", "EPS", "SGI", "DDS", "JPEG2000", "IM")


def in_png(path: Path, rng: random.Random) -> Mutation:
    """Put something else in the place of a picture of 16 x 16 grey pixels."""
    way = rng.randrange(8)
    if way == 0:
        return _in_another_format(path, rng)
    if way == 1:
        path.unlink()
        os.mkfifo(path)
        return Mutation("a FIFO named .png")
    if way == 2:
        path.unlink()
        path.mkdir()
        return Mutation("a folder named .png")
    label = rng.choice(tuple(_PICTURES))
    path.write_bytes(_PICTURES[label]())
    return Mutation(label)


def _in_another_format(path: Path, rng: random.Random) -> Mutation:
    kind = rng.choice(FORMATS)
    out = io.BytesIO()
    picture = Image.fromarray((np.arange(256, dtype=np.uint8) * 7).reshape(16, 16))
    try:
        picture.save(out, format=kind)
    except (OSError, KeyError):  # this Pillow does not write it
        kind = "BMP"
        picture.save(out, format=kind)
    path.write_bytes(out.getvalue())
    return Mutation("another format named .png", is_wrong=True)


_GREY = zlib.compress((b"\0" + bytes(range(16))) * 16)
_PICTURES: Mapping[str, Callable[[], bytes]] = {
    "giant dimensions": lambda: png(2**31 - 1, 2**31 - 1, _GREY),
    "300 million pixels": lambda: png(17_300, 17_300, _GREY),
    "400 million pixels": lambda: png(20_000, 20_000, _GREY),
    "a bomb of pixels": lambda: png(13_000, 13_000, squeezed(13_000 * 39_001), colour=2),
    "no width": lambda: png(0, 16, _GREY),
    "half of the rows": lambda: png(16, 16, zlib.compress((b"\0" + bytes(16)) * 8)),
    "another size": lambda: png(17, 15, zlib.compress((b"\0" + bytes(17)) * 15)),
    "a wrong filter": lambda: png(16, 16, zlib.compress((b"\x09" + bytes(16)) * 16)),
    "16 bits": lambda: png(16, 16, zlib.compress((b"\0" + bytes(32)) * 16), depth=16),
    "one bit": lambda: png(16, 16, zlib.compress((b"\0" + bytes(2)) * 16), depth=1),
    "a palette": lambda: png(
        16, 16, zlib.compress((b"\0" + bytes(16)) * 16), colour=3, more=chunk(b"PLTE", bytes(range(6)))
    ),
    "a palette that is missing": lambda: png(16, 16, zlib.compress((b"\0" + bytes(16)) * 16), colour=3),
    "transparent": lambda: png(16, 16, zlib.compress((b"\0" + bytes(32)) * 16), colour=4),
    "RGB": lambda: png(16, 16, zlib.compress((b"\0" + bytes(48)) * 16), colour=2),
    "a text that unpacks": lambda: png(16, 16, _GREY, more=chunk(b"zTXt", b"a\0\0" + squeezed(200_000_000))),
    "a profile that unpacks": lambda: png(16, 16, _GREY, more=chunk(b"iCCP", b"a\0\0" + squeezed(200_000_000))),
    "a hundred thousand chunks": lambda: png(16, 16, _GREY, more=chunk(b"tEXt", b"a\0b") * 100_000),
    "an animation": lambda: png(16, 16, _GREY, more=chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    "a word of escape": lambda: png(16, 16, _GREY, more=chunk(b"\x1b[31", b"x")),
    "no IDAT": lambda: png(16, 16, b""),
}


def large_pictures(folder: Path, rng: random.Random) -> Mutation:
    """Give every picture of a folder 49 million pixels."""
    rows = squeezed(7_000 * 21_001)
    for path in sorted(folder.rglob("*.png")):
        path.write_bytes(png(7_000, 7_000, rows, colour=2))
    return Mutation("pictures of 49 million pixels")


def in_keras(path: Path, rng: random.Random) -> Mutation:
    """Change a model file: the archive, its weights, or what its JSON says of the network."""
    way = rng.randrange(10)
    if way == 0:
        return in_zip(path, rng)
    files = members(path)
    if way == 1:
        how, files["model.weights.h5"] = damaged(files["model.weights.h5"], rng)
        pack(path, files)
        return Mutation(f"weights, {how}", is_meaning=False)
    name = "metadata.json" if way == 2 else "config.json"
    text = files[name].decode("utf-8")
    if way < 5:
        text, mutation = changed_json(text, rng)
    else:
        text, mutation = _another_network(text, rng)
    files[name] = text.encode("utf-8")
    pack(path, files)
    return Mutation(f"{name}, {mutation.label}", mutation.is_meaning, mutation.is_wrong)


def _another_network(text: str, rng: random.Random) -> tuple[str, Mutation]:
    """Return the configuration of a network that computes something else, or that costs more than is there."""
    ways: dict[str, tuple[str, str, bool]] = {
        "sigmoid for softmax": ('"softmax"', '"sigmoid"', True),
        "another epsilon": ('"epsilon": 0.001', '"epsilon": 0.5', True),
        "linear for relu": ('"relu"', '"linear"', True),
        "huge units": ('"units": 8', '"units": 2000000000', False),
        "a milliard filters": ('"filters": 4', '"filters": 1000000000', False),
        "a module of another": ('"module": "keras.layers"', '"module": "fuzz_is_not_there.layers"', False),
        "a class of another": ('"class_name": "Dense"', '"class_name": "FuzzIsNotThere"', False),
        "a function of os": ('"class_name": "Dense"', '"class_name": "system"', False),
        "a lambda layer": ('"class_name": "Dropout"', '"class_name": "Lambda"', False),
        "a registered name": ('"registered_name": null', '"registered_name": "fuzz>Thing"', False),
        "nesting": ('"trainable": true', '"trainable": ' + "[" * 20_000 + "]" * 20_000, False),
        "an input of millions": ("[null, 16, 16, 1]", "[null, 1600000, 1600000, 1]", False),
        "a tag": ('"name": "', f'"name": "{TAG}', False),
        "a step upwards": ('"name": "', '"name": "../../../outside/', False),
        "a long number": ('"rate": ', '"rate": ' + "7" * 4400, False),
    }
    label = rng.choice(tuple(ways))
    old, new, is_wrong = ways[label]
    is_there = old in text
    return text.replace(old, new), Mutation(label, is_wrong=is_wrong and is_there)


def in_description(path: Path, rng: random.Random) -> Mutation:
    """Change what lies beside a model file."""
    way = rng.randrange(8)
    values = json.loads(path.read_text(encoding="utf-8"))
    if way > 2:
        return in_json(path, rng)
    if way == 0:
        values["class_names"].reverse()
        label = "class names reversed"
    elif way == 1:
        values["class_names"] = [f"{name}{n}" for n, name in enumerate(values["class_names"])]
        label = "other class names"
    else:
        values["class_names"] = [rng.choice(tuple(WORDS.values())) + str(n) for n in range(len(values["class_names"]))]
        label = "class names that a terminal runs"
    path.write_text(json.dumps(values), encoding="utf-8")
    return Mutation(label, is_wrong=True)


def in_either(path: Path, rng: random.Random) -> Mutation:
    """Change a model file, or what lies beside it."""
    return in_keras(path, rng) if path.suffix == ".keras" else in_description(path, rng)


def in_training(path: Path, rng: random.Random) -> Mutation:
    """Change the record of a checkpoint and give it the digest that then fits."""
    text, mutation = changed_json(path.read_text(encoding="utf-8"), rng)
    try:
        values = json.loads(text)
        values.pop("digest", None)
        fitting = hashlib.sha256(json.dumps(values, sort_keys=True, allow_nan=False).encode()).hexdigest()
        text = json.dumps(values | {"digest": fitting}, indent=1)
    except (ValueError, TypeError, RecursionError):  # what `json` cannot read back stays without it
        pass
    path.write_text(text, encoding="utf-8")
    return mutation
