"""The cases: for each kind of file or option that is read, a seed becomes an input and the command that reads it."""

from __future__ import annotations

import contextlib
import random
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from fuzz import archives, mutations, sky, spectra
from fuzz.mutations import OUTSIDE, Mutation, Mutator
from fuzz.options import FETCH, OPTIONS, SCAN, option_words
from fuzz.places import PLACES, Prepared
from fuzz.templates import Templates

IMPORT_CSV = (
    "data import out --train ../in/images.csv ../in/labels.csv --class-names left,right --shape 16,16 "
    "--fractions 0.6,0.2,0.2"
)
IMPORT_NPZ = "data import out --npz ../in/images.npz --fractions 0.6,0.2,0.2"
IMPORT_SKY = (
    "data import out --folder ../in/sky --labels ../in/sky.csv --groups ../in/groups.csv --drop ../in/drop.txt "
    "--size 12,13 --scale asinh --fractions 0.6,0.2,0.2"
)
IMPORT_FOLDER = "data import out --folder ../in/classes --fractions 0.6,0.2,0.2"
IMPORT_SPECTRA = "data import out --tile 16,16 --rule log --fractions 0.34,0.33,0.33 --labels ../in/"
IMPORT_FIL, IMPORT_H5 = (
    f"{IMPORT_SPECTRA}{kind}.csv --spectra {' '.join(f'../in/{n}.{kind}' for n in range(spectra.FILES))}"
    for kind in ("fil", "h5")
)
PREDICT = "predict ../in/out/model.keras --threads 1"
EVALUATE = "evaluate ../in/out/model.keras ../in/data --threads 1"
CONTINUE = "train --continue --out ../in/out --set training.epochs=3"
REPORT = "report ../in/run --out page.html"
REPLAY = "replay ../in/{} --seeds 2 --trials 3"


@dataclass(frozen=True)
class Scenario:
    """A command on a template: which of its files are changed, how, and what the command may write."""

    name: str
    template: str
    line: str  # the command, its words parted by spaces; it runs in the folder `work`, beside `in`
    targets: str = ""  # patterns below the folder of inputs, parted by spaces
    mutators: tuple[Mutator, ...] = ()
    writes: tuple[str, ...] = ()  # below the folder of the case
    engine: str = "light"
    weight: int = 4
    watches: bool = True  # whether a wrong result would be seen

    @property
    def words(self) -> tuple[str, ...]:
        """The words of the command."""
        return tuple(self.line.split())

    @property
    def may_differ(self) -> bool:
        """Whether the command may end otherwise than with 0 and without an error."""
        return self.words[0] in ("resume", "retrain", "finals")


@dataclass(frozen=True)
class Case:
    """One case, ready to run in its folder."""

    kind: str
    seed: int
    scenario: Scenario
    folder: Path
    words: tuple[str, ...]
    mutations: tuple[Mutation, ...] = ()
    prepared: Prepared = field(default_factory=Prepared)

    @property
    def is_meaning(self) -> bool:
        """Whether the input is valid in syntax and wrong in meaning."""
        return all(one.is_meaning for one in self.mutations)

    @property
    def is_wrong(self) -> bool:
        """Whether a result without a word would be wrong."""
        labels = [one.label for one in self.mutations]  # what was reversed twice is as it was
        last = self.mutations[-1:] if self.kind == "png" else self.mutations  # each writes a picture anew
        found = [one.is_wrong and labels.count(one.label) % 2 == 1 for one in last]
        return self.scenario.watches and (
            all(found) if self.kind in ("log", "curves") else any(found)
        )  # a log may lose its sums

    @property
    def label(self) -> str:
        """What was done, in words."""
        return " and ".join(one.label for one in self.mutations)

    @property
    def writes(self) -> tuple[str, ...]:
        """What the command may write, below the folder of the case."""
        return (*self.scenario.writes, *self.prepared.writes)


