"""What ten thousand trials and a million epochs cost: the driver's processor time and memory per trial, the readers.

Each part runs in a process of its own, whose processor time and largest resident memory are counted. The driver is all
that a search has beside Ray: plan, coordinator, log, upkeep and view, with 16 trials at once whose training takes no
time at all. `python -m benchmarks.scale --help` names the parts; the one against stock Ray Tune wants a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from benchmarks import millisecond

SIZES = (500, 2000, 10_000)
MAX_EPOCHS = 9
LONG_TRIALS = 10_000  # of the logs of a million epochs
SPACE = """name = "six"
description = "One number that matters, five that do not."
[parameters.x]
type = "float"
low = 0.0
high = 1.0
reason = "The one that matters."
""" + "".join(
    f"""[parameters.nuisance_{n}]
type = "float"
low = 1e-4
high = 1.0
log = true
reason = "Makes a space of the usual size."
"""
    for n in range(5)
)
STUDY = """[study]
space = "six.toml"
trials = {trials}
max_epochs = {epochs}
seed = 1
trainable = "millisecond:train"
[search]
sampler = "{sampler}"
[asha]
grace_epochs = 1
[baseline]
x = 0.9
{nuisances}
[finals]
enabled = false
"""


FOLD = """import json, sys, time
from pathlib import Path
from results.log.state import load_run
began = time.process_time()
state = load_run(Path(sys.argv[1]))
cpu_s = time.process_time() - began
print(json.dumps({"cpu_s": cpu_s, "epochs": sum(len(trial.epochs) for trial in state.trials.values())}))
"""


def main() -> None:
    """Run the parts that are asked for; print their tables."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="seti-scale-") as folder:
        place = Path(folder)
        if "driver" in options.parts:
            _print_driver(place, options.trials)
        if "sampler" in options.parts:
            _print_sampler(place, options.trials)
        if "readers" in options.parts:
            _print_readers(place, max(options.trials))
        if "ray" in options.parts:
            _print_ray(place, options.ray_trials)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("driver", "sampler", "readers", "ray")
    parser.add_argument("--parts", nargs="+", choices=names, default=names, help="which tables (default: all)")
    parser.add_argument("--trials", nargs="+", type=int, default=SIZES, help="sizes of searches without Ray")
    parser.add_argument("--ray-trials", type=int, default=SIZES[-1], help="of the search with Ray and of the stock one")
    return parser.parse_args()


@dataclass(frozen=True)
class Used:
    """What a process took: its last line of output, seconds of processor and wall time, its largest memory in MB."""

    said: str
    cpu_s: float
    wall_s: float
    peak_mb: float


def _run(*arguments: str) -> Used:
    """Run Python with these arguments and count what that process took, without those that it started."""
    began = time.perf_counter()
    # As installed software runs, whatever the environment says: with its modules compiled before.
    compiled = {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / "seti-scale-pyc"),
    }
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, text=True, env=os.environ | compiled
    )
    said = process.stdout.read() if process.stdout else ""
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}: exit code {process.returncode}")
    lines = said.splitlines() or [""]
    wall_s = time.perf_counter() - began
    return Used(lines[-1], usage.ru_utime + usage.ru_stime, wall_s, usage.ru_maxrss * 1024 / 1e6)


# The driver --------------------------------------------------------------------------------------------------


def _study(place: Path, trials: int, sampler: str) -> Path:
    """Write a study in a folder of its own."""
    folder = place / f"{sampler}-{trials}"
    folder.mkdir(exist_ok=True)
    (folder / "six.toml").write_text(SPACE)
    (folder / "millisecond.py").write_text(Path(millisecond.__file__).read_text())
    nuisances = "\n".join(f"nuisance_{n} = 0.1" for n in range(5))
    path = folder / "study.toml"
    path.write_text(STUDY.format(trials=trials, epochs=MAX_EPOCHS, sampler=sampler, nuisances=nuisances))
    return path


def _part(*arguments: str | Path) -> tuple[dict[str, float], Used]:
    used = _run("-m", "benchmarks.scale_parts", *map(str, arguments))
    return json.loads(used.said), used


