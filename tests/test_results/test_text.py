"""Anybody's text on a terminal and in a CSV: nothing of it acts."""

import pandas as pd
import pytest

from results.tables.table import columns_text, csv_text
from results.text import csv_cell, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ünicode", "plain ünicode"),
        ("\x1b[2Jgone", r"\x1b[2Jgone"),
        ("two\nlines\r", r"two\nlines\r"),
        ("\x9b31m", r"\x9b31m"),
        ("right\u202eleft", r"right\u202eleft"),
        ("half \ud800", r"half \ud800"),
    ],
)
def test_what_acts_on_a_terminal_is_written_out(text: str, shown: str) -> None:
    assert printable(text) == shown
    assert one_line(text).isprintable()
    assert columns_text(["head"], [[text]])[-1] == shown


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-cmd|x", "@SUM(A1)", "\t=1", "\r=1"])
def test_what_a_spreadsheet_would_run_has_an_apostrophe(text: str) -> None:
    assert csv_cell(text) == f"'{text}"


@pytest.mark.parametrize("value", ["-0.5", "+3", "-1e-4", "a=b", "", 3, None, True, -2.5])
def test_numbers_and_plain_words_stay_as_they_are(value: object) -> None:
    assert csv_cell(value) == value


def test_a_frame_as_csv_keeps_its_numbers_and_disarms_its_texts() -> None:
    frame = pd.DataFrame({"=name": pd.array(["@x", None, "plain"], "string"), "n": pd.array([-1, None, 3], "Int64")})
    assert csv_text(frame) == "'=name,n\n'@x,-1\n,\nplain,3\n"
