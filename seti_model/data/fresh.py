"""Training images without end: those of each epoch are simulated beside the training of the one before."""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor

import msgspec
import numpy as np

from seti_model.config import Preparation
from seti_model.data.dataset import DATASET_FILE, Fresh, Images, Split, TrainingData
from seti_model.data.prepare import Prepared, prepare
from seti_model.data.shared import shared_rows
from seti_model.data.simulator import Physics, Series
from seti_model.errors import DatasetError

PART = 32  # images simulated at a time, half a second: so long a training may take to leave
_LOWEST_PRIORITY = 19


class TrainingImages:
    """The training split of each epoch, prepared: always the same one, or a new one where `data.fresh` says so.

    The images of epoch e are those from (e - 1) n to e n - 1 of a series that continues the training split of n images.
    Trainings that share `data.prepared_in` simulate each of them once.
    """

    def __init__(self, data: TrainingData, prepared: Split, preparation: Preparation, *, epochs: int) -> None:
        """Begin with nothing.

        Args:
            data: As it is stored.
            prepared: Its training split, prepared: the first epoch's.
            preparation: What is done to further images.
            epochs: No images are made for later ones.

        Raises:
            DatasetError: What the images are simulated from cannot be read.
        """
        self._first, self._preparation, self._epochs = prepared, preparation, epochs
        self._series = None if data.fresh is None else _series(data.fresh)
        self._folder = None if data.prepared_in is None else data.prepared_in / f"simulated-{data.digest[:32]}"
        self._is_closed = threading.Event()
        self._next: tuple[int, Future[Split]] | None = None
        self._pool = None if self._series is None else ThreadPoolExecutor(1, initializer=_step_back)

    def epoch(self, number: int) -> Split:
        """Return the images of an epoch, from 1, and begin with those of the next.

        Raises:
            DatasetError: They cannot be kept.
        """
        if self._series is None or self._pool is None:
            return self._first
        if number == 1:
            split = self._first
        elif self._next is not None and self._next[0] == number:
            split = self._next[1].result()
        else:  # the first after a checkpoint
            split = self._made(self._series, number)
        if number < self._epochs:
            self._next = number + 1, self._pool.submit(self._made, self._series, number + 1)
        return split

    def close(self) -> None:
        """Make no more; what is in hand is left to end by itself."""
        self._is_closed.set()
        if self._pool is not None:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _made(self, series: Series, epoch: int) -> Split:
        n = len(self._first.labels)
        start = (epoch - 1) * n

        def simulated(first: int, last: int) -> Images:
            self._check()
            return series.images(start + first, start + last)

        def prepared(images: Images) -> Prepared:
            self._check()
            return prepare(images, self._preparation)

        if self._folder is None:
            parts = [simulated(first, min(first + PART, n)) for first in range(0, n, PART)]
        else:
            images = shared_rows(self._folder / f"{epoch:06d}.npy", n, simulated, part=PART)
            parts = [images[first : first + PART] for first in range(0, n, PART)]
        return Split(np.concatenate(list(map(prepared, parts))), series.labels(start, start + n))

    def _check(self) -> None:
        if self._is_closed.is_set():
            raise CancelledError


def _series(fresh: Fresh) -> Series:
    try:
        return Series(msgspec.convert(fresh.physics, Physics), fresh.seed)
    except msgspec.ValidationError as error:
        raise DatasetError(f"{DATASET_FILE}: fresh.physics: {error}; make the data set again") from error


def _step_back() -> None:
    """Leave the processors to the trainings, where one thread can have a priority of its own."""
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST_PRIORITY)
