"""Repeat one trial from its receipt in this process, without Ray, and say whether the same came out."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import RecordError
from results.files import write_atomically
from results.log.recorder import Recorder
from results.log.records import Epoch, Status, TrialKey, trial_name
from results.log.state import RunState, TrialState, load_run
from results.receipt import Environment, Receipt, disagreements, read_receipt, receipt_of
from results.reproduction import Answer, Repetition, Setting, compare, differences, to_mapping, tolerance
from results.run_folder import ANSWER, DATASET, INITIAL_MODEL, LOG_NAME, RECEIPT, is_folder_name, receipt_path
from results.schema import to_json
from results.study import NETWORK
from results.tables.leaderboard import rank_trials
from seti_model.data.dataset import Dataset
from seti_model.description import read_description
from seti_model.errors import DatasetError
from seti_model.runtime import MAX_THREADS
from tune.errors import StudyError, exit_code_of
from tune.loop.next_work import Terms
from tune.provenance import device_model, has_gpu, provenance
from tune.single import Single, export_best, recorded_single, run_single
from tune.trust import code_names, require_trust

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData

_MOST_DIGITS = 9  # of the number of a trial
_SHOWN = 40  # letters of what is no number


@dataclass(frozen=True)
class Source:
    """What is repeated: a receipt, with the run it belongs to where that is here."""

    receipt: Receipt
    run: Path | None
    state: RunState | None
    disagreements: tuple[str, ...] = ()  # of the receipt's file with the log

    @property
    def name(self) -> str:
        """The trial in words."""
        return f"{trial_name(*self.receipt.key)} of study {self.receipt.study}"


def find_source(place: Path, *, trial: str | None = None, repeat: int | None = None) -> Source:
    """Find what is to be repeated.

    Args:
        place: A run folder, or a receipt file; one in a folder of a run belongs to that run.
        trial: The number of a trial of the run, or `best`, which is what None means.
        repeat: Which of its retrainings in the finals; None for the trial of the search.

    Raises:
        RecordError: A damaged receipt or log, a trial that is not there or has not ended.
        StudyError: A choice that does not fit, or a trial without an epoch.
    """
    if place.is_file():
        if trial is not None or repeat is not None:
            raise StudyError(f"{place}: is the receipt of one trial; leave --trial and --repeat out")
        receipt, run = read_receipt(place), place.absolute().parent.parent
        if not (run / LOG_NAME).is_file():
            return _checked(Source(receipt, None, None))
        state = load_run(run)
        return _checked(Source(receipt, run, state, disagreements(receipt, _from_log(run, state, receipt.key))))
    state, run = load_run(place), place.absolute()
    key = _chosen(place, state, trial, repeat)
    logged, file = _from_log(place, state, key), receipt_path(run, *key)
    receipt = read_receipt(file) if file.is_file() else logged
    if receipt.key != key:
        raise RecordError(f"{file}: is the receipt of trial {receipt.trial}; delete it, the log has the right one")
    return _checked(Source(receipt, run, state, disagreements(receipt, logged)))


def require_own_code(source: Source, *, is_trusted: bool) -> None:
    """Refuse to run code of another user that is not what the receipt records; to be called before it is imported.

    Raises:
        StudyError: The receipt names such code.
    """
    receipt = source.receipt
    if receipt.folder is None:
        return
    names = code_names(receipt.trainable, receipt.configuration)
    place = Path(RECEIPT) if source.run is None else source.run
    require_trust(place, Path(receipt.folder), names, receipt.own_code, is_trusted=is_trusted)


def default_folder(receipt: Receipt) -> Path:
    """Return where a trial is repeated if nobody says where.

    Raises:
        StudyError: The study has a name that is none of a folder.
    """
    repeat = "" if receipt.repeat is None else f"-{receipt.repeat}"
    name = f"retrain-{receipt.study}-{receipt.trial}{repeat}"
    if not is_folder_name(name):
        raise StudyError(
            f"the receipt is of a study {receipt.study!r}, which is no name of a folder; give one with --out"
        )
    return Path("runs") / name


def open_data(source: Source, given: Path | None) -> Dataset | None:
    """Open and verify the data set: the one given, else the run's simulated one, else that at the recorded place.

    Raises:
        DatasetError: It is not there or was changed; simulated data is never made again without being asked for.
        StudyError: `given` for a study without data.
    """
    receipt = source.receipt
    path = given if given is not None else _recorded_place(source)
    if receipt.data_digest is None:
        if given is not None:
            raise StudyError(f"--data {given}: the study has no data set; leave --data out")
        return None
    if path is None or not path.exists():
        raise DatasetError(f"{path or 'data'}: missing; {_way_to_data(receipt, path)}; its digest will be compared")
    dataset = Dataset.open(path)
    dataset.verify()
    return dataset


def setting_here(source: Source, dataset: Dataset | None, threads: int | None = None) -> Setting:
    """Return with what this process would repeat the trial; a GPU only where there is one.

    Raises:
        StudyError: Fewer than one thread, or the initial weights are not here.
        ModelError: The initial weights are damaged.
    """
    receipt = source.receipt
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise StudyError(
            f"--threads {threads}: 1 to {MAX_THREADS} are expected; leave it out for what the receipt says"
        )
    gpus = receipt.gpus if has_gpu() else 0.0
    initial = initial_weights(source)
    return Setting(
        environment=Environment.of(provenance(), device_model(gpu=gpus > 0)),
        threads=receipt.threads if threads is None else threads,
        gpus=gpus,
        data_digest=None if dataset is None else dataset.digest,
        init_digest=None if initial is None else read_description(initial).weights_digest,
    )


def initial_weights(source: Source) -> Path | None:
    """Return the exported model from which the trial started, None where its weights were drawn."""
    if source.receipt.init_digest is None:
        return None
    path = None if source.run is None else source.run / INITIAL_MODEL
    if path is None or not path.is_file():
        raise StudyError(f"{path or source.name}: the initial weights are missing; retrain from the whole run folder")
    return path


def _chosen(place: Path, state: RunState, trial: str | None, repeat: int | None) -> TrialKey:
    """Return the trial that is meant; the best is the one delivered by the finals, else rank 1."""
    if trial is not None and trial != "best":
        if not trial.isdecimal() or len(trial) > _MOST_DIGITS:
            raise StudyError(f"--trial {trial[:_SHOWN]}: the number of a trial is expected, or best; see `leaderboard`")
        return int(trial), repeat
    if state.decisions:
        decision = state.decisions[-1]
        return decision.winner, decision.delivered if repeat is None else repeat
    ranked, _ = rank_trials(state)
    if not ranked:
        raise StudyError(f"{place}: no trial is completed, so none is the best; choose one with --trial N")
    return ranked[0].started.trial, repeat


def _from_log(place: Path, state: RunState, key: TrialKey) -> Receipt:
    try:
        return receipt_of(state, key)
    except RecordError as error:
        raise RecordError(f"{place}: {error}") from error


def _checked(source: Source) -> Source:
    if source.receipt.epochs < 1:
        raise StudyError(f"{source.name}: it was {source.receipt.status} before its first epoch; choose another trial")
    return source


def _recorded_place(source: Source) -> Path | None:
    data, folder = source.receipt.data, source.receipt.folder
    if data.simulate is not None:
        return None if source.run is None else source.run / DATASET
    return None if data.path is None else Path(folder or "") / data.path


def _way_to_data(receipt: Receipt, path: Path | None) -> str:
    data = receipt.data
    if data.simulate is None:
        return "put it back, or say where it is now with --data PATH"
    out = path or Path("data") / receipt.study
    return f"make it again with `{data.simulation_command(out, Path(receipt.folder or ''))}`" + (
        "" if path else f" and give it with --data {shlex.quote(str(out))}"
    )


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
        single = _single(source, setting)
        _train(single, data, recorder, show)
        trial = recorder.state.trials[0, None]
        done = _repetition(trial)
        if receipt.trainable == NETWORK and done.ended_early is None:
            export_best(single, recorder, trial)
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
    if read_receipt(out / RECEIPT).of_trial != receipt.of_trial:
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


def _single(source: Source, setting: Setting) -> Single:
    receipt = source.receipt
    terms = Terms(
        configuration=receipt.configuration,
        max_epochs=receipt.epochs,
        checkpoint_epochs=(receipt.epochs,),
        threads=setting.threads,
        gpus=setting.gpus,
        init_from=initial_weights(source),
        objective=receipt.ranked_by,
    )
    folder = None if receipt.folder is None else Path(receipt.folder)
    return Single(receipt.study, terms, receipt.seed, setting.init_digest, receipt.trainable, folder, receipt.data)


def _train(single: Single, data: TrainingData | None, recorder: Recorder, show: Callable[[Epoch], None]) -> None:
    try:
        run_single(single, recorder, data, on_epoch=show)
    except Exception as error:
        if single.trainable == NETWORK or exit_code_of(error) is not None:
            raise
        trial = recorder.state.trials.get((0, None))
        after = f" after epoch {len(trial.epochs)}" if trial else ""
        raise StudyError(
            f"[study] trainable = {single.trainable!r}: {type(error).__name__}: {error}{after}; correct the cause and "
            "start the same command again"
        ) from error


def _repetition(trial: TrialState) -> Repetition:
    last, ended = trial.last, trial.ended
    early = None
    if ended is not None and ended.status != Status.COMPLETED:
        early = f"it diverged: {ended.reason}" if ended.status == Status.DIVERGED else ended.reason
    return Repetition(
        validation_accuracies=tuple(epoch.validation_accuracy for _, epoch in sorted(trial.epochs.items())),
        objective=trial.value if trial.best else None,
        weights_digest=None if last is None else last.weights_digest,
        best_weights_digest=None if last is None else last.best_weights_digest,
        ended_early=early,
    )