_JSON = (*[mutations.in_json] * 4, mutations.damage)
_LOG = (*[mutations.in_log] * 6, mutations.damage, mutations.damage)
_TOML = (*[mutations.in_toml] * 4, mutations.damage)
_CSV = (*[mutations.in_csv] * 3, mutations.damage)
_NPZ = (*[archives.in_npz] * 3, mutations.damage)
_NPY = (*[archives.in_npy] * 3, mutations.damage)
_PNG = (*[archives.in_png] * 4, mutations.damage)
_FITS = (*[sky.in_fits] * 4, mutations.damage)
_FIL = (*[spectra.in_fil] * 4, mutations.damage)
_H5 = (*[spectra.in_h5] * 4, mutations.damage, spectra.in_packed)
_PARQUET = (*[archives.in_parquet] * 3, mutations.damage)
_KERAS = (*[archives.in_keras] * 4, mutations.damage)
_DESCRIPTION = (*[archives.in_description] * 5, mutations.damage)
_TRAINING = (*[archives.in_training] * 3, mutations.in_json, mutations.damage)
_HTML = ("work/page.html", "in/run/importance.json")


def _network(name: str, line: str, targets: str, mutators: tuple[Mutator, ...], *writes: str) -> Scenario:
    """Return a scenario of the template of a model; it takes a second, so that there is one for many others."""
    return Scenario(name, "model", line, targets, mutators, writes, "network", 1)


def _of_log(name: str, template: str, line: str, *writes: str, weight: int = 4) -> Scenario:
    return Scenario(name, template, line, "run/events.jsonl", _LOG, writes, weight=weight)


_STATUS = _of_log("status", "run", "status ../in/run")

