"""Training throughput of the shipped networks on one thread: our step against stock Keras, in one run.

The course network is taken apart, to show where the time goes; of the others what `train` runs stands beside stock
Keras on the same graph and the same prepared images.

Every variant runs in a process of its own, two rounds in turn, and reports images per second of CPU time; the best
batch of each round counts, because what else runs on the machine only ever slows down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

BATCH = 32
ROUNDS = 2
# name: (what it is, batches measured)
VARIANTS = {
    # Keras 3.15 chooses "auto" = False on machines without a GPU and True on those with one, even if it is hidden.
    "keras_xla": ("stock Keras (train_on_batch), jit_compile=True", 2),
    "keras": ("stock Keras (train_on_batch), jit_compile=False", 6),
    "our_adam": ("Keras layers, our Adam", 6),
    "our_layers": ("our batch norm and dropout, Keras Adam", 6),
    "undeterministic": ("both, without op determinism", 8),
    "ours": ("both: what `train` runs", 8),
    "bfloat16": ("the same, mixed_bfloat16", 8),
}


NETWORKS = {
    "course": ("course network, 64x128", {}, tuple(VARIANTS)),
    "drift": ("drift, aligned images", {"network.family": "drift"}, ("keras", "ours")),
    "small": ("small CNN, aligned images", {"network.family": "small"}, ("keras", "ours")),
    "dense": (
        "two dense layers, aligned images",
        {"network.family": "small", "small.convolutions": 0},
        ("keras", "ours"),
    ),
}


def main() -> None:
    """Print a table for each network: images per second of CPU time and ratios to stock Keras without XLA."""
    start = time.perf_counter()
    for network, (title, _, variants) in NETWORKS.items():
        rounds: dict[str, list[float]] = {name: [] for name in variants}
        for _ in range(ROUNDS):
            for name in variants:
                command = [sys.executable, "-m", "benchmarks.training_throughput", network, name]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
                rounds[name].append(json.loads(done.stdout.splitlines()[-1]))
        best = {name: max(speeds) for name, speeds in rounds.items()}
        print(f"{title}, batch {BATCH}, one thread; images per second of CPU time")
        print(f"{'':<40}{'images/s':>9}{'to stock':>13}   rounds")
        for name in variants:
            each = ", ".join(f"{speed:.1f}" for speed in rounds[name])
            print(f"{VARIANTS[name][0]:<40}{best[name]:>9.1f}{best[name] / best['keras']:>12.2f}x   {each}")
    print(f"{time.perf_counter() - start:.0f} s")


def measure(network: str, name: str) -> float:
    """Return images per second of CPU time of the fastest batch of one variant, run in this process."""
    _set_up(name)
    from seti_model.config import Configuration
    from seti_model.data.prepare import prepare

    precision = "mixed_bfloat16" if name == "bfloat16" else "float32"
    configuration = Configuration.from_mapping({**NETWORKS[network][1], "training.precision": precision})
    rng = np.random.default_rng(0)
    images = prepare(rng.integers(0, 256, (BATCH, 64, 128, 1), dtype=np.uint8), configuration.preparation)
    labels = rng.integers(0, 4, BATCH).astype(np.int32)
    make = _fit if name.startswith("keras") else _custom
    run_batch = make(name, configuration, images, labels)
    for _ in range(2):  # compiled and cached by then
        run_batch()
    seconds = []
    for _ in range(VARIANTS[name][1] * (1 if network == "course" else 10)):
        before = time.process_time()
        run_batch()
        seconds.append(time.process_time() - before)
    return BATCH / min(seconds)


def _set_up(name: str) -> None:
    if name in ("ours", "bfloat16"):
        from seti_model.runtime import prepare_process

        prepare_process(1)
        return
    if name == "undeterministic":
        from seti_model.runtime import settle_allocator

        settle_allocator()
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)


def _network(configuration: Any, images: Any) -> Any:
    from seti_model.network import PixelScale, build_network

    return build_network(configuration, images.shape[1:], 4, seed=1, pixels=PixelScale())


def _fit(name: str, configuration: Any, images: Any, labels: Any) -> Callable[[], object]:
    import keras

    # As in the course, scaled beforehand.
    network = keras.Sequential([keras.Input(images.shape[1:]), *_network(configuration, images).layers[1:]])
    images = images.astype(np.float32) / 255
    network.compile(
        keras.optimizers.Adam(1e-3),
        "sparse_categorical_crossentropy",
        metrics=["accuracy"],
        jit_compile=name == "keras_xla",
    )
    return lambda: network.train_on_batch(images, labels)


def _custom(name: str, configuration: Any, images: Any, labels: Any) -> Callable[[], object]:
    import keras
    import tensorflow as tf

    from seti_model.training.kernels import Graph
    from seti_model.training.optimizers import FusedAdam
    from seti_model.training.steps import TrainingSteps

    network = _network(configuration, images)
    graph = Graph(network)
    trained = {variable.path: variable.value for variable in network.trainable_variables}
    fused = FusedAdam(configuration.training, trained, batches=1000)
    step = np.int64(0)
    if name in ("ours", "undeterministic", "bfloat16"):
        compiled = TrainingSteps(graph, fused, seed=1, pixels=tf.as_dtype(images.dtype)).train_batch
        return lambda: compiled(images, labels, step).numpy()
    keras_adam = keras.optimizers.Adam(1e-3)
    keras_adam.build(network.trainable_variables)

    @tf.function(jit_compile=False)
    def batch() -> Any:
        with tf.GradientTape() as tape:
            if name == "our_adam":
                probabilities = network(tf.cast(images, tf.float32), training=True)
                loss = tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(labels, probabilities))
            else:
                logits, _, _ = graph.training_logits(images, seed=1, step=step)
                loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
        variables = network.trainable_variables
        gradients = tape.gradient(loss, [variable.value for variable in variables])
        if name == "our_adam":
            fused.apply(gradients, tf.constant(step))
        else:
            keras_adam.apply(gradients, variables)
        return loss

    return lambda: batch().numpy()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(measure(sys.argv[1], sys.argv[2])))
    else:
        main()
