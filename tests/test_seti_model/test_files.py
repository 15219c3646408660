import errno
import os
import zipfile

import pytest

from seti_model.errors import DatasetError
from seti_model.files import ARCHIVE_BYTES, check_archive, require_file, written_whole


def written(path, say="free some space"):
    return written_whole(path, DatasetError, say)


def write_half(path, error):
    with written(path) as temporary:
        temporary.mkdir()
        (temporary / "half").write_text("")
        raise error


def test_a_folder_appears_when_it_is_whole(tmp_path):
    with written(tmp_path / "a" / "new") as temporary:
        (temporary / "deep").mkdir(parents=True)
        (temporary / "deep" / "file").write_text("whole")
        assert not (tmp_path / "a" / "new").exists()
    assert (tmp_path / "a" / "new" / "deep" / "file").read_text() == "whole"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["new"]


def test_a_file_is_replaced(tmp_path):
    for text in ("old", "new"):
        with written(tmp_path / "model.keras") as temporary:
            assert temporary.suffix == ".keras"  # Keras refuses another one
            temporary.write_text(text)
    assert (tmp_path / "model.keras").read_text() == "new"


def test_what_is_interrupted_leaves_the_old_and_nothing_else(tmp_path):
    (tmp_path / "file").write_text("old")
    with pytest.raises(KeyboardInterrupt, match="now"):
        write_half(tmp_path / "file", KeyboardInterrupt("now"))
    assert (tmp_path / "file").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_what_a_killed_process_left_is_removed(tmp_path):
    (tmp_path / ".writing-0123456789abcdef-new").mkdir()
    (tmp_path / ".writing-0123456789abcdef-new" / "rest").write_text("")
    with written(tmp_path / "new") as temporary:
        temporary.write_text("a file this time")
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_no_space_is_said_with_the_next_step(tmp_path):
    with pytest.raises(DatasetError, match=r"new: cannot be written \(No space left on device\); free some space"):
        write_half(tmp_path / "new", OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_exists_is_kept(tmp_path):
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "kept").write_text("")
    refused = pytest.raises(DatasetError, match=r"d: cannot be written \(.*\); choose another folder")
    with refused, written(tmp_path / "d", "choose another folder") as temporary:
        temporary.mkdir()
    assert (tmp_path / "d" / "kept").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_pipe_is_no_file_and_an_archive_that_would_burst_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="pipe: is a device, a pipe or a socket, a file is expected; save what it"):
        require_file(tmp_path / "pipe", DatasetError)
    require_file(tmp_path / "absent", DatasetError)
    with (
        pytest.raises(
            DatasetError, match="pipe: is a device, a pipe or a socket, which would be replaced; name a file"
        ),
        written_whole(tmp_path / "pipe", DatasetError, "free some space"),
    ):
        pass
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", bytes(ARCHIVE_BYTES // 4))
    check_archive(tmp_path / "x.npz", DatasetError)
    with zipfile.ZipFile(tmp_path / "x.npz", "a", zipfile.ZIP_DEFLATED) as archive:
        for name in "abc":
            archive.writestr(name, bytes(ARCHIVE_BYTES // 4))
        archive.writestr("d", b"0" * 100)
    with pytest.raises(
        DatasetError, match=r"holds 537 MB in .* MB; at most 537 MB, or 100 times the file, are read; sav"
    ):
        check_archive(tmp_path / "x.npz", DatasetError)
