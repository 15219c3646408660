"""A network of the user's own, with kinds of layers and graphs that none of ours has."""

import dataclasses
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from seti_model.config import Configuration, Preparation
from seti_model.data.prepare import prepare
from seti_model.errors import ConfigError, ModelError
from seti_model.exported import as_model, export_model, export_saved_model, load_model
from seti_model.network import PixelScale, build_network, named_weights
from seti_model.own import completed, own_fields, search_too, source_digest
from seti_model.training.kernels import Graph
from seti_model.training.optimizers import FusedAdam
from seti_model.training.steps import TrainingSteps
from seti_model.training.train import Checkpoints, train

MODULE = '''
from dataclasses import dataclass
import keras
import numpy as np

@dataclass(frozen=True)
class Mixed:
    """Everything at once: a sum, a shared layer, nested models, layers that Keras calculates with seeds of its own."""
    units: int = 6
    dropout: float = 0.2
    noise: float = 0.1

    def __post_init__(self):
        if self.units < 1:
            raise ValueError(f"units: {self.units} is less than 1")

    def build(self, shape, n_classes, *, seed, precision):
        layers = keras.layers
        pixels = keras.Input(shape)
        x = layers.GaussianNoise(self.noise)(layers.Resizing(8, 8)(pixels))
        x = layers.DepthwiseConv2D(3, depth_multiplier=4, use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
        x = layers.Flatten()(x)
        narrow = keras.Sequential([layers.Dense(self.units), layers.Dropout(self.dropout)], name="narrow")
        inner = keras.Input((self.units,))
        shared = layers.Dense(self.units, "relu", kernel_regularizer="l2")
        normalised = layers.BatchNormalization(scale=False)
        block = keras.Model(inner, layers.Dropout(self.dropout)(normalised(shared(inner))), name="block_1")
        once = block(narrow(x))
        twice = block(once)
        y = layers.LayerNormalization()(once + 0.5 * twice)
        y = layers.LSTM(5, dropout=self.dropout)(layers.Reshape((self.units, 1))(y))
        return keras.Model(pixels, layers.Dense(n_classes)(y))
'''
OWN = {
    "network.family": "own_networks:Mixed",
    "training.epochs": 3,
    "training.batch_size": 16,
    "training.recalibration_batches": 2,
}


