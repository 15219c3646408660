"""The command `retrain`: repeat a trial from its receipt and say whether the same came out."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from results.reproduction import differences
from results.run_folder import ANSWER
from results.text import printable
from tune import reproduce as retrain
from tune.reproduce import default_folder, find_source, open_data, require_own_code, setting_here
from tune.trust import TRUST_HELP

if TYPE_CHECKING:
    from results.log.records import Epoch
    from results.receipt import Receipt

EPILOG = """RUN is a run folder, also a copy of one, or a receipt: a file of RUN/receipts. Where a receipt's file
and the log disagree, the file counts and the disagreement is named. Ray is not started.
examples:
  seti-tune retrain runs/quickstart                          the model that was delivered, else rank 1
  seti-tune retrain runs/quickstart --trial 3                trial 3 of the search
  seti-tune retrain runs/quickstart --trial 3 --repeat 0     its retraining of seed index 0
  seti-tune retrain 0003.json --data data/course             from the receipt alone
Answers `identical` (the weights are the same bit for bit), `within tolerance` (the best objective lies where
95 % of retrainings are expected, from those of the finals) or `differs, because …`. Started again, it goes on.
exit codes: 0 identical or within tolerance, 2 differs because of something named, or a mistake in what was asked for,
1 differs although nothing recorded does, 130 Ctrl-C
"""


def add_retrain(parser: argparse.ArgumentParser) -> None:
    """Give `retrain` its arguments; it sets `run`, which takes them and returns an exit code."""
    parser.epilog = EPILOG
    parser.set_defaults(run=_retrain)
    parser.add_argument("place", metavar="RUN", type=Path, help="a run folder, or a receipt")
    parser.add_argument("--trial", metavar="best|N", help="which trial of the run (default: best)")
    parser.add_argument("--repeat", type=int, metavar="R", help="its retraining of seed index R in the finals, from 0")
    parser.add_argument("--data", type=Path, metavar="PATH", help="the data set (default: the run's, as recorded)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: runs/retrain-<study>-<trial>")
    parser.add_argument("--trust", action="store_true", help=TRUST_HELP)
    parser.add_argument("--threads", type=int, metavar="N", help="default: as in the receipt, which results depend on")


def _retrain(options: argparse.Namespace) -> int:
    source = find_source(options.place, trial=options.trial, repeat=options.repeat)
    receipt = source.receipt
    for doubt in [] if source.state is None else source.state.doubts:
        print(f"warning: {doubt}")
    require_own_code(source, is_trusted=options.trust)
    dataset = open_data(source, options.data)
    setting = setting_here(source, dataset, options.threads)
    out = options.out or default_folder(receipt)
    epochs = f"to epoch {receipt.epochs} of {receipt.max_epochs}"
    print(f"{printable(source.name)}: {epochs}, threads: {setting.threads}, into {out}")
    for words in differences(receipt, setting, source.disagreements):
        print(f"different from the recorded trial: {words}")
    shown: list[int] = []

    def show(report: Epoch) -> None:
        shown.append(report.epoch)
        print(_line(receipt, report), flush=True)

    try:
        data = None if dataset is None else dataset.training_data()
        answer = retrain.retrain(source, setting, data, out, show=show)
    except KeyboardInterrupt:
        print(f"interrupted; continue with: {_again(options)}")
        raise
    if not shown:
        print(f"nothing was left to train: the answer is about what {out} holds already")
    print(f"\n{answer.text}\nAnswer: {out / ANSWER}")
    return answer.exit_code


def _line(receipt: Receipt, report: Epoch) -> str:
    recorded = dict(enumerate(receipt.validation_accuracies, start=1)).get(report.epoch)
    beside = "not finite" if recorded is None else f"{recorded:.4f}"
    same = "the same" if recorded == report.validation_accuracy else "another"
    seconds = "" if report.seconds is None else f"  {report.seconds:.1f} s"
    return (
        f"epoch {report.epoch:>3}/{receipt.epochs}  validation accuracy {report.validation_accuracy:.4f}  "
        f"recorded {beside} ({same}){seconds}"
    )


def _again(options: argparse.Namespace) -> str:
    given = {name: getattr(options, name) for name in ("trial", "repeat", "data", "out", "threads", "trust")}
    return command("retrain", options.place, **given)
