"""The command `scan`: whole files of spectra, a folder as files arrive, or samples from a pipe, through a model."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tune.cli.spectra import add_tiling, tiling_of
from tune.cores import cores
from tune.errors import ScanError
from tune.models import load_recorded

if TYPE_CHECKING:  # what these import takes seconds, and `--help` must not wait for it
    from seti_model.data.spectra.tiles import Tiling
    from seti_model.data.spectra.voltages import TimeSeries
    from seti_model.description import Description

EPILOG = """examples:
  seti-tune scan runs/study/final/model.keras night1.fil night2.h5 --out scans/nights
  seti-tune scan runs/study/final/model.keras /data/incoming --follow --out scans/live     until Ctrl-C
  receiver | seti-tune scan runs/study/final/model.keras - --dtype int8 --sample-rate 1e6 --drop-late --out scans/now
The same command goes on after Ctrl-C, a crash or a power cut; nothing is lost, nothing repeated. Files are cut into
tiles as those were that the model was trained on. DIR holds candidates.csv, candidates.html, a picture of each
candidate, scan.json, and the journal from which all of it follows.
"""
BATCH, MOST_BATCH = 64, 1024  # a block is one line of the journal, which has a longest one


def add_scan(scan: argparse.ArgumentParser) -> None:
    """Give `scan` its arguments; it sets `run`, which takes them and returns an exit code."""
    scan.epilog = EPILOG
    scan.set_defaults(run=_scan)
    scan.add_argument("model", type=Path, metavar="MODEL", help="model.keras, its .json beside it")
    scan.add_argument(
        "files", type=Path, nargs="+", metavar="FILE", help="files of spectra, folders of them, or - for standard input"
    )
    scan.add_argument("--out", type=Path, default=Path("runs/scan"), metavar="DIR", help="default: %(default)s")
    scan.add_argument("--follow", action="store_true", help="wait for files that arrive in the folders FILE, or grow")
    scan.add_argument(
        "--idle", type=float, metavar="SECONDS", help="end --follow when nothing arrived for so long (default: never)"
    )
    scan.add_argument(
        "--false-alarm",
        type=float,
        default=0.01,
        metavar="SHARE",
        help="of tiles of the background that may become candidates (default: %(default)s)",
    )
    scan.add_argument(
        "--threshold", type=float, metavar="SCORE", help="of 1 - p(background), in place of --false-alarm"
    )
    scan.add_argument(
        "--background", default="noise", metavar="CLASS", help="the class without a signal (default: %(default)s)"
    )
    scan.add_argument(
        "--rate", type=float, metavar="TILES_PER_S", help="to keep up with (default: that of the recording, if known)"
    )
    scan.add_argument(
        "--drop-late", action="store_true", help="standard input: rather drop tiles than keep the sender waiting"
    )
    scan.add_argument("--pictures", type=int, default=2000, metavar="N", help="at most (default: %(default)s)")
    scan.add_argument("--batch", type=int, default=BATCH, metavar="N", help="tiles at a time (default: %(default)s)")
    scan.add_argument("--readers", type=int, metavar="N", help="threads that make pixels (default: half of the cores)")
    scan.add_argument("--threads", type=int, metavar="N", help="of the network, one a batch; default: all cores")
    add_tiling(scan)


def _scan(args: argparse.Namespace) -> int:
    _check(args)
    from seti_model.description import read_description
    from seti_model.runtime import MOST_SIDE_BY_SIDE

    described = read_description(args.model)
    tiling, series = _tiling(args, described)
    from tune.scan.candidates import threshold_of
    from tune.scan.scan import Scan, Wanted

    side_by_side = min(cores(), MOST_SIDE_BY_SIDE) if args.threads is None else args.threads
    model = load_recorded(args.model, 1, side_by_side=side_by_side)
    threshold = threshold_of(args.model, model, args.background, false_alarm=args.false_alarm, given=args.threshold)
    wanted = Wanted(
        model=args.model,
        files=tuple(args.files),
        out=args.out,
        background=args.background,
        batch=args.batch,
        readers=args.readers or max(1, cores() // 2),
        side_by_side=side_by_side,
        rate=args.rate,
        follows=args.follow,
        idle_s=args.idle,
        drops=args.drop_late,
        pictures=args.pictures,
    )
    pipe = sys.stdin.buffer if args.files == [Path("-")] else None
    return Scan(wanted, model, threshold, tiling=tiling, series=series).run(pipe)


def _check(args: argparse.Namespace) -> None:
    """Refuse options that do not go together, and numbers that cannot be, before anything is loaded."""
    is_pipe = Path("-") in args.files
    if is_pipe and (len(args.files) > 1 or args.follow):
        raise ScanError("-: standard input is scanned alone; leave out other files and --follow")
    if args.drop_late and not is_pipe:
        raise ScanError("--drop-late: files wait, only standard input drops; leave it out")
    if args.idle is not None and not args.follow:
        raise ScanError(f"--idle {args.idle:g}: goes with --follow; leave it out")
    for name, least, most in (
        ("batch", 1, MOST_BATCH),
        ("readers", 1, 256),
        ("pictures", 0, 10**7),
        ("rate", 1e-9, 1e9),
        ("idle", 0, 1e9),
    ):
        value = getattr(args, name)
        if value is not None and not least <= value <= most:
            raise ScanError(f"--{name} {value:g}: a number of {least:g} to {most:g} is expected; correct it")
    for path in () if is_pipe else args.files:
        if args.follow and not path.is_dir():
            raise ScanError(f"{path}: is no folder to follow; name one, or leave --follow out")
        if not path.exists():
            raise ScanError(f"{path}: no such file or folder; check the path")


def _tiling(args: argparse.Namespace, model: Description) -> tuple[Tiling, TimeSeries]:
    """Return how tiles are cut: as those that the model was trained on; options say what it does not.

    Raises:
        ScanError: Options that contradict the model, or a model that does not say how power becomes pixels.
    """
    from seti_model.data.spectra.tiles import Tiling

    if model.shape[2] != 1:
        raise ScanError(f"{args.model}: takes images of {model.shape[2]} channels, tiles have one; take another model")
    known = model.kind.tiles
    if known is None and args.rule is None:
        raise ScanError(
            f"{args.model}: does not say how power became the pixels it was trained on; give --rule course for data of "
            "the course's recipe (with --flatten for files that are no int8 voltages), or --rule log"
        )
    was_given = {name: getattr(args, name) for name in ("tile", "average", "shrink", "flatten", "rule", "fft")}
    args.tile = args.tile or model.shape[:2]
    tiling, series = tiling_of(args)
    if known is not None:
        base = Tiling.from_mapping(known)
        _refuse_others(args.model, was_given, tiling, base)
        args.fft = base.n_fft
        _, series = tiling_of(args)
        overlap = args.overlap or (base.n_time - (base.step_time or 1), base.n_freq - (base.step_freq or 1))
        steps = {"step_time": base.n_time - overlap[0], "step_freq": base.n_freq - overlap[1]}
        tiling = Tiling.from_mapping(known | steps)
    if (tiling.n_time, tiling.n_freq) != model.shape[:2]:
        raise ScanError(
            f"{args.model}: takes images of {model.shape[0]},{model.shape[1]}, tiles would have {tiling.n_time},"
            f"{tiling.n_freq}; leave --tile out"
        )
    return tiling, series


_FIELDS = {
    "tile": ("n_time", "n_freq"),
    "average": ("average_time", "average_frequency"),
    "shrink": ("shrink_time", "shrink_frequency"),
    "flatten": ("flatten",),
    "rule": ("rule",),
    "fft": ("n_fft",),
}


def _refuse_others(model: Path, given: dict[str, object], tiling: Tiling, base: Tiling) -> None:
    for option, fields in _FIELDS.items():
        if given[option] is None:
            continue
        wanted, trained = ([getattr(one, name) for name in fields] for one in (tiling, base))
        if wanted != trained:
            raise ScanError(
                f"--{option} {','.join(map(str, wanted))}: the tiles that {model} was trained on have "
                f"{','.join(map(str, trained))}; leave it out"
            )
