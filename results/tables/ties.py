"""How sure a trial's objective is: its interval, and whether the images that were right tell it from the best."""

from __future__ import annotations

import base64
from collections.abc import Sequence

from results.errors import RecordError
from results.log.state import RunState, TrialState
from results.stats.intervals import LEVEL_P, PairedDifference, paired_difference_interval, wilson_interval


def objective(trial: TrialState) -> float:
    """Return the validation accuracy at the epoch whose weights are kept; -inf, below all others, without one."""
    return trial.best.validation_accuracy if trial.best else float("-inf")


def validation_images(state: RunState) -> int | None:
    """Return on how many images every objective of a run is measured; None where the log does not say."""
    return state.started.validation_images if state.started else None


def objective_interval(trial: TrialState, n: int | None) -> tuple[float, float] | None:
    """Return the 95 % interval of a trial's objective from `n` validation images.

    It is that of one training on these images: neither the spread over seeds nor the choice of the best of many is
    in it. None where there is no objective, `n` is not known, or the objective is no share of images.
    """
    if trial.best is None or not n or not 0 <= trial.best.validation_accuracy <= 1:
        return None
    return wilson_interval(round(trial.best.validation_accuracy * n), n)


def paired_difference(a: TrialState, b: TrialState, n: int | None) -> PairedDifference | None:
    """Compare the kept weights of two trials on the same validation images; None where the flags are not stored.

    Raises:
        RecordError: Flags that do not belong to `n` images.
    """
    return _difference(_flags(a, n), _flags(b, n))


def ties(ranked: Sequence[TrialState], n: int | None) -> list[bool | None]:
    """Return, trial by trial, whether it is not told apart from the first; None where the log cannot say.

    Raises:
        RecordError: Flags that do not belong to `n` images.
    """
    flags = [_flags(trial, n) for trial in ranked]
    differences = [_difference(flags[0], mine) for mine in flags]
    return [None if difference is None else difference.p_value >= LEVEL_P for difference in differences]


def _difference(a: list[bool] | None, b: list[bool] | None) -> PairedDifference | None:
    return None if a is None or b is None else paired_difference_interval(a, b)


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
