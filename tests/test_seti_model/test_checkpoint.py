import dataclasses
import json
import resource
import shutil
import subprocess
import sys

import numpy as np
import pytest

from seti_model.errors import CheckpointError, DamagedCheckpointError
from seti_model.training.arrays import read_arrays, write_arrays
from seti_model.training.checkpoint import (
    Identity,
    _digest_of,
    load_best,
    load_checkpoint,
)
from seti_model.training.train import Checkpoints, train


@pytest.fixture(scope="module")
def trained(configure, striped_data, tmp_path_factory):
    """A configuration, its result, and the folder of the checkpoints of all its epochs."""
    folder = tmp_path_factory.mktemp("checkpoints")
    configuration = configure(training__epochs=4)
    result = train(configuration, striped_data, seed=5, checkpoints=Checkpoints(folder, keep=9))
    return configuration, result, folder


@pytest.fixture
def copied(trained, tmp_path):
    """A copy of the newest checkpoint that may be damaged."""
    return shutil.copytree(trained[2] / "0004", tmp_path / "0004")


def identity_of(trained):
    return Identity(trained[0].to_mapping(), 5, "d" * 64, 1)


def test_checkpoint_reports_its_path_size_and_digest(trained):
    _, result, folder = trained
    info = result.history[1].checkpoint
    assert info.path == folder / "0002"
    assert info.bytes == sum(file.stat().st_size for file in info.path.iterdir())
    assert json.loads((info.path / "training.json").read_text())["digest"] == info.digest
    assert info.seconds > 0


def test_only_the_newest_are_kept_and_older_ones_go_after_the_report(configure, striped_data, tmp_path):
    seen = []

    def look(epoch):
        seen.append(sorted(path.name for path in tmp_path.iterdir()))

    train(configure(training__epochs=4), striped_data, seed=1, on_epoch=look, checkpoints=Checkpoints(tmp_path))
    assert seen == [["0001"], ["0001", "0002"], ["0002", "0003"], ["0003", "0004"]]
    assert [path.name for path in tmp_path.iterdir()] == ["0004"]


def test_best_weights_are_linked_while_the_best_epoch_stays(trained):
    _, result, folder = trained
    for earlier, later in zip(result.history, result.history[1:], strict=False):
        files = [folder / f"{epoch.epoch:04d}" / "best_weights.npz" for epoch in (earlier, later)]
        assert files[0].samefile(files[1]) == (not later.is_best)


def test_best_network_survives_without_the_state_needed_to_continue(trained, copied):
    _, result, _ = trained
    (copied / "state.npz").unlink()
    best = load_best(copied)
    assert (best.digest, best.class_names, best.shape) == (result.best.digest, ("left", "middle", "right"), (16, 16, 1))
    assert all(np.array_equal(best.weights[name], array) for name, array in result.best.weights.items())


def test_finished_training_is_prolonged_as_if_more_epochs_had_been_asked_for(configure, striped_data, trained):
    _, _, folder = trained
    longer = configure(training__epochs=6)
    prolonged = train(longer, striped_data, seed=5, resume_from=folder / "0004")
    straight = train(longer, striped_data, seed=5)
    assert prolonged.last_weights_digest == straight.last_weights_digest
    assert prolonged.best.digest == straight.best.digest
    assert prolonged.best.configuration == longer


def test_continuing_a_complete_training_returns_its_result(trained, striped_data):
    configuration, result, folder = trained
    again = train(configuration, striped_data, seed=5, resume_from=folder / "0004")
    assert again.best.digest == result.best.digest
    assert np.array_equal(again.validation_probabilities, result.validation_probabilities)
    assert len(again.history) == 4


def test_attempt_that_continues_elsewhere_writes_its_own_folder(trained, striped_data, tmp_path):
    configuration, result, folder = trained
    continued = train(
        configuration, striped_data, seed=5, resume_from=folder / "0002", checkpoints=Checkpoints(tmp_path / "second")
    )
    assert [path.name for path in (tmp_path / "second").iterdir()] == ["0004"]
    assert continued.last_weights_digest == result.last_weights_digest
    assert len(list(folder.iterdir())) == 4


