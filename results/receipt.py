"""Receipts: everything needed to repeat a trial, derived from the log of its run, as a file of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from results.errors import RecordError
from results.files import read_moderate, write_atomically
from results.log.records import Status, TrialKey, trial_name
from results.log.state import RunState, TrialState
from results.objective import Objective
from results.run_folder import RECEIPTS, receipt_path
from results.schema import SchemaError, Value, parse_json, read, to_json
from results.study import Amount, Count, DataSection, Natural, Provenance, Seed

RECEIPT_VERSION = 1
_MAY_DIFFER = ("study", "folder", "data", "own_code", "model_digest")


@dataclass(frozen=True)
class Environment:
    """With what and on what an attempt ran; None where it is not recorded."""

    versions: Mapping[str, str]
    python: str | None
    commit: str | None
    device: str | None  # model of the processor or GPU

    @classmethod
    def of(cls, provenance: Provenance, device: str | None) -> Environment:
        """Take from a driver's provenance what results may depend on, and add the worker's device."""
        return cls(provenance.versions, provenance.python, provenance.commit, device)


@dataclass(frozen=True, kw_only=True)
class Receipt:
    """One ended trial: what it was given, where it ran and what came out, after its last epoch.

    `environments` holds each different one under which epochs that count were trained: more than one where a run was
    resumed elsewhere. Accuracies that are not finite are None.
    """

    study: str
    trial: int
    repeat: int | None
    is_baseline: bool
    trainable: str
    folder: str | None  # of the study file, where a trainable of the user's lies
    configuration: Mapping[str, Value]
    seed: Seed
    data: DataSection  # of the study: where the data set is, or how it is simulated
    data_digest: str | None
    validation_images: int | None
    init_digest: str | None  # of the weights it started from; None where they were drawn
    threads: Natural
    gpus: Amount
    environments: tuple[Environment, ...]
    max_epochs: Natural
    epochs: Count  # the last one
    status: Status
    validation_accuracies: tuple[float | None, ...]
    objective: float | None
    best_epoch: int | None
    weights_digest: str | None  # after the last epoch
    best_weights_digest: str | None
    own_code: str | None = None  # SHA-256 of the user's modules beside the study file, hex
    model_digest: str | None = None  # of the model that was written of its best epoch, as its description has it
    ranked_by: Objective = field(default_factory=Objective)  # what `objective` is a value of

    @property
    def key(self) -> TrialKey:
        """The trial's identity."""
        return self.trial, self.repeat

    @property
    def of_trial(self) -> Receipt:
        """The receipt without what was recorded after its trial had ended."""
        return dataclasses.replace(self, own_code=None, model_digest=None)

    @property
    def precision(self) -> Value | None:
        """Of the course network's arithmetic; None for a trainable that has no such setting."""
        return self.configuration.get("training.precision")

    def to_text(self) -> str:
        """Return the receipt as JSON."""
        return to_json({"receipt_version": RECEIPT_VERSION} | dataclasses.asdict(self)) + "\n"


def receipt_of(state: RunState, key: TrialKey) -> Receipt:
    """Derive the receipt of a trial.

    Raises:
        RecordError: There is no such trial, or it has not ended.
    """
    trial = state.trials.get(key)
    if trial is None or trial.ended is None:
        what = "has not ended; continue the run first" if trial else "is not in the log; see `seti-tune leaderboard`"
        raise RecordError(f"{trial_name(*key)} {what}")
    started, best, last = trial.started, trial.best, trial.last
    study = state.study
    return Receipt(
        study=study.study.name,
        trial=started.trial,
        repeat=started.repeat,
        is_baseline=started.is_baseline,
        trainable=study.study.trainable,
        folder=study.folder,
        configuration=started.configuration,
        seed=started.seed,
        data=study.data,
        data_digest=state.started.data_digest if state.started else None,
        validation_images=state.started.validation_images if state.started else None,
        init_digest=state.started.init_digest if state.started else None,
        threads=study.resources.cpus_per_trial,
        gpus=study.resources.gpus_per_trial,
        environments=_environments(trial),
        max_epochs=started.max_epochs,
        epochs=last.epoch if last else 0,
        status=trial.status,
        validation_accuracies=tuple(_finite(trial.epochs[n].validation_accuracy) for n in sorted(trial.epochs)),
        objective=best.value if best else None,
        best_epoch=best.epoch if best else None,
        weights_digest=last.weights_digest if last else None,
        best_weights_digest=last.best_weights_digest if last else None,
        ranked_by=trial.objective,
        own_code=trial.provenance.get(last.attempt, Provenance()).own_code if last else None,
        model_digest=next((model.digest for model in reversed(state.models.values()) if model.key == key), None),
    )


def write_receipts(run: Path, state: RunState) -> None:
    """Write the receipts of all ended trials that are missing or no longer what the log says."""
    for key, trial in state.trials.items():
        if trial.ended is None:
            continue
        path, text = receipt_path(run, *key), receipt_of(state, key).to_text()
        if not _holds(path, text.encode()):
            write_atomically(path, text)


def _holds(path: Path, content: bytes) -> bool:
    try:
        return read_moderate(path) == content
    except OSError:
        return False


def read_receipt(path: Path) -> Receipt:
    """Read a receipt.

    Raises:
        RecordError: It cannot be read, is no receipt of this version, or one field is unknown, missing or mistyped.
    """
    try:
        values = parse_json(read_moderate(path))
        if not isinstance(values, dict) or "receipt_version" not in values:
            raise RecordError(f"{path}: no receipt; give a run folder, or a file of its folder {RECEIPTS}")
        if (version := values.pop("receipt_version")) != RECEIPT_VERSION:
            raise RecordError(
                f"{path}: receipt version {version!r}, this seti-tune reads {RECEIPT_VERSION}; use the one that wrote "
                "it"
            )
        return read(values, Receipt)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); give a run folder or a receipt") from error
    except SchemaError as error:
        raise RecordError(
            f"{path}: damaged: {error}; delete it if its run is there, else restore it from a copy"
        ) from error


def disagreements(receipt: Receipt, logged: Receipt) -> tuple[str, ...]:
    """Return where a receipt says otherwise than the log, each as words; names and places do not count.

    Nor does what follows the trial: a receipt may be older than the model that was written of it.
    """
    lines = []
    for name in (f.name for f in dataclasses.fields(Receipt) if f.name not in _MAY_DIFFER):
        ours, theirs = getattr(receipt, name), getattr(logged, name)
        if name == "configuration":
            names = sorted(n for n in {*ours, *theirs} if ours.get(n) != theirs.get(n))
            lines += [f"{n} is {ours.get(n)!r} in the receipt, {theirs.get(n)!r} in the log" for n in names]
        elif ours != theirs:
            plain = isinstance(ours, bool | int | float | str | None)
            values = f" is {_short(ours)} in the receipt, {_short(theirs)} in the log" if plain else ""
            lines.append(name + (values or " are others in the receipt than in the log"))
    return tuple(lines)


def _environments(trial: TrialState) -> tuple[Environment, ...]:
    found: list[Environment] = []
    for attempt in sorted({epoch.attempt for epoch in trial.epochs.values()}):
        running = trial.running.get(attempt)
        environment = Environment.of(trial.provenance.get(attempt, Provenance()), running.device if running else None)
        if environment not in found:
            found.append(environment)
    return tuple(found)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _short(value: object) -> str:
    return f"{value[:12]}…" if isinstance(value, str) and len(value) > 40 else repr(value)
