"""Prediction on one thread: our compiled network against stock Keras, for batches of 1 to 128, in one run.

Every network and way runs in a process of its own, two rounds in turn, and reports seconds of CPU time of a batch; the
best of each round counts, because what else runs on the machine only ever slows down. Latency is wall time.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

BATCHES = (1, 2, 4, 8, 16, 32, 64, 128)
ROUNDS = 2
SECONDS = 0.7  # of measuring for each batch size, and at least three batches
NEAR_BEST = 0.95
NETWORKS: Mapping[str, Mapping[str, Any]] = {
    "course network": {},
    "four blocks 16-32-32-32, Dense 128, standardised": {
        "network.blocks": 4,
        "network.filters_1": 16,
        "network.filters_2": 32,
        "network.filters_3": 32,
        "network.filters_4": 32,
        "network.dense_units": 128,
        "network.standardise": True,
    },
    "drift, preparation included": {"network.family": "drift"},
}
WAYS = {"ours": "ExportedModel.predict", "call": "stock Keras model(x)", "predict": "stock Keras model.predict"}


def main() -> None:
    """Print a table for each network: images per second of CPU time, latency, ratios to stock Keras."""
    start = time.perf_counter()
    for network in NETWORKS:
        rounds = {way: [_in_a_process(network, way) for _ in range(ROUNDS)] for way in WAYS}
        _print_table(network, rounds)
    print(f"{time.perf_counter() - start:.0f} s")


def measure(network: str, way: str) -> dict[str, list[float]]:
    """Return for each batch size the least CPU time, and the median and 95th percentile of the wall time, in s."""
    run = _prepared(network, way)
    found: dict[str, list[float]] = {}
    for size in BATCHES:
        images = np.random.default_rng(size).integers(0, 256, (size, 64, 128, 1), dtype=np.uint8)
        for _ in range(2):  # traced and cached by then
            run(images)
        cpu, wall = [], []
        end = time.perf_counter() + SECONDS
        while len(wall) < 3 or time.perf_counter() < end:
            before = time.perf_counter(), time.process_time()
            run(images)
            wall.append(time.perf_counter() - before[0])
            cpu.append(time.process_time() - before[1])
        found[str(size)] = [min(cpu), *np.quantile(wall, (0.5, 0.95)).tolist()]
    return found


def _in_a_process(network: str, way: str) -> dict[str, list[float]]:
    command = [sys.executable, "-m", "benchmarks.prediction", network, way]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found


def _print_table(network: str, rounds: Mapping[str, list[dict[str, list[float]]]]) -> None:
    def least(way: str, size: int, column: int) -> float:
        return min(found[str(size)][column] for found in rounds[way])

    rates = {way: {size: size / least(way, size, 0) for size in BATCHES} for way in WAYS}
    print(f"{network}, 64x128, one thread; images per second of CPU time, wall time of a batch in ms (ours)")
    print(f"{'batch':>6}{'ours':>9}{'call':>9}{'predict':>9}{'to call':>9}{'to predict':>11}{'median':>9}{'95 %':>8}")
    for size in BATCHES:
        ours, call, predict = (rates[way][size] for way in WAYS)
        print(
            f"{size:>6}{ours:>9.1f}{call:>9.1f}{predict:>9.1f}{ours / call:>8.2f}x{ours / predict:>10.2f}x"
            f"{1000 * least('ours', size, 1):>9.1f}{1000 * least('ours', size, 2):>8.1f}"
        )
    best = max(rates["ours"].values())
    near = next(size for size in BATCHES if rates["ours"][size] >= NEAR_BEST * best)
    print(f"a batch of {near} reaches {NEAR_BEST:.0%} of the best rate, {best:.1f} images/s")
    print("ours: ExportedModel.predict; call: stock model(x); predict: stock model.predict\n")


def _prepared(network: str, way: str) -> Callable[[Any], Any]:
    from seti_model.runtime import prepare_process

    if way == "ours":
        prepare_process(1)
    else:
        from seti_model.runtime import settle_allocator

        settle_allocator()
        import tensorflow as tf

        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    from seti_model.config import Configuration
    from seti_model.data.prepare import prepare, prepared_form
    from seti_model.exported import ExportedModel
    from seti_model.network import PixelScale, build_network

    configuration = Configuration.from_mapping(NETWORKS[network])
    shape, _ = prepared_form((64, 128, 1), configuration.preparation)
    stock = build_network(configuration, shape, 4, seed=1, pixels=PixelScale(0.5, 0.2))
    if way == "ours":
        names = ("a", "b", "c", "d")
        model = ExportedModel(configuration, (64, 128, 1), names, "", "", None, None, network=stock)
        return lambda images: model.predict(images, batch=len(images))
    if way == "call":
        return lambda images: np.asarray(stock(prepare(images, configuration.preparation), training=False))
    return lambda images: stock.predict(prepare(images, configuration.preparation), batch_size=len(images), verbose=0)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
    else:
        main()
