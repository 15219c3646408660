"""The commands of `seti-tune data` for the sky: `fetch`, `confusion` and `groups`."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from results.files import check_output, write_atomically
from results.stats.source_confusion import (
    SURVEYS,
    chance_of_another,
    chance_of_several,
    others_expected,
    side_of_chance,
)
from results.text import csv_cell, printable
from seti_model.data.succession import groups_in_time, read_frames, read_gap
from seti_model.errors import DatasetError
from tune.errors import FetchInterruptedError
from tune.sky.services import SOURCES

if TYPE_CHECKING:
    from tune.sky.provenance import Answer

Command = Callable[[str, str, str], argparse.ArgumentParser]  # name, what it does, example
_ONE_IN_TEN = 0.1
_MOST_NAMED = 20  # objects of one outcome


def add_sky(command: Command) -> None:
    """Add the commands; `command` makes a parser."""
    _add_fetch(command)
    _add_confusion(command)
    _add_groups(command)


def _add_fetch(command: Command) -> None:
    parser = command(
        "fetch",
        "FITS cut-outs of a catalogue's objects from a survey's image server",
        "seti-tune data fetch --survey first --catalogue objects.csv cutouts --size 150px\n"
        "  seti-tune data fetch --survey first --catalogue objects.csv cutouts    # again: what is there is kept\n"
        "exit codes: 0 all answered, 2 a mistake in what was asked for, 3 some got no answer: the same command goes on",
    )
    parser.add_argument("out", metavar="OUT", type=Path, help="folder of FITS files, labels.csv and provenance.jsonl")
    parser.add_argument(
        "--survey", required=True, choices=tuple(SOURCES), help="first, nvss, tgss: SkyView; vlass: CADC"
    )
    parser.add_argument(
        "--catalogue", required=True, type=Path, metavar="FILE", help="columns name, ra, dec (degrees, J2000), class"
    )
    parser.add_argument(
        "--size", default="150px", metavar="SIZE", help="side: arcminutes, or pixels as 150px (default: %(default)s)"
    )
    parser.add_argument(
        "--pause", type=float, default=1.0, metavar="S", help="seconds before each request (default: %(default)s)"
    )
    parser.add_argument("--tries", type=int, default=5, metavar="N", help="for each object (default: %(default)s)")
    parser.add_argument(
        "--most-blank",
        type=float,
        default=0.1,
        metavar="F",
        help="share of a cut-out that may lie outside of the survey for it to get a label (default: %(default)s)",
    )
    parser.add_argument("--again", action="store_true", help="ask again for what was missing or blank")
    parser.set_defaults(run=_fetch)


def _add_confusion(command: Command) -> None:
    parser = command(
        "confusion",
        "the chance that a cut-out holds more than one source",
        "seti-tune data confusion\n  seti-tune data confusion --survey first --size 4.5 --out confusion.png",
    )
    parser.add_argument("--survey", action="append", choices=tuple(SURVEYS), help="may be repeated (default: all)")
    parser.add_argument(
        "--size", type=float, default=4.5, metavar="ARCMIN", help="side of the square cut-out (default: %(default)s)"
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="a picture of the chance against the size, .png or .svg"
    )
    parser.set_defaults(run=_confusion)


def _add_groups(command: Command) -> None:
    parser = command(
        "groups",
        "frames in quick succession become one group, from a table of times",
        "seti-tune data groups times.csv --within 6h --out groups.csv",
    )
    parser.add_argument("times", metavar="TIMES", type=Path, help="columns file, time (ISO 8601), perhaps region")
    parser.add_argument(
        "--within",
        required=True,
        metavar="GAP",
        help="frames of a region no further apart are one group: 90s, 30min, 6h, 2d",
    )
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="columns file, group")
    parser.set_defaults(run=_groups)


def _fetch(args: argparse.Namespace) -> int:
    from tune.sky.catalogue import read_catalogue
    from tune.sky.fetch import LABELS, Request, fetch, is_labelled, read_size  # SciPy, for this command alone

    side_arcmin, pixels = read_size(args.size, args.survey)
    request = Request(
        survey=args.survey,
        side_arcmin=side_arcmin,
        pixels=pixels,
        pause_s=args.pause,
        tries=args.tries,
        most_without_sky=args.most_blank,
        again=args.again,
    )
    targets = read_catalogue(args.catalogue)
    try:
        answers = fetch(targets, args.out, request, say=lambda line: print(printable(line), file=sys.stderr))
    except KeyboardInterrupt:
        print("interrupted; the same command goes on", file=sys.stderr)
        raise
    failed = _say_outcomes(answers.values(), request.most_without_sky)
    labelled = sum(is_labelled(answer, request.most_without_sky) for answer in answers.values())
    print(printable(f"{labelled} of {len(targets)} objects have a label: {args.out / LABELS}"))
    if failed:
        raise FetchInterruptedError(
            f"{len(failed)} objects got no answer ({_named(failed)}); the same command asks for them again"
        )
    return 0


def _say_outcomes(answers: Iterable[Answer], most_without_sky: float) -> list[str]:
    """Print how many objects had each outcome, and which; return the names of those without an answer."""
    names: dict[str, list[str]] = {}
    for answer in answers:
        is_bare = answer.outcome == "edge" and (answer.without_sky or 0) > most_without_sky
        names.setdefault("edge, no label" if is_bare else answer.outcome, []).append(answer.name)
    for outcome, some in sorted(names.items()):
        print(printable(f"{outcome} {len(some)}" + ("" if outcome == "whole" else f": {_named(some)}")))
    return names.get("failed", [])


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more


def _confusion(args: argparse.Namespace) -> int:
    surveys = {name: SURVEYS[name] for name in args.survey or SURVEYS}
    if args.out is not None:
        check_output(args.out)
    print(
        f"cut-outs of {args.size:g}' x {args.size:g}'; sources at random places (Poisson)\n"
        "another: around a target, at least one source beside it, 1 - exp(-mean)\n"
        "several: laid anywhere, two sources or more, 1 - exp(-mean) (1 + mean)\n"
        "1 in 10: side at which one cut-out in ten holds another source"
    )
    print(f"{'survey':<20} {'per deg2':>9} {'mean':>9} {'another':>9} {'several':>9} {'1 in 10':>9}")
    for survey in surveys.values():
        mean, another = others_expected(survey, args.size), chance_of_another(survey, args.size)
        several, side = chance_of_several(survey, args.size), side_of_chance(survey, _ONE_IN_TEN)
        print(f"{survey.title:<20} {survey.per_deg2:9.4g} {mean:9.3g} {another:9.3g} {several:9.3g} {side:8.3g}'")
    for survey in surveys.values():
        print(f"{survey.title}: {survey.depth}; {survey.citation}")
    if args.out is not None:
        from results.report.source_confusion import confusion_figure  # matplotlib, for a picture alone

        confusion_figure(surveys, args.size, args.out)
        print(f"picture: {args.out}")
    return 0


def _groups(args: argparse.Namespace) -> int:
    gap = read_gap(args.within)
    check_output(args.out)
    if args.out.exists() and args.times.exists() and args.out.samefile(args.times):
        raise DatasetError(f"--out {args.out}: holds the times themselves; name another file")
    frames = read_frames(args.times)
    groups = groups_in_time(frames, gap)
    text = io.StringIO(newline="")
    rows = [("file", "group"), *((frame.file, group) for frame, group in zip(frames, groups, strict=True))]
    csv.writer(text, lineterminator="\n").writerows([csv_cell(cell) for cell in row] for row in rows)
    write_atomically(args.out, text.getvalue())
    sizes = Counter(groups)
    print(printable(f"{len(frames)} frames in {len(sizes)} groups, the largest of {max(sizes.values())}: {args.out}"))
    return 0
