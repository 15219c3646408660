"""Where the driver's process starts (`python -m tune.process.child`): signals first, then what takes time."""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from tune.errors import guarded
from tune.process.signals import Interrupted, Signals, exit_code
from tune.view.terminal import PLAIN, VIEWS

if TYPE_CHECKING:
    from tune.study import Study

EXIT_BUG = 70  # of the driver; 1 is what Ray's C++ exits with when the head is gone


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver and print what came out; return the exit code."""
    signals = Signals()
    signals.install()
    parser = argparse.ArgumentParser(prog="python -m tune.process.child", description="The process behind a search.")
    parser.add_argument("study", nargs="?", help="a study file; without it the study in the run's log")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--trials", type=int)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--space", type=Path)
    parser.add_argument("--address")
    parser.add_argument("--no-finals", action="store_true")
    parser.add_argument("--finals-only", action="store_true", help="the recorded study's finals, nothing else")
    parser.add_argument("--finalists", type=int)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--view", choices=VIEWS, default=PLAIN)
    options = parser.parse_args(arguments)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    return guarded(lambda: _run(options, signals), bug=EXIT_BUG)


def _run(options: argparse.Namespace, signals: Signals) -> int:
    from results.log.records import Status
    from results.report.sentences import headline
    from results.run_folder import HTML_REPORT, LEADERBOARD, REPORT
    from results.tables.leaderboard import leaderboard_table, leaderboard_text
    from tune.installation import check_installation
    from tune.process.driver import run_study

    check_installation()
    study = _study(options)
    try:
        signals.check()
        outcome = run_study(study, options.run, address=options.address, signals=signals, view=options.view)
    except Interrupted as interrupted:
        print("Interrupted before the search began. Start the same command again to continue.")
        return exit_code(interrupted.name)
    found = outcome.found
    print(leaderboard_text(outcome.state, leaderboard_table(outcome.state) if found is None else found.leaderboard))
    if outcome.signal is not None:
        trials = options.trials if options.trials != outcome.state.study.study.trials else None
        moved = {"data": options.data, "space": options.space, "address": options.address}
        go_on = command("resume", options.run, trials=trials, **moved)
        if options.finals_only:  # what it asks for may not be in the log yet
            go_on = command("finals", options.run, finalists=options.finalists, seeds=options.seeds, **moved)
        print(f"\nInterrupted; leaderboard of what was done: {options.run}/{LEADERBOARD}\nContinue with: {go_on}")
        return exit_code(outcome.signal)
    print("\n" + "\n".join([] if found is None else headline(found)))
    print(f"\nLeaderboard: {options.run}/{LEADERBOARD}\nReport: {options.run}/{REPORT}")
    print(f"Page: {options.run}/{HTML_REPORT}")
    return 0 if any(trial.status == Status.COMPLETED for trial in outcome.state.search_trials()) else 2


def _study(options: argparse.Namespace) -> Study:
    from tune.resume import finals_study, recorded_study
    from tune.study import load_study

    if options.finals_only:
        return finals_study(options.run, data=options.data, finalists=options.finalists, seeds=options.seeds)
    if options.study is None:
        return recorded_study(options.run, trials=options.trials, data=options.data, space=options.space)
    study = load_study(options.study)
    study = study if options.trials is None else study.with_trials(options.trials)
    return study.without_finals() if options.no_finals else study


def _end_with_parent() -> None:
    """End in order when the parent is gone: nobody writes to standard input, so reading returns only then."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
