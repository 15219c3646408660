"""The commands `seti-tune data simulate`, `import` and `describe`: make a data set, or say what is in one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from results.text import printable
from seti_model.data.dataset import Dataset
from seti_model.data.repeated import NOTES, remarks
from seti_model.data.simulator import simulate_beside, simulate_dataset
from seti_model.errors import DatasetError
from tune.cli.examples import Wanted, draw_examples
from tune.cli.importing import EXAMPLES, add_import, import_dataset
from tune.cli.sky import add_sky

if TYPE_CHECKING:  # what these import takes a second, and `--help` must not wait for it
    import numpy.typing as npt

_PROGRESS_S = 2.0
COUNTS = {"train": 3200, "validation": 800, "test": 800}  # images that are simulated


def add_data(data: argparse.ArgumentParser) -> None:
    """Give `data` its commands; each sets `run`, which takes the arguments and returns an exit code."""
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    _add_simulate(commands)
    _add_import(commands)
    _add_describe(commands)
    add_sky(lambda name, what, example: _add_command(commands, name, what, example))


def simulate(args: argparse.Namespace) -> int:
    """Simulate a data set and describe its splits."""
    if args.beside is not None and (args.fresh or args.validation is not None or args.test is not None):
        raise DatasetError("data simulate: --beside adds training images; leave --fresh, --validation and --test out")
    counts = {split: getattr(args, split) for split in COUNTS}
    counts = {split: COUNTS[split] if n is None else n for split, n in counts.items()}
    if counts["test"] == 0:
        del counts["test"]
    progress = _Progress(counts["train"] if args.beside else sum(counts.values()))
    if args.beside is None:
        dataset = simulate_dataset(args.out, args.preset, counts, args.seed, fresh=args.fresh, on_image=progress.step)
    else:
        beside = Dataset.open(args.beside)
        dataset = simulate_beside(args.out, beside, args.preset, counts["train"], args.seed, on_image=progress.step)
    progress.finish()
    _print_summary(dataset)
    return 0


def import_(args: argparse.Namespace) -> int:
    """Import files of others as a data set and describe its splits."""
    _print_summary(import_dataset(args))
    return 0


def describe(args: argparse.Namespace) -> int:
    """Print counts, ranges and the verified digest of a data set, and draw examples of each class."""
    wanted = Wanted(args.out, args.seed, args.classes, args.count, args.augment)
    dataset = Dataset.open(args.dataset)
    wanted.check(dataset)
    dataset.verify()
    _print_summary(dataset)
    for split in dataset.splits:
        print(f"pixels {split}: {_pixel_range(dataset.pixel_counts(split))}")
    for split in dataset.splits:
        for column, (low, high) in dataset.truth_ranges(split).items():
            print(f"{printable(column)} {split}: {low:.4g}..{high:.4g}")
    for key, value in dataset.origin.items():
        if key not in NOTES:  # said with the summary
            print(printable(f"origin {key}: {value}"))
    print(draw_examples(dataset, wanted))
    return 0


def _add_simulate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "simulate",
        "simulate SETI spectrograms of four classes",
        "seti-tune data simulate data/course --preset course --train 3200 --validation 800 --test 800 --seed 1",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    parser.add_argument(
        "--preset",
        default="course",
        help="course: the public course set; challenge: the harder official one; wide: course with a larger drift "
        "derivative, where a search has something to find (default: %(default)s)",
    )
    for split, n in COUNTS.items():
        parser.add_argument(f"--{split}", type=int, metavar="N", help=f"number of images (default: {n})")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="equal seeds, equal images (default: %(default)s)"
    )
    parser.add_argument(
        "--fresh",
        action="store_true",
        help="each epoch of a training gets new images, made beside it; the training split is the first epoch's",
    )
    parser.add_argument(
        "--beside",
        type=Path,
        metavar="DATASET",
        help="add the training images to those of this data set; its validation and test images stay alone",
    )
    parser.set_defaults(run=simulate)


def _add_import(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "import",
        "import course CSV files, a NumPy archive, PNG and FITS pictures, or spectra",
        EXAMPLES,
    )
    add_import(parser)
    parser.set_defaults(run=import_)


def _add_describe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands,
        "describe",
        "print counts, ranges and digest; draw examples",
        "seti-tune data describe data/course\n"
        "  seti-tune data describe data/course --seed 7 --class squiggle --count 12    # others\n"
        "  seti-tune data describe data/course --augment mine.toml    # what a study makes of them",
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of a data set")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the examples (default: DATASET/contact_sheet.png)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="chooses the examples (default: %(default)s)")
    parser.add_argument(
        "--class",
        dest="classes",
        action="append",
        default=[],
        metavar="NAME",
        help="draw this class alone; may be repeated",
    )
    parser.add_argument("--count", type=int, default=4, metavar="N", help="images of a class (default: %(default)s)")
    parser.add_argument(
        "--augment",
        metavar="STUDY",
        help="draw one image of a class and N copies as a study's augmentation changes them (into augmentation.png)",
    )
    parser.set_defaults(run=describe)


def _add_command(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], name: str, what: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _print_summary(dataset: Dataset) -> None:
    n_time, n_freq, channels = dataset.image_shape
    print(f"data set {dataset.path}: {n_time} x {n_freq} pixels, channels: {channels}, digest {dataset.digest}")
    down, right = dataset.kind.axes
    print(printable(f"images: {dataset.kind.of}, {down} downwards, {right} to the right"))
    counts = {split: dataset.class_counts(split) for split in dataset.splits}
    width = max(len(name) for name in (*dataset.class_names, "total"))
    print("  ".join([" " * width, *(f"{split:>10}" for split in counts)]))
    for name in dataset.class_names:
        print("  ".join([f"{name:<{width}}", *(f"{count[name]:>10}" for count in counts.values())]))
    print("  ".join([f"{'total':<{width}}", *(f"{sum(count.values()):>10}" for count in counts.values())]))
    if dataset.fresh is not None:
        print(f"each epoch of a training gets {sum(counts['train'].values())} new images, simulated beside it")
    for remark in remarks(dataset.origin):
        print(printable(remark))


def _pixel_range(counts: npt.NDArray[np.int64]) -> str:
    value = np.arange(256)
    mean = np.average(value, weights=counts)
    deviation = np.sqrt(np.average((value - mean) ** 2, weights=counts))
    present = np.flatnonzero(counts)
    return f"{present[0]}..{present[-1]}, mean {mean:.2f}, deviation {deviation:.2f}"


class _Progress:
    """Counts images and says every two seconds, on standard error, how many there are and how fast they come."""

    def __init__(self, total: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._total = total
        self._clock = clock
        self._start = self._last = clock()
        self._done = 0

    def step(self) -> None:
        self._done += 1
        if self._clock() - self._last >= _PROGRESS_S:
            self._last = self._clock()
            self._report()

    def finish(self) -> None:
        self._report()

    def _report(self) -> None:
        rate = self._done / max(self._clock() - self._start, 1e-9)
        print(f"simulated {self._done} of {self._total} images, {rate:.0f} images/s", file=sys.stderr)
