"""Training throughput of all cores: many workers of one thread against fewer workers of more, in one run.

Each way of dividing the cores runs as the processes that a search would have, which begin together once all are warm.
Wall time counts, so nothing else may run.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.training_throughput import BATCH
from tune.cores import cores

SECONDS = 4.0  # of measuring; afterwards each worker goes on until all have been measured
ROUNDS = 2  # in turn; the better one counts
ALIGNED = {"prepare.steps": "align"}
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "course network, Dense 1024": {},
    "course network, Dense 128": {"network.dense_units": 128},
    "small": {"network.family": "small"} | ALIGNED,
    "drift": {"network.family": "drift"} | ALIGNED,
}


def main() -> None:
    """Print for each network and way the images per second of all workers together, and the ratio to one thread."""
    here = cores()
    ways = [(1, 1), *ways_of(here)]
    for network in NETWORKS:
        rates = {way: max(measure(network, *way) for _ in range(ROUNDS)) for way in ways}
        usual = rates[here, 1]
        words = (f"{n} x {threads}: {rate:.1f} ({rate / usual:.2f})" for (n, threads), rate in rates.items())
        print(f"{network}, images/s of workers x threads: {', '.join(words)}", flush=True)


def ways_of(number: int) -> Iterator[tuple[int, int]]:
    """Yield workers and threads that take all cores, one thread each first."""
    threads = 1
    while threads <= number:
        yield number // threads, threads
        threads *= 2


def measure(network: str, workers: int, threads: int) -> float:
    """Return images per second of so many workers together."""
    command = [sys.executable, "-m", "benchmarks.concurrency", network, str(threads)]
    kinds: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    processes = [subprocess.Popen(command, text=True, **kinds) for _ in range(workers)]
    try:
        for process in processes:
            _line(process)
        for process in processes:
            process.stdin.write("go\n")  # type: ignore[union-attr]
            process.stdin.flush()  # type: ignore[union-attr]
        return sum(float(_line(process)) for process in processes)
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"{process.args!r} ended with {process.wait()}")
    return line


def work(values: Mapping[str, Any], threads: int) -> None:
    """Train one network: say when it is warm, wait for a line, say how many images a second it was given, go on."""
    from seti_model.runtime import prepare_process

    prepare_process(threads)
    run_batch = _step(values)
    for _ in range(3):
        run_batch()
    print("warm", flush=True)
    sys.stdin.readline()
    start, images = time.perf_counter(), 0
    while time.perf_counter() < start + SECONDS:
        run_batch()
        images += BATCH
    print(images / (time.perf_counter() - start), flush=True)
    while True:
        run_batch()


def _step(values: Mapping[str, Any]) -> Any:
    from benchmarks.training_throughput import _custom
    from seti_model.config import Configuration
    from seti_model.data.prepare import prepare

    configuration = Configuration.from_mapping(values)
    rng = np.random.default_rng(0)
    raw = rng.integers(0, 256, (BATCH, 64, 128, 1), dtype=np.uint8)
    images = prepare(raw, configuration.preparation)
    return _custom("ours", configuration, images, rng.integers(0, 4, BATCH).astype(np.int32))


def _run(arguments: Sequence[str]) -> None:
    work(NETWORKS[arguments[0]], int(arguments[1]))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        _run(sys.argv[1:])
    else:
        main()
