"""A search in which the preparation varies, on data without end, from the study to the model and its repetition."""

import json
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from results.log.state import load_run
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from tune.cli.main import main
from tune.forecast import Images, forecast, forecast_text
from tune.process.driver import prepare_data
from tune.study import Study, load_study

SPACE = """
name = "aligned"
description = "With and without."
[parameters."prepare.steps"]
type = "categorical"
choices = ["", "align"]
reason = "The baseline is without."
[parameters."align.half_width"]
type = "int"
low = 3
high = 5
when = { "prepare.steps" = ["align"] }
reason = "Exists only there."
"""
STUDY = """
[study]
space = "aligned.toml"
trials = 4
max_epochs = 2
seed = 0
[data]
path = "data"
[asha]
grace_epochs = 1
exempt_fraction = 1
[finals]
finalists = 1
max_finalists = 1
seeds = 1
[fixed]
"network.filters_1" = 4
"network.filters_2" = 4
"network.dense_units" = 8
"network.kernel" = 3
"""


def seti_tune(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("aligned")
    simulate_dataset(folder / "data", "wide", {"train": 64, "validation": 32, "test": 32}, 1, fresh=True)
    (folder / "aligned.toml").write_text(SPACE)
    (folder / "study.toml").write_text(STUDY)
    done = seti_tune("search", folder / "study.toml", "--run", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_trials_record_the_steps_in_use_and_share_what_they_prepare(run: Path) -> None:
    trials = load_run(run).search_trials()
    assert trials[0].started.configuration["prepare.steps"] == ""
    aligned = [t for t in trials if t.started.configuration["prepare.steps"] == "align"]
    plain = [t for t in trials if t not in aligned]
    assert aligned
    assert all(t.parameters["align.half_width"] == t.started.configuration["align.half_width"] for t in aligned)
    assert not any("align.half_width" in t.started.configuration for t in plain)
    widths = {t.parameters["align.half_width"] for t in aligned}
    assert sum(path.is_dir() for path in (run / "prepared").glob("?" * 32)) == len(widths)
    assert [path.name for path in (run / "prepared").glob("simulated-*/*.npy")] == ["000002.npy"], "made once for all"
    assert all(t.status == "completed" for t in trials)


def test_an_aligned_trial_is_repeated_bit_for_bit_in_a_fresh_process(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    number = next(
        t.started.trial for t in load_run(run).search_trials() if t.started.configuration["prepare.steps"] == "align"
    )
    again = seti_tune("retrain", run, "--trial", number, "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    assert "identical" in again.stdout
    model = tmp_path / "again" / "model.keras"
    assert json.loads(model.with_suffix(".json").read_text())["configuration"]["prepare.steps"] == "align"
    data = str(run.parent / "data")
    assert main(["evaluate", str(model), data, "--split", "validation", "--threads", "1"]) == 0
    best = load_run(run).trials[number, None].best
    assert best is not None
    assert f"accuracy {best.validation_accuracy:.3f}" in capsys.readouterr().out
    table = tmp_path / "p.csv"
    assert main(["predict", str(model), data, "--split", "train", "--csv", str(table), "--threads", "1"]) == 0
    assert len(table.read_text().splitlines()) == 65


def test_the_delivered_model_says_what_it_prepares(run: Path) -> None:
    state = load_run(run)
    decision = state.decisions[-1]
    steps = state.trials[decision.winner, decision.delivered].started.configuration["prepare.steps"]
    assert json.loads((run / "final" / "model.json").read_text())["configuration"]["prepare.steps"] == steps
    assert (run / "final" / "saved_model").exists()
    assert ("It wants prepared images" in (run / "final" / "model_card.md").read_text()) == (steps != "")


def study_with(folder: Path, data: str) -> Study:
    (folder / "aligned.toml").write_text(SPACE)
    (folder / "study.toml").write_text(STUDY.replace('path = "data"', data))
    return load_study(folder / "study.toml")


def test_a_study_simulates_data_without_end_as_its_command_does(tmp_path: Path) -> None:
    counts = 'simulate = "course"\ntrain = 8\nvalidation = 4\ntest = 4\n'
    study = study_with(tmp_path, counts + "fresh = true")
    said: list[str] = []
    data, digest = prepare_data(study, tmp_path / "run", say=said.append)
    assert said == [f"simulating 16 images into {tmp_path / 'run' / 'dataset'}"]
    assert data is not None
    assert data.fresh is not None
    again = study.data.simulation_command(tmp_path / "again", study.home)
    assert main(shlex.split(again)[1:]) == 0
    assert Dataset.open(tmp_path / "again").digest == digest
    assert prepare_data(study_with(tmp_path, counts), tmp_path / "plain", say=said.append)[1] != digest


def test_a_study_adds_simulated_images_to_the_training_split_of_real_ones(tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "my data", "wide", {"train": 8, "validation": 4, "test": 4}, 1)
    study = study_with(tmp_path, 'path = "my data"\nsimulate = "course"\nsimulate_beside = 12\nseed = 3')
    said: list[str] = []
    data, digest = prepare_data(study, tmp_path / "run", say=said.append)
    assert said[0].startswith(f"simulating 12 training images beside those of {tmp_path / 'my data'} into ")
    assert data is not None
    assert (len(data.train.labels), len(data.validation.labels)) == (20, 4)
    again = study.data.simulation_command(tmp_path / "again", study.home)
    assert main(shlex.split(again)[1:]) == 0
    assert Dataset.open(tmp_path / "again").digest == digest


def test_the_forecast_of_data_without_end_counts_what_is_simulated(tmp_path: Path) -> None:
    counts = 'simulate = "course"\ntrain = 100\nvalidation = 4\ntest = 4\n'
    plans = []
    for data in (counts, counts + "fresh = true"):
        (tmp_path / str(len(plans))).mkdir()
        study = study_with(tmp_path / str(len(plans)), data)
        images = Images((64, 128, 1), 4, study.data.train, study.data.validation, study.data.fresh)
        plans.append(forecast(study, images, concurrent=1, flops_per_s=1e12))
    plain, endless = plans
    assert (plain.simulated, endless.simulated) == (0, 100), "one epoch after the first"
    assert endless.disk_gb - plain.disk_gb == pytest.approx(100 * 64 * 128 / 1e9, rel=1e-3)
    assert endless.hours[0] > plain.hours[0] + 100 * endless.simulate_ms / 1000 / 3600 * 0.5
    assert "epochs after the first need 100, made once for all trials" in forecast_text(study, endless, 1)
