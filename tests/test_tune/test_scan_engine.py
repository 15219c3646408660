"""The engine of a scan alone: order, bounds, who waits for whom, and what is dropped."""

import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from tune.scan.engine import Block, Engine, Rates, Reading

PER_BLOCK = 4


def block(n: int) -> Block:
    images = np.full((PER_BLOCK, 2, 2, 1), n % 256, np.uint8)
    return Block("file", n * PER_BLOCK, PER_BLOCK, images, (None,) * PER_BLOCK, time.monotonic())


def run(n: int, *, read_s: float = 0.0, predict_s: float = 0.0, **options: Any) -> tuple[list[int], Rates, int]:
    """Return the first tiles of what was recorded, the rates, and how far the reader ever was ahead."""
    recorded: list[int] = []
    ahead = 0

    def blocks() -> Iterator[Block]:
        nonlocal ahead
        for number in range(n):
            time.sleep(read_s)
            reading.add(disk_s=read_s)
            ahead = max(ahead, number + 1 - len(recorded))
            yield block(number)

    def predict(images: Any) -> Any:
        time.sleep(predict_s)
        return np.tile(np.float32([1, 0]), (len(images), 1))

    reading = Reading()
    engine = Engine(predict=predict, record=lambda one, _: recorded.append(one.first), reading=reading, **options)
    return recorded, engine.run(blocks()), ahead


def test_blocks_come_out_in_order_and_the_reader_is_never_far_ahead() -> None:
    recorded, rates, ahead = run(40, predict_s=0.002, queued=3)
    assert recorded == [*range(0, 160, PER_BLOCK)]
    assert rates.tiles == 160
    assert ahead <= 3 + 2, "three in the queue, one with the network, one in the reader's hands"


def test_blocks_side_by_side_come_out_in_order_and_sooner() -> None:
    recorded, rates, ahead = run(40, predict_s=0.02, side_by_side=4, queued=3)
    assert recorded == [*range(0, 160, PER_BLOCK)]
    assert ahead <= 3 + 4 + 1, "three in the queue, four with the network, one in the reader's hands"
    assert rates.network_s >= 40 * 0.02
    assert rates.seconds < 0.7 * rates.network_s
    assert rates.limit == "network"
    _, half, _ = run(20, read_s=0.02, predict_s=0.01, side_by_side=2)
    assert half.limit == "disk"
    assert half.latency_p99_s < 0.1, "none waits for the next one to be read"


def test_who_waits_for_whom_is_named() -> None:
    _, slow_network, _ = run(20, predict_s=0.01, queued=2)
    assert slow_network.limit == "network"
    assert slow_network.reader_waited_s > 0.1
    assert slow_network.network_s >= 0.2
    _, slow_disk, _ = run(20, read_s=0.01)
    assert slow_disk.limit == "disk"
    assert slow_disk.network_waited_s > 0.15
    assert slow_disk.reader_waited_s < 0.05


def test_latency_is_from_reading_to_the_record_and_grows_where_blocks_wait() -> None:
    _, alone, _ = run(20, read_s=0.02, predict_s=0.005)
    assert 0.005 <= alone.latency_p50_s <= alone.latency_p99_s
    _, queued, _ = run(20, predict_s=0.01, queued=8)
    assert queued.latency_p50_s > 0.05, "eight blocks of 10 ms are before it"


def test_a_late_block_is_dropped_and_counted_where_the_sender_may_not_wait() -> None:
    recorded, rates, _ = run(50, predict_s=0.01, read_s=0.001, queued=2, drops=True)
    assert rates.dropped_tiles > 0
    assert len(recorded) * PER_BLOCK + rates.dropped_tiles == 200
    assert recorded == sorted(recorded)
    assert rates.reader_waited_s < 0.05
    assert rates.limit == "network"


def test_it_shows_how_it_stands_while_nothing_arrives() -> None:
    shown: list[Rates] = []
    run(3, read_s=0.3, every_s=0.1, show=shown.append)
    assert len(shown) >= 2
    assert shown[0].tiles < 12


@pytest.mark.parametrize("where", ["reader", "network", "record"])
def test_what_is_raised_anywhere_ends_it_and_the_reader_with_it(where: str) -> None:
    def fail() -> None:
        raise RuntimeError(f"the {where} fails")

    def blocks() -> Iterator[Block]:
        for number in range(10_000):
            if where == "reader" and number == 5:
                fail()
            yield block(number)

    engine = Engine(
        predict=lambda images: fail() if where == "network" else np.zeros((len(images), 2), np.float32),  # type: ignore[arg-type,return-value]
        record=lambda one, _: fail() if where == "record" else None,
    )
    with pytest.raises(RuntimeError, match=f"the {where} fails"):
        engine.run(blocks())
    end = time.monotonic() + 10
    while any(thread.name == "scan-reader" for thread in threading.enumerate()):
        assert time.monotonic() < end, "the reader goes on"
        time.sleep(0.01)
