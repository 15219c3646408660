"""The command line: parses, hands over to the command, and turns a user's mistake into one line and exit code 2."""

from __future__ import annotations

import argparse
import contextlib
import importlib
import sys
from collections.abc import Sequence

from tune.checks import check_installation, check_places
from tune.exits import guarded, harmless_words
from tune.process.signals import hold, release

EPILOG = """examples:
  seti-tune search quickstart                     the shipped five-minute study
  seti-tune data import data/mine --npz mine.npz --fractions 0.6,0.2,0.2
  seti-tune search study.toml                     your own study; the same command continues it
  seti-tune resume runs/quickstart --trials 40    continue a run, here with more trials
  seti-tune submit study.toml --run /shared/runs/study --address http://HEAD:8265     on a cluster
  seti-tune status runs/quickstart                how it stands, also while it runs
  seti-tune leaderboard runs/quickstart --top 10
  seti-tune compare runs/quickstart runs/other
  seti-tune report runs/quickstart                one page with everything, to open in a browser
  seti-tune retrain runs/quickstart               does the best trial come out again?
"""


# Each command, the module it is in, and what the list of commands says of it.
COMMANDS = {
    "search": ("search", "run or continue a study"),
    "resume": ("search", "continue or extend a run"),
    "finals": ("search", "retrain and evaluate the best"),
    "submit": ("jobs", "run or continue a study as a job of a cluster"),
    "logs": ("jobs", "what a submitted search says"),
    "stop": ("jobs", "end a submitted search in order"),
    "leaderboard": ("look", "show a run's leaderboard"),
    "status": ("look", "how a run stands"),
    "compare": ("look", "completed trials of several runs in one table"),
    "replay": ("replay", "what another sampler, grace period or number of workers would have given"),
    "report": ("look", "write a run's report.html"),
    "retrain": ("reproduce", "repeat a trial from its receipt"),
    "export": ("look", "write a run for other tools"),
    "data": ("data", "make, import or describe a data set"),
    "train": ("model", "train one configuration"),
    "evaluate": ("model", "evaluate an exported model on a split"),
    "predict": ("model", "classify images with an exported model"),
    "scan": ("scan", "find signals in whole files of spectra, or as they arrive"),
}


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Return the options of a command line; the first word says which module is imported."""
    parser = argparse.ArgumentParser(
        prog="seti-tune",
        description="Hyperparameter search for CNNs on spectrograms and other images, with a record one can trust.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (module, what) in COMMANDS.items():
        command = commands.add_parser(name, help=what, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name in words[:1]:
            getattr(importlib.import_module(f"tune.cli.{module}"), f"add_{name}")(command)
    return parser.parse_args(words)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, 2 for a user's mistake, 3 for a run that can be continued, 130 for Ctrl-C."""
    words = sys.argv[1:] if arguments is None else arguments
    hold()  # a search acts upon Ctrl-C only where it can pass it on
    try:
        with harmless_words():
            return guarded(lambda: _run(words))
    finally:
        with contextlib.suppress(KeyboardInterrupt):  # too late to interrupt anything
            release()


def _run(words: Sequence[str]) -> int:
    check_installation()  # before anything of a package that may not be ours is imported
    options = parse(words)
    if not getattr(options, "supervised", False) or getattr(options, "dry_run", False):
        release()
    check_places(vars(options).values())
    code: int = options.run(options)
    return code


if __name__ == "__main__":
    sys.exit(main())
