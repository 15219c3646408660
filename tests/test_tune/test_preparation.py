"""A search in which the preparation varies, from the study to the delivered model and its repetition."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from results.log.state import load_run
from seti_model.data.simulator import simulate_dataset
from tune.cli.main import main

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
    simulate_dataset(folder / "data", "wide", {"train": 64, "validation": 32, "test": 32}, 1)
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
    assert sum(path.is_dir() for path in (run / "prepared").iterdir()) == len(widths)
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
