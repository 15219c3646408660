"""The command `export`: a run in the form of another tool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EPILOG = """examples:
  seti-tune export runs/quickstart --optuna-journal optuna.log     also while the search runs
  optuna-dashboard optuna.log                                      not part of seti-tune: pip install optuna-dashboard
A second call adds the trials that have ended since. `[export] optuna_journal = true` in the study file does the same
during the search, into RUN/optuna-journal.log.
"""


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export`."""
    raw = argparse.RawDescriptionHelpFormatter
    export = commands.add_parser("export", help="write a run for other tools", epilog=EPILOG, formatter_class=raw)
    export.add_argument("folder", metavar="RUN", type=Path, help="the run folder")
    export.add_argument(
        "--optuna-journal", type=Path, metavar="FILE", required=True, help="Optuna's journal, for optuna-dashboard"
    )
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from results.state import load_run
    from tune.export import export_journal

    added = export_journal(load_run(options.folder), options.optuna_journal)
    print(f"{added} trials added: {options.optuna_journal}", file=sys.stderr)
    return 0
