"""Folders as an enemy, or a full disk, would leave them: links, FIFOs, temporary names that are taken, no room."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PID = "PID"  # in a name: the number of the process that runs the command


@dataclass(frozen=True)
class Prepared:
    """What was made ready for a command, and what must be as it was when it has ended."""

    label: str = ""
    words: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()  # links and FIFOs below the folder of the case that must still be what they were
    drained: tuple[str, ...] = ()  # FIFOs that somebody reads from
    plants: tuple[tuple[str, str], ...] = ()  # folder and name of links to a foreign file, made by the process itself
    file_bytes: int | None = None  # the most that a file may hold: a full disk
    must_work: bool = False


Prepare = Callable[[Path, random.Random], Prepared]


@dataclass(frozen=True)
class Place:
    """A command, and how its folders are made ready."""

    name: str
    template: str
    line: str
    prepare: Prepare
    writes: tuple[str, ...] = ()
    engine: str = "light"
    weight: int = 4
    is_wrong: bool = False


def _link(where: str, target: str = "outside/victim") -> Prepare:
    """Have a link to what nothing may touch in the place of a file or a folder."""

    def prepare(folder: Path, rng: random.Random) -> Prepared:
        path = folder / where
        _clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(folder / target)
        return Prepared(f"a link to {target}", kept=_kept(where))

    return prepare


def _kept(where: str) -> tuple[str, ...]:
    """Return an output that an option names; what a command derives by itself may take the place of a link."""
    return (where,) if where.startswith("work/") and not where.startswith("work/.") else ()


def _fifo(where: str, *, is_read: bool) -> Prepare:
    def prepare(folder: Path, rng: random.Random) -> Prepared:
        path = folder / where
        _clear(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(path)
        return Prepared("a FIFO", kept=_kept(where), drained=(where,) if is_read else ())

    return prepare


def _output(where: str) -> Prepare:
    """Have an output be a link, a FIFO, a folder or a file that cannot be reached."""

    def prepare(folder: Path, rng: random.Random) -> Prepared:
        way = rng.randrange(5)
        if way == 0:
            return _link(where)(folder, rng)
        if way == 1:
            return _fifo(where, is_read=True)(folder, rng)
        if way == 2:
            return _link(where, "outside/is-not-there")(folder, rng)
        if way == 3:
            return _link(where, "outside/folder")(folder, rng)
        _clear(folder / where)
        (folder / where / "inside").mkdir(parents=True)
        return Prepared("a folder")

    return prepare


def _planted(*names: tuple[str, str]) -> Prepare:
    """Have a link where a temporary file might be written."""

    def prepare(folder: Path, rng: random.Random) -> Prepared:
        return Prepared("temporary names taken", plants=names)

    return prepare


def _full(folder: Path, rng: random.Random) -> Prepared:
    """Have no file grow beyond some bytes."""
    most = rng.choice((0, 1, *(rng.randrange(limit) for limit in (500, 5000, 20_000, 100_000))))
    return Prepared(f"files of {most} bytes at most", file_bytes=most)


def _torn_log(folder: Path, rng: random.Random) -> Prepared:
    """Have the log be a link to somebody's file that looks like one, without its last line feed."""
    log = folder / "in" / "half" / "events.jsonl"
    foreign = folder / "outside" / "foreign.jsonl"
    foreign.write_bytes(log.read_bytes() + b"somebody's last line")
    log.unlink()
    log.symlink_to(foreign)
    return Prepared("a link to a torn file")


def _moved_root(folder: Path, rng: random.Random) -> Prepared:
    """Have the folder itself be a link, as people do to find room: it must go on working."""
    (folder / "in" / "run").rename(folder / "in" / "elsewhere")
    (folder / "in" / "run").symlink_to("elsewhere")
    return Prepared("the run folder a link", writes=("in/elsewhere",), must_work=True)


def _not_utf8(folder: Path, rng: random.Random) -> Prepared:
    """Have a name that is no UTF-8, or that a terminal runs, among folders or files."""
    old = folder / "in" / "classes" / "left"
    name = rng.choice(
        (b"\xff\xfe", b"a\x1b[31m", b"=cmd()", b"a\nseti-tune: forged; b", "a\u202eb".encode(), b"\xc2\x9b")
    )
    if rng.random() < 0.5:
        os.rename(os.fsencode(old), os.path.join(os.fsencode(old.parent), name))  # noqa: PTH104, PTH118 - bytes
        return Prepared(f"a class folder named {name!r}")
    first = os.fsencode(sorted(old.iterdir())[0])
    os.rename(first, os.path.join(os.fsencode(old), name + b".png"))  # noqa: PTH104, PTH118 - bytes
    if rng.random() < 0.5:
        (old / "broken.png").write_bytes(b"")
    return Prepared(f"a picture named {name!r}")


def _checkpoints_elsewhere(below: str) -> Prepare:
    """Have a folder of checkpoints be a link to somebody's folder."""

    def prepare(folder: Path, rng: random.Random) -> Prepared:
        return _link(rng.choice((f"{below}/checkpoints/0000", f"{below}/checkpoints")), "outside/folder")(folder, rng)

    return prepare


def _another_model(folder: Path, rng: random.Random) -> Prepared:
    """Have the description of another training beside a model."""
    shutil.copy(folder / "in" / "other" / "model.json", folder / "in" / "out" / "model.json")
    return Prepared("the description of another training")


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


