"""The test split: who may look at it, what is written down when somebody does, and that nothing else depends on it."""

import ast
import json
import resource
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import run_here

from results.log.recorder import EventLog
from results.log.records import FinalsDecided, StudyEnded, StudyStarted
from results.log.state import RunState, load_run
from results.run_folder import LOG_NAME
from results.study import Provenance, StudyRecord
from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.errors import DatasetError
from tune.cli.main import main
from tune.study import load_study
from tune.test_split import (
    LEDGER,
    SplitUse,
    earlier_uses,
    record_use,
    unlock_for_finals,
    unlock_test,
    uses_of_others,
)

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ("left", "middle", "right")
SMALL = ["network.filters_1=4", "network.filters_2=4", "network.kernel=3", "network.dense_units=8", "training.epochs=2"]
STUDY = """
[study]
space = "baseline"
trials = 3
max_epochs = 2
seed = 3
[search]
startup_trials = 2
[data]
path = "data"
[asha]
grace_epochs = 1
[resources]
max_concurrent = 1
[finals]
enabled = false
[fixed]
"network.dense_units" = 8
"""


def striped(n: int, seed: int) -> SplitData:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % 3).astype(np.int8)
    images = rng.integers(0, 120, (n, 16, 16, 1)).astype(np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[:, 3 * label : 3 * label + 3] += 100
    return SplitData(images, labels)


def write(path: Path, test_seed: int) -> Dataset:
    splits = {"train": striped(60, 1), "validation": striped(30, 2), "test": striped(12, test_seed)}
    return write_dataset(path, splits, CLASSES, {})


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """Return a function: seed of the test split -> folder with `data` and with `out`, a training on it."""
    known: dict[int, Path] = {}

    def make(test_seed: int) -> Path:
        if test_seed not in known:
            folder = known[test_seed] = tmp_path_factory.mktemp(f"test-{test_seed}")
            write(folder / "data", test_seed)
            settings = [part for setting in SMALL for part in ("--set", setting)]
            arguments = ["--data", str(folder / "data"), "--out", str(folder / "out"), "--threads", "1", *settings]
            assert main(["train", *arguments]) == 0
        return known[test_seed]

    return make


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "data", 3).path


@pytest.fixture
def model(trained: Callable[[int], Path], tmp_path: Path) -> Path:
    """Outside any run."""
    alone = tmp_path / "alone"
    alone.mkdir()
    for name in ("model.keras", "model.json"):
        shutil.copy(trained(3) / "out" / name, alone)
    return alone / "model.keras"


@pytest.fixture
def run(model: Path, tmp_path: Path) -> Path:
    """A finished run with that model in it."""
    run = tmp_path / "runs" / "mine"
    with EventLog(run) as log:
        log.append(begun(1), StudyEnded(finished=True, reason=""))
    (run / "final" / "trial-0000").mkdir(parents=True)
    for file in (model, model.with_suffix(".json")):
        (run / "final" / "trial-0000" / file.name).write_bytes(file.read_bytes())
    return run


def in_run(run: Path) -> Path:
    return run / "final" / "trial-0000" / "model.keras"


def weights_digest(model: Path) -> str:
    digest: str = json.loads(model.with_suffix(".json").read_text())["weights_digest"]
    return digest


def use_test(command: str, model: Path, data: Path, *more: str) -> int:
    return main([command, str(model), str(data), "--split", "test", "--threads", "1", *more])


