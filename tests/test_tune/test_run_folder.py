"""One small real search, and what is said of its folder: `docs/run-folder.md`, `results.load` and the example."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from processes import search

import results
import tune
from results.log.records import EVENTS, SCHEMA_VERSION
from results.receipt import RECEIPT_VERSION
from results.run_folder import LOG_NAME
from search_spaces.space import load_space
from tune.errors import SearchError

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "run-folder.md").read_text(encoding="utf-8")
NAMED = set(re.findall(r"`([^`\n]+)`", PAGE))
STUDY = """
[study]
space = "quickstart"
trials = 2
max_epochs = 1
[data]
simulate = "wide"
train = 40
validation = 20
test = 20
[asha]
grace_epochs = 1
[finals]
finalists = 1
max_finalists = 1
seeds = 1
[fixed]
"network.dense_units" = 8
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole search of real networks, from simulated data to the model handed on, and its exports."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "small.toml").write_text(STUDY)
    done = search(folder / "small.toml", folder / "run")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "tune.cli.main", "export", str(folder / "run"), "--tensorboard", "--optuna"]
    subprocess.run(command, capture_output=True, check=True)
    return folder / "run"


def table(heading: str) -> list[list[str]]:
    """The cells of the rows of the first table below a heading."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("| `")]
    assert rows, heading
    return rows


def test_every_file_of_a_run_is_in_the_document(run: Path) -> None:
    patterns = []
    for row in table("All files"):
        for name in re.findall(r"`([^`]+)`", row[0]):
            inner = re.sub(r"\\?<[^>]+>", "[^/]+", re.escape(name))
            patterns.append(inner + ".*" if name.endswith("/") else inner)
    files = [path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()]
    assert len(files) > 40
    assert [name for name in files if not any(re.fullmatch(pattern, name) for pattern in patterns)] == []


def test_every_column_of_every_table_is_in_the_document(run: Path) -> None:
    parameters = {parameter.name for parameter in load_space("quickstart").parameters}
    classes = set(json.loads((run / "dataset" / "dataset.json").read_text())["class_names"])
    board = {name for row in table("leaderboard.csv") for name in re.findall(r"`([^`]+)`", row[0])}
    assert set(pd.read_csv(run / "leaderboard.csv").columns) - parameters == board - {"<parameter>"}
    assert set(pd.read_csv(run / "epochs.csv").columns) <= NAMED
    for file in run.glob("final/**/*.parquet"):
        columns = [str(name) for name in pd.read_parquet(file).columns]
        general = {re.sub("^(p|truth):.*", lambda found: found[1], name) for name in columns}
        assert general == {"y_true", "p", "truth"}
    for file in run.glob("final/*.csv"):
        with file.open(encoding="utf-8", newline="") as text:
            head = set(next(csv.reader(text)))
            assert head == {"true_class", *classes} or head <= NAMED


def test_every_key_of_every_json_file_is_in_the_document(run: Path) -> None:
    seen = {path: json.loads(path.read_text(encoding="utf-8")) for path in run.rglob("*.json")}
    assert {path.name for path in seen} >= {"training.json", "dataset.json", "model.json", "receipt.json", "0001.json"}
    for path, values in seen.items():
        assert set(values) <= NAMED, path
    for file in (run / LOG_NAME, run / "dataset" / "test_uses.jsonl"):
        for line in file.read_text(encoding="utf-8").splitlines():
            assert set(json.loads(line)) <= NAMED, line


def test_the_generated_parts_of_the_document_are_what_the_records_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    import generate

    assert generate.generated(PAGE) == PAGE, "run: python docs/generate.py"
    assert all(f"**`{kind}`**: " in PAGE for kind in EVENTS)


def test_the_document_names_the_versions_that_are_written(run: Path) -> None:
    assert f"Schema version **{SCHEMA_VERSION}**" in PAGE
    assert f"`receipt_version` {RECEIPT_VERSION}" in PAGE
    assert f"`v` ({SCHEMA_VERSION})" in PAGE
    data = json.loads((run / "dataset" / "dataset.json").read_text())
    model = json.loads((run / "final" / "model.json").read_text())
    training = json.loads(next(run.rglob("training.json")).read_text())
    assert f"**`dataset.json`**, `format_version` {data['format_version']}: " in PAGE
    assert f"**`model.json`**, `format` {model['format']}: " in PAGE
    assert f"**`training.json`** of a checkpoint, `format` {training['format']}: " in PAGE


def test_a_loaded_run_has_the_predictions_that_the_log_counts(run: Path) -> None:
    loaded = results.load(run)
    finals = loaded.finals
    assert finals is not None
    by_key = {(one.trial, one.repeat): one for one in finals.evaluated}
    delivered: Any = by_key[finals.decision.winner, finals.decision.delivered]
    for predictions in (loaded.predictions(), loaded.predictions(key=(delivered.trial, delivered.repeat))):
        assert (len(predictions.y_true), predictions.correct.sum()) == (delivered.n, delivered.correct)
    assert len(loaded.predictions("validation").y_true) == 20


def test_the_delivered_model_is_loaded_from_python(run: Path, tmp_path: Path) -> None:
    """In a process of its own: TensorFlow is set up once in each. On as many threads the same comes out bit for bit."""
    code = """if True:
        import sys, numpy as np, tune
        from seti_model.data.dataset import Dataset
        run = tune.open_run(sys.argv[1])
        model = run.model(threads=run.study.resources.cpus_per_trial)
        images = Dataset.open(run.folder / "dataset").split("validation").images
        said = model.predict(images[..., 0])
        assert said.dtype == np.float32 and said.shape == (20, len(model.class_names))
        recorded = run.predictions("validation").y_prob
        assert np.array_equal(said, recorded.astype(np.float32)), abs(said - recorded).max()
        assert run.model() is not None, "the threads are those of before"
        print("as recorded")
        (run.folder / "final" / "model.keras").unlink()
        run.model()
    """
    copy = tmp_path / "copy"
    shutil.copytree(run, copy)
    done = subprocess.run([sys.executable, "-c", code, copy], capture_output=True, text=True, check=False)
    assert done.stdout == "as recorded\n", done.stderr
    assert "final/model.keras" in done.stderr.splitlines()[-1]
    (copy / "final" / "model.json").unlink()
    with pytest.raises(
        SearchError, match=r": no model was delivered yet; run\.run_finals\(\) makes one once the search"
    ):
        tune.open_run(copy).model()


def test_the_example_reviews_a_run(run: Path, tmp_path: Path) -> None:
    example = [sys.executable, "-W", "error", str(ROOT / "examples" / "review.py"), str(run), "review.png"]
    code = "import sys; sys.modules['ray'] = sys.modules['keras'] = sys.modules['tensorflow'] = None\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    paths = [str(tmp_path), str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "MPLBACKEND": "agg"}
    done = subprocess.run(example, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("small: 2 completed")
    assert "Winner of the finals: trial " in done.stdout
    assert "Delivered model on the test split" in done.stdout
    assert (tmp_path / "review.png").stat().st_size > 5_000
