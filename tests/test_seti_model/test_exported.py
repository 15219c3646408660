import json
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest
import tensorflow as tf

from seti_model.errors import ModelError
from seti_model.exported import export_model, export_saved_model, load_model
from seti_model.training.train import train

# Importing any of our packages fails.
BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("seti_model", "tune", "results", "search_spaces"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
"""
KERAS_ALONE = """
import keras, numpy as np
try:
    import seti_model
except ImportError:
    model = keras.models.load_model(sys.argv[1], safe_mode=True)
    np.save(sys.argv[3], np.asarray(model(np.load(sys.argv[2]).astype("float32"), training=False)))
"""
TENSORFLOW_ALONE = """
import tensorflow as tf, numpy as np
signatures = tf.saved_model.load(sys.argv[1]).signatures
images = np.load(sys.argv[2])
given = signatures["uint8"](pixels=tf.constant(images))["probabilities"]
as_float = signatures["serving_default"](pixels=tf.constant(images, tf.float32))["probabilities"]
np.savez(sys.argv[3], uint8=given, float32=as_float)
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
    subprocess.run(
        [sys.executable, "-c", BLOCKER + KERAS_ALONE, *arguments], check=True, capture_output=True, timeout=120
    )
    there = np.load(tmp_path / "probabilities.npy")
    np.testing.assert_allclose(there, result.validation_probabilities, atol=tolerance)


def test_a_saved_model_predicts_the_same_in_a_fresh_process_with_tensorflow_alone(configure, striped_data, tmp_path):
    result = train(configure(network__standardise=True, training__epochs=1), striped_data, seed=3)
    export_saved_model(result.best, tmp_path / "saved")
    np.save(tmp_path / "images.npy", striped_data.validation.images)
    arguments = [tmp_path / "saved", tmp_path / "images.npy", tmp_path / "there.npz"]
    command = [sys.executable, "-c", BLOCKER + TENSORFLOW_ALONE, *arguments]
    subprocess.run(command, check=True, capture_output=True, timeout=120, cwd=tmp_path)
    with np.load(tmp_path / "there.npz") as there:
        for kind in ("uint8", "float32"):
            # The same operations, but another number of threads adds in another order: some units of 6e-8.
            np.testing.assert_allclose(there[kind], result.validation_probabilities, rtol=0, atol=1e-6)
    assert (tmp_path / "saved" / "class_names.txt").read_text() == "left\nmiddle\nright\n"


def test_a_saved_model_gives_in_the_same_process_the_same_bits_for_every_variant(exported, striped_data, tmp_path):
    result, path, _ = exported
    export_saved_model(path, tmp_path / "saved")
    signatures = tf.saved_model.load(str(tmp_path / "saved")).signatures
    images = striped_data.validation.images
    for name, pixels in (("uint8", images), ("serving_default", images.astype(np.float32))):
        found = signatures[name](pixels=tf.constant(pixels))["probabilities"].numpy()
        assert np.array_equal(found, result.validation_probabilities)


def test_a_saved_model_is_written_whole_or_not_at_all(exported, tmp_path):
    result, path, _ = exported
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match=r"taken: exists already; choose another folder or delete it first"):
        export_saved_model(result.best, tmp_path / "taken")
    with pytest.raises(ModelError, match=r"absent\.keras: no such file"):
        export_saved_model(path.with_name("absent.keras"), tmp_path / "new")
    (tmp_path / ".writing-0123456789abcdef-new").mkdir()  # of an export that was killed
    (tmp_path / ".writing-0123456789abcdef-new" / "rest").touch()
    export_saved_model(result.best, tmp_path / "new")
    assert not (tmp_path / "new" / "rest").exists()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["new", "taken"]


