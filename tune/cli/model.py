"""The commands `train`, `evaluate` and `predict`: one network without a search, and what a model says of images."""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from results.files import check_output, write_atomically
from results.stats.metrics import classification_metrics, report_text
from results.text import csv_cell, printable
from seti_model.data.dataset import DATASET_FILE, Dataset
from seti_model.data.sources.unlabelled import Unlabelled, read_unlabelled
from seti_model.errors import DatasetError, ModelError
from tune.cores import cores
from tune.models import load_recorded
from tune.test_split import report_use, unlock_test
from tune.trust import TRUST_HELP

if TYPE_CHECKING:  # what these import takes seconds, and `--help` must not wait for it
    from seti_model.data.dataset import SplitData
    from seti_model.exported import ExportedModel
    from seti_model.pace import Pace
    from tune.scan.engine import Block, Reading

TRAIN_EPILOG = """examples:
  seti-tune train --data data/course                                      the course network, into runs/train
  seti-tune train --data data/wide --set training.epochs=3 --set network.filters_1=16 --out runs/small
  seti-tune train --data data/course --set network.family=drift --summary what another family looks like
  seti-tune train --continue                                              go on from the last checkpoint
  seti-tune train --continue --set training.epochs=20                     prolong a finished training
  seti-tune train --data data/new --init-from runs/train/model.keras --set training.frozen_blocks=1 --out runs/new
Writes events.jsonl (the record), history.json and curves.png (derived from it after each epoch), report.txt,
model.keras and checkpoints/ into DIR.
"""
EVALUATE_EPILOG = """examples:
  seti-tune evaluate runs/train/model.keras data/course --split validation
The test split is locked: `seti-tune finals RUN` looks at it once; each --unlock-test is recorded for good.
"""
PREDICT_EPILOG = """examples:
  seti-tune predict runs/train/model.keras new_images.npz --csv predictions.csv
  seti-tune predict runs/train/model.keras images.csv pictures/ one.png
  seti-tune predict runs/train/model.keras data/course --split train
  seti-tune predict runs/train/model.keras incoming --follow --csv predictions.csv     pictures as they arrive
  camera | seti-tune predict runs/train/model.keras - > predictions.csv                 frames, 8-bit pixels row by row
FILE is .npz (array x), .csv (a row of numbers 0..1 per image), .png, .fits, a folder of these, or a data set; pictures
become pixels by the rule of the data set that the model was trained on.
"""
TEST = "test"
LATENCY_REPEATS = 40


def add_train(train: argparse.ArgumentParser) -> None:
    """Give `train` its arguments; it sets `run`, which takes them and returns an exit code."""
    train.epilog = TRAIN_EPILOG
    train.set_defaults(run=_train)
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
    train.add_argument("--summary", action="store_true", help="print layers, shapes and parameters, and train nothing")
    train.add_argument("--continue", dest="go_on", action="store_true", help="continue the training in DIR")
    train.add_argument("--trust", action="store_true", help=TRUST_HELP)


def add_evaluate(evaluate: argparse.ArgumentParser) -> None:
    """Give `evaluate` its arguments."""
    evaluate.epilog = EVALUATE_EPILOG
    evaluate.set_defaults(run=_evaluate)
    evaluate.add_argument("model", type=Path, metavar="MODEL", help="model.keras, its .json beside it")
    evaluate.add_argument("dataset", type=Path, metavar="DATASET", help="folder of a data set")
    evaluate.add_argument("--split", default="validation", help="default: %(default)s")
    _add_test_and_threads(evaluate)


def add_predict(predict: argparse.ArgumentParser) -> None:
    """Give `predict` its arguments."""
    predict.epilog = PREDICT_EPILOG
    predict.set_defaults(run=_predict)
    predict.add_argument("model", type=Path, metavar="MODEL", help="model.keras, its .json beside it")
    predict.add_argument("files", type=Path, nargs="+", metavar="FILE", help="images, see below")
    predict.add_argument("--split", help="of a data set; default: validation")
    predict.add_argument("--csv", type=Path, metavar="FILE", help="write the table there instead of printing it")
    predict.add_argument(
        "--follow",
        action="store_true",
        help="wait for pictures that arrive in the folder FILE; with --csv the same command goes on after an interrupt",
    )
    predict.add_argument(
        "--idle", type=float, metavar="SECONDS", help="end --follow when nothing arrived for so long (default: never)"
    )
    predict.add_argument(
        "--batch",
        type=int,
        metavar="N",
        help="images at a time; the default is fastest here and gives what validation gave, bit for bit",
    )
    _add_test_and_threads(predict)


