"""What other programs read: one JSON object, with the numbers of the tables and the status."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import pytest

from results.log.recorder import EventLog
from results.log.records import AttemptEnded, AttemptStarted, StudyEnded
from results.log.state import load_run
from results.tables.compare import compare_runs
from results.tables.json_output import comparison_json, leaderboard_json, status_json
from results.tables.leaderboard import leaderboard_table
from results.tables.status import run_status
from results.tables.table import Table, select


@pytest.fixture
def run(hand: Any, tmp_path: Path) -> Path:
    """Baseline and trial 1 completed, 2 diverged, 3 lost an attempt and is open."""
    folder = tmp_path / "run"
    with EventLog(folder) as log:
        log.append(hand.study(validation_images=100, trials=6))
        log.append(*hand.trial(0, [0.5, 0.6, 0.6], reason="all epochs done", right=[True] * 60 + [False] * 40))
        log.append(*hand.trial(1, [0.5, 0.7, 0.8], reason="all epochs done", right=[True] * 80 + [False] * 20))
        log.append(*hand.trial(2, [0.4, math.nan], "diverged", reason="validation accuracy is nan"))
        log.append(*hand.trial(3, [0.55], None))
        log.append(AttemptEnded(trial=3, attempt=0, why="no memory", cause="memory"))
        log.append(AttemptStarted(trial=3, attempt=1, from_epoch=1))
    return folder


def strict(text: str) -> Any:
    """Read JSON as other programs do: without NaN."""
    assert "\n" not in text
    return json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))


def as_csv(table: Table) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(table.frame().to_csv(index=False))))


def cell(text: str) -> object:
    """A cell of the CSV as JSON should have it."""
    if text in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[text]
    try:
        return float(text)
    except ValueError:
        return text


@pytest.mark.parametrize("options", [{}, {"sort": "learning_rate:desc", "top": 2}, {"where": ["status = completed"]}])
def test_the_rows_of_a_leaderboard_are_those_of_its_csv(run: Path, options: dict[str, Any]) -> None:
    state = load_run(run)
    table = leaderboard_table(state)
    shown = select(table, **options)
    found = strict(leaderboard_json(run, state, shown, in_all=len(table.rows)))
    assert [{k: cell(v) for k, v in row.items()} for row in as_csv(shown)] == found["rows"]
    assert found["columns"] == list(found["rows"][0])
    assert (found["schema_version"], found["kind"], found["in_all"], found["study"]) == (1, "leaderboard", 4, "hand")


def test_the_rows_of_a_comparison_are_those_of_its_csv(run: Path, hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path / "other") as log:
        log.append(hand.study(validation_images=50), *hand.trial(0, [0.7]))
    comparison = compare_runs([run, tmp_path / "other"])
    shown = select(comparison.table, top=2)
    found = strict(comparison_json([run, tmp_path / "other"], comparison, shown))
    assert [{k: cell(v) for k, v in row.items()} for row in as_csv(shown)] == found["rows"]
    assert (found["kind"], found["in_all"], found["runs"]) == ("comparison", 3, [str(run), str(tmp_path / "other")])
    assert found["warnings"] == ["different numbers of validation images: run 100, other 50"]


def test_a_value_that_is_not_finite_is_null() -> None:
    table = Table({"a": "float", "b": "float"}, ({"a": math.nan, "b": -math.inf},))
    assert strict(comparison_json([], _comparison(table), table))["rows"] == [{"a": None, "b": None}]


def _comparison(table: Table) -> Any:
    from results.tables.compare import Comparison

    return Comparison(("a",), table, (), ())


def test_the_status_says_what_the_text_says(run: Path) -> None:
    found = strict(status_json(run_status(run)))
    assert (found["schema_version"], found["kind"], found["run"]) == (1, "status", str(run))
    assert (found["is_running"], found["is_finished"], found["ended"]) == (False, False, None)
    counts = {"started": 4, "completed": 2, "stopped": 0, "diverged": 1, "failed": 0, "outside": 0, "open": 1}
    assert found["trials"] == {"wanted": 6} | counts
    assert found["finals"] == dict.fromkeys(counts, 0)
    assert found["best"] == {
        "trial": 1,
        "status": "completed",
        "objective": 0.8,
        "objective_low": pytest.approx(0.7111708),
        "objective_high": pytest.approx(0.8666331),
        "best_epoch": 3,
    }
    assert found["baseline"]["objective"] == 0.6
    assert found["best_minus_baseline"] == {
        "difference": pytest.approx(0.2),
        "low": pytest.approx(0.118, abs=5e-4),
        "high": pytest.approx(0.280, abs=5e-4),
    }
    assert found["epochs"] == {"done": 9, "of_ended_trials": 8, "of_ended_trials_without_stopping": 8}
    assert [(t["trial"], t["epoch"], t["max_epochs"], t["attempt"]) for t in found["open_trials"]] == [(3, 1, 3, 1)]
    assert [(a["trial"], a["attempt"], a["cause"]) for a in found["lost_attempts"]] == [(3, 0, "memory")]
    assert found["next"] == [f"seti-tune leaderboard {run}", f"seti-tune resume {run}"]


def test_the_status_of_an_ended_run_and_of_an_empty_one(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path / "done") as log:
        log.append(hand.study(), *hand.trial(0, [0.5]), StudyEnded(finished=True, reason="all trials ended"))
    done = strict(status_json(run_status(tmp_path / "done")))
    assert (done["is_finished"], done["ended"], done["best_minus_baseline"]) == (True, "all trials ended", None)
    assert done["best"]["objective_low"] is None
    with EventLog(tmp_path / "empty"):
        pass
    empty = strict(status_json(run_status(tmp_path / "empty")))
    assert (empty["study"], empty["best"], empty["last_event"], empty["trials"]["wanted"]) == (
        "empty",
        None,
        None,
        None,
    )
