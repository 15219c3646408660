"""Tables derived from the event log: the leaderboard and the epochs, as tables, files and terminal text."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING

from results.files import replacing, write_atomically
from results.log.records import Epoch, Status
from results.log.state import RunState, TrialState
from results.run_folder import EPOCHS, LEADERBOARD
from results.stats.intervals import LEVEL_P
from results.tables.table import Cell, Row, Table, cell_text, columns_text, csv_text, short_name
from results.tables.ties import objective_interval, tie_test, ties, validation_images
from results.text import one_line

if TYPE_CHECKING:
    import pandas as pd

_BELOW = (  # the order of what is not ranked
    Status.RUNNING,
    Status.STOPPED,
    Status.DIVERGED,
    Status.FAILED,
    Status.OUTSIDE,
)
BEFORE = {  # the parameters of the space
    "rank": "int",
    "trial": "int",
    "status": "text",
    "baseline": "bool",
    "objective": "float",
    "objective_low": "float",
    "objective_high": "float",
    "tied": "bool",
    "best_epoch": "int",
    "epochs": "int",
}
_AFTER = {
    "model_parameters": "int",
    "seconds": "float",
    "images_per_s": "float",
    "seed": "int",
    "node": "text",
    "reason": "text",
}
_EPOCH_TYPES = {  # by the annotation of a field
    "int": "int64",
    "int | None": "Int64",
    "float": "float64",
    "float | None": "float64",
    "str": "string",
    "str | None": "string",
}
_PARAMETER_TYPES = {"float": "float", "int": "int"}  # a categorical one may hold anything
_NOTE_WIDTH = 60
_TRIALS_AT_ONCE = 200  # whose epochs are a frame in memory while the table is written


def rank_trials(state: RunState) -> tuple[list[TrialState], list[TrialState]]:
    """Return (ranked, others): completed trials, the best objective first, equals by trial number; then the rest.

    The objective is that of the epoch whose weights are kept.
    """
    ranked = state.ranked()
    others = sorted(
        (t for t in state.search_trials() if t.status != Status.COMPLETED or t.best is None),
        key=lambda t: (_BELOW.index(t.status) if t.status in _BELOW else len(_BELOW), -t.merit, t.started.trial),
    )
    return ranked, others


def leaderboard_table(state: RunState) -> Table:
    """Return the leaderboard: ranked trials first, then running, stopped, diverged and failed ones.

    Columns: rank (null where not ranked), trial, status, baseline, objective with its 95 % interval, tied (whether
    the validation images do not tell it from rank 1), best_epoch, epochs, one column for each parameter of the space,
    model_parameters, seconds (of the epochs that count), images_per_s (median over epochs), seed, node, reason.

    Raises:
        RecordError: Stored flags that do not belong to the validation images.
    """
    ranked, others = rank_trials(state)
    n, types = validation_images(state), parameter_types(state)
    places: list[tuple[int | None, TrialState, bool | None]] = [
        (rank, trial, tied) for rank, (trial, tied) in enumerate(zip(ranked, ties(ranked, n), strict=True), start=1)
    ]
    places += [(None, trial, None) for trial in others]
    rows = [{"rank": rank, "tied": tied} | _row(trial, n, types) for rank, trial, tied in places]
    return Table(BEFORE | {column(name): kind for name, kind in types.items()} | _AFTER, tuple(rows))


def leaderboard_frame(state: RunState) -> pd.DataFrame:
    """Return `leaderboard_table` as a frame."""
    return leaderboard_table(state).frame()


def epochs_frame(state: RunState) -> pd.DataFrame:
    """Return one row per epoch that counts, search trials first.

    `repeat` is null in the search; a number that is not known or not finite is NaN.
    """
    return _epochs_frame(state.search_trials() + state.final_trials())


def _epochs_frame(trials: Sequence[TrialState]) -> pd.DataFrame:
    import pandas as pd

    packed = ("objective", "validation_correct", "validation_drawn")
    types = {f.name: _EPOCH_TYPES[str(f.type)] for f in dataclasses.fields(Epoch) if f.name not in packed}
    first = ("trial", "repeat", "attempt", "epoch", "value")
    types["value"] = "float64"
    order = [*first, *(n for n in types if n.startswith(("validation", "train")))]
    order += [n for n in types if n not in order]
    values = attrgetter(*order)
    rows = [values(epoch) for trial in trials for _, epoch in sorted(trial.epochs.items())]
    return pd.DataFrame(rows, columns=order, dtype="object").astype(types).rename(columns={"value": "objective"})


def write_tables(run: Path, state: RunState, leaderboard: Table | None = None) -> Path:
    """Write `leaderboard.csv` and `epochs.csv`; return the leaderboard's path.

    Each file is replaced atomically. `leaderboard` is that of the run, where it is already there.
    """
    trials = state.search_trials() + state.final_trials()
    with (
        replacing(run / EPOCHS) as temporary,
        temporary.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file,
    ):
        for start in range(0, len(trials) or 1, _TRIALS_AT_ONCE):
            part = _epochs_frame(trials[start : start + _TRIALS_AT_ONCE])
            file.write(csv_text(part, has_header=not start))
    path = run / LEADERBOARD
    write_atomically(path, csv_text((leaderboard or leaderboard_table(state)).frame()))
    return path


def leaderboard_text(state: RunState, table: Table, *, top: int | None = 20) -> str:
    """Return the leaderboard for a terminal or a report: ranked trials, below them the others and why they ended.

    Args:
        state: The run.
        table: Its `leaderboard_table`, or rows of it.
        top: How many ranked trials are shown; None for all.
    """
    ranked = [row for row in table.rows if row["rank"] is not None]
    others = [row for row in table.rows if row["rank"] is None]
    left = 0 if top is None else len(ranked) - top
    parameters = list(parameter_types(state))
    blocks = [_ranked_text(ranked[:top], parameters, state)] if ranked or not others else []
    if left > 0:
        blocks[0].append(f"({left} more ranked trials in leaderboard.csv)")
    if others:
        blocks.append(_others_text(others, parameters, state))
    if state.doubts:
        blocks.insert(0, [f"warning: {doubt}" for doubt in state.doubts])
    return "\n\n".join("\n".join(lines) for lines in blocks)


def rank_text(row: Row) -> str:
    """Return the rank of a trial, marked where the validation images show no difference from rank 1."""
    mark = " =" if row.get("tied") and row["rank"] != 1 else ""
    return "" if row["rank"] is None else f"{row['rank']}{mark}"


def tie_note(rows: Sequence[Row], state: RunState) -> str:
    """Return what the mark of `rank_text` means, nothing where no row has it."""
    if not any(rank_text(row).endswith("=") for row in rows):
        return ""
    n = validation_images(state)
    test = tie_test(state.study.objective)
    return f"= no significant difference from rank 1 on the same {n} validation images ({test}, p >= {LEVEL_P})"


def parameter_types(state: RunState) -> dict[str, str]:
    """Return the parameters of the present space and what a column of each holds."""
    return {name: _PARAMETER_TYPES.get(spec["type"], "any") for name, spec in state.space.get("parameters", {}).items()}


def column(parameter: str) -> str:
    """Return the column of a parameter: its name, unless a column of all tables is called so."""
    return f"parameters.{parameter}" if parameter in BEFORE or parameter in _AFTER else parameter


def interval_text(low: Cell, high: Cell) -> str:
    """Return an interval as a table shows it, nothing where there is none."""
    return "" if low is None or high is None else f"{low:.3f}..{high:.3f}"


def _note(row: Row) -> str:
    return "baseline" if row["baseline"] else ""


def rows_text(
    rows: Sequence[Row],
    heads: Sequence[str],
    parameters: Sequence[str],
    last: tuple[str, Callable[[Row], str]] = ("note", _note),
) -> list[str]:
    """Return rows of a leaderboard or a comparison as lines: columns as `heads` name them, the parameters, the last."""
    shown: Mapping[str, Callable[[Row], str]] = {
        "rank": rank_text,
        "objective": lambda row: "" if row["objective"] is None else f"{row['objective']:.4f}",
        "95 % interval": lambda row: interval_text(row["objective_low"], row["objective_high"]),
        "best/epochs": lambda row: f"{'-' if row['best_epoch'] is None else row['best_epoch']}/{row['epochs']}",
    }
    cells = [
        [
            *(shown[head](row) if head in shown else str(row[head]) for head in heads),
            *(cell_text(row[column(name)]) for name in parameters),
            last[1](row),
        ]
        for row in rows
    ]
    return columns_text([*heads, *map(short_name, parameters), last[0]], cells)


def describe_trial(trial: TrialState, n: int | None) -> dict[str, Cell]:
    """Return what all tables say of a trial before its parameters."""
    interval = objective_interval(trial, n)
    return {
        "trial": trial.started.trial,
        "status": trial.status,
        "baseline": trial.started.is_baseline,
        "objective": trial.value if trial.best else None,
        "objective_low": interval[0] if interval else None,
        "objective_high": interval[1] if interval else None,
        "best_epoch": trial.best.epoch if trial.best else None,
        "epochs": len(trial.epochs),
    }


def _row(trial: TrialState, n: int | None, parameters: Mapping[str, str]) -> dict[str, Cell]:
    speeds = sorted(e.images_per_s for e in trial.epochs.values() if e.images_per_s is not None)
    last = trial.last
    return {
        **describe_trial(trial, n),
        **{column(name): trial.parameters.get(name) for name in parameters},
        "model_parameters": last.model_parameters if last else None,
        "seconds": round(trial.seconds, 3),
        "images_per_s": round(speeds[len(speeds) // 2], 1) if speeds else None,
        "seed": trial.started.seed,
        "node": trial.running[max(trial.running)].node if trial.running else None,
        "reason": one_line(trial.ended.reason) if trial.ended else None,  # a trial is one line
    }


def _ranked_text(rows: list[Row], parameters: list[str], state: RunState) -> list[str]:
    note, objective = tie_note(rows, state), state.study.objective
    which = "lowest" if objective.is_minimised else "highest"
    asked_for = [] if objective.is_accuracy else [f"objective: {objective.words}, the {which} first"]
    heads = ("rank", "trial", "objective", "95 % interval", "best/epochs")
    return [*rows_text(rows, heads, parameters), *asked_for, *([note] if note else [])]


def _others_text(rows: list[Row], parameters: list[str], state: RunState) -> list[str]:
    why = {row["trial"]: _where_and_why(state.trials[int(row["trial"] or 0), None])[:_NOTE_WIDTH] for row in rows}
    heads = ("trial", "status", "objective", "best/epochs")
    lines = rows_text(rows, heads, parameters, ("where and why", lambda row: why[row["trial"]]))
    counts = Counter(str(row["status"]) for row in rows)
    return [f"Not ranked: {', '.join(f'{n} {status}' for status, n in counts.items())}", *lines]


def _where_and_why(trial: TrialState) -> str:
    """Say at which epoch and why a trial ended, or where it is."""
    words = "baseline, " if trial.started.is_baseline else ""
    if trial.ended is None:
        node = trial.running[max(trial.running)].node if trial.running else "starting"
        return f"{words}attempt {max(trial.attempts, default=0)}, {node}"
    if trial.status == Status.STOPPED and (rung := trial.rungs.get(trial.ended.epochs)):
        worse = "above" if trial.objective.is_minimised else "below"
        return f"{words}epoch {rung.epoch}: {worse} {rung.cutoff:.6g} ({rung.seen} seen)"
    last = trial.last
    if last is None:
        place = "before epoch 1"
    elif math.isfinite(last.value):
        place = f"after epoch {last.epoch}"
    else:
        place = f"epoch {last.epoch}"
    return f"{words}{place}: {one_line(trial.ended.reason)}"
