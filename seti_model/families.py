"""The fields of the families of networks beside the course's: a section each, and what each is made for."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import dataclass

from seti_model.fields import Value, within

WHOLE = "whole"  # pixels by which rows are shifted; what is left is a second channel
VGG16 = "vgg16"


@dataclass(frozen=True)
class DriftConfig:
    """The network that compares curves; it reads images that `align` shifted by whole pixels.

    Each row says how likely the line is at each place; a fixed bank of straight and bent curves adds that up, and the
    curvatures are compared. `seti_model/networks/drift.py` says how.
    """

    features: int = 32  # filters of the two layers that read the rows
    dense_units: int = 16  # of the layer before the classes
    dropout: float = 0.0  # share dropped after that layer
    max_curvature: float = 0.28  # pixels, the largest of the bank; course data bend by 0.138 to 0.276
    curvature_step: float = 0.04  # pixels
    max_slope: float = 0.5  # pixels from first to last row that the found line may be off
    slope_step: float = 0.1  # pixels

    def __post_init__(self) -> None:
        within("drift.features", self.features, 1, 1024)
        within("drift.dense_units", self.dense_units, 1, 65536)
        within("drift.dropout", self.dropout, 0.0, 0.95)
        within("drift.max_curvature", self.max_curvature, 0.01, 16.0)
        within("drift.curvature_step", self.curvature_step, 0.01, self.max_curvature)
        within("drift.max_slope", self.max_slope, 0.0, 16.0)
        within("drift.slope_step", self.slope_step, 0.01, 16.0)


@dataclass(frozen=True)
class SmallConfig:
    """A small CNN for aligned images: it pools along time only, so that no place in frequency is thrown away."""

    convolutions: int = 2  # each with batch normalisation and ReLU, the first over 4 rows at a time; 0 to 3
    filters: int = 16  # of each convolution
    kernel: int = 5  # columns of a filter
    dense_1: int = 64  # units of the first dense layer
    dropout: float = 0.3  # share dropped between the dense layers
    dense_2: int = 32  # units of the second

    def __post_init__(self) -> None:
        within("small.convolutions", self.convolutions, 0, 3)
        within("small.filters", self.filters, 1, 4096)
        within("small.kernel", self.kernel, 1, 31)
        within("small.dense_1", self.dense_1, 1, 65536)
        within("small.dropout", self.dropout, 0.0, 0.95)
        within("small.dense_2", self.dense_2, 1, 65536)


@dataclass(frozen=True)
class AlhassanConfig:
    """The FIRST Classifier's network for radio galaxies: three convolutions, a dense layer, and the classes.

    Source: arXiv:1807.10380; `seti_model/networks/alhassan.py` says where each size is from.
    """

    filters_1: int = 32  # of the first convolution
    filters_2: int = 64  # of the second
    filters_3: int = 194  # of the third
    kernel: int = 3  # pixels along each side of a filter
    dense_units: int = 194  # of the layer before the classes
    dropout: float = 0.5  # share dropped after that layer

    @property
    def filters(self) -> tuple[int, ...]:
        """Filter counts, first convolution first."""
        return (self.filters_1, self.filters_2, self.filters_3)

    def __post_init__(self) -> None:
        for number, filters in enumerate(self.filters, start=1):
            within(f"alhassan.filters_{number}", filters, 1, 4096)
        within("alhassan.kernel", self.kernel, 1, 31)
        within("alhassan.dense_units", self.dense_units, 1, 65536)
        within("alhassan.dropout", self.dropout, 0.0, 0.95)


@dataclass(frozen=True)
class AniyanConfig:
    """An AlexNet with batch normalisation for radio galaxies: five convolutions, two dense layers, and the classes.

    Source: arXiv:1705.03413; `seti_model/networks/aniyan.py` says where each size is from. Images of at least 67x67.
    """

    filters_1: int = 96  # of the first convolution, 11x11 pixels in steps of 4
    filters_2: int = 256  # of the second, 5x5
    filters_3: int = 384  # of the third, 3x3
    filters_4: int = 384  # of the fourth, 3x3
    filters_5: int = 256  # of the fifth, 3x3
    dense_units: int = 4096  # of each of the two layers before the classes
    dropout: float = 0.5  # share dropped after each of them

    @property
    def filters(self) -> tuple[int, ...]:
        """Filter counts, first convolution first."""
        return (self.filters_1, self.filters_2, self.filters_3, self.filters_4, self.filters_5)

    def __post_init__(self) -> None:
        for number, filters in enumerate(self.filters, start=1):
            within(f"aniyan.filters_{number}", filters, 1, 4096)
        within("aniyan.dense_units", self.dense_units, 1, 65536)
        within("aniyan.dropout", self.dropout, 0.0, 0.95)


@dataclass(frozen=True)
class VGG16Config:
    """VGG16, from scratch or from the weights that ImageNet gave it, with a small head of its own.

    Grey images are repeated to three channels, and ImageNet's mean colour is subtracted within the network. With
    weights, `training.frozen_blocks` keeps the first so many of its five blocks as ImageNet has them.
    Source: arXiv:1409.1556.
    """

    # of ImageNet: Keras's `vgg16_weights_tf_dim_ordering_tf_kernels_notop.h5`, relative to the study file; none:
    # from scratch
    weights: str = ""
    source: str = ""  # SHA-256 of that file; recorded, not to be set
    dense_units: int = 256  # of the layer before the classes
    dropout: float = 0.5  # share dropped after that layer

    def __post_init__(self) -> None:
        within("vgg16.dense_units", self.dense_units, 1, 65536)
        within("vgg16.dropout", self.dropout, 0.0, 0.95)


# The families beside the course's by name, each with the class of its fields.
FAMILIES: Mapping[str, type] = types.MappingProxyType(
    {
        "drift": DriftConfig,
        "small": SmallConfig,
        "alhassan": AlhassanConfig,
        "aniyan": AniyanConfig,
        VGG16: VGG16Config,
    }
)
# What a family is made for: the values of fields that are not named.
MADE_FOR: Mapping[str, Mapping[str, Value]] = types.MappingProxyType(
    {
        "drift": {"prepare.steps": "align", "align.shift": WHOLE},
        "small": {"prepare.steps": "align", "network.standardise": True},
    }
)
# How many blocks the families have whose number no field says; `training.frozen_blocks` counts them.
BLOCKS: Mapping[str, int] = types.MappingProxyType({"alhassan": 3, "aniyan": 5, VGG16: 5})
# Fields of a family that do not decide whether earlier weights fit.
NO_FORM = ("dropout", "weights", "source")
