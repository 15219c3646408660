"""Optuna alone as its documentation shows: `study.optimize` in processes that share a journal file, Hyperband, TPE.

In its favour as for Ray Tune, and the network of a trial's best epoch is kept, not that of the last.
`python -m benchmarks.search.stock_optuna FOLDER SETTING SEED MOMENTUM`; a worker has its number besides.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.search.setting import SETTINGS, Setting, first_parameters
from benchmarks.search.stock import WINNER_MODEL, arrays, distributions, note, write_winner

NAME = "search"


def main(folder: Path, setting: Setting, seed: int, momentum: float) -> None:
    """Search with as many processes as there are workers, and leave the best network in the folder."""
    study = optuna.create_study(study_name=NAME, direction="maximize", storage=_storage(folder))
    study.enqueue_trial(first_parameters())
    command = [sys.executable, "-m", "benchmarks.search.stock_optuna", str(folder), setting.name, str(seed)]
    workers = [subprocess.Popen([*command, str(momentum), str(number)]) for number in range(setting.workers)]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise SystemExit(f"{folder}: workers ended with {codes}; their words are above")
    best = study.best_trial
    shutil.copy(_model(folder, best.number), folder / WINNER_MODEL)
    write_winner(folder, best.number, best.value)


def work(folder: Path, setting: Setting, seed: int, momentum: float) -> None:
    """Take trials until there are enough, those of other processes among them."""
    from benchmarks.search import stock_network

    keras = stock_network.keras
    stock_network.one_thread()
    data, space = arrays(folder.parent), distributions()

    class Prune(keras.callbacks.Callback):
        """Reports each epoch and ends a trial that is told to end."""

        def __init__(self, trial: optuna.Trial) -> None:
            super().__init__()
            self.trial = trial

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            self.trial.report(logs["val_accuracy"], epoch + 1)
            note(folder, self.trial.number, epoch + 1, logs["val_accuracy"])
            if self.trial.should_prune():
                raise optuna.TrialPruned

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        values = {name: suggested(trial, name, one) for name, one in space.items()}
        shape = data["train_images"].shape[1:]
        model = stock_network.build(values, shape, dense_units=setting.dense_units, momentum=momentum)
        keep = keras.callbacks.ModelCheckpoint(
            str(_model(folder, trial.number)), monitor="val_accuracy", mode="max", save_best_only=True
        )
        history = stock_network.fit(model, data, setting.max_epochs, [keep, Prune(trial)])
        return max(history.history["val_accuracy"])

    keras.utils.set_random_seed(seed)
    study = optuna.load_study(
        study_name=NAME,
        storage=_storage(folder),
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=optuna.pruners.HyperbandPruner(
            min_resource=setting.grace_epochs,
            max_resource=setting.max_epochs,
            reduction_factor=setting.reduction_factor,
        ),
    )
    # All trials count, those that run elsewhere too, so that there are never more than were asked for.
    study.optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(setting.trials, states=None)])


def suggested(trial: optuna.Trial, name: str, one: Any) -> float:
    """Return a value of a float or a whole number of the space."""
    if isinstance(one, optuna.distributions.IntDistribution):
        return trial.suggest_int(name, one.low, one.high, step=one.step)
    return trial.suggest_float(name, one.low, one.high, step=one.step, log=one.log)


def _storage(folder: Path) -> JournalStorage:
    return JournalStorage(JournalFileBackend(str(folder / "journal.log")))


def _model(folder: Path, trial: int) -> Path:
    return folder / f"trial-{trial}.keras"


def _arguments(words: list[str]) -> dict[str, Any]:
    folder, setting, seed, momentum = words
    return {
        "folder": Path(folder).absolute(),
        "setting": SETTINGS[setting],
        "seed": int(seed),
        "momentum": float(momentum),
    }


if __name__ == "__main__":
    if len(sys.argv) == 5:
        main(**_arguments(sys.argv[1:]))
    else:
        given = _arguments(sys.argv[1:5])
        work(**given | {"seed": 1000 * given["seed"] + int(sys.argv[5])})
