import json
import subprocess
import sys

import numpy as np
import pytest

from seti_model.evaluation import export_model, load_model
from seti_model.outcome import ModelError
from seti_model.training import train

# Keras and NumPy only: importing any of our packages fails.
WITHOUT_US = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("seti_model", "tune", "results", "search_spaces"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
import keras, numpy as np
try:
    import seti_model
except ImportError:
    model = keras.models.load_model(sys.argv[1], safe_mode=True)
    np.save(sys.argv[3], np.asarray(model(np.load(sys.argv[2]).astype("float32"), training=False)))
"""
VARIANTS = {
    "as the course": ({}, 1e-6),
    "standardised": ({"network__standardise": True}, 1e-6),
    # Stock Keras rounds to bfloat16 (8 bits) at other places than our kernels.
    "bfloat16": ({"training__precision": "mixed_bfloat16"}, 0.02),
}


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def exported(request, configure, striped_data, tmp_path_factory):
    changes, tolerance = request.param
    result = train(configure(**changes), striped_data, seed=3)
    path = tmp_path_factory.mktemp("export") / "model.keras"
    export_model(result.best, path)
    return result, path, tolerance


def test_exported_model_works_without_our_packages(exported, striped_data, tmp_path):
    result, path, tolerance = exported
    np.save(tmp_path / "images.npy", striped_data.validation.images)
    arguments = [path, tmp_path / "images.npy", tmp_path / "probabilities.npy"]
    subprocess.run([sys.executable, "-c", WITHOUT_US, *arguments], check=True, capture_output=True, timeout=120)
    there = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(there, result.validation_probabilities, atol=tolerance)


def test_exported_model_predicts_to_the_last_bit_what_was_validated(exported, striped_data):
    result, path, _ = exported
    model = load_model(path)
    assert np.array_equal(model.predict(striped_data.validation.images), result.validation_probabilities)
    assert (model.class_names, model.shape, model.data_digest) == (("left", "middle", "right"), (16, 16, 1), "d" * 64)
    assert model.configuration == result.best.configuration


def test_one_image_and_none_are_predicted_too(exported, striped_data):
    model = load_model(exported[1])
    assert model.predict(striped_data.validation.images[:0]).shape == (0, 3)
    one = model.predict(striped_data.validation.images[:1])
    np.testing.assert_allclose(one[0], exported[0].validation_probabilities[0], atol=max(exported[2], 1e-6))


def test_description_beside_the_model_can_be_read_by_anyone(exported):
    record = json.loads(exported[1].with_suffix(".json").read_text())
    assert record["class_names"] == ["left", "middle", "right"]
    assert record["weights_digest"] == exported[0].best_weights_digest
    assert sorted(path.name for path in exported[1].parent.iterdir()) == ["model.json", "model.keras"]


@pytest.fixture
def copied(exported, tmp_path):
    for file in exported[1].parent.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model.keras"


def test_images_of_another_shape_or_type_are_refused(exported):
    model = load_model(exported[1])
    with pytest.raises(ModelError, match=r"uint8 \(2, 8, 16, 1\), the model expects uint8 \(n, 16, 16, 1\)"):
        model.predict(np.zeros((2, 8, 16, 1), np.uint8))
    with pytest.raises(ModelError, match=r"images are float64"):
        model.predict(np.zeros((2, 16, 16, 1)))


def test_missing_damaged_and_mixed_up_files_are_named(copied):
    with pytest.raises(ModelError, match=r"absent\.keras: no such file"):
        load_model(copied.with_name("absent.keras"))
    description = copied.with_suffix(".json")
    text = description.read_text()
    description.write_text(text.replace('"weights_digest": "', '"weights_digest": "0'))
    with pytest.raises(ModelError, match=r"its weights have digest .* model\.json says 0.*keep the two files"):
        load_model(copied)
    description.write_text("{}")
    with pytest.raises(ModelError, match=r"model\.json: not a description of format 1"):
        load_model(copied)
    description.write_text("{")
    with pytest.raises(ModelError, match=r"model\.json: not JSON"):
        load_model(copied)
    description.unlink()
    with pytest.raises(ModelError, match=r"model\.json: missing, so the classes have no names"):
        load_model(copied)
    description.write_text(text)
    copied.write_bytes(copied.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.keras: cannot be read as a Keras model"):
        load_model(copied)


def test_other_ending_is_refused(exported, tmp_path):
    with pytest.raises(ModelError, match=r"model\.h5: a model's file name ends in \.keras"):
        export_model(exported[0].best, tmp_path / "model.h5")
