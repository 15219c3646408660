"""An AlexNet with batch normalisation: five convolutions, two wide dense layers with dropout, and the classes.

A. K. Aniyan and K. Thorat 2017, doi:10.3847/1538-4365/aa7333, arXiv:1705.03413: 96 filters of 11x11 in steps of 4,
pooling over 3 in steps of 2, 256 of 5x5, pooling, 384 of 3x3 twice, 256 of 3x3, pooling, 4096 units twice with half
of them dropped, batch normalisation after each convolution. Sizes, order and padding were compared
with how B. Becker et al. 2021 (arXiv:2102.03780) build it again: `toothless` in `model_architectures.py` of
github.com/BurgerBecker/rg-benchmarker. First weights are Keras's usual ones.
"""

from __future__ import annotations

from typing import Any

import keras

from seti_model.errors import ConfigError
from seti_model.families import AniyanConfig
from seti_model.networks.layers import Maker, dense

FIRST, STEP = 11, 4  # pixels of the first filters, and of their steps; without padding
KERNELS = (FIRST, 5, 3, 3, 3)  # the others are padded
POOLED = (1, 2, 5)  # convolutions after which is pooled
POOL, POOL_STEP = 3, 2  # without padding
SMALLEST = 67  # pixels: (67 - 11) / 4 + 1 = 15, pooled to 7, 3, 1
MOMENTUM = 0.9  # of the moving averages: 0.99 trails the weights for several epochs of a few hundred images


def build(
    config: AniyanConfig, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Sequential:
    """Build the network.

    Raises:
        ConfigError: The image is too small.
    """
    if min(shape[:2]) < SMALLEST:
        raise ConfigError(
            f"network.family='aniyan' needs at least {SMALLEST}x{SMALLEST} pixels, these images have "
            f"{shape[0]}x{shape[1]}; choose another family or a larger size"
        )
    make, layers = Maker(seed, precision), list[Any]()
    for block, (filters, kernel) in enumerate(zip(config.filters, KERNELS, strict=True), start=1):
        name, strides = f"block_{block}", STEP if block == 1 else 1
        padding = "valid" if block == 1 else "same"
        layers += [
            make.convolution(f"{name}_conv", filters, kernel, strides=strides, padding=padding),
            make.normalisation(f"{name}_norm", MOMENTUM),
            make.relu(f"{name}_relu"),
        ]
        layers += [make.pooling(f"{name}_pool", POOL, POOL_STEP)] if block in POOLED else []
    layers.append(make.flat("flatten"))
    for number in (1, 2):
        layers += [
            dense(f"dense_{number}", config.dense_units, seed, precision=precision, activation="relu"),  # 4096
            make.dropout(f"dense_{number}_dropout", config.dropout),  # 0.5
        ]
    return keras.Sequential([keras.Input(shape), *layers, dense("logits", n_classes, seed)])
