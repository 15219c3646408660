"""The command `report`: one self-contained page made from a run folder, also again and again while the study runs."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path

from results.files import check_output

_LONGEST_S = 86400
EPILOG = """Needs the run folder alone, neither its data set nor a network. Without --watch it is written once.
examples:
  seti-tune report runs/quickstart                        RUN/report.html
  seti-tune report runs/quickstart --watch                again while the study runs
  seti-tune report copy/of/run --out report.html
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `report`."""
    raw = argparse.RawDescriptionHelpFormatter
    report = commands.add_parser("report", help="write a run's report.html", epilog=EPILOG, formatter_class=raw)
    report.add_argument("folder", metavar="RUN", type=Path, help="the run folder, or a copy of it")
    report.add_argument("--out", type=Path, metavar="FILE", help="where to write it (default: RUN/report.html)")
    report.add_argument("--watch", action="store_true", help="write it again whenever the run has grown, until it ends")
    report.add_argument(
        "--every", type=_seconds, default=10.0, metavar="SECONDS", help="how often --watch looks (default: 10)"
    )
    report.set_defaults(run=_report)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= _LONGEST_S:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds above 0, at most {_LONGEST_S}, are expected, e.g. 10")
    return seconds


def _report(options: argparse.Namespace) -> int:
    from results.log.event_log import LOG_NAME, is_being_written

    if options.out is not None:
        check_output(options.out)
    log: Path = options.folder / LOG_NAME
    written: tuple[int, bool] | None = None
    while True:
        # Asked first: what comes between this and the report is in the report.
        running, size = is_being_written(options.folder), log.stat().st_size if log.exists() else 0
        if (size, running) != written:
            from results.log.state import load_run
            from tune.derived import write_page

            path = write_page(options.folder, load_run(options.folder), options.out)
            print(f"written: {path}", file=sys.stderr)
            written = (size, running)
        if not (options.watch and running):
            return 0
        time.sleep(options.every)
