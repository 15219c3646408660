"""Where the driver's process starts (`python -m tune.process.child ORDER`): signals first, then what takes time."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from results.run_folder import LOG_NAME
from tune.exits import guarded, harmless_words
from tune.process.channel import follow_parent
from tune.process.signals import Interrupted, Signals, exit_code
from tune.view.terminal import LIVE, PLAIN

if TYPE_CHECKING:
    from tune.study import Study

EXIT_BUG = 70  # of the driver; 1 is what Ray's C++ exits with when the head is gone


@dataclass(frozen=True, kw_only=True)
class Order:
    """What the driver's process is asked to do: what a user typed, None where nothing.

    Without `study`, a study file, or `handed`, a file of `tune.process.handed`, the log has the study.
    With `finals_only` it is the recorded study's finals and nothing else.
    """

    run: str
    study: str | None = None
    handed: str | None = None
    trials: int | None = None
    data: str | None = None
    space: str | None = None
    address: str | None = None
    no_finals: bool = False
    finals_only: bool = False
    finalists: int | None = None
    seeds: int | None = None
    view: str = PLAIN
    storage: str | None = None  # the address that a run folder was made from
    trust: bool = False  # whether code of another user may be run
    like: str | None = None  # another run, whose best configurations a new one begins with
    top: int | None = None  # how many of them
    retry_failed: bool = False

    def again(self) -> str:
        """Return the command that continues."""
        run = Path(self.run)
        moved = {"data": _path(self.data), "space": _path(self.space), "address": self.address, "trust": self.trust}
        if self.finals_only:  # what it asks for may not be in the log yet
            return command("finals", run, finalists=self.finalists, seeds=self.seeds, **moved)
        log = run / LOG_NAME
        if self.storage is not None:
            return command("resume", self.storage, run=run, trials=self.trials, **moved)
        if self.study is None or (log.is_file() and log.stat().st_size > 0):
            return command("resume", run, trials=self.trials, **moved)
        del moved["trust"]  # whoever names a study file trusts it
        first = {"like": _path(self.like), "top": self.top}
        return command("search", self.study, run=run, trials=self.trials, no_finals=self.no_finals, **first, **moved)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the driver for the `Order` in JSON that is the only argument, print what came out; return the exit code."""
    signals = Signals()
    signals.install()
    (order,) = sys.argv[1:] if arguments is None else arguments
    follow_parent()
    asked = Order(**json.loads(order))
    with harmless_words(is_drawing=asked.view == LIVE):
        return guarded(lambda: _run(asked, signals), bug=EXIT_BUG)


def _run(order: Order, signals: Signals) -> int:
    from seti_model.runtime import importing

    with importing():
        from results.log.records import Status
        from results.report.sentences import headline
        from results.run_folder import HTML_REPORT, LEADERBOARD, REPORT
        from results.tables.leaderboard import leaderboard_table, leaderboard_text
        from tune.checks import check_installation
        from tune.like import TOP, Like
        from tune.process.driver import run_study

    check_installation()
    study, run = _study(order), Path(order.run)
    try:
        signals.check()
        like = None if order.like is None else Like(Path(order.like), order.top or TOP)
        again = order.retry_failed
        outcome = run_study(
            study, run, address=order.address, signals=signals, view=order.view, like=like, retry_failed=again
        )
    except Interrupted as interrupted:
        print("Interrupted before the search began. Start the same command again to continue.")
        return exit_code(interrupted.name)
    found = outcome.found
    print(leaderboard_text(outcome.state, leaderboard_table(outcome.state) if found is None else found.leaderboard))
    if outcome.signal is not None:
        print(f"\nInterrupted; leaderboard of what was done: {run}/{LEADERBOARD}\nContinue with: {order.again()}")
        return exit_code(outcome.signal)
    print("\n" + "\n".join([] if found is None else headline(found)))
    print(f"\nLeaderboard: {run}/{LEADERBOARD}\nReport: {run}/{REPORT}")
    print(f"Page: {run}/{HTML_REPORT}")
    return 0 if any(trial.status == Status.COMPLETED for trial in outcome.state.search_trials()) else 2


def _study(order: Order) -> Study:
    from tune.process.handed import take
    from tune.resume import finals_study, recorded_study, require_own_code
    from tune.storage.segments import bring_up_to_date
    from tune.study import load_study

    run, data = Path(order.run), _path(order.data)
    if order.handed is not None:
        study = take(Path(order.handed))
        return study.without_finals() if order.no_finals else study
    if order.study is None or order.finals_only:
        require_own_code(run, is_trusted=order.trust)
        bring_up_to_date(run)
    if order.finals_only:
        return finals_study(run, data=data, finalists=order.finalists, seeds=order.seeds)
    if order.study is None:
        return recorded_study(run, trials=order.trials, data=data, space=_path(order.space), storage=order.storage)
    study = load_study(order.study)
    study = study if order.trials is None else study.with_trials(order.trials)
    return study.without_finals() if order.no_finals else study


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)


if __name__ == "__main__":
    sys.exit(main())
