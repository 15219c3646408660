"""The last mile of a run: the winner is decided on validation, predicts the test split, once, and is handed on."""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from results.files import inside, remove_inside, write_atomically
from results.finals import (
    baseline_of,
    decide,
    is_delivered,
)
from results.log.recorder import Recorder
from results.log.records import (
    AttemptEnded,
    Cause,
    FinalEvaluated,
    FinalsDecided,
    ModelExported,
    Status,
    TrialKey,
    utc_now,
)
from results.log.state import RunState, TrialState
from results.predictions import (
    Predictions,
    errors_by_class,
    example_images,
    read_predictions,
    write_examples,
    write_predictions,
)
from results.receipt import receipt_of
from results.run_folder import (
    DESCRIPTION,
    EXAMPLES,
    MODEL,
    MODEL_RECEIPT,
    SAVED_MODEL,
    TEST_PREDICTIONS,
    VALIDATION_ERRORS,
    VALIDATION_PREDICTIONS,
    predictions_path,
)
from seti_model.config import Configuration
from seti_model.data.dataset import Dataset
from seti_model.errors import DamagedCheckpointError
from seti_model.runtime import prepare_process
from seti_model.training.checkpoint import load_best
from tune.errors import StudyError
from tune.loop.next_work import chosen_finalists, missing_finals, recorded_finals
from tune.resume import check_digest
from tune.single import record_model
from tune.storage.checkpoints import Checkpoints
from tune.study import Study
from tune.test_split import unlock_for_finals, uses_of_others

if TYPE_CHECKING:
    from seti_model.training.outcome import TrainedNetwork

HANDED_ON = (MODEL, DESCRIPTION, TEST_PREDICTIONS, VALIDATION_PREDICTIONS, MODEL_RECEIPT)


def conclude_finals(study: Study, recorder: Recorder, *, check: Callable[[], None] = lambda: None) -> None:
    """Decide the finals if all their retrainings have ended, and do what follows from it and is not done yet.

    Winner and baseline predict the test split with each of their retrainings; the winner's best one goes to `final/`.

    Args:
        study: The study.
        recorder: Of its run; a new decision is recorded before anything predicts the test split.
        check: Called between two steps; what it raises ends them.

    Raises:
        StudyError: The weights of a retrained trial are gone, or the data set is another one than that of the run.
        DatasetError: The data set cannot be used.
    """
    run, state = recorder.run, recorder.state
    checkpoints = Checkpoints(run, study.storage.uri)
    decision = _decision(state)
    if decision is None:
        return
    path = study.dataset_path(run) if study.is_network else None
    if not state.decisions or decision != _terms(state.decisions[-1]):
        others = 0 if path is None else uses_of_others(path, state)
        recorder.write(dataclasses.replace(decision, time=utc_now(), earlier_uses=others), durable=True)
    if path is None:
        return
    todo = _to_predict(run, state, decision)
    if todo or not _is_handed_on(run, state, decision):
        prepare_process(study.resources.cpus_per_trial)
        dataset = Dataset.open(path)
        check_digest(run, state, dataset.digest)
        delivered = state.trials[decision.winner, decision.delivered]
        dataset = unlock_for_finals(dataset, run, state, weights_digest=_best_digest(delivered))
        for key in todo:
            check()
            evaluated = _evaluate(checkpoints, state.trials[key], dataset)
            if key not in state.finals:
                recorder.write(evaluated, durable=True)
        check()
        _hand_on(checkpoints, recorder, delivered, dataset)


def reopenings(study: Study, run: Path, state: RunState) -> list[AttemptEnded]:
    """Return what opens retrainings again whose weights are gone or damaged while they are still needed."""
    if not study.is_network:
        return []
    needed, checkpoints = _needed(run, state), Checkpoints(run, study.storage.uri)
    return [
        AttemptEnded(
            trial=trial.started.trial,
            repeat=trial.started.repeat,
            attempt=max(trial.attempts),
            why="its weights are gone, it is trained again",
            cause=Cause.CHECKPOINT,
        )
        for trial in state.final_trials()
        if trial.started.key in needed and trial.status == Status.COMPLETED and _weights(checkpoints, trial) is None
    ]


def _decision(state: RunState) -> FinalsDecided | None:
    """Return what the finals as they stand decide; None while retrainings are missing or open, or without any.

    The numbers of finalists and seeds are those in the log: what a study file says counts once it was recorded.
    """
    finals = recorded_finals(state)
    if missing_finals(finals, state) or any(trial.ended is None for trial in state.trials.values()):
        return None
    found = decide(state, [trial.started.trial for trial in chosen_finalists(finals, state)], finals.seeds)
    return None if found is None else _terms(found)


def _terms(decision: FinalsDecided) -> FinalsDecided:
    """Return the decision itself, without when it was taken and what others did."""
    return dataclasses.replace(decision, time="", earlier_uses=0)


