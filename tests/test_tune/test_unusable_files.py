"""Files and folders that cannot be used, command by command: one line that names them, exit code 2, no traceback."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np
import pytest

from results.log.recorder import EventLog
from results.log.records import Epoch, StudyStarted, TrialEnded, TrialStarted
from seti_model.data.simulator import simulate_dataset
from tune.cli.main import main

NOBODY = 65534
NOT_UTF8 = b"\xff\xfe\x00 no text"
LONG = "x" * 300


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that other users may enter, which is not true of pytest's own."""
    folder = Path(tempfile.mkdtemp(prefix="seti-tune-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small"
    simulate_dataset(path, "course", {"train": 8, "validation": 4, "test": 4}, 1)
    return path


@pytest.fixture
def run(place: Path) -> Path:
    with EventLog(place / "run") as log:
        log.append(
            StudyStarted(
                study={"study": {"name": "s", "trials": 1}, "fixed": {}, "baseline": {}},
                space={
                    "name": "line",
                    "description": "One number.",
                    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0, "reason": "The only one."}},
                },
                space_fingerprint="",
                data_digest="d",
                provenance={},
            ),
            TrialStarted(trial=0, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=0, max_epochs=1),
            Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5),
            TrialEnded(trial=0, status="completed", reason="", epochs=1),
        )
    return place / "run"