def _driven(place: Path, trials: int) -> Path:
    """Return the run of that many trials, made if it is not there."""
    run = place / f"run-{trials}"
    if not run.exists():
        _part("drive", _study(place, trials, "random"), run)
    return run


def _print_driver(place: Path, sizes: list[int]) -> None:
    print(f"\nthe driver without Ray, 16 trials at once, random search, ASHA, at most {MAX_EPOCHS} epochs a trial")
    print(f"{'trials':>8}{'epochs':>8}{'ms a trial':>12}{'of first':>9}{'KB a trial':>12}{'peak MB':>9}")
    first = 0.0
    for trials in sizes:
        got, used = _part("drive", _study(place, trials, "random"), place / f"run-{trials}")
        each, grown = 1e3 * got["cpu_s"] / trials, got["grown_kb"] / trials
        first = first or each
        numbers = f"{each:>12.2f}{each / first:>9.2f}{grown:>12.1f}{used.peak_mb:>9.0f}"
        print(f"{trials:>8}{got['epochs']:>8}{numbers}", flush=True)


def _print_sampler(place: Path, sizes: list[int]) -> None:
    print("\nTPE's own part, by the number of trials it learns from")
    print(f"{'trials':>8}{'ms a proposal':>15}{'s to rebuild':>14}")
    for trials in sizes:
        got, _ = _part("propose", _study(place, trials, "tpe"), _driven(place, trials))
        print(f"{trials:>8}{got['proposal_ms']:>15.1f}{got['rebuild_s']:>14.2f}", flush=True)


def _print_readers(place: Path, trials: int) -> None:
    run = _driven(place, trials)
    print(f"\nreaders of {trials} trials, and of logs of {LONG_TRIALS} trials with a hundred epochs each")
    print(f"{'':<44}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'us a line':>11}")
    for command in ("leaderboard", "status", "report"):
        _run("-m", "tune.cli.main", command, str(run))  # compiles what it imports
        _say(command, _run("-m", "tune.cli.main", command, str(run)))
    for whose in ("own", "network"):
        log = place / f"long-{whose}"
        made, _ = _part("write", _study(place, LONG_TRIALS, "random"), log, str(LONG_TRIALS), whose)
        used = _run("-c", FOLD, str(log))
        got = json.loads(used.said)
        what = f"{got['epochs']:.0f} epochs of {'our networks' if whose == 'network' else 'a trainable'}"
        _say(f"{what}, {made['mb']:.0f} MB", used, 1e6 * got["cpu_s"] / made["events"])


def _say(what: str, used: Used, per_line_us: float | None = None) -> None:
    per_line = "" if per_line_us is None else f"{per_line_us:>11.1f}"
    print(f"{what:<44}{used.cpu_s:>8.2f}{used.wall_s:>8.2f}{used.peak_mb:>9.0f}{per_line}", flush=True)


# Against stock Ray Tune --------------------------------------------------------------------------------------


def _print_ray(place: Path, trials: int) -> None:
    study = _study(place, trials, "tpe")
    load = os.getloadavg()[0]
    print(f"\n{trials} trials with Ray on 16 logical CPUs ({os.cpu_count()} real ones, load {load:.1f} before)")
    print(f"{'':<44}{'trials/s':>9}{'search s':>10}{'whole s':>9}{'driver CPU s':>14}{'peak MB':>9}")
    rates = []
    for name, words in (
        ("ours", ("ours", study, place / "ray-run")),
        ("stock Ray Tune, OptunaSearch, ASHA", ("stock", study, place)),
    ):
        got, used = _part(*words)
        rates.append(got["trials"] / got["search_s"])
        numbers = f"{got['search_s']:>10.0f}{got['whole_s']:>9.0f}{got['cpu_s']:>14.0f}{used.peak_mb:>9.0f}"
        print(f"{name:<44}{rates[-1]:>9.2f}{numbers}", flush=True)
    print(f"{'ratio of trials/s':<44}{rates[0] / rates[1]:>9.2f}")


if __name__ == "__main__":
    main()
