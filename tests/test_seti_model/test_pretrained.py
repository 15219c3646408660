"""VGG16 with the weights of a file: it computes what Keras computes, and a file that does harm is one line."""

import dataclasses
import hashlib
import os
import warnings
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from keras.applications.vgg16 import VGG16, preprocess_input
from keras.src.legacy.saving.legacy_h5_format import save_weights_to_hdf5_group

from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.errors import ConfigError
from seti_model.exported import export_model, load_model, start_pretrained
from seti_model.network import PixelScale, build_network
from seti_model.own import completed
from seti_model.pretrained import FILTERS, MOST_BYTES, read_weights, weights_digest
from seti_model.training.train import train

KERNEL, BIAS = np.ones((3, 3, 3, 64), np.float32), np.ones(64, np.float32)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A file as Keras writes it in its old format, with drawn weights in place of ImageNet's."""
    keras.utils.set_random_seed(3)
    path = tmp_path_factory.mktemp("vgg16") / "notop.h5"
    model = VGG16(weights=None, include_top=False, input_shape=(32, 32, 3))
    with h5py.File(path, "w") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras 3.15 with NumPy 2
        save_weights_to_hdf5_group(file, model)
    return path


def vgg16(weights, **changes):
    values = {"network.family": "vgg16", "vgg16.weights": str(weights), "vgg16.dense_units": 8}
    return completed(Configuration.from_mapping({**values, "training.epochs": 1, **changes}))


@pytest.mark.parametrize("channels", [1, 3])
def test_it_sees_what_keras_own_vgg16_sees(weights, channels):
    images = np.random.default_rng(1).integers(0, 256, (3, 48, 40, channels)).astype(np.float32)
    configuration = vgg16(weights)
    network = build_network(configuration, (48, 40, channels), 2, seed=1, pixels=PixelScale())
    start_pretrained(network, configuration.vgg16, frozen_blocks=0)
    inner = network.get_layer("vgg16")
    features = keras.Model(inner.input, inner.get_layer("mean").output)
    ours = features.predict(network.get_layer("rescale")(images), verbose=0)
    stock = VGG16(weights=weights, include_top=False, pooling="avg")
    theirs = stock.predict(preprocess_input(np.repeat(images, 4 - channels, axis=3)[..., :3].copy()), verbose=0)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4 * np.abs(theirs).max())


def test_frozen_blocks_stay_as_the_file_has_them_and_the_others_are_trained(weights, tmp_path):
    rng = np.random.default_rng(2)
    split = Split(rng.integers(0, 256, (8, 32, 32, 1), np.uint8), (np.arange(8) % 2).astype(np.int8))
    data = TrainingData(split, split, ("FRI", "FRII"), "d" * 64)
    frozen = vgg16(weights, **{"training.frozen_blocks": 4, "training.batch_size": 4})
    assert frozen.to_mapping()["vgg16.source"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    result = train(frozen, data, seed=1)
    given, _ = read_weights(weights)
    stayed = {name for name, array in given.items() if np.array_equal(array, named(result.best.weights)[name])}
    assert stayed == {name for name in given if not name.startswith("block_5_")}
    assert train(frozen, data, seed=1).best_weights_digest == result.best_weights_digest
    # What was trained needs the file no more, to predict or to begin another training.
    gone = dataclasses.replace(frozen, vgg16=dataclasses.replace(frozen.vgg16, weights="gone.h5"))
    export_model(dataclasses.replace(result.best, configuration=gone), tmp_path / "model.keras")
    model = load_model(tmp_path / "model.keras")
    assert np.array_equal(model.predict(split.images), result.validation_probabilities)
    again = train(gone, data, seed=2, init_from=tmp_path / "model.keras")
    assert np.array_equal(again.best.weights["vgg16/block_4_conv_1/kernel"], given["block_4_conv_1/kernel"])


def named(arrays):
    """Return arrays by the layer's name, without that of the model it is in."""
    return {"/".join(name.split("/")[-2:]): array for name, array in arrays.items()}


def test_another_file_than_the_recorded_one_is_refused(weights):
    configuration = vgg16(weights)
    network = build_network(configuration, (32, 32, 1), 2, seed=1, pixels=PixelScale())
    other = dataclasses.replace(configuration.vgg16, source="0" * 64)
    with pytest.raises(ConfigError, match=r"has digest \w{12}, the configuration was made with 000000000000; restore"):
        start_pretrained(network, other, frozen_blocks=0)


def test_nothing_can_be_frozen_without_weights():
    data = TrainingData(
        *2 * [Split(np.zeros((4, 32, 32, 1), np.uint8), np.array([0, 1, 0, 1], np.int8))], ("a", "b"), "d"
    )
    configuration = Configuration.from_mapping({"network.family": "vgg16", "training.frozen_blocks": 1})
    with pytest.raises(ConfigError, match=r"as an earlier model or vgg16\.weights has them; name one with init_from"):
        train(configuration, data, seed=1)


def _group(path: Path):
    file = h5py.File(path, "w")
    return file.create_group("block1_conv1")


def _datasets(path, kernel=KERNEL, bias=BIAS, **options):
    group = _group(path)
    group.create_dataset("kernel:0", data=kernel, **options)
    group.create_dataset("bias:0", data=bias)
    group.file.close()


def _links(path, link):
    group = _group(path)
    group["kernel:0"] = link
    group.file.close()


def _virtual(path):
    layout = h5py.VirtualLayout(KERNEL.shape, np.float32)
    layout[...] = h5py.VirtualSource("/elsewhere.h5", "data", KERNEL.shape)
    group = _group(path)
    group.create_virtual_dataset("kernel:0", layout)
    group.file.close()


def _external(path):
    group = _group(path)
    outside = [(str(path.with_suffix(".raw")), 0, KERNEL.nbytes)]
    group.create_dataset("kernel:0", KERNEL.shape, np.float32, external=outside)
    group.file.close()


def _truncated(path):
    _datasets(path)
    path.write_bytes(path.read_bytes()[:3000])


def _nested(path):
    group = _group(path)
    for _ in range(50):
        group = group.create_group("block1_conv1")
    group.file.close()


def _members(path):
    group = _group(path)
    for number in range(40):
        group.create_dataset(f"kernel{number}:0", data=KERNEL)
    group.file.close()


def _huge(path):
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)


