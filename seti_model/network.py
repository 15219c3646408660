"""A network from a configuration: pixels in, probabilities out, of stock Keras layers unless a layer is the user's.

The family makes the middle, from scaled pixels to logits. Around it stand the scaling of pixels and the softmax.
"""

from __future__ import annotations

import random
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from seti_model.config import COURSE, Configuration
from seti_model.data.prepare import prepared_form
from seti_model.errors import ConfigError
from seti_model.networks import alhassan, aniyan, course, drift, small, vgg16
from seti_model.own import load_network, require_same_source

Shape = tuple[int, int, int]  # n_time, n_freq, channels
# (hyperparameters, shape, classes, seed, precision) -> a model that returns logits.
BUILDERS: Mapping[str, Callable[..., keras.Model]] = {
    COURSE: course.build,
    "drift": drift.build,
    "small": small.build,
    "alhassan": alhassan.build,
    "aniyan": aniyan.build,
    "vgg16": vgg16.build,
}


_NOTHING = keras.Input((1,))
GRAPHS = (
    keras.Sequential,
    type(keras.Model(_NOTHING, _NOTHING)),
)  # whose layers are known; Keras does not name the second
OURS = ("pixels", "rescale", "standardise", "probabilities")  # the layers around a network


@dataclass(frozen=True)
class PixelScale:
    """Mean and deviation of the training pixels after division by 255; used when `network.standardise` is set."""

    mean: float = 0.0
    deviation: float = 1.0


def build_network(
    configuration: Configuration, shape: Shape, n_classes: int, *, seed: int, pixels: PixelScale
) -> keras.Model:
    """Build the network; input are pixel values 0..255 (n, n_time, n_freq, channels), output probabilities float32.

    Every layer of the shipped families carries its name, its initialiser's seed and its dtype policy: nothing depends
    on Keras's global state, which other trainings of the same process change. For a network of one's own that state is
    set before it is built. Scaling and softmax stay in float32 at any precision.

    Raises:
        ConfigError: The image is too small, there are fewer than two classes, or a network of one's own cannot be
            built, has changed or returns something else than logits.
    """
    if n_classes < 2:
        raise ConfigError(f"the data set has {n_classes} class, a classifier needs at least 2; check class_names")
    network = configuration.network
    middle = _middle(configuration, shape, n_classes, seed)
    layers: list[Any] = [
        keras.Input(shape=shape, dtype="float32", name="pixels"),
        keras.layers.Rescaling(1 / 255, dtype="float32", name="rescale"),
    ]
    if network.standardise:
        variance = pixels.deviation**2
        layers.append(
            keras.layers.Normalization(
                axis=None, mean=pixels.mean, variance=variance, dtype="float32", name="standardise"
            )
        )
    # A chain of ours is taken apart, so that each layer stands in the exported model by itself.
    layers += middle.layers if isinstance(middle, keras.Sequential) and not network.is_own else [middle]
    # Apart from the dense layer, so that the loss is computed from logits and cannot overflow.
    layers.append(keras.layers.Activation("softmax", dtype="float32", name="probabilities"))
    return keras.Sequential(layers, name="seti_cnn")


def summary(configuration: Configuration, shape: Shape, n_classes: int) -> str:
    """Return the layers of a network with their shapes and parameters, as text.

    Args:
        configuration: Of the network and the preparation.
        shape: Of an image before it is prepared.
        n_classes: Number of classes.

    Raises:
        ConfigError: As `build_network`.
    """
    prepared, _ = prepared_form(shape, configuration.preparation)
    lines: list[str] = []
    network = build_network(configuration, prepared, n_classes, seed=0, pixels=PixelScale())
    network.summary(line_length=100, print_fn=lines.append, expand_nested=True)
    return "\n".join(lines)


def named_weights(network: keras.Model) -> dict[str, Any]:
    """Return every weight, moving statistics included, as a Keras variable by `<layer>/<variable>`.

    The layers of a model within a model are called `<model>/<layer>`; of several weights of one name in a layer, as in
    a bidirectional one, the later ones are numbered, since their paths change when a model is loaded.
    """
    found: dict[str, Any] = {}
    for name, layer in named_layers(network):
        for weight in layer.weights:
            plain = f"{name}/{weight.name}"
            again = sum(known == plain or known.startswith(f"{plain}_again") for known in found)
            found[f"{plain}_again{again}" if again else plain] = weight
    return found


def named_layers(network: keras.Model) -> Iterator[tuple[str, keras.layers.Layer]]:
    """Yield the layers of a network, those of graphs within it by `<model>/<layer>`, each once.

    A model within it that is a class of its own counts as one layer, as it does for `keras.models.clone_model`.
    """
    seen: set[int] = set()

    def walk(model: keras.Model, prefix: str) -> Iterator[tuple[str, keras.layers.Layer]]:
        for layer in model.layers:
            if id(layer) in seen:
                continue
            seen.add(id(layer))
            if isinstance(layer, GRAPHS):
                yield from walk(layer, f"{prefix}{layer.name}/")
            else:
                yield f"{prefix}{layer.name}", layer

    yield from walk(network, "")


def _middle(configuration: Configuration, shape: Shape, n_classes: int, seed: int) -> keras.Model:
    """Build what the family makes, and check it."""
    network, precision = configuration.network, configuration.training.precision
    if not network.is_own:
        fields = network if network.family == COURSE else getattr(configuration, network.family)
        return BUILDERS[network.family](fields, shape, n_classes, seed=seed, precision=precision)
    require_same_source([network.family], network.source)
    own = load_network(network.family, configuration.own_fields(network.family))
    with _fresh_names_and_seeds(seed):
        try:
            model = own.build(shape, n_classes, seed=seed, precision=precision)
            if isinstance(model, keras.Sequential) and not model.built:
                model.build((None, *shape))
        except Exception as error:  # whatever the user's code raises
            last = traceback.extract_tb(error.__traceback__)[-1]
            raise ConfigError(
                f"{network.family}: build raised {type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            ) from error
    if not isinstance(model, GRAPHS):
        raise ConfigError(
            f"{network.family}: build returned {type(model).__name__}, expected a keras.Model(inputs, outputs) or "
            "keras.Sequential"
        )
    _require_logits(network.family, model, n_classes)
    return model


def _require_logits(family: str, model: keras.Model, n_classes: int) -> None:
    is_named = not isinstance(model, keras.Sequential) and isinstance(model.output, dict)
    if is_named or model.output_shape != (None, n_classes):
        raise ConfigError(
            f"{family}: its model returns {model.output_shape}, expected logits (None, {n_classes}); end it with a "
            "dense layer of as many units as there are classes"
        )
    last = model.layers[-1]
    if isinstance(last, keras.layers.Softmax) or getattr(last, "activation", None) is keras.activations.softmax:
        raise ConfigError(f"{family}: its model ends with a softmax, which is added for it; return logits")
    if model.name in OURS:
        raise ConfigError(f"{family}: its model is called {model.name!r} as a layer around it is; give it another name")


@contextmanager
def _fresh_names_and_seeds(seed: int) -> Iterator[None]:
    """Have layers without a name or a seed get the same ones each time, whatever was built in this process before."""
    state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 - the one that Keras sets
    keras.utils.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed % 2**32)
    try:
        yield
    finally:
        random.setstate(state)
        np.random.set_state(numpy_state)  # noqa: NPY002
