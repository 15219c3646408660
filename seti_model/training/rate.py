"""How fast a configuration trains with the threads of this process: a second or two on images of noise."""

from __future__ import annotations

import time

import numpy as np

from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.data.prepare import prepare
from seti_model.training.outcome import Diverged
from seti_model.training.trainer import Session

BATCHES = 4  # that are trained again and again
SECONDS = 1.5


def training_rate(configuration: Configuration, shape: tuple[int, int, int], class_names: tuple[str, ...]) -> float:
    """Return images per second while training, once it is built and warm.

    Args:
        configuration: What to train.
        shape: Of an image as it comes: n_time, n_freq, channels.
        class_names: Of the data set.

    Raises:
        ConfigError: Images of this shape cannot be trained so.
    """
    rng = np.random.default_rng(0)
    n = BATCHES * configuration.training.batch_size
    images = prepare(rng.integers(0, 256, (n, *shape), dtype=np.uint8), configuration.preparation)
    split = Split(images, (np.arange(n) % len(class_names)).astype(np.int8))
    session = Session(configuration, TrainingData(split, split, class_names, ""), seed=0)
    epochs, start = 0, 0.0
    try:
        session.run_epoch(1, split)
        start = time.perf_counter()
        while not epochs or time.perf_counter() < start + SECONDS:
            session.run_epoch(1, split)
            epochs += 1
    except Diverged:  # on noise, which says nothing; what was trained before counts
        pass
    return epochs * n / (time.perf_counter() - start)
