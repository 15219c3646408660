"""What is done to a valid file: bytes that are damaged, and values that a parser accepts and nobody meant.

Every mutation takes its choices from the generator that it is given, so that equal seeds make equal files.
"""

from __future__ import annotations

import json
import random
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

OUTSIDE = "@OUTSIDE@"  # stands for the absolute path of the folder that nothing may touch
TAG = "<fuzz-tag onload=1>"
FORGED = "seti-tune: forged"  # a line that begins so was never said by us
DIGITS, NESTING, DOTTED = 4400, 20_000, 20_000


@dataclass(frozen=True)
class Mutation:
    """What was done; `is_wrong` where a result without a word about it would be wrong, and a digest could show it."""

    label: str
    is_meaning: bool = True
    is_wrong: bool = False


@dataclass(frozen=True)
class Nasty:
    """A value that is put in the place of another one, as JSON; `is_valid` where it is JSON."""

    label: str
    text: str
    is_valid: bool = True


Mutator = Callable[[Path, random.Random], Mutation]

STRINGS = {
    "an escape sequence": "\x1b[31mred\x1b]0;title\x07",
    "a C1 control": "\x9b31mred",
    "a line feed": f"name\n{FORGED}; do this",
    "a carriage return": "good\rbad",
    "a lone surrogate": "a\ud800b",
    "an HTML tag": TAG,
    "the end of a script": f"</script>{TAG}",
    "an HTML attribute": f"\" onmouseover='{TAG}'",
    "a path upwards": "../../outside/folder",
    "a path up and down": "x/../../../outside/folder",
    "an absolute path": f"{OUTSIDE}/folder",
    "a formula": "=cmd|' /C calc'!A0",
    "a formula with a plus": "+1+cmd|' /C calc'!A0",
    "a formula with an at": "@SUM(1,1)",
    "a component over 255": "n" * 300,
    "100 000 letters": "n" * 100_000,
    "nothing": "",
    "a NUL": "a\0b",
    "a slash": "/",
    "dots": "..",
    "a tilde": "~",
    "a bidirectional override": "a\u202eb",
    "a template": "{{7*7}}{% for %}${x}%s%n`id`",
}
NUMBERS = {
    f"an integer of {DIGITS} digits": "7" * DIGITS,
    "an integer above 64 bits": str(2**64),
    "the largest integer": str(2**63 - 1),
    "a large integer": "1000000000000",
    "a large epoch": "100001",
    "minus one": "-1",
    "zero": "0",
    "a fraction": "0.5",
    "an overflowing float": "1e999",
    "the largest float": "1.7976931348623157e308",
    "a tiny float": "5e-324",
    "minus zero": "-0.0",
}
OTHERS = {
    "null": "null",
    "true": "true",
    "an empty list": "[]",
    "an empty object": "{}",
    "a list of lists": "[[1,[2]],{}]",
    "an object of objects": '{"a":{"b":{"c":[1,"x"]}}}',
    f"nesting of {NESTING}": "[" * NESTING + "]" * NESTING,
    "nesting of 400": '{"a":' * 400 + "1" + "}" * 400,
    "a long list": "[" + ",".join(map(str, range(100_000))) + "]",
}
NASTY = (
    *(Nasty(label, json.dumps(text)) for label, text in STRINGS.items()),
    *(Nasty(label, text) for label, text in (NUMBERS | OTHERS).items()),
    Nasty("NaN", "NaN", is_valid=False),
    Nasty("Infinity", "-Infinity", is_valid=False),
)
_WORDS = tuple(Nasty(label, json.dumps(text)) for label, text in STRINGS.items())


def damage(path: Path, rng: random.Random) -> Mutation:
    """Damage the bytes of a file in one of six ways."""
    label, data = damaged(path.read_bytes(), rng)
    path.write_bytes(data)
    return Mutation(label, is_meaning=False)


