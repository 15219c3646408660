"""The FIRST Classifier's network: three convolutions that pool by two, a dense layer, dropout, and the classes.

W. Alhassan, A. R. Taylor, M. Vaccari 2018, doi:10.1093/mnras/sty2038, arXiv:1807.10380. Three convolutions
and two dense layers, of which the second gives the classes, on images of 150x150 pixels. The sizes are those with which
B. Becker et al. 2021 (arXiv:2102.03780) build it again: `first_class` in `model_architectures.py` of
github.com/BurgerBecker/rg-benchmarker; they were not compared with the paper's own table. First weights are Keras's
usual ones.
"""

from __future__ import annotations

from typing import Any

import keras

from seti_model.errors import ConfigError
from seti_model.families import AlhassanConfig
from seti_model.networks.layers import Maker, dense

POOL = 2


def build(
    config: AlhassanConfig, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Sequential:
    """Build the network.

    Raises:
        ConfigError: The image is too small to be halved three times.
    """
    smallest = POOL ** len(config.filters)
    if min(shape[:2]) < smallest:
        raise ConfigError(
            f"network.family='alhassan' halves images three times and needs at least {smallest}x{smallest} pixels, "
            f"these have {shape[0]}x{shape[1]}; choose another family or a larger size"
        )
    make, layers = Maker(seed, precision), list[Any]()
    for block, filters in enumerate(config.filters, start=1):
        name = f"block_{block}"
        layers += [
            make.convolution(f"{name}_conv", filters, config.kernel, activation="relu"),  # 3x3, 32, 64, 194
            make.pooling(f"{name}_pool", POOL, POOL),  # 2x2 in steps of 2, after each
        ]
    layers += [
        make.flat("flatten"),
        dense("dense", config.dense_units, seed, precision=precision, activation="relu"),  # 194
        make.dropout("dense_dropout", config.dropout),  # 0.5
        dense("logits", n_classes, seed),
    ]
    return keras.Sequential([keras.Input(shape), *layers])
