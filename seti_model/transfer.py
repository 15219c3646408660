"""Starting from an earlier model: its weights and its pixel scale, and blocks that stay as they are in it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import keras

from seti_model.config import NetworkConfig
from seti_model.description import description_path
from seti_model.errors import ModelError
from seti_model.exported import load_model
from seti_model.network import PixelScale, named_weights
from seti_model.training.arrays import Arrays
from seti_model.training.steps import weight_values


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer; compare digests
class InitialModel:
    """What a training takes from an earlier model."""

    path: Path
    weights: Arrays  # by `<layer>/<variable>`
    digest: str  # SHA-256 of the weights, hex
    shape: tuple[int, int, int]  # n_time, n_freq, channels
    class_names: tuple[str, ...]
    pixels: PixelScale | None  # None where it did not standardise

    def scale(self, config: NetworkConfig) -> PixelScale:
        """Return the pixel scale of a network that starts from this model.

        It is that of the earlier model, whatever the new images are: its first weights and the statistics of its
        frozen blocks belong to that scale, so that the network one starts with is the earlier one to the last bit.

        Raises:
            ModelError: One of the two standardises and the other does not.
        """
        if config.standardise != (self.pixels is not None):
            raise ModelError(
                f"{self.path}: made with network.standardise={self.pixels is not None}, this training has "
                f"{config.standardise}; its weights expect the same input, set it as there"
            )
        return self.pixels or PixelScale()


def load_initial(path: Path) -> InitialModel:
    """Read and verify an exported model to start from.

    Raises:
        ModelError: A missing or damaged file, or a model that was not exported by seti-tune.
    """
    model = load_model(path)
    pixels = None
    if model.configuration.network.standardise:
        layer = model.network.get_layer("standardise")
        # Exact: the root of a float's rounded square is that float again.
        pixels = PixelScale(float(layer.input_mean), float(layer.input_variance) ** 0.5)
    weights = weight_values(model.network)
    return InitialModel(path, weights, model.weights_digest, model.shape, model.class_names, pixels)


def start_from(
    network: keras.Sequential, initial: InitialModel, *, class_names: tuple[str, ...], frozen_blocks: int
) -> None:
    """Give `network` the weights of an earlier model and freeze its first blocks.

    Every layer that both have takes the earlier weights, moving statistics included; a layer that is new keeps its
    own, and so does `logits`, the layer of the softmax, where the class names differ.

    Raises:
        ModelError: A layer of another shape, or a block to freeze that the earlier model does not have.
    """
    for name, weight in named_weights(network).items():
        layer, variable = name.split("/")
        earlier = initial.weights.get(name)
        if earlier is None or (layer == "logits" and class_names != initial.class_names):
            continue
        if earlier.shape != tuple(weight.shape):
            raise ModelError(
                f"{initial.path}: layer {layer!r}, {variable}: shape {earlier.shape} in the earlier model, "
                f"{tuple(weight.shape)} here; set the fields of network as in {description_path(initial.path).name} "
                f"and bring the images to its shape {initial.shape}, or train from scratch"
            )
        weight.assign(earlier)
    for block in range(1, frozen_blocks + 1):
        if f"block_{block}_conv/kernel" not in initial.weights:
            raise ModelError(
                f"{initial.path}: has no block {block}, which training.frozen_blocks={frozen_blocks} wants to keep as "
                "it is there; lower it"
            )
    frozen = tuple(f"block_{block}_" for block in range(1, frozen_blocks + 1))
    for layer in network.layers:
        if layer.name.startswith(frozen):
            layer.trainable = False
