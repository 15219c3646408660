"""The command `replay`: other ways to search, tried on recorded learning curves."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from results.files import check_output

EPILOG = """examples:
  seti-tune replay runs/study --grace 1 4              is the grace period too short?
  seti-tune replay runs/study --workers 2 8            what would four times the workers buy?
  seti-tune replay runs/a runs/b --sampler tpe random --trials 50 --seeds 40
  seti-tune replay runs/study --scheduler asha none    what does stopping save, and what does it cost?
  seti-tune replay runs/a runs/b --save curves.parquet keep the curves in one file, which can be replayed as a run
Nothing is trained. The search itself is run, with its sampler, its rungs and so many workers; a trial gets the learning
curve of the recorded configuration nearest to it, and the clock goes on by the seconds that its epochs took. With
several values of an option each is compared with the first, paired by seed: a difference whose interval excludes 0 is
more than luck. Curves that a stop has cut are used as far as they go: record without stopping (grace_epochs =
max_epochs) what is to judge a stopping rule. The sampler's own time, starts of workers and finals are not simulated.
"""


def add_replay(replay: argparse.ArgumentParser) -> None:
    """Give `replay` its arguments; it sets `run`, which takes them and returns an exit code."""
    replay.epilog = EPILOG
    replay.set_defaults(run=_replay)
    replay.add_argument("sources", metavar="RUN|FILE", nargs="+", type=Path, help="run folders or files of --save")
    replay.add_argument("--sampler", nargs="+", choices=("tpe", "random"), default=[], help="(default: the run's)")
    replay.add_argument("--scheduler", nargs="+", choices=("asha", "none"), default=[], help="(default: asha)")
    for name, what in (
        ("grace", "the first epoch at which a trial may be stopped"),
        ("factor", "one trial in so many goes on at each rung"),
        ("workers", "trials at once"),
    ):
        replay.add_argument(
            f"--{name}", nargs="+", type=int, default=[], metavar="N", help=f"{what} (default: the run's)"
        )
    replay.add_argument("--trials", type=int, metavar="N", help="of each search (default: the run's)")
    replay.add_argument("--epochs", type=int, metavar="N", help="end each search after so many epochs, not trials")
    replay.add_argument("--seeds", type=int, default=20, metavar="N", help="searches of each kind (default: 20)")
    replay.add_argument("--save", type=Path, metavar="FILE", help="write the curves to a Parquet file, replay nothing")


def _replay(options: argparse.Namespace) -> int:
    if options.save is not None:
        check_output(options.save)
    from results.learning_curves import read_curves, write_curves
    from tune.replay.comparison import Asked, replay_seeds, variants
    from tune.replay.nearest import Nearest
    from tune.replay.text import recorded_text, replayed_text

    nearest = Nearest(read_curves(options.sources))
    if options.save is not None:
        write_curves(options.save, nearest.recorded)
        print(f"{recorded_text(nearest)}\nwritten to {options.save}")
        return 0
    given = {name: tuple(getattr(options, name)) for name in ("sampler", "scheduler", "grace", "factor", "workers")}
    asked = Asked(**given, trials=options.trials, epochs=options.epochs, seeds=options.seeds)
    length = (
        f"{asked.epochs} epochs" if asked.epochs else f"{asked.trials or nearest.recorded.study.study.trials} trials"
    )
    chosen = variants(nearest, asked)
    print(recorded_text(nearest))
    print(f"replayed: {asked.seeds} searches of {length}{'' if len(chosen) == 1 else ' for each'}\n", flush=True)
    replayed = []
    for variant in chosen:

        def tell(done: int, name: str = variant.name) -> None:
            if sys.stderr.isatty():
                print(f"\r{name}: {done} of {asked.seeds} searches", end="", file=sys.stderr, flush=True)

        replayed.append(replay_seeds(nearest, variant, asked, tell=tell))
    if sys.stderr.isatty():
        print(file=sys.stderr)
    print(replayed_text(nearest, replayed))
    return 0