@contextmanager
def nobody() -> Iterator[None]:
    """Run as a user without rights, where the tests run as root, who may read everything."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def locked(path: Path) -> AbstractContextManager[None]:
    path.chmod(0)
    return nobody()


LOOKING = ("status", "leaderboard", "report", "finals", "retrain")


@pytest.mark.parametrize("command", LOOKING)
def test_a_run_that_is_none(command: str, run: Path, line: Callable[..., str]) -> None:
    assert line(command, run / "gone").startswith(f"{run / 'gone'}: no run folder (events.jsonl is missing)")
    assert f"{run / 'events.jsonl' / 'x'}: no run folder" in line(command, run / "events.jsonl" / "x")
    assert f"{LONG}: cannot be used (File name too long)" in line(command, LONG)
    if command != "retrain":  # which takes a file for a receipt
        assert f"{run / 'events.jsonl'}: no run folder" in line(command, run / "events.jsonl")


@pytest.mark.parametrize("command", LOOKING)
def test_a_log_that_cannot_be_read(command: str, run: Path, line: Callable[..., str]) -> None:
    log = run / "events.jsonl"
    content = log.read_bytes()
    log.write_bytes(NOT_UTF8 + b"\n" + content)
    assert f"{log}, line 1: damaged: " in line(command, run)
    log.write_bytes(content)
    with locked(log):
        assert f"{log}: cannot be read (Permission denied)" in line(command, run)
    with locked(run):
        assert f"{run}: cannot be used (Permission denied)" in line(command, run)
    run.chmod(0o755)
    log.unlink()
    log.mkdir()
    assert f"{log}: cannot be read (Is a directory)" in line(command, run)


def test_a_table_where_nothing_may_be_written(
    run: Path, line: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["leaderboard", str(run), "--csv", str(run / "t.csv")]) == 0  # loads what it needs
    assert capsys.readouterr().err == f"written: {run / 't.csv'}\n"
    closed = run / "closed"
    closed.mkdir(mode=0o755)
    with nobody():
        message = line("leaderboard", run, "--csv", closed / "t.csv")
    assert message == f"{closed / 't.csv'}: cannot be written (Permission denied); free some space or name another file"


@pytest.mark.parametrize("option", ["--tensorboard", "--optuna"])
def test_an_export_where_something_else_is(option: str, run: Path, line: Callable[..., str]) -> None:
    (run / "taken").write_text("")
    assert f"{run / 'taken'}" in line("export", run, option, "--out", run / "taken")


def test_a_journal_that_is_a_folder(run: Path, line: Callable[..., str]) -> None:
    (run / "folder").mkdir()
    assert f"{run / 'folder'}: " in line("export", run, "--optuna-journal", run / "folder")


def test_a_study_file(place: Path, line: Callable[..., str]) -> None:
    assert f"{place / 'a.toml'}: cannot be read (No such file" in line("search", place / "a.toml", "--dry-run")
    assert f"{place}: cannot be read (Is a directory)" in line("search", place, "--dry-run")
    study = place / "study.toml"
    study.write_bytes(NOT_UTF8)
    assert f"{study}: byte 0 is not UTF-8" in line("search", study, "--dry-run")
    with locked(study):
        assert f"{study}: cannot be read (Permission denied)" in line("search", study, "--dry-run")


def test_what_a_study_names(place: Path, line: Callable[..., str]) -> None:
    study, closed = place / "study.toml", place / "closed"
    (closed / "data").mkdir(parents=True)
    study.write_text('[study]\nspace = "baseline"\n[data]\npath = "closed/data"\n')
    with locked(closed):
        said = line("search", study, "--dry-run")
    assert f"{study}: [data] path = closed/data: cannot be used (Permission denied)" in said
    (place / "space.toml").write_bytes(NOT_UTF8)
    study.write_text('[study]\nspace = "space.toml"\n[data]\npath = "d"\n')
    assert f"{place / 'space.toml'}: byte 0 is not UTF-8" in line("search", study, "--dry-run")


def test_the_copy_of_a_study_file(run: Path, line: Callable[..., str]) -> None:
    (run / "study.toml").write_bytes(NOT_UTF8)
    assert f"{run / 'study.toml'}: cannot be read (not UTF-8)" in line("finals", run)


def test_a_data_set(dataset: Path, place: Path, line: Callable[..., str]) -> None:
    copy = place / "data"
    shutil.copytree(dataset, copy)
    assert main(["data", "describe", str(copy)]) == 0
    record = copy / "dataset.json"
    assert f"{record / 'dataset.json'}: cannot be read" in line("data", "describe", record)
    with locked(copy / "train_images.npy"):
        assert f"{copy / 'train_images.npy'}: cannot be read" in line("data", "describe", copy)
    (copy / "train_images.npy").chmod(0o644)
    (copy / "train_images.npy").write_bytes(b"")
    assert f"{copy / 'train_images.npy'}: cannot be read" in line("data", "describe", copy)
    record.write_bytes(NOT_UTF8)
    assert f"{record}: not JSON" in line("data", "describe", copy)
    assert f"{place / 'gone' / 'dataset.json'}: missing" in line("data", "describe", place / "gone")


def test_an_archive_to_import(place: Path, line: Callable[..., str]) -> None:
    options, file = ("--fractions", "0.5,0.5,0", "--test-fraction", "0"), place / "x.npz"

    def said() -> str:
        return line("data", "import", place / "out", "--npz", file, *options)

    assert f"{file}: no such file" in said()
    np.savez_compressed(file, x=np.zeros((8, 4, 4), np.uint8), y=np.arange(8) % 2, class_names=["a", "b"])
    content = file.read_bytes()
    file.write_bytes(content[:60] + bytes([content[60] ^ 255]) + content[61:])
    assert f"{file}: cannot be read as .npz" in said()
    with locked(file):
        assert f"{file}: cannot be read as .npz ([Errno 13] Permission denied" in said()
    file.unlink()
    file.mkdir()
    assert f"{file}: cannot be read as .npz ([Errno 21] Is a directory" in said()
    assert not (place / "out").exists()


def test_tables_to_import(place: Path, line: Callable[..., str]) -> None:
    images, labels = place / "images.csv", place / "labels.csv"
    labels.write_text("1,0\n0,1\n")

    def said() -> str:
        files = ("--train", images, labels, "--class-names", "a,b", "--shape", "1,2", "--fractions", "0.5,0.5,0")
        return line("data", "import", place / "out", *files)

    assert f"{images}: no such file" in said()
    images.write_bytes(NOT_UTF8)
    assert f"{images}" in said()
    with locked(images):
        assert f"{images}: " in (denied := said())
        assert "Permission denied" in denied
    images.unlink()
    images.mkdir()
    assert f"{images}: " in said()


def test_a_folder_of_pictures_to_import(place: Path, line: Callable[..., str]) -> None:
    pictures = place / "pictures"

    def said() -> str:
        return line("data", "import", place / "out", "--folder", pictures, "--fractions", "0.5,0.5,0")

    assert f"{pictures}: no such folder" in said()
    for name in ("a", "b"):
        (pictures / name).mkdir(parents=True)
    assert f"{pictures / 'a'}: no PNG or FITS files" in said()
    (pictures / "a" / "1.png").write_bytes(NOT_UTF8)
    with locked(pictures / "b"):
        assert f"{pictures / 'b'}: cannot be read (Permission denied)" in said()


def test_a_data_set_below_a_file(place: Path, line: Callable[..., str]) -> None:
    (place / "file").write_text("")
    words = ("data", "simulate", place / "file" / "d", "--train", 4, "--validation", 4, "--test", 0)
    assert f"{place / 'file' / 'd'}: cannot be written (" in line(*words).splitlines()[-1]


def test_a_receipt(run: Path, line: Callable[..., str]) -> None:
    receipt = run / "0000.json"
    receipt.write_bytes(NOT_UTF8)
    assert f"{receipt}: damaged: " in line("retrain", receipt)
    with locked(receipt):
        assert f"{receipt}: cannot be read (Permission denied)" in line("retrain", receipt)


def test_a_model(dataset: Path, place: Path, line: Callable[..., str]) -> None:
    model = place / "model.keras"

    def said() -> str:
        return line("train", "--data", dataset, "--out", place / "out", "--init-from", model)

    assert f"{model}: no such file" in said()
    model.write_text("")
    assert f"{place / 'model.json'}: missing" in said()
    (place / "model.json").mkdir()
    assert f"{place / 'model.json'}: cannot be read (Is a directory)" in said()


def test_a_folder_for_a_training_that_is_a_file(dataset: Path, place: Path, line: Callable[..., str]) -> None:
    (place / "out").write_text("")
    assert f"{place / 'out'}: cannot be written to (" in line("train", "--data", dataset, "--out", place / "out")


def test_the_uses_of_a_test_split(dataset: Path, place: Path) -> None:
    from seti_model.errors import DatasetError
    from tune.test_split import LEDGER, earlier_uses

    (place / LEDGER).write_text("")
    with locked(place / LEDGER), pytest.raises(DatasetError, match=r"test_uses\.jsonl: cannot be read \(Permission"):
        earlier_uses(place)
