"""A scan of 2 GB: in bounded memory, with the recall that is predicted, killed three times, and as fast as predict."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scans import images_of, powers, sky_parts, write_model
from spectra_files import fil_header

from results.predictions import read_predictions
from results.stats.detection import detection_at_threshold, signal_scores, threshold_at_rate
from seti_model.data.spectra.tiles import Tiling

TILING = Tiling(16, 32, average_time=8, average_frequency=4, rule="log")
STRENGTH = 1.6  # found nearly always, and sometimes not
N_DOWN, N_ACROSS = 256, 128
MOST_RESIDENT = 1.5e9  # bytes
PIECES = (0.1, 0.35, 0.7)  # of the file, after which it is killed
RATIO = """
import contextlib, io, json, shutil, sys, time
from pathlib import Path
import numpy as np
from threadpoolctl import threadpool_limits
from tune.cli.main import main
from tune.cores import cores
from tune.models import load_recorded
from seti_model.data.spectra.filterbank import open_spectra
from seti_model.data.spectra.tiles import Tiling, read_tiles

model, sky, out = map(Path, sys.argv[1:])
network = load_recorded(model, 1, side_by_side=cores())
with open_spectra(sky) as spectra:
    images = np.concatenate([some.images for some in read_tiles(spectra, Tiling.from_mapping(network.kind.tiles))])
network.predict(images, side_by_side=cores())
ratios = []
for _ in range(5):
    begun = time.perf_counter()
    with threadpool_limits(1):
        network.predict(images, side_by_side=cores())  # as the command does
    plain = len(images) / (time.perf_counter() - begun)
    shutil.rmtree(out, ignore_errors=True)
    with contextlib.redirect_stdout(io.StringIO()):
        assert main(["scan", str(model), str(sky), "--out", str(out)]) == 0
    scanned = json.loads((out / "scan.json").read_text())["this_session"]
    ratios.append((scanned["tiles_per_s"] / plain, scanned["tiles_per_s"], plain, scanned["limit"]))
print(json.dumps(sorted(ratios)))
"""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("model") / "run"
    return write_model(run, tiling=TILING, strength=STRENGTH, counts=(1600, 4000), **{"training.epochs": 8})


def write_large(path: Path, tiling: Tiling, n_down: int, n_across: int, injected: set[int]) -> None:
    with path.open("wb") as file:
        file.write(fil_header(n_across * tiling.n_channels))
        for part in sky_parts(tiling, n_down, n_across, injected, seed=9, strength=STRENGTH):
            file.write(part.tobytes())


def command(model: Path, sky: Path, out: Path) -> list[str]:
    return [sys.executable, "-m", "tune.cli.main", "scan", str(model), str(sky), "--out", str(out)]


def predicted_recall(model: Path) -> Any:
    """What a report says: the threshold of validation images, used on images that had no part in it."""
    from seti_model.exported import load_model

    validation = read_predictions(model.parent / "validation_predictions.parquet")
    threshold = threshold_at_rate(signal_scores(validation.y_prob, 1)[validation.y_true == 1], 0.01)
    power, labels = powers(1200, 77, strength=STRENGTH, tiling=TILING)
    y_prob = load_model(model).predict(images_of(power, TILING))
    return detection_at_threshold(threshold, labels, y_prob, validation.class_names, noise_class=1)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_two_gigabytes_in_bounded_memory_with_the_predicted_recall_also_after_three_kills(
    tmp_path: Path, model: Path
) -> None:
    n_tiles, sky = N_DOWN * N_ACROSS, tmp_path / "sky.fil"
    injected = set(range(5, n_tiles, 11))
    write_large(sky, TILING, N_DOWN, N_ACROSS, injected)
    assert sky.stat().st_size > 2e9
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    process = subprocess.Popen(command(model, sky, straight), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    with process.stdout:
        print(process.stdout.read().decode())
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    resident = usage.ru_maxrss * 1024
    print(f"resident at most {resident / 1e6:.0f} MB for {sky.stat().st_size / 1e6:.0f} MB")
    assert resident < MOST_RESIDENT

    with (straight / "candidates.csv").open(newline="") as file:
        found = {int(row["tile"]) for row in csv.DictReader(file)}
    recall, false = len(found & injected) / len(injected), len(found - injected) / (n_tiles - len(injected))
    predicted = predicted_recall(model)
    print(f"recall {recall:.4f} of {len(injected)}, predicted {predicted.recall}; false alarms {false:.4f}")
    assert predicted.recall.low <= recall <= predicted.recall.high
    assert predicted.threshold.expected.low <= false <= predicted.threshold.expected.high

    journal = killed / "journal.jsonl"
    blocks = n_tiles // 64
    for piece in PIECES:
        process = subprocess.Popen(command(model, sky, killed), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while not journal.exists() or journal.read_bytes().count(b"\n") < 2 + piece * blocks:
            assert process.poll() is None, "it ended before it could be killed"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    subprocess.run(command(model, sky, killed), check=True, capture_output=True)
    for name in ("candidates.csv", "journal.jsonl"):
        assert (killed / name).read_bytes() == (straight / name).read_bytes()
    assert json.loads((killed / "scan.json").read_text())["tiles"] == n_tiles
    assert len(list((killed / "pictures").iterdir())) == len(list((straight / "pictures").iterdir()))
    shutil.rmtree(tmp_path)


@pytest.mark.slow
def test_a_scan_is_nearly_as_fast_as_predict_of_the_same_network_in_the_same_process(tmp_path: Path) -> None:
    # The course network on tiles of the rule `log`. Those of the rule `course` take as long as a network: docs/scan.md.
    tiling = Tiling(rule="log")
    changes = {"network.family": "course", "prepare.steps": "", "training.epochs": 1}
    path = write_model(tmp_path / "run", tiling=tiling, counts=(32, 240), **changes)
    write_large(tmp_path / "sky.fil", tiling, 24, 64, set())
    words = [sys.executable, "-c", RATIO, str(path), str(tmp_path / "sky.fil"), str(tmp_path / "out")]
    ratios = json.loads(subprocess.run(words, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
    for ratio, scan, plain, limit in ratios:
        print(f"{ratio:.2f}: scan {scan:.0f}, predict {plain:.0f} tiles/s, limit {limit}")
    assert float(np.median([ratio for ratio, *_ in ratios])) >= 0.8
