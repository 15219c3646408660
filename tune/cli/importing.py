"""The command `seti-tune data import`: files of others become a data set; every choice made is said."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from results.text import printable
from seti_model.data.dataset import Dataset, SplitData, require_new, write_dataset
from seti_model.data.kind import FILTERS, GREY, RGB, SCALES, SPECTROGRAMS, TIME_FREQUENCY, ImageKind, PixelRule
from seti_model.data.sources.archive import read_npz
from seti_model.data.sources.course_csv import COURSE_CLASS_NAMES, COURSE_USUAL_NAMES, MOST_COLUMNS, read_csv
from seti_model.data.sources.folder import read_folder, read_listed
from seti_model.data.sources.imported import Imported
from seti_model.data.sources.pictures import default_scale, picture_files, require_text
from seti_model.data.sources.tables import read_labels, with_groups, without_dropped
from seti_model.data.splits import carve_test, split_by_fractions
from seti_model.errors import DatasetError
from tune.cli.spectra import add_tiling, read_spectra, refuse_tiling

EXAMPLES = (
    "seti-tune data import data/course --train train/images.csv train/labels.csv "
    "--validation validation/images.csv validation/labels.csv --class-names course\n"
    "  seti-tune data import data/galaxies --npz galaxies.npz --fractions 0.6,0.2,0.2 "
    '--of "radio galaxies" --axes row,column\n'
    "  seti-tune data import data/mine --folder my_images --fractions 0.6,0.2,0.2    # my_images/<class>/*.png\n"
    "  seti-tune data import data/sky --folder fits --labels labels.csv --scale asinh --size 150,150 "
    "--fractions 0.6,0.2,0.2\n"
    "  seti-tune data import data/tiles --spectra *.fil --labels labels.csv --tile 64,128 --flatten "
    "--fractions 0.6,0.2,0.2"
)


_PIXELS = ("size", "filter", "grey", "rgb", "ground", "scale", "percentiles", "sigma")  # of pictures


@dataclass(frozen=True)
class _Read:
    """What was read: by split, or not yet divided."""

    splits: Mapping[str, SplitData]
    class_names: tuple[str, ...]
    origin: Mapping[str, Any]
    picture: PixelRule | None = None
    tiles: dict[str, Any] | None = None


def add_import(parser: argparse.ArgumentParser) -> None:
    """Give `data import` its arguments."""
    parser.add_argument("out", metavar="OUT", type=Path, help="folder to make; must not exist")
    _add_sources(parser)
    _add_tables(parser)
    _add_splits(parser)
    _add_pixels(parser)
    add_tiling(parser)


def import_dataset(args: argparse.Namespace) -> Dataset:
    """Read the sources that are named, write the data set, say every choice made.

    Raises:
        DatasetError: Options that contradict each other, or what the readers refuse.
    """
    _require_one_source(args)
    require_new(args.out)
    reader = _from_csv if args.train else _from_archive if args.npz else _from_folder if args.folder else _from_spectra
    kind = ImageKind(args.of, args.axes)
    read = reader(args)
    splits, origin = dict(read.splits), dict(read.origin)
    for index, name in enumerate(read.class_names):
        print(f"class {index}: {printable(name)}")
    if "train" in splits and "test" not in splits and args.test_fraction != 0:
        splits["train"], splits["test"] = carve_test(
            splits["train"], args.test_fraction, args.split_seed, class_names=read.class_names
        )
        origin |= {"test_fraction": args.test_fraction, "split_seed": args.split_seed}
        print(
            f"no test split given: {len(splits['test'].labels)} images carved from the training split, stratified "
            f"(--test-fraction {args.test_fraction:g}); {len(splits['train'].labels)} remain"
        )
    return write_dataset(
        args.out,
        splits,
        read.class_names,
        origin,
        kind=dataclasses.replace(kind, picture=read.picture, tiles=read.tiles),
    )


def _add_sources(parser: argparse.ArgumentParser) -> None:
    for split in ("train", "validation", "test"):
        parser.add_argument(
            f"--{split}", nargs=2, type=Path, metavar=("IMAGES.csv", "LABELS.csv"), help=f"{split} split"
        )
    parser.add_argument(
        "--npz", type=Path, metavar="FILE", help="x (n, h, w[, c]) uint8 or 0..1, y (n,), class_names, groups, split"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        metavar="DIR",
        help="PNG or FITS: DIR/<class>/*, DIR/<split>/<class>/*, or with --labels; classes in sorted order",
    )
    parser.add_argument(
        "--spectra", nargs="+", type=Path, metavar="FILE", help=".fil, .h5, .npy, .dat or .bin, to be cut into tiles"
    )
    parser.add_argument("--shape", type=pair, metavar="H,W", help="of CSV images (default: 64,128)")


def _add_tables(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--labels",
        type=Path,
        metavar="FILE",
        help="CSV of the files in DIR or of --spectra: file, class; perhaps split, group; for tiles row, channel or "
        "start_time_s, frequency_mhz",
    )
    parser.add_argument("--groups", type=Path, metavar="FILE", help="CSV: file or row, and group; they stay together")
    parser.add_argument("--drop", type=Path, metavar="FILE", help="images to leave out: lines FILE, or FILE, row N")
    parser.add_argument(
        "--class-names",
        metavar="A,B,…",
        help="names in the order of the labels; `course` for the true ones of that set",
    )
    parser.add_argument(
        "--of", default=SPECTROGRAMS, metavar="WORDS", help="what the images are of (default: %(default)s)"
    )
    parser.add_argument(
        "--axes",
        type=_axes,
        default=TIME_FREQUENCY,
        metavar="DOWN,RIGHT",
        help="what goes down and to the right in them, as in row,column (default: time,frequency)",
    )


def _add_pixels(parser: argparse.ArgumentParser) -> None:
    pixels = parser.add_argument_group("how pictures become 8-bit pixels; recorded, `predict` does the same")
    pixels.add_argument("--size", type=pair, metavar="H,W", help="rows and columns they are brought to")
    pixels.add_argument("--filter", choices=FILTERS, help=f"of --size (default: {PixelRule.filter})")
    colour = pixels.add_mutually_exclusive_group()
    colour.add_argument("--grey", action="store_true", help="colours become their luminance")
    colour.add_argument("--rgb", action="store_true", help="grey is repeated to three channels")
    pixels.add_argument("--ground", type=int, metavar="0..255", help="what lies under transparent pixels; else refused")
    pixels.add_argument(
        "--scale",
        choices=SCALES,
        help="range: that of the type, 8 bits stay as they are; percentile; asinh; sigma_clip (default: range; "
        "percentile for FITS of more than 8 bits)",
    )
    pixels.add_argument(
        "--percentiles",
        type=_numbers,
        metavar="LOW,HIGH",
        help="of percentile and asinh (default: 0.5,99.5)",
    )
    pixels.add_argument("--sigma", type=float, metavar="N", help=f"of sigma_clip (default: {PixelRule.sigma:g})")


def _add_splits(parser: argparse.ArgumentParser) -> None:
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


def _require_one_source(args: argparse.Namespace) -> None:
    sources = [name for name in ("train", "npz", "folder", "spectra") if getattr(args, name)]
    if len(sources) != 1:
        raise DatasetError(
            "data import: give exactly one of --train, --npz, --folder and --spectra; see --help for examples"
        )
    if sources != ["train"] and (args.validation or args.test):
        raise DatasetError("data import: --validation and --test go with --train; divide other sources by --fractions")
    if args.labels and not (args.folder or args.spectra):
        raise DatasetError("data import: --labels goes with --folder, which holds the files, or --spectra; name one")
    if args.spectra is None:
        refuse_tiling(args)
    if args.folder is None and (given := [name for name in _PIXELS if getattr(args, name) not in (None, False)]):
        raise DatasetError(f"data import: --{given[0]} is of pictures and goes with --folder; leave it out")
    if args.shape is not None and not args.train:
        raise DatasetError("data import: --shape is of CSV images and goes with --train; leave it out, or give --size")
    for path in _paths(args):
        require_text(str(path))
    if len([file for file in (args.train, args.validation, args.test) if file]) > 1 and (args.groups or args.drop):
        raise DatasetError(
            "data import: --groups and --drop name the images of one source; import one file with --fractions"
        )


def _paths(args: argparse.Namespace) -> Iterator[Path]:
    """Yield all paths of the arguments."""
    for value in vars(args).values():
        yield from (one for one in (value if isinstance(value, list) else [value]) if isinstance(one, Path))


def _from_csv(args: argparse.Namespace) -> _Read:
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
    splits = {
        split: read_csv(files[0], files[1], names, shape=args.shape or (64, 128)) for split, files in given.items()
    }
    origin = {"imported": {split: [str(file) for file in files] for split, files in given.items()}}
    if args.fractions:
        return _divided(Imported(splits["train"], names), args.train[0].parent, origin, args)
    return _Read(splits, names, origin)


def _from_archive(args: argparse.Namespace) -> _Read:
    read = read_npz(args.npz, _class_names(args))
    return _divided(read, args.npz.parent, {"imported": str(args.npz)}, args)


def _from_folder(args: argparse.Namespace) -> _Read:
    if args.class_names:
        raise DatasetError("--class-names: folders or --labels name the classes of --folder; rename them there")
    rule = _rule(args)
    origin = {"imported": str(args.folder)}
    if args.labels:
        read = read_listed(args.folder, read_labels(args.labels), rule)
        origin["labels"] = str(args.labels)
    else:
        read = read_folder(args.folder, rule)
    for file, n in list(read.notes.get("not_finite", {}).items()):
        print(printable(f"{file}: {n} values that are not finite became 0"))
    divided = _divided(read, args.folder, origin, args)
    return dataclasses.replace(divided, picture=rule)


def _from_spectra(args: argparse.Namespace) -> _Read:
    read, tiling, origin = read_spectra(args)
    divided = _divided(read.imported, args.spectra[0].parent, origin, args)
    return dataclasses.replace(divided, tiles=tiling.to_mapping())


def _rule(args: argparse.Namespace) -> PixelRule:
    """Return the rule that the options ask for; which scale it is depends on the first file where nobody says."""
    percentiles = args.percentiles or (PixelRule.low, PixelRule.high)
    if len(percentiles) != 2:
        raise DatasetError("--percentiles: two numbers are expected; write for example 0.5,99.5")
    low, high = percentiles
    scale = args.scale
    if scale is None:
        files = picture_files(args.folder) if args.folder.is_dir() else []
        scale = default_scale(files[0]) if files else PixelRule.scale
        if scale != PixelRule.scale:
            print(f"note: values between the percentiles {low:g} and {high:g} of a picture become 0..255 (--scale)")
    colour = GREY if args.grey else RGB if args.rgb else PixelRule.colour
    given = {name: value for name in ("filter", "sigma") if (value := getattr(args, name)) is not None}
    return PixelRule(args.size, colour=colour, ground=args.ground, scale=scale, low=low, high=high, **given)


def _divided(read: Imported, root: Path, origin: Mapping[str, Any], args: argparse.Namespace) -> _Read:
    """Leave out and group what tables say, and divide by the source's own splits or at random."""
    if args.groups:
        read = with_groups(read, args.groups, root)
        origin = {**origin, "groups": str(args.groups)}
    if args.drop:
        read = without_dropped(read, args.drop, root)
        origin = {**origin, "drop": str(args.drop)}
        print(f"left out: {read.notes['dropped']} images that {printable(str(args.drop))} names")
    names, origin = read.class_names, {**origin, **read.notes}
    if read.split_of is not None:
        if args.fractions:
            raise DatasetError("--fractions: the source says itself which image is of which split; leave them out")
        kept = [split for split in ("train", "validation", "test") if (read.split_of == split).any()]
        return _Read({one: read.data.take(np.flatnonzero(read.split_of == one)) for one in kept}, names, origin)
    if not args.fractions:
        raise DatasetError("a single source has no splits; give --fractions 0.6,0.2,0.2 for train, validation and test")
    splits = split_by_fractions(read.data, args.fractions, args.split_seed, class_names=names)
    return _Read(splits, names, origin | {"fractions": list(args.fractions), "split_seed": args.split_seed})


def _class_names(args: argparse.Namespace) -> tuple[str, ...] | None:
    if args.class_names is None:
        return None
    return COURSE_CLASS_NAMES if args.class_names == "course" else tuple(args.class_names.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers; write for example 0.6,0.2,0.2") from error


def _axes(text: str) -> tuple[str, str]:
    names = tuple(part.strip() for part in text.split(","))
    if len(names) != 2 or not all(names):
        raise argparse.ArgumentTypeError(f"{text[:40]!r} does not name two axes; write for example row,column")
    return names[0], names[1]


def pair(text: str) -> tuple[int, int]:
    """Return rows and columns of an argument such as 64,128."""
    try:
        n_time, n_freq = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not a shape; write for example 64,128") from error
    if min(n_time, n_freq) < 1 or n_time * n_freq > MOST_COLUMNS:
        raise argparse.ArgumentTypeError(
            f"{text[:40]!r} is not a shape; both numbers must be positive, and their product at most {MOST_COLUMNS}"
        )
    return n_time, n_freq
