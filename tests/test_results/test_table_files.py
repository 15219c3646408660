"""The tables on disk as other programs read them: a spreadsheet, Python's csv module, pandas from CSV and Parquet."""

import csv
import math
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.files import write_atomically
from results.log.recorder import EventLog
from results.log.records import Epoch
from results.log.state import RunState, load_run
from results.tables.leaderboard import epochs_frame, leaderboard_frame, write_tables

SPACE = {
    "parameters": {
        "filters": {"type": "int"},
        "rate": {"type": "float"},
        "kernel": {"type": "categorical"},
        "flip": {"type": "categorical"},
        "pool": {"type": "categorical"},
    }
}


@pytest.fixture
def folder(hand: Any, tmp_path: Path) -> Path:
    """The parameters of trial 2 are inactive, trial 3 ended before its first epoch with words of several lines."""
    values = {"filters": 8, "rate": 1e-05, "kernel": 3, "flip": True, "pool": "máx, 2x2"}
    events = [hand.study(space=SPACE, validation_images=40)]
    events += hand.trial(0, [0.5, 0.75], parameters=values)
    events += hand.trial(1, [0.5, math.nan], "diverged", parameters=values | {"rate": 1.0}, reason="loss is nan")
    events += hand.trial(2, [0.25], "stopped", parameters={}, reason="ASHA")
    events += hand.trial(3, [], "failed", parameters=values, reason='ValueError: "ä";\n\tno, never')
    events.append(Epoch(trial=0, attempt=0, epoch=3, validation_accuracy=0.5, model_parameters=12, learning_rate=1e-9))
    with EventLog(tmp_path) as log:
        log.append(*events)
    write_tables(tmp_path, load_run(tmp_path))
    return tmp_path


def as_a_spreadsheet(cell: str) -> str:
    """What a cell of an unquoted CSV field becomes in LibreOffice and Excel: empty, integer, number, flag or text."""
    if cell == "":
        return "empty"
    if re.fullmatch(r"[+-]?\d{1,15}", cell):
        return "integer"
    if re.fullmatch(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", cell, flags=re.IGNORECASE):
        return "number"
    return "flag" if cell.upper() in ("TRUE", "FALSE") else "text"


def test_each_column_of_the_leaderboard_has_one_type_in_a_spreadsheet(folder: Path) -> None:
    with (folder / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        assert csv.Sniffer().sniff(file.readline()).delimiter == ","
        file.seek(0)
        rows = list(csv.DictReader(file))
    kinds = {name: {as_a_spreadsheet(row[name]) for row in rows} - {"empty"} for name in rows[0]}
    for names, kind in (
        (("rank", "trial", "best_epoch", "epochs", "seed", "filters", "kernel"), {"integer"}),
        (("objective", "objective_low", "objective_high", "rate", "seconds"), {"number"}),
        (("baseline", "tied", "flip"), {"flag"}),
        (("status", "node", "reason", "pool"), {"text"}),
    ):
        assert {name: kinds[name] for name in names if kinds[name] - kind} == {}
    assert [row["kernel"] for row in rows if row["trial"] == "2"] == [""]


def test_a_trial_is_one_line_of_the_leaderboard_whatever_its_error_said(folder: Path) -> None:
    lines = (folder / "leaderboard.csv").read_bytes().decode("utf-8").splitlines()
    assert len(lines) == 5
    assert lines[-1].endswith('"ValueError: ""ä""; no, never"')
    assert not lines[0].startswith("\ufeff")


def test_pandas_reads_back_what_was_written(folder: Path) -> None:
    read = pd.read_csv(folder / "leaderboard.csv").set_index("trial")
    assert read.loc[[0, 1], "rate"].tolist() == [1e-05, 1.0]
    assert read.loc[0, "pool"] == "máx, 2x2"
    whole = pd.read_csv(folder / "leaderboard.csv", dtype={"kernel": "Int64", "rank": "Int64", "tied": "boolean"})
    assert whole.set_index("trial").loc[[0, 1], "kernel"].tolist() == [3, 3]


def test_epochs_have_typed_columns_and_are_the_same_in_the_csv(folder: Path) -> None:
    frame = epochs_frame(load_run(folder))
    assert frame.to_csv(index=False) == (folder / "epochs.csv").read_text(encoding="utf-8")
    assert not (folder / "epochs.parquet").exists()
    types = {name: str(kind).lower() for name, kind in frame.dtypes.items()}
    integers = {"trial", "repeat", "attempt", "epoch", "model_parameters"}
    words = {"time", "weights_digest", "best_weights_digest"}
    assert {n for n, t in types.items() if t == "int64"} == integers
    assert {n for n, t in types.items() if "string" in t} == words
    assert {t for n, t in types.items() if n not in integers | words} == {"float64"}
    assert frame.loc[(frame["trial"] == 1) & (frame["epoch"] == 2), "validation_accuracy"].isna().all()


def test_epochs_of_many_trials_are_written_in_parts_and_are_the_same(hand: Any, tmp_path: Path) -> None:
    events = [hand.study()]
    for number in range(450):
        events += hand.trial(number, [0.5, math.nan] if number % 3 else [0.25])
    state = RunState(events)
    write_tables(tmp_path, state)
    assert (tmp_path / "epochs.csv").read_text(encoding="utf-8") == epochs_frame(state).to_csv(index=False)


def test_a_run_without_epochs_has_the_same_columns_and_types(hand: Any) -> None:
    empty, some = epochs_frame(RunState([hand.study()])), epochs_frame(RunState([hand.study(), *hand.trial(0, [0.5])]))
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == some.dtypes.to_dict()


@given(
    choices=st.sampled_from([(16, 32), (0.5, 2.0), (True, False), ("a", "1")]),
    active=st.lists(st.booleans(), min_size=1, max_size=6),
)
def test_a_choice_stands_in_the_table_as_in_the_space_whatever_other_trials_lack(
    hand: Any, choices: tuple[Any, Any], active: list[bool]
) -> None:
    events = [hand.study(space={"parameters": {"choice": {"type": "categorical"}}})]
    for number, is_active in enumerate(active):
        events += hand.trial(number, [0.5], parameters={"choice": choices[number % 2]} if is_active else {})
    rows = csv.DictReader(leaderboard_frame(RunState(events)).to_csv(index=False).splitlines())
    expected = [str(choices[n % 2]) if is_active else "" for n, is_active in enumerate(active)]
    assert [row["choice"] for row in rows] == expected


def test_bytes_are_written_as_they_are(tmp_path: Path) -> None:
    write_atomically(tmp_path / "x", b"\x00\xff\r\n")
    assert (tmp_path / "x").read_bytes() == b"\x00\xff\r\n"
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
