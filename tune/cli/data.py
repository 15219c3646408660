"""The commands `seti-tune data simulate`, `import` and `describe`: make a data set, or say what is in one."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from results.files import check_output
from results.text import printable
from seti_model.data.dataset import Dataset, SplitData, require_new, write_dataset
from seti_model.data.importers import (
    COURSE_CLASS_NAMES,
    COURSE_USUAL_NAMES,
    MOST_COLUMNS,
    read_csv,
    read_folder,
    read_npz,
)
from seti_model.data.repeated import NOTES, remarks
from seti_model.data.simulator import simulate_beside, simulate_dataset
from seti_model.data.splits import carve_test, split_by_fractions
from seti_model.errors import DatasetError
from tune.cli.spectra import add_tiling, read_spectra, refuse_tiling

if TYPE_CHECKING:  # what these import takes a second, and `--help` must not wait for it
    import numpy.typing as npt

_PROGRESS_S = 2.0
COUNTS = {"train": 3200, "validation": 800, "test": 800}  # images that are simulated
_Read = tuple[dict[str, SplitData], tuple[str, ...], dict[str, Any]]  # splits, class names, origin


def add_data(data: argparse.ArgumentParser) -> None:
    """Give `data` its three commands; each sets `run`, which takes the arguments and returns an exit code."""
    commands = data.add_subparsers(dest="data_command", required=True, metavar="COMMAND")
    _add_simulate(commands)
    _add_import(commands)
    _add_describe(commands)


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
    _print_summary(_import_dataset(args))
    return 0


def describe(args: argparse.Namespace) -> int:
    """Print counts, ranges and the verified digest of a data set, and draw examples of each class."""
    from results.report.figures import contact_sheet  # matplotlib, for this command alone

    if args.out is not None:
        check_output(args.out)
    dataset = Dataset.open(args.dataset)
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
    train = dataset.split("train")
    sheet = args.out or dataset.path / "contact_sheet.png"
    contact_sheet(train.images, train.labels, dataset.class_names, sheet)
    print(f"contact sheet: {sheet}")
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
        "import the course CSV files, a NumPy archive, a folder of PNG images, or spectra",
        "seti-tune data import data/course --train train/images.csv train/labels.csv "
        "--validation validation/images.csv validation/labels.csv --class-names course\n"
        "  seti-tune data import data/galaxies --npz galaxies.npz --fractions 0.6,0.2,0.2\n"
        "  seti-tune data import data/mine --folder my_images --fractions 0.6,0.2,0.2    # my_images/<class>/*.png\n"
        "  seti-tune data import data/tiles --spectra *.fil --labels labels.csv --tile 64,128 --flatten "
        "--fractions 0.6,0.2,0.2",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    for split in ("train", "validation", "test"):
        parser.add_argument(
            f"--{split}", nargs=2, type=Path, metavar=("IMAGES.csv", "LABELS.csv"), help=f"{split} split"
        )
    parser.add_argument(
        "--npz", type=Path, metavar="FILE", help="x (n, h, w[, c]) uint8 or 0..1, y (n,), class_names, groups"
    )
    parser.add_argument("--folder", type=Path, metavar="DIR", help="DIR/<class>/*.png; classes in sorted order")
    parser.add_argument(
        "--spectra", nargs="+", type=Path, metavar="FILE", help=".fil, .h5, .npy, .dat or .bin, to be cut into tiles"
    )
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="CSV",
        help="of --spectra: file, class; perhaps split, group; row, channel or start_time_s, frequency_mhz of a tile",
    )
    parser.add_argument(
        "--class-names",
        metavar="A,B,…",
        help="names in the order of the labels; `course` for the true ones of that set",
    )
    parser.add_argument("--shape", type=_pair, default=(64, 128), metavar="H,W", help="of CSV images (default: 64,128)")
    parser.add_argument("--fractions", type=_numbers, metavar="A,B,C", help="train, validation, test; sum 1")
    parser.add_argument(
        "--test-fraction",
        type=float,
        default=0.2,
        metavar="F",
        help="part of the training split to become the test split where none is given; 0: none (default: %(default)s)",
    )
    parser.add_argument(
        "--split-seed", type=int, default=1, metavar="N", help="of random splits (default: %(default)s)"
    )
    add_tiling(parser)
    parser.set_defaults(run=import_)


def _add_describe(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = _add_command(
        commands, "describe", "print counts, ranges and digest; draw examples", "seti-tune data describe data/course"
    )
    parser.add_argument("dataset", metavar="DATASET", type=Path, help="folder of a data set")
    parser.add_argument("--out", type=Path, metavar="FILE", help="of the examples (default: DATASET/contact_sheet.png)")
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


def _import_dataset(args: argparse.Namespace) -> Dataset:
    """Read the sources that are named, write the data set, say every choice made."""
    sources = [name for name in ("train", "npz", "folder", "spectra") if getattr(args, name)]
    if len(sources) != 1:
        raise DatasetError(
            "data import: give exactly one of --train, --npz, --folder and --spectra; see --help for examples"
        )
    if sources != ["train"] and (args.validation or args.test):
        raise DatasetError("data import: --validation and --test go with --train; divide other sources by --fractions")
    if args.spectra is None:
        refuse_tiling(args)
    require_new(args.out)
    if args.train:
        splits, class_names, origin = _read_csv_splits(args)
    elif args.spectra:
        splits, class_names, origin = _read_spectra_splits(args)
    else:
        splits, class_names, origin = _read_npz_splits(args) if args.npz else _read_folder_splits(args)
    for index, name in enumerate(class_names):
        print(f"class {index}: {printable(name)}")
    if "test" not in splits and args.test_fraction != 0:
        splits["train"], splits["test"] = carve_test(
            splits["train"], args.test_fraction, args.split_seed, class_names=class_names
        )
        origin |= {"test_fraction": args.test_fraction, "split_seed": args.split_seed}
        print(
            f"no test split given: {len(splits['test'].labels)} images carved from the training split, stratified "
            f"(--test-fraction {args.test_fraction:g}); {len(splits['train'].labels)} remain"
        )
    return write_dataset(args.out, splits, class_names, origin)


def _read_csv_splits(args: argparse.Namespace) -> _Read:
    names = _class_names(args)
    if names is None:
        raise DatasetError(
            "CSV files hold no class names: give --class-names A,B,… in the order of the one-hot columns, or `course`"
        )
    if bool(args.validation) == bool(args.fractions):
        raise DatasetError("CSV files: give either --validation IMAGES.csv LABELS.csv, or --fractions 0.6,0.2,0.2")
    if args.fractions and args.test:
        raise DatasetError("--fractions divides one file into all splits; leave --test out")
    usual = ", ".join(COURSE_USUAL_NAMES)
    if args.class_names == "course":
        print(f"note: these are the true names; the list usually printed with the course set ({usual}) is wrong")
    if names == COURSE_USUAL_NAMES:
        print(f"note: if this is the course set, {usual} is the wrong order printed with it; give --class-names course")
    given = {split: getattr(args, split) for split in ("train", "validation", "test") if getattr(args, split)}
    splits = {split: read_csv(files[0], files[1], names, shape=args.shape) for split, files in given.items()}
    origin = {"imported": {split: [str(file) for file in files] for split, files in given.items()}}
    if args.fractions:
        return _divided(splits["train"], names, origin, args)
    return splits, names, origin


def _read_npz_splits(args: argparse.Namespace) -> _Read:
    read = read_npz(args.npz, _class_names(args))
    return _divided(read.data, read.class_names, {"imported": str(args.npz)}, args)


def _read_folder_splits(args: argparse.Namespace) -> _Read:
    if args.class_names:
        raise DatasetError("--class-names: the folders are the classes of --folder; rename them instead")
    read = read_folder(args.folder)
    return _divided(read.data, read.class_names, {"imported": str(args.folder)}, args)


def _read_spectra_splits(args: argparse.Namespace) -> _Read:
    read, origin = read_spectra(args)
    splits = read.by_split()
    if splits is None:
        return _divided(read.data, read.class_names, origin, args)
    if args.fractions:
        raise DatasetError(f"{args.labels}: has a column of splits; leave --fractions out")
    return splits, read.class_names, origin


def _divided(data: SplitData, names: tuple[str, ...], origin: dict[str, Any], args: argparse.Namespace) -> _Read:
    if not args.fractions:
        raise DatasetError("a single source has no splits: give --fractions 0.6,0.2,0.2 for train, validation and test")
    splits = split_by_fractions(data, args.fractions, args.split_seed, class_names=names)
    return splits, names, origin | {"fractions": list(args.fractions), "split_seed": args.split_seed}


def _class_names(args: argparse.Namespace) -> tuple[str, ...] | None:
    if args.class_names is None:
        return None
    return COURSE_CLASS_NAMES if args.class_names == "course" else tuple(args.class_names.split(","))


def _print_summary(dataset: Dataset) -> None:
    n_time, n_freq, channels = dataset.image_shape
    print(f"data set {dataset.path}: {n_time} x {n_freq} pixels, channels: {channels}, digest {dataset.digest}")
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


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers; write for example 0.6,0.2,0.2") from error


def _pair(text: str) -> tuple[int, int]:
    try:
        n_time, n_freq = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write for example 64,128") from error
    if min(n_time, n_freq) < 1 or n_time * n_freq > MOST_COLUMNS:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a shape; both numbers must be positive, and their product at most {MOST_COLUMNS}"
        )
    return n_time, n_freq
