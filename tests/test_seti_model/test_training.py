"""The promise of `train`: a bit-for-bit function of configuration, seed, data and thread count."""

import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seti_model.data.dataset import Split, TrainingData
from seti_model.errors import ConfigError
from seti_model.training.arrays import read_arrays, write_arrays
from seti_model.training.checkpoint import _digest_of
from seti_model.training.outcome import Diverged
from seti_model.training.train import Checkpoints, train
from seti_model.training.trainer import Session, pixel_scale

VARIANTS = {
    "as the course": {},
    "everything on": {
        "network__standardise": True,
        "augment__flip_time": True,
        "augment__shift_frequency": 2,
        "augment__noise": 0.05,
    },
    "bfloat16": {"training__precision": "mixed_bfloat16", "augment__noise": 0.05},
    "odd batches, moving averages": {"training__batch_size": 7, "training__recalibration_batches": 0},
    "one image left over": {"training__batch_size": 49, "training__recalibration_batches": 5},
}
TIMES = ("seconds", "train_seconds", "recalibration_seconds", "validation_seconds", "build_seconds", "images_per_s")


def outcome(result):
    """All of a result but times and memory."""
    rows = [row.to_mapping() for row in result.history]
    for row in rows:
        for name in (*TIMES, "resident_mb"):
            del row[name]
    return rows, result.best.digest, result.best_epoch, result.validation_probabilities.tobytes()


@pytest.fixture(scope="module", params=VARIANTS.values(), ids=VARIANTS.keys())
def straight(request, configure, striped_data, tmp_path_factory):
    """A configuration, its result without interruption, and the checkpoints of all three epochs."""
    configuration, folder = configure(**request.param), tmp_path_factory.mktemp("straight")
    result = train(configuration, striped_data, seed=5, checkpoints=Checkpoints(folder, keep=9))
    return configuration, result, folder


def test_again_after_something_else_is_the_same_to_the_last_bit(straight, configure, striped_data):
    configuration, first, _ = straight
    train(configure(network__filters_1=7, network__blocks=1, training__epochs=1), striped_data, seed=6)
    assert outcome(train(configuration, striped_data, seed=5)) == outcome(first)


def test_continued_at_every_epoch_is_the_same_as_straight_through(straight, striped_data):
    configuration, first, folder = straight
    for epoch in range(1, 4):
        continued = train(configuration, striped_data, seed=5, resume_from=folder / f"{epoch:04d}")
        assert outcome(continued) == outcome(first)


def test_another_seed_gives_other_weights(configure, striped_data):
    digests = {train(configure(), striped_data, seed=seed).last_weights_digest for seed in (4, 5, 4)}
    assert len(digests) == 2


IN_A_FRESH_PROCESS = """
import json, sys
from pathlib import Path
import numpy as np
from seti_model.runtime import prepare_process
prepare_process(1)
from seti_model.config import Configuration
from seti_model.data.dataset import Split, TrainingData
from seti_model.training.train import train
arrays = np.load(sys.argv[1])
splits = Split(arrays["a"], arrays["b"]), Split(arrays["c"], arrays["d"])
data = TrainingData(*splits, ("left", "middle", "right"), "d" * 64)
digests = []
for values in json.loads(sys.argv[2]):
    result = train(Configuration.from_mapping(values), data, seed=5)
    digests.append([result.last_weights_digest, result.best_weights_digest])
print(json.dumps(digests))
"""


def test_fresh_process_gives_the_weights_of_this_warm_one(configure, striped_data, tmp_path):
    configurations = [configure(**changes) for changes in VARIANTS.values()]
    here = [train(configuration, striped_data, seed=5) for configuration in configurations]
    train_split, validation = striped_data.train, striped_data.validation
    file = tmp_path / "data.npz"
    np.savez(file, a=train_split.images, b=train_split.labels, c=validation.images, d=validation.labels)
    there = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS, file, json.dumps([c.to_mapping() for c in configurations])],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=os.environ | {"PYTHONHASHSEED": "7"},
    )
    assert json.loads(there.stdout) == [[one.last_weights_digest, one.best_weights_digest] for one in here]


