"""VGG16: thirteen convolutions of 3x3 in five blocks, each pooled by two, and a small head.

K. Simonyan and A. Zisserman 2014, arXiv:1409.1556, table 1, configuration D. Instead of its three dense layers (4096,
4096, 1000 for ImageNet's classes) the mean over all places and one dense layer with dropout: they fit any size of
image, and 123 million weights less learn a few hundred images by heart.

Its input is brought to what ImageNet's weights expect: 0..255, grey repeated to three channels, the mean colour
subtracted. Those weights are for blue, green and red in this order; the harness turns the first filters instead of the
images, so the mean stands here as red, green, blue (`keras.applications.vgg16.preprocess_input`).
"""

from __future__ import annotations

import keras

from seti_model.errors import ConfigError
from seti_model.families import VGG16, VGG16Config
from seti_model.networks.layers import Maker, dense
from seti_model.pretrained import FILTERS, convolution_name

MEAN_COLOUR = (123.68, 116.779, 103.939)  # of ImageNet; red, green, blue
SMALLEST = 32  # pixels: halved five times


def build(
    config: VGG16Config, shape: tuple[int, int, int], n_classes: int, *, seed: int, precision: str
) -> keras.Model:
    """Build the network with drawn weights; those of a file are put there by who trains it.

    Raises:
        ConfigError: Neither one nor three channels, or the image is too small.
    """
    if shape[2] not in (1, 3) or min(shape[:2]) < SMALLEST:
        raise ConfigError(
            f"network.family='vgg16' needs one or three channels and at least {SMALLEST}x{SMALLEST} pixels, these "
            f"images are {shape[0]}x{shape[1]} with {shape[2]}; choose another family, size or prepare.steps"
        )
    make, pixels = Maker(seed, precision), keras.Input(shape, name="grey_or_colour")
    values = keras.layers.Concatenate(dtype="float32", name="colour")([pixels] * 3) if shape[2] == 1 else pixels
    # The harness has divided by 255.
    offset = [-mean for mean in MEAN_COLOUR]
    values = keras.layers.Rescaling(255.0, offset=offset, dtype="float32", name="imagenet")(values)
    for block, (filters, convolutions) in enumerate(FILTERS, start=1):
        for number in range(1, convolutions + 1):
            values = make.convolution(convolution_name(block, number), filters, 3, activation="relu")(values)
        values = make.pooling(f"block_{block}_pool", 2, 2)(values)
    values = keras.layers.GlobalAveragePooling2D(dtype=precision, name="mean")(values)
    values = dense("dense", config.dense_units, seed, precision=precision, activation="relu")(values)
    values = make.dropout("dense_dropout", config.dropout)(values)
    return keras.Model(pixels, dense("logits", n_classes, seed)(values), name=VGG16)
