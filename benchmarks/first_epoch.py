"""How long `seti-tune search` takes until the first epoch of a trial is in the log: wall and processor time.

One trial of the small CNN on 96 images, whose data set is there. `python -m benchmarks.first_epoch CHECKOUT` runs this
version and the one in the folder CHECKOUT in turn. Processor time is that of all processes of the search, Ray's too,
until the line is written; the least of three rounds counts, because what else runs only ever slows down.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROUNDS = 3
LOOK_S = 0.02
HERE = Path(__file__).resolve().parent.parent
SEARCH = [sys.executable, "-P", "-m", "tune.cli.main"]
STUDY = """[study]
name = "first"
space = "quickstart"
trials = 1
max_epochs = 1
seed = 1
[data]
path = "data"
[baseline]
"network.family" = "small"
[finals]
enabled = false
"""


def main() -> None:
    """Print the least of each, and the rounds, for this version and for another one if it is named."""
    versions = [HERE, *(Path(folder).resolve() for folder in sys.argv[1:])]
    rounds: dict[Path, list[tuple[float, float]]] = {version: [] for version in versions}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder)
        counts = ["--preset", "wide", "--train", "96", "--validation", "48", "--test", "48"]
        subprocess.run([*SEARCH, "data", "simulate", str(path / "data"), *counts], check=True, capture_output=True)
        (path / "study.toml").write_text(STUDY)
        for number in range(ROUNDS):
            for place, version in enumerate(versions):
                rounds[version].append(measure(path / "study.toml", path / f"run-{number}-{place}", version))
    print("from `seti-tune search` to the first epoch, seconds")
    for version, found in rounds.items():
        wall, processor = (min(values) for values in zip(*found, strict=True))
        each = ", ".join(f"{one:.1f} ({other:.1f})" for one, other in found)
        print(f"{version.name:<20} wall {wall:5.1f}   processor {processor:5.1f}   rounds {each}")


def measure(study: Path, run: Path, version: Path) -> tuple[float, float]:
    """Return wall and processor time until the first epoch, of a search by the code in the folder `version`."""
    log, used = run / "events.jsonl", dict[int, float]()
    environment = os.environ | {"PYTHONPATH": str(version)}
    with (run.parent / f"{run.name}.txt").open("w") as said:
        start = time.perf_counter()
        search = subprocess.Popen(
            [*SEARCH, "search", str(study), "--run", str(run), "--quiet"], env=environment, stdout=said, stderr=said
        )
        while not (log.is_file() and '"kind":"epoch"' in log.read_text()):
            if search.poll() is not None:
                raise RuntimeError(f"{said.name}: the search ended with {search.returncode}; read there why")
            _look(search.pid, used)
            time.sleep(LOOK_S)
        wall = time.perf_counter() - start
        _look(search.pid, used)
        search.wait()
    return wall, sum(used.values())


def _look(parent: int, used: dict[int, float]) -> None:
    """Note what each process of the search has used; of one that has ended the last is kept."""
    for process in [psutil.Process(parent), *psutil.Process(parent).children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        used[process.pid] = times.user + times.system


if __name__ == "__main__":
    main()
