"""`report.md` and the model card: documents as Markdown, with pictures beside them. Needs neither Ray nor Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.files import write_atomically
from results.finals import recall_csv
from results.findings import Findings
from results.report import parts
from results.report.content import report
from results.report.model_card import model_card
from results.run_folder import FINAL, MODEL_CARD, RECALL_TABLE, REPORT
from results.stats.metrics import confusion_csv
from results.tables.leaderboard import leaderboard_text
from results.text import one_line


def write_report(found: Findings) -> Path:
    """Write `report.md` with its pictures and tables, and the card of the delivered model; return the report's path.

    Raises:
        RecordError: Damaged predictions, or a file that cannot be written.
    """
    from results.report import figures  # half a second that a text must not cost

    document = report(found)
    for part in document.parts():
        if isinstance(part, parts.Picture):
            part.draw(figures, found.run / part.place)
    for one in found.tested:
        write_atomically(found.run / f"{FINAL}/confusion_matrix_{one.role}.csv", confusion_csv(one.metrics))
    if found.recall:
        write_atomically(found.run / RECALL_TABLE, recall_csv(found.recall))
    if found.tested:
        write_atomically(found.run / MODEL_CARD, to_markdown(model_card(found)))
    path = found.run / REPORT
    write_atomically(path, to_markdown(document))
    return path


def to_markdown(document: parts.Document) -> str:
    """Return a document as Markdown; what only a page can show is left out."""
    lines = [f"# {_plain(document.title)}", ""]
    for section in document.sections:
        body = [line for part in section.parts for line in _lines(part)]
        heading = [f"## {section.heading}", ""] if section.heading and body else []
        lines += [*heading, *body]
    return "\n".join(lines)


def _lines(part: parts.Part) -> list[str]:
    match part:
        case parts.Text():
            return [_plain(part.words), ""]
        case parts.Points():
            return [*(f"* {_plain(line)}" for line in part.lines), ""]
        case parts.Answers():
            return [
                line
                for one in part.answers
                for line in (f"**{one.question}** **{one.answer}.** {_plain(' '.join(one.because))}".rstrip(), "")
            ]
        case parts.Table(is_folded=False):
            return [f"{_plain(part.caption)}:", "", *_table(part), ""]
        case parts.Leaderboard():
            return ["```text", leaderboard_text(part.state, table=part.table), "```", ""]
        case parts.Confusion():
            return _lines(parts.confusion_table(part.metrics))
        case parts.Picture():
            return [f"![{_plain(part.caption)}]({part.place})", ""]
        case parts.Beside():
            return [line for one in part.parts for line in _lines(one)]
        case parts.Console():
            return ["```console", *(f"$ {command}" for command in part.commands), "```", ""]
    return []


def _table(table: parts.Table) -> list[str]:
    """Return a table, the first column to the left and numbers to the right; any text may be a cell."""

    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(_plain(cell.replace("\\", "\\\\").replace("|", "\\|")) for cell in cells) + " |"

    rows = ([parts.shown(cell) for cell in row] for row in table.rows)
    others = "---|" if table.are_words else "---:|"
    return [line(table.heads), "|---|" + others * (len(table.heads) - 1), *map(line, rows)]


def _plain(text: str) -> str:
    """Return anybody's text as one line that is never markup of a page."""
    return one_line(text).replace("<", "\\<")
