"""The engine of a scan: blocks of images come in, probabilities go out. It knows neither files nor networks.

A thread reads ahead into a queue that holds a few blocks. Who waits for whom is measured, so that a scan can say what
limits it.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

QUEUED = 8  # blocks between reader and network
_KEPT = 65_536  # blocks whose latency is kept
_TICK_S = 0.2
_SOON_S = 0.005  # a block may be classified any moment
_NEITHER = 0.1  # of the time, that one side must have waited for the other to be named
Images = npt.NDArray[np.uint8]
Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class Block:
    """Some tiles in a row of one file, those without an image left out of `images` and `places`."""

    file: str
    first: int
    tiles: int  # all that it stands for
    images: Images  # (n, n_time, n_freq, channels)
    places: tuple[Any, ...]  # of each image
    begun: float  # time.monotonic() when its power began to be read, or its last sample had arrived
    skipped: tuple[tuple[int, str], ...] = ()  # tiles without an image, and why


@dataclass
class Reading:
    """What a source adds up while it reads: seconds for the disk, for making pixels, and until something arrived."""

    disk_s: float = 0.0
    pixels_s: float = 0.0
    arrival_s: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def add(self, *, disk_s: float = 0.0, pixels_s: float = 0.0, arrival_s: float = 0.0) -> None:
        """Add seconds of one thread."""
        with self._lock:
            self.disk_s, self.pixels_s = self.disk_s + disk_s, self.pixels_s + pixels_s
            self.arrival_s += arrival_s


@dataclass(frozen=True)
class Rates:
    """How fast it went, and who waited for whom. Seconds of one thread each; latency of the last 65 536 blocks.

    A network with two blocks side by side of which it has one waits half of that time.
    """

    tiles: int
    seconds: float
    disk_s: float
    pixels_s: float
    arrival_s: float
    reader_waited_s: float
    network_s: float
    network_waited_s: float
    record_s: float
    latency_p50_s: float
    latency_p99_s: float
    dropped_tiles: int = 0

    @property
    def tiles_per_s(self) -> float:
        """Tiles a second, all of it together."""
        return self.tiles / max(self.seconds, 1e-9)

    @property
    def limit(self) -> str:
        """What limits the scan: the network, the disk, the making of pixels, that nothing more arrives, or neither."""
        if self.dropped_tiles:  # a reader that drops does not wait
            return "network"
        if max(self.reader_waited_s, self.network_waited_s) < _NEITHER * self.seconds:
            return "neither"
        if self.reader_waited_s > self.network_waited_s:
            return "network"
        seconds = {"disk": self.disk_s, "pixels": self.pixels_s, "arrival": self.arrival_s}
        return max(seconds, key=seconds.__getitem__)


_Running = tuple[Block, Future[tuple[Probabilities, float]]]  # with the seconds that it took


@dataclass
class Engine:
    """Moves blocks from a source to a network and on to whoever records them, in order.

    Attributes:
        predict: Images (n, ...) -> probabilities (n, n_classes).
        side_by_side: So many blocks are predicted at the same time.
        record: Is given each block with its probabilities; once it returns, the block is done.
        every_s: `show` is called about so often, and at every turn where nothing arrives.
        drops: Whether a block is dropped that finds the queue full, so that the reader never waits.
    """

    predict: Callable[[Images], Probabilities]
    record: Callable[[Block, Probabilities], None]
    show: Callable[[Rates], None] = lambda _: None
    check: Callable[[], None] = lambda: None  # raises to end in order
    every_s: float = 2.0
    drops: bool = False
    side_by_side: int = 1
    queued: int = QUEUED
    reading: Reading = field(default_factory=Reading)

    def __post_init__(self) -> None:
        self._queue: queue.Queue[Block | BaseException | None] = queue.Queue(self.queued)
        self._stop = threading.Event()
        self._tiles = self._dropped = 0
        self._reader_waited = self._network = self._network_waited = self._record = 0.0
        self._latencies: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        self._begun = self._shown = time.monotonic()

    def run(self, blocks: Iterator[Block]) -> Rates:
        """Classify all blocks; what reading, predicting or recording raises ends it.

        The thread that reads is not waited for when it ends so: it may hang in a pipe.
        """
        self._begun = self._shown = time.monotonic()
        threading.Thread(target=self._read, args=(blocks,), daemon=True, name="scan-reader").start()
        pool = ThreadPoolExecutor(self.side_by_side, thread_name_prefix="scan-network")
        try:
            self._classify_all(pool)
        finally:
            self._stop.set()
            pool.shutdown(cancel_futures=True)
        return self.rates()

    def rates(self) -> Rates:
        """Return how it stands."""
        p50, p99 = self._quantiles()
        return Rates(
            tiles=self._tiles,
            seconds=time.monotonic() - self._begun,
            disk_s=self.reading.disk_s,
            pixels_s=self.reading.pixels_s,
            arrival_s=self.reading.arrival_s,
            reader_waited_s=self._reader_waited,
            network_s=self._network,
            network_waited_s=self._network_waited,
            record_s=self._record,
            latency_p50_s=p50,
            latency_p99_s=p99,
            dropped_tiles=self._dropped,
        )

    @property
    def is_stopped(self) -> bool:
        """Whether nothing more is wanted; a source that waits for files asks."""
        return self._stop.is_set()

    def _read(self, blocks: Iterator[Block]) -> None:
        try:
            for block in blocks:
                self._put(block, may_drop=self.drops)
                if self._stop.is_set():
                    return
        except BaseException as error:  # is raised where the scan is waited for
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: Block | BaseException | None, *, may_drop: bool = False) -> None:
        before = time.monotonic()
        while not self._stop.is_set():
            try:
                self._queue.put(item, timeout=0 if may_drop else _TICK_S)
                break
            except queue.Full:
                if may_drop and isinstance(item, Block):
                    self._dropped += item.tiles
                    break
        self._reader_waited += time.monotonic() - before

    def _classify_all(self, pool: ThreadPoolExecutor) -> None:
        """Have blocks predicted side by side, and take them in their order."""
        running: deque[_Running] = deque()
        block: Block | BaseException | None = None
        is_reading = True
        while is_reading or running:
            if is_reading and len(running) < self.side_by_side:
                with contextlib.suppress(queue.Empty):
                    block = self._next(running)
                    if is_reading := isinstance(block, Block):
                        running.append((block, pool.submit(self._predicted, block)))
                    continue
            self._take(*running.popleft())
            self._tell()
        if isinstance(block, BaseException):
            raise block

    def _next(self, running: Sequence[_Running]) -> Block | BaseException | None:
        """Return what the reader has next; raise `queue.Empty` where that is waited for and a block is classified."""
        before = time.monotonic()
        try:
            while True:
                self.check()
                try:
                    return self._queue.get(timeout=_SOON_S if running else _TICK_S)
                except queue.Empty:
                    if running and running[0][1].done():
                        raise
                    self._tell()
        finally:
            self._network_waited += (time.monotonic() - before) * (1 - len(running) / self.side_by_side)

    def _predicted(self, block: Block) -> tuple[Probabilities, float]:
        before = time.monotonic()
        return self.predict(block.images), time.monotonic() - before

    def _take(self, block: Block, predicted: Future[tuple[Probabilities, float]]) -> None:
        """Wait for a block's probabilities and have them recorded."""
        y_prob, seconds = predicted.result()
        before = time.monotonic()
        self.record(block, y_prob)
        done = time.monotonic()
        self._network += seconds
        self._record += done - before
        self._latencies.append((done - block.begun, block.tiles))
        self._tiles += block.tiles

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._shown >= self.every_s:
            self._shown = now
            self.show(self.rates())

    def _quantiles(self) -> tuple[float, float]:
        """Return the latency that half of the tiles, and 99 % of them, do not exceed; nothing classified: 0."""
        if not self._latencies:
            return 0.0, 0.0
        seconds, tiles = (np.array(column) for column in zip(*self._latencies, strict=True))
        order = np.argsort(seconds)
        share = np.cumsum(tiles[order]) / tiles.sum()
        p50, p99 = (float(seconds[order][np.searchsorted(share, at)]) for at in (0.5, 0.99))
        return p50, p99
