"""Radio galaxies from an archive to finals: both published networks, no object in two splits."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from bench import run_here
from made_galaxies import CLASSES, SIZE, galaxies

from results.findings import Findings
from results.log.recorder import Recorder
from results.log.records import StudyStarted, TrialStarted
from results.log.state import load_run
from results.run_folder import MODEL
from results.study import Provenance
from seti_model.data.dataset import Dataset
from seti_model.pretrained import FILTERS
from tune.cli.main import main
from tune.errors import StudyError
from tune.finals import conclude_finals
from tune.resume import check_continuation
from tune.study import load_study

SMALL = """
[study]
space = "radio_galaxies"
trials = 2
max_epochs = 5
objective = "balanced_accuracy"
[data]
path = "data"
[asha]
exempt_fraction = 1.0
[finals]
finalists = 2
max_finalists = 2
seeds = 1
[baseline]
"network.family" = "alhassan"
"prepare.steps" = "cut_noise,scale"
"alhassan.filters_3" = 64
"alhassan.dense_units" = 64
"training.optimizer" = "rmsprop"
"training.learning_rate" = 0.001
"training.clip_norm" = 1.0
"training.batch_size" = 16
"augment.rotate" = 180.0
[[start]]
"network.family" = "aniyan"
"aniyan.dense_units" = 256
[fixed]
"training.decay_rate" = 1.0
"alhassan.filters_1" = 8
"alhassan.filters_2" = 8
"aniyan.filters_1" = 8
"aniyan.filters_2" = 8
"aniyan.filters_3" = 8
"aniyan.filters_4" = 8
"aniyan.filters_5" = 8
"crop.n_time" = 67
"crop.n_freq" = 67
"""


def require_whole_groups(data: Dataset) -> None:
    """Assert that no object is in two splits."""
    objects = [set(np.asarray(data.unlocked().split(name).groups).tolist()) for name in ("train", "validation", "test")]
    assert all(objects)
    assert not any(one & other for one, other in itertools.combinations(objects, 2))


def test_both_networks_go_through_a_search_with_finals_on_made_galaxies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, labels = galaxies(120, 1)
    twice = np.concatenate([images, images[:20, ::-1]])  # some objects in a second catalogue
    np.savez(
        tmp_path / "made.npz",
        x=twice,
        y=np.concatenate([labels, labels[:20]]),
        class_names=np.array(CLASSES),
        groups=np.concatenate([np.arange(120), np.arange(20)]),
    )
    monkeypatch.chdir(tmp_path)
    assert main(["data", "import", "data", "--npz", "made.npz", "--fractions", "0.5,0.25,0.25"]) == 0
    data = Dataset.open(tmp_path / "data")
    require_whole_groups(data)
    assert data.image_shape == (SIZE, SIZE, 1)
    (tmp_path / "galaxies.toml").write_text(SMALL)
    study, run = load_study(tmp_path / "galaxies.toml"), tmp_path / "run"
    run_here(study, run)
    with Recorder(run) as recorder:
        conclude_finals(study, recorder)
    found = Findings.read(run)
    families = [trial.started.configuration["network.family"] for trial in found.state.search_trials()]
    assert families == ["alhassan", "aniyan"]
    assert len(found.standings) == 2
    assert found.tested[0].objective.value > 0.7, "made galaxies are easy"
    assert (run / MODEL).exists()


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Callable[[list[str]], str]:
    """Return a function: arguments -> the one line on standard error of a command that ends with exit code 2."""

    def run(arguments: list[str]) -> str:
        assert main(arguments) == 2
        [said] = capsys.readouterr().err.splitlines()
        return said

    return run


VGG16 = """
[study]
space = "rate.toml"
trials = 1
max_epochs = 1
[data]
path = "data"
[fixed]
"network.family" = "vgg16"
"training.frozen_blocks" = 4
"""
RATE = """
name = "rate"
description = "One number."
[parameters."training.learning_rate"]
type = "float"
low = 0.001
high = 0.01
reason = "The only one."
"""


def test_weights_that_are_none_are_one_line_wherever_they_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: Callable[[list[str]], str]
) -> None:
    monkeypatch.chdir(tmp_path)
    images, labels = galaxies(30, 1)
    np.savez("made.npz", x=images, y=labels, class_names=np.array(CLASSES))
    assert main(["data", "import", "data", "--npz", "made.npz", "--fractions", "0.5,0.25,0.25"]) == 0
    (tmp_path / "rate.toml").write_text(RATE)
    study = tmp_path / "vgg16.toml"
    study.write_text(VGG16)
    assert "'training.frozen_blocks' keeps blocks as an earlier model has them; name one with" in line(
        ["search", "vgg16.toml"]
    )
    study.write_text(VGG16 + '"vgg16.weights" = "weights.h5"\n')
    missing = f"vgg16.weights: {tmp_path / 'weights.h5'} cannot be read (No such file or directory); name Keras's file"
    assert missing in line(["search", "vgg16.toml"])
    settings = ["--set", "network.family=vgg16", "--set", "vgg16.weights=weights.h5"]
    assert missing in line(["train", "--data", "data", "--out", "out", *settings])
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(200))
    assert "cannot be read (" in line(["train", "--data", "data", "--out", "out", *settings])
    assert not (tmp_path / "out").exists()
    study.write_text(VGG16 + '"vgg16.source" = "0"\n')
    assert "[fixed] 'vgg16.source' is set by the file itself; remove it" in line(["search", "vgg16.toml"])


def test_blocks_are_kept_only_by_trials_that_have_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file of weights gives values to the blocks of VGG16 alone."""
    write_weights(tmp_path / "weights.h5")
    family = '[parameters."network.family"]\ntype = "categorical"\nchoices = ["course", "vgg16"]\nreason = "r"\n'
    (tmp_path / "rate.toml").write_text(RATE)
    (tmp_path / "both.toml").write_text(RATE.replace('"rate"', '"both"') + family)
    named = VGG16 + '"vgg16.weights" = "weights.h5"\n'
    (tmp_path / "one-study.toml").write_text(named)
    study = load_study(tmp_path / "one-study.toml")
    configuration = study.configuration({})
    assert configuration["vgg16.weights"] == str(tmp_path / "weights.h5")
    assert configuration["vgg16.source"] == hashlib.sha256((tmp_path / "weights.h5").read_bytes()).hexdigest()
    several = named.replace("rate.toml", "both.toml").replace('"network.family" = "vgg16"\n', "").replace("= 4", "= 2")
    (tmp_path / "both-study.toml").write_text(several)
    with pytest.raises(StudyError, match=r"frozen_blocks keeps blocks that nothing has given values; .* `when`"):
        load_study(tmp_path / "both-study.toml")