@pytest.mark.parametrize("command", ["evaluate", "predict"])
def test_a_locked_test_split_is_one_line_exit_code_2_and_leaves_no_trace(
    command: str, run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = (run / LOG_NAME).read_bytes()
    assert use_test(command, in_run(run), data) == 2
    printed = capsys.readouterr()
    [line] = printed.err.splitlines()
    assert line == (
        f"seti-tune: {data}: the test split is locked, because a figure is worth most when it was looked at once; "
        "leave it to `seti-tune finals RUN`, or add --unlock-test to `evaluate` or `predict`"
    )
    assert printed.out == ""
    assert earlier_uses(data) == ()
    assert (run / LOG_NAME).read_bytes() == log


def test_each_unlocked_use_is_in_the_ledger_of_the_data_and_in_the_log_of_the_run(
    run: Path, model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_run(run)
    assert use_test("evaluate", in_run(run), data, "--unlock-test") == 0
    printed = capsys.readouterr()
    assert "test split of" in printed.out
    assert printed.err == ""
    assert use_test("predict", in_run(run), data, "--unlock-test") == 0
    out = capsys.readouterr().out.splitlines()
    assert [line.split(",")[:2] for line in out[1:]] == [[str(data / "test_images.npy"), str(row)] for row in range(12)]
    assert use_test("evaluate", model, data, "--unlock-test") == 0

    digest = weights_digest(model)
    uses = earlier_uses(data)
    assert [(use.what, use.weights_digest, use.run) for use in uses] == [
        ("evaluate", digest, "mine"),
        ("predict", digest, "mine"),
        ("evaluate", digest, None),
    ]
    state = load_run(run)
    assert [(event.command, event.model, event.weights_digest) for event in state.unlocks] == [
        ("evaluate", "final/trial-0000/model.keras", digest),
        ("predict", "final/trial-0000/model.keras", digest),
    ]
    assert [event.time for event in state.unlocks] == [use.time for use in uses[:2]]
    assert state.spent_s == before.spent_s
    assert state.ended == before.ended
    Dataset.open(data).verify()
    assert Dataset.open(data).digest == json.loads(model.with_suffix(".json").read_text())["data_digest"]


def test_other_splits_need_no_unlocking_and_are_not_recorded(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(data), "--unlock-test", "--threads", "1"]) == 0
    printed = capsys.readouterr()
    assert len(printed.out.splitlines()) == 31, "not the validation split"
    assert str(data / "validation_images.npy") in printed.out
    assert "30 images in" in printed.err
    assert earlier_uses(data) == ()


def test_what_cannot_be_predicted_is_refused_before_it_is_recorded(
    model: Path, tmp_path: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = {
        name: SplitData(np.full((3, 8, 8, 1), i, np.uint8), np.arange(3, dtype=np.int8))
        for i, name in enumerate(("train", "validation", "test"))
    }
    write_dataset(tmp_path / "small", other, CLASSES, {})
    for command in ("evaluate", "predict"):
        assert use_test(command, model, tmp_path / "small", "--unlock-test") == 2
        assert "small: images of shape (8, 8, 1), the model expects (n_time, n_freq, channels) = (16, 16, 1)" in (
            capsys.readouterr().err
        )
    assert earlier_uses(tmp_path / "small") == ()
    assert use_test("predict", model, data, "--unlock-test", "--batch", "-1") == 2
    assert "--batch -1: at least 1 image at a time is expected" in capsys.readouterr().err
    assert earlier_uses(data) == ()
    np.savez(tmp_path / "a.npz", x=np.zeros((1, 16, 16), np.uint8))
    assert use_test("predict", model, tmp_path / "a.npz") == 2
    assert "--split test: there is no data set among the files; leave --split out" in capsys.readouterr().err


def test_a_run_that_is_being_written_is_refused_and_nothing_is_recorded(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with EventLog(run):
        assert use_test("evaluate", in_run(run), data, "--unlock-test") == 2
    assert "mine: another process is running this study; wait for it" in capsys.readouterr().err
    assert earlier_uses(data) == ()


def test_a_use_that_can_be_recorded_nowhere_does_not_happen(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / LEDGER).mkdir()  # not even root can append to it
    assert use_test("predict", model, data, "--unlock-test") == 2
    printed = capsys.readouterr()
    assert (
        f"{data}: that its test split is used can be recorded nowhere ({data / LEDGER}: Is a directory)" in printed.err
    )
    assert printed.out == ""


def test_a_use_that_can_be_recorded_in_one_place_only_says_which_failed(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((run / LOG_NAME).stat().st_size, limits[1]))  # the log cannot grow
    try:
        record_use(data, "evaluate", model=in_run(run), weights_digest="d")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [use.what for use in earlier_uses(data)] == ["evaluate"]
    noted = "note: this use of the test split is recorded in one place only: "
    assert f"{noted}{run / LOG_NAME}: cannot be written (File too large)" in capsys.readouterr().err
    (data / LEDGER).rename(tmp_path / "away")
    (data / LEDGER).mkdir()
    unlocked = unlock_test(Dataset.open(data), "evaluate", model=in_run(run), weights_digest="d")
    assert len(unlocked.split("test").labels) == 12
    assert capsys.readouterr().err == f"{noted}{data / LEDGER}: Is a directory\n"
    assert [event.command for event in load_run(run).unlocks] == ["evaluate"]


def begun(day: int) -> StudyStarted:
    time = f"2026-01-{day:02d}T00:00:00.000Z"
    space = {"name": "any", "parameters": {}}
    return StudyStarted(study=StudyRecord(), space=space, data_digest="d", provenance=Provenance(), time=time)


def decided(hour: int) -> FinalsDecided:
    time = f"2026-02-01T{hour:02d}:00:00.000Z"
    return FinalsDecided(finalists=(0,), seeds=1, search_trials=1, winner=0, delivered=0, time=time)


def test_runs_are_told_apart_by_when_they_began_not_by_their_name(data: Path, tmp_path: Path) -> None:
    alice, bob = RunState([begun(1)]), RunState([begun(2)])
    alice.decisions.append(decided(1))  # without the retrainings, which are of no interest here
    bob.decisions.append(decided(2))
    dataset = Dataset.open(data)
    for _ in range(2):  # going on after an interruption is no further use
        unlock_for_finals(dataset, tmp_path / "alice" / "study", alice, weights_digest="same")
    assert (uses_of_others(data, alice), uses_of_others(data, bob)) == (0, 1)
    alice.decisions.append(decided(3))
    unlock_for_finals(dataset, tmp_path / "renamed", alice, weights_digest="same")
    assert (uses_of_others(data, alice), uses_of_others(data, bob)) == (0, 2)
    unlock_for_finals(dataset, tmp_path / "bob" / "study", bob, weights_digest="same")
    assert (uses_of_others(data, alice), uses_of_others(data, bob)) == (1, 2)


def test_an_unlocked_use_is_in_both_reports_at_once_and_none_of_others(
    run: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert use_test("evaluate", in_run(run), data, "--unlock-test") == 0
    assert "The test split has been used once." in (run / "report.md").read_text()
    assert use_test("evaluate", in_run(run), data, "--unlock-test") == 0
    for report in ("report.md", "report.html"):
        assert "used 2 times (2 unlocked for a model of this run)" in (run / report).read_text()
    state = load_run(run)
    assert len(state.unlocks) == 2
    assert uses_of_others(data, state) == 0


def test_a_table_that_cannot_be_written_is_refused_before_a_use_is_recorded(
    run: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = str(tmp_path / "nowhere" / "p.csv")
    assert use_test("predict", in_run(run), data, "--unlock-test", "--csv", nowhere) == 2
    assert f"--csv {nowhere}: there is no folder {tmp_path / 'nowhere'}; make it" in capsys.readouterr().err
    (tmp_path / "damaged.npz").write_bytes(b"no")
    options = ["--split", "test", "--threads", "1", "--unlock-test"]
    assert main(["predict", str(in_run(run)), str(data), str(tmp_path / "damaged.npz"), *options]) == 2
    assert earlier_uses(data) == ()
    assert main(["predict", str(in_run(run)), str(data), str(data), *options]) == 0, "named twice"
    assert len(earlier_uses(data)) == 1


def test_a_damaged_ledger_names_its_line(data: Path) -> None:
    record_use(data, "evaluate", model=data / "m.keras", weights_digest="d")
    [use] = earlier_uses(data)
    assert use == SplitUse(use.time, "evaluate", "d", None)
    with (data / LEDGER).open("a") as file:
        file.write('{"time": "now"}\n')
    with pytest.raises(DatasetError, match=rf"{LEDGER}, line 2: damaged: what: missing; restore the file from a copy"):
        earlier_uses(data)
    (data / LEDGER).write_text('{"time": 5, "what": "evaluate", "weights_digest": "d"}\n')
    with pytest.raises(DatasetError, match=rf"{LEDGER}, line 1: damaged: time: expected a string, found 5; restore"):
        earlier_uses(data)


# Nothing but these can look


def uses_of(*names: str) -> dict[str, set[str]]:
    """For each name the source files in which it occurs as an attribute, a name, an import or a definition."""
    found: dict[str, set[str]] = {name: set() for name in names}
    for package in ("tune", "seti_model", "results", "search_spaces", "benchmarks"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                for field in ("attr", "id", "name", "arg", "value"):  # "value": a name given to getattr as a string
                    name = getattr(node, field, None)
                    if isinstance(name, str) and name in found:
                        found[name].add(str(file.relative_to(ROOT)))
    return found


def test_only_finals_evaluate_and_predict_can_take_off_the_lock() -> None:
    assert uses_of("unlocked", "_is_unlocked", "_splits", "unlock_test", "unlock_for_finals") == {
        "unlocked": {"seti_model/data/dataset.py", "tune/test_split.py"},
        "_is_unlocked": {"seti_model/data/dataset.py"},
        "_splits": {"seti_model/data/dataset.py"},
        "unlock_test": {"tune/test_split.py", "tune/cli/model.py"},
        "unlock_for_finals": {"tune/test_split.py", "tune/finals.py"},
    }


def test_a_training_does_not_depend_on_the_test_split(trained: Callable[[int], Path]) -> None:
    one, other = trained(3), trained(4)
    assert Dataset.open(one / "data").digest != Dataset.open(other / "data").digest
    histories = [json.loads((folder / "out" / "history.json").read_text()) for folder in (one, other)]
    measured = [
        {
            name: value
            for name, value in row.items()
            if "seconds" not in name and name not in ("time", "images_per_s", "resident_mb")
        }
        for row in histories[0]
    ]
    for row, expected in zip(histories[1], measured, strict=True):
        assert row | expected == row
    assert (one / "out" / "report.txt").read_text() == (other / "out" / "report.txt").read_text()
    assert weights_digest(one / "out" / "model.keras") == weights_digest(other / "out" / "model.keras")


def outcome(run: Path) -> Any:
    state = load_run(run)
    trials = {
        key: (
            trial.started.configuration,
            trial.started.seed,
            trial.status,
            [
                (
                    e.epoch,
                    e.train_loss,
                    e.validation_loss,
                    e.weights_digest,
                    e.best_weights_digest,
                    e.validation_correct,
                )
                for e in trial.epochs.values()
            ],
            [(rung.epoch, rung.value, rung.cutoff, rung.decision) for rung in trial.rungs.values()],
        )
        for key, trial in state.trials.items()
    }
    assert state.started is not None
    return state.started.data_digest, trials


def test_a_search_does_not_depend_on_the_test_split(tmp_path: Path) -> None:
    def searched(test_seed: int) -> Any:
        folder = tmp_path / str(test_seed)
        write(folder / "data", test_seed)
        (folder / "study.toml").write_text(STUDY)
        run_here(load_study(folder / "study.toml"), folder / "run")
        return outcome(folder / "run")

    (digest, trials), (other_digest, other_trials) = searched(3), searched(4)
    assert digest != other_digest
    assert len(trials) == 3
    assert trials == other_trials