def test_network_learns_the_stripes_and_keeps_the_first_best_epoch(configure, striped_data):
    result = train(configure(training__epochs=25, training__decay_rate=1.0), striped_data, seed=1)
    accuracies = [epoch.validation_accuracy for epoch in result.history]
    assert result.best_validation_accuracy == max(accuracies) > 0.9
    assert result.best_epoch == accuracies.index(max(accuracies)) + 1
    assert result.history[-1].train_loss < 0.5 * result.history[0].train_loss
    assert [epoch.epoch for epoch in result.history if epoch.is_best][-1] == result.best_epoch
    assert not result.stopped


def test_history_says_what_was_measured(configure, striped_data):
    result = train(configure(), striped_data, seed=1)
    first, *_, last = result.history
    assert [epoch.epoch for epoch in result.history] == [1, 2, 3]
    # 50 images in batches of 16 are 4 batches an epoch; the rate falls every 5 batches.
    assert first.learning_rate == pytest.approx(0.005)
    assert last.learning_rate == pytest.approx(0.005 * 0.96**2)
    assert first.build_seconds > 0
    assert last.build_seconds == 0
    assert last.images_per_s == pytest.approx(50 / last.train_seconds)
    assert last.seconds >= last.train_seconds + last.recalibration_seconds + last.validation_seconds
    assert last.resident_mb > 100
    assert last.model_parameters == 1969  # by hand: 40+16 + 222+24 + 4*4*6*16+16+64 + 51
    predicted = result.validation_probabilities.argmax(axis=1)
    assert np.mean(predicted == striped_data.validation.labels) == result.best_validation_accuracy
    assert result.validation_probabilities.dtype == np.float32
    json.dumps([epoch.to_mapping() for epoch in result.history], allow_nan=False)


def test_on_epoch_that_says_stop_ends_training_at_once(configure, striped_data):
    seen = []

    def stop_after_two(epoch):
        seen.append(epoch)
        return epoch.epoch == 2

    result = train(configure(training__epochs=50), striped_data, seed=1, on_epoch=stop_after_two)
    assert [epoch.epoch for epoch in seen] == [1, 2]
    assert result.stopped
    assert result.history == tuple(seen)