@pytest.fixture(scope="session")
def module(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("own") / "own_networks.py"
    file.write_text(MODULE + BROKEN)
    search_too(file.parent)
    return file


BROKEN = """
@dataclass(frozen=True)
class NoLogits:
    def build(self, shape, n_classes, *, seed, precision):
        return keras.Sequential([keras.Input(shape), keras.layers.Dense(3)])

@dataclass(frozen=True)
class NoModel:
    def build(self, shape, n_classes, *, seed, precision):
        return [keras.layers.Dense(n_classes)]

@dataclass(frozen=True)
class NoNumbers:
    widths: tuple = (1, 2)
    def build(self, shape, n_classes, *, seed, precision):
        return None

class NoDataclass:
    pass

@dataclass(frozen=True)
class Raises:
    def build(self, shape, n_classes, *, seed, precision):
        raise RuntimeError("no such thing")

@dataclass(frozen=True)
class Softmaxed:
    def build(self, shape, n_classes, *, seed, precision):
        return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(n_classes, "softmax")])

@dataclass(frozen=True)
class Rescale:
    def build(self, shape, n_classes, *, seed, precision):
        return keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(n_classes)], name="rescale")

@dataclass(frozen=True)
class Both:
    # Two weights of one name in a layer, a constraint, a regulariser of activities, and constants from the seed.
    def build(self, shape, n_classes, *, seed, precision):
        layers = keras.layers
        pixels = keras.Input(shape)
        rows = layers.Reshape((shape[0], shape[1] * shape[2]))(pixels)
        drawn = np.random.default_rng(seed).normal(size=(shape[1] * shape[2], 6)).astype("float32")
        rows = keras.ops.matmul(rows, drawn)
        read = layers.Bidirectional(layers.LSTM(3))(rows)
        kept = layers.Dense(8, kernel_constraint=keras.constraints.MaxNorm(0.1), name="kept", dtype=precision)(read)
        kept = layers.BatchNormalization(dtype=precision)(layers.Dropout(0.1, dtype=precision)(kept))
        kept = layers.Dense(4, activity_regularizer="l2", dtype=precision)(kept)
        return keras.Model(pixels, layers.Dense(n_classes, dtype=precision)(kept))
"""


STEPS = """
def halved(images, *, by: int = 2):
    return images / by

def bare(images, *, by):
    return images

def flat(images):
    return images.mean(axis=(1, 2, 3))

class Value:
    pass

VALUE = Value()
"""


def configured(**changes):
    return completed(Configuration.from_mapping({**OWN, **{k.replace("__", "."): v for k, v in changes.items()}}))


def test_the_same_weights_in_a_warm_and_in_a_fresh_process(module, striped_data, tmp_path):
    first = train(configured(), striped_data, seed=7)
    train(configured(Mixed__units=3), striped_data, seed=8)
    again = train(configured(), striped_data, seed=7)
    assert again.last_weights_digest == first.last_weights_digest
    np.savez(
        tmp_path / "data.npz",
        images=striped_data.train.images,
        labels=striped_data.train.labels,
        other_images=striped_data.validation.images,
        other_labels=striped_data.validation.labels,
    )
    code = (
        "import json, sys, numpy as np\n"
        "from seti_model.runtime import prepare_process; prepare_process(1)\n"
        "from seti_model.config import Configuration\n"
        "from seti_model.data.dataset import Split, TrainingData\n"
        "from seti_model.training.train import train\n"
        "a = np.load(sys.argv[1])\n"
        "splits = Split(a['images'], a['labels']), Split(a['other_images'], a['other_labels'])\n"
        "data = TrainingData(*splits, ('left', 'middle', 'right'), 'd' * 64)\n"
        "print(train(Configuration.from_mapping(json.loads(sys.argv[2])), data, seed=7).last_weights_digest)\n"
    )
    arguments = [str(tmp_path / "data.npz"), json.dumps(configured().to_mapping())]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(module.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == first.last_weights_digest


def test_every_epoch_can_be_continued_seeds_of_keras_layers_included(module, striped_data, tmp_path):
    kept = []
    whole = train(
        configured(),
        striped_data,
        seed=7,
        checkpoints=Checkpoints(tmp_path, keep=3),
        on_epoch=lambda epoch: kept.append(epoch.checkpoint.path) or False,
    )
    for path in kept[:2]:
        assert (
            train(configured(), striped_data, seed=7, resume_from=path).last_weights_digest == whole.last_weights_digest
        )


def test_twenty_steps_are_those_of_stock_keras(module, striped_data):
    """Without dropout and noise, whose random numbers are others; the sums are made in another order."""
    configuration = configured(Mixed__dropout=0.0, Mixed__noise=0.0, training__learning_rate=0.003)
    shape = striped_data.train.images.shape[1:]

    def network():
        return build_network(configuration, shape, 3, seed=4, pixels=PixelScale())

    ours, stock = network(), network()
    names = {id(weight): name for name, weight in named_weights(ours).items()}
    variables = {names[id(weight)]: weight.value for weight in ours.trainable_variables}
    adam = FusedAdam(configuration.training, variables, batches=60)
    steps = TrainingSteps(Graph(ours), adam, seed=4, pixels=tf.uint8)
    schedule = keras.optimizers.schedules.ExponentialDecay(0.003, 5, 0.96, staircase=True)
    stock.compile(keras.optimizers.Adam(schedule), "sparse_categorical_crossentropy", jit_compile=False)
    for step in range(20):
        rows = np.arange(16 * step, 16 * (step + 1)) % 48
        images, labels = striped_data.train.images[rows], striped_data.train.labels[rows].astype(np.int32)
        steps.train_batch(images, labels, np.int64(step))
        stock.train_on_batch(images.astype(np.float32), labels)
    theirs = {name: weight.numpy() for name, weight in named_weights(stock).items()}
    for name, weight in named_weights(ours).items():
        # A layer that is called twice moves its averages twice in Keras, once towards both together here.
        if "batch_normalization_1/moving" not in name:
            np.testing.assert_allclose(weight.numpy(), theirs[name], atol=5e-4, err_msg=name)


def test_statistics_of_a_layer_that_is_called_twice_are_those_of_both_calls():
    pixels = keras.Input((2,))
    norm = keras.layers.BatchNormalization(name="norm")
    logits = keras.layers.Add()([norm(pixels), norm(pixels * 3.0)])
    network = keras.Model(pixels, keras.layers.Activation("softmax")(logits))
    values = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    moments = Graph(network).batch_moments(tf.constant(values))["norm"]
    both = np.concatenate([values, 3 * values])
    np.testing.assert_allclose(moments.mean, both.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(moments.variance, both.var(axis=0), rtol=1e-4)


def test_the_exported_model_opens_and_predicts_without_its_module(module, striped_data, tmp_path):
    best = train(configured(training__epochs=1), striped_data, seed=7).best
    export_model(best, tmp_path / "model.keras")
    np.save(tmp_path / "images.npy", striped_data.validation.images)
    code = (
        "import sys, numpy as np\nfrom pathlib import Path\n"
        "from seti_model.runtime import prepare_process; prepare_process(1)\n"
        "from seti_model.exported import load_model\n"
        "np.save('said.npy', load_model(Path('model.keras')).predict(np.load('images.npy')))\n"
        "assert 'own_networks' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)
    ours = as_model(best).predict(striped_data.validation.images)
    np.testing.assert_array_equal(np.load(tmp_path / "said.npy"), ours)
    configuration = load_model(tmp_path / "model.keras").configuration.to_mapping()
    assert configuration["Mixed.units"] == 6
    assert configuration["network.source"] == source_digest([OWN["network.family"]])


def test_a_step_of_ones_own_is_part_of_the_preparation_and_of_its_digest(module, striped_data, tmp_path):
    (module.parent / "own_steps.py").write_text(STEPS)
    plain = {"network.filters_1": 2, "network.filters_2": 2, "network.dense_units": 4, "training.epochs": 1}
    values = {**plain, "prepare.steps": "own_steps:halved, crop", "crop.n_time": 8, "crop.n_freq": 12}
    configuration = completed(Configuration.from_mapping(values))
    assert configuration.to_mapping()["halved.by"] == 2
    images = striped_data.train.images
    prepared = prepare(images, configuration.preparation)
    assert prepared.dtype == np.float32
    np.testing.assert_array_equal(prepared, images[:, 4:12, 2:14].astype(np.float32) / 2)
    data = dataclasses.replace(striped_data, prepared_in=tmp_path)
    first = train(configuration, data, seed=1)
    other = completed(Configuration.from_mapping({**values, "halved.by": 4}))
    assert train(other, data, seed=1).last_weights_digest != first.last_weights_digest
    assert sum(path.is_dir() for path in tmp_path.iterdir()) == 2
    with pytest.raises(ModelError, match=r"prepare\.steps = 'own_steps:halved, crop' is no operation of TensorFlow"):
        export_saved_model(first.best, tmp_path / "saved")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"prepare.steps": "own_steps:nothing"}, r"'own_steps:nothing': there is no nothing in .*own_steps\.py"),
        ({"prepare.steps": "own_steps:halved", "halved.off": 3}, r"halved\.off is no field of .*; known: halved\.by"),
        ({"prepare.steps": "own_steps:halved", "halved.by": "x"}, r"halved\.by: 'x' is of type str, expected int"),
        (
            {"prepare.steps": "own_steps:bare"},
            r"own_steps:bare: field 'by' is None = <class 'inspect\._empty'>",
        ),
        ({"prepare.steps": "own_steps:crop"}, r"prepare\.steps: a function cannot be called 'crop'; give it another"),
        (
            {"prepare.steps": "cropped"},
            r"'cropped' in 'cropped' is unknown or there twice; .* or your own",
        ),
    ],
)
def test_a_step_that_cannot_be_used_is_refused(module, values, message):
    (module.parent / "own_steps.py").write_text(STEPS)
    with pytest.raises(ConfigError, match=message):
        completed(Configuration.from_mapping(values))


