"""Studies whose trials start from an earlier model: what the study file may say, and what a run keeps of it."""

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from processes import search

from results.log.recorder import EventLog, Recorder
from results.log.state import RunState, fold, load_run
from results.study import Provenance
from seti_model.data.simulator import simulate_dataset
from seti_model.description import FORMAT
from seti_model.errors import ModelError
from seti_model.training.checkpoint import load_best
from tune.cli.main import main
from tune.errors import StudyError
from tune.initial import initial_digest, prepare_initial
from tune.loop.coordinator import Coordinator
from tune.loop.search import SearchPlan
from tune.resume import SeenData, opening_events, recorded_study
from tune.study import Study, load_study

SPACE = """
name = "frozen"
description = "How many blocks stay."
[parameters."training.frozen_blocks"]
type = "int"
low = 0
high = 2
reason = "Early blocks see edges, which all images have."
"""
OTHER_SPACE = SPACE.replace("frozen_blocks", "recalibration_batches")
NETWORK = {"network.filters_1": 4, "network.filters_2": 4, "network.kernel": 3, "network.dense_units": 8}


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a study of a small network that starts from `model.keras` beside it."""

    def write(
        *,
        space: str = SPACE,
        init_from: str | None = "model.keras",
        fixed: Mapping[str, float] = NETWORK,
        extra: str = "",
    ) -> Path:
        (tmp_path / "space.toml").write_text(space)
        values = "\n".join(f'"{name}" = {value}' for name, value in fixed.items())
        line = "" if init_from is None else f'init_from = "{init_from}"\n'
        path = tmp_path / "study.toml"
        path.write_text(
            f'[study]\nspace = "space.toml"\ntrials = 2\nmax_epochs = 1\n{line}[data]\npath = "data"\n'
            f"[fixed]\n{values}\n[resources]\nmax_concurrent = 1\n[finals]\nenabled = false\n{extra}"
        )
        return path

    return write


def put_model(path: Path, digest: str = "a" * 64, **changes: int) -> Path:
    """Write what the driver reads of a model: its description; the weights only the workers read."""
    configuration = NETWORK | {name.replace("__", "."): value for name, value in changes.items()}
    path.write_bytes(b"weights")
    record = {"format": FORMAT, "class_names": ["a", "b"], "shape": [64, 128, 1], "data_digest": "d"}
    description = record | {"weights_digest": digest, "configuration": configuration}
    path.with_suffix(".json").write_text(json.dumps(description))
    return path


def begun(study: Study, run: Path) -> RunState:
    """Return the state of a run that has written its first line."""
    prepare_initial(study, run, RunState())
    with EventLog(run) as log:
        log.append(*opening_events(study, RunState(), run, data=SeenData(), provenance=Provenance()))
    return fold(run)


def test_the_run_folder_keeps_the_model_and_its_digest_and_hands_it_to_every_task(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    model = put_model(tmp_path / "model.keras")
    study, run = load_study(write()), tmp_path / "run"
    state = begun(study, run)
    assert state.started is not None
    assert state.started.init_digest == initial_digest(study, run) == "a" * 64
    copy = run / "init_from" / "model.keras"
    assert copy.read_bytes() == model.read_bytes()
    assert copy.with_suffix(".json").read_bytes() == model.with_suffix(".json").read_bytes()
    assert sorted(path.name for path in copy.parent.iterdir()) == ["model.json", "model.keras"]


@pytest.mark.parametrize("where", ["gone", "there"])
def test_a_run_that_began_needs_its_copy_only(write: Callable[..., Path], tmp_path: Path, where: str) -> None:
    model = put_model(tmp_path / "model.keras")
    study, run = load_study(write()), tmp_path / "run"
    state = begun(study, run)
    if where == "gone":
        model.unlink()
    else:
        (run / "init_from" / "model.keras").unlink()
    prepare_initial(study, run, state)
    assert (run / "init_from" / "model.keras").read_bytes() == b"weights"


def test_a_run_is_not_continued_with_other_weights(write: Callable[..., Path], tmp_path: Path) -> None:
    put_model(tmp_path / "model.keras")
    study, run = load_study(write()), tmp_path / "run"
    state = begun(study, run)
    put_model(tmp_path / "model.keras", "b" * 64)
    message = rf"run: its trials started from the weights {'a' * 64}, \[study\] init_from now gives {'b' * 64}; restore"
    with pytest.raises(StudyError, match=message):
        prepare_initial(study, run, state)
    scratch = load_study(write(space=OTHER_SPACE, init_from=None))
    with pytest.raises(StudyError, match=r"init_from now gives None; restore it or choose another folder with --run"):
        prepare_initial(scratch, run, state)


def test_a_missing_model_is_named(write: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"model\.keras: no such file; give a model\.keras written by seti-tune"):
        prepare_initial(load_study(write()), tmp_path / "run", RunState())


def test_a_model_of_another_form_is_refused_before_anything_starts(write: Callable[..., Path], tmp_path: Path) -> None:
    put_model(tmp_path / "model.keras", network__dense_units=9)
    message = (
        r"model\.keras: made with network\.dense_units=9, the study has 8; set it under \[fixed\], the weights fit"
    )
    with pytest.raises(StudyError, match=message):
        prepare_initial(load_study(write()), tmp_path / "run", RunState())
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"init_from": None},
            r"'training\.frozen_blocks' keeps blocks as an earlier model has them; name one with \[study\] init_from",
        ),
        (
            {"init_from": None, "space": OTHER_SPACE, "fixed": NETWORK | {"training.frozen_blocks": 1}},
            "'training.frozen_blocks' keeps blocks as an earlier model has them",
        ),
        (
            {"space": SPACE.replace("training.frozen_blocks", "network.dense_units"), "fixed": {}},
            r"space 'frozen' varies 'network\.dense_units', but the weights of .* fit one value only; set it under",
        ),
        (
            {"space": SPACE.replace("high = 2", "high = 3")},
            r"space 'frozen' lets 'training\.frozen_blocks' be 3, the network has 2 blocks; lower its bound",
        ),
    ],
)
def test_a_study_that_cannot_start_from_its_model_is_refused(
    write: Callable[..., Path], changes: Mapping[str, object], message: str
) -> None:
    with pytest.raises(StudyError, match=message):
        load_study(write(**changes))


def test_another_trainable_has_no_model_to_start_from(quick_study: Callable[..., Path]) -> None:
    path = quick_study()
    path.write_text(path.read_text().replace("[asha]", 'init_from = "model.keras"\n[asha]'))
    with pytest.raises(StudyError, match=r"\[study\] init_from belongs to the course network; remove it or trainable"):
        load_study(path)


def test_a_moved_run_goes_on_from_its_own_copy(write: Callable[..., Path], tmp_path: Path) -> None:
    model = put_model(tmp_path / "model.keras")
    begun(load_study(write()), tmp_path / "run")
    put_model(model, "b" * 64)  # another training's by now
    run = shutil.move(tmp_path / "run", tmp_path / "elsewhere")
    study = recorded_study(run)
    with Recorder(run) as recorder:
        prepare_initial(study, run, recorder.state)
        task = Coordinator(SearchPlan(study, recorder.state, run), recorder).next_task()
    assert task is not None
    assert task.init_from == run / "init_from" / "model.keras"
    assert initial_digest(study, run) == "a" * 64


def test_trials_of_a_search_start_from_the_model_of_the_study(write: Callable[..., Path], tmp_path: Path) -> None:
    """Real Ray and the real network, an epoch a trial: at a rate of nearly 0 all keep what the model had learnt."""
    simulate_dataset(tmp_path / "data", "wide", {"train": 16, "validation": 8, "test": 8}, 1)
    fixed = NETWORK | {"training.learning_rate": 1e-12, "training.recalibration_batches": 0}
    settings = [word for name, value in NETWORK.items() for word in ("--set", f"{name}={value}")]
    train = ["train", "--data", str(tmp_path / "data"), "--set", "training.epochs=1", *settings, "--threads", "1"]
    assert main([*train, "--out", str(tmp_path / "first")]) == 0
    done = search(write(init_from="first/model.keras", fixed=fixed), tmp_path / "run")
    assert done.returncode == 0, done.stderr
    state = load_run(tmp_path / "run")
    assert [trial.status for trial in state.search_trials()] == ["completed"] * 2
    first = json.loads((tmp_path / "first" / "model.json").read_text())
    assert state.started is not None
    assert state.started.init_digest == first["weights_digest"]
    [line] = [line for line in (tmp_path / "run" / "report.md").read_text().splitlines() if "initial weights" in line]
    assert first["weights_digest"] in line
    for name in ("model.keras", "model.json"):
        assert (tmp_path / "run" / "init_from" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()
    weights = {path: load_best(path.parent) for path in (tmp_path / "run").glob("checkpoints/*/*/*/training.json")}
    assert len(weights) == 2
    from seti_model.exported import load_initial  # after `train` has set TensorFlow up

    earlier = load_initial(tmp_path / "run" / "init_from" / "model.keras").weights
    for best in weights.values():
        assert best.init_digest == first["weights_digest"]
        np.testing.assert_allclose(best.weights["dense/kernel"], earlier["dense/kernel"], atol=1e-9)
