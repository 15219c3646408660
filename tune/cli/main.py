"""The command line: parses, hands over to the command, and turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Sequence

from tune.errors import guarded
from tune.places import check_places
from tune.process.signals import hold, release

EPILOG = """examples:
  seti-tune search quickstart                     the shipped five-minute study
  seti-tune data import data/mine --npz mine.npz --fractions 0.6,0.2,0.2
  seti-tune search study.toml                     your own study; the same command continues it
  seti-tune resume runs/quickstart --trials 40    continue a run, here with more trials
  seti-tune status runs/quickstart                how it stands, also while it runs
  seti-tune leaderboard runs/quickstart --top 10
  seti-tune compare runs/quickstart runs/other
  seti-tune report runs/quickstart                one page with everything, to open in a browser
  seti-tune retrain runs/quickstart               does the best trial come out again?
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with all commands; imports nothing heavy."""
    from tune.cli import data, export, look, predict, report, reproduce, search, train

    parser = argparse.ArgumentParser(
        prog="seti-tune",
        description="Hyperparameter search for CNNs on radio spectrograms, with a record one can trust.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    search.add_parsers(commands)
    look.add_parsers(commands)
    report.add_parser(commands)
    reproduce.add_parser(commands)
    export.add_parsers(commands)
    data.add_parser(commands)
    train.add_parser(commands)
    predict.add_parsers(commands)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 2 for a user's mistake, 3 for a run that can be continued, 130 for Ctrl-C."""
    hold()  # a search acts upon Ctrl-C only where it can pass it on
    try:
        options = build_parser().parse_args(arguments)

        def command() -> int:
            from tune.provenance import check_installation

            if not getattr(options, "supervised", False) or getattr(options, "dry_run", False):
                release()
            check_installation()
            check_places(vars(options).values())
            code: int = options.run(options)
            return code

        return guarded(command)
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # too late to interrupt anything
            release()


if __name__ == "__main__":
    sys.exit(main())
