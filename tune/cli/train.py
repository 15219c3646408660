"""The command `train`: one network without a search."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

TRAIN_EPILOG = """examples:
  seti-tune train --data data/course                                      the course network, into runs/train
  seti-tune train --data data/wide --set training.epochs=3 --set network.filters_1=16 --out runs/small
  seti-tune train --continue                                              go on from the last checkpoint
  seti-tune train --continue --set training.epochs=20                     prolong a finished training
  seti-tune train --data data/new --init-from runs/train/model.keras --set training.frozen_blocks=1 --out runs/new
Writes events.jsonl (the record), history.json and curves.png (derived from it after each epoch), report.txt,
model.keras and checkpoints/ into DIR.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train`; it sets `run`, which takes the arguments and returns an exit code."""
    train = add_command(subparsers, "train", "train one configuration", TRAIN_EPILOG, _train)
    train.add_argument("--data", type=Path, metavar="DATASET", help="folder of a data set (to continue: if it moved)")
    train.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        help="a field of the configuration, e.g. training.epochs=3; may be repeated",
    )
    train.add_argument("--out", type=Path, default=Path("runs/train"), metavar="DIR", help="default: %(default)s")
    train.add_argument("--seed", type=int, metavar="N", help="default: 1, or that of the training continued")
    train.add_argument("--threads", type=int, metavar="N", help="default: all cores; part of what makes it repeatable")
    train.add_argument(
        "--init-from", type=Path, metavar="MODEL", help="start from the weights of a model.keras, its .json beside it"
    )
    train.add_argument("--continue", dest="go_on", action="store_true", help="continue the training in DIR")


def add_command(subparsers: Any, name: str, help_text: str, epilog: str, run: Any) -> argparse.ArgumentParser:
    """Add a command that calls `run`; its help ends with `epilog` as it stands."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=help_text, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.set_defaults(run=run)
    return parser


def _train(args: argparse.Namespace) -> int:
    from tune.train import Wanted, train_one  # which needs NumPy

    train_one(
        Wanted(
            out=args.out,
            data=args.data,
            settings=tuple(args.settings),
            seed=args.seed,
            threads=args.threads,
            init_from=args.init_from,
            go_on=args.go_on,
        ),
        cores=cores(),
    )
    return 0


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
