"""What `seti-tune data import` does: read a source, divide it into splits, write the data set, say what was chosen."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from seti_model.data.dataset import Dataset, SplitData, require_new, write_dataset
from seti_model.data.importers import COURSE_CLASS_NAMES, COURSE_USUAL_NAMES, read_csv, read_folder, read_npz
from seti_model.data.splits import carve_test, split_by_fractions
from seti_model.errors import DatasetError

_Read = tuple[dict[str, SplitData], tuple[str, ...], dict[str, Any]]  # splits, class names, origin


def import_dataset(args: argparse.Namespace, say: Callable[[str], None]) -> Dataset:
    """Read the sources named by the arguments of `data import`, write the data set, `say` every choice made.

    Raises:
        DatasetError: Options that do not go together, or what the readers and `write_dataset` refuse.
    """
    sources = [name for name in ("train", "npz", "folder") if getattr(args, name)]
    if len(sources) != 1:
        raise DatasetError("data import: give exactly one of --train, --npz and --folder; see --help for examples")
    if sources != ["train"] and (args.validation or args.test):
        raise DatasetError("data import: --validation and --test go with --train; divide other sources by --fractions")
    require_new(args.out)
    if args.train:
        splits, class_names, origin = _read_csv_splits(args, say)
    else:
        splits, class_names, origin = _read_npz_splits(args) if args.npz else _read_folder_splits(args)
    for index, name in enumerate(class_names):
        say(f"class {index}: {name}")
    if "test" not in splits and args.test_fraction != 0:
        splits["train"], splits["test"] = carve_test(
            splits["train"], args.test_fraction, args.split_seed, class_names=class_names
        )
        origin |= {"test_fraction": args.test_fraction, "split_seed": args.split_seed}
        say(
            f"no test split given: {len(splits['test'].labels)} images carved from the training split, stratified "
            f"(--test-fraction {args.test_fraction:g}); {len(splits['train'].labels)} remain"
        )
    return write_dataset(args.out, splits, class_names, origin)


def _read_csv_splits(args: argparse.Namespace, say: Callable[[str], None]) -> _Read:
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
        say(f"note: these are the true names; the list usually printed with the course set ({usual}) is wrong")
    if names == COURSE_USUAL_NAMES:
        say(f"note: if this is the course set, {usual} is the wrong order printed with it; give --class-names course")
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


def _divided(data: SplitData, names: tuple[str, ...], origin: dict[str, Any], args: argparse.Namespace) -> _Read:
    if not args.fractions:
        raise DatasetError("a single source has no splits: give --fractions 0.6,0.2,0.2 for train, validation and test")
    splits = split_by_fractions(data, args.fractions, args.split_seed, class_names=names)
    return splits, names, origin | {"fractions": list(args.fractions), "split_seed": args.split_seed}


def _class_names(args: argparse.Namespace) -> tuple[str, ...] | None:
    if args.class_names is None:
        return None
    return COURSE_CLASS_NAMES if args.class_names == "course" else tuple(args.class_names.split(","))
