"""A run as a piece of HTML for a notebook's cell: how it stands, its best trials, their curves. No script is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from results.findings import Findings
from results.log.records import Status
from results.log.state import RunState, TrialState
from results.report import parts
from results.report.html import board, words_html
from results.report.plots import BASELINE, DRAWN_LAST, STYLE
from results.report.sentences import headline, how_it_ended
from results.tables.leaderboard import rank_trials

_TOP = 10  # rows
_MOST_CURVES = 200
_WIDTH, _HEIGHT = 640, 260
_LEFT, _RIGHT, _TOP_EDGE, _BOTTOM = 48, 12, 10, 34
_TICKS = 5


def cell_html(found: Findings) -> str:
    """Return a run as it was when it was read; any text in it stays text."""
    return _render(
        title=found.title,
        lines=[how_it_ended(found), *([] if found.is_running else headline(found)), *found.state.doubts],
        table=_table(board(parts.Leaderboard(found.state, found.leaderboard))),
        picture=_picture(found.state),
    )


def waiting_html(text: str) -> str:
    """Return what is shown before there is a run, or where it cannot be read."""
    return _render(title="", lines=[text], table=None, picture=None)


def _render(**values: Any) -> str:
    from jinja2 import Environment, PackageLoader

    environment = Environment(
        loader=PackageLoader("results.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["words"] = words_html
    return environment.get_template("cell.html").render(**values)


def _table(whole: dict[str, Any]) -> dict[str, Any]:
    """Return the first rows of a leaderboard without the columns that are empty there."""
    rows, heads = whole["rows"][:_TOP], whole["heads"]
    named, rest = heads[:3], heads[3:-1]
    filled = [i for i in range(len(rest)) if any(row["cells"][i][0] for row in rows)]
    shown = [{**row, "cells": [row["cells"][i] for i in filled]} for row in rows]
    heads = [*named, *(rest[i] for i in filled), heads[-1]]
    return whole | {"heads": heads, "rows": shown, "left": len(whole["rows"]) - len(rows)}


@dataclass(frozen=True)
class _Scale:
    """Where values between two ends lie on a picture, in pixels."""

    low: float
    high: float
    first: float
    last: float

    def __call__(self, value: float) -> float:
        return round(self.first + (value - self.low) / (self.high - self.low) * (self.last - self.first), 1)

    def ticks(self, *, whole: bool = False) -> list[tuple[float, str]]:
        """Return round values in between, with what is written there."""
        step = 10 ** math.floor(math.log10((self.high - self.low) / _TICKS))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= _TICKS)
        step = max(1, step) if whole else step
        first = math.ceil(self.low / step - 1e-9)
        values = [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]
        return [(self(value), f"{value:.6g}") for value in values]


def _picture(state: RunState) -> dict[str, Any] | None:
    """Return the objective of the trials by epoch as lines and axes; None before there is an epoch."""
    ranked, others = rank_trials(state)
    trials = [*state.baselines, *(t for t in [*ranked, *others] if not t.started.is_baseline)][:_MOST_CURVES]
    points = {t.started.trial: _points(t) for t in trials}
    values = [value for of in points.values() for _, value in of]
    if not values:
        return None
    low, high = min(values), max(values)
    room = 0.05 * (high - low) or 0.05
    longest = max(epoch for of in points.values() for epoch, _ in of)
    x = _Scale(1, max(longest, 2), _LEFT, _WIDTH - _RIGHT)
    y = _Scale(low - room, high + room, _HEIGHT - _BOTTOM, _TOP_EDGE)
    return {
        "lines": [
            _line(trial, [(x(epoch), y(value)) for epoch, value in points[trial.started.trial]])
            for trial in sorted(trials, key=_drawn_last)
            if points[trial.started.trial]
        ],
        "objective": f"validation {state.study.objective.words}",
        "x": x.ticks(whole=True),
        "y": y.ticks(),
        "colours": _colours([t for t in trials if points[t.started.trial]]),
        "width": _WIDTH, "height": _HEIGHT,
        "left": _LEFT, "right": _WIDTH - _RIGHT, "top": _TOP_EDGE, "bottom": _HEIGHT - _BOTTOM,
    }  # fmt: skip


def _points(trial: TrialState) -> list[tuple[int, float]]:
    pairs = ((epoch, measured.value) for epoch, measured in sorted(trial.epochs.items()))
    return [(epoch, value) for epoch, value in pairs if math.isfinite(value)]


def _line(trial: TrialState, places: Sequence[tuple[float, float]]) -> dict[str, Any]:
    is_baseline = trial.started.is_baseline
    return {
        "places": " ".join(f"{x},{y}" for x, y in places),
        "end": places[-1],
        "colour": BASELINE if is_baseline else STYLE[trial.status][0],
        "width": 3 if is_baseline else 1.3,
        "name": f"trial {trial.started.trial}, {'baseline, ' if is_baseline else ''}{trial.status}",
    }


def _drawn_last(trial: TrialState) -> tuple[bool, int]:
    return trial.started.is_baseline, DRAWN_LAST.index(trial.status)


def _colours(trials: Sequence[TrialState]) -> list[tuple[str, str]]:
    """Return the colours that are there, each with its word."""
    there = {t.status for t in trials if not t.started.is_baseline}
    keys = [(str(status), STYLE[status][0]) for status in Status if status in there]
    return keys + [("baseline", BASELINE)] * any(t.started.is_baseline for t in trials)
