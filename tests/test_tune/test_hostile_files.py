"""Files that somebody else made, in bad faith or in bad luck: what they may not do, command by command."""

from __future__ import annotations

import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from results.errors import RecordError
from results.log.recorder import EventLog, Recorder
from results.log.records import Checkpoint, Epoch, StudyStarted, TrialEnded, TrialStarted
from results.log.state import load_run
from results.receipt import receipt_of, write_receipts
from results.study import Provenance, StudyRecord, StudySection
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from tune.cli.main import main
from tune.errors import StudyError
from tune.resume import require_own_code
from tune.storage.checkpoints import Checkpoints
from tune.trust import own_code, require_trust

NOBODY = 65534
SPACE = {
    "name": "line",
    "description": "One number.",
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0, "reason": "The only one."}},
}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "small"
    simulate_dataset(path, "course", {"train": 8, "validation": 4, "test": 4}, 1)
    return path


def begun(run: Path, *, name: str = "s", trainable: str | None = None, folder: Path | None = None) -> Path:
    section = StudySection(name=name, trials=1, **({} if trainable is None else {"trainable": trainable}))
    record = StudyRecord(study=section, folder=None if folder is None else str(folder))
    with EventLog(run) as log:
        log.append(
            StudyStarted(study=record, space=SPACE, space_fingerprint="", data_digest="d", provenance=Provenance()),
            TrialStarted(trial=0, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=0, max_epochs=1),
            Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5),
            TrialEnded(trial=0, status="completed", reason="\x1b[2Jgone\n=1+1", epochs=1),
        )
    return run


