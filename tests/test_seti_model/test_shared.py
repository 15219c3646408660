"""Rows that several processes make together: each part once, whoever dies; then one file for all."""

import multiprocessing
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seti_model.data.shared import shared_rows
from seti_model.errors import DatasetError

N, PART = 50, 8


def rows(first: int, last: int) -> np.ndarray:
    return np.arange(first, last, dtype=np.float32)[:, None] ** 2


def ask(folder: Path, pause: float, dies_at: int | None = None) -> None:
    """Ask for the rows in a process of its own, note each part that it makes, die in the middle of one."""

    def make(first: int, last: int) -> np.ndarray:
        with (folder / "made").open("a") as notes:
            notes.write(f"{first}\n")
        time.sleep(pause)
        if first == dies_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows(first, last)

    found = shared_rows(folder / "home" / "train.npy", N, make, part=PART)
    assert np.array_equal(found, rows(0, N))


def started(*arguments: object) -> multiprocessing.Process:
    process = multiprocessing.get_context("fork").Process(target=ask, args=arguments)
    process.start()
    return process


def made(folder: Path) -> list[int]:
    return sorted(map(int, (folder / "made").read_text().split()))


@settings(max_examples=20)
@given(n=st.integers(1, 40), part=st.integers(1, 50))
def test_parts_give_the_rows_whatever_their_size(tmp_path_factory, n, part):
    file = tmp_path_factory.mktemp("rows") / "rows.npy"
    assert np.array_equal(shared_rows(file, n, rows, part=part), rows(0, n))
    assert [path.name for path in file.parent.iterdir()] == ["rows.npy"], "nothing else stays"


def test_processes_that_ask_at_once_make_each_part_once(tmp_path):
    processes = [started(tmp_path, 0.05) for _ in range(4)]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0] * 4
    assert made(tmp_path) == list(range(0, N, PART))


def test_the_part_of_one_that_dies_is_made_by_another(tmp_path):
    dying = started(tmp_path, 0.2, 0)
    while not (tmp_path / "made").exists():
        time.sleep(0.01)
    other = started(tmp_path, 0.01)
    dying.join(30)
    other.join(30)
    assert (dying.exitcode, other.exitcode) == (-signal.SIGKILL, 0)
    assert made(tmp_path) == [0, *range(0, N, PART)]


def test_what_is_there_is_not_made_again(tmp_path):
    ask(tmp_path, 0)
    before = (tmp_path / "home" / "train.npy").stat().st_mtime_ns
    ask(tmp_path, 0)
    assert made(tmp_path) == list(range(0, N, PART))
    assert (tmp_path / "home" / "train.npy").stat().st_mtime_ns == before


def test_a_damaged_file_says_what_to_do(tmp_path):
    (tmp_path / "rows.npy").write_bytes(b"nothing")
    with pytest.raises(DatasetError, match=r"rows\.npy: cannot be used .* delete .* and start the same command again"):
        shared_rows(tmp_path / "rows.npy", N, rows, part=PART)


@pytest.mark.parametrize("other", [np.zeros((10, 1), np.uint8), np.zeros((10, 2), np.float32)])
def test_rows_of_several_kinds_are_refused(tmp_path, other):
    def make(first: int, last: int) -> np.ndarray:
        return rows(first, last) if first == 0 else other[: last - first]

    with pytest.raises(DatasetError, match=r"some images are float32 \(1,\), others .*; prepare all of them alike"):
        shared_rows(tmp_path / "rows.npy", 20, make, part=10)
    assert not (tmp_path / "rows.npy").exists()


def test_a_place_that_cannot_be_used_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DatasetError, match=r"rows\.npy: cannot be written \(Not a directory\); free some space"):
        shared_rows(tmp_path / "file" / "rows.npy", N, rows, part=PART)