def _add_test_and_threads(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--unlock-test", action="store_true", help="allow the test split; the use is recorded")
    parser.add_argument("--threads", type=int, metavar="N", help="default: all cores")


def _train(args: argparse.Namespace) -> int:
    from tune.train import Wanted, summary_of, train_one  # which needs NumPy

    wanted = Wanted(
        out=args.out,
        data=args.data,
        settings=tuple(args.settings),
        seed=args.seed,
        threads=args.threads,
        init_from=args.init_from,
        go_on=args.go_on,
        is_trusted=args.trust,
    )
    if args.summary:
        print(summary_of(wanted, cores=cores()))
    else:
        train_one(wanted, cores=cores())
    return 0


def _evaluate(args: argparse.Namespace) -> int:
    dataset = Dataset.open(args.dataset)
    _refuse_early(dataset, args.split, args)
    model = _load(args)
    if model.class_names != dataset.class_names:
        raise DatasetError(
            f"{args.dataset}: classes {', '.join(dataset.class_names)}, but the model knows "
            f"{', '.join(model.class_names)}; evaluate it on data with the same classes in the same order"
        )
    split = _split(dataset, args.split, model, args, "evaluate")
    metrics = classification_metrics(split.labels, model.predict(split.images), dataset.class_names)
    print(f"{args.split} split of {args.dataset}")
    print(report_text(metrics))
    if model.data_digest != dataset.digest:
        print(f"note: trained on another data set ({model.data_digest[:12]}, this is {dataset.digest[:12]})")
    if args.split == TEST:
        report_use(args.model)
    return 0


def _predict(args: argparse.Namespace) -> int:
    if args.batch is not None and args.batch < 1:  # before a use of the test split is recorded
        raise ModelError(f"--batch {args.batch}: at least 1 image at a time is expected; leave it out for the default")
    args.files = list(dict.fromkeys(args.files))
    if args.csv is not None:
        _check_csv(args.csv, args.files)
    if args.follow or args.idle is not None or Path("-") in args.files:
        return _predict_arriving(args)
    datasets = _datasets(args)
    start = time.perf_counter()
    # One thread a batch and several batches side by side: faster than several threads for one, and no number depends
    # on how many there are.
    model = load_recorded(args.model, 1, side_by_side=cores() if args.threads is None else args.threads)
    loaded = time.perf_counter()
    model.warm_up()
    traced = time.perf_counter()
    # Data sets last: what cannot be read is refused before a use of a test split is recorded.
    order = sorted(args.files, key=datasets.__contains__)
    images = {path: _images(path, datasets.get(path), model, args) for path in order}
    times = f"model loaded in {loaded - start:.2f} s, traced in {traced - loaded:.2f} s"
    with threadpool_limits(1):  # of NumPy's products: each of the batches side by side would take all cores for them
        _predict_all(model, [images[path] for path in args.files], args, times)
    if datasets and _split_name(args) == TEST:
        report_use(args.model)
    return 0


def _predict_all(model: ExportedModel, some: Sequence[Unlabelled], args: argparse.Namespace, times: str) -> None:
    """Write the table of all images, and say how fast it went."""
    n = sum(len(one.images) for one in some)
    pace, known = _pace(model, n, args)
    table, seconds = _Table(model.class_names), 0.0
    for one in some:
        before = time.perf_counter()
        y_prob = model.predict(one.images, batch=pace.batch, side_by_side=pace.side_by_side)
        seconds += time.perf_counter() - before
        table.add(one, y_prob)
    table.write(args.csv)
    used = f"{pace.batch} at a time, {pace.side_by_side} such batches side by side"
    print(
        f"{n} images in {seconds:.2f} s, {n / max(seconds, 1e-9):.1f} images/s, {used} ({known}); {_latency(model)}; "
        f"{times}",
        file=sys.stderr,
    )


def _pace(model: ExportedModel, images: int, args: argparse.Namespace) -> tuple[Pace, str]:
    """Return how fast to go: as asked for, else as is fastest on this machine."""
    from seti_model.pace import Pace
    from tune.pace import pace_of

    if args.batch is None and args.threads is None:
        return pace_of(model, images, cores())
    usual = Pace.usual(cores() if args.threads is None else args.threads)
    return Pace(args.batch or usual.batch, args.threads or usual.side_by_side), "as asked for"


def _predict_arriving(args: argparse.Namespace) -> int:
    """Classify frames of standard input, or the pictures of a folder, as they arrive."""
    [path, *more] = args.files
    is_pipe = path == Path("-")
    if more or args.split is not None or args.follow == is_pipe:
        raise ModelError(
            "predict: - stands alone, --follow goes with one folder, --idle with --follow, and --split with none of "
            "them; leave out the others"
        )
    if args.follow and not path.is_dir():
        raise ModelError(f"{path}: is no folder to follow; name one, or leave --follow out")
    if args.idle is not None and not args.idle >= 0:
        raise ModelError(f"--idle {args.idle:g}: seconds from 0 on are expected; correct it")
    from tune.scan.frames import Folder, Frames, Table, predict_arriving

    model = _load(args)

    def blocks(reading: Reading) -> Iterator[Block]:
        if is_pipe:
            return Frames(sys.stdin.buffer, model.shape, reading).blocks()
        return Folder(path, model, table.done, reading).blocks(args.idle)

    with contextlib.closing(Table(args.csv, model, goes_on=not is_pipe)) as table:
        return predict_arriving(model, table, blocks, batch=args.batch)


def _check_csv(file: Path, images: Sequence[Path]) -> None:
    check_output(file)
    if not file.parent.is_dir():
        raise ModelError(f"--csv {file}: there is no folder {file.parent}; make it or name another file")
    if file.exists() and any(one.exists() and file.samefile(one) for one in images):
        raise ModelError(f"--csv {file}: holds the images to be classified; name another file")


def _load(args: argparse.Namespace) -> ExportedModel:
    return load_recorded(args.model, cores() if args.threads is None else args.threads)


def _datasets(args: argparse.Namespace) -> dict[Path, Dataset]:
    """Return those of the files that are data sets; a split that cannot be had is refused."""
    datasets = {path: Dataset.open(path) for path in args.files if (path / DATASET_FILE).is_file()}
    if args.split is not None and not datasets:
        raise DatasetError(f"--split {args.split}: there is no data set among the files; leave --split out")
    for dataset in datasets.values():
        _refuse_early(dataset, _split_name(args), args)
    return datasets


def _split_name(args: argparse.Namespace) -> str:
    return "validation" if args.split is None else str(args.split)


def _refuse_early(dataset: Dataset, name: str, args: argparse.Namespace) -> None:
    """Refuse a split that is locked or not there before a model is loaded, which takes seconds."""
    if not (args.unlock_test and name == TEST and name in dataset.splits):
        dataset.split(name)


def _split(dataset: Dataset, name: str, model: ExportedModel, args: argparse.Namespace, what: str) -> SplitData:
    """Return what is to be predicted; what would be refused later is refused before a use is recorded."""
    if dataset.image_shape != model.shape:
        raise DatasetError(
            f"{dataset.path}: images of shape {dataset.image_shape}, the model expects (n_time, n_freq, channels) = "
            f"{model.shape}; bring them to that shape or take another model"
        )
    if name == TEST and args.unlock_test:
        dataset = unlock_test(dataset, what, model=args.model, weights_digest=model.weights_digest)
    return dataset.split(name)


def _images(path: Path, dataset: Dataset | None, model: ExportedModel, args: argparse.Namespace) -> Unlabelled:
    if dataset is None:
        return read_unlabelled(path, model.shape, model.kind.picture)
    name = _split_name(args)
    images = _split(dataset, name, model, args, "predict").images
    return Unlabelled(images, (path / f"{name}_images.npy",) * len(images), tuple(range(len(images))))


class _Table:
    """The rows of all images as text, which is what is kept of them."""

    def __init__(self, class_names: Sequence[str]) -> None:
        self._names, self._text = class_names, io.StringIO(newline="")
        self._writer = csv.writer(self._text, lineterminator="\n")
        self._add(["file", "index", "predicted", *(f"p_{name}" for name in class_names)])

    def add(self, some: Unlabelled, y_prob: npt.NDArray[np.float32]) -> None:
        """Add a row for each image."""
        for file, index, row in zip(some.files, some.indices, y_prob, strict=True):
            self._add([str(file), str(index), self._names[row.argmax()], *(f"{value:.6f}" for value in row)])

    def write(self, path: Path | None) -> None:
        """Write a file whole or not at all, or print the table where there is no `path`."""
        if path is None:
            print(*map(printable, self._text.getvalue().splitlines()), sep="\n")
        else:
            write_atomically(path, self._text.getvalue())

    def _add(self, cells: Sequence[str]) -> None:
        self._writer.writerow([csv_cell(cell) for cell in cells])


def _latency(model: ExportedModel) -> str:
    """Say how long one image alone takes, from its pixels to its probabilities, in a model that is warm."""
    image = np.zeros((1, *model.shape), np.uint8)
    seconds = []
    for _ in range(LATENCY_REPEATS):
        start = time.perf_counter()
        model.predict(image)
        seconds.append(time.perf_counter() - start)
    median, high = np.quantile(seconds, (0.5, 0.95)) * 1000
    return f"one image alone takes {median:.1f} ms (median of {len(seconds)}; 95 % at most {high:.1f} ms)"
