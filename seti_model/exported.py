"""Exported networks: written as `.keras` with stock layers only, read back, used to predict and to start a training."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from seti_model.config import Configuration, NetworkConfig
from seti_model.data.dataset import Images
from seti_model.data.prepare import prepare, prepared_form
from seti_model.description import (
    Description,
    architecture_digest,
    describe,
    description_path,
    read_description,
    unreadable,
)
from seti_model.errors import ConfigError, ModelError
from seti_model.families import VGG16, VGG16Config
from seti_model.files import UNREADABLE, written_whole
from seti_model.network import PixelScale, build_network, named_layers, named_weights
from seti_model.own import load_network
from seti_model.pace import in_parallel
from seti_model.prepare_ops import prepare_op
from seti_model.pretrained import read_weights
from seti_model.training.arrays import Arrays, digest_arrays
from seti_model.training.kernels import Graph
from seti_model.training.outcome import TrainedNetwork
from seti_model.training.steps import INFERENCE_BATCH, compile_inference, moving_moments, save_inference, weight_values

_WAY = "free some space or choose another place"


@dataclass(frozen=True)
class ExportedModel(Description):
    """A network read from a file, with what its outputs mean."""

    network: keras.Model

    def predict(self, images: Images, *, batch: int | None = None, side_by_side: int = 1) -> npt.NDArray[np.float32]:
        """Return probabilities, float32 (n, n_classes).

        Args:
            images: uint8 (n, n_time, n_freq, channels); of one channel also (n, n_time, n_freq).
            batch: How many images at a time. Without it they are the same to the last bit as in the training's
                validation; another number may round otherwise.
            side_by_side: So many batches are prepared and predicted at the same time, which changes no number; the
                networks only where the process was set up for it (`prepare_process`), else their preparation.

        Raises:
            ModelError: Images of another shape or type than the network was trained on, or a batch below 1.
        """
        if images.ndim == 3 and self.shape[-1] == 1:
            images = images[..., np.newaxis]
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.shape:
            raise ModelError(
                f"images are {images.dtype} {images.shape}, the model expects uint8 "
                f"(n, {', '.join(map(str, self.shape))}); bring them to that shape"
            )
        size = INFERENCE_BATCH if batch is None else batch
        if size < 1:
            raise ModelError(f"a batch of {size} images; at least 1 is expected")
        preparation = self.configuration.preparation
        y_prob = np.empty((len(images), len(self.class_names)), np.float32)

        def part(start: int) -> None:
            rows = slice(start, start + size)
            y_prob[rows] = self._infer(prepare(np.asarray(images[rows]), preparation))

        in_parallel(part, range(0, len(images), size), side_by_side)
        return y_prob

    def warm_up(self) -> None:
        """Trace the network and run it once, as otherwise the first prediction does."""
        self.predict(np.zeros((1, *self.shape), np.uint8))

    @cached_property
    def _infer(self) -> Callable[[Images], npt.NDArray[np.float32]]:
        """The compiled network with its statistics: one trace for all predictions and all sizes of a batch."""
        _, pixels = prepared_form(self.shape, self.configuration.preparation)
        graph = Graph(self.network)
        compiled, moments = compile_inference(graph, tf.as_dtype(pixels)), moving_moments(graph)
        return lambda images: np.asarray(compiled(images, moments)[0])


def as_model(trained: TrainedNetwork) -> ExportedModel:
    """Return a trained network ready to predict, as `load_model` returns it after an export."""
    shape, _ = prepared_form(trained.shape, trained.configuration.preparation)
    pixels = PixelScale(trained.pixel_mean, trained.pixel_deviation)
    network = build_network(trained.configuration, shape, len(trained.class_names), seed=trained.seed, pixels=pixels)
    for name, weight in named_weights(network).items():
        weight.assign(trained.weights[name])
    return ExportedModel(
        configuration=trained.configuration,
        shape=trained.shape,
        class_names=trained.class_names,
        data_digest=trained.data_digest,
        weights_digest=trained.digest,
        architecture_digest=None,
        digest=None,
        kind=trained.kind,
        network=network,
    )


def export_model(trained: TrainedNetwork, path: Path) -> str:
    """Write `path` (.keras) and beside it a `.json` with class names, shape, configuration and digests.

    Returns:
        The digest of the model: of its weights, its architecture and all that the `.json` says.

    The `.keras` file holds stock Keras layers only and opens anywhere, without this package, in safe mode. Its input
    are pixel values 0..255, float32.

    Raises:
        ModelError: The name does not end in `.keras`, or the files cannot be written.
    """
    if path.suffix != ".keras":
        raise ModelError(f"{path}: a model's file name ends in .keras; rename it")
    network = as_model(trained).network
    with written_whole(path, ModelError, _WAY) as temporary, warnings.catch_warnings():
        # Keras 3.15 hands TensorFlow 2.21's variables to NumPy 2 in the old way; what is written is right.
        warnings.filterwarnings("ignore", "__array__ implementation doesn't accept a copy", DeprecationWarning)
        network.save(temporary)
    described = description_path(path)
    text, digest = describe(trained, architecture_digest(path))
    with written_whole(described, ModelError, _WAY) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return digest


def export_saved_model(model: TrainedNetwork | Path, folder: Path) -> None:
    """Write a TensorFlow SavedModel to the new folder `folder`, whole or not at all, with `class_names.txt` in it.

    It needs TensorFlow alone and computes what `ExportedModel.predict` computes. Signature `serving_default` takes
    `pixels` float32 (n, n_time, n_freq, channels), values 0..255, signature `uint8` the same as uint8; both return
    `probabilities` float32 (n, n_classes), the classes in the order of the lines of `class_names.txt`.

    Args:
        model: A trained network, or the path of a `.keras` file written by `export_model`.
        folder: Must not exist.

    Raises:
        ModelError: `folder` exists, the `.keras` file cannot be used, a step of the preparation is no operation of
            TensorFlow, or the files cannot be written.
    """
    if folder.exists():
        raise ModelError(f"{folder}: exists already; choose another folder or delete it first")
    exported = load_model(model) if isinstance(model, Path) else as_model(model)
    preparation = exported.configuration.preparation
    if not preparation.has_operations:
        steps = exported.configuration.prepare.steps
        raise ModelError(f"{folder}: prepare.steps = {steps!r} is no operation of TensorFlow; use the .keras file")
    with written_whole(folder, ModelError, _WAY) as temporary:
        prepare_pixels = partial(prepare_op, preparation=preparation) if preparation.steps else (lambda pixels: pixels)
        save_inference(exported.network, temporary, shape=exported.shape, prepare=prepare_pixels)
        names = "".join(f"{name}\n" for name in exported.class_names)
        (temporary / "class_names.txt").write_text(names, encoding="utf-8")


def load_model(path: Path) -> ExportedModel:
    """Read what `export_model` wrote and verify its architecture and weights.

    Raises:
        ModelError: A missing or damaged file, or a model that was not exported by seti-tune.
    """
    description = read_description(path)
    _require_same(path, "layers have", architecture_digest(path), description.architecture_digest)
    try:
        network = _read_network(path, description.configuration)
    except Exception as error:  # whatever Keras does with a file that is damaged or means to do harm
        raise unreadable(path, error) from error
    _require_fit(path, network, description)
    _require_same(path, "weights have", digest_arrays(weight_values(network).items()), description.weights_digest)
    return ExportedModel(**vars(description), network=network)


def _require_same(path: Path, what: str, found: str, described: str | None) -> None:
    if described is not None and found != described:
        raise ModelError(
            f"{path}: its {what} digest {found[:12]}, {description_path(path).name} says {described[:12]}; keep the "
            "two files of one export together"
        )


def _require_fit(path: Path, network: keras.Model, description: Description) -> None:
    """Refuse a network that takes other images or gives other probabilities than its description says."""
    shape, _ = prepared_form(description.shape, description.configuration.preparation)
    found = (getattr(network, "input_shape", None), getattr(network, "output_shape", None))
    if found != ((None, *shape), (None, len(description.class_names))):
        raise ModelError(
            f"{path}: takes {found[0]} and gives {found[1]}, {description_path(path).name} describes {(None, *shape)} "
            f"and {len(description.class_names)} classes; keep the two files of one export together"
        )


def _read_network(path: Path, configuration: Configuration) -> keras.Model:
    """Read a `.keras` file; layers of the user's own are looked for in the module of the network."""
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except UNREADABLE:
        family = configuration.network.family
        if not configuration.network.is_own:
            raise
        load_network(family, configuration.own_fields(family))
        return keras.models.load_model(path, compile=False, safe_mode=True)


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
    network: keras.Model, initial: InitialModel, *, class_names: tuple[str, ...], frozen_blocks: int
) -> None:
    """Give `network` the weights of an earlier model and freeze its first blocks.

    Every layer that both have takes the earlier weights, moving statistics included; a layer that is new keeps its
    own, and so does `logits`, the layer of the softmax, where the class names differ.

    Raises:
        ModelError: A layer of another shape, or a block to freeze that the earlier model does not have.
    """
    for name, weight in named_weights(network).items():
        layer, _, variable = name.rpartition("/")
        earlier = initial.weights.get(name)
        if earlier is None or (layer.rpartition("/")[2] == "logits" and class_names != initial.class_names):
            continue
        if earlier.shape != tuple(weight.shape):
            raise ModelError(
                f"{initial.path}: layer {layer!r}, {variable}: shape {earlier.shape} in the earlier model, "
                f"{tuple(weight.shape)} here; set the fields of network as in {description_path(initial.path).name} "
                f"and bring the images to its shape {initial.shape}, or train from scratch"
            )
        weight.assign(earlier)
    for block in range(1, frozen_blocks + 1):
        if not any(_is_of_block(name.rpartition("/")[0], block) for name in initial.weights):
            raise ModelError(
                f"{initial.path}: has no block {block}, which training.frozen_blocks={frozen_blocks} wants to keep as "
                "it is there; lower it"
            )
    freeze(network, frozen_blocks)


def start_pretrained(network: keras.Model, config: VGG16Config, *, frozen_blocks: int) -> None:
    """Give VGG16 the weights of its file and freeze its first blocks.

    Raises:
        ConfigError: The file cannot be read, or is another one than was recorded.
    """
    weights, digest = read_weights(Path(config.weights))
    if config.source and digest != config.source:
        raise ConfigError(
            f"vgg16.weights: {config.weights} has digest {digest[:12]}, the configuration was made with "
            f"{config.source[:12]}; restore the file, or begin anew with this one"
        )
    variables = named_weights(network)
    for name, array in weights.items():
        variables[f"{VGG16}/{name}"].assign(array)
    freeze(network, frozen_blocks)


def freeze(network: keras.Model, blocks: int) -> None:
    """Keep the first blocks of a network as they are."""
    for name, layer in named_layers(network):
        if any(_is_of_block(name, block) for block in range(1, blocks + 1)):
            layer.trainable = False


def _is_of_block(layer: str, block: int) -> bool:
    """Return whether a layer belongs to a block: any family calls the layers of block 2 `block_2_…`."""
    return layer.rpartition("/")[2].startswith(f"block_{block}_")
