"""`predict` as it comes against a grid of `--batch` and `--threads`, in one run: the rate, and the memory at its peak.

The commands are the user's own, a process each; the grid is measured on fewer images than the whole. Nothing else may
run. What was measured is written to `pace.json` beside this file.
"""

from __future__ import annotations

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tune.cores import cores
from tune.provenance import device_model

IMAGES, SHAPE = 100_000, (32, 64, 1)
GRID_IMAGES = 8192
ROUNDS = 3  # of all images without options, and as the best of the grid, in turn
BATCHES = (16, 32, 64, 128, 256)
CLASSES = ("a", "b", "c", "d")
NETWORKS: Mapping[str, Sequence[str]] = {
    "small, aligned": ("network.family=small", "prepare.steps=align"),
    "two blocks 16-32, Dense 32": ("network.filters_1=16", "network.filters_2=32", "network.dense_units=32"),
}
_SAID = re.compile(r"(\d+) images in [\d.]+ s, ([\d.]+) images/s, (\d+) at a time, (\d+) such .*?\((.*?)\); one image")
_CLI = [sys.executable, "-m", "tune.cli.main"]


def main() -> None:
    """Print for each network, or the one named, the grid, and what `predict` does without options."""
    file = Path(__file__).with_suffix(".json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found |= {"machine": device_model(gpu=False), "cores": cores(), "images": IMAGES, "shape": SHAPE}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = folder
        home = Path(folder)
        _write_data(home / "few", GRID_IMAGES)
        _write_data(home / "all", IMAGES)
        for network in sys.argv[1:] or NETWORKS:
            found[network] = _compare(home, network, NETWORKS[network])
    file.write_text(json.dumps(found, indent=1) + "\n")


def _compare(home: Path, network: str, settings: Sequence[str]) -> dict[str, Any]:
    out = home / network.partition(",")[0].replace(" ", "_")
    fields = [part for one in settings for part in ("--set", one)]
    _run("train", "--data", home / "few", "--out", out, "--threads", 1, "--set", "training.epochs=1", *fields)
    model = out / "model.keras"
    ways = [(batch, threads) for threads in _halves(cores()) for batch in BATCHES]
    rates: dict[str, float] = {}
    for batch, threads in ways:
        said = _predict(model, home / "few", "--batch", batch, "--threads", threads)
        rates[f"{batch} x {threads}"] = said["images_per_s"]
    best = max(rates, key=rates.__getitem__)
    batch, _, threads = best.split()
    as_best = ("--batch", batch, "--threads", threads)
    pairs = [(_predict(model, home / "all"), _predict(model, home / "all", *as_best)) for _ in range(ROUNDS)]
    ratio = statistics.median(usual["images_per_s"] / asked["images_per_s"] for usual, asked in pairs)
    print(f"{network}, {'x'.join(map(str, SHAPE[:2]))}; images/s of batch x threads, of {GRID_IMAGES} images:")
    print("  " + ", ".join(f"{way}: {rate:.0f}" for way, rate in rates.items()))
    for without, asked_for in pairs:
        print(f"  {IMAGES} images without options: {without}\n  as the best of the grid: {asked_for}")
    print(f"  {ratio:.2f} of the best, {best} (median of {ROUNDS})", flush=True)
    return {"grid": rates, "best": best, "in turn, without options and as the best": pairs, "ratio": ratio}


def _halves(number: int) -> list[int]:
    return [number >> shift for shift in range(number.bit_length())]


def _predict(model: Path, data: Path, *options: object) -> dict[str, Any]:
    said, peak_mb = _run("predict", model, data, "--csv", data.parent / "p.csv", *options)
    found = _SAID.search(said)
    if found is None:
        raise RuntimeError(f"predict said {said!r}")
    n, rate, batch, side_by_side, known = found.groups()
    return {
        "images": int(n),
        "images_per_s": float(rate),
        "batch": int(batch),
        "side_by_side": int(side_by_side),
        "known": known.partition(", kept in")[0].partition(", in ")[0],
        "peak_mb": round(peak_mb),
    }


def _run(*words: object) -> tuple[str, float]:
    """Run a command; return what it said to standard error and its resident memory at the peak, 10**6 bytes."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen([*_CLI, *map(str, words)], stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        text = said.read()
    if process.returncode != 0:
        raise RuntimeError(f"{words[0]} ended with {process.returncode}: {text}")
    return text, usage.ru_maxrss * 1024 / 1e6


def _write_data(path: Path, n: int) -> None:
    from seti_model.data.dataset import SplitData, write_dataset

    rng = np.random.default_rng(n)
    splits = {}
    for name, count in (("train", 256), ("validation", n)):
        images = rng.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
        splits[name] = SplitData(images, (np.arange(count) % len(CLASSES)).astype(np.int8))
    write_dataset(path, splits, CLASSES, {"made": "noise, for a benchmark"})


if __name__ == "__main__":
    main()
