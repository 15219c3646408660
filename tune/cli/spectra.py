"""The options of `seti-tune data import --spectra`, and what they read: filterbank files and time series in tiles."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.text import printable
from seti_model.errors import DatasetError

if TYPE_CHECKING:  # what this imports reads files, and `--help` reads none
    from seti_model.data.spectra.labelled import FileOfTiles, Labelled
    from seti_model.data.spectra.tiles import Tiling
    from seti_model.data.spectra.voltages import TimeSeries

_OPTIONS = ("tile", "overlap", "average", "shrink", "flatten", "rule", "fft", "dtype", "sample_rate")


def add_tiling(parser: argparse.ArgumentParser) -> None:
    """Give a command the options that say how spectra become images."""
    group = parser.add_argument_group("spectra and time series")
    group.add_argument(
        "--tile", type=_pair, metavar="T,F", help="pixels of an image, in time and frequency (default: 64,128)"
    )
    group.add_argument("--overlap", type=_pair, metavar="T,F", help="pixels that tiles share (default: 0,0)")
    group.add_argument(
        "--average", type=_pair, metavar="T,F", help="rows and channels whose power is averaged first (default: 1,1)"
    )
    group.add_argument(
        "--flatten", action="store_true", default=None, help="divide by the band-pass, a median smoothed over channels"
    )
    group.add_argument(
        "--rule",
        help="how power becomes 8 bits; course: as the public course set, also for time series; log: logarithm between "
        "percentiles of the tile (default: course)",
    )
    group.add_argument(
        "--shrink",
        type=_pair,
        metavar="T,F",
        help="power values in a pixel, made smaller after --average by the rule `course` (default: 4,4)",
    )
    group.add_argument("--fft", type=int, metavar="N", help="samples of a time series in a row (default: 512)")
    group.add_argument("--dtype", help="of .dat and .bin: real and imaginary part in turn, int8, int16 or float32")
    group.add_argument(
        "--sample-rate", type=float, metavar="HZ", help="of a time series; without it hertz and seconds are not known"
    )


def refuse_tiling(args: argparse.Namespace) -> None:
    """Refuse options of spectra where none are read.

    Raises:
        DatasetError: The first one.
    """
    given = [name for name in _OPTIONS if getattr(args, name) is not None]
    if given:
        raise DatasetError(f"data import: --{given[0].replace('_', '-')} goes with --spectra; leave it out")


def tiling_of(args: argparse.Namespace) -> tuple[Tiling, TimeSeries]:
    """Return what the options of `add_tiling` say.

    Raises:
        DatasetError: A value that cannot be, or an overlap that leaves no step.
    """
    from seti_model.data.recipe import N_FFT
    from seti_model.data.spectra.tiles import COURSE, Tiling
    from seti_model.data.spectra.voltages import TimeSeries

    n_time, n_freq = args.tile or (64, 128)
    overlap_time, overlap_freq = args.overlap or (0, 0)
    if args.overlap and not (0 <= overlap_time < n_time and 0 <= overlap_freq < n_freq):
        raise DatasetError(
            f"--overlap {overlap_time},{overlap_freq}: at least 0 and less than the tile of {n_time},{n_freq} is "
            "expected; choose a smaller one"
        )
    average_time, average_frequency = args.average or (1, 1)
    shrink_time, shrink_frequency = args.shrink or (None, None)
    n_fft = N_FFT if args.fft is None else args.fft
    tiling = Tiling(
        n_time=n_time,
        n_freq=n_freq,
        step_time=n_time - overlap_time,
        step_freq=n_freq - overlap_freq,
        average_time=average_time,
        average_frequency=average_frequency,
        flatten=bool(args.flatten),
        rule=args.rule or COURSE,
        shrink_time=shrink_time,
        shrink_frequency=shrink_frequency,
        n_fft=n_fft,
    )
    return tiling, TimeSeries(n_fft=n_fft, dtype=args.dtype, sample_rate_hz=args.sample_rate)


def read_spectra(args: argparse.Namespace) -> tuple[Labelled, Tiling, dict[str, Any]]:
    """Read the tiles of `--spectra` that `--labels` names, say what each file gave, and return how they were made.

    Raises:
        DatasetError: Options, files or labels that cannot be used.
    """
    from seti_model.data.spectra.filterbank import SERIES_SUFFIXES
    from seti_model.data.spectra.labelled import read_labelled

    if args.labels is None:
        raise DatasetError("data import: --spectra needs --labels labels.csv with columns file and class; give it")
    if args.class_names:
        raise DatasetError("--class-names: the table of labels names the classes of --spectra; leave it out")
    tiling, series = tiling_of(args)
    files = list(dict.fromkeys(args.spectra))
    if not any(file.suffix.lower() in SERIES_SUFFIXES for file in files):
        for name in ("fft", "dtype", "sample_rate"):
            if getattr(args, name) is not None:
                raise DatasetError(f"--{name.replace('_', '-')}: is of time series, and none is given; leave it out")
    read = read_labelled(files, args.labels, tiling, series)
    for file in read.files:
        print(printable(_said(file, args.labels)))
    origin: dict[str, Any] = {"imported": [str(file) for file in files], "labels": str(args.labels)}
    if any(file.suffix.lower() in SERIES_SUFFIXES for file in files):
        origin["time_series"] = asdict(series)
    return read, tiling, origin


def _said(file: FileOfTiles, table: Path) -> str:
    header = file.header
    units = f" of {header.dt_s:.6g} s and {header.df_mhz * 1e6:.6g} Hz" if header.dt_s == header.dt_s else ""
    said = f"{header.path}: {header.n_time} rows x {header.n_channels} channels{units}, {file.n_labelled} tiles"
    if file.n_labelled < file.n_tiles:
        said += f"; {file.n_tiles - file.n_labelled} more have no label in {table}"
    if file.n_blank:
        said += f"; {file.n_blank} values are no numbers and count as 0"
    return said


def _pair(text: str) -> tuple[int, int]:
    try:
        time, frequency = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is no pair of numbers; write for example 64,128") from error
    return time, frequency