KINDS: Mapping[str, tuple[Scenario, ...]] = {
    "csv": (
        Scenario("import", "images", IMPORT_CSV, "images.csv labels.csv", _CSV, ("work/out",)),
        _network("predict", f"{PREDICT} ../in/images.csv --csv t.csv", "images.csv", _CSV, "work/t.csv"),
    ),
    "npz": (
        Scenario("import", "images", IMPORT_NPZ, "images.npz", _NPZ, ("work/out",), weight=12),
        _network("predict", f"{PREDICT} ../in/images.npz", "images.npz", _NPZ),
    ),
    "png": (
        Scenario("import", "images", IMPORT_FOLDER, "classes/*/*.png", _PNG, ("work/out",), weight=20),
        Scenario(
            "import, large", "images", IMPORT_FOLDER, "classes", (archives.large_pictures,), ("work/out",), weight=1
        ),
        _network("predict", f"{PREDICT} ../in/one.png", "one.png", _PNG),
        _network("predict a folder", f"{PREDICT} ../in/loose", "loose/*", _PNG),
    ),
    "sky": (
        Scenario("import FITS", "images", IMPORT_SKY, "sky/*.fits", _FITS, ("work/out",), weight=12),
        Scenario(
            "import by tables", "images", IMPORT_SKY, "sky.csv groups.csv drop.txt", _CSV, ("work/out",), weight=8
        ),
    ),
    "fil": (
        Scenario("import", "spectra", IMPORT_FIL, "*.fil", _FIL, ("work/out",), weight=12),
        Scenario("import, flattened", "spectra", f"{IMPORT_FIL} --flatten", "*.fil", _FIL, ("work/out",)),
        Scenario("import, labels", "spectra", IMPORT_FIL, "fil.csv", _CSV, ("work/out",)),
    ),
    "h5": (Scenario("import", "spectra", IMPORT_H5, "*.h5", _H5, ("work/out",)),),
    "toml": (
        Scenario("study", "study", "search ../in/net.toml --dry-run", "net.toml", _TOML),
        Scenario("space", "study", "search ../in/net.toml --dry-run", "space.toml", _TOML),
        Scenario("simulated", "study", "search ../in/simulated.toml --dry-run", "simulated.toml", _TOML),
        Scenario("quick", "study", "search ../in/quick.toml --dry-run", "quick.toml line.toml", _TOML),
    ),
    "log": (
        _of_log("leaderboard", "run", "leaderboard ../in/run --csv t.csv", "work/t.csv", weight=16),
        replace(_STATUS, weight=12),
        replace(_STATUS, name="status, endless", mutators=(mutations.endless_line,), weight=1),
        _of_log("status as JSON", "run", "status ../in/run --json", weight=8),
        _of_log("report", "run", REPORT, *_HTML, weight=16),
        _of_log("compare", "run", "compare ../in/run ../in/second --csv t.csv", "work/t.csv", weight=12),
        _of_log("export to Optuna", "run", "export ../in/run --optuna", "in/run/exports", weight=6),
        _of_log("export to TensorBoard", "search", "export ../in/run --tensorboard", "in/run/exports", weight=6),
        _of_log("resume what is finished", "search", "resume ../in/run", "in/run", weight=16),
        _of_log("resume", "netsearch", "resume ../in/run --trials 7", "in/run", weight=16),
        _of_log("finals", "search", "finals ../in/run --seeds 2", "in/run", weight=8),
        _of_log("retrain", "search", "retrain ../in/run", "work/runs", weight=12),
    ),
    "checkpoint": (
        Scenario(
            *("retrain", "retraining", "retrain ../in/receipt.json --out ../in/half"),
            *("half/checkpoints/*/*/*/state.json", _JSON, ("in/half",)),
        ),
        _network("train", CONTINUE, "out/checkpoints/*/*/*/training.json", _TRAINING, "in/out"),
        _network("train, arrays", CONTINUE, "out/checkpoints/*/*/*/*.npz", _NPZ, "in/out"),
    ),
    "dataset": (
        *(
            Scenario("describe", "dataset", "data describe ../in/data --out s.png", *targets, ("work/s.png",), weight=8)
            for targets in (("data/dataset.json", _JSON), ("data/*.npy", _NPY), ("data/*.parquet", _PARQUET))
        ),
        replace(_network("evaluate", EVALUATE, "data/dataset.json", _JSON), watches=False),
        replace(_network("evaluate, arrays", EVALUATE, "data/*.npy", _NPY), watches=False),
        replace(
            _network("simulate beside", "train --data ../in/data --summary", "data/dataset.json", _JSON), watches=False
        ),
    ),
    "model": (
        _network("predict", f"{PREDICT} ../in/one.png", "out/model.keras", _KERAS),
        _network(
            "predict, described", f"{PREDICT} ../in/one.png --csv t.csv", "out/model.json", _DESCRIPTION, "work/t.csv"
        ),
        _network("evaluate", EVALUATE, "out/model.keras out/model.json", (archives.in_either,)),
        replace(
            _network(
                *("start", "train --data ../in/data --init-from ../in/out/model.keras --summary"),
                *("out/model.json", _DESCRIPTION),
            ),
            watches=False,
        ),
    ),
    "receipt": (
        Scenario("alone", "retraining", "retrain ../in/receipt.json", "receipt.json", _JSON, ("work/runs",), weight=8),
        Scenario(
            *("of a run", "search", "retrain ../in/run --trial 1", "run/receipts/0001.json", _JSON, ("work/runs",)),
        ),
        Scenario(
            *("begun", "retraining", "retrain ../in/receipt.json --out ../in/half"),
            *("half/receipt.json half/events.jsonl", (mutations.in_any,), ("in/half",)),
            watches=False,
        ),
    ),
    "ledger": (
        _network(
            *("evaluate", f"{EVALUATE} --split test --unlock-test", "data/test_uses.jsonl", (mutations.in_lines,)),
            *("in/data/test_uses.jsonl", "in/out/events.jsonl"),
        ),
    ),
    "journal": (
        Scenario(
            *("fetch", "fetched", FETCH, "cutouts/provenance.jsonl", (mutations.in_lines,), ("in/cutouts",)),
            watches=False,
        ),
        Scenario("fetch, files", "fetched", FETCH, "cutouts/*.fits", _FITS, ("in/cutouts",), watches=False),
        Scenario("catalogue", "fetched", FETCH, "catalogue.csv", _CSV, ("in/cutouts",), watches=False),
        Scenario(
            *("groups", "fetched", "data groups ../in/times.csv --within 6h --out g.csv", "times.csv", _CSV),
            ("work/g.csv",),
        ),
        replace(
            _network("scan", SCAN, "scan/journal.jsonl", (mutations.in_lines,), "in/scan"), template="scanned", weight=2
        ),
        replace(_network("scan, spectra", SCAN, "1.fil", _FIL, "in/scan"), template="scanned", watches=False),
    ),
    "curves": (
        _of_log("replay", "search", REPLAY.format("run")),
        Scenario("replay, file", "search", REPLAY.format("curves.parquet"), "curves.parquet", _PARQUET, watches=False),
    ),
    "predictions": tuple(
        Scenario(f"report, {name}", "run", REPORT, targets, mutators, _HTML, watches=False)
        for name, targets, mutators in (
            ("test", "run/final/predictions/*.parquet", _PARQUET),
            ("validation", "run/final/validation_predictions.parquet", _PARQUET),
            ("examples", "run/final/example_images.npz run/final/validation_errors.npz", _NPZ),
            ("importance", "run/importance.json run/final/model.json", _JSON),
        )
    ),
}
ALL_KINDS = (*KINDS, *OPTIONS, "places")
# So many cases of each are run in turn; those that need a network take a second each.
WEIGHTS = {
    "csv": 8,
    "npz": 12,
    "png": 8,
    "sky": 8,
    "fil": 5,
    "h5": 5,
    "toml": 14,
    "log": 24,
    "checkpoint": 2,
    "dataset": 8,
    "model": 3,
    "receipt": 8,
}
WEIGHTS |= {"curves": 3, "journal": 4, "ledger": 1, "predictions": 6, "options": 14, "sky-options": 6, "places": 10}
_TEXTS = (".json", ".jsonl", ".toml")
_LONGEST = 10_000_000  # bytes of a file in which the folder's name is filled in


