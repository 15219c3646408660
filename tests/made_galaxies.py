"""Radio galaxies that tests make: two lobes at any angle, brightest near the core (FRI) or at their ends (FRII)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

SIZE = 67  # pixels, the smallest images that the network of Aniyan & Thorat takes
CLASSES = ("FRI", "FRII")


def galaxies(n: int, seed: int) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int8]]:
    """Return images (n, 67, 67) on a noisy sky, and labels in turn."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 2).astype(np.int8)
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE // 2
    images = np.empty((n, SIZE, SIZE), np.uint8)
    for image, label in zip(images, labels, strict=True):
        turn, away = rng.uniform(0, np.pi), (8, 22)[label]
        y, x = away * np.sin(turn), away * np.cos(turn)
        lobes = sum(np.exp(-((rows - s * y) ** 2 + (columns - s * x) ** 2) / 20) for s in (-1, 1))
        image[:] = np.clip(200 * lobes + rng.normal(20, 5, lobes.shape), 0, 255)
    return images, labels