REPORT = "report ../in/run --out page.html"
FOLDER = "data import out --folder ../in/classes --fractions 0.6,0.2,0.2"
IMPORT = "data import out --npz ../in/images.npz --fractions 0.6,0.2,0.2"
RETRAIN = "retrain ../in/receipt.json --out ../in/half"
LEADERBOARD = "leaderboard ../in/run --csv t.csv"
_INPUTS = (
    ("run", "status ../in/run", "in/run/events.jsonl"),
    ("dataset", "data describe ../in/data --out s.png", "in/data/dataset.json"),
    ("dataset", "data describe ../in/data --out s.png", "in/data/train_images.npy"),
    ("images", FOLDER, "in/classes/left/00.png"),
    ("images", IMPORT, "in/images.npz"),
    ("study", "search ../in/net.toml --dry-run", "in/net.toml"),
    ("study", "search ../in/net.toml --dry-run", "in/space.toml"),
    ("retraining", "retrain ../in/receipt.json", "in/receipt.json"),
    ("run", REPORT, "in/run/importance.json"),
    ("run", REPORT, "in/run/final/validation_predictions.parquet"),
)
_DERIVED = ("leaderboard.csv", "epochs.csv", "report.md", "report.html", "receipts", "search.png", "importance.json")

PLACES = (
    Place("a table", "run", LEADERBOARD, _output("work/t.csv"), ("work/t.csv",), weight=8),
    Place("a page", "run", REPORT, _output("work/page.html"), ("in/run/importance.json", "work/page.html"), weight=8),
    Place("a page in its run", "run", "report ../in/run", _output("in/run/report.html"), ("in/run",)),
    Place(
        "examples", "dataset", "data describe ../in/data", _output("in/data/contact_sheet.png"), ("in/data",), weight=8
    ),
    Place("a data set", "images", IMPORT, _output("work/out"), ("work/out",)),
    Place("a data set being written", "images", IMPORT, _link("work/.writing-out", "outside/folder"), ("work",)),
    Place("an export", "run", "export ../in/run --optuna", _output("in/run/exports"), ("in/run/exports",)),
    Place("a journal", "run", "export ../in/run --optuna", _output("in/run/exports/optuna-journal.log"), ("in/run",)),
    Place("curves", "search", "export ../in/run --tensorboard", _output("in/run/exports/tensorboard"), ("in/run",)),
    Place("a retraining", "retraining", "retrain ../in/receipt.json --out half", _output("work/half"), ("work/half",)),
    Place(
        "checkpoints of a retraining", "retraining", RETRAIN, _checkpoints_elsewhere("in/half"), ("in/half",), weight=8
    ),
    Place("a torn log", "retraining", RETRAIN, _torn_log, ("in/half",)),
    Place("an answer", "retraining", RETRAIN, _output("in/half/answer.json"), ("in/half",)),
    Place("checkpoints of a search", "netsearch", "resume ../in/run", _checkpoints_elsewhere("in/run"), ("in/run",)),
    *(
        Place(f"{name} of a run", "search", "resume ../in/run", _output(f"in/run/{name}"), ("in/run",), weight=1)
        for name in _DERIVED
    ),
    Place("the log of a run", "search", "resume ../in/run", _link("in/run/events.jsonl"), ("in/run",), weight=1),
    Place("a linked root", "search", "resume ../in/run", _moved_root, (), weight=1),
    Place("a linked root, shown", "run", "leaderboard ../in/run", _moved_root, (), weight=1),
    Place(
        *(
            "temporary names of a table",
            "run",
            LEADERBOARD,
            _planted(("work", f".{PID}.t.csv"), ("work", ".t.csv.tmp")),
        ),
        ("work/t.csv",),
    ),
    Place(
        *("temporary names of a page", "run", REPORT, _planted(("work", f".{PID}.page.html"))),
        ("work/page.html", "in/run/importance.json"),
    ),
    Place(
        *("temporary names of an answer", "retraining", RETRAIN),
        _planted(("in/half", f".{PID}.answer.json"), ("in/half", f".{PID}.receipt.json")),
        ("in/half",),
    ),
    Place("names", "images", FOLDER, _not_utf8, ("work/out",), weight=12),
    *(
        Place(
            f"an input, {path.partition('/')[2]}, {line.split()[0]}",
            template,
            line,
            _fifo(path, is_read=False),
            ("work", "in"),
            weight=1,
        )
        for template, line, path in _INPUTS
    ),
    Place("a full disk, table", "run", LEADERBOARD, _full, ("work/t.csv",), weight=3),
    Place("a full disk, page", "run", REPORT, _full, ("work/page.html", "in/run/importance.json"), weight=3),
    Place("a full disk, journal", "run", "export ../in/run --optuna", _full, ("in/run/exports",), weight=3),
    Place("a full disk, curves", "search", "export ../in/run --tensorboard", _full, ("in/run/exports",), weight=3),
    Place("a full disk, import", "images", IMPORT, _full, ("work/out",), weight=3),
    Place("a full disk, examples", "dataset", "data describe ../in/data", _full, ("in/data",), weight=3),
    Place("a full disk, retraining", "retraining", "retrain ../in/receipt.json", _full, ("work/runs",), weight=3),
    Place("a full disk, resume", "netsearch", "resume ../in/run", _full, ("in/run",), weight=3),
    Place(
        *("another description", "model", "predict ../in/out/model.keras ../in/one.png --threads 1", _another_model),
        engine="network",
        weight=1,
        is_wrong=True,
    ),
    Place(
        *("a ledger", "model"),
        "evaluate ../in/out/model.keras ../in/data --split test --unlock-test --threads 1",
        _output("in/data/test_uses.jsonl"),
        ("in/data", "in/out/events.jsonl"),
        engine="network",
        weight=2,
    ),
    Place(
        *("predictions", "model", "predict ../in/out/model.keras ../in/one.png --csv t.csv --threads 1"),
        _output("work/t.csv"),
        ("work/t.csv",),
        engine="network",
        weight=1,
    ),
)
