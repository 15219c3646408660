"""The commands that look at runs: `leaderboard`, `status`, `compare`, `report` and `export`."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from results.files import check_output, refuse_links, refuse_links_in, write_atomically
from results.log.recorder import is_being_written
from results.log.state import load_run
from results.run_folder import EXPORTS, LOG_NAME
from results.tables.compare import compare_runs, comparison_text
from results.tables.json_output import comparison_json, leaderboard_json, status_json
from results.tables.leaderboard import leaderboard_table, leaderboard_text
from results.tables.status import run_status, status_text
from results.tables.table import csv_text, select
from results.text import printable
from tune.errors import StudyError

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
REPORT_EPILOG = """Needs the run folder alone, neither its data set nor a network. Without --watch it is written once.
examples:
  seti-tune report runs/quickstart                        RUN/report.html
  seti-tune report runs/quickstart --watch                again while the study runs
  seti-tune report copy/of/run --out report.html
  seti-tune report runs/a runs/b --out both.html          several runs on one page
"""
EXPORT_EPILOG = """examples:
  seti-tune export runs/quickstart --tensorboard     also while the search runs; again for what came since
  seti-tune export runs/quickstart --mlflow --optuna --out exports
Each viewer is a package of its own: pip install tensorboard, mlflow, optuna-dashboard.
`--optuna-journal FILE` names the journal itself; `optuna-dashboard FILE` shows it.
"""
_LONGEST_S = 86400


def add_leaderboard(board: argparse.ArgumentParser) -> None:
    """Give `leaderboard` its arguments; it sets `run`, which takes them and returns an exit code."""
    board.epilog = LEADERBOARD_EPILOG
    board.set_defaults(run=_leaderboard)
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
    _add_table_files(board)
    _add_address(board)


def add_status(status: argparse.ArgumentParser) -> None:
    """Give `status` its arguments."""
    status.epilog = STATUS_EPILOG
    status.set_defaults(run=_status)
    status.add_argument("folder", metavar="RUN", type=Path, help="the run folder, or a copy of it")
    status.add_argument("--json", action="store_true", help="print one JSON object instead")
    _add_address(status)


def add_compare(compare: argparse.ArgumentParser) -> None:
    """Give `compare` its arguments."""
    compare.epilog = COMPARE_EPILOG
    compare.set_defaults(run=_compare)
    compare.add_argument("folders", metavar="RUN", nargs="+", type=Path, help="two run folders or more")
    compare.add_argument("--top", type=int, metavar="N", help="only the best N trials")
    _add_table_files(compare)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--address", metavar="URL", help="of a run on a cluster: its job server, e.g. http://HEAD:8265")


def _add_table_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write these trials there too, with all columns")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead")


def add_report(report: argparse.ArgumentParser) -> None:
    """Give `report` its arguments."""
    report.epilog = REPORT_EPILOG
    report.set_defaults(run=_report)
    report.add_argument("folders", metavar="RUN", type=Path, nargs="+", help="a run folder, or a copy of one")
    report.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to write it (default: RUN/report.html; needed with several runs)",
    )
    report.add_argument("--watch", action="store_true", help="write it again whenever the run has grown, until it ends")
    report.add_argument(
        "--every", type=_seconds, default=10.0, metavar="SECONDS", help="how often --watch looks (default: 10)"
    )


def add_export(export: argparse.ArgumentParser) -> None:
    """Give `export` its arguments."""
    export.epilog = EXPORT_EPILOG
    export.set_defaults(run=_export)
    export.add_argument("folder", metavar="RUN", type=Path, help="the run folder")
    export.add_argument("--tensorboard", action="store_true", help="curves and HParams, DIR/tensorboard/")
    export.add_argument("--mlflow", action="store_true", help="a local MLflow store, DIR/mlflow.db")
    export.add_argument("--optuna", action="store_true", help="Optuna's journal, DIR/optuna-journal.log")
    export.add_argument("--out", type=Path, metavar="DIR", help=f"where to (default: RUN/{EXPORTS})")
    export.add_argument("--optuna-journal", type=Path, metavar="FILE", help="Optuna's journal, as this file")


def _leaderboard(options: argparse.Namespace) -> int:
    if options.address is not None:
        from tune.cli.jobs import answer_of_cluster  # Ray, which the others do without

        if options.csv is not None:
            raise StudyError(f"--csv {options.csv}: would be written on the cluster; use --json with --address")
        conditions = [word for condition in options.where for word in ("--where", condition)]
        shown_as = {"sort": options.sort, "top": options.top, "json": options.json}
        return answer_of_cluster(options.address, "leaderboard", options.folder, *conditions, **shown_as)
    state = load_run(options.folder)
    table = leaderboard_table(state)
    shown = select(table, where=options.where, sort=options.sort, top=options.top)
    _write(shown, options.csv)
    if options.json:
        print(leaderboard_json(options.folder, state, shown, in_all=len(table.rows)))
        return 0
    chosen = bool(options.where) or options.sort is not None or options.top is not None
    print(leaderboard_text(state, shown, top=None if chosen else 20))
    if len(shown.rows) < len(table.rows):
        print(f"({len(shown.rows)} of {len(table.rows)} trials)")
    return 0


def _status(options: argparse.Namespace) -> int:
    if options.address is not None:
        from tune.cli.jobs import answer_of_cluster  # Ray, which the others do without

        return answer_of_cluster(options.address, "status", options.folder, json=options.json)
    status = run_status(options.folder)
    if options.json:
        print(status_json(status))
    else:
        print(status_text(status))
    return 0


def _compare(options: argparse.Namespace) -> int:
    comparison = compare_runs(options.folders)
    shown = select(comparison.table, top=options.top)
    for warning in comparison.warnings:
        print(f"warning: {printable(warning)}", file=sys.stderr)
    _write(shown, options.csv)
    if options.json:
        print(comparison_json(options.folders, comparison, shown))
    else:
        print(comparison_text(comparison, shown))
    return 0


def _write(table: Table, path: Path | None) -> None:
    if path is not None:
        check_output(path)
        write_atomically(path, csv_text(table.frame()))
        print(f"written: {path}", file=sys.stderr)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds above 0, at most {_LONGEST_S}, are expected, e.g. 10")
    return seconds


def _report(options: argparse.Namespace) -> int:
    from results.report.html import write_html_report  # both need pandas, which the other commands do not
    from tune.derived import read_findings

    if options.out is not None:
        check_output(options.out)
    if len(options.folders) > 1:
        return _report_of_several(options)
    folder: Path = options.folders[0]
    log = folder / LOG_NAME
    written: tuple[int, bool] | None = None
    while True:
        # Asked first: what comes between this and the report is in the report.
        running, size = is_being_written(folder), log.stat().st_size if log.exists() else 0
        if (size, running) != written:
            path = write_html_report(read_findings(folder), options.out)
            print(f"written: {path}", file=sys.stderr)
            written = (size, running)
        if not (options.watch and running):
            return 0
        time.sleep(options.every)


def _report_of_several(options: argparse.Namespace) -> int:
    from results.report.html import to_html
    from results.report.several import read_several, report_of_several

    if options.out is None or options.watch:
        raise StudyError("report: several runs are written once to a page of their own; give --out FILE, no --watch")
    runs, comparison = read_several(options.folders)
    is_running = any(found.is_running for found in runs.values())
    write_atomically(options.out, to_html(report_of_several(runs, comparison), is_running=is_running))
    print(f"written: {options.out}", file=sys.stderr)
    return 0


def _export(options: argparse.Namespace) -> int:
    if not (options.tensorboard or options.mlflow or options.optuna or options.optuna_journal):
        raise StudyError("export: nothing to write; give --tensorboard, --mlflow, --optuna or several of them")
    refuse_links(options.folder)
    state, out = load_run(options.folder), (options.out or options.folder / EXPORTS).absolute()
    refuse_links_in(out / "tensorboard", 2)
    for doubt in state.doubts:
        print(f"warning: {doubt}", file=sys.stderr)
    if options.tensorboard:
        from tune.export.tensorboard import export_tensorboard

        path = out / "tensorboard"
        _say(f"{export_tensorboard(state, path)} trials: {path}", "tensorboard", "--logdir", str(path))
    if options.mlflow:
        from tune.export.mlflow import export_mlflow

        path = out / "mlflow.db"
        _say(
            f"{export_mlflow(state, path)} trials added: {path}",
            "mlflow",
            "ui",
            "--backend-store-uri",
            f"sqlite:///{path}",
        )
    journals = [out / "optuna-journal.log"] * options.optuna + [options.optuna_journal] * bool(options.optuna_journal)
    for path in journals:
        from tune.export.optuna import export_journal

        _say(f"{export_journal(state, path)} trials added: {path}", "optuna-dashboard", str(path))
    return 0


def _say(what: str, *viewer: str) -> None:
    print(f"{what}; look at it with `{shlex.join(viewer)}`", file=sys.stderr)
