"""A run in TensorBoard and MLflow: each derived from the log alone, and brought up to date."""

import json
import subprocess
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, Crash

from results.log.recorder import EventLog
from results.log.records import SpaceWidened
from results.log.state import RunState, load_run
from search_spaces.space import Space
from seti_model.runtime import prepare_process
from tune.cli.main import main
from tune.errors import StudyError
from tune.export.scalars import SCALARS
from tune.export.tensorboard import export_tensorboard
from tune.study import Study, load_study


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Study:
    extra = "[finals]\nfinalists = 1\nmax_finalists = 1\nseeds = 1\n"
    return load_study(quick_study(trials=12, diverges_above=0.93, nan_below=0.15, extra=extra))


@pytest.fixture
def run(study: Study, tmp_path: Path) -> Path:
    Bench(study, tmp_path / "run").run()
    return tmp_path / "run"


@pytest.fixture
def begun(study: Study, tmp_path: Path) -> Path:
    """A run whose driver died while three trials ran."""
    with pytest.raises(Crash, match=r"^$"):
        Bench(study, tmp_path / "begun", workers=3, crash_after=40).run()
    return tmp_path / "begun"


def widen(study: Study, run: Path) -> RunState:
    mapping = study.space.to_mapping()
    mapping["parameters"]["y"] = {"type": "categorical", "choices": ["a", "b"], "reason": "Added."}
    wider = Space.from_mapping(mapping)
    carried = {str(n): {"y": "b"} for n in range(12)}
    with EventLog(run) as log:
        log.append(
            SpaceWidened(
                space=wider.to_mapping(), space_fingerprint=wider.fingerprint, changes=("'y' is new",), carried=carried
            )
        )
    return load_run(run)


def events(folder: Path) -> list[Any]:
    """What TensorFlow, which checks the checksums, reads from the event files of a trial."""
    prepare_process(1)  # as every other test of this process that starts TensorFlow
    import tensorflow as tf

    records = tf.data.TFRecordDataset([str(file) for file in sorted(folder.glob("events.out.tfevents.*"))])
    return [tf.compat.v1.Event.FromString(record) for record in records.as_numpy_iterator()]


def curves(folder: Path) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for event in events(folder):
        for value in event.summary.value:
            if not value.HasField("metadata"):
                found.setdefault(value.tag, {})[event.step] = value.simple_value
    return found


def hparams(folder: Path) -> dict[str, Any]:
    """The messages of the HParams tab, by the end of their tag."""
    from tensorboardX.proto.plugin_hparams_pb2 import HParamsPluginData

    found = {}
    for event in events(folder):
        for value in event.summary.value:
            if value.metadata.plugin_data.plugin_name == "hparams":
                name = value.tag.removeprefix("_hparams_/")
                found[name] = getattr(HParamsPluginData.FromString(value.metadata.plugin_data.content), name)
    return found


def test_tensorboard_has_the_curves_of_all_trials_and_retrainings(run: Path, tmp_path: Path) -> None:
    state, out = load_run(run), tmp_path / "out"
    assert export_tensorboard(state, out) == len(state.trials)
    for (number, repeat), trial in state.trials.items():
        name = f"trial-{number:04d}" if repeat is None else f"final-{number:04d}-{repeat}"
        found = curves(out / name)
        finite = {n: e.validation_accuracy for n, e in trial.epochs.items() if e.validation_accuracy >= 0}
        assert found.get("validation/accuracy", {}) == pytest.approx(finite, rel=1e-6)  # stored as float32
        assert set(found) <= {*SCALARS, "objective"}
        if trial.best is not None:
            assert found["objective"][max(found["objective"])] == pytest.approx(trial.best.validation_accuracy)


def test_tensorboard_compares_the_trials_of_the_search_by_their_parameters(
    study: Study, run: Path, tmp_path: Path
) -> None:
    state, out = widen(study, run), tmp_path / "out"
    export_tensorboard(state, out)
    for trial in state.search_trials():
        said = hparams(out / f"trial-{trial.started.trial:04d}")
        values = said["session_start_info"].hparams
        assert values["x"].number_value == trial.parameters["x"]
        assert values["y"].string_value == "b"
        assert values["baseline"].bool_value == (trial.started.trial == 0)
        assert values["status"].string_value == trial.status
        assert ("session_end_info" in said) == (trial.status in ("completed", "stopped"))
    assert hparams(next(out.glob("final-*"))) == {}