def test_a_step_that_returns_no_images_is_refused(module):
    (module.parent / "own_steps.py").write_text(STEPS)
    for name, message in (
        ("flat", r"'own_steps:flat' made \(2,\) of \(2, 4, 4, 1\); return"),
        ("VALUE", "is no function"),
    ):
        preparation = Preparation(((f"own_steps:{name}", {}),))
        with pytest.raises(ConfigError, match=message):
            prepare(np.zeros((2, 4, 4, 1), np.uint8), preparation)


@pytest.mark.parametrize("precision", ["float32", "mixed_bfloat16"])
def test_names_constants_constraints_and_regularisers_survive_training_and_export(
    module, striped_data, tmp_path, precision
):
    values = {**OWN, "network.family": "own_networks:Both", "training.epochs": 2, "training.precision": precision}
    result = train(completed(Configuration.from_mapping(values)), striped_data, seed=5)
    export_model(result.best, tmp_path / "model.keras")
    predicted = load_model(tmp_path / "model.keras").predict(striped_data.validation.images)
    np.testing.assert_array_equal(predicted, result.validation_probabilities)
    kernel = next(w for name, w in result.best.weights.items() if name.endswith("kept/kernel"))
    assert np.linalg.norm(kernel, axis=0).max() < 0.1 + 1e-5


