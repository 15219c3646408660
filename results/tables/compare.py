"""Several runs in one table: their completed trials ranked together, and what speaks against comparing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from results.commands import command
from results.errors import TableError
from results.log.state import RunState, TrialState, load_run
from results.tables.leaderboard import BEFORE, column, describe_trial, parameter_types, rank_trials, rows_text
from results.tables.table import Cell, Table
from results.tables.ties import validation_images

# As the leaderboard, but for ties, which are those of one run.
_BEFORE = {"rank": "int", "run": "text"} | {name: kind for name, kind in BEFORE.items() if name != "tied"}
# A value means the same where these agree; another range, scale or other choices do not change what it means.
_MEANING = ("type", "when")


@dataclass(frozen=True)
class Comparison:
    """The ranked trials of all runs; `parameters` are those searched in any of them, `warnings` one line each.

    `runs` are their names in the order of the folders.
    """

    runs: tuple[str, ...]
    table: Table
    parameters: tuple[str, ...]
    warnings: tuple[str, ...]


def compare_runs(folders: Sequence[Path]) -> Comparison:
    """Rank the completed trials of several runs together, equals in the order of the runs.

    A parameter that a run did not search has the value that its trials were given, where they were given one and it
    has a meaning there.

    Raises:
        TableError: Fewer than two runs, or one of them twice.
        RecordError: No run, a damaged log, or one of another schema version.
    """
    if len(folders) < 2:
        raise TableError(
            f"{len(folders)} run: at least two are expected; see one with `{command('leaderboard', *folders)}`"
        )
    _refuse_twice(folders)
    runs = dict(zip(_names(folders), (load_run(folder) for folder in folders), strict=True))
    types: dict[str, str] = {}
    conditions: dict[str, Mapping[str, Any]] = {}
    for state in runs.values():
        for name, kind in parameter_types(state).items():
            types[name] = kind if types.get(name, kind) == kind else "any"
            conditions.setdefault(name, state.space["parameters"][name].get("when") or {})
    trials = [(run, state, trial) for run, state in runs.items() for trial in rank_trials(state)[0]]
    trials.sort(key=lambda entry: -entry[2].merit)
    rows = tuple(
        {
            "rank": rank,
            "run": run,
            **describe_trial(trial, validation_images(state)),
            **{column(name): _value(trial, state, name, conditions[name]) for name in types},
        }
        for rank, (run, state, trial) in enumerate(trials, start=1)
    )
    table = Table(_BEFORE | {column(name): kind for name, kind in types.items()}, rows)
    return Comparison(tuple(runs), table, tuple(types), tuple(_warnings(runs)))


def comparison_text(comparison: Comparison, table: Table | None = None) -> str:
    """Return the table, or the rows selected from it, for a terminal."""
    rows = (table or comparison.table).rows
    heads = ("rank", "run", "trial", "status", "objective", "95 % interval", "best/epochs")
    lines = rows_text(rows, heads, comparison.parameters)
    hidden = len(comparison.table.rows) - len(rows)
    return "\n".join([*lines, f"({hidden} more completed trials)"] if hidden else lines)


def _refuse_twice(folders: Sequence[Path]) -> None:
    for a, b in combinations(folders, 2):
        if a.resolve() == b.resolve():
            raise TableError(f"{a} and {b} are the same run; give each run once")


def _names(folders: Sequence[Path]) -> list[str]:
    """Name runs by their folders, by whole paths where two folders are called the same."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _value(trial: TrialState, state: RunState, name: str, when: Mapping[str, Any]) -> Cell:
    if name in state.space.get("parameters", {}):
        return trial.parameters.get(name)  # without a meaning in this trial where it is missing
    given = trial.started.configuration
    has_meaning = all(given.get(other) in values for other, values in when.items())
    return given.get(name) if has_meaning else None


def _warnings(runs: Mapping[str, RunState]) -> list[str]:
    warnings = [f"{run}: {doubt}" for run, state in runs.items() for doubt in state.doubts]
    digests = {run: state.started.data_digest if state.started else None for run, state in runs.items()}
    unknown = [run for run, digest in digests.items() if digest is None]
    if unknown:
        warnings.append(f"no data digest in {', '.join(unknown)}: whether the data are the same cannot be checked")
    known = {run: digest for run, digest in digests.items() if digest is not None}
    if len(set(known.values())) > 1:
        digests_text = _spelt({run: digest[:12] for run, digest in known.items()})
        warnings.append(f"different data, objectives are not comparable: digests {digests_text}")
    objectives = {run: state.study.objective.identity for run, state in runs.items()}
    if len(set(objectives.values())) > 1:
        warnings.append(f"ranked by different objectives, which are not comparable: {_spelt(objectives)}")
    images = {run: n for run, state in runs.items() if (n := validation_images(state)) is not None}
    if len(set(images.values())) > 1:
        warnings.append(f"different numbers of validation images: {_spelt(images)}")
    return warnings + _other_meanings(runs)


def _other_meanings(runs: Mapping[str, RunState]) -> list[str]:
    """Name parameters that are of another type or have a meaning under another condition in another run."""
    specs: dict[str, dict[str, Mapping[str, Any]]] = {}
    for run, state in runs.items():
        for name, spec in state.space.get("parameters", {}).items():
            specs.setdefault(name, {})[run] = {key: spec.get(key) for key in _MEANING if spec.get(key)}
    return [
        f"{name} does not mean the same: {_spelt({run: _words(spec) for run, spec in by_run.items()})}"
        for name, by_run in specs.items()
        if any(spec != next(iter(by_run.values())) for spec in by_run.values())
    ]


def _words(spec: Mapping[str, Any]) -> str:
    when = [f"{name} in {values}" for name, values in (spec.get("when") or {}).items()]
    return f"{spec.get('type')}{' when ' if when else ''}{' and '.join(when)}"


def _spelt(values: Mapping[str, object]) -> str:
    return ", ".join(f"{run} {value}" for run, value in values.items())
