"""What a repetition starts from: the receipt, in a run or alone, its data, and what is another one here."""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path

from results.errors import RecordError
from results.log.records import TrialKey, trial_name
from results.log.state import RunState, load_run
from results.receipt import Environment, Receipt, disagreements, read_receipt, receipt_of
from results.reproduction import Setting
from results.run_folder import DATASET, INITIAL_MODEL, LOG_NAME, receipt_path
from results.tables.leaderboard import rank_trials
from seti_model.data.dataset import Dataset
from seti_model.description import read_description
from seti_model.errors import DatasetError
from tune.errors import StudyError
from tune.provenance import device_model, has_gpu, provenance


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
    if threads is not None and threads < 1:
        raise StudyError(f"--threads {threads}: at least 1 is expected")
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
        if not trial.isdecimal():
            raise StudyError(f"--trial {trial}: the number of a trial is expected, or best")
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
    return f"make it again with `{data.simulation_command(out)}`" + (
        "" if path else f" and give it with --data {shlex.quote(str(out))}"
    )