def test_a_full_disk_is_one_clear_error_for_every_export(exported, tmp_path):
    """A file size limit of the process stands for the full disk."""
    code = f"""
import resource
from pathlib import Path
from seti_model.runtime import prepare_process
prepare_process(1)
from seti_model.errors import ModelError
from seti_model.exported import export_model, export_saved_model, load_model
path = Path({str(exported[1])!r})
load_model(path).warm_up()
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    export_saved_model(path, Path({str(tmp_path)!r}) / "saved")
except ModelError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "saved: cannot be written (File too large); free some space or choose another place" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_an_archive_that_is_damaged_inside_is_one_clear_error(exported, tmp_path):
    path = tmp_path / "model.keras"
    path.with_suffix(".json").write_bytes(exported[1].with_suffix(".json").read_bytes())
    damaged = bytearray(exported[1].read_bytes())
    start = damaged.index(b"config.json") - 30
    damaged[start : start + 2] = b"XX"  # the table of contents is whole, a member is not
    path.write_bytes(damaged)
    with pytest.raises(ModelError, match=r"model\.keras: cannot be read as a Keras model \(Bad magic number"):
        load_model(path)


def test_a_model_that_cannot_be_written_names_it(exported, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(ModelError, match=r"model\.keras: cannot be written \(File exists\); free some space or choose"):
        export_model(exported[0].best, tmp_path / "taken" / "model.keras")


def test_exported_model_predicts_to_the_last_bit_what_was_validated(exported, striped_data):
    result, path, _ = exported
    model = load_model(path)
    assert np.array_equal(model.predict(striped_data.validation.images), result.validation_probabilities)
    assert (model.class_names, model.shape, model.data_digest) == (("left", "middle", "right"), (16, 16, 1), "d" * 64)
    assert model.configuration == result.best.configuration


def test_the_size_of_a_batch_changes_nothing_but_the_rounding(exported, striped_data):
    result, path, _ = exported
    model = load_model(path)
    model.warm_up()
    for batch in (1, 7, 30, 1000):
        probabilities = model.predict(striped_data.validation.images, batch=batch)
        np.testing.assert_allclose(probabilities, result.validation_probabilities, atol=max(exported[2], 1e-6))
    with pytest.raises(ModelError, match="a batch of 0 images; at least 1 is expected"):
        model.predict(striped_data.validation.images, batch=0)


def test_batches_side_by_side_change_no_bit(exported, striped_data):
    model = load_model(exported[1])
    images = striped_data.validation.images
    assert np.array_equal(model.predict(images, side_by_side=3), exported[0].validation_probabilities)
    many = np.concatenate([images] * 10)
    one_after_another = model.predict(many, batch=7)
    assert np.array_equal(model.predict(many, batch=7, side_by_side=3), one_after_another)


def test_a_model_is_traced_once_for_all_its_predictions(exported, striped_data):
    model = load_model(exported[1])
    start = time.process_time()  # of one thread, whatever else the machine does
    model.warm_up()
    first = time.process_time() - start
    start = time.process_time()
    for _ in range(5):
        model.predict(striped_data.validation.images[:1])
    assert (time.process_time() - start) / 5 < first / 3


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
    changed = json.loads(text) | {"digest": None}
    changed["weights_digest"] = f"0{changed['weights_digest']}"
    description.write_text(json.dumps(changed))
    with pytest.raises(ModelError, match=r"its weights have digest .* model\.json says 0.*keep the two files"):
        load_model(copied)
    description.write_text("{}")
    with pytest.raises(ModelError, match=r"model\.json: format: expected 1, found nothing; export the model again"):
        load_model(copied)
    description.write_text(json.dumps(json.loads(text) | {"shape": ["64", 128, 1]}))
    with pytest.raises(ModelError, match=r'model\.json: shape\[0\]: expected int, found "64"; export the model again'):
        load_model(copied)
    description.write_text(json.dumps(json.loads(text) | {"class_names": 3}))
    with pytest.raises(ModelError, match=r"model\.json: class_names: expected array, found 3; export"):
        load_model(copied)
    description.write_text("{")
    with pytest.raises(ModelError, match=r"model\.json: not JSON \("):
        load_model(copied)
    description.unlink()
    with pytest.raises(ModelError, match=r"model\.json: missing, so the classes have no names"):
        load_model(copied)
    description.write_text(text)
    copied.write_bytes(copied.read_bytes()[:1000])
    with pytest.raises(ModelError, match=r"model\.keras: cannot be read as a Keras model"):
        load_model(copied)


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": ["right", "middle", "left"]},
        {"data_digest": "another"},
        {"weights_digest": "another"},
        {"architecture_digest": None},
    ],
)
def test_whatever_is_changed_in_a_description_is_noticed(copied, change):
    description = copied.with_suffix(".json")
    record = json.loads(description.read_text())
    assert load_model(copied).digest == record["digest"]
    description.write_text(json.dumps(record | change))
    with pytest.raises(ModelError, match=r"model\.json: its digest does not fit what it says: it was changed; restore"):
        load_model(copied)


def rewritten(model, change):
    """Replace config.json of a `.keras` file."""
    with zipfile.ZipFile(model) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    members["config.json"] = change(members["config.json"])
    with zipfile.ZipFile(model, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(b"softmax", b"sigmoid"),
        lambda text: text.replace(b'"epsilon": 0.001', b'"epsilon": 0.01'),
        lambda text: text.replace(b'"units": 16', b'"units": 1600000000'),
        lambda text: b"[" * 100_000,
        lambda text: b"{}",
    ],
    ids=["sigmoid", "epsilon", "huge", "deep", "empty"],
)
def test_another_architecture_is_noticed_before_a_network_is_made_of_it(copied, change):
    before = copied.read_bytes()
    rewritten(copied, change)
    if copied.read_bytes() == before:
        pytest.skip("this variant has no such setting")
    with pytest.raises(
        ModelError, match=r"its layers have digest .*, model\.json says .*keep the two files of one export"
    ):
        load_model(copied)


def test_a_model_that_would_burst_is_refused_before_it_takes_memory(copied):
    with (
        zipfile.ZipFile(copied, "a", zipfile.ZIP_DEFLATED) as archive,
        archive.open("more", "w", force_zip64=True) as more,
    ):
        for _ in range(600):
            more.write(bytes(10**6))
    with pytest.raises(
        ModelError, match=r"cannot be read as a Keras model \(it holds 6\d\d MB in .* MB\); export it again"
    ):
        load_model(copied)


def test_a_model_without_a_digest_of_its_layers_still_has_to_fit_its_description(copied):
    description = copied.with_suffix(".json")
    record = json.loads(description.read_text()) | {"digest": None, "architecture_digest": None}
    description.write_text(json.dumps(record))
    assert load_model(copied).digest is None
    description.write_text(json.dumps(record | {"class_names": ["a", "b"]}))
    with pytest.raises(ModelError, match=r"gives \(None, 3\), model\.json describes .* and 2 classes; keep the two"):
        load_model(copied)
    for names in (["a"], ["a", "a", "b"], ["a", "b", "\x1b"]):
        description.write_text(json.dumps(record | {"class_names": names}))
        with pytest.raises(ModelError, match=r"class_names: two or more are expected, each different; export"):
            load_model(copied)
    description.write_text(json.dumps(record | {"shape": [1, 2**30, 1]}))
    with pytest.raises(ModelError, match=r"shape: three positive numbers of 16777216 pixels at most are expected"):
        load_model(copied)
    description.write_text(json.dumps(record))
    rewritten(copied, lambda text: b"[" * 100_000)
    with pytest.raises(ModelError, match=r"model\.keras: cannot be read as a Keras model \(.*\); export it again"):
        load_model(copied)


def test_other_ending_is_refused(exported, tmp_path):
    with pytest.raises(ModelError, match=r"model\.h5: a model's file name ends in \.keras"):
        export_model(exported[0].best, tmp_path / "model.h5")
