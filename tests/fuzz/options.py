"""Options with values that nobody means: numbers, words and paths, for each command that takes them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fuzz.mutations import DIGITS, OUTSIDE, STRINGS
from fuzz.places import Prepare, Prepared

WHOLE: tuple[str, ...] = (
    "-1",
    "0",
    "1",
    "7" * DIGITS,
    "999999999999",
    "1000000000000000000000",
    "1e3",
    "nan",
    "",
    "0x10",
    "1_0",
    "\u0663",
)
FRACTION: tuple[str, ...] = (
    "nan",
    "inf",
    "-inf",
    "-1",
    "2",
    "1e999",
    "1e-320",
    "0",
    "7" * DIGITS,
    "",
    "0.5.5",
    "1e308",
    "0.999999999",
)
FRACTIONS: tuple[str, ...] = (
    "nan,0.5,0.5",
    "0,0,1",
    "1,1,1",
    "-1,1,1",
    "0.5,0.5",
    "1e999,0,0",
    "0.6,0.2,0.2,0",
    ",",
    "0.98,0.01,0.01",
)
SHAPES: tuple[str, ...] = (
    "100000,100000",
    "0,16",
    "-1,-1",
    "256,1",
    "1,256",
    "16",
    "16,16,1",
    f"{'7' * DIGITS},1",
    "2147483648,2",
)
SHAPES += ("nan,1", "1e2,1", "4294967296,4294967296")
WORDS = tuple(STRINGS.values())
NAMES = (*(f"{word},{word}2" for word in WORDS), "a,a", ",", "a", ",".join(map(str, range(200))))
PATHS = (
    *(
        "a\0b",
        "a\ud800b",
        "n" * 300,
        "/".join(["n" * 200] * 30),
        "is/not/there",
        ".",
        "a\x1b[31mb",
        f"a\n{STRINGS['dots']}",
    ),
    *("=cmd()", "~nobody/x", "s3:/bucket/x", "file:///x", "a\u202eb", "-", "--help", "x/../x", "\x9b31m"),
)
SIZES: tuple[str, ...] = ("150", "0px", "-1px", "nanpx", "px", "1e999", "6", "6 h", "-6h", "nanh", "1e999d", "6h6h", "")
SIZES += (f"{'7' * DIGITS}px", f"{'7' * DIGITS}d", "1e-320s", "\u0663h", "9" * 30 + "h", "h\x1b[31m")
CONDITIONS: tuple[str, ...] = (
    "objective > nan",
    "trial = ",
    "a\x1b[31m = 1",
    f"objective < {'7' * DIGITS}",
    "= = =",
    "",
    "trial<1e999",
)
CONDITIONS += ("status = \ud800", "learning_rate > 0", "x" * 100_000, "trial = \x9b31m")
COLUMNS: tuple[str, ...] = (
    "trial:up",
    "\x1b[31m",
    "",
    ":",
    "objective:desc:asc",
    "reason",
    "a\ud800",
    "parameters",
    "x" * 100_000,
)
SETTINGS: tuple[str, ...] = (
    "a",
    "=",
    "training.epochs=",
    "training.epochs=1e3",
    f"training.epochs={'7' * DIGITS}",
    "training.epochs=true",
)
SETTINGS += (
    "training.learning_rate=NaN",
    "network.dense_units=1e9",
    "network.family=\x1b[31m:X",
    "network.family=os:abort",
)
SETTINGS += (
    "prepare.steps=a:b,c:d",
    "network.dense_units=65536",
    "\ud800=1",
    f"training.epochs={'[' * 20000}",
    "a.b.c=1",
)
SETTINGS += ("network.family=../../outside/evil:X", f"network.family={'x' * 300}:X", "training.batch_size=999999999999")


# What was fetched is whole, so that nothing has to be asked for.
FETCH = "data fetch ../in/cutouts --survey first --catalogue ../in/catalogue.csv --size 8px --pause 0 --tries 1"
SCAN = (
    "scan ../in/out/model.keras ../in/0.fil ../in/1.fil --out ../in/scan --threshold 0.3 --rule log --background left "
    "--batch 2 --threads 1"
)


@dataclass(frozen=True)
class Option:
    """A command whose options get such values; `more` is an option and what it may be given."""

    name: str
    template: str
    line: str
    more: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    places: tuple[int, ...] = ()  # words of the line that are paths
    writes: tuple[str, ...] = ("work",)
    engine: str = "light"
    weight: int = 4


def option_words(option: Option, rng: random.Random, outside: str) -> tuple[tuple[str, ...], str, Prepare]:
    """Return the words of a command with one or two of its options changed, what was done, and what is made ready."""
    words, done = option.line.split(), list[str]()
    for _ in range(rng.choice((1, 1, 2))):
        choices: list[str | int] = [*option.more, *option.places]
        choice = rng.choice(choices)
        value = rng.choice(PATHS if isinstance(choice, int) else option.more[choice]).replace(OUTSIDE, outside)
        if isinstance(choice, int):
            words[choice] = value
        else:
            words += [f"{choice}={value}"] if rng.random() < 0.7 else [choice, value]
        done.append(f"{words[0] if isinstance(choice, int) else choice} {value[:30]!r}")
    return tuple(words), " ".join(done), _nothing


def _nothing(folder: Path, rng: random.Random) -> Prepared:
    return Prepared()


CLASSIC = (
    Option(
        *("import CSV", "images"),
        "data import out --train ../in/images.csv ../in/labels.csv --class-names left,right --shape 16,16 "
        "--fractions 0.6,0.2,0.2",
        {"--shape": SHAPES, "--class-names": NAMES, "--fractions": FRACTIONS, "--split-seed": WHOLE},
        (2, 4, 5),
    ),
    Option(
        *("import npz", "images", "data import out --npz ../in/images.npz --fractions 0.6,0.2,0.2"),
        {"--class-names": NAMES, "--fractions": FRACTIONS, "--split-seed": WHOLE, "--test-fraction": FRACTION}
        | {"--of": NAMES, "--axes": NAMES},
        (2, 4),
    ),
    Option(
        *("import folder", "images", "data import out --folder ../in/classes --fractions 0.6,0.2,0.2"),
        {"--fractions": FRACTIONS, "--split-seed": WHOLE, "--test-fraction": FRACTION},
        (2, 4),
    ),
    Option(
        *("simulate", "images", "data simulate out --preset wide --train 4 --validation 4 --test 4"),
        {"--train": WHOLE, "--validation": WHOLE, "--test": WHOLE, "--seed": WHOLE, "--preset": WORDS},
        (2,),
    ),
    Option(
        *("describe", "dataset", "data describe ../in/data --out s.png"),
        {"--out": PATHS, "--seed": WHOLE, "--count": WHOLE, "--class": NAMES, "--augment": WORDS},
        (2,),
    ),
    Option(
        *("dry run", "study", "search ../in/net.toml --dry-run"),
        {"--trials": WHOLE, "--run": PATHS, "--address": WORDS},
        (1,),
        weight=6,
    ),
    Option(
        *("leaderboard", "run", "leaderboard ../in/run"),
        {"--where": CONDITIONS, "--sort": COLUMNS, "--top": WHOLE, "--csv": PATHS, "--address": WORDS},
        (1,),
        weight=8,
    ),
    Option("status", "run", "status ../in/run", {"--address": WORDS}, (1,), weight=2),
    Option("compare", "run", "compare ../in/run ../in/second", {"--top": WHOLE, "--csv": PATHS}, (1, 2)),
    Option(
        *("report", "run", "report ../in/run --out page.html", {"--out": PATHS, "--every": FRACTION}, (1,)),
        ("work", "in/run/importance.json"),
    ),
    Option(
        *("export", "run", "export ../in/run --optuna", {"--out": PATHS, "--optuna-journal": PATHS}, (1,)),
        ("work", "in/run/exports"),
    ),
    Option(
        *("retrain", "search", "retrain ../in/run"),
        {"--trial": (*WHOLE, *WORDS), "--repeat": WHOLE, "--out": PATHS, "--data": PATHS, "--threads": WHOLE},
        (1,),
    ),
    Option(
        *("resume", "search", "resume ../in/run"),
        {"--trials": WHOLE, "--data": PATHS, "--space": PATHS, "--run": PATHS},
        (1,),
        ("work", "in/run"),
    ),
    Option(
        "finals", "search", "finals ../in/run", {"--finalists": WHOLE, "--seeds": WHOLE}, (1,), ("in/run",), weight=2
    ),
    Option(
        *("summary", "model", "train --data ../in/data --summary --threads 1"),
        {"--set": SETTINGS, "--seed": WHOLE, "--out": PATHS, "--data": PATHS, "--init-from": PATHS},
        engine="network",
        weight=2,
    ),
    Option(
        *("predict", "model", "predict ../in/out/model.keras ../in/one.png --threads 1"),
        {"--batch": WHOLE, "--csv": PATHS, "--split": WORDS},
        (1, 2),
        engine="network",
        weight=2,
    ),
)
_TILING = {"--tile": SHAPES, "--overlap": SHAPES, "--average": SHAPES, "--shrink": SHAPES, "--rule": WORDS}
_TILING |= {"--fft": WHOLE, "--dtype": WORDS, "--sample-rate": FRACTION}
SKY = (
    Option(
        *("fetch", "fetched", FETCH),
        {"--pause": FRACTION, "--tries": WHOLE, "--most-blank": FRACTION, "--size": SIZES, "--survey": WORDS},
        (2, 6),
        ("work", "in/cutouts"),
    ),
    Option(
        *("groups", "fetched", "data groups ../in/times.csv --within 6h --out groups.csv"),
        {"--within": SIZES, "--out": PATHS},
        (2,),
    ),
    Option(
        *("confusion", "fetched", "data confusion --survey first --out confusion.png"),
        {"--size": FRACTION, "--survey": WORDS, "--out": PATHS},
    ),
    Option(
        *("import spectra", "spectra"),
        "data import out --spectra ../in/0.fil ../in/1.fil ../in/2.fil ../in/3.fil ../in/4.fil ../in/5.fil --labels "
        "../in/fil.csv --rule log --tile 16,16 --fractions 0.34,0.33,0.33",
        {"--fractions": FRACTIONS} | _TILING,
        (2, 4, 11),
    ),
    Option(
        *(
            "import pictures",
            "images",
            "data import out --folder ../in/sky --labels ../in/sky.csv --scale asinh --fractions 0.6,0.2,0.2",
        ),
        {"--size": SHAPES, "--scale": WORDS, "--filter": WORDS, "--groups": PATHS, "--drop": PATHS, "--ground": WORDS},
        (2, 4, 6),
    ),
    Option(
        *("scan", "scanned", SCAN),
        {"--batch": WHOLE, "--threshold": FRACTION, "--false-alarm": FRACTION, "--background": WORDS}
        | {"--rate": FRACTION, "--idle": FRACTION, "--pictures": WHOLE, "--readers": WHOLE, "--out": PATHS}
        | _TILING,
        (1, 2, 3),
        ("work", "in/scan"),
        engine="network",
        weight=2,
    ),
)
OPTIONS: Mapping[str, tuple[Option, ...]] = {"options": CLASSIC, "sky-options": SKY}