def test_what_on_epoch_raises_is_passed_on_and_leaves_no_half_checkpoint(configure, striped_data, tmp_path):
    def leave(epoch):
        raise SystemExit(7)

    with pytest.raises(SystemExit, match="7"):
        train(configure(), striped_data, seed=1, on_epoch=leave, checkpoints=Checkpoints(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["0001"]


def _with_infinite_weight(checkpoint):
    """Rewrite a checkpoint so that one weight is infinite and all digests fit."""
    state, _ = read_arrays(checkpoint / "state.npz")
    state["weights/dense/kernel"][0, 0] = np.inf
    (checkpoint / "state.npz").unlink()
    digest = write_arrays(checkpoint / "state.npz", state.items())
    record = json.loads((checkpoint / "training.json").read_text())
    del record["digest"]
    record["files"]["state.npz"] = digest
    (checkpoint / "training.json").write_text(json.dumps(record | {"digest": _digest_of(record)}))
    return checkpoint


def test_loss_that_is_not_finite_is_reported_as_diverged_before_the_epoch_ends(configure, striped_data, tmp_path):
    seen = []
    train(configure(training__epochs=1), striped_data, seed=1, checkpoints=Checkpoints(tmp_path))
    broken = _with_infinite_weight(tmp_path / "0001")
    with pytest.raises(Diverged, match=r"epoch 2, batch 0: the training loss is nan, not a finite number") as caught:
        train(configure(), striped_data, seed=1, resume_from=broken, on_epoch=seen.append)
    assert seen == []
    copy = pickle.loads(pickle.dumps(caught.value))
    assert (copy.epoch, copy.batch, str(copy)) == (2, 0, str(caught.value))


def test_absurd_learning_rate_stays_finite(configure, striped_data):
    """Normalised layers and a loss from logits: what must diverge elsewhere only fails to learn here."""
    result = train(configure(training__learning_rate=1e6), striped_data, seed=1)
    assert result.history[0].train_loss > 1e6


def test_weights_that_broke_in_the_last_batch_are_noticed_in_validation(configure, striped_data):
    session = Session(configure(), striped_data, seed=1)
    moments = session.statistics()
    moments["dense_norm"] = moments["dense_norm"]._replace(mean=np.full(16, np.nan, np.float32))
    with pytest.raises(Diverged, match="epoch 4: the validation loss is nan"):
        session.validate(4, moments)


def test_recomputed_statistics_are_those_of_all_images_pooled(configure, striped_data):
    """By hand for the first layer, whose input does not depend on any other normalisation."""
    session = Session(configure(training__recalibration_batches=3), striped_data, seed=1)
    weights = session.weights()
    import tensorflow as tf

    from seti_model.training.augment import epoch_order

    chosen = epoch_order(50, seed=1, epoch=0)[:48]
    pixels = striped_data.train.images[chosen].astype(np.float32) / 255
    values = tf.nn.conv2d(pixels, weights["block_1_conv/kernel"], 1, "SAME").numpy().astype(np.float64)
    values += weights["block_1_conv/bias"]
    moments = session.statistics()["block_1_norm"]
    np.testing.assert_allclose(moments.mean, values.mean(axis=(0, 1, 2)), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(moments.variance, values.var(axis=(0, 1, 2)), rtol=1e-4)


def test_recalibration_changes_what_is_validated_and_kept_but_not_the_training(configure, striped_data):
    moving, recomputed = (
        train(configure(training__recalibration_batches=count), striped_data, seed=1) for count in (0, 2)
    )
    assert moving.last_weights_digest == recomputed.last_weights_digest
    assert moving.best_weights_digest != recomputed.best_weights_digest
    # Twelve batches move averages of momentum 0.99 by a ninth of the way; the recomputed ones are there.
    assert recomputed.history[-1].validation_loss < moving.history[-1].validation_loss


def test_pixel_scale_is_that_of_all_pixels(striped_data):
    scale, images = pixel_scale(striped_data.train.images), striped_data.train.images / 255
    assert (scale.mean, scale.deviation) == pytest.approx((images.mean(), images.std()), rel=1e-12)


def test_memory_mapped_read_only_images_train_like_images_in_memory(configure, striped_data, tmp_path):
    np.save(tmp_path / "images.npy", striped_data.train.images)
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r")
    data = dataclasses.replace(striped_data, train=Split(mapped, striped_data.train.labels))
    assert outcome(train(configure(), data, seed=1)) == outcome(train(configure(), striped_data, seed=1))


def test_images_smaller_than_the_blocks_need_are_refused_before_training(configure):
    tiny = Split(np.zeros((4, 4, 4, 1), np.uint8), np.zeros(4, np.int8))
    with pytest.raises(ConfigError, match=r"network\.blocks=3 .* at least 8x8 pixels, the data set has 4x4"):
        train(configure(network__blocks=3), TrainingData(tiny, tiny, ("a", "b"), "d" * 64), seed=1)


def test_records_of_a_training_load_neither_keras_nor_tensorflow():
    light = "seti_model.training.outcome, seti_model.training.checkpoint, seti_model.config, seti_model.runtime"
    code = f"import sys, {light}; print(*sys.modules)"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=root)
    assert {"tensorflow", "keras", "ray"}.isdisjoint(done.stdout.split())


def test_checkpoints_take_no_more_of_the_time_than_their_share_but_for_those_asked_for(
    configure, striped_data, tmp_path
):
    written = {}

    def note(epoch):
        written[epoch.epoch] = epoch.checkpoint is not None
        return False

    arguments = {
        "seed": 1,
        "on_epoch": note,
    }
    rare = train(
        configure(training__epochs=6),
        striped_data,
        **arguments,
        checkpoints=Checkpoints(tmp_path, share=0.0, epochs=(3, 99)),
    )
    assert written == {1: True, 2: False, 3: True, 4: False, 5: False, 6: True}
    assert outcome(rare) == outcome(train(configure(training__epochs=6), striped_data, seed=1))
    train(configure(training__epochs=6), striped_data, **arguments, checkpoints=Checkpoints(tmp_path, share=1e9))
    assert all(written.values())


def test_right_validation_images_are_told_with_every_new_best(configure, striped_data):
    result = train(configure(), striped_data, seed=1)
    for epoch in result.history:
        assert (epoch.validation_correct is not None) == epoch.is_best
        if epoch.validation_correct is not None:
            assert np.mean(epoch.validation_correct) == epoch.validation_accuracy
            assert len(epoch.validation_correct) == len(striped_data.validation.labels)
