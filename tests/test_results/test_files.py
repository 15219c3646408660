"""Writing files: whole or not at all, and never over a record."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from results.errors import RecordError
from results.files import (
    LEDGER,
    check_output,
    inside,
    read_moderate,
    refuse_links,
    remove_inside,
    replacing,
    write_atomically,
)
from results.log.reading import read_events
from results.log.recorder import EventLog, is_being_written
from results.predictions import ExampleImages, write_examples
from results.run_folder import LOG_NAME


def test_a_table_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a" / "table.csv"
    write_atomically(path, "old")
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert [p.name for p in path.parent.iterdir()] == ["table.csv"]


def test_a_table_that_cannot_be_written_names_it_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    with pytest.raises(RecordError, match=r"table\.csv: cannot be written \(File exists\); free some space or name"):
        write_atomically(tmp_path / "file" / "table.csv", "x")
    assert (tmp_path / "file").read_text() == "old"
    with pytest.raises(RecordError, match=r"cannot be written \(File name too long\)"):
        write_atomically(tmp_path / ("x" * 256), "x")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("path", [".", "/", "table.csv", "nowhere/.."])
def test_a_folder_is_not_taken_for_a_table(tmp_path: Path, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "table.csv").mkdir()
    with pytest.raises(RecordError, match="this is a folder, a file is expected; name a file in it or another one"):
        write_atomically(Path(path), "x")
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


@pytest.mark.parametrize("name", [LOG_NAME, "Events.JSONL"])
def test_a_table_never_replaces_a_log(tmp_path: Path, name: str) -> None:
    (tmp_path / LOG_NAME).write_text("{}\n")
    with pytest.raises(
        RecordError, match=r"events\.jsonl is the log of a run, which nothing may replace; name another"
    ):
        write_atomically(tmp_path / name, "x")
    assert (tmp_path / LOG_NAME).read_text() == "{}\n"
    assert [p.name for p in tmp_path.iterdir()] == [LOG_NAME]


def test_the_uses_of_a_test_split_are_never_replaced(tmp_path: Path) -> None:
    (tmp_path / LEDGER).write_text("{}\n")
    with pytest.raises(RecordError, match="is the list of the uses of a test split, which nothing may replace"):
        write_atomically(tmp_path / LEDGER.upper(), "x")
    assert (tmp_path / LEDGER).read_text() == "{}\n"


@pytest.mark.parametrize(
    "name", ["receipts/0003.json", "dataset.json", "study.toml", "model.keras", "train_images.npy", "Settings.JSON"]
)
def test_an_output_of_a_command_does_not_replace_a_record(tmp_path: Path, name: str) -> None:
    check_output(tmp_path / name)  # a new file may be called anything
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("{}")
    with pytest.raises(RecordError, match="exists and may be part of a run, a data set or a model; name another file"):
        check_output(tmp_path / name)
    (tmp_path / "table.csv").write_text("old")
    check_output(tmp_path / "table.csv")


def test_what_fails_halfway_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    write_atomically(path, "old")

    def fail(error: BaseException) -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            assert temporary.suffix == ".png"
            raise error

    with pytest.raises(KeyboardInterrupt, match="now"):
        fail(KeyboardInterrupt("now"))
    with pytest.raises(RecordError, match=r"picture\.png: cannot be written \(No space left on device\); free some"):
        fail(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"]


def test_a_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path: Path) -> None:
    """A file size limit of the process stands for the full disk: writing fails in the middle of a file."""
    write_atomically(tmp_path / "table.csv", "old")
    code = f"""
import resource
from pathlib import Path
from results.errors import RecordError
from results.files import write_atomically
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    write_atomically(Path({str(tmp_path / "table.csv")!r}), "x" * 10_000)
except RecordError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "table.csv: cannot be written (File too large); free some space" in done.stdout
    assert (tmp_path / "table.csv").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["table.csv"]


def test_an_archive_in_a_folder_that_is_a_file_names_it(tmp_path: Path) -> None:
    (tmp_path / "final").write_text("")
    none = np.zeros(0, np.int64)
    images = ExampleImages(none, np.zeros((0, 1, 1), np.uint8), none, np.zeros((0, 2)), ("a", "b"))
    with pytest.raises(RecordError, match=r"example_images\.npz: cannot be written \(File exists\)"):
        write_examples(tmp_path / "final" / "example_images.npz", images)


# Links, devices and paths that lead elsewhere ----------------------------------------------------------------