def _to_predict(run: Path, state: RunState, decision: FinalsDecided) -> list[TrialKey]:
    """Return the completed retrainings of winner and baseline, seed by seed, whose predictions are not there."""
    trials = dict.fromkeys(n for n in (decision.winner, baseline_of(state, decision)) if n is not None)
    keys = [(trial, repeat) for repeat in range(decision.seeds) for trial in trials]
    done = {key for key, evaluated in state.finals.items() if inside(run, evaluated.predictions).is_file()}
    return [key for key in keys if state.trials[key].status == Status.COMPLETED and key not in done]


def _best_digest(trial: TrialState) -> str:
    return (trial.ended.best_weights_digest if trial.ended else None) or ""


def _is_handed_on(run: Path, state: RunState, decision: FinalsDecided) -> bool:
    delivered = Configuration.from_mapping(state.trials[decision.winner, decision.delivered].started.configuration)
    names = (*HANDED_ON, *([f"{SAVED_MODEL}/saved_model.pb"] if delivered.preparation.has_operations else []))
    return all((run / name).is_file() for name in names) and is_delivered(run, state, decision)


def _needed(run: Path, state: RunState) -> set[TrialKey]:
    """Return the retrainings whose weights somebody will read: all until there is a decision."""
    decision, finals = _decision(state), recorded_finals(state)
    if decision is None:
        chosen = [trial.started.trial for trial in chosen_finalists(finals, state)]
        return {(trial, repeat) for trial in chosen for repeat in range(finals.seeds)}
    handed_on = _is_handed_on(run, state, decision)
    return {*_to_predict(run, state, decision), *([] if handed_on else [(decision.winner, decision.delivered)])}


def _weights(checkpoints: Checkpoints, trial: TrialState) -> TrainedNetwork | None:
    try:
        return None if trial.checkpoint is None else load_best(checkpoints.here(trial.checkpoint.path))
    except DamagedCheckpointError:
        return None


def _required_weights(checkpoints: Checkpoints, trial: TrialState) -> TrainedNetwork:
    weights = _weights(checkpoints, trial)
    if weights is None:  # lost since the driver began
        raise StudyError(
            f"{checkpoints.run}: the weights of the retrained trial {trial.started.trial} are gone; continue with "
            f"`{command('resume', checkpoints.run)}`, which trains it again"
        )
    return weights


def _evaluate(checkpoints: Checkpoints, trial: TrialState, dataset: Dataset) -> FinalEvaluated:
    predictions = _predict(_required_weights(checkpoints, trial), dataset, "test")
    path = predictions_path(trial.started.trial, trial.started.repeat or 0)
    write_predictions(inside(checkpoints.run, path), predictions)
    return FinalEvaluated(
        trial=trial.started.trial,
        repeat=trial.started.repeat or 0,
        predictions=path,
        n=len(predictions.y_true),
        correct=int(predictions.correct.sum()),
    )


def _predict(weights: TrainedNetwork, dataset: Dataset, split_name: str) -> Predictions:
    import pandas as pd  # which a search need not wait for

    from seti_model.exported import as_model

    split = dataset.split(split_name)
    truth = pd.DataFrame(index=range(len(split.labels))) if split.truth is None else split.truth
    y_prob = as_model(weights).predict(split.images)
    return Predictions(split.labels, y_prob, weights.class_names, truth)


def _hand_on(checkpoints: Checkpoints, recorder: Recorder, trial: TrialState, dataset: Dataset) -> None:
    """Write the winner's best retraining with all that its user needs; the receipt, which is asked for, last."""
    from seti_model.exported import export_model, export_saved_model

    weights, key, run = _required_weights(checkpoints, trial), trial.started.key, checkpoints.run
    state = recorder.state
    for name in (MODEL_RECEIPT, DESCRIPTION):
        inside(run, name).unlink(missing_ok=True)
    predictions = read_predictions(inside(run, state.finals[key].predictions))
    write_predictions(run / TEST_PREDICTIONS, predictions)
    write_examples(run / EXAMPLES, example_images(predictions, dataset.split("test").images))
    validation = _predict(weights, dataset, "validation")
    write_predictions(run / VALIDATION_PREDICTIONS, validation)
    write_examples(run / VALIDATION_ERRORS, errors_by_class(validation, dataset.split("validation").images))
    with contextlib.suppress(OSError):  # whoever writes it again says why it cannot be
        remove_inside(run, SAVED_MODEL)
    if weights.configuration.preparation.has_operations:
        export_saved_model(weights, run / SAVED_MODEL)
    else:
        steps = weights.configuration.prepare.steps
        print(f"note: no {SAVED_MODEL} is written: TensorFlow has no operations for {steps!r}", file=sys.stderr)
    digest = export_model(weights, run / MODEL)
    record_model(recorder, ModelExported(trial=key[0], repeat=key[1], path=MODEL, digest=digest))
    write_atomically(run / MODEL_RECEIPT, receipt_of(state, key).to_text())