def test_a_search_goes_on_with_the_weights_that_it_began_with_alone(tmp_path: Path) -> None:
    write_weights(tmp_path / "weights.h5")
    (tmp_path / "rate.toml").write_text(RATE)
    (tmp_path / "vgg16.toml").write_text(VGG16 + '"vgg16.weights" = "weights.h5"\n')
    study, run = load_study(tmp_path / "vgg16.toml"), tmp_path / "run"
    events = [
        StudyStarted(study=study.record(), space=study.space.to_mapping(), data_digest=None, provenance=Provenance()),
        TrialStarted(trial=0, parameters={}, configuration=study.configuration({}), seed=1, max_epochs=1),
    ]
    with Recorder(run) as recorder:
        recorder.write(*events)
    check_continuation(study, load_run(run), run)
    write_weights(tmp_path / "weights.h5", seed=2)
    with pytest.raises(
        StudyError, match=r"run: trial 0 began with another file of .*weights\.h5; restore it, or choose"
    ):
        check_continuation(study, load_run(run), run)


def write_weights(path: Path, seed: int = 1) -> None:
    """Write a file as Keras's, of drawn numbers."""
    rng, channels = np.random.default_rng(seed), 3
    with h5py.File(path, "w") as file:
        for block, (filters, convolutions) in enumerate(FILTERS, start=1):
            for number in range(1, convolutions + 1):
                name = f"block{block}_conv{number}"
                group = file.create_group(name)
                group[f"{name}_W_1:0"] = rng.random((3, 3, channels, filters), np.float32)
                group[f"{name}_b_1:0"] = np.zeros(filters, np.float32)
                channels = filters


