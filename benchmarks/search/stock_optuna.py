"""Optuna alone as its documentation shows: `study.optimize` in processes that share a journal file, Hyperband, TPE.

In its favour as for Ray Tune, and the network of a trial's best epoch is kept, not that of the last.
`python -m benchmarks.search.stock_optuna FOLDER SETTING SEED MOMENTUM`; a worker has its number besides.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from benchmarks.search.record import Reported
from benchmarks.search.setting import SETTINGS, Setting, first_parameters, space
from benchmarks.search.stock import FAMILY, WINNER_MODEL, arrays, note, prepared, write_winner
from tune.loop.proposer import suggest


def main(folder: Path, setting: Setting, seed: int, momentum: float) -> None:
    """Search with as many processes as there are workers, and leave the best network in the folder."""
    study = optuna.create_study(study_name=folder.name, direction="maximize", storage=_storage(folder))
    study.enqueue_trial(first_parameters(setting))
    command = [sys.executable, "-m", "benchmarks.search.stock_optuna", str(folder), setting.name, str(seed)]
    workers = [subprocess.Popen([*command, str(momentum), str(number)]) for number in range(setting.workers)]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        raise SystemExit(f"{folder}: workers ended with {codes}; their words are above")
    best = study.best_trial
    shutil.copy(_model(folder, best.number), folder / WINNER_MODEL)
    write_winner(folder, best.number, best.value, best.params)


def work(folder: Path, setting: Setting, seed: int, momentum: float) -> None:
    """Take trials until there are enough, those of other processes among them."""
    from benchmarks.search import stock_network

    keras = stock_network.keras
    stock_network.one_thread()
    data, searched = prepared(arrays(folder.parent), setting), space(setting)

    class Prune(keras.callbacks.Callback):
        """Reports each epoch and ends a trial that is told to end; one that has had all its epochs is complete."""

        def __init__(self, trial: optuna.Trial) -> None:
            super().__init__()
            self.trial = trial

        def on_epoch_end(self, epoch: int, logs: dict[str, float]) -> None:
            accuracy, done = float(logs["val_accuracy"]), epoch + 1
            self.trial.report(accuracy, done)
            note(folder, Reported(self.trial.number, done, accuracy, time.time(), self.trial.params))
            if done < setting.max_epochs and self.trial.should_prune():
                raise optuna.TrialPruned

    def objective(trial: optuna.Trial) -> float:
        keras.backend.clear_session()
        point = setting.fixed | suggest(trial, searched)
        given = data[point.get(FAMILY, "")]
        model = stock_network.build(point, given, epochs=setting.max_epochs, momentum=momentum, seed=seed)
        keep = keras.callbacks.ModelCheckpoint(
            str(_model(folder, trial.number)), monitor="val_accuracy", mode="max", save_best_only=True
        )
        history = stock_network.fit(model, given, setting.max_epochs, [keep, Prune(trial)], point)
        return max(history.history["val_accuracy"])

    keras.utils.set_random_seed(seed)
    study = optuna.load_study(
        study_name=folder.name,
        storage=_storage(folder),
        sampler=optuna.samplers.TPESampler(seed=seed),
        pruner=pruner(setting),
    )
    # All trials count, those that run elsewhere too, so that there are never more than were asked for.
    study.optimize(objective, callbacks=[optuna.study.MaxTrialsCallback(setting.trials, states=None)])


def pruner(setting: Setting) -> optuna.pruners.BasePruner:
    """Return what stops trials."""
    return optuna.pruners.HyperbandPruner(
        min_resource=setting.grace_epochs, max_resource=setting.max_epochs, reduction_factor=setting.reduction_factor
    )


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
