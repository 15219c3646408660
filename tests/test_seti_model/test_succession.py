"""Frames in quick succession become one group: chained, per region, from a table of times."""

import os
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seti_model.data.succession import Frame, groups_in_time, read_frames, read_gap
from seti_model.errors import DatasetError

START = datetime(2011, 2, 12, tzinfo=UTC)


def frames_at(*hours, region=""):
    return [Frame(f"{region}{hour}.png", START + timedelta(hours=hour), region) for hour in hours]


def table(tmp_path, text):
    path = tmp_path / "times.csv"
    path.write_text(text)
    return path


def test_a_chain_of_neighbours_is_one_group():
    groups = groups_in_time(frames_at(0, 12, 5, 10, 30, 31), timedelta(hours=6))
    first, second = "2011-02-12T00:00:00+00:00", "2011-02-13T06:00:00+00:00"
    assert groups == (first, first, first, first, second, second), "12 is within 6 hours of 10, 10 of 5, 5 of 0"


def test_a_gap_of_exactly_the_length_joins_and_one_a_second_longer_does_not():
    assert len(set(groups_in_time(frames_at(0, 6), timedelta(hours=6)))) == 1
    assert len(set(groups_in_time(frames_at(0, 6), timedelta(hours=6, seconds=-1)))) == 2


def test_regions_are_groups_of_their_own():
    frames = frames_at(0, 1, region="11158") + frames_at(0.5, region="11160")
    assert groups_in_time(frames, timedelta(hours=6)) == (
        "11158 2011-02-12T00:00:00+00:00",
        "11158 2011-02-12T00:00:00+00:00",
        "11160 2011-02-12T00:30:00+00:00",
    )


@given(st.lists(st.integers(0, 200), min_size=1, max_size=40, unique=True), st.integers(1, 20))
def test_frames_within_the_gap_are_never_apart_whatever_their_order(hours, gap):
    frames = frames_at(*hours)
    random.Random(1).shuffle(frames)
    of = dict(zip(frames, groups_in_time(frames, timedelta(hours=gap)), strict=True))
    times = sorted(frames, key=lambda frame: frame.time)
    for before, after in pairwise(times):
        assert (of[before] == of[after]) == (after.time - before.time <= timedelta(hours=gap))


def test_a_table_is_read_with_its_zones_and_regions(tmp_path):
    path = table(
        tmp_path,
        "file,time,region,note\na.png,2011-02-15T01:44:00,11158,x\nb.png,2011-02-15T02:44:00+01:00,,\nc.png,2011-02-15,,\n",
    )
    frames = read_frames(path)
    assert [frame.file for frame in frames] == ["a.png", "b.png", "c.png"]
    assert frames[0].time == frames[1].time == datetime(2011, 2, 15, 1, 44, tzinfo=UTC)
    assert [frame.region for frame in frames] == ["11158", "", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,when\na,2011-01-01\n", r": 0 columns 'time' in its header, expected one; begin the file with file,time"),
        ("file,time\n", ": no rows below its header; add some"),
        ("file,time\n,2011-01-01\n", ", line 2: no file; fill it in"),
        ("file,time\na,noon\n", r", line 2: 'noon' is no time; write ISO 8601, for example 2011-02-15T01:44:00"),
        ("file,time\na,0001-01-01T00:00:00+23:00\n", r", line 2: '0001-01-01T00:00:00\+23:00' is no time"),
        ("file,time\na,2011-01-01\na,2011-01-02\n", ", line 3: 'a' is there twice; leave one row of it"),
        ("file,time\n" + "a" * 200_000 + ",2011-01-01\n", r", line 2: field larger than .*; save it as a CSV file"),
    ],
)
def test_an_unusable_table_is_refused_with_its_row(tmp_path, text, message):
    with pytest.raises(DatasetError, match=rf"times\.csv{message}"):
        read_frames(table(tmp_path, text))


def test_a_pipe_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DatasetError, match="is a device, a pipe or a socket, a file is expected"):
        read_frames(tmp_path / "pipe")


@pytest.mark.parametrize(("text", "hours"), [("6h", 6), ("90min", 1.5), ("90m", 1.5), ("1800s", 0.5), ("1.5d", 36)])
def test_lengths_of_time_are_read(text, hours):
    assert read_gap(text) == timedelta(hours=hours)


@pytest.mark.parametrize("text", ["6", "h", "0h", "-1h", "1e9h", "99999999999h", "6 weeks", ""])
def test_what_is_no_length_of_time_is_refused(text):
    with pytest.raises(DatasetError, match=r"--within .*: expected a length of time such as 90s, 30min, 6h or 2d"):
        read_gap(text)
