"""The command `train`: one network without a search."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.files import write_atomically

if TYPE_CHECKING:  # what these import takes seconds, and `--help` must not wait for it
    from seti_model.data.dataset import Dataset
    from seti_model.training.train import EpochResult, TrainingResult

TRAIN_EPILOG = """examples:
  seti-tune train --data data/course                                      the course network, into runs/train
  seti-tune train --data data/wide --set training.epochs=3 --set network.filters_1=16 --out runs/small
  seti-tune train --data data/course --continue                           go on after the last complete epoch
  seti-tune train --data data/course --continue --set training.epochs=20  prolong a finished training
  seti-tune train --data data/new --init-from runs/train/model.keras --set training.frozen_blocks=1 --out runs/new
Writes history.json, curves.png (refreshed each epoch), report.txt, model.keras and checkpoints/ into DIR.
"""


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `train`; it sets `run`, which takes the arguments and returns an exit code."""
    train = add_command(subparsers, "train", "train one configuration", TRAIN_EPILOG, _train)
    train.add_argument("--data", type=Path, required=True, metavar="DATASET", help="folder of a data set")
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
    from seti_model.config import Configuration
    from seti_model.data.dataset import Dataset
    from seti_model.errors import ConfigError
    from seti_model.runtime import prepare_process

    saved = _saved_settings(args.out, go_on=args.go_on)
    configuration = Configuration.from_mapping(saved.get("configuration", {}) | _parsed(args.settings))
    seed = _first(args.seed, saved.get("seed"), 1)
    threads = _first(args.threads, saved.get("threads"), cores())
    init_from, start = _start(args.init_from, saved)
    dataset = Dataset.open(args.data)
    prepare_process(threads)
    from seti_model.training import train as training

    settings = {"configuration": configuration.to_mapping(), "seed": seed, "threads": threads}
    monitor = _Monitor(args.out, settings | {"data_digest": dataset.digest} | start)
    try:
        result = training.train(
            configuration,
            dataset.training_data(),
            seed=seed,
            on_epoch=monitor.show,
            checkpoint_folder=args.out / "checkpoints",
            init_from=init_from,
            resume_from=_newest(args.out / "checkpoints") if args.go_on else None,
        )
    except training.Diverged as error:
        raise ConfigError(f"{error}; lower training.learning_rate with --set or change the seed") from error
    except KeyboardInterrupt:
        print(f"interrupted; continue with: seti-tune train --data {args.data} --out {args.out} --continue")
        raise
    _finish(args.out, dataset, result)
    return 0


def _finish(out: Path, dataset: Dataset, result: TrainingResult) -> None:
    from results.stats.metrics import classification_metrics, report_text
    from seti_model.exported import export_model

    export_model(result.best, out / "model.keras")
    metrics = classification_metrics(
        dataset.split("validation").labels, result.validation_probabilities, dataset.class_names
    )
    heading = f"validation split, epoch {result.best_epoch} (the best of {len(result.history)})"
    report = f"{heading}\n{report_text(metrics)}\n"
    write_atomically(out / "report.txt", report)
    print(f"\n{report}\nweights {result.best_weights_digest}\nmodel {out / 'model.keras'}")


class _Monitor:
    """Prints a line, and renews `settings.json`, `history.json` and `curves.png`, after each epoch."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self._out, self._settings = out, settings
        self._rows: list[dict[str, Any]] = []

    def show(self, epoch: EpochResult) -> bool:
        from results.report.figures import learning_curves

        if not self._rows and epoch.epoch > 1:
            self._rows = _earlier_rows(self._out / "history.json", epoch.epoch)
        self._rows.append(epoch.to_mapping())
        # Not before the first epoch: until then a training that was to be continued may turn out to be another.
        _write_json(self._out / "settings.json", self._settings)
        _write_json(self._out / "history.json", self._rows)
        learning_curves(self._rows, self._out / "curves.png")
        print(
            f"epoch {epoch.epoch:>3}/{self._settings['configuration']['training.epochs']}  "
            f"training loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.3f}  "
            f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.3f}"
            f"{' best' if epoch.is_best else '     '}  "
            f"rate {epoch.learning_rate:.2e}  {epoch.images_per_s:.1f} images/s  {epoch.seconds:.1f} s",
            flush=True,
        )
        return False


def _saved_settings(out: Path, *, go_on: bool) -> Mapping[str, Any]:
    """Return the settings of the training in `out` if it is to be continued; refuse to overwrite one."""
    from seti_model.errors import ConfigError

    file = out / "settings.json"
    if go_on != file.exists():
        if go_on:
            raise ConfigError(f"{out}: holds no training to continue; leave out --continue to start one")
        raise ConfigError(f"{out}: holds a training already; add --continue, or give another folder with --out")
    if not go_on:
        return {}
    try:
        saved: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{file}: not JSON ({error}); start afresh in another folder") from error
    return saved


def _start(given: Path | None, saved: Mapping[str, Any]) -> tuple[Path | None, dict[str, str]]:
    """Return the model to start from, if any, and what the settings keep of it."""
    from seti_model.description import read_description

    if given is None and "init_from" not in saved:
        return None, {}
    model = Path(saved["init_from"]) if given is None else given.absolute()
    return model, {"init_from": str(model), "init_digest": read_description(model).weights_digest}


def _newest(checkpoints: Path) -> Path:
    from seti_model.errors import CheckpointError
    from seti_model.training.checkpoint import newest_checkpoint

    newest = newest_checkpoint(checkpoints)
    if newest is None:
        raise CheckpointError(f"{checkpoints}: no complete checkpoint to continue from; start afresh in another folder")
    return newest


def _parsed(settings: Sequence[str]) -> dict[str, object]:
    from seti_model.config import field_types
    from seti_model.errors import ConfigError

    types, values = field_types(), dict[str, object]()
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ConfigError(f"--set {setting}: expected FIELD=VALUE, for example training.epochs=3")
        expected = types.get(name, str)  # an unknown name is refused together with the known ones
        try:
            values[name] = text if expected is str else json.loads(text)
        except ValueError as error:
            raise ConfigError(
                f"--set {setting}: {text!r} is no {expected.__name__}; write {_SAMPLES[expected]}"
            ) from error
    return values


_SAMPLES: Mapping[type, str] = {int: "a whole number", float: "a number such as 0.005", bool: "true or false"}


def _earlier_rows(file: Path, before: int) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else []
    return [row for row in rows if row["epoch"] < before]


def _write_json(path: Path, content: object) -> None:
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def _first(*candidates: Any) -> int:
    return next(int(candidate) for candidate in candidates if candidate is not None)


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
