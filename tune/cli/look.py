"""The commands that look at runs: `leaderboard`, `status` and `compare`. They need neither Ray nor TensorFlow."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from results.files import check_output, write_atomically

if TYPE_CHECKING:
    from results.tables.table import Table

JSON_HELP = """--json prints one object: schema_version (1), kind, and the numbers unrounded, null where unknown or
not finite. `rows` are named as the columns of the CSV, `in_all` counts them before --where and --top. Names may be
added within a version, no other change is made. Errors stay lines on standard error, with exit code 2.
"""
LEADERBOARD_EPILOG = (
    """A NAME is a column of leaderboard.csv, or the end of a parameter's name where only one ends so.
A trial without that value meets no condition. Ranks stay those of the whole ranking.
examples:
  seti-tune leaderboard runs/quickstart                             also while the search runs
  seti-tune leaderboard runs/quickstart --where "learning_rate < 0.002" --where "status = completed"
  seti-tune leaderboard runs/quickstart --sort seconds:desc --top 5 --csv slowest.csv
  seti-tune leaderboard runs/quickstart --json | jq '.rows[0].objective'
"""
    + JSON_HELP
)
STATUS_EPILOG = (
    """Reads the log alone: also while another process runs the study, also on a copy without Ray.
examples:
  seti-tune status runs/quickstart
  watch -n 5 seti-tune status runs/quickstart
  seti-tune status runs/quickstart --json | jq .is_finished
"""
    + JSON_HELP
)
COMPARE_EPILOG = (
    """Warns where the runs saw different data, other validation images, or a parameter of another meaning.
examples:
  seti-tune compare runs/a runs/b
  seti-tune compare runs/a runs/b runs/c --top 10 --csv all.csv
  seti-tune compare runs/a runs/b --json | jq -r '.warnings[]'
"""
    + JSON_HELP
)


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `leaderboard`, `status` and `compare`."""
    raw = argparse.RawDescriptionHelpFormatter
    board = commands.add_parser(
        "leaderboard", help="show a run's leaderboard", epilog=LEADERBOARD_EPILOG, formatter_class=raw
    )
    board.add_argument("folder", metavar="RUN", type=Path, help="the run folder")
    board.add_argument(
        "--where",
        action="append",
        default=[],
        metavar="'NAME OP VALUE'",
        help="only trials that meet this, OP one of = != < <= > >=; may be repeated",
    )
    board.add_argument(
        "--sort", metavar="COLUMN[:asc|desc]", help="order of the trials (default: ranked ones by objective first)"
    )
    board.add_argument("--top", type=int, metavar="N", help="only the first N of these trials")
    board.add_argument("--csv", type=Path, metavar="FILE", help="write these trials there too, with all columns")
    board.add_argument("--json", action="store_true", help="print one JSON object instead")
    board.set_defaults(run=_leaderboard)
    status = commands.add_parser("status", help="how a run stands", epilog=STATUS_EPILOG, formatter_class=raw)
    status.add_argument("folder", metavar="RUN", type=Path, help="the run folder, or a copy of it")
    status.add_argument("--json", action="store_true", help="print one JSON object instead")
    status.set_defaults(run=_status)
    compare = commands.add_parser(
        "compare", help="completed trials of several runs in one table", epilog=COMPARE_EPILOG, formatter_class=raw
    )
    compare.add_argument("folders", metavar="RUN", nargs="+", type=Path, help="two run folders or more")
    compare.add_argument("--top", type=int, metavar="N", help="only the best N trials")
    compare.add_argument("--csv", type=Path, metavar="FILE", help="write these trials there too, with all columns")
    compare.add_argument("--json", action="store_true", help="print one JSON object instead")
    compare.set_defaults(run=_compare)


def _leaderboard(options: argparse.Namespace) -> int:
    from results.log.state import load_run
    from results.tables.leaderboard import leaderboard_table, leaderboard_text
    from results.tables.table import select

    state = load_run(options.folder)
    table = leaderboard_table(state)
    shown = select(table, where=options.where, sort=options.sort, top=options.top)
    _write(shown, options.csv)
    if options.json:
        from results.tables.json_output import leaderboard_json

        print(leaderboard_json(options.folder, state, shown, in_all=len(table.rows)))
        return 0
    chosen = bool(options.where) or options.sort is not None or options.top is not None
    print(leaderboard_text(state, table=shown if chosen else None))
    if len(shown.rows) < len(table.rows):
        print(f"({len(shown.rows)} of {len(table.rows)} trials)")
    return 0


def _status(options: argparse.Namespace) -> int:
    from results.tables.status import run_status, status_text

    status = run_status(options.folder)
    if options.json:
        from results.tables.json_output import status_json

        print(status_json(status))
    else:
        print(status_text(status))
    return 0


def _compare(options: argparse.Namespace) -> int:
    from results.tables.compare import compare_runs, comparison_text
    from results.tables.table import select

    comparison = compare_runs(options.folders)
    shown = select(comparison.table, top=options.top)
    for warning in comparison.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    _write(shown, options.csv)
    if options.json:
        from results.tables.json_output import comparison_json

        print(comparison_json(options.folders, comparison, shown))
    else:
        print(comparison_text(comparison, shown))
    return 0


def _write(table: Table, path: Path | None) -> None:
    if path is not None:
        check_output(path)
        write_atomically(path, table.frame().to_csv(index=False))
        print(f"written: {path}", file=sys.stderr)
