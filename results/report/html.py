"""`report.html`: what a run found, in one file without network, made from its folder alone, also while it runs."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from results.files import write_atomically
from results.findings import Findings
from results.predictions import png_uri
from results.report import parts
from results.report.content import report
from results.run_folder import HTML_REPORT
from results.tables.leaderboard import column, interval_text, parameter_types, rank_text, tie_note
from results.tables.table import Row, cell_text, short_name

# Plotly writes styles into its elements; nothing may be fetched or sent.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
_DIGITS = 6  # more than a screen has pixels


def write_html_report(found: Findings, out: Path | None = None) -> Path:
    """Write the report of a run to `out`, by default `report.html` in its folder; return the path.

    Raises:
        RecordError: Damaged predictions, or `out` cannot be written.
    """
    path = found.run / HTML_REPORT if out is None else out
    write_atomically(path, to_html(report(found), is_running=found.is_running))
    return path


def to_html(document: parts.Document, *, is_running: bool) -> str:
    """Return a document as a page that may run its own scripts and nothing else; any text in it stays text."""
    from jinja2 import Environment, PackageLoader
    from plotly.offline import get_plotlyjs

    plots = {part.name: part.draw() for part in document.parts() if isinstance(part, parts.Figure)}
    # A figure's height is that of its place on the page: so it follows every change of that.
    heights = {name: layout.pop("height") for name, (_, layout) in plots.items()}
    drawn = {f"plot-{name}": {"data": data, "layout": layout} for name, (data, layout) in plots.items()}
    folder = files("results.report") / "templates"
    script, library = (folder / "report.js").read_text("utf-8"), str(get_plotlyjs())
    environment = Environment(
        loader=PackageLoader("results.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["kind"] = lambda part: type(part).__name__
    environment.filters["shown"], environment.filters["confusion"] = parts.shown, parts.confusion_table
    environment.filters["words"], environment.filters["png"] = words_html, png_uri
    return environment.get_template("report.html").render(
        document=document,
        heights=heights,
        board=board,
        is_running=is_running,
        now=f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC",
        policy=f"{_POLICY}; script-src {hashes(script, library)}",
        style=(folder / "report.css").read_text("utf-8"),
        figures=_json(drawn),
        library=library,
        script=script,
    )


def words_html(text: str) -> str:
    """Return text as HTML in which what stands between backticks is code."""
    from markupsafe import Markup, escape

    pieces = text.split("`")
    if len(pieces) % 2 == 0:  # anybody's text, not ours
        return escape(text)
    parts = (Markup("<code>{}</code>").format(piece) if i % 2 else escape(piece) for i, piece in enumerate(pieces))
    return Markup("").join(parts)


def hashes(*scripts: str) -> str:
    """Name the only scripts that a browser may run in the page."""
    digests = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def board(part: parts.Leaderboard) -> dict[str, Any]:
    """Return the leaderboard as rows of (text, value to sort by), without the trial's number and its note."""
    parameters = list(parameter_types(part.state))
    heads = ["rank", "trial", "status", "objective", "95 % interval", "best epoch", "epochs"]
    heads += [*map(short_name, parameters), "weights", "seconds", "note"]
    rows = [
        {
            "trial": row["trial"],
            "status": row["status"],
            "rank": rank_text(row),
            "place": row["rank"],
            "cells": list(_cells(row, parameters)),
            "note": " ".join((*(["baseline."] if row["baseline"] else []), str(row["reason"] or ""))).strip(),
        }
        for row in part.table.rows
    ]
    statuses = sorted({str(row["status"]) for row in part.table.rows})
    return {"heads": heads, "rows": rows, "statuses": statuses, "ties": tie_note(part.table.rows, part.state)}


def _cells(row: Row, parameters: Sequence[str]) -> Any:
    objective, seconds = row["objective"], row["seconds"]
    yield "" if objective is None else f"{objective:.4f}", objective
    yield interval_text(row["objective_low"], row["objective_high"]), row["objective_low"]
    for name in ("best_epoch", "epochs", *map(column, parameters), "model_parameters"):
        value = row[name]
        yield cell_text(value), value if isinstance(value, int | float) and not isinstance(value, bool) else None
    yield "" if seconds is None else f"{seconds:.1f}", seconds


def _json(value: object) -> str:
    """Return JSON that can stand inside a script element; NaN is null, fractions have six figures."""
    return json.dumps(_plain(value), allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}") if math.isfinite(value) else None
    return value
