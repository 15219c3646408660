"""HTML in small pieces: text is escaped here and nowhere else, and figures are Plotly's JSON."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from results.tables.table import cell_text

_DIGITS = 6  # more than a screen has pixels


@dataclass
class Page:
    """Collects the sections of a page and the figures in them."""

    sections: list[tuple[str, str]] = field(default_factory=list)  # (id, heading)
    html: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def section(self, name: str, heading: str, *parts: str) -> None:
        """Add a section with an id, a heading and what `parts` hold as HTML; one of nothing is left out."""
        if any(parts):
            self.sections.append((name, heading))
            body = "\n".join(part for part in parts if part)
            self.html.append(f'<section id="{name}"><h2>{text(heading)}</h2>\n{body}\n</section>')

    def figure(
        self, name: str, caption: str, traces: Sequence[Mapping[str, Any]], layout: Mapping[str, Any], size: str = ""
    ) -> str:
        """Return the place of a figure; the page draws it there. `caption` is also what a screen reader says."""
        # The height is the place's, not the figure's, which then follows every change of its place.
        self.figures[name] = {"data": traces, "layout": {key: one for key, one in layout.items() if key != "height"}}
        return (
            f'<figure class="{size}"><div class="plot" id="{text(name)}" style="height: {layout["height"]}px" '
            f'role="img" aria-label="{text(caption)}"></div><figcaption>{text(caption)}</figcaption></figure>'
        )


def text(value: object) -> str:
    """Return any text as HTML that shows it."""
    return html.escape(str(value))


def paragraph(words: str) -> str:
    """Return a paragraph of text."""
    return f"<p>{text(words)}</p>"


def bullets(lines: Sequence[str]) -> str:
    """Return a list of texts."""
    return "<ul>" + "".join(f"<li>{text(line)}</li>" for line in lines) + "</ul>"


def table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], *, bar: int | None = None, kind: str = ""
) -> str:
    """Return a table whose rows start with their names; `bar` is a column of shares in 0..1, drawn as bars too."""
    head = "".join(f'<th scope="col">{text(one)}</th>' for one in heads)
    body = []
    for row in rows:
        cells = [f'<th scope="row">{text(row[0])}</th>']
        for place, value in enumerate(row[1:], start=1):
            if place == bar and isinstance(value, float):
                share = f'<span class="bar" style="width:{6 * value:.2f}rem"></span>'
                cells.append(f'<td class="barred">{share}{value:.0%}</td>')
            else:
                cells.append(f"<td>{text(cell_text(value))}</td>")
        body.append(f"<tr>{''.join(cells)}</tr>")
    return (
        f'<div class="wide" role="region" tabindex="0" aria-label="{text(caption)}"><table class="{kind}">'
        f"<caption>{text(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def details(summary: str, content: str) -> str:
    """Return what is shown when somebody asks for it."""
    return f"<details><summary>{text(summary)}</summary>{content}</details>"


def to_json(value: object) -> str:
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
