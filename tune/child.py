"""Where the driver's process starts (`python -m tune.child`): signals first, then everything that takes time."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from tune.errors import guarded
from tune.signals import Interrupted, Signals, exit_code

EXIT_BUG = 70  # of the driver; 1 is what Ray's C++ exits with when the head is gone
CONTINUE = "Start the same command again to continue."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver and print what came out; return the exit code."""
    signals = Signals()
    signals.install()
    parser = argparse.ArgumentParser(prog="python -m tune.child", description="The process behind `seti-tune search`.")
    parser.add_argument("study")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--address")
    options = parser.parse_args(arguments)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return guarded(lambda: _run(options, signals), bug=EXIT_BUG)


def _run(options: argparse.Namespace, signals: Signals) -> int:
    from results.leaderboard import leaderboard_text
    from results.report import REPORT, headline, read_finals
    from tune.driver import run_study
    from tune.provenance import check_installation
    from tune.study import load_study

    check_installation()
    study = load_study(options.study).with_trials(options.trials)
    try:
        signals.check()
        outcome = run_study(study, options.run, address=options.address, signals=signals)
    except Interrupted as interrupted:
        print(f"Interrupted before the search began. {CONTINUE}")
        return exit_code(interrupted.name)
    print(leaderboard_text(outcome.state))
    if outcome.signal is not None:
        print(f"\nInterrupted; leaderboard of what was done: {options.run}/leaderboard.csv. {CONTINUE}")
        return exit_code(outcome.signal)
    print("\n" + "\n".join(headline(outcome.state, read_finals(options.run, outcome.state))))
    print(f"\nLeaderboard: {options.run}/leaderboard.csv\nReport: {options.run}/{REPORT}")
    return 0 if any(trial.status == "completed" for trial in outcome.state.search_trials()) else 2


def _end_with_parent() -> None:
    """End in order when the parent is gone: nobody writes to standard input, so reading returns only then."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
