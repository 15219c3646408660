"""The command `export`: a run in the form of another tool."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

EXPORT_EPILOG = """examples:
  seti-tune export runs/quickstart --tensorboard     also while the search runs; again for what came since
  seti-tune export runs/quickstart --mlflow --optuna --out exports
Each viewer is a package of its own: pip install tensorboard, mlflow, optuna-dashboard.
`--optuna-journal FILE` names the journal itself; `optuna-dashboard FILE` shows it.
"""
EXPORTS = "exports"


def add_parsers(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `export`."""
    raw = argparse.RawDescriptionHelpFormatter
    export = commands.add_parser(
        "export", help="write a run for other tools", epilog=EXPORT_EPILOG, formatter_class=raw
    )
    export.add_argument("folder", metavar="RUN", type=Path, help="the run folder")
    export.add_argument("--tensorboard", action="store_true", help="curves and HParams, DIR/tensorboard/")
    export.add_argument("--mlflow", action="store_true", help="a local MLflow store, DIR/mlflow.db")
    export.add_argument("--optuna", action="store_true", help="Optuna's journal, DIR/optuna-journal.log")
    export.add_argument("--out", type=Path, metavar="DIR", help=f"where to (default: RUN/{EXPORTS})")
    export.add_argument("--optuna-journal", type=Path, metavar="FILE", help="Optuna's journal, as this file")
    export.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> int:
    from results.log.state import load_run
    from tune.errors import StudyError

    if not (options.tensorboard or options.mlflow or options.optuna or options.optuna_journal):
        raise StudyError("export: nothing to write; give --tensorboard, --mlflow, --optuna or several of them")
    state, out = load_run(options.folder), (options.out or options.folder / EXPORTS).absolute()
    if options.tensorboard:
        from tune.export.tensorboard import export_tensorboard

        path = out / "tensorboard"
        _say(f"{export_tensorboard(state, path)} trials: {path}", f"tensorboard --logdir {path}")
    if options.mlflow:
        from tune.export.mlflow import export_mlflow

        path = out / "mlflow.db"
        _say(f"{export_mlflow(state, path)} trials added: {path}", f"mlflow ui --backend-store-uri sqlite:///{path}")
    journals = [out / "optuna-journal.log"] * options.optuna + [options.optuna_journal] * bool(options.optuna_journal)
    for path in journals:
        from tune.export.optuna import export_journal

        _say(f"{export_journal(state, path)} trials added: {path}", f"optuna-dashboard {path}")
    return 0


def _say(what: str, viewer: str) -> None:
    print(f"{what}; look at it with `{viewer}`", file=sys.stderr)
