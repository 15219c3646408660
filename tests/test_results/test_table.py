"""Conditions and orders that a user types select exactly the rows that they say."""

import operator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import TableError
from results.tables.table import Table, columns_text, find_column, select

TYPES = {
    "trial": "int",
    "status": "text",
    "baseline": "bool",
    "objective": "float",
    "network.rate": "float",
    "training.rate": "float",
    "network.units": "any",
    "network.pooling": "any",
}


def table(*rows: dict[str, Any]) -> Table:
    return Table(TYPES, tuple(dict.fromkeys(TYPES) | {"trial": n} | row for n, row in enumerate(rows)))


def trials(chosen: Table) -> list[Any]:
    return [row["trial"] for row in chosen.rows]


SMALL = table(
    {"status": "completed", "baseline": True, "objective": 0.75, "network.units": 64, "network.pooling": "max"},
    {"status": "stopped", "baseline": False, "objective": 0.5, "network.units": 128, "network.pooling": "mean"},
    {"status": "failed", "baseline": False},
    {"status": "completed", "baseline": False, "objective": 0.75, "network.units": 256, "network.pooling": "max"},
)


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["status = completed"], [0, 3]),
        (["status!='completed'"], [1, 2]),
        (["baseline = True", "objective >= 0.75"], [0]),
        (["objective<=0.5"], [1]),
        (["units > 64"], [1, 3]),
        (["pooling = max", "units != 64"], [3]),
        (["network.units = 1e9"], []),
        (["trial >= 1", "trial < 3"], [1, 2]),
    ],
)
def test_conditions_hold_together(where: list[str], expected: list[int]) -> None:
    assert trials(select(SMALL, where=where)) == expected


numbers = st.none() | st.integers(-5, 5).map(float) | st.floats(-5, 5)
OPERATORS = {
    "=": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge,
}  # fmt: skip


@given(values=st.lists(numbers, max_size=8), word=st.sampled_from(sorted(OPERATORS)), limit=st.integers(-5, 5))
def test_a_condition_keeps_the_rows_that_python_would(values: list[float | None], word: str, limit: int) -> None:
    chosen = select(table(*({"objective": value} for value in values)), where=[f"objective {word} {limit}"])
    assert trials(chosen) == [n for n, v in enumerate(values) if v is not None and OPERATORS[word](v, limit)]


@given(values=st.lists(numbers, max_size=8), word=st.sampled_from(sorted(OPERATORS)), limit=st.floats(-5, 5))
def test_a_condition_and_its_opposite_share_no_row_and_miss_only_those_without_a_value(
    values: list[float | None], word: str, limit: float
) -> None:
    opposite = {"=": "!=", "!=": "=", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}[word]
    whole = table(*({"objective": value} for value in values))
    kept, rest = (trials(select(whole, where=[f"objective {w} {limit!r}"])) for w in (word, opposite))
    assert sorted(kept + rest) == [n for n, v in enumerate(values) if v is not None]


@given(values=st.lists(numbers, max_size=8), falling=st.booleans(), top=st.integers(1, 9))
def test_sorting_is_stable_and_puts_rows_without_a_value_last(
    values: list[float | None], falling: bool, top: int
) -> None:
    whole = table(*({"network.rate": value} for value in values))
    chosen = trials(select(whole, sort=f"network.rate:{'desc' if falling else 'asc'}", top=top))
    known = [n for n, v in enumerate(values) if v is not None]
    known.sort(key=lambda n: (-1 if falling else 1) * (values[n] or 0.0))
    assert chosen == (known + [n for n, v in enumerate(values) if v is None])[:top]


def test_the_objective_is_sorted_with_the_best_first_unless_told_otherwise() -> None:
    assert trials(select(SMALL, sort="objective")) == [0, 3, 1, 2]
    assert trials(select(SMALL, sort="objective:asc")) == [1, 0, 3, 2]
    assert trials(select(SMALL, sort="units:desc", top=2)) == [3, 1]
    assert trials(select(SMALL, sort="pooling")) == [0, 3, 1, 2]


def test_a_short_name_is_the_end_of_one_column() -> None:
    assert find_column(SMALL, "units") == "network.units"
    assert find_column(SMALL, "network.units") == "network.units"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"where": ["rate > 1"]}, "'rate' is the end of network.rate, training.rate; write the whole name"),
        ({"where": ["unit > 1"]}, r"no column 'unit'; did you mean units\? There are trial, status"),
        ({"sort": "zzz"}, "no column 'zzz'; There are trial, status"),
        ({"where": ["objective"]}, r"--where 'objective': NAME OP VALUE is expected, OP one of != <= >= = < >"),
        ({"where": ["objective >"]}, "--where 'objective >': NAME OP VALUE is expected"),
        ({"where": ["objective > high"]}, "--where 'objective > high': objective holds number, found 'high'"),
        ({"where": ["objective > nan"]}, "objective holds number, found 'nan'"),
        ({"where": ["status > failed"]}, "status holds text, which is compared with = or != only"),
        ({"where": ["baseline = yes"]}, "baseline holds true or false, found 'yes'"),
        ({"sort": "trial:down"}, "--sort 'trial:down': COLUMN, COLUMN:asc or COLUMN:desc is expected"),
        ({"sort": "trial:"}, "--sort 'trial:': COLUMN, COLUMN:asc or COLUMN:desc is expected"),
        ({"top": 0}, "--top 0: at least 1 is expected"),
    ],
)
def test_what_cannot_be_selected_is_one_clear_line(asked: dict[str, Any], message: str) -> None:
    with pytest.raises(TableError, match=message):
        select(SMALL, **asked)


def test_wide_heads_are_broken_and_empty_columns_left_out() -> None:
    lines = columns_text(["trial", "learning_rate", "nothing", "x"], [["1", "0.25", "", "a"], ["2", "0.5", "", "b"]])
    assert lines == ["       learning_", "trial  rate       x", "1      0.25       a", "2      0.5        b"]
