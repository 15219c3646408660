"""The sections of `report.html` on the search: leaderboard, curves, parameters, early stopping and costs."""

from __future__ import annotations

import json
from typing import Any

from results.audit import Audit, audit, conclusion
from results.log.history import History
from results.log.state import RunState
from results.report.importance import MIN_COMPLETED, Importance, is_current
from results.report.markup import Page, details, paragraph, table, text
from results.report.plots import (
    best_so_far,
    learning_curves,
    parallel_coordinates,
    rung_values,
    slice_of,
)
from results.tables.leaderboard import column, interval_text, leaderboard_table, parameter_types
from results.tables.status import duration
from results.tables.table import Row, cell_text, short_name
from results.tables.ties import validation_images


def add_search(page: Page, history: History, importance: Importance | None) -> None:
    """Add what the search found and cost.

    Raises:
        RecordError: Stored flags that do not belong to the validation images.
    """
    state = history.state
    page.section("leaderboard", "Leaderboard", _leaderboard(state))
    page.section("curves", "Learning curves", *_curves(page, history))
    page.section("parameters", "Parameters", *_parameters(page, state, importance))
    page.section("stopping", "Early stopping", *_stopping(page, state))
    page.section("costs", "Costs", *_costs(history))


def _leaderboard(state: RunState) -> str:
    parameters = list(parameter_types(state))
    heads = ["rank", "trial", "status", "objective", "95 % interval", "best epoch", "epochs"]
    heads += [*map(short_name, parameters), "weights", "seconds", "note"]
    head = "".join(
        f'<th scope="col" aria-sort="none"><button type="button">{text(name)}</button></th>' for name in heads
    )
    rows = leaderboard_table(state).rows
    body = "".join(_row(row, parameters) for row in rows)
    counted = sorted({str(row["status"]) for row in rows})
    options = "".join(f"<option>{text(status)}</option>" for status in counted)
    ties = ""
    if any(row["tied"] and row["rank"] != 1 for row in rows):
        n = validation_images(state)
        ties = paragraph(f"= not told from rank 1 by the same {n} validation images (exact McNemar test).")
    return (
        '<form class="filters" id="filters"><label>Show trials with <input type="search" id="filter" '
        'autocomplete="off" spellcheck="false" placeholder="stopped  objective>0.7"></label> '
        f'<label>Status <select id="status"><option value="">all</option>{options}</select></label> '
        '<output id="shown" aria-live="polite"></output>'
        "<small>Words, or conditions such as <kbd>objective&gt;0.7</kbd> or <kbd>epochs&lt;=4</kbd>; all must hold. "
        "A heading sorts; a trial's number marks its learning curve.</small></form>"
        '<div class="wide tall" role="region" tabindex="0" aria-label="Leaderboard"><table id="board">'
        f"<caption>All trials of the search; completed ones are ranked</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>{ties}"
    )


def _row(row: Row, parameters: list[str]) -> str:
    rank = "" if row["rank"] is None else f"{row['rank']}{' =' if row['tied'] and row['rank'] != 1 else ''}"
    note = " ".join(("baseline. " if row["baseline"] else "", str(row["reason"] or ""))).strip()
    low, high = row["objective_low"], row["objective_high"]
    objective = "" if row["objective"] is None else f"{row['objective']:.4f}"
    cells: list[tuple[str, Any]] = [(rank, row["rank"])]
    after = [(str(row["status"]), None), (objective, row["objective"]), (interval_text(low, high), low)]
    after += [(cell_text(row[name]), row[name]) for name in ("best_epoch", "epochs")]
    after += [(cell_text(row[column(name)]), row[column(name)]) for name in parameters]
    after += [(cell_text(row["model_parameters"]), row["model_parameters"])]
    after += [("" if row["seconds"] is None else f"{row['seconds']:.1f}", row["seconds"])]
    trial = f'<th scope="row" data-v="{row["trial"]}"><button type="button">{row["trial"]}</button></th>'
    html = [_cell(*cell) for cell in cells] + [trial] + [_cell(*cell) for cell in after]
    return f'<tr class="{text(row["status"])}">{"".join(html)}<td class="note">{text(note)}</td></tr>'


def _cell(shown: str, value: Any) -> str:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return f'<td data-v="{value}">{text(shown)}</td>' if is_number else f"<td>{text(shown)}</td>"


def _curves(page: Page, history: History) -> list[str]:
    state = history.state
    if not any(t.best for t in state.search_trials()):
        return [paragraph("No epoch with a finite validation accuracy is recorded yet.")]
    rungs = sorted({epoch for t in state.search_trials() for epoch in t.rungs})
    epochs = ", ".join(map(str, rungs))
    at = f" Dashed lines are the rungs: epoch {epochs}." if rungs else ""
    caption = f"Validation accuracy of all trials by epoch; a marker is where a trial ended or stands.{at}"
    steps = [
        page.figure(f"plot-best-{by}", f"Best accuracy of any trial so far, by {words}", *best_so_far(history, by))
        for by, words in (("epochs", "epochs spent"), ("hours", "wall time of the driver"))
        if history.steps
    ]
    return [
        page.figure("plot-curves", caption, *learning_curves(state)),
        f'<div class="pair">{"".join(steps)}</div>' if steps else "",
    ]