def damaged(data: bytes, rng: random.Random) -> tuple[str, bytes]:
    """Return what was done, and bytes that are damaged."""
    start = rng.randrange(max(len(data), 1))
    end = min(len(data), start + rng.choice((1, 4, 64, 1024)))
    piece = data[start:end]
    some = bytes(rng.randrange(256) for _ in range(rng.choice((1, 3, 16))))
    other = rng.randrange(max(len(data), 1))
    flipped = bytes([data[start] ^ (1 << rng.randrange(8))]) if data else b"\x01"
    ways = {
        "a bit flipped": data[:start] + flipped + data[start + 1 :],
        "cut off": data[:start],
        "a piece repeated": data[:end] + piece * rng.choice((1, 2, 50)) + data[end:],
        "a piece removed": data[:start] + data[end:],
        "bytes inserted": data[:start] + some + data[start:],
        "a piece copied elsewhere": data[:other] + piece + data[other + len(piece) :],
        "emptied": b"",
    }
    label = rng.choice((*ways, "a bit flipped", "a bit flipped"))
    return label, ways[label]


def in_json(path: Path, rng: random.Random) -> Mutation:
    """Change one thing in a JSON file."""
    before = path.read_text(encoding="utf-8")
    text, mutation = changed_json(before, rng)
    path.write_text(text, encoding="utf-8")
    return Mutation(mutation.label, mutation.is_meaning, mutation.is_meaning and _has_other_names(before, text))


def _has_other_names(before: str, now: str) -> bool:
    """Return whether classes are called otherwise, in words that any reader takes for names."""
    try:
        old, new = (json.loads(text).get("class_names") for text in (before, now))
    except (ValueError, RecursionError, AttributeError):
        return False
    return isinstance(new, list) and new != old and all(isinstance(name, str) for name in new)


def changed_json(text: str, rng: random.Random, *, key: str | None = None) -> tuple[str, Mutation]:
    """Return a JSON document with one thing changed, with `key` at a key of that name."""
    values: Any = json.loads(text)
    tree = _Tree(values)
    places = tree.places()
    change = rng.choice(_CHANGES)
    of_paths = [one for one in places if one[-1] in _PATHS]
    if key is None and of_paths and rng.random() < 0.25:
        places, change = of_paths, rng.choice((_path, _path, _word, change))
    place = rng.choice([one for one in places if one[-1] == key] or places)
    mutation = change(tree, place, rng) or _replace(tree, place, rng)
    return tree.text(), mutation


class _Tree:
    """A JSON document in which values and keys can be put that `json` does not write."""

    def __init__(self, values: Any) -> None:
        self.values = values
        self._raw: dict[str, str] = {}

    def places(self) -> list[tuple[Any, ...]]:
        """Return the path of every value but the root."""
        return list(_paths(self.values, ()))

    def parent(self, place: tuple[Any, ...]) -> Any:
        """Return the list or mapping that holds a value."""
        found = self.values
        for step in place[:-1]:
            found = found[step]
        return found

    def put(self, place: tuple[Any, ...], text: str) -> None:
        """Put raw JSON in the place of a value."""
        token = f"@@{len(self._raw)}@@"
        self._raw[json.dumps(token)] = text
        self.parent(place)[place[-1]] = token

    def twice(self, place: tuple[Any, ...], text: str) -> None:
        """Give a mapping the same key a second time."""
        token = f"@@{len(self._raw)}@@"
        self._raw[json.dumps(token)] = json.dumps(place[-1])
        parent = self.parent(place)
        parent[token] = "@@value@@"
        self._raw[json.dumps("@@value@@")] = text

    def text(self) -> str:
        """Return the document."""
        text = json.dumps(self.values, separators=(",", ":"))
        for token, raw in self._raw.items():
            text = text.replace(token, raw)
        return text


def _paths(values: Any, place: tuple[Any, ...]) -> Iterator[tuple[Any, ...]]:
    inner = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    for key, value in inner:
        yield (*place, key)
        yield from _paths(value, (*place, key))


