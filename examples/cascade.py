"""Two models in a row: is the disk active, and if so, does the region flare?

    python examples/cascade.py runs/disk/final/model.keras runs/region/final/model.keras pairs.csv --out joint.csv

`pairs.csv` has columns disk and region, pictures of the same instant relative to the table, and perhaps flare (1 or 0)
and group (frames in quick succession, see `seti-tune data groups`). The second model was made for regions of active
disks, so P(flare) = P(active) P(flare | region). Where the truth is given, joint precision and recall are printed,
with intervals by group. Take pairs that neither model was trained on.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from results.files import check_output, read_moderate, write_atomically
from results.stats.grouped import share_by_group
from results.stats.intervals import Estimate
from results.text import csv_cell
from seti_model.data.sources.unlabelled import read_unlabelled
from seti_model.errors import DatasetError
from seti_model.exported import ExportedModel
from seti_model.runtime import threads_in_use
from tune.exits import guarded
from tune.models import cores, load_recorded

TRUTH = {"1": True, "0": False}


@dataclass(frozen=True)
class Pair:
    """A disk and a region on it; `flare` is None where the truth is not given."""

    disk: str
    region: str
    flare: bool | None
    group: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Write a row a pair with its three probabilities, and print how good they are."""
    parser = argparse.ArgumentParser(description="Join two delivered models by a table of disks and regions.")
    parser.add_argument("disk_model", type=Path)
    parser.add_argument("region_model", type=Path)
    parser.add_argument("pairs", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--active", default="active", help="class of the first model (default: %(default)s)")
    parser.add_argument("--flare", default="flare", help="class of the second model (default: %(default)s)")
    parser.add_argument("--threshold", type=float, default=0.5, help="of P(flare) (default: %(default)s)")
    args = parser.parse_args(arguments)
    check_output(args.out)
    pairs = read_pairs(args.pairs)
    home = args.pairs.parent
    threads = threads_in_use() or cores()
    active = probabilities(load_recorded(args.disk_model, threads), [pair.disk for pair in pairs], args.active, home)
    flare = probabilities(load_recorded(args.region_model, threads), [pair.region for pair in pairs], args.flare, home)
    joint = np.array([active[pair.disk] * flare[pair.region] for pair in pairs])
    rows = [
        (pair.disk, pair.region, f"{active[pair.disk]:.6f}", f"{flare[pair.region]:.6f}", f"{both:.6f}")
        for pair, both in zip(pairs, joint, strict=True)
    ]
    write_rows(args.out, [("disk", "region", "p_active", "p_flare_if_active", "p_flare"), *rows])
    print(f"{len(pairs)} pairs: {args.out}")
    if all(pair.flare is not None for pair in pairs):
        precision, recall = joint_estimates(joint, pairs, args.threshold)
        groups = len({pair.group for pair in pairs})
        print(f"P(flare) of at least {args.threshold:g}, {groups} groups, 95 % intervals by group:")
        print(f"precision {precision:.3f}\nrecall {recall:.3f}")
    return 0


def read_pairs(path: Path) -> tuple[Pair, ...]:
    """Read the table; without a column `group` each pair is one of its own."""
    try:
        rows = list(csv.DictReader(io.StringIO(read_moderate(path).decode("utf-8-sig"), newline="")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DatasetError(f"{path}: cannot be read as a table ({error}); save it as CSV") from error
    pairs = []
    for number, row in enumerate(rows, start=2):
        if not row.get("disk") or not row.get("region"):
            raise DatasetError(f"{path}, row {number}: a disk and a region are expected; name both")
        truth = row.get("flare") or None
        if truth is not None and truth not in TRUTH:
            raise DatasetError(f"{path}, row {number}: flare {truth[:40]!r}, expected 1 or 0; correct it")
        group = row.get("group") or f"row {number}"
        pairs.append(Pair(row["disk"], row["region"], None if truth is None else TRUTH[truth], group))
    if not pairs:
        raise DatasetError(f"{path}: no row below the names of the columns; add one for each pair")
    return tuple(pairs)


def probabilities(model: ExportedModel, files: Sequence[str], class_name: str, home: Path) -> Mapping[str, float]:
    """Return a model's probability of one class for each picture, predicted once however often it is named."""
    if class_name not in model.class_names:
        raise DatasetError(f"the model knows {', '.join(model.class_names)}, not {class_name!r}; name its class")
    once = list(dict.fromkeys(files))
    images = np.concatenate([read_unlabelled(home / file, model.shape, model.kind.picture).images for file in once])
    column = model.class_names.index(class_name)
    return dict(zip(once, model.predict(images)[:, column].astype(float), strict=True))


def joint_estimates(joint: np.ndarray, pairs: Sequence[Pair], threshold: float) -> tuple[Estimate, Estimate]:
    """Return precision and recall of P(flare) >= threshold."""
    found, truth = joint >= threshold, np.array([bool(pair.flare) for pair in pairs])
    groups = np.array([pair.group for pair in pairs])
    return share_by_group(truth, found, groups), share_by_group(found, truth, groups)


def write_rows(path: Path, rows: Sequence[Sequence[str]]) -> None:
    """Write a table whole or not at all."""
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)
    write_atomically(path, text.getvalue())


if __name__ == "__main__":
    sys.exit(guarded(main))
