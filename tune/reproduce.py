"""Repeat one trial from its receipt in this process, without Ray, and say whether the same came out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from results.files import write_atomically
from results.log.recorder import Recorder
from results.log.records import Epoch, Status
from results.log.state import RunState
from results.receipt import Environment, Receipt, read_receipt
from results.reproduction import Answer, Repetition, Setting, compare, differences, to_mapping, tolerance
from results.run_folder import ANSWER, LOG_NAME, RECEIPT, TRAINED_MODEL
from results.schema import to_json
from results.study import NETWORK
from seti_model.runtime import prepare_process
from seti_model.training.checkpoint import load_best
from tune.errors import StudyError, exit_code_of
from tune.loop.next_work import Terms
from tune.reproduce_source import Source, initial_weights
from tune.single import Single, recorded_single, run_single

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData


def retrain(
    source: Source,
    setting: Setting,
    data: TrainingData | None,
    out: Path,
    *,
    show: Callable[[Epoch], None] = lambda epoch: None,
) -> Answer:
    """Repeat the trial to its last epoch, as a run of its own in the folder `out`, and compare; a begun one goes on.

    Args:
        source: The trial.
        setting: With what, from `setting_here`.
        data: As the trainable expects it.
        out: Gets log, checkpoints, model, receipt and answer.
        show: Called after each epoch.

    Raises:
        StudyError: `out` holds something else, or the trainable is not there or raised.
        ConfigError: The network does not fit the data.
        ProcessError: TensorFlow cannot be set up as the receipt asks.
    """
    receipt, out = source.receipt, out.absolute()
    _check_folder(out)
    with Recorder(out) as recorder:
        _require_same(out, recorder.state, receipt, setting)
        write_atomically(out / RECEIPT, receipt.to_text())
        _train(source, setting, data, recorder, show)
        done = _repetition(recorder.state)
    if receipt.trainable == NETWORK and done.ended_early is None:
        _export(out, recorder.state, setting)
    different = differences(receipt, setting, source.disagreements)
    expected = tolerance(receipt, setting, source.state)
    answer = compare(receipt, done, different=different, expected=expected)
    text = to_json(to_mapping(answer, setting, done))
    write_atomically(out / ANSWER, text + "\n")
    return answer


def _check_folder(out: Path) -> None:
    began = recorded_single(out) is not None
    is_other = out.is_dir() and not (out / LOG_NAME).is_file() and any(path.name != RECEIPT for path in out.iterdir())
    if is_other:
        raise StudyError(f"{out}: is not empty and holds no retraining; name another folder with --out")
    if began and not (out / RECEIPT).is_file():
        raise StudyError(f"{out}: holds a training and no retraining; name another folder with --out")


def _require_same(out: Path, state: RunState, receipt: Receipt, setting: Setting) -> None:
    """Refuse to continue the retraining of another receipt, or one that was begun with something else."""
    if state.started is None or not state.has_epochs:
        return
    if read_receipt(out / RECEIPT) != receipt:
        raise StudyError(f"{out}: holds the retraining of another receipt; name another folder with --out")
    resources, began = state.study.resources, state.started
    device = next((entered.device for t in state.trials.values() for entered in t.running.values()), None)
    found = Setting(
        environment=Environment.of(began.provenance, device or setting.environment.device),
        threads=resources.cpus_per_trial,
        gpus=resources.gpus_per_trial,
        data_digest=began.data_digest,
        init_digest=began.init_digest,
    )
    other = [f.name for f in dataclasses.fields(Setting) if getattr(found, f.name) != getattr(setting, f.name)]
    if other:
        raise StudyError(f"{out}: was begun with other {' and '.join(other)}; name another folder with --out")


def _train(
    source: Source,
    setting: Setting,
    data: TrainingData | None,
    recorder: Recorder,
    show: Callable[[Epoch], None],
) -> None:
    receipt = source.receipt
    single = Single(
        name=receipt.study,
        terms=Terms(
            configuration=receipt.configuration,
            max_epochs=receipt.epochs,
            checkpoint_epochs=(receipt.epochs,),
            threads=setting.threads,
            gpus=setting.gpus,
            init_from=initial_weights(source),
        ),
        seed=receipt.seed,
        init_digest=setting.init_digest,
        trainable=receipt.trainable,
        folder=None if receipt.folder is None else Path(receipt.folder),
        data=receipt.data,
    )
    try:
        run_single(single, recorder, data, on_epoch=show)
    except Exception as error:
        if receipt.trainable == NETWORK or exit_code_of(error) is not None:
            raise
        raise StudyError(
            f"[study] trainable = {receipt.trainable!r}: {type(error).__name__}: {error} after epoch "
            f"{len(recorder.state.trials[0, None].epochs)}; correct the cause and start the same command again"
        ) from error


def _repetition(state: RunState) -> Repetition:
    trial = state.trials[0, None]
    last, ended = trial.last, trial.ended
    early = None
    if ended is not None and ended.status != Status.COMPLETED:
        early = f"it diverged: {ended.reason}" if ended.status == Status.DIVERGED else ended.reason
    return Repetition(
        validation_accuracies=tuple(epoch.validation_accuracy for _, epoch in sorted(trial.epochs.items())),
        weights_digest=None if last is None else last.weights_digest,
        best_weights_digest=None if last is None else last.best_weights_digest,
        ended_early=early,
    )


def _export(out: Path, state: RunState, setting: Setting) -> None:
    checkpoint = state.trials[0, None].checkpoint
    if checkpoint is None:
        raise RuntimeError(f"{out}: a completed training without a checkpoint")
    prepare_process(setting.threads, gpu=setting.gpus > 0)
    from seti_model.exported import export_model

    export_model(load_best(out / checkpoint.path), out / TRAINED_MODEL)
