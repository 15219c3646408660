"""How sure a trial's objective is: its interval, and whether the validation images tell it from the best."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.log.state import RunState, TrialState
from results.objective import Objective
from results.stats.intervals import LEVEL_P, PairedDifference, paired_difference_interval, wilson_interval
from results.stats.objectives import DRAWS, drawn_difference, interval, unpack_values


def validation_images(state: RunState) -> int | None:
    """Return on how many images every objective of a run is measured; None where the log does not say."""
    return state.started.validation_images if state.started else None


def objective_interval(trial: TrialState, n: int | None) -> tuple[float, float] | None:
    """Return the 95 % interval of a trial's objective from `n` validation images.

    It is that of one training on these images: neither the spread over seeds nor the choice of the best of many is
    in it. None where there is no objective, `n` is not known, the accuracy is no share of images, or nothing is known
    of the images of another objective.
    """
    if trial.best is None or not n:
        return None
    if trial.objective.is_accuracy:
        return wilson_interval(round(trial.value * n), n) if 0 <= trial.value <= 1 else None
    drawn = _drawn(trial)
    found = None if drawn is None else interval(trial.objective, trial.value, drawn)
    return None if found is None or math.isnan(found.low) else (found.low, found.high)


def paired_difference(a: TrialState, b: TrialState, n: int | None) -> PairedDifference | None:
    """Compare the kept weights of two trials on the same validation images; None where the log does not hold enough.

    Raises:
        RecordError: Flags that do not belong to `n` images, or damaged drawn values.
    """
    return _differences([a], b, n)[0]


def ties(ranked: Sequence[TrialState], n: int | None) -> list[bool | None]:
    """Return, trial by trial, whether it is not told apart from the first; None where the log cannot say.

    Raises:
        RecordError: As `paired_difference`.
    """
    differences = _differences(ranked, ranked[0], n) if ranked else []
    return [None if difference is None else difference.p_value >= LEVEL_P for difference in differences]


def tie_test(objective: Objective) -> str:
    """Return how ties are found."""
    return "exact McNemar" if objective.is_accuracy else f"{DRAWS} paired resamples"


def _differences(trials: Sequence[TrialState], other: TrialState, n: int | None) -> list[PairedDifference | None]:
    if other.objective.is_accuracy:
        flags = _flags(other, n)
        pairs = ((_flags(trial, n), flags) for trial in trials)
        return [None if a is None or b is None else paired_difference_interval(a, b) for a, b in pairs]
    drawn, of_trials = _drawn(other), map(_drawn, trials)
    return [
        None if mine is None or drawn is None or not n else drawn_difference(trial.value, other.value, mine, drawn, n)
        for trial, mine in zip(trials, of_trials, strict=True)
    ]


def _drawn(trial: TrialState) -> npt.NDArray[np.float64] | None:
    if trial.best is None or trial.best.validation_drawn is None:
        return None
    try:
        return unpack_values(trial.best.validation_drawn)
    except RecordError as error:
        raise RecordError(f"trial {trial.started.trial}, epoch {trial.best.epoch}: {error}") from error


def _flags(trial: TrialState, n: int | None) -> list[bool] | None:
    if trial.best is None or trial.best.validation_correct is None or not n:
        return None
    try:
        return unpack_flags(trial.best.validation_correct, n)
    except RecordError as error:
        raise RecordError(f"trial {trial.started.trial}, epoch {trial.best.epoch}: {error}") from error


def pack_flags(flags: Sequence[bool]) -> str:
    """Return flags as text: eight in a byte, the first one in the highest bit, in base64; `n` is not in it."""
    padded = [*flags, *[False] * (-len(flags) % 8)]
    packed = bytes(sum(bool(f) << (7 - k) for k, f in enumerate(padded[i : i + 8])) for i in range(0, len(padded), 8))
    return base64.b64encode(packed).decode("ascii")


def unpack_flags(text: str, n: int) -> list[bool]:
    """Return the first `n` flags of what `pack_flags` wrote.

    Raises:
        RecordError: No such text, or of another number of flags.
    """
    try:
        packed = base64.b64decode(text, validate=True)
    except ValueError as error:
        raise RecordError(f"flags {text[:20]!r} are not base64; restore the log from a copy") from error
    if len(packed) != -(-n // 8):
        raise RecordError(f"flags of {8 * len(packed)} bits do not belong to {n} images; restore the log from a copy")
    return [bool(packed[i // 8] >> (7 - i % 8) & 1) for i in range(n)]
