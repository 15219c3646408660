"""Which tiles of a scan are candidates: those that score above a threshold, with where the signal lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from results.best import read_best
from results.log.state import load_run
from results.predictions import Predictions, read_predictions
from results.run_folder import MODEL, TRAINED_MODEL, VALIDATION_PREDICTIONS
from results.scan import Candidate
from results.stats.detection import Threshold as MeasuredThreshold
from results.stats.detection import signal_scores, threshold_at_rate
from seti_model.data.align import Lines, find_lines
from seti_model.data.spectra.tiles import TilePlace
from tune.errors import ScanError
from tune.scan.engine import Block
from tune.scan.journal import known
from tune.test_split import run_of

if TYPE_CHECKING:  # what it imports takes seconds
    from seti_model.exported import ExportedModel

ALIGN = "align"


@dataclass(frozen=True)
class Threshold:
    """A score above which a tile is a candidate; `measured` from validation images, None where it was given."""

    score: float
    measured: MeasuredThreshold | None = None


def threshold_of(
    path: Path, model: ExportedModel, background: str, *, false_alarm: float, given: float | None
) -> Threshold:
    """Return the threshold of a scan: one that was given, or that of a false-alarm rate on validation images.

    Args:
        path: Of the model.
        model: As it was loaded, so what the log of its run says it is.
        background: The class without a signal.
        false_alarm: The share of background images that may be taken for signals.
        given: A score of 0 to 1, if one was given.

    Raises:
        ScanError: No such class; no validation predictions of this model, or too few of them.
        RecordError: They are damaged.
    """
    if background not in model.class_names:
        raise ScanError(
            f"--background {background}: is none of the model's classes; choose one of {', '.join(model.class_names)}"
        )
    if given is not None:
        if not 0 <= given < 1:
            raise ScanError(f"--threshold {given:g}: a score of 0 to 1, without 1, is expected; correct it")
        return Threshold(given)
    predictions, where = _of_validation(path)
    if predictions.class_names != model.class_names:
        raise ScanError(f"{where}: its validation images have other classes than the model; give --threshold")
    at = model.class_names.index(background)
    scores = signal_scores(predictions.y_prob, at)[predictions.y_true == at]
    try:
        measured = threshold_at_rate(scores, false_alarm)
    except ValueError as error:
        raise ScanError(f"{where}: {error}; choose another --false-alarm, or give --threshold") from error
    return Threshold(measured.score, measured)


def _of_validation(path: Path) -> tuple[Predictions, Path]:
    """Return what a model said of the validation images of its run: delivered by finals, or of a single training."""
    run = run_of(path)
    if run is not None and path.resolve() == run / MODEL:
        return read_predictions(run / VALIDATION_PREDICTIONS), run
    if run is not None and path.resolve() == run / TRAINED_MODEL:
        best = read_best(run, load_run(run).search_trials())
        if best is not None:
            return best.predictions, run
    raise ScanError(
        f"{path}: is no model of a run whose validation images tell a threshold (final/model.keras, or that of a "
        "training); give --threshold, a score of 1 - p(background)"
    )


@dataclass(frozen=True)
class Finder:
    """Finds the candidates among the tiles of a block."""

    class_names: tuple[str, ...]
    background: int
    threshold: float
    max_drift: float | None  # of the lines that the network's own preparation looks for; None: it looks for none

    @classmethod
    def of(cls, model: ExportedModel, background: str, threshold: Threshold) -> Finder:
        """Return that of a model; drifts are known where its preparation begins with aligning."""
        steps = model.configuration.preparation.steps
        aligns = bool(steps) and steps[0][0] == ALIGN
        max_drift = float(steps[0][1]["max_drift"]) if aligns else None
        return cls(model.class_names, model.class_names.index(background), threshold.score, max_drift)

    def find(self, block: Block, y_prob: npt.NDArray[np.float32]) -> list[tuple[int, Candidate]]:
        """Return the candidates with their place among the images of the block."""
        scores = signal_scores(y_prob, self.background)
        above = np.flatnonzero(scores > self.threshold)
        if not above.size:
            return []
        signals = y_prob.copy()
        signals[:, self.background] = -1
        classes = signals.argmax(axis=1)
        found = []
        lines = (
            None
            if self.max_drift is None
            else find_lines(block.images[above, ..., 0].astype(np.float32), max_drift=self.max_drift)
        )
        for n, at in enumerate(above):
            place, label = block.places[at], int(classes[at])
            candidate = candidate_at(
                block.file, place, self.class_names[label], float(y_prob[at, label]), score=float(scores[at])
            )
            found.append((int(at), candidate if lines is None else _on_line(candidate, place, lines, n)))
        return found


def candidate_at(file: str, place: TilePlace, class_name: str, probability: float, *, score: float) -> Candidate:
    """Return a tile as a candidate in whose middle the signal is; no drift is known."""
    duration = place.n_time * place.dt_s
    return Candidate(
        file=file,
        tile=place.tile,
        class_name=class_name,
        probability=probability,
        score=score,
        time_s=known(place.start_time_s + duration / 2),
        mjd=known(place.start_mjd + duration / 2 / 86_400),
        frequency_mhz=known((place.low_frequency_mhz + place.high_frequency_mhz) / 2),
        drift_hz_per_s=None,
        low_frequency_mhz=known(place.low_frequency_mhz),
        high_frequency_mhz=known(place.high_frequency_mhz),
        duration_s=known(duration),
    )


def _on_line(candidate: Candidate, place: TilePlace, lines: Lines, n: int) -> Candidate:
    """Return a candidate with frequency and drift of the line that was found in its image."""
    steps = max(1, place.n_time - 1)  # from the first row to the last, over which `drift` is counted
    drift = float(lines.drift[n]) * place.df_hz / (steps * place.dt_s)
    frequency = place.frequency_mhz(float(lines.position[n]))
    return replace(candidate, drift_hz_per_s=known(drift), frequency_mhz=known(frequency))
