"""A scan in a process of its own, to be killed: its network is a matched filter in NumPy, which starts at once.

Usage: scan_child.py OUT SECONDS_A_BLOCK FILE…
"""

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from scans import CLASSES, TILING

from seti_model.config import Configuration
from seti_model.data.spectra.voltages import TimeSeries
from tune.scan.candidates import Threshold
from tune.scan.scan import Scan, Wanted


class MatchedFilter:
    """Takes the brightest column of three rows as the score of a line."""

    configuration = Configuration.from_mapping({})
    class_names, shape, digest, weights_digest = CLASSES, (TILING.n_time, TILING.n_freq, 1), "f" * 64, "f" * 64

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def warm_up(self) -> None:
        pass

    def predict(self, images: Any, *, batch: int | None = None) -> Any:
        time.sleep(self._seconds)
        level = images[..., 0].astype(np.float32)
        score = np.clip((level[:, 7:9].mean(axis=1).max(axis=1) - 150) / 105, 0, 1)
        return np.stack([score, 1 - score], axis=1).astype(np.float32)


if __name__ == "__main__":
    out, seconds, *files = sys.argv[1:]
    wanted = Wanted(Path("model.keras"), tuple(map(Path, files)), Path(out), background="noise", batch=8, readers=1)
    model: Any = MatchedFilter(float(seconds))
    sys.exit(Scan(wanted, model, Threshold(0.8), tiling=TILING, series=TimeSeries()).run())