def test_an_export_again_writes_only_the_trials_that_went_on(study: Study, begun: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    export_tensorboard(load_run(begun), out)
    before = {file: file.read_bytes() for file in out.rglob("events.*")}
    ended = [trial for trial in load_run(begun).search_trials() if trial.ended is not None]
    Bench(study, begun).run()
    state = load_run(begun)
    export_tensorboard(state, out)
    assert all(file.read_bytes() == data for file, data in before.items()), "a TensorBoard that reads it would stop"
    once = {folder.name for folder in out.glob("trial-*") if len(list(folder.iterdir())) == 1}
    assert once >= {f"trial-{trial.started.trial:04d}" for trial in ended}
    for trial in state.search_trials():
        folder = out / f"trial-{trial.started.trial:04d}"
        assert set(curves(folder).get("learning_rate", trial.epochs)) == set(trial.epochs)
        assert hparams(folder)["session_start_info"].hparams["status"].string_value == trial.status


def test_a_folder_of_something_else_is_not_written_to(run: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("")
    with pytest.raises(StudyError, match="mine: holds something else than a run for TensorBoard; name another folder"):
        export_tensorboard(load_run(run), tmp_path / "mine")
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_export_writes_where_it_says_and_names_the_viewer(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(run), "--tensorboard", "--optuna", "--optuna-journal", str(tmp_path / "j.log")]) == 0
    first, second, third = capsys.readouterr().err.splitlines()
    folder, trials = run / "exports", len(load_run(run).trials)
    assert first == (
        f"{trials} trials: {folder}/tensorboard; look at it with `tensorboard --logdir {folder}/tensorboard`"
    )
    journal = f"{folder}/optuna-journal.log"
    assert second == f"12 trials added: {journal}; look at it with `optuna-dashboard {journal}`"
    assert third.startswith(f"12 trials added: {tmp_path}/j.log; ")
    assert main(["export", str(run), "--optuna", "--out", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "optuna-journal.log").is_file()


def test_an_export_of_nothing_says_what_there_is(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(run)]) == 2
    assert "nothing to write; give --tensorboard, --mlflow, --optuna or several of them" in capsys.readouterr().err


def test_a_tool_that_is_not_installed_is_one_line_with_the_command(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert main(["export", str(run), "--mlflow"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert "which is not part of seti-tune" in line
    assert line.endswith("install it with `pip install mlflow-skinny`, or `mlflow` with its viewer")


def export_to_mlflow(run: Path) -> str:
    """In a process of its own, as MLflow warns of this and that."""
    command = [sys.executable, "-m", "tune.cli.main", "export", str(run), "--mlflow"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=run.parent)
    return done.stderr.splitlines()[-1]


def in_mlflow(run: Path) -> dict[str, Any]:
    """What MLflow's client finds: status, tags, parameters and the history of the accuracy, by name."""
    code = f"""
import json
from mlflow import MlflowClient
client = MlflowClient("sqlite:///{run}/exports/mlflow.db")
found = {{}}
for run in client.search_runs([client.get_experiment_by_name("quick").experiment_id]):
    history = client.get_metric_history(run.info.run_id, "validation/accuracy")
    found[run.info.run_name] = (
        run.info.status, run.data.tags, run.data.params, run.info.end_time, {{m.step: m.value for m in history}}
    )
print(json.dumps(found))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=run.parent)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_mlflow_has_each_trial_once_whatever_is_exported_again(study: Study, begun: Path) -> None:
    pytest.importorskip("mlflow")
    ended = sum(t.ended is not None for t in load_run(begun).trials.values())
    assert export_to_mlflow(begun).startswith(f"{ended} trials added: ")
    Bench(study, begun).run()
    state = load_run(begun)
    assert export_to_mlflow(begun).startswith(f"{len(state.trials) - ended} trials added: ")
    assert export_to_mlflow(begun).startswith("0 trials added: ")
    found = in_mlflow(begun)
    assert len(found) == len(state.trials)
    for trial in state.search_trials():
        status, tags, params, end_time, accuracies = found[f"trial-{trial.started.trial:04d}"]
        assert status == ("FINISHED" if trial.status in ("completed", "stopped") else "FAILED")
        assert (tags["status"], float(params["x"])) == (trial.status, trial.parameters["x"])
        assert accuracies == {
            str(n): e.validation_accuracy for n, e in trial.epochs.items() if e.validation_accuracy >= 0
        }
        assert trial.ended is not None
        assert end_time == round(datetime.fromisoformat(trial.ended.time).timestamp() * 1000)
    assert {p.name for p in begun.parent.iterdir()} & {"mlruns", "mlartifacts"} == set()
    widen(study, begun)
    assert export_to_mlflow(begun).startswith(f"{len(state.trials)} trials added: ")
    again = in_mlflow(begun)
    assert len(again) == len(state.trials)
    assert {values[2].get("y") for name, values in again.items() if name.startswith("trial")} == {"b"}


def test_a_file_that_is_no_store_of_mlflow_is_one_line(run: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("mlflow")
    (run / "exports").mkdir()
    (run / "exports" / "mlflow.db").write_text("no database")
    command = [sys.executable, "-m", "tune.cli.main", "export", str(run), "--mlflow"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "mlflow.db: cannot be used as a store of MLflow (" in done.stderr.splitlines()[-1]