def _parameters(page: Page, state: RunState, importance: Importance | None) -> list[str]:
    reached = [t for t in state.search_trials() if t.best]
    known = [name for name in parameter_types(state) if any(name in t.parameters for t in reached)]
    if not known:
        return []
    shares = importance.shares if importance is not None else {}
    known.sort(key=lambda name: -shares.get(name, 0.0))
    together = (
        "Parallel coordinates: every line is a trial, every axis a parameter from its lowest to its highest value"
    )
    slices = []
    for place, name in enumerate(known):
        share = f", importance {shares[name]:.0%}" if name in shares else ""
        caption = f"{short_name(name)}{share}"
        slices.append(page.figure(f"plot-slice-{place}", caption, *slice_of(state, name)))
    lines = ""
    if len(known) > 1:
        figure = page.figure("plot-parallel", together, *parallel_coordinates(state, known), "broad")
        lines = f'<div class="wide" role="region" tabindex="0" aria-label="Parallel coordinates">{figure}</div>'
    return [
        *_importance(state, importance),
        lines,
        "<h3>What every trial reached, against the value of each parameter</h3>",
        f'<div class="slices">{"".join(slices)}</div>',
    ]


def _importance(state: RunState, importance: Importance | None) -> list[str]:
    if importance is None:
        return [paragraph(f"The importance of the parameters is computed from {MIN_COMPLETED} completed trials on.")]
    shares = importance.shares
    words = (
        f"{importance.method}, from {importance.completed} completed trials: what part each parameter has in being "
        "among the best of them. It says where good values lie apart from others, not in which direction."
    )
    if shares and max(shares.values()) - min(shares.values()) < 1e-9:
        words += " All are equal: these trials do not tell the parameters apart."
    if not is_current(importance, state):
        words += " More trials were completed since; `seti-tune report` brings it up to date."
    rows = [[short_name(name), share] for name, share in shares.items()]
    return [paragraph(words), table("Importance of the parameters", ["parameter", "importance"], rows, bar=1)]


def _stopping(page: Page, state: RunState) -> list[str]:
    found = audit(state)
    if not found.rungs:
        return []
    seen = any(rung.completed for rung in found.rungs)
    caption = "What each rung saw of the completed trials, and what they reached in the end"
    return [
        paragraph(conclusion(found)),
        paragraph(
            f"Epochs spent: {found.economy.spent}; without stopping the same trials take "
            f"{found.economy.without_stopping} ({found.economy.saved:.0%} saved)."
        ),
        _audit_table(found),
        page.figure("plot-rungs", caption, *rung_values(state)) if seen else "",
    ]


def _audit_table(found: Audit) -> str:
    heads = ["rung", "completed", "correlation", "exempt", "below the cutoff", "best third of the exempt"]
    heads.append("of them below the cutoff")
    rows = []
    for name, completed, correlation, exempt in [
        *((f"epoch {rung.epoch}", rung.completed, rung.correlation, rung.exempt) for rung in found.rungs),
        *([("any", None, None, found.any_rung)] if len(found.rungs) > 1 else []),
    ]:
        top = (exempt.top, exempt.top_would_stop) if exempt.top else (None, None)
        shown = None if correlation is None else f"{correlation:.2f}"
        rows.append([name, completed, shown, exempt.exempt, exempt.would_stop, *top])
    return table("ASHA's decisions; correlation is Spearman's, of the value at the rung and the objective", heads, rows)


def _costs(history: History) -> list[str]:
    costs, state = history.costs, history.state
    total = sum(one.core_hours for one in costs)
    has_gpu = any(one.gpu_hours for one in costs)
    heads = ["what", "trials", "epochs", "core-hours", "share", *(["GPU-hours"] if has_gpu else [])]
    rows = [
        [c.what, c.trials, c.epochs, *((c.core_hours, c.core_hours / total) if total else (None, None))]
        + ([c.gpu_hours] if has_gpu else [])
        for c in costs
    ]
    rows.append(["all", None, sum(c.epochs for c in costs), total or None, None])
    if has_gpu:
        rows[-1].append(sum(c.gpu_hours for c in costs))
    words = (
        f"The drivers ran for {duration(state.spent_s)}. Core-hours are the seconds of recorded epochs times the "
        "threads of a trial; starting workers, building networks and epochs that never ended are not in them."
    )
    if not total:
        words = f"The drivers ran for {duration(state.spent_s)}. No epoch says how long it took."
    return [paragraph(words), table("Core-hours by what became of them", heads, rows, bar=4)]


def resolved_study(state: RunState) -> str:
    """Return the study with all its values, folded up."""
    study = json.dumps(state.study, indent=1, ensure_ascii=False, default=str)
    return details("The resolved study", f"<pre>{text(study)}</pre>")