def _name(place: tuple[Any, ...]) -> str:
    names = [str(step) for step in place if isinstance(step, str)]
    return names[-1] if names else "root"


def _replace(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation:
    nasty = rng.choice(NASTY)
    tree.put(place, nasty.text)
    return Mutation(f"{_name(place)}: {nasty.label}", is_meaning=nasty.is_valid)


def _word(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation:
    nasty = rng.choice(_WORDS)
    tree.put(place, nasty.text)
    return Mutation(f"{_name(place)}: {nasty.label}")


def _remove(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation:
    del tree.parent(place)[place[-1]]
    return Mutation(f"{_name(place)}: removed")


def _add(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation:
    parent, word = tree.parent(place), rng.choice(tuple(STRINGS))
    if isinstance(parent, list):
        parent.append(STRINGS[word])
    else:
        parent[STRINGS[word]] = 1
    return Mutation(f"beside {_name(place)}: {word} added")


def _twice(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    if not isinstance(place[-1], str):
        return None
    tree.twice(place, rng.choice(NASTY[:-2]).text)
    return Mutation(f"{_name(place)}: given twice")


def _rename(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    parent, word = tree.parent(place), rng.choice(tuple(STRINGS))
    if not isinstance(parent, dict):
        return None
    parent[STRINGS[word]] = parent.pop(place[-1])
    return Mutation(f"{_name(place)}: renamed to {word}")


def _reverse(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    parent = tree.parent(place)
    values = parent[place[-1]]
    if not isinstance(values, list) or values == values[::-1]:
        return None
    values.reverse()
    return Mutation(f"{_name(place)}: reversed")


def _swap(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    other = rng.choice(tree.places())
    if place == other[: len(place)] or other == place[: len(other)]:
        return None
    a, b = tree.parent(place), tree.parent(other)
    a[place[-1]], b[other[-1]] = b[other[-1]], a[place[-1]]
    return Mutation(f"{_name(place)}: swapped with {_name(other)}")


def _shift(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    parent = tree.parent(place)
    value = parent[place[-1]]
    if isinstance(value, bool):
        parent[place[-1]] = not value
    elif isinstance(value, int):
        parent[place[-1]] = value + rng.choice((-1, 1, 100))
    elif isinstance(value, float):
        parent[place[-1]] = value * rng.choice((0.5, 1.01, -1.0))
    elif isinstance(value, str):
        parent[place[-1]] = value[::-1] if re.fullmatch("[0-9a-f]{64}", value) else f"{value}x"
    else:
        return None
    return Mutation(f"{_name(place)}: another value")


def _path(tree: _Tree, place: tuple[Any, ...], rng: random.Random) -> Mutation | None:
    if not isinstance(tree.parent(place)[place[-1]], str):
        return None
    label = rng.choice([label for label in STRINGS if "path" in label])
    tree.put(place, json.dumps(STRINGS[label]))
    return Mutation(f"{_name(place)}: {label}")


_CHANGES = (
    *(_replace, _replace, _replace, _word, _word, _path, _path, _remove, _add, _twice, _rename, _reverse, _swap),
    *(_shift, _shift),
)
# Keys of which a path, or a name in one, is made.
_PATHS = ("path", "study", "folder", "name", "trainable", "resume_from", "predictions", "model")


def strip_chain(lines: list[str]) -> list[str]:
    """Return the lines of a log without what only tells of changes: keys of all lines that are no event's own."""
    parsed = [json.loads(line) for line in lines]
    common = set.intersection(*(set(line) for line in parsed)) - {"v", "kind", "time"} if parsed else set()
    if not common:
        return lines
    kept = [{key: value for key, value in line.items() if key not in common} for line in parsed]
    return [json.dumps(line, separators=(",", ":"), ensure_ascii=False) for line in kept]


def in_log(path: Path, rng: random.Random) -> Mutation:
    """Change a log: a line that is lost, gained or moved, or a value in one; half of them without running digests."""
    lines = path.read_text(encoding="utf-8").splitlines()
    is_bare = rng.random() < 0.5
    if is_bare:
        lines = strip_chain(lines)
    before = list(lines)
    change = rng.choice((_line_removed, _line_twice, _lines_swapped, _path_changed, *[_line_changed] * 7))
    mutation = change(lines, rng)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    is_in_the_middle = lines[:-1] != before[: len(lines) - 1] and lines[-1] == before[-1]
    return Mutation(mutation.label, mutation.is_meaning, not is_bare and mutation.is_meaning and is_in_the_middle)


def _line_removed(lines: list[str], rng: random.Random) -> Mutation:
    del lines[rng.randrange(max(len(lines) - 1, 1))]
    return Mutation("a line of the log removed")


def _line_twice(lines: list[str], rng: random.Random) -> Mutation:
    place = rng.randrange(max(len(lines) - 1, 1))
    lines.insert(place, lines[place])
    return Mutation("a line of the log twice")


def _lines_swapped(lines: list[str], rng: random.Random) -> Mutation:
    place = rng.randrange(max(len(lines) - 2, 1))
    other = rng.choice((place + 1, rng.randrange(max(len(lines) - 1, 1))))
    lines[place], lines[other] = lines[other], lines[place]
    return Mutation("lines of the log swapped")


def _line_changed(lines: list[str], rng: random.Random) -> Mutation:
    kinds = [json.loads(line)["kind"] for line in lines]
    kind = rng.choice(sorted(set(kinds)))
    place = rng.choice([n for n, one in enumerate(kinds) if one == kind])
    key = rng.choice(("trial", None, None, None))
    lines[place], mutation = changed_json(lines[place], rng, key=key)
    return Mutation(f"{kind}, {mutation.label}", mutation.is_meaning)


def _path_changed(lines: list[str], rng: random.Random) -> Mutation:
    """Have a path of the log, best of its last lines, lead out of the run folder."""
    places = [n for n, line in enumerate(lines) if {"path", "predictions", "model"} & json.loads(line).keys()]
    if not places:
        return _line_changed(lines, rng)
    place = rng.choice(places[len(places) // 2 :])
    values = json.loads(lines[place])
    label = rng.choice([label for label in STRINGS if "path" in label])
    values[rng.choice(sorted({"path", "predictions", "model"} & values.keys()))] = STRINGS[label]
    lines[place] = json.dumps(values, separators=(",", ":"))
    return Mutation(f"{values['kind']}, {label}")


def endless_line(path: Path, rng: random.Random) -> Mutation:
    """Give a log one line of 200 MB."""
    with path.open("ab") as file:
        file.write(b'{"v":1,"kind":"study_ended","time":"')
        for _ in range(200):
            file.write(b"x" * 1_000_000)
        file.write(b'","finished":true,"reason":""}\n')
    return Mutation("a line of 200 MB")


def in_toml(path: Path, rng: random.Random) -> Mutation:
    """Change one line of a TOML file that has a key and its value on each."""
    lines = path.read_text(encoding="utf-8").splitlines()
    places = [n for n, line in enumerate(lines) if " = " in line]
    place = rng.choice(places)
    key, _, value = lines[place].partition(" = ")
    nasty = _toml_value(rng)
    way = rng.randrange(10)
    is_valid = nasty.is_valid
    if way < 5:
        lines[place], label = f"{key} = {nasty.text}", f"{key}: {nasty.label}"
    elif way == 5:
        del lines[place]
        label = f"{key}: removed"
    elif way == 6:
        word = rng.choice([word for word in STRINGS if "surrogate" not in word])
        lines[place], label, is_valid = f"{_toml_string(STRINGS[word])} = {value}", f"{key}: renamed to {word}", True
    elif way == 7:
        dotted = rng.choice((".".join(["a"] * DOTTED), "a.b.c"))
        lines.insert(place, f"{dotted} = 1")
        label, is_valid = f"beside {key}: a dotted key", True
    elif way == 8:
        word = rng.choice([word for word in STRINGS if "surrogate" not in word])
        lines += [f"[{_toml_string(STRINGS[word])}]", "a = 1"]
        label, is_valid = f"a section named {word}", True
    else:
        scaled = value if not re.fullmatch(r"-?[\d.]+", value) else rng.choice((f"-{value}", f"{value}0", f"0.{value}"))
        lines[place], label, is_valid = f"{key} = {scaled}", f"{key}: another value", True
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Mutation(label, is_valid)


def _toml_value(rng: random.Random) -> Nasty:
    values = [
        *(Nasty(label, _toml_string(text), "\ud800" not in text) for label, text in STRINGS.items()),
        *(Nasty(label, text) for label, text in NUMBERS.items()),
        Nasty("nan", "nan"),
        Nasty("infinity", "-inf"),
        Nasty("true", "true"),
        Nasty("a date", "2020-01-01T00:00:00Z"),
        Nasty("an empty list", "[]"),
        Nasty("a table", "{a = 1, b.c = 2}"),
        Nasty(f"nesting of {NESTING}", "[" * NESTING + "]" * NESTING),
        Nasty("nesting of 300", "[" * 300 + "]" * 300),
        Nasty("a milliard", "1000000000"),
    ]
    return rng.choice(values)


def _toml_string(text: str) -> str:
    return json.dumps(text).replace("\x7f", "\\u007f")


def in_csv(path: Path, rng: random.Random) -> Mutation:
    """Change a cell, a row or the form of a table of numbers."""
    rows = [line.split(",") for line in path.read_text(encoding="utf-8").splitlines()]
    row = rng.randrange(len(rows))
    cell = rng.randrange(len(rows[row]))
    words = {"a quote": '"', "a word": "nan", "infinity": "1e999", "a comma more": "0,0", "a space": " 0.5 "}
    numbers = {"minus one": "-1", "two": "2", "a fraction": "0.3", "a long number": "0." + "1" * DIGITS, "empty": ""}
    cells = {**words, **numbers, **{label: text.replace("\ud800", "?") for label, text in STRINGS.items()}}
    way = rng.randrange(8)
    if way < 4:
        word = rng.choice(tuple(cells))
        rows[row][cell], label = cells[word], f"a cell: {word}"
    elif way == 4:
        del rows[row]
        label = "a row removed"
    elif way == 5:
        rows.insert(row, rows[row] * rng.choice((1, 2, 2000)))
        label = "a row more"
    elif way == 6:
        label, rows[0] = "a header", [f"c{n}" for n in range(len(rows[0]))]
    else:
        label, rows = "one endless row", [["0.5"] * 400_000]
    path.write_text("\r\n".join(map(",".join, rows)) + "\n", encoding="utf-8")
    return Mutation(label)


def chunk(name: bytes, data: bytes) -> bytes:
    """Return a chunk of a PNG file."""
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, rows: bytes, *, colour: int = 0, depth: int = 8, more: bytes = b"") -> bytes:
    """Return a PNG file with what it claims and what it holds, which need not go together."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + more + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def squeezed(n: int) -> bytes:
    """Return `n` zeros, compressed, a hundredth of a second for each ten million."""
    packer = zlib.compressobj(1)
    block = bytes(1 << 20)
    pieces = [packer.compress(block[: min(len(block), n - start)]) for start in range(0, n, len(block))]
    return b"".join([*pieces, packer.flush()])


def in_any(path: Path, rng: random.Random) -> Mutation:
    """Change a file as its kind is changed: a log, or a JSON file."""
    return in_log(path, rng) if path.suffix == ".jsonl" else rng.choice((in_json, in_json, damage))(path, rng)


def in_lines(path: Path, rng: random.Random) -> Mutation:
    """Change a file that has a JSON document on each line."""
    if rng.random() < 0.2:
        return damage(path, rng)
    lines = path.read_text(encoding="utf-8").splitlines()
    place = rng.randrange(len(lines))
    lines[place], mutation = changed_json(lines[place], rng)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return mutation
