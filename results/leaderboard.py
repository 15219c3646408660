"""Tables derived from the event log: the leaderboard and the epochs, as frames, CSV files and terminal text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.records import COMPLETED, DIVERGED, FAILED, RUNNING, STOPPED
from results.state import RunState, TrialState
from results.store import write_atomically

if TYPE_CHECKING:
    import pandas as pd

_BELOW = (RUNNING, STOPPED, DIVERGED, FAILED)  # the order of what is not ranked
_COLUMN_TYPES = {
    "rank": "Int64",
    "trial": "int64",
    "status": "string",
    "baseline": "bool",
    "objective": "Float64",
    "best_epoch": "Int64",
    "epochs": "int64",
    "model_parameters": "Int64",
    "seconds": "float64",
    "images_per_s": "Float64",
    "seed": "int64",
    "node": "string",
    "reason": "string",
}
_PARAMETER_TYPES = {"float": "Float64", "int": "Int64", "categorical": None}


def rank_trials(state: RunState) -> tuple[list[TrialState], list[TrialState]]:
    """Return (ranked, others): completed trials by falling objective, equals by trial number; then the rest.

    The objective is the validation accuracy at the epoch whose weights are kept.
    """
    trials = state.search_trials()
    ranked = sorted(
        (t for t in trials if t.status == COMPLETED and t.best is not None),
        key=lambda t: (-_objective(t), t.started.trial),
    )
    others = sorted(
        (t for t in trials if t not in ranked),
        key=lambda t: (_BELOW.index(t.status) if t.status in _BELOW else len(_BELOW), -_objective(t), t.started.trial),
    )
    return ranked, others


def finalists(state: RunState) -> dict[str, TrialState]:
    """Return the trials to retrain and evaluate by role: the winner and, where it is another trial, the baseline."""
    ranked, _ = rank_trials(state)
    roles = {"winner": ranked[0]} if ranked else {}
    baseline = next((t for t in ranked[1:] if t.started.is_baseline), None)
    return roles if baseline is None else roles | {"baseline": baseline}


def leaderboard_frame(state: RunState) -> pd.DataFrame:
    """Return the leaderboard: ranked trials first, then running, stopped, diverged and failed ones.

    Columns: rank (null where not ranked), trial, status, baseline, objective, best_epoch, epochs, one column for
    each parameter of the space, model_parameters, seconds (of the epochs that count), images_per_s (median over
    epochs), seed, node, reason.
    """
    import pandas as pd  # not at the top: reading a record must not cost the import of pandas

    ranked, others = rank_trials(state)
    parameters = _parameter_types(state)
    rows = [_row(t, rank, parameters) for rank, t in enumerate(ranked, start=1)]
    rows += [_row(t, None, parameters) for t in others]
    types = dict(_COLUMN_TYPES)
    columns = ["rank", "trial", "status", "baseline", "objective", "best_epoch", "epochs", *parameters]
    columns += [name for name in types if name not in columns]
    frame = pd.DataFrame(rows, columns=columns)
    types |= {name: kind for name, kind in parameters.items() if kind is not None}
    return frame.astype({name: types[name] for name in columns if name in types})


def epochs_frame(state: RunState) -> pd.DataFrame:
    """Return one row per epoch that counts, search trials first; `repeat` is null in the search."""
    import dataclasses

    import pandas as pd

    from results.records import Epoch

    names = [f.name for f in dataclasses.fields(Epoch)]
    order = ["trial", "repeat", "attempt", "epoch", *(n for n in names if n.startswith(("validation", "train")))]
    order += [n for n in names if n not in order]
    trials = state.search_trials() + state.final_trials()
    rows = [{n: getattr(t.epochs[e], n) for n in order} for t in trials for e in sorted(t.epochs)]
    return pd.DataFrame(rows, columns=order).astype({"repeat": "Int64", "model_parameters": "Int64"})


def write_tables(run: Path, state: RunState) -> Path:
    """Write `leaderboard.csv` and `epochs.csv` into the run folder, each atomically; return the leaderboard's path."""
    write_atomically(run / "epochs.csv", epochs_frame(state).to_csv(index=False))
    path = run / "leaderboard.csv"
    write_atomically(path, leaderboard_frame(state).to_csv(index=False))
    return path


def leaderboard_text(state: RunState, *, top: int = 20) -> str:
    """Return the leaderboard for a terminal or a report: the `top` ranked trials and all others, in columns."""
    ranked, others = rank_trials(state)
    parameters = list(_parameter_types(state))
    heads = ["rank", "trial", "objective", "best/epochs", "status", *(_short(p) for p in parameters), "note"]
    rows = [heads]
    for rank, trial in [*enumerate(ranked[:top], start=1), *((None, t) for t in others)]:
        values = trial.parameters
        objective = "" if trial.best is None else f"{trial.best.validation_accuracy:.4f}"
        best = "-" if trial.best is None else str(trial.best.epoch)
        note = "baseline" if trial.started.is_baseline else ""
        if trial.status in (DIVERGED, FAILED) and trial.ended:
            note = f"{note} {trial.ended.reason}".strip()
        rows.append(
            [
                "-" if rank is None else str(rank),
                str(trial.started.trial),
                objective,
                f"{best}/{len(trial.epochs)}",
                trial.status,
                *(_number(values.get(p)) for p in parameters),
                note[:60],
            ]
        )
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(ranked) > top:
        lines.append(f"({len(ranked) - top} more ranked trials in leaderboard.csv)")
    return "\n".join(lines)


def _row(trial: TrialState, rank: int | None, parameters: dict[str, str | None]) -> dict[str, Any]:
    speeds = sorted(e.images_per_s for e in trial.epochs.values() if e.images_per_s is not None)
    node = trial.running[max(trial.running)].node if trial.running else None
    last = trial.last
    return {
        "rank": rank,
        "trial": trial.started.trial,
        "status": trial.status,
        "baseline": trial.started.is_baseline,
        "objective": trial.best.validation_accuracy if trial.best else None,
        "best_epoch": trial.best.epoch if trial.best else None,
        "epochs": len(trial.epochs),
        **{name: trial.parameters.get(name) for name in parameters},
        "model_parameters": last.model_parameters if last else None,
        "seconds": round(trial.seconds, 3),
        "images_per_s": round(speeds[len(speeds) // 2], 1) if speeds else None,
        "seed": trial.started.seed,
        "node": node,
        "reason": trial.ended.reason if trial.ended else None,
    }


def _parameter_types(state: RunState) -> dict[str, str | None]:
    return {name: _PARAMETER_TYPES.get(spec["type"]) for name, spec in state.space.get("parameters", {}).items()}


def _objective(trial: TrialState) -> float:
    return trial.best.validation_accuracy if trial.best else float("-inf")


def _short(name: str) -> str:
    return name.rsplit(".", maxsplit=1)[-1]


def _number(value: object) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)
