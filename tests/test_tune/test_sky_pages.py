"""The pages on cut-outs and solar flares, and `examples/cascade.py`, as a user follows them on small made data."""

from __future__ import annotations

import csv
import importlib.util
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sky_inputs import OBJECTS, disks, regions, write_cutouts, write_sky_inputs
from sky_servers import WHOLE, sky_server
from test_readme import DOCS, ROOT, commands, run_pages, text

from results.stats.intervals import wilson_estimate
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset, Split, TrainingData
from seti_model.errors import DatasetError
from seti_model.runtime import prepare_process
from tune.cli.main import main
from tune.study import load_study

CUT_OUTS, SOLAR = DOCS / "tasks" / "cut-outs.md", DOCS / "tasks" / "solar-flares.md"


def words_of(command: str) -> list[str]:
    return shlex.split(command.removeprefix(".venv/bin/").removeprefix("seti-tune"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write_sky_inputs(tmp_path)
    return tmp_path


# cut-outs


def test_the_page_on_cut_outs_runs_as_written_its_server_on_loopback(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = re.findall(r"^(?:\$ \.venv/bin/)?(seti-tune .*)$", text(CUT_OUTS), flags=re.MULTILINE)
    assert [" ".join(command.split()[1:3]) for command in typed] == [
        "data confusion", "data fetch", "data import", "data describe",
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from astroquery.skyview import conf
    with sky_server() as server, conf.set_temp("url", f"{server.address}/current/cgi/basicform.pl"):
        server.is_varied = True
        for command in typed:
            assert main([*words_of(command), *(("--pause", "0") if " fetch " in command else ())]) == 0, command
    assert (folder / "confusion.png").stat().st_size > 10_000
    said = [line.split() for line in capsys.readouterr().out.splitlines()]
    table = re.findall(r"^\| ([A-Z0-9 -]+) \| .* \| ([\d.]+) \| ([\d.]+)' \|", text(CUT_OUTS), flags=re.MULTILINE)
    assert len(table) == 4
    for survey, another, side in table:
        (row,) = [line for line in said if line[: len(survey.split())] == survey.split() and line[-1].endswith("'")]
        assert float(row[-3]) == pytest.approx(float(another), abs=0.006), survey
        assert float(row[-1].rstrip("'")) == pytest.approx(float(side), abs=0.06), survey
    rows = list(csv.DictReader((folder / "cutouts" / "labels.csv").read_text().splitlines()))
    labelled = [(f"{name}.fits", class_name) for name, ra, class_name in OBJECTS if int(ra) == WHOLE]
    assert [(row["file"], row["class"]) for row in rows] == labelled
    dataset = Dataset.open(folder / "data" / "sky")
    assert dataset.image_shape == (64, 64, 1)
    assert {split: dataset.class_counts(split) for split in dataset.splits} == {
        "train": {"FRI": 3, "FRII": 3}, "validation": {"FRI": 1, "FRII": 1}, "test": {"FRI": 1, "FRII": 1},
    }  # fmt: skip
    fetched = {path.name for path in (folder / "cutouts").iterdir()}
    shutil.rmtree(folder / "cutouts")
    write_cutouts(folder)
    assert {path.name for path in (folder / "cutouts").iterdir()} == fetched - {"provenance.jsonl"}


# solar flares


def test_the_page_on_solar_flares_runs_up_to_its_searches(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in commands(SOLAR):
        if ".toml" not in command:
            assert main(words_of(command)) == 0, command
    said = capsys.readouterr().out
    assert "60 frames in 20 groups, the largest of 3: groups.csv" in said
    assert "study solar-disk: 24 trials" in said
    assert "study solar-region: 24 trials" in said
    for name in ("solar-disk", "solar-region"):
        dataset = Dataset.open(folder / "data" / name)
        groups = [set(dataset.split(split).groups.tolist()) for split in ("train", "validation")]
        assert not groups[0] & groups[1]
    frames = Dataset.open(folder / "data" / "solar-disk")
    assert frames.image_shape == (32, 32, 1)
    named = {row["group"] for row in csv.DictReader((folder / "groups.csv").read_text().splitlines())}
    assert {*frames.split("train").groups.tolist(), *frames.split("validation").groups.tolist()} < named


def test_the_shipped_studies_ask_for_what_the_stages_are_for(folder: Path) -> None:
    disk, region = load_study("solar-disk"), load_study("solar-region")
    assert disk.dataset_path(folder / "run") == folder / "data" / "solar-disk", "in the folder one is in"
    assert disk.objective.name == "balanced_accuracy"
    assert (region.objective.name, region.objective.background, region.objective.false_alarm) == (
        "recall_at_false_alarm", "quiet", 0.1,
    )  # fmt: skip
    for study, steps in ((disk, ("grey", "resize")), (region, ("resize",))):
        configuration = Configuration.from_mapping(study.configuration(study.baseline_parameters() or {}))
        assert configuration.prepare.names == steps
        assert configuration.training.class_weights == "balanced"


@pytest.mark.slow
def test_the_page_on_solar_flares_runs_as_written_to_its_end(tmp_path: Path) -> None:
    run_pages(tmp_path, [SOLAR])
    (line,) = re.findall(r"^python (examples/cascade\.py .*)$", text(SOLAR), flags=re.MULTILINE)
    program, *given = shlex.split(line)
    command = [sys.executable, ROOT / program, *given]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "P(flare) of at least 0.5, 6 groups, 95 % intervals by group" in done.stdout
    rows = list(csv.DictReader((tmp_path / "joint.csv").read_text().splitlines()))
    assert len(rows) == 12
    for row in rows:
        both = float(row["p_active"]) * float(row["p_flare_if_active"])
        assert float(row["p_flare"]) == pytest.approx(both, abs=2e-6)


# the cascade


@pytest.fixture(scope="module")
def cascade() -> ModuleType:
    spec = importlib.util.spec_from_file_location("cascade", ROOT / "examples" / "cascade.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["cascade"] = module  # where its dataclass looks for its own types
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two small networks that have learnt to see a bright region and a bright ribbon."""
    prepare_process(threads=1)
    from seti_model.exported import export_model
    from seti_model.training.train import train

    small = {
        "network.filters_1": 4, "network.filters_2": 6, "network.kernel": 3, "network.dense_units": 16,
        "training.epochs": 4, "training.batch_size": 8, "training.recalibration_batches": 2,
    }  # fmt: skip
    home, paths = tmp_path_factory.mktemp("models"), []
    for name, make, classes in (("disk", disks, ("active", "quiet")), ("region", regions, ("flare", "quiet"))):
        splits = []
        for n, seed in ((96, 5), (24, 6)):
            images, labels = make(n, seed)
            splits.append(Split(images if images.ndim == 4 else images[..., None], labels.astype(np.int8)))
        result = train(Configuration.from_mapping(small), TrainingData(*splits, classes, "d" * 64), seed=1)
        assert result.history[-1].validation_accuracy > 0.9
        paths.append(home / f"{name}.keras")
        export_model(result.best, paths[-1])
    return paths[0], paths[1]


def test_a_cascade_multiplies_and_says_how_good_the_product_is(
    cascade: ModuleType, models: tuple[Path, Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cascade.main([*map(str, models), "pairs.csv", "--out", "joint.csv"]) == 0
    rows = list(csv.DictReader((folder / "joint.csv").read_text().splitlines()))
    assert [row["region"] for row in rows] == [f"regions/{i}.png" for i in range(12)]
    p = np.array([[float(row[key]) for key in ("p_active", "p_flare_if_active", "p_flare")] for row in rows])
    np.testing.assert_allclose(p[:, 2], p[:, 0] * p[:, 1], atol=2e-6)
    with (folder / "pairs.csv").open() as file:
        truth = np.array([row["flare"] == "1" for row in csv.DictReader(file)])
    assert np.array_equal(p[:, 2] >= 0.5, truth), "the networks have learnt it, so the product is right too"
    said = capsys.readouterr().out
    assert "12 pairs: joint.csv" in said
    assert "6 groups, 95 % intervals by group" in said
    assert re.search(r"precision 1\.000 \(0\.\d+\.\.1\.000\)\nrecall 1\.000 \(0\.\d+\.\.1\.000\)", said)


def test_precision_and_recall_of_a_product_are_a_hand_computed_table(cascade: ModuleType) -> None:
    #         found    true   found   missed  true negative
    joint = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    truth = [True, True, False, True, False]
    alone = [cascade.Pair("d", "r", flare, f"{i}") for i, flare in enumerate(truth)]
    precision, recall = cascade.joint_estimates(joint, alone, 0.5)
    assert (precision, recall) == (wilson_estimate(2, 3), wilson_estimate(2, 3))
    together = [cascade.Pair("d", "r", flare, "one") for flare in truth]
    precision, recall = cascade.joint_estimates(joint, together, 0.5)
    assert (precision.low, precision.high, recall.low, recall.high) == (0, 1, 0, 1)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("disk,region\n", r"p\.csv: no row below the names of the columns; add one for each pair"),
        ("disk,flare\na,1\n", r"p\.csv, row 2: a disk and a region are expected; name both"),
        ("disk,region,flare\na,b,yes\n", r"p\.csv, row 2: flare 'yes', expected 1 or 0; correct it"),
    ],
)
def test_a_table_of_pairs_with_a_mistake_is_refused(
    cascade: ModuleType, tmp_path: Path, table: str, message: str
) -> None:
    (tmp_path / "p.csv").write_text(table)
    with pytest.raises(DatasetError, match=message):
        cascade.read_pairs(tmp_path / "p.csv")


def test_a_class_that_the_model_does_not_know_is_refused(
    cascade: ModuleType, models: tuple[Path, Path], folder: Path
) -> None:
    with pytest.raises(DatasetError, match="the model knows active, quiet, not 'busy'; name its class"):
        cascade.main([*map(str, models), "pairs.csv", "--out", "joint.csv", "--active", "busy"])
