"""Several runs on one page: what each found, their curves in one picture, and their trials ranked together."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from results.findings import Findings
from results.report import parts, plots
from results.report.sentences import answers, how_it_ended
from results.stats.intervals import Estimate
from results.tables.compare import Comparison, compare_runs
from results.tables.leaderboard import column
from results.tables.table import cell_text, short_name

_MOST_ROWS = 50


def report_of_several(runs: Mapping[str, Findings], comparison: Comparison) -> parts.Document:
    """Return what several runs found.

    Raises:
        RecordError: Stored predictions or flags of right images are damaged or missing.
    """
    result: list[parts.Part] = [_table(runs)]
    if comparison.warnings:
        result.append(parts.Points([f"Warning: {warning}." for warning in comparison.warnings]))
    ended = [f"{name}: {how_it_ended(found)}" for name, found in runs.items()]
    sections = (
        parts.Section("result", "What each run found", [*result, parts.Points(ended)]),
        parts.Section("curves", "Best so far", _curves(runs)),
        parts.Section("leaderboard", "All completed trials", [_ranked(comparison)]),
    )
    return parts.Document(", ".join(runs), tuple(section for section in sections if section.parts))


def read_several(folders: list[Path]) -> tuple[dict[str, Findings], Comparison]:
    """Read several runs, by their names, and compare them.

    Raises:
        TableError: Fewer than two, or one of them twice.
        RecordError: No run folder, or a damaged log.
    """
    comparison = compare_runs(folders)
    return dict(zip(comparison.runs, map(Findings.read, folders), strict=True)), comparison


def _table(runs: Mapping[str, Findings]) -> parts.Table:
    heads = ["run", "ranked by", "trials", "epochs", "best of the search", "winner", "mean of its retrainings"]
    heads += ["delivered model on test images", "minus the baseline's", "better?"]
    return parts.Table("The runs", heads, [[name, *_row(found)] for name, found in runs.items()])


def _row(found: Findings) -> list[parts.Cell]:
    state, winner, models = found.state, found.winner, found.models_differ
    spent = sum(len(trial.epochs) for trial in state.trials.values())
    best = found.ranked[0].value if found.ranked else math.nan
    nothing = Estimate(math.nan, math.nan, math.nan)
    verdict = next((one.answer for one in answers(found) if one.question.startswith("Is it better")), "")
    return [
        state.study.objective.words,
        state.n_search,
        spent,
        parts.Number(best, ".4f"),
        "" if winner is None else f"trial {winner.trial}",
        parts.Number(nothing if winner is None else winner.over_seeds, ".4f"),
        parts.Number(found.tested[0].objective if found.tested else nothing, ".4f"),
        parts.Number(nothing if models is None else models.estimate, "+.4f"),
        verdict,
    ]


def _curves(runs: Mapping[str, Findings]) -> list[parts.Part]:
    steps = {name: found.history.steps for name, found in runs.items() if found.history.steps}
    objectives = {found.state.study.objective for found in runs.values()}
    if not steps or len(objectives) > 1:  # values of two kinds have no common axis
        return []
    words = objectives.pop().words
    figures = [
        parts.Figure(
            f"best-{by}", f"Best {words} of any trial so far, by {what}", partial(plots.bests_so_far, steps, by, words)
        )
        for by, what in (("epochs", "epochs spent"), ("hours", "wall time of the driver"))
    ]
    return [parts.Beside(figures)]


def _ranked(comparison: Comparison) -> parts.Table:
    heads = ["rank", "run", "trial", "objective", *map(short_name, comparison.parameters)]
    rows: list[list[parts.Cell]] = []
    for row in comparison.table.rows[:_MOST_ROWS]:
        limits = (row[name] for name in ("objective", "objective_low", "objective_high"))
        number = parts.Number(Estimate(*(math.nan if limit is None else float(limit) for limit in limits)), ".4f")
        values = [cell_text(row[column(name)]) for name in comparison.parameters]
        rows.append([str(row["rank"]), str(row["run"]), str(row["trial"]), number, *values])
    left = len(comparison.table.rows) - len(rows)
    return parts.Table(f"Ranked together{f'; {left} more in `seti-tune compare`' if left > 0 else ''}", heads, rows)