# Text that acts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["leaderboard", "status", "compare"])
def test_no_escape_sequence_of_a_log_reaches_the_terminal(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [begun(tmp_path / name, name="\x1b]0;title\x07\u202e") for name in ("a", "b")]
    assert main([command, *map(str, runs[: 2 if command == "compare" else 1])]) == 0
    shown = "".join(capsys.readouterr())
    assert all(letter.isprintable() or letter == "\n" for letter in shown)


def test_a_path_that_is_no_text_is_shown_all_the_same(line: Callable[..., str], tmp_path: Path) -> None:
    assert r"a\x1b[2J" in line("status", tmp_path / "a\x1b[2J")
    assert r"\udcff" in line("status", str(tmp_path / "x") + "\udcff")
    assert "cannot be used (embedded null byte)" in line("status", str(tmp_path) + "/a\0b")
    assert "File name too long" in line("status", tmp_path / ("x" * 300))


def test_a_study_whose_name_would_act_on_a_terminal_is_refused(tmp_path: Path, line: Callable[..., str]) -> None:
    study = tmp_path / "study.toml"
    study.write_text('[study]\nspace = "baseline"\nname = "\\u001b[2J"\n[data]\nsimulate = "course"\n')
    assert "has some that cannot be shown; choose another" in line("search", study, "--dry-run")
    study.write_text('[study]\nspace = "baseline"\ntrials = 1000000000\n[data]\nsimulate = "course"\n')
    assert "trials: expected at most 1000000, found 1000000000" in line("search", study, "--dry-run")


def test_a_table_runs_nothing_in_a_spreadsheet(tmp_path: Path) -> None:
    run = begun(tmp_path / "run", name="s")
    table = tmp_path / "t.csv"
    assert main(["leaderboard", str(run), "--csv", str(table)]) == 0
    assert not [
        cell for row in table.read_text().splitlines() for cell in row.split(",") if cell[:1] in ("=", "+", "@")
    ]


# Images ------------------------------------------------------------------------------------------------------


def png(width: int, height: int) -> bytes:
    """A PNG that claims a size and holds no pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "cannot be read as PNG"),
        (b"GIF89a\x01\x00\x01\x00\x00\x00\x00;", "cannot be read as PNG"),
        (png(2**20, 2**20), "cannot be read as PNG|at most 16777216 values are read; make it smaller"),
        (png(5000, 5000), "5000 x 5000 pixels of mode L, at most 16777216 values are read; make it smaller"),
    ],
)
def test_only_png_of_a_moderate_size_is_read(
    tmp_path: Path, line: Callable[..., str], content: bytes, why: str
) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        (tmp_path / "pictures" / name / "1.png").write_bytes(content)
    said = line("data", "import", tmp_path / "out", "--folder", tmp_path / "pictures", "--fractions", "0.5,0.3,0.2")
    assert [one for one in why.split("|") if one in said], said


def test_pipes_with_the_names_of_images_are_not_waited_for(tmp_path: Path, line: Callable[..., str]) -> None:
    for name in ("a", "b"):
        (tmp_path / "pictures" / name).mkdir(parents=True)
        os.mkfifo(tmp_path / "pictures" / name / "1.png")
    os.mkfifo(tmp_path / "x.npz")
    os.mkfifo(tmp_path / "x.csv")
    options = ("--fractions", "0.5,0.3,0.2")
    for words in (
        ("--folder", tmp_path / "pictures"),
        ("--npz", tmp_path / "x.npz"),
        ("--train", tmp_path / "x.csv", tmp_path / "x.csv", "--class-names", "a,b"),
    ):
        assert "is a device, a pipe or a socket, a file is expected" in line(
            "data", "import", tmp_path / "out", *words, *options
        )


def test_a_folder_of_a_class_that_is_no_text_is_named(tmp_path: Path, line: Callable[..., str]) -> None:
    for name in (b"a", b"\xff\xfe"):
        folder = os.fsencode(tmp_path) + b"/pictures/" + name
        Path(os.fsdecode(folder)).mkdir(parents=True)
        Path(os.fsdecode(folder + b"/1.png")).write_bytes(png(4, 4))
    said = line("data", "import", tmp_path / "out", "--folder", tmp_path / "pictures", "--fractions", "0.5,0.3,0.2")
    assert "is no name in UTF-8; rename it" in said


def bomb(path: Path) -> None:
    """An archive of 3 MB in which x takes 2.5 GB."""
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "|u1", "fortran_order": False, "shape": (38_147, 64, 1024)})
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("x.npy", "w", force_zip64=True) as member:
            member.write(head.getvalue())
            for _ in range(38_147 // 16):
                member.write(bytes(16 * 64 * 1024))
        with archive.open("y.npy", "w") as member:
            np.lib.format.write_array(member, np.zeros(38_147, np.int64))


def test_an_archive_that_would_burst_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    bomb(tmp_path / "x.npz")
    code = """
import sys
from tune.cli.main import main
code = main(sys.argv[1:])
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(code, int(peak.split()[1]) // 1024)
"""
    words = ["data", "import", tmp_path / "out", "--npz", tmp_path / "x.npz", "--class-names", "a,b"]
    command = [sys.executable, "-c", code, *map(str, words), "--fractions", "0.5,0.3,0.2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code_, peak_mb = map(int, done.stdout.split())
    assert code_ == 2
    assert "at most 537 MB, or 100 times the file, are read; save it uncompressed with numpy.savez" in done.stderr
    assert peak_mb < 600


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("simulate", "OUT", "--train", 10**12), "simulation of 1000000000000 images: 0 to 1000000 are expected"),
        (
            ("import", "OUT", "--npz", "NPZ", "--fractions", "0.5,0.3,0.2", "--split-seed", -1),
            "split seed -1: at least 0",
        ),
    ],
)
def test_numbers_that_nobody_means(
    tmp_path: Path, line: Callable[..., str], words: tuple[object, ...], why: str
) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((8, 4, 4), np.uint8), y=np.arange(8) % 2, class_names=["a", "b"])
    places = {"OUT": tmp_path / "out", "NPZ": tmp_path / "x.npz"}
    assert why in line("data", *(places.get(word, word) if isinstance(word, str) else word for word in words))
    assert not (tmp_path / "out").exists()


# Data sets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"counts": {"train": 8, "validation": 4, "../../x": 4}}, "splits train, validation, ../../x; expected"),
        ({"class_names": ["a", "b", "c", "\x1b[2J"]}, "class name '\\x1b[2J'; give one of at most"),
        ({"origin": {"equal_images": [1]}}, "origin: Expected `object`, got `array`"),
        ({"shape": [64, 4]}, "shape (8, 64, 128, 1), but dataset.json says (8, 64, 4, 1)"),
    ],
)
def test_a_data_set_whose_description_lies(
    tmp_path: Path, dataset: Path, line: Callable[..., str], change: dict[str, Any], why: str
) -> None:
    shutil.copytree(dataset, tmp_path / "data")
    file = tmp_path / "data" / "dataset.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    assert why in line("data", "describe", tmp_path / "data")


def test_groups_that_are_no_texts(tmp_path: Path, dataset: Path, line: Callable[..., str]) -> None:
    shutil.copytree(dataset, tmp_path / "data")
    for split, n in (("train", 8), ("validation", 4), ("test", 4)):
        np.save(tmp_path / "data" / f"{split}_groups.npy", np.zeros(n, [("a", "i4"), ("b", "f4")]))
    assert "groups of split 'train' are" in line("data", "describe", tmp_path / "data")
    assert Dataset.open(dataset).splits == ("train", "validation", "test")


def test_texts_that_are_none(tmp_path: Path, dataset: Path, line: Callable[..., str]) -> None:
    texts = np.array([0xD7, 0x1100000], np.uint32).view("<U1")
    images, labels = np.zeros((4, 8, 8), np.uint8), np.array([0, 1, 0, 1])
    np.savez(tmp_path / "x.npz", x=images, y=labels, class_names=texts)
    found = line("data", "import", tmp_path / "out", "--npz", tmp_path / "x.npz", "--fractions", "0.5,0.3,0.2")
    assert "'class_names' holds what is no text; save it with numpy.savez" in found
    shutil.copytree(dataset, tmp_path / "data")
    for split, n in (("train", 8), ("validation", 4), ("test", 4)):
        np.save(tmp_path / "data" / f"{split}_groups.npy", np.resize(texts, n))
    assert "_groups.npy: holds what is no text; make the data set again" in line("data", "describe", tmp_path / "data")


# Paths and links ---------------------------------------------------------------------------------------------


def test_nothing_is_deleted_where_a_link_leads(tmp_path: Path) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    for epoch in ("0001", "0002"):
        (elsewhere / "0" / epoch).mkdir(parents=True)
        (elsewhere / "0" / epoch / "state.npz").write_text("theirs")
    (run / "checkpoints").mkdir(parents=True)
    (run / "checkpoints" / "0000").symlink_to(elsewhere)
    with pytest.raises(RecordError, match=r"checkpoints/0000: is a link, and none is followed"):
        Checkpoints(run).drop_training_state({"checkpoints/0000": "checkpoints/0000/0/0002"})
    assert len(list(elsewhere.rglob("state.npz"))) == 2
    with pytest.raises(ValueError, match="path: expected a path below the run folder"):
        Checkpoint(trial=0, attempt=0, epoch=1, path="../elsewhere/0/0001", bytes=1, digest="d")


def test_a_receipt_does_not_choose_where_it_is_repeated(tmp_path: Path, line: Callable[..., str]) -> None:
    run = begun(tmp_path / "run", name="s", trainable="m:train", folder=tmp_path)
    receipt = json.loads(receipt_of(load_run(run), (0, None)).to_text())
    file = tmp_path / "receipt.json"
    file.write_text(json.dumps(receipt | {"study": "x/../../elsewhere", "data_digest": None}))
    (tmp_path / "m.py").write_text("def train(task, data, on_epoch): raise SystemExit\n")
    assert "which is no name of a folder; give one with --out" in line("retrain", file)


# Whose code is run -------------------------------------------------------------------------------------------


@pytest.fixture
def theirs(tmp_path: Path) -> Iterator[Path]:
    """A folder of another user with a module that says when it is imported."""
    if os.geteuid() != 0:
        pytest.skip("only root can give a file to somebody else")
    home = tmp_path / "theirs"
    home.mkdir()
    (home / "trains.py").write_text(
        f"open({str(tmp_path / 'imported')!r}, 'w')\ndef train(task, data, on_epoch): ...\n"
    )
    for path in (home, home / "trains.py"):
        os.chown(path, NOBODY, NOBODY)
    yield home
    assert not (tmp_path / "imported").exists(), "was imported before it was trusted"


def test_another_users_code_is_run_where_it_was_recorded_or_is_trusted(theirs: Path, tmp_path: Path) -> None:
    place, names, recorded = tmp_path / "events.jsonl", ("trains:train",), own_code(theirs, ("trains:train",))
    assert recorded is not None
    with pytest.raises(
        StudyError, match=r"names code in .*theirs \(trains\.py\) that belongs to another user.*--trust"
    ):
        require_trust(place, theirs, names, None, is_trusted=False)
    require_trust(place, theirs, names, recorded, is_trusted=False)
    require_trust(place, theirs, names, None, is_trusted=True)
    (theirs / "trains.py").write_text("changed = True\n")
    with pytest.raises(StudyError, match="is not what was recorded; read it, and add --trust to run it"):
        require_trust(place, theirs, names, recorded, is_trusted=False)
    os.chown(theirs, 0, 0)
    os.chown(theirs / "trains.py", 0, 0)
    require_trust(place, theirs, names, recorded, is_trusted=False)  # our own, a bug was fixed


def test_resume_and_retrain_do_not_import_what_they_may_not_run(
    theirs: Path, tmp_path: Path, line: Callable[..., str]
) -> None:
    run = begun(tmp_path / "run", trainable="trains:train", folder=theirs)
    with pytest.raises(StudyError, match="add --trust"):
        require_own_code(run, is_trusted=False)
    assert "add --trust to run it" in line("retrain", run, "--trial", 0)
    assert "add --trust to run it" in line("finals", run)


# A full disk -------------------------------------------------------------------------------------------------


def test_an_export_to_a_full_disk_names_the_file_and_what_to_do(
    tmp_path: Path, small_disk: Path, line: Callable[..., str]
) -> None:
    run = begun(tmp_path / "run")
    with EventLog(run) as log:
        for trial in range(1, 200):
            started = TrialStarted(trial=trial, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=0, max_epochs=9)
            epochs = [Epoch(trial=trial, attempt=0, epoch=n, validation_accuracy=0.5) for n in range(1, 10)]
            log.append(started, *epochs, TrialEnded(trial=trial, status="completed", reason="", epochs=9))
    full = r"cannot be written (No space left on device); free some space or name another"
    assert f"{small_disk}/optuna-journal.log: {full} file" in line("export", run, "--optuna", "--out", small_disk)
    said = line("export", run, "--tensorboard", "--out", small_disk)
    assert said.startswith(f"{small_disk}/tensorboard/")
    assert said.endswith(f": {full} file")


# Two users of one run folder ---------------------------------------------------------------------------------

THEM, US = 65533, 65534
PLANTS = (
    "events.jsonl",
    "receipts",
    "receipts/0000.json",
    "final",
    "final/model_card.md",
    "best",
    "exports",
    "exports/optuna-journal.log",
    "exports/tensorboard",
    "checkpoints",
    "checkpoints/0000",
    "checkpoints/0000/0",
    "prepared",
    "init_from",
    "study",
    ".ray",
    "report.html",
    "report.md",
    "search.png",
    "leaderboard.csv",
    "importance.json",
)


@contextmanager
def acting_as(user: int) -> Iterator[None]:
    mask = os.umask(0)  # so that the other one may write there too
    os.seteuid(user)
    try:
        yield
    finally:
        os.seteuid(0)
        os.umask(mask)


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that two users may both write to, with a folder beside it that belongs to one of them alone."""
    if os.geteuid() != 0:
        pytest.skip("only root can be two users")
    folder = Path(tempfile.mkdtemp(prefix="seti-tune-test-"))
    folder.chmod(0o777)
    yield folder
    shutil.rmtree(folder)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def look_at(run: Path) -> list[int]:
    """Run the commands that write beside a log; return their exit codes."""
    commands = (
        ("report", run),
        ("leaderboard", run, "--csv", run / "leaderboard.csv"),
        ("export", run, "--optuna"),
        ("export", run, "--tensorboard"),
    )
    return [main([str(word) for word in words]) for words in commands]


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> None:
    """All that these commands import is imported: another user may not be able to read it."""
    assert look_at(begun(tmp_path_factory.mktemp("loads"))) == [0] * 4


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("plant", PLANTS)
def test_what_another_user_leaves_in_a_run_folder_leads_nobody_out_of_it(shared: Path, plant: str) -> None:
    run, ours = shared / "run", shared / "ours"
    with acting_as(US):
        begun(run)
        run.chmod(0o777)
        assert look_at(run) == [0] * 4
        for folder in (run, run / "exports"):
            folder.chmod(0o777)
        (ours / "0" / "0001").mkdir(parents=True)
        for name in ("state.npz", "0/0001/state.npz", "0000.json", "events.jsonl"):
            (ours / name).write_text('{"op_code": 0, "seti-tune": 1}\n{"v": 1}\n')
    before = contents(ours)
    with acting_as(THEM):
        place = run / plant
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.exists():
            place.rename(place.with_name(f"{place.name}.away"))
        place.symlink_to(ours if not place.suffix else ours / "events.jsonl")
    with acting_as(US):
        codes = look_at(run)
        with suppress(RecordError), Recorder(run) as recorder:
            recorder.write(Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5))
            write_receipts(run, recorder.state)
        with suppress(RecordError):
            Checkpoints(run).drop_training_state({"checkpoints/0000": "checkpoints/0000/0/0001"})
    assert set(codes) <= {0, 2}, "one clear line, never a traceback"
    assert contents(ours) == before