def test_an_output_is_never_put_over_a_device_a_pipe_or_a_link(tmp_path: Path) -> None:
    pipe, link, target = tmp_path / "pipe.csv", tmp_path / "link.csv", tmp_path / "target.csv"
    os.mkfifo(pipe)
    target.write_text("mine")
    link.symlink_to(target)
    for write in (check_output, lambda path: write_atomically(path, "x")):
        with pytest.raises(RecordError, match=r"pipe\.csv: is a device, a pipe or a socket, which would be replaced"):
            write(pipe)
    with pytest.raises(RecordError, match=r"link\.csv: is a link, which would be replaced; name the file that it"):
        check_output(link)
    write_atomically(link, "x")  # of a run's own tables: the link goes, what it led to stays
    assert not link.is_symlink()
    assert target.read_text() == "mine"
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_link_that_waits_where_a_file_is_written_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    with replacing(tmp_path / "table.csv") as temporary:
        assert temporary.is_file()
        assert not temporary.is_symlink()
        name = temporary.name
        temporary.write_text("x")
    with replacing(tmp_path / "table.csv") as temporary:
        assert temporary.name != name, "nobody can put a link there before"
        temporary.write_text("y")
    long = tmp_path / f"{'x' * 240}.csv"
    write_atomically(long, "z")
    assert long.read_text() == "z"


@pytest.mark.parametrize("relative", ["../x", "/etc", "a/../../x", "", ".", "a\0b", "y" * 300])
def test_a_path_from_a_file_that_leads_out_is_refused(tmp_path: Path, relative: str) -> None:
    with pytest.raises(RecordError, match=r"a path below it is expected|cannot be used"):
        inside(tmp_path, relative)


def test_below_a_run_folder_no_link_is_followed_but_the_folder_may_be_one(tmp_path: Path) -> None:
    elsewhere, real = tmp_path / "elsewhere", tmp_path / "real"
    (elsewhere / "0001").mkdir(parents=True)
    (elsewhere / "0001" / "state.npz").write_text("theirs")
    (real / "checkpoints").mkdir(parents=True)
    run = tmp_path / "run"
    run.symlink_to(real)
    (real / "checkpoints" / "0000").symlink_to(elsewhere)
    assert inside(run, "checkpoints/0003/0") == run / "checkpoints/0003/0"
    for reach in (inside, remove_inside):
        with pytest.raises(RecordError, match=r"checkpoints/0000: is a link, and none is followed below"):
            reach(run, "checkpoints/0000/0001")
    with pytest.raises(RecordError, match=r"checkpoints/0000: is a link, and what is written or deleted there would"):
        refuse_links(run)
    assert (elsewhere / "0001" / "state.npz").read_text() == "theirs"
    (real / "checkpoints" / "0000").unlink()
    refuse_links(run)
    inner = real / "checkpoints" / "0001" / "0"
    inner.mkdir(parents=True)
    (inner / "0001").symlink_to(elsewhere)
    remove_inside(run, "checkpoints/0001")  # a link in what is removed goes, what it leads to stays
    remove_inside(run, "checkpoints/0001")  # gone already
    assert not (real / "checkpoints" / "0001").exists()
    assert (elsewhere / "0001" / "state.npz").exists()


@pytest.mark.parametrize("name", ["events.jsonl", "receipts", "final", "checkpoints/0000", "exports", "prepared/x"])
def test_a_run_folder_with_a_link_to_elsewhere_is_not_written_to(tmp_path: Path, name: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    (run / name).parent.mkdir(parents=True)
    elsewhere.write_text("mine") if name.endswith(".jsonl") else elsewhere.mkdir()
    (run / name).symlink_to(elsewhere)
    with pytest.raises(RecordError, match=rf"{name}: is a link"):
        EventLog(run)
    assert not elsewhere.is_file() or elsewhere.read_text() == "mine"


def test_a_record_that_is_a_pipe_or_huge_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="is no regular file"):
        read_moderate(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 11)
    with pytest.raises(OSError, match="11 bytes, at most 10 are read"):
        read_moderate(tmp_path / "large", most=10)
    assert read_moderate(tmp_path / "large", most=11) == b"x" * 11
    os.mkfifo(tmp_path / LOG_NAME)
    with pytest.raises(RecordError, match=r"events\.jsonl: is a device, a pipe or a socket, a log is expected"):
        list(read_events(tmp_path))
    assert not is_being_written(tmp_path)