def test_a_module_that_is_changed_while_it_is_in_use_is_refused(tmp_path):
    file = tmp_path / "edited_networks.py"
    file.write_text(MODULE)
    search_too(tmp_path)
    configuration = Configuration.from_mapping({"network.family": "edited_networks:Mixed"})
    completed(configuration)
    file.write_text(MODULE.replace("units: int = 6", "units: int = 7"))
    with pytest.raises(ConfigError, match=r"edited_networks\.py: was changed while it is in use; restore"):
        completed(configuration)


def test_a_configuration_holds_all_fields_and_the_digest_of_the_source(module):
    values = configured(Mixed__units=9).to_mapping()
    assert (values["Mixed.units"], values["Mixed.dropout"]) == (9, 0.2)
    assert len(values["network.source"]) == 64
    assert own_fields(OWN["network.family"]) == {"Mixed.units": int, "Mixed.dropout": float, "Mixed.noise": float}
    assert Configuration.from_mapping(values).to_mapping() == values


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"network.family": "nowhere:Net"}, r"'nowhere:Net': ModuleNotFoundError: .* put the module"),
        ({"network.family": "own_networks:Nothing"}, r"there is no Nothing in .*own_networks\.py; correct"),
        (
            {"network.family": "own_networks:NoDataclass"},
            r"own_networks:NoDataclass: is no dataclass with a method build",
        ),
        (
            {"network.family": "own_networks:NoNumbers"},
            r"field 'widths' is <class 'tuple'> = \(1, 2\); a field is a bool",
        ),
        ({"Mixed.unit": 3}, r"Mixed\.unit is no field of own_networks:Mixed; known: Mixed\.dropout, Mixed\.noise"),
        ({"Mixed.units": 2.5}, r"Mixed\.units: 2\.5 is of type float, expected int"),
        ({"Mixed.units": 0}, r"own_networks:Mixed: refuses \{'units': 0\}: units: 0 is less than 1"),
    ],
)
def test_a_network_that_cannot_be_used_is_refused_when_it_is_named(module, values, message):
    with pytest.raises(ConfigError, match=message):
        completed(Configuration.from_mapping({**OWN, **values}))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NoLogits", r"its model returns \(None, 16, 16, 3\), expected logits \(None, 3\); end it with a dense layer"),
        ("NoModel", r"own_networks:NoModel: build returned list, expected a keras\.Model"),
        ("Raises", r"own_networks:Raises: build raised RuntimeError: no such thing \(.*own_networks\.py:\d+\)"),
        ("Softmaxed", r"its model ends with a softmax, which is added for it; return logits"),
        ("Rescale", r"its model is called 'rescale' as a layer around it is; give it another name"),
    ],
)
def test_what_is_no_classifier_is_refused_when_it_is_built(module, name, message):
    configuration = Configuration.from_mapping({"network.family": f"own_networks:{name}"})
    with pytest.raises(ConfigError, match=message):
        build_network(configuration, (16, 16, 1), 3, seed=1, pixels=PixelScale())


def test_a_changed_source_is_noticed(module):
    configuration = Configuration.from_mapping({**OWN, "network.source": "0" * 64})
    with pytest.raises(ConfigError, match=r"the source has digest .*, the configuration was made with 000000000000; r"):
        build_network(configuration, (16, 16, 1), 3, seed=1, pixels=PixelScale())


def test_building_leaves_the_random_numbers_of_the_process_alone(module):
    before, numpy_before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002 - the global one
    build_network(configured(), (16, 16, 1), 3, seed=1, pixels=PixelScale())
    assert random.getstate() == before
    assert np.random.get_state()[1].tolist() == numpy_before  # noqa: NPY002