REAL = """
[study]
space = "one.toml"
trials = 3
max_epochs = {epochs}
objective = "balanced_accuracy"
seed = 1
[data]
path = "data"
[asha]
grace_epochs = 6
[finals]
finalists = 1
max_finalists = 1
seeds = 1
[resources]
max_concurrent = 1
[baseline]
"training.learning_rate" = 0.0003
[fixed]
"network.family" = "{family}"
"prepare.steps" = "cut_noise,crop,scale"
"crop.n_time" = 96
"crop.n_freq" = 96
"augment.rotate" = 180.0
"augment.flip_time" = true
"training.optimizer" = "rmsprop"
"training.decay_rate" = 1.0
"training.clip_norm" = 1.0
"training.batch_size" = 16
"training.class_weights" = "balanced"
"""
ONE = """
name = "one"
description = "Rate and dropout of one network."
[parameters."training.learning_rate"]
type = "float"
low = 0.0002
high = 0.0006
log = true
reason = "Around what learns within these few epochs."
[parameters."{family}.dropout"]
type = "float"
low = 0.3
high = 0.5
step = 0.1
reason = "Up to the published share."
"""


def with_objects(real: Path, out: Path) -> None:
    """Write the genuine galaxies with the name of their object; of equal images one, unless they are blank."""
    with np.load(real / "frdeep_first_600x150x150.npz") as content:
        x, y, files = content["x"], content["y"], content["source_file"]
    names, first = [], dict[bytes, str]()
    for image, label, file in zip(x, y, files.tolist(), strict=True):
        number = re.match(r"\d+", file)
        assert number, file
        name = f"{'FRICAT' if 'FRICAT' in file else ('CoNFIG', 'FRII')[label]} {number[0]}"
        names.append(first.setdefault(image.tobytes(), name) if image.any() else name)
    np.savez(out, x=x, y=y, class_names=np.array(CLASSES), groups=np.array(names))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "epochs", "sizes"),
    [
        ("alhassan", 16, '"alhassan.filters_3" = 64\n"alhassan.dense_units" = 64\n'),
        ("aniyan", 10, '"aniyan.dense_units" = 256\n'),
    ],
)
def test_a_network_tells_genuine_galaxies_apart(
    family: str, epochs: int, sizes: str, real_data: Path, tmp_path: Path
) -> None:
    """The lower end of the test interval of the balanced accuracy lies above a half: better than guessing."""
    with_objects(real_data, tmp_path / "first.npz")
    (tmp_path / "one.toml").write_text(ONE.format(family=family))
    (tmp_path / "galaxies.toml").write_text(REAL.format(family=family, epochs=epochs) + sizes)
    for command in (
        ["data", "import", "data", "--npz", "first.npz", "--fractions", "0.6,0.15,0.25"],
        ["search", "galaxies.toml", "--run", "run"],
    ):
        started = [sys.executable, "-m", "tune.cli.main", *command]
        done = subprocess.run(started, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    require_whole_groups(Dataset.open(tmp_path / "data"))
    found = Findings.read(tmp_path / "run")
    objective = found.tested[0].objective
    tested = {"family": family, "value": objective.value, "low": objective.low, "high": objective.high}
    print(json.dumps(tested | {"images": found.tested[0].metrics.n}))
    assert objective.low > 0.5
