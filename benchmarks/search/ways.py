"""The ways to search, each a process of its own; and what the winner of one is worth, judged in another process."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np

from benchmarks.search.record import Reported
from benchmarks.search.setting import BENCHMARKS, DATA, FULL_SPACE, SETTINGS, Setting, first_parameters, test_images
from benchmarks.search.stock import FAMILY, PARAMETERS, WINNER, WINNER_MODEL, noted, prepared
from search_spaces.parameters import Value

STUDY = """[study]
space = {space}
trials = {setting.trials}
max_epochs = {setting.max_epochs}
seed = {seed}
[search]
sampler = "{way.sampler}"
[data]
path = {data}
[asha]
grace_epochs = {setting.grace_epochs}
reduction_factor = {setting.reduction_factor}
{stopping}
[resources]
max_concurrent = {setting.workers}
[finals]
enabled = false
[fixed]
{fixed}
[baseline]
{baseline}
"""
STOCK_MOMENTUM = 0.99  # Keras's default
NEVER_STOPPED = "exempt_fraction = 1.0"
RUN = "run"


@dataclass(frozen=True)
class Way:
    """How to search; ours where there is no module of stock software."""

    name: str
    title: str
    module: str = ""
    momentum: float = STOCK_MOMENTUM  # of batch normalisation in the course's network
    sampler: str = "tpe"
    stops: bool = True
    is_full_space: bool = False

    @property
    def is_of_families(self) -> bool:
        """Whether it has a sense where the graphs of families are searched, which say their own momentum."""
        return not self.is_full_space and self.momentum == STOCK_MOMENTUM

    def command(self, folder: Path, setting: Setting, seed: int) -> list[str]:
        """Return what searches in a folder that lies beside the data; a study file is written for ours."""
        if self.module:
            words = [self.module, str(folder), setting.name, str(seed), str(self.momentum)]
            return [sys.executable, "-m", *words]
        study = STUDY.format(
            way=self,
            setting=setting,
            seed=seed,
            space=json.dumps(FULL_SPACE if self.is_full_space else str(BENCHMARKS / setting.space_file)),
            fixed=_lines(setting.fixed),
            baseline="" if self.is_full_space else _lines(first_parameters(setting)),
            data=json.dumps(str(folder.parent.absolute() / DATA)),
            stopping="" if self.stops else NEVER_STOPPED,
        )
        (folder / "study.toml").write_text(study)
        words = ["search", str(folder / "study.toml"), "--run", str(folder / RUN)]
        return [sys.executable, "-m", "tune.cli.main", *words]

    def reported(self, folder: Path) -> list[Reported]:
        """Return the epochs that it reported, in the order of time."""
        return sorted(noted(folder) if self.module else _of_log(folder / RUN), key=lambda epoch: epoch.at)


def _lines(values: Mapping[str, Value]) -> str:
    """Return a section of TOML."""
    return "\n".join(f"{json.dumps(name)} = {json.dumps(value)}" for name, value in values.items())


OURS, RANDOM = "ours", "random"
_RAY, _OPTUNA = "benchmarks.search.stock_ray", "benchmarks.search.stock_optuna"
WAYS = {
    one.name: one
    for one in (
        Way(OURS, "seti-tune"),
        Way("ray", "Ray Tune, OptunaSearch, ASHA, Keras", _RAY),
        Way("ray-0.9", "Ray Tune, batch normalisation at momentum 0.9", _RAY, momentum=0.9),
        Way("optuna", "Optuna, Hyperband, Keras, two processes", _OPTUNA),
        Way("optuna-0.9", "Optuna, batch normalisation at momentum 0.9", _OPTUNA, momentum=0.9),
        Way(RANDOM, "random search with our trainer, nothing stopped", sampler="random", stops=False),
        Way("ours-full", "seti-tune, space with preparation and families", is_full_space=True),
    )
}


def _of_log(run: Path) -> list[Reported]:
    from results.run import Run

    return [
        Reported(
            trial.number,
            epoch.epoch,
            epoch.validation_accuracy,
            datetime.fromisoformat(str(epoch.time)).timestamp(),
            dict(trial.parameters),
        )
        for trial in Run.read(run).trials
        for epoch in trial.epochs
        if epoch.validation_accuracy is not None
    ]


def judge(folder: Path, way: Way, setting: Setting) -> dict[str, float]:
    """Return trial, validation and test accuracy of what a way delivers; sets up TensorFlow in this process."""
    images, labels = test_images(folder.parent)
    if way.module:
        import keras

        model = keras.models.load_model(folder / WINNER_MODEL, compile=False)
        said = json.loads((folder / WINNER).read_text())
        given = prepared({"test_images": images}, setting)[said.pop(PARAMETERS).get(FAMILY, "")]
        predicted = model.predict(given["test_images"], verbose=0)
    else:
        predicted, said = _of_ours(folder / RUN, images)
    return said | {"test_accuracy": float(np.mean(predicted.argmax(axis=1) == labels))}


def _of_ours(run: Path, images: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Return what the best trial's network says, from its checkpoint, and which trial that is."""
    from results.log.state import load_run
    from seti_model.runtime import prepare_process
    from tune.storage.checkpoints import Checkpoints

    prepare_process(1)
    from seti_model.exported import as_model
    from seti_model.training.checkpoint import load_best

    state = load_run(run)
    [best] = state.ranked(1)
    network = load_best(Checkpoints(run).here(best.checkpoint.path))
    said = {"trial": best.started.trial, "validation_accuracy": best.best.validation_accuracy}
    return as_model(network).predict(images), said


if __name__ == "__main__":
    print(json.dumps(judge(Path(sys.argv[1]), WAYS[sys.argv[2]], SETTINGS[sys.argv[3]])))
