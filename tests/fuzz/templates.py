"""Valid files and folders of every kind, made once and copied for each case: small, with something of everything."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.util
import json
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
from astropy.io import fits
from PIL import Image

from fuzz import spectra
from fuzz.options import SCAN

TESTS = Path(__file__).resolve().parents[1]
CLASSES = ("left", "middle", "right")
SIDE = 16
SMALL = ("network.filters_1=4", "network.filters_2=4", "network.kernel=3", "network.dense_units=8", "training.epochs=2")
SPACE = """name = "rate"
description = "The rate and one more."
[parameters."training.learning_rate"]
type = "float"
low = 0.0005
high = 0.01
log = true
reason = "Scales matter."
[parameters."network.filters_1"]
type = "int"
low = 4
high = 64
step = 4
reason = "Few are enough."
"""
STUDY = """[study]
name = "net"
space = "space.toml"
trials = 6
max_epochs = 2
seed = 3
time_limit_h = 2.5
[search]
sampler = "tpe"
startup_trials = 2
[data]
path = "data"
[asha]
grace_epochs = 1
reduction_factor = 3
exempt_fraction = 0.1
[resources]
cpus_per_trial = 1
max_concurrent = 1
[finals]
enabled = true
finalists = 1
max_finalists = 2
seeds = 1
[fixed]
"network.filters_2" = 4
"network.kernel" = 3
"network.dense_units" = 8
"""


def make_light(folder: Path) -> None:
    """Make everything that needs no network."""
    _pictures(folder / "images")
    (folder / "spectra").mkdir()
    spectra.make(folder / "spectra")
    data = _dataset(folder / "dataset" / "data")
    _study(folder / "study", data)
    _whole_run(folder / "run")
    _search(folder / "search")
    _network_search(folder / "netsearch", folder / "study")
    _retraining(folder / "retraining", folder / "search")
    _fetched(folder / "fetched")


def make_network(folder: Path, light: Path) -> None:
    """Make a trained network, with images for it beside it."""
    model = folder / "model"
    shutil.copytree(light / "images", model)
    shutil.copytree(light / "dataset" / "data", model / "data")
    settings = [part for setting in SMALL for part in ("--set", setting)]
    _command("train", "--data", model / "data", "--out", model / "out", "--threads", "1", *settings)
    other = [*settings, "--seed", "5", "--set", "network.dense_units=9"]
    _command("train", "--data", model / "data", "--out", model / "other", "--threads", "1", *other)
    unlocked = ("--split", "test", "--unlock-test", "--threads", "1")
    _command("evaluate", model / "out" / "model.keras", model / "data", *unlocked)
    _scanned(folder / "scanned", model, light / "spectra")


def _scanned(folder: Path, model: Path, files: Path) -> None:
    """A scan of two files that was interrupted after its third block, with its model beside it."""
    folder.mkdir()
    (folder / "out").mkdir()
    for name in ("model.keras", "model.json"):
        shutil.copy(model / "out" / name, folder / "out" / name)
    for number in range(2):
        shutil.copy(files / f"{number}.fil", folder)
    words = [word.replace("../in", str(folder)) if "../in" in word else word for word in SCAN.split()]
    _command(*words)
    journal = folder / "scan" / "journal.jsonl"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text(
        "".join(lines[: next(n for n, line in enumerate(lines) if '"first":2' in line.replace(" ", "")) + 1])
    )


def _fetched(folder: Path) -> None:
    """Cut-outs of three objects, one of which the survey does not have, and a table of frames with their times."""
    from tune.sky.catalogue import read_catalogue
    from tune.sky.fetch import read_size
    from tune.sky.provenance import PROVENANCE, Answer, append_answer

    cutouts = folder / "cutouts"
    cutouts.mkdir(parents=True)
    (cutouts / PROVENANCE).touch()
    rows = ("one,10.5,4,FRI", "two,11.5,-4,FRII", "three,12.5,80,FRI")
    (folder / "catalogue.csv").write_text("\n".join(["name,ra,dec,class", *rows]) + "\n")
    (folder / "times.csv").write_text(
        "\n".join(["file,time,region", *(f"{n}.png,2014-01-0{1 + n // 3}T0{n}:00:00,{n % 2}" for n in range(6))]) + "\n"
    )
    side, pixels = read_size("8px", "first")
    for number, target in enumerate(read_catalogue(folder / "catalogue.csv")):
        answer = Answer(
            name=target.name,
            ra_deg=target.ra_deg,
            dec_deg=target.dec_deg,
            class_name=target.class_name,
            survey="first",
            side_arcmin=side,
            pixels=pixels,
            outcome="missing",
            asked_at="2026-01-01T00:00:00+00:00",
            service="by hand",
        )
        if number < 2:
            path = cutouts / target.file
            fits.PrimaryHDU(np.arange(64, dtype=np.float32).reshape(8, 8) + number).writeto(path)
            content = path.read_bytes()
            kept = {"file": target.file, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            answer = dataclasses.replace(answer, outcome="whole", without_sky=0.0, **kept)
        append_answer(cutouts, answer)


def _command(*words: object) -> None:
    from tune.cli.main import main

    code = main([str(word) for word in words])
    if code != 0:
        raise RuntimeError(f"a template could not be made: {words} ended with {code}")


def _pictures(folder: Path) -> None:
    rng = np.random.default_rng(1)
    for name in CLASSES[:2]:
        (folder / "classes" / name).mkdir(parents=True)
    (folder / "loose").mkdir()
    images = rng.integers(0, 256, (20, SIDE, SIDE), dtype=np.uint8)
    labels = np.arange(20) % 2
    for n, image in enumerate(images):
        Image.fromarray(image).save(folder / "classes" / CLASSES[labels[n]] / f"{n:02d}.png")
    for n in range(3):
        Image.fromarray(images[n]).save(folder / "loose" / f"{n}.png")
    Image.fromarray(images[0]).save(folder / "one.png")
    _sky(folder, images, labels)
    groups = np.array([f"g{n // 2}" for n in range(20)])
    # Groups hold one class each, as what is stratified needs.
    labels_of_groups = (np.arange(20) // 2) % 2
    np.savez(folder / "images.npz", x=images, y=labels_of_groups, class_names=np.array(CLASSES[:2]), groups=groups)
    text = "\n".join(",".join(f"{value / 255:.4f}" for value in image.ravel()) for image in images)
    (folder / "images.csv").write_text(text + "\n")
    (folder / "labels.csv").write_text("".join("1,0\n" if label == 0 else "0,1\n" for label in labels))


def _sky(folder: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """FITS pictures in a folder, with tables of classes, groups and what is left out."""
    (folder / "sky").mkdir()
    for n, image in enumerate(images):
        values = (image.astype(np.uint8), image.astype(np.int16), image.astype(np.float32) / 7)[n % 3]
        fits.PrimaryHDU(values).writeto(folder / "sky" / f"{n:02d}.fits")
    rows = [f"{n:02d}.fits,{CLASSES[label]}" for n, label in enumerate(labels)]
    (folder / "sky.csv").write_text("\n".join(["file,class", *rows]) + "\n")
    (folder / "groups.csv").write_text("\n".join(["file,group", *(f"{n:02d}.fits,g{n}" for n in range(20))]))
    (folder / "drop.txt").write_text("07.fits\n")


def _dataset(path: Path) -> Path:
    from seti_model.data.dataset import SplitData, write_dataset

    def split(name: str, n: int, seed: int) -> SplitData:
        rng = np.random.default_rng(seed)
        labels = (np.arange(n) % 3).astype(np.int8)
        images = rng.integers(0, 120, (n, SIDE, SIDE, 1)).astype(np.uint8)
        for image, label in zip(images, labels, strict=True):
            image[:, 5 * label : 5 * label + 3] += 100
        truth = pd.DataFrame({"amplitude_ratio": np.linspace(0.1, 0.9, n), "drift": np.linspace(-1, 1, n)})
        groups = np.array([f"{name}{k}" for k in range(n)])
        return SplitData(images, labels, truth=truth, groups=groups)

    splits = {"train": split("train", 30, 1), "validation": split("validation", 12, 2), "test": split("test", 9, 3)}
    return write_dataset(path, splits, CLASSES, {"imported": "by hand", "note": {"a": [1, 2]}}).path


def _study(folder: Path, data: Path) -> None:
    processes = _module("processes", TESTS / "test_tune" / "processes.py")
    folder.mkdir(parents=True)
    shutil.copytree(data, folder / "data")
    (folder / "space.toml").write_text(SPACE)
    (folder / "net.toml").write_text(STUDY)
    simulated = STUDY.replace('path = "data"', 'simulate = "wide"\ntrain = 96\nvalidation = 40\ntest = 8\nseed = 1')
    (folder / "simulated.toml").write_text(simulated)
    processes.write_quick_study(folder, trials=4, max_epochs=3, short_finals=True)


def _whole_run(folder: Path) -> None:
    whole = _module("whole_run", TESTS / "test_results" / "whole_run.py")
    hand = _module("hand_of_tests", TESTS / "test_results" / "conftest.py").Hand()
    whole.EVIL = "plain"  # what is evil here comes from the mutations
    parameters = {name: {**values, "reason": "By hand."} for name, values in whole.SPACE["parameters"].items()}
    whole.SPACE = {"name": "by hand", "description": "Three parameters.", "parameters": parameters}
    whole.write_whole_run(folder / "run", hand)
    shutil.copytree(folder / "run", folder / "second")


def _search(folder: Path) -> None:
    """A finished search of the trainable of milliseconds, with its study beside it."""
    processes = _module("processes", TESTS / "test_tune" / "processes.py")
    bench = _module("bench", TESTS / "test_tune" / "bench.py")
    from tune.study import load_study

    home = folder / "home"
    home.mkdir(parents=True)
    study = processes.write_quick_study(home, trials=5, max_epochs=3, short_finals=True)
    bench.finish_here(load_study(study), folder / "run")
    _command("replay", folder / "run", "--save", folder / "curves.parquet")


def _network_search(folder: Path, study_folder: Path) -> None:
    """A search of our networks that was interrupted: two trials have ended, each with checkpoints of its own."""
    from results.log.recorder import EventLog
    from results.log.records import AttemptEnded, AttemptStarted, Checkpoint, Epoch, Status, TrialEnded, TrialStarted
    from results.study import Provenance
    from seti_model.data.dataset import Dataset
    from tune.study import load_study

    study = load_study(study_folder / "net.toml")
    run, data = folder / "run", Dataset.open(study_folder / "data")
    validation = len(data.split("validation").labels)
    with EventLog(run) as log:
        from tune.resume import SeenData, opening_events

        state = _module("results.log.state", Path()).RunState()
        opening = opening_events(study, state, run, data=SeenData(data.digest, validation), provenance=Provenance())
        log.append(*opening)
        for number in range(2):
            point = {} if number == 0 else {"training.learning_rate": 0.002, "network.filters_1": 4}
            configuration = study.configuration(point)
            parameters = study.baseline_parameters() if number == 0 else point
            log.append(
                TrialStarted(
                    trial=number,
                    parameters=parameters or {},
                    configuration=configuration,
                    seed=number,
                    is_baseline=number == 0,
                    max_epochs=2,
                ),
                AttemptStarted(trial=number, attempt=0),
            )
            for epoch in (1, 2):
                path = f"checkpoints/{number:04d}/0/{epoch:04d}"
                (run / path).mkdir(parents=True)
                for name in ("state.npz", "best_weights.npz", "best_probabilities.npz", "training.json"):
                    (run / path / name).write_bytes(b"{}")
                log.append(
                    Epoch(trial=number, attempt=0, epoch=epoch, validation_accuracy=0.5 + 0.1 * number + 0.01 * epoch),
                    Checkpoint(trial=number, attempt=0, epoch=epoch, path=path, bytes=8, digest="0" * 64),
                )
            log.append(
                AttemptEnded(trial=number, attempt=0, why="completed"),
                TrialEnded(trial=number, status=Status.COMPLETED, reason="", epochs=2),
            )


def _retraining(folder: Path, search: Path) -> None:
    """A receipt, and a retraining of it that was interrupted after its first epoch."""
    folder.mkdir(parents=True)
    shutil.copy(search / "run" / "receipts" / "0000.json", folder / "receipt.json")
    _command("retrain", folder / "receipt.json", "--out", folder / "half")
    log = folder / "half" / "events.jsonl"
    lines = log.read_text().splitlines()
    first = next(n for n, line in enumerate(lines) if json.loads(line)["kind"] == "checkpoint")
    log.write_text("".join(f"{line}\n" for line in lines[: first + 1]))


def _module(name: str, path: Path) -> Any:
    """Return a module of the tests, by its file where it lies in no package."""
    if name in sys.modules:
        return sys.modules[name]
    if not path.name:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(name)
    module: ModuleType = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@dataclasses.dataclass(frozen=True)
class Templates:
    """Where the templates lie: those that need no network, and those that do."""

    light: Path
    network: Path

    def folder(self, name: str) -> Path:
        """Return the folder of one of them."""
        place = self.light / name
        return place if place.exists() else self.network / name
