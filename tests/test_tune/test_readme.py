"""The README as a user follows it: every seti-tune command in it runs, in order, on small files."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def commands() -> list[str]:
    blocks = re.findall(r"```console\n(.*?)```", README, flags=re.DOTALL)
    return [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]


def write_inputs(folder: Path) -> None:
    """What the README's user has: an archive, the course's CSV files, and the study printed there."""
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (60, 64, 128), dtype=np.uint8)
    np.savez(folder / "mine.npz", x=images, y=np.arange(60) % 4, class_names=np.array(["a", "b", "c", "d"]))
    for split, n in (("train", 40), ("validation", 20)):
        (folder / split).mkdir()
        pixels = rng.integers(0, 256, (n, 64 * 128)) / 255
        np.savetxt(folder / split / "images.csv", pixels, fmt="%.6f", delimiter=",")
        np.savetxt(folder / split / "labels.csv", np.eye(4)[np.arange(n) % 4], fmt="%.2e", delimiter=",")
    study = re.search(r"```toml\n(.*?)```", README, flags=re.DOTALL)
    assert study is not None
    (folder / "study.toml").write_text(study.group(1))


def test_the_readme_runs_as_written(tmp_path: Path) -> None:
    write_inputs(tmp_path)
    ran, said = 0, {}
    for command in commands():
        program, *arguments = shlex.split(command)
        if program == "make":
            targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)
            assert arguments[0] in targets, command
            continue
        assert program == ".venv/bin/seti-tune", command
        done = subprocess.run(
            [sys.executable, "-m", "tune.cli", *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
        ran += 1
        said[arguments[0]] = done.stdout
    assert ran >= 10
    for name in ("report.md", "leaderboard.csv", "epochs.csv", "events.jsonl", "receipts/0001.json"):
        assert (tmp_path / "runs" / "study" / name).exists(), name
    for name in ("model.keras", "saved_model/class_names.txt", "model_card.md", "receipt.json"):
        assert (tmp_path / "runs" / "study" / "final" / name).exists(), name
    assert "identical" in said["retrain"]
    best = pd.read_csv(tmp_path / "runs" / "study" / "leaderboard.csv").iloc[0]
    assert best["objective_low"] < best["objective"] < best["objective_high"]
    assert bool(best["tied"]), "a network's trials tell which validation images they had right"
    uses = [json.loads(line) for line in (tmp_path / "data" / "small" / "test_uses.jsonl").read_text().splitlines()]
    assert {(use["what"], use["run"]) for use in uses} == {("finals", "study")}, (
        "evaluate and predict need no test split"
    )
    assert (tmp_path / "predictions.csv").read_text().count("\n") == 61