@pytest.mark.parametrize("name", ["state.npz", "best_weights.npz", "best_probabilities.npz", "training.json"])
@pytest.mark.parametrize("damage", ["cut short", "one bit", "missing"])
def test_damaged_file_is_named(trained, copied, name, damage):
    file = copied / name
    content = bytearray(file.read_bytes())
    if damage == "cut short":
        file.unlink()
        file.write_bytes(content[: len(content) // 2])
    elif damage == "one bit":
        content[len(content) // 2] ^= 1
        file.unlink()
        file.write_bytes(content)
    else:
        file.unlink()
    with pytest.raises(CheckpointError, match=rf"{name}: (damaged|missing)|0004: no checkpoint there; give the folder"):
        load_checkpoint(copied, identity_of(trained))


def test_checkpoint_of_another_training_is_refused_by_what_differs(configure, striped_data, trained):
    configuration, _, folder = trained
    other = configure(training__epochs=4, network__filters_1=5)
    with pytest.raises(CheckpointError, match=r"made with network\.filters_1=4, this training has 5; continue with"):
        train(other, striped_data, seed=5, resume_from=folder / "0002")
    with pytest.raises(CheckpointError, match="made with seed=5, this training has 6"):
        train(configuration, striped_data, seed=6, resume_from=folder / "0002")
    data = dataclasses.replace(striped_data, digest="e" * 64)
    with pytest.raises(CheckpointError, match=r"made with data_digest='ddd.*this training has 'eee"):
        train(configuration, data, seed=5, resume_from=folder / "0002")
    with pytest.raises(CheckpointError, match=r"holds 4 epochs, training\.epochs=3; ask for at least as many"):
        train(configure(training__epochs=3), striped_data, seed=5, resume_from=folder / "0004")


def test_number_that_no_float_holds_is_damage(trained, copied):
    file = copied / "training.json"
    text = file.read_text()
    file.unlink()
    file.write_text(text.replace('"format": 1', '"format": 1e999'))
    with pytest.raises(DamagedCheckpointError, match=r"training.json: damaged \(Out of range float values"):
        load_checkpoint(copied, identity_of(trained))


def test_a_checkpoint_from_before_there_was_a_choice_of_optimiser_goes_on_with_adam(trained, striped_data, tmp_path):
    configuration, result, folder = trained
    earlier = shutil.copytree(folder / "0002", tmp_path / "0002")
    record = json.loads((earlier / "training.json").read_text())
    del record["digest"], record["identity"]["configuration"]["training.optimizer"]
    del record["identity"]["configuration"]["augment.rotate"]
    (earlier / "training.json").write_text(json.dumps(record | {"digest": _digest_of(record)}))
    again = train(configuration, striped_data, seed=5, resume_from=earlier)
    assert len(again.history) == 4
    assert again.last_weights_digest == result.last_weights_digest


def test_thread_count_belongs_to_the_checkpoint(trained, copied):
    record = json.loads((copied / "training.json").read_text())
    del record["digest"]
    record["identity"]["threads"] = 4
    (copied / "training.json").write_text(json.dumps(record | {"digest": _digest_of(record)}))
    with pytest.raises(CheckpointError, match="made with threads=4, this training has 1"):
        load_checkpoint(copied, identity_of(trained))


def test_half_written_folder_of_a_killed_process_is_no_checkpoint(trained, striped_data, tmp_path):
    (tmp_path / ".writing-0123456789abcdef-0002").mkdir()
    (tmp_path / ".writing-0123456789abcdef-0002" / "state.npz").write_bytes(b"half")
    (tmp_path / "0003").mkdir()
    with pytest.raises(DamagedCheckpointError, match=r"0003: no checkpoint there; give the folder of an epoch"):
        load_best(tmp_path / "0003")
    train(trained[0], striped_data, seed=5, checkpoints=Checkpoints(tmp_path, keep=9))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0001", "0002", "0003", "0004"]


def test_keeping_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="keep=0: at least one checkpoint must be kept"):
        Checkpoints(tmp_path, keep=0)


def test_folder_that_is_a_file_is_one_clear_error(trained, striped_data, tmp_path):
    (tmp_path / "taken").write_text("")
    with pytest.raises(CheckpointError, match=r"taken/0001: cannot be written \(File exists\)"):
        train(trained[0], striped_data, seed=5, checkpoints=Checkpoints(tmp_path / "taken"))


def test_pickled_content_is_never_read(tmp_path):
    np.savez(tmp_path / "evil.npz", a=np.array([{"not": "an array"}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(tmp_path / "evil.npz")


def test_arrays_come_back_with_the_digest_they_were_written_with(tmp_path):
    arrays = {"b/x": np.arange(6.0).reshape(2, 3), "a": np.array(7), "empty": np.empty((0, 4), np.float32)}
    digest = write_arrays(tmp_path / "a.npz", arrays.items())
    found, again = read_arrays(tmp_path / "a.npz")
    assert (list(found), again) == (list(arrays), digest)
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_full_disk_is_one_clear_error_and_leaves_what_was_there(tmp_path):
    """A file size limit of the process stands for the full disk: writing fails in the middle of a file."""
    code = f"""
import resource, signal, errno
from pathlib import Path
import numpy as np
from seti_model.training import arrays
from seti_model.errors import CheckpointError, DamagedCheckpointError
from seti_model.training.checkpoint import Identity, TrainingState, save_checkpoint
from seti_model.config import Configuration
from seti_model.training.outcome import EpochResult, TrainedNetwork
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
best = TrainedNetwork(Configuration(), (4, 4, 1), ("a", "b"), "d", 0.0, 1.0, {{"w": np.zeros(10)}}, "x")
numbers = dict.fromkeys(EpochResult.__dataclass_fields__, 1) | {{"checkpoint": None}}
state = TrainingState((EpochResult(**numbers),), best, np.zeros((2, 2), np.float32), {{}})
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    save_checkpoint(Path({str(tmp_path)!r}), Identity({{}}, 1, "d", 1), state, [("w", np.zeros(1_000_000))])
except CheckpointError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "0001: cannot be written (File too large); free some space or check the folder, and continue" in done.stdout
    assert list(tmp_path.iterdir()) == []
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 100_000
