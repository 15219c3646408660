"""The last mile of a run: what was retrained is exported and predicts the test split, once."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from results.leaderboard import finalists
from results.records import COMPLETED, AttemptEnded, FinalEvaluated
from results.report import PREDICTIONS, write_predictions
from results.state import RunState, TrialState
from results.store import EventLog
from tune.agenda import checkpoint_folder
from tune.continuation import check_digest
from tune.study import Study, StudyError

if TYPE_CHECKING:
    from seti_model.outcome import TrainedNetwork


def evaluate_finals(
    study: Study, run: Path, log: EventLog, state: RunState, dataset: Path, *, check: Callable[[], None]
) -> None:
    """Export winner and baseline into `final/trial-<number>/` and predict the test split with each that has not yet.

    Raises:
        StudyError: The weights of a retrained trial are gone, or the data set is another one than that of the run.
        DatasetError: The data set cannot be used.
    """
    from seti_model.dataset import Dataset

    for chosen in finalists(state).values():
        key = (chosen.started.trial, 0)
        trial = state.trials.get(key)
        check()  # whether the driver was told to stop
        if trial is not None and trial.status == COMPLETED and key not in state.finals:
            check_digest(run, state, Dataset.open(dataset).digest)
            event = _evaluate(run, trial, dataset, threads=study.resources.cpus_per_trial)
            log.append(event, durable=True)
            state.apply(event)


def reopenings(study: Study, run: Path, state: RunState) -> list[AttemptEnded]:
    """Return what opens retrainings again whose weights are gone or damaged before they were evaluated."""
    if not study.is_network:
        return []
    return [
        AttemptEnded(
            trial=trial.started.trial,
            repeat=trial.started.repeat,
            attempt=max(trial.attempts),
            why="its weights are gone, it is trained again",
            cause="checkpoint",
        )
        for trial in state.final_trials()
        if trial.status == COMPLETED and trial.started.key not in state.finals and _weights(run, trial) is None
    ]


def _weights(run: Path, trial: TrialState) -> TrainedNetwork | None:
    from seti_model.checkpoint import DamagedCheckpointError, load_best

    try:
        return None if trial.checkpoint is None else load_best(run / trial.checkpoint.path)
    except DamagedCheckpointError:
        return None


def drop_training_state(run: Path, trial: TrialState) -> None:
    """Delete what only continuing needs: checkpoints before the last, and the optimiser's state in that one.

    Only for the course network, whose checkpoints have a known form. The best weights and the validation
    probabilities of the trial stay.
    """
    if trial.ended is None or trial.checkpoint is None:
        return
    last = run / trial.checkpoint.path
    for folder in checkpoint_folder(run, trial.started).glob("*/*"):
        if folder != last:
            shutil.rmtree(folder, ignore_errors=True)
    (last / "state.npz").unlink(missing_ok=True)


def _evaluate(run: Path, trial: TrialState, dataset: Path, *, threads: int) -> FinalEvaluated:
    from seti_model.seeding import prepare_process

    prepare_process(threads)
    from seti_model.dataset import Dataset
    from seti_model.evaluation import export_model, load_model

    weights = _weights(run, trial)
    if weights is None:  # lost since the driver began
        raise StudyError(
            f"{run}: the weights of the retrained trial {trial.started.trial} are gone; continue with "
            f"`seti-tune resume {run}`, which trains it again"
        )
    folder = run / "final" / f"trial-{trial.started.trial:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    model_path = folder / "model.keras"
    export_model(weights, model_path)
    model = load_model(model_path)
    split = Dataset.open(dataset).split("test")
    y_prob = model.predict(split.images)
    write_predictions(folder / PREDICTIONS, split.labels, y_prob, model.class_names)
    return FinalEvaluated(
        trial=trial.started.trial,
        repeat=trial.started.repeat or 0,
        model=model_path.relative_to(run).as_posix(),
        model_digest=hashlib.sha256(model_path.read_bytes()).hexdigest(),
        predictions=(folder / PREDICTIONS).relative_to(run).as_posix(),
        n=len(split.labels),
        correct=int((y_prob.argmax(axis=1) == split.labels).sum()),
    )