NONE = r"block1_conv1 has no kernel of shape \(3, 3, 3, 64\), found "
HOSTILE = {
    "missing": (lambda path: None, r"cannot be read \(No such file or directory\); name Keras's file of VGG16"),
    "folder": (lambda path: path.mkdir(), r"cannot be read \(Is a directory\)"),
    "pipe": (os.mkfifo, r"is a device, a pipe or a socket, a file is expected"),
    "empty": (lambda path: path.write_bytes(b""), r"cannot be read \("),
    "text": (lambda path: path.write_text("weights\n" * 99), r"cannot be read \("),
    "truncated": (_truncated, r"cannot be read \("),
    "huge": (_huge, r"has 1073741825 bytes, at most 1073741824 are read"),
    "no layers": (lambda path: h5py.File(path, "w").close(), NONE + "nothing"),
    "empty layer": (lambda path: _group(path).file.close(), NONE + "nothing"),
    "other shape": (lambda path: _datasets(path, kernel=KERNEL[:2]), NONE + r"\(64,\), \(2, 3, 3, 64\); name Keras's"),
    "two kernels": (_members, NONE + "nothing"),
    "nested": (_nested, NONE + "nothing"),
    "soft link": (lambda path: _links(path, h5py.SoftLink("/block1_conv1")), NONE + "nothing"),
    "link outside": (lambda path: _links(path, h5py.ExternalLink("/etc/passwd", "/")), NONE + "nothing"),
    "virtual": (_virtual, "the kernel is stored in an unusual way; name Keras's own file"),
    "stored outside": (_external, "the kernel is stored in an unusual way"),
    "may grow": (lambda path: _datasets(path, maxshape=(None, 3, 3, 64)), "stored in an unusual way"),
    "filter": (lambda path: _datasets(path, compression="lzf"), "stored in an unusual way"),
    "whole numbers": (lambda path: _datasets(path, kernel=KERNEL.astype(np.int64)), "stored in an unusual way"),
    "not finite": (lambda path: _datasets(path, kernel=KERNEL * np.nan), "the kernel is not finite; get the file anew"),
    "one layer": (_datasets, r"block1_conv2 has no kernel of shape \(3, 3, 64, 64\), found nothing"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_file_that_is_none_of_vgg16_is_one_line(kind, tmp_path):
    make, message = HOSTILE[kind]
    path = tmp_path / "weights.h5"
    make(path)
    with pytest.raises(ConfigError, match=message) as caught:
        weights_digest(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("seed", range(40))
def test_a_damaged_file_is_one_line_or_has_finite_weights(seed, tmp_path):
    path, rng = tmp_path / "weights.h5", np.random.default_rng(seed)
    _datasets(path, compression="gzip" if seed % 2 else None)
    content = bytearray(path.read_bytes())
    for place in rng.integers(0, 4096 if seed % 3 else len(content), 20):
        content[place] = rng.integers(0, 256)
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"vgg16\.weights: .*; ") as caught:  # the second layer is not there
        read_weights(path)
    assert "\n" not in str(caught.value)


def test_the_blocks_are_those_of_configuration_d():
    assert FILTERS == ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