def lay_out(folder: Path, template: Path) -> None:
    """Make the folders of a case: inputs, the current folder, one for temporary files, and what nothing may touch."""
    shutil.copytree(template, folder / "in", symlinks=True)
    journal = folder / "in" / "scan" / "journal.jsonl"
    if journal.exists():  # it names files from the root on
        journal.write_text(journal.read_text().replace(str(template), str(folder / "in")))
    for name in ("work", "tmp", "outside/folder/0003", "outside/folder/0001"):
        (folder / name).mkdir(parents=True)
    for name in ("victim", "folder/victim", "folder/state.npz", "folder/0003/state.npz", "folder/0001/state.json"):
        (folder / "outside" / name).write_text(f"{name} belongs to somebody else\n" * 3)


def undamaged(kind: str, scenario: Scenario, folder: Path, templates: Templates) -> Case:
    """Return the case of a scenario in which nothing is changed."""
    lay_out(folder, templates.folder(scenario.template))
    return Case(kind, 0, scenario, folder, scenario.words)


def scenario_of(kind: str, seed: int) -> Scenario:
    """Return which command a case is of."""
    return _drawn(kind, seed)[0]


def build(kind: str, seed: int, folder: Path, templates: Templates) -> Case:
    """Write the case of a kind and a seed into a new folder; equal ones give equal files."""
    scenario, rng = _drawn(kind, seed)
    case = replace(undamaged(kind, scenario, folder, templates), seed=seed)
    if kind in OPTIONS:
        option = next(one for one in OPTIONS[kind] if one.name == scenario.name)
        words, label, prepare = option_words(option, rng, str(folder / "outside"))
        return replace(case, words=words, mutations=(Mutation(label),), prepared=prepare(folder, rng))
    if kind == "places":
        place = next(one for one in PLACES if one.name == scenario.name)
        prepared = place.prepare(folder, rng)
        done = Mutation(prepared.label, is_wrong=place.is_wrong)
        return replace(case, words=prepared.words or case.words, mutations=(done,), prepared=prepared)
    changes = [_change(case, rng)]
    if rng.random() < 0.2 and "GB" not in changes[0].label:  # written out it would only be large
        with contextlib.suppress(Exception):  # the first one may have made the file unreadable
            changes.append(_change(case, rng))
    _fill_in(folder)
    return replace(case, mutations=tuple(changes))


def _drawn(kind: str, seed: int) -> tuple[Scenario, random.Random]:
    rng = random.Random(f"{kind} {seed}")
    if kind in OPTIONS:
        option = rng.choices(OPTIONS[kind], [one.weight for one in OPTIONS[kind]])[0]
        return Scenario(option.name, option.template, option.line, writes=option.writes, engine=option.engine), rng
    if kind == "places":
        place = rng.choices(PLACES, [one.weight for one in PLACES])[0]
        return Scenario(place.name, place.template, place.line, writes=place.writes, engine=place.engine), rng
    return rng.choices(KINDS[kind], [one.weight for one in KINDS[kind]])[0], rng


def _change(case: Case, rng: random.Random) -> Mutation:
    inputs = case.folder / "in"
    files = sorted(path for pattern in case.scenario.targets.split() for path in inputs.glob(pattern))
    path, change = rng.choice(files), rng.choice(case.scenario.mutators)
    if path.is_fifo():
        raise OSError(f"{path}: is a pipe by now, which would wait for a reader")
    return change(path, rng)


def _fill_in(folder: Path) -> None:
    here = str(folder / "outside").encode()
    for path in (folder / "in").rglob("*"):
        if path.suffix in _TEXTS and path.is_file() and path.stat().st_size < _LONGEST:
            data = path.read_bytes()
            if OUTSIDE.encode() in data:
                path.write_bytes(data.replace(OUTSIDE.encode(), here))
