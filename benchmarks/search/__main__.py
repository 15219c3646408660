"""`make bench-search`: does what is missing, then makes table and picture of all that is there.

A record is a search of one way and seed, in `benchmarks/search/results/<setting>/`; a search that was interrupted is
done again. All ways take their turn before the next seed begins, each seed with another one first.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.search import record
from benchmarks.search.job import ROOT, Job
from benchmarks.search.setting import SETTINGS, WIDE, Setting
from benchmarks.search.tables import draw, table
from benchmarks.search.ways import WAYS, Way

RESULTS = Path(__file__).with_name("results")
WORK = ROOT / "runs" / "bench-search"
TABLE, PICTURE = "table.md", "best-so-far.png"


def main(words: Sequence[str] | None = None) -> None:
    """Search what is missing, print the table and draw the picture."""
    options = _options(words)
    setting = SETTINGS["quick" if options.quick else options.setting]
    if unfit := [name for name in options.ways if name not in ways_of(setting)]:
        sys.exit(
            f"--ways {' '.join(unfit)}: not in the setting {setting.name}; choose from {', '.join(ways_of(setting))}"
        )
    results = (options.out or (options.work / "records" if options.quick else RESULTS)) / setting.name
    if not options.only_tables:
        for way, seed in missing(results, options.ways or ways_of(setting), options.seeds or setting.seeds):
            record.write(results, Job(way, seed, setting, options.work).search())
            print(f"{way.name}, seed {seed}: {record.place(results, way.name, seed)}", flush=True)
    conclude(results)


def _options(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--quick", action="store_true", help="one seed of three short trials: whether all runs")
    which.add_argument("--setting", choices=("quickstart", WIDE), default="quickstart", help="which data and space")
    parser.add_argument("--seeds", type=int, help="how many, from 1 (default: quickstart five, wide and --quick one)")
    parser.add_argument("--ways", nargs="+", choices=list(WAYS), default=[], help="which (default: all)")
    parser.add_argument(
        "--out", type=Path, help="folder of the records (default: benchmarks/search/results; of --quick: in --work)"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="folder for data and runs (default: runs/bench-search)")
    parser.add_argument("--only-tables", action="store_true", help="search nothing")
    return parser.parse_args(words)


def ways_of(setting: Setting) -> list[str]:
    """Return the ways that a setting has: of `wide` those that differ in space or momentum would be no others."""
    return [name for name, way in WAYS.items() if setting.name != WIDE or way.is_of_families]


def missing(results: Path, names: Sequence[str], seeds: int) -> Iterator[tuple[Way, int]]:
    """Yield each way and seed that has no record yet."""
    for seed in range(1, seeds + 1):
        first = (seed - 1) % len(names)
        for name in [*names[first:], *names[:first]]:
            if not record.place(results, name, seed).exists():
                yield WAYS[name], seed


def conclude(results: Path) -> None:
    """Print the table of a folder and write it there, with the picture."""
    records = record.read(results)
    if not records:
        print(f"{results}: no record yet")
        return
    text = table(records)
    (results / TABLE).write_text(text + "\n", encoding="utf-8")
    draw(records, results / PICTURE)
    print(f"\n{text}\n\n{results / TABLE}, {results / PICTURE}")


def _told_to_end(*_: object) -> None:
    """End as after Ctrl-C: what runs is ended first."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, _told_to_end)
    began = time.perf_counter()
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; finished searches are kept, the same command goes on")
    print(f"{(time.perf_counter() - began) / 60:.1f} min")
