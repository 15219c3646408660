"""`make fuzz`: cases for as long as told, a line for each distinct cause; or a single case again, its folder kept."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from fuzz.cases import ALL_KINDS, WEIGHTS
from fuzz.runner import Outcome, Runner


def schedule(kinds: tuple[str, ...], first: int) -> Iterator[tuple[str, int]]:
    """Yield kinds and seeds without end, each kind as often as its weight says, spread evenly."""
    seeds = dict.fromkeys(kinds, first)
    due = {kind: 1 / WEIGHTS[kind] for kind in kinds}
    while True:
        kind = min(due, key=lambda one: (due[one], kinds.index(one)))
        due[kind] += 1 / WEIGHTS[kind]
        yield kind, seeds[kind]
        seeds[kind] += 1


def main() -> int:
    """Return 0 where every case passed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--cases", type=int, default=10**9, help="at most so many")
    parser.add_argument("--seed", type=int, default=1, help="the first seed of each kind")
    parser.add_argument("--kinds", default="", help=f"some of {', '.join(ALL_KINDS)}")
    parser.add_argument("--case", help="one case, such as 'log 17': run it again and keep its folder")
    parser.add_argument("--causes", type=Path, help="write the causes there as JSON")
    given = parser.parse_args()
    kinds = tuple(given.kinds.replace(",", " ").split()) or ALL_KINDS
    with tempfile.TemporaryDirectory(prefix="seti-tune-fuzz-") as folder, Runner(Path(folder)) as runner:
        if given.case:
            return _single(runner, given.case)
        return _many(runner, schedule(kinds, given.seed), given)


def _single(runner: Runner, name: str) -> int:
    kind, seed = name.split()[:2]
    folder = Path(tempfile.gettempdir()) / f"seti-tune-fuzz-{kind}-{seed}"
    found = runner.run(kind, int(seed), keep=folder)
    print(f"{found.name}: {found.label}\ncd {folder / 'work'} && seti-tune {shlex.join(found.words)[:2000]!r}")
    used = f"{found.ended.cpu_s:.1f} s, {found.ended.memory / 1e6:.0f} MB"
    print(f"exit code {found.ended.code}, {used}\n{found.ended.out[-3000:]!r}\n{found.ended.err[-6000:]}")
    print("\n".join(found.causes) or "passed")
    return 1 if found.causes else 0


def _many(runner: Runner, cases: Iterator[tuple[str, int]], given: argparse.Namespace) -> int:
    began, first = time.monotonic(), dict[str, Outcome]()
    counts, broken, known = Counter[str](), Counter[str](), Counter[str]()
    meaning, seconds = 0, dict.fromkeys(ALL_KINDS, 0.0)
    for kind, seed in cases:
        if time.monotonic() - began > given.seconds or counts.total() >= given.cases:
            break
        start = time.monotonic()
        found = runner.run(kind, seed)
        seconds[kind] += time.monotonic() - start
        counts[kind] += 1
        meaning += found.is_meaning
        broken[kind] += bool(found.causes)
        for cause in found.causes:
            known[cause] += 1
            if cause not in first:
                first[cause] = found
                print(f"{cause}\n    {found.case}  # {found.name}: {found.label[:150]}\n    {found.last}", flush=True)
    total = max(counts.total(), 1)
    print(
        f"\n{counts.total()} cases in {time.monotonic() - began:.0f} s, {meaning / total:.0%} of them valid in syntax"
    )
    for kind, n in sorted(counts.items()):
        print(f"  {kind:<12} {n:>6} cases, {broken[kind]:>5} failed, {1000 * seconds[kind] / n:>6.0f} ms each")
    print(f"{len(first)} distinct causes")
    if given.causes:
        rows = [
            [cause, n, first[cause].case, first[cause].label, first[cause].last] for cause, n in known.most_common()
        ]
        given.causes.write_text(json.dumps(rows, indent=1))
    return 1 if first else 0


if __name__ == "__main__":
    sys.exit(main())
