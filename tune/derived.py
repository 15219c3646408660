"""What is derived from a run and lies in its folder: tables, receipts, `report.md`, `report.html`, the model card."""

from __future__ import annotations

from pathlib import Path

from results.log.state import RunState
from results.receipt import write_receipts
from results.report.html import write_html_report
from results.report.importance import needs_importance
from results.tables.leaderboard import write_tables


def refresh(run: Path, state: RunState) -> None:
    """Write everything that is derived from a run again, from its folder alone.

    Raises:
        RecordError: A damaged log, damaged predictions, or a file that cannot be written.
    """
    from results.report.markdown import write_report  # draws with matplotlib, which a page does without

    write_receipts(run, state)
    write_tables(run, state)
    write_report(run, state)
    write_page(run, state)


def write_page(run: Path, state: RunState, out: Path | None = None) -> Path:
    """Bring the importance of the parameters up to date, then write `report.html`, or `out`; return its path.

    Raises:
        RecordError: A damaged log, damaged predictions, or the page cannot be written.
    """
    if needs_importance(run, state):
        from tune.importance import store_importance  # Optuna takes its time

        store_importance(run, state)
    return write_html_report(run, out)
