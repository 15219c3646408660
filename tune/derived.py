"""What is derived from a run and lies in its folder: tables, receipts, `report.md`, `report.html`, the model card."""

from __future__ import annotations

from pathlib import Path

from results.findings import Findings
from results.receipt import write_receipts
from results.report.html import write_html_report
from results.report.importance import needs_importance
from results.tables.leaderboard import write_tables


def refresh(run: Path) -> Findings:
    """Write everything that is derived from a run again, from its folder alone; return what the run found.

    Raises:
        RecordError: A damaged log, damaged predictions, or a file that cannot be written.
    """
    from results.report.markdown import write_report  # draws with matplotlib, which a page does without

    found = read_findings(run)
    write_receipts(run, found.state)
    write_tables(run, found.state, found.leaderboard)
    write_report(found)
    write_html_report(found)
    return found


def read_findings(run: Path) -> Findings:
    """Read a run, and bring the importance of its parameters up to date.

    Raises:
        RecordError: No run folder, a damaged log, or nothing in it yet.
    """
    found = Findings.read(run)
    if needs_importance(run, found.state):
        from tune.importance import store_importance  # Optuna takes its time

        store_importance(run, found.state)
    return found
