"""What the commands that look at runs print for other programs: one JSON object with the numbers of the tables.

Names and meanings stay within a schema version; names may be added. What is not known or not finite is null.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from results.audit import epochs_spent
from results.log.records import ENDED, Status
from results.log.state import RunState, TrialState
from results.tables.compare import Comparison
from results.tables.nodes import NodeUse, node_uses
from results.tables.status import RunStatus, advantage, leader, lost_attempts, next_steps
from results.tables.table import Table
from results.tables.ties import objective_interval, validation_images
from results.text import printable

JSON_VERSION = 1


def leaderboard_json(run: Path, state: RunState, table: Table, *, in_all: int) -> str:
    """Return rows of a leaderboard, named as the columns of its CSV; `in_all` counts those of the whole."""
    study = _study(state)
    return _object(
        "leaderboard",
        run=str(run),
        warnings=state.doubts,
        study=study,
        ranked_by=state.study.study.objective,
        validation_images=validation_images(state),
        in_all=in_all,
        **_rows(table),
    )


def comparison_json(runs: Sequence[Path], comparison: Comparison, table: Table) -> str:
    """Return rows of a comparison, named as the columns of its CSV, and what speaks against comparing."""
    return _object(
        "comparison",
        runs=[str(run) for run in runs],
        warnings=list(comparison.warnings),
        parameters=list(comparison.parameters),
        in_all=len(comparison.table.rows),
        **_rows(table),
    )


def status_json(status: RunStatus) -> str:
    """Return how a run stands; times are UTC in ISO 8601, `spent_s` is that of its drivers in seconds."""
    state = status.state
    difference, spent = advantage(state), epochs_spent(state)
    baseline = next((t for t in state.search_trials() if t.started.is_baseline), None)
    return _object(
        "status",
        run=str(status.run),
        warnings=state.doubts,
        study=_study(state) or status.run.name,
        ranked_by=state.study.study.objective,
        is_running=status.is_running,
        is_finished=status.is_finished,
        ended=state.ended.reason if state.ended else None,
        driver_since=state.driver_since.isoformat() if state.driver_since else None,
        last_event=state.last_event.isoformat() if state.last_event else None,
        spent_s=round(state.spent_s, 3),
        trials={"wanted": state.study.study.trials if state.started else None, **_counts(state.search_trials())},
        finals=_counts(state.final_trials()),
        best=_reached(leader(state), state),
        baseline=_reached(baseline, state),
        best_minus_baseline=None
        if difference is None
        else {"difference": difference.difference, "low": difference.low, "high": difference.high},
        epochs={
            "done": sum(len(t.epochs) for t in state.trials.values()),
            "of_ended_trials": spent.spent,
            "of_ended_trials_without_stopping": spent.without_stopping,
        },
        nodes=[_node(use) for use in node_uses(state)],
        open_trials=[_open(t) for t in (*state.search_trials(), *state.final_trials()) if t.ended is None],
        lost_attempts=[
            {"trial": e.trial, "repeat": e.repeat, "attempt": e.attempt, "why": e.why, "cause": e.cause, "time": e.time}
            for e in lost_attempts(state)
        ],
        next=list(next_steps(status)),
    )


def _object(kind: str, **values: Any) -> str:
    object_ = {"schema_version": JSON_VERSION, "kind": kind} | values
    try:
        return msgspec.json.encode(object_, enc_hook=_plain).decode()  # NaN is null
    except UnicodeEncodeError:  # a path that is no text
        return msgspec.json.encode(_written_out(object_), enc_hook=_plain).decode()


def _plain(number: Any) -> Any:
    """Return a number of NumPy as Python's."""
    return number.item()


def _written_out(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {_written_out(key): _written_out(inner) for key, inner in value.items()}
    return [_written_out(inner) for inner in value] if isinstance(value, list | tuple) else value


def _rows(table: Table) -> dict[str, Any]:
    return {
        "columns": list(table.types),
        "rows": [{name: row.get(name) for name in table.types} for row in table.rows],
    }


def _counts(trials: Sequence[TrialState]) -> dict[str, int]:
    counts = Counter(t.status for t in trials)
    return {"started": len(trials), **{name: counts[name] for name in ENDED}, "open": counts[Status.RUNNING]}


def _reached(trial: TrialState | None, state: RunState) -> dict[str, Any] | None:
    if trial is None or trial.best is None:
        return None
    low, high = objective_interval(trial, validation_images(state)) or (None, None)
    return {
        "trial": trial.started.trial,
        "status": trial.status,
        "objective": trial.value,
        "objective_low": low,
        "objective_high": high,
        "best_epoch": trial.best.epoch,
    }


def _node(use: NodeUse) -> dict[str, Any]:
    return {
        "node": use.node,
        "has_trials": use.checked.admitted if use.checked else None,
        "reason": use.checked.reason if use.checked else "",
        "trials": use.trials,
        "epochs": use.epochs,
        "images_per_s": use.images_per_s,
        "is_slow": use.is_slow,
    }


def _open(trial: TrialState) -> dict[str, Any]:
    attempt, last = trial.open_attempt(), trial.last
    entered = None if attempt is None else trial.running.get(attempt)
    return {
        "trial": trial.started.trial,
        "repeat": trial.started.repeat,
        "epoch": last.epoch if last else 0,
        "max_epochs": trial.started.max_epochs,
        "objective": trial.value if trial.best else None,
        "validation_accuracy": last.validation_accuracy if last else None,
        "images_per_s": last.images_per_s if last else None,
        "resident_mb": last.resident_mb if last else None,
        "attempt": attempt,
        "node": entered.node if entered else None,
        "waits": trial.waiting[attempt].why if attempt in trial.waiting and not entered else None,
    }


def _study(state: RunState) -> str | None:
    return state.study.study.name if state.started else None
