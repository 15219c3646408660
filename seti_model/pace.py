"""How fast a model predicts: images at a time, batches side by side, and the measurement that chooses both."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seti_model.runtime import MOST_SIDE_BY_SIDE
from seti_model.training.steps import INFERENCE_BATCH

if TYPE_CHECKING:
    from seti_model.exported import ExportedModel

OTHERS = (32, 128)  # images at a time, beside those of validation
LONGEST_S = 3.0  # no further way is tried after it
GO_S, LONGEST_GO_S = 0.1, 1.0  # about so long is a go; the first one of a slow network is the last
QUIET = 0.9  # of a core, that one thread must have had for a measurement to mean anything
GOES = 3  # of each way; the best one counts, because what else runs here only slows down
FASTER = 1.05  # than the usual way, for another one to be chosen


@dataclass(frozen=True)
class Pace:
    """So many images at a time, and so many batches side by side on a thread each; the rate where it was measured."""

    batch: int
    side_by_side: int
    images_per_s: float | None = None

    @classmethod
    def usual(cls, cores: int) -> Pace:
        """Return that of a model of which nothing is known."""
        return cls(INFERENCE_BATCH, min(cores, MOST_SIDE_BY_SIDE))


def measure_pace(model: ExportedModel, cores: int) -> Pace | None:
    """Try some ways for a second or two; return the usual one, or one that is clearly faster and changes no number.

    Args:
        model: Its process is set up for `cores` batches side by side.
        cores: Of this process.

    Returns:
        None where other work keeps the machine busy: how fast it is cannot be seen then.
    """
    images = np.random.default_rng(0).integers(0, 256, (max(OTHERS), *model.shape), dtype=np.uint8)
    end = time.monotonic() + LONGEST_S
    alone, share = _measured(model, images, Pace(INFERENCE_BATCH, 1))
    if share < QUIET:
        return None
    usual = Pace.usual(cores)
    best = alone if usual.side_by_side == 1 else _measured(model, images, usual)[0]
    tried = [Pace(INFERENCE_BATCH, number) for number in _between(best.side_by_side)]
    for other in [*tried, *(Pace(batch, best.side_by_side) for batch in OTHERS)]:
        if time.monotonic() > end:
            break
        found, _ = _measured(model, images, other)
        if _rate(found) > FASTER * _rate(best) and _is_same(model, images, found.batch):
            best = found
    return alone if _rate(alone) > FASTER * _rate(best) else best


def in_parallel(work: Callable[[int], object], starts: Sequence[int], threads: int) -> None:
    """Call `work` with each start, on so many threads; what one raises ends it, once those in progress are done."""
    if threads == 1 or len(starts) < 2:
        for start in starts:
            work(start)
        return
    pool = ThreadPoolExecutor(min(threads, len(starts)), thread_name_prefix="batch")
    try:
        for _ in pool.map(work, starts):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _between(number: int) -> list[int]:
    """Return the halves of a number, without 1."""
    return [number >> shift for shift in range(1, number.bit_length() - 1)]


def _rate(pace: Pace) -> float:
    return pace.images_per_s or 0.0


def _measured(model: ExportedModel, images: npt.NDArray[np.uint8], pace: Pace) -> tuple[Pace, float]:
    """Let each thread predict some batches; return how fast it went, and the cores that it had meanwhile."""
    some, each, best, cores = images[: pace.batch], 1, 0.0, 0.0
    for go in range(1 + GOES):
        before, spent = time.perf_counter(), time.process_time()
        batches = range(each * pace.side_by_side)
        in_parallel(lambda _: model.predict(some, batch=pace.batch), batches, pace.side_by_side)
        seconds = time.perf_counter() - before
        rate = pace.batch * len(batches) / seconds
        if rate > best and (go or seconds > LONGEST_GO_S):  # the first one warms up
            best, cores = rate, (time.process_time() - spent) / seconds
        if seconds > LONGEST_GO_S:
            break
        each = each if go else math.ceil(GO_S / seconds)
    return Pace(pace.batch, pace.side_by_side, best), cores


def _is_same(model: ExportedModel, images: npt.NDArray[np.uint8], batch: int) -> bool:
    return batch == INFERENCE_BATCH or np.array_equal(model.predict(images, batch=batch), model.predict(images))
