"""Repeat one trial from its receipt in this process, without Ray, and say whether the same came out."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.files import write_atomically
from results.receipt import Receipt, read_receipt
from results.reproduction import Answer, Repetition, Setting, compare, differences, to_mapping, tolerance
from tune.errors import StudyError, exit_code_of
from tune.reproduce_source import Source, initial_weights
from tune.sections import NETWORK
from tune.trainable import CheckpointLost, Diverged, EpochReport, Task, load_trainable

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData

PROGRESS, RECEIPT, ANSWER, MODEL = "progress.json", "receipt.json", "answer.json", "model.keras"


def retrain(
    source: Source,
    setting: Setting,
    data: TrainingData | None,
    out: Path,
    *,
    show: Callable[[EpochReport], None] = lambda report: None,
) -> Answer:
    """Repeat the trial to its last epoch, into the folder `out`, and compare; a begun one is continued.

    Args:
        source: The trial.
        setting: With what, from `setting_here`.
        data: As the trainable expects it.
        out: Gets checkpoints, model, receipt and answer.
        show: Called after each epoch.

    Raises:
        StudyError: `out` holds something else, or the trainable is not there or raised.
        ConfigError: The network does not fit the data.
        ProcessError: TensorFlow cannot be set up as the receipt asks.
    """
    progress = _Progress.open(out.absolute(), source.receipt, setting)
    ended_early = None if progress.is_complete else _train(source, setting, data, progress, show)
    if source.receipt.trainable == NETWORK and progress.is_complete:
        _export(out / progress.reports[-1]["checkpoint"], out / MODEL, setting)
    done = progress.outcome(ended_early)
    different = differences(source.receipt, setting, source.disagreements)
    expected = tolerance(source.receipt, setting, source.state)
    answer = compare(source.receipt, done, different=different, expected=expected)
    text = json.dumps(to_mapping(answer, setting, done), indent=1, allow_nan=False, ensure_ascii=False)
    write_atomically(out / ANSWER, text + "\n")
    return answer


class _Progress:
    """The epochs done so far, in `progress.json`: from it the same command goes on after an interruption."""

    def __init__(self, out: Path, receipt: Receipt, setting: Setting, attempts: int, reports: list[Any]) -> None:
        self.out, self.reports, self.attempt = out, reports, attempts
        self._receipt, self._setting = receipt, setting

    @classmethod
    def open(cls, out: Path, receipt: Receipt, setting: Setting) -> _Progress:
        file = out / PROGRESS
        if not file.is_file():
            if out.exists() and any(path.name != RECEIPT for path in out.iterdir()):
                raise StudyError(f"{out}: is not empty and holds no retraining; name another folder with --out")
            return cls(out, receipt, setting, 0, [])
        try:
            saved = json.loads(file.read_text(encoding="utf-8"))
            found, attempts, reports = saved["setting"], int(saved["attempts"]), list(saved["epochs"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise StudyError(f"{file}: damaged ({error}); name another folder with --out") from error
        if reports and read_receipt(out / RECEIPT) != receipt:
            raise StudyError(f"{out}: holds the retraining of another receipt; name another folder with --out")
        wanted = dataclasses.asdict(setting)
        other = sorted(name for name in wanted if found.get(name) != wanted[name])
        if reports and other:
            raise StudyError(f"{out}: was begun with other {' and '.join(other)}; name another folder with --out")
        return cls(out, receipt, setting, attempts, reports)

    @property
    def is_complete(self) -> bool:
        return bool(self.reports) and self.reports[-1]["epoch"] >= self._receipt.epochs

    def outcome(self, ended_early: str | None) -> Repetition:
        last = self.reports[-1] if self.reports else {}
        accuracies = tuple(report["validation_accuracy"] for report in self.reports)
        return Repetition(accuracies, last.get("weights_digest"), last.get("best_weights_digest"), ended_early)

    def begin(self, *, afresh: bool) -> Path | None:
        """Count a new attempt; return the checkpoint it continues from and forget the epochs after it."""
        while self.reports and (afresh or not self._checkpoint(self.reports[-1])):
            self.reports.pop()
        self.attempt += 1
        write_atomically(self.out / RECEIPT, self._receipt.to_text())
        self._save()
        return self._checkpoint(self.reports[-1]) if self.reports else None

    @property
    def folder(self) -> Path:
        """Where the present attempt writes its checkpoints."""
        return self.out / "checkpoints" / str(self.attempt)

    def add(self, report: EpochReport) -> None:
        saved = report.checkpoint
        values = {
            "epoch": report.epoch,
            "validation_accuracy": float(report.validation_accuracy),
            "weights_digest": report.weights_digest,
            "best_weights_digest": report.best_weights_digest,
            "checkpoint": None if saved is None else Path(saved).relative_to(self.out).as_posix(),
        }
        self.reports.append(values)
        self._save()
        if saved is not None:  # what earlier attempts wrote is not needed any more
            for folder in self.folder.parent.iterdir():
                if folder != self.folder:
                    shutil.rmtree(folder, ignore_errors=True)

    def _checkpoint(self, report: dict[str, Any]) -> Path | None:
        path = None if report["checkpoint"] is None else self.out / report["checkpoint"]
        return path if path is not None and path.exists() else None

    def _save(self) -> None:
        values = {"setting": dataclasses.asdict(self._setting), "attempts": self.attempt, "epochs": self.reports}
        write_atomically(self.out / PROGRESS, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _train(
    source: Source,
    setting: Setting,
    data: TrainingData | None,
    progress: _Progress,
    show: Callable[[EpochReport], None],
    *,
    afresh: bool = False,
) -> str | None:
    """Train what is missing; return why it ended before the receipt's last epoch, or None."""
    receipt = source.receipt
    trainable = load_trainable(receipt.trainable, None if receipt.folder is None else Path(receipt.folder))
    task = _task(source, setting, progress, resume_from=progress.begin(afresh=afresh))

    def on_epoch(report: EpochReport) -> bool:
        if not progress.is_complete:
            progress.add(report)
            show(report)
        return progress.is_complete

    try:
        trainable(task, data, on_epoch)
    except Diverged as error:
        return f"it diverged: {error}"
    except CheckpointLost:
        if task.resume_from is None:
            raise
        return _train(source, setting, data, progress, show, afresh=True)
    except Exception as error:
        if receipt.trainable == NETWORK or exit_code_of(error) is not None:
            raise
        raise StudyError(
            f"[study] trainable = {receipt.trainable!r}: {type(error).__name__}: {error} after epoch "
            f"{len(progress.reports)}; correct the cause and start the same command again"
        ) from error
    return None if progress.is_complete else f"the training function returned after epoch {len(progress.reports)}"


def _task(source: Source, setting: Setting, progress: _Progress, *, resume_from: Path | None) -> Task:
    receipt = source.receipt
    return Task(
        trial=receipt.trial,
        repeat=receipt.repeat,
        attempt=progress.attempt,
        configuration=receipt.configuration,
        seed=receipt.seed,
        max_epochs=receipt.max_epochs,
        checkpoint_folder=progress.folder,
        resume_from=resume_from,
        checkpoint_epochs=(receipt.epochs,),
        threads=setting.threads,
        gpus=setting.gpus,
        init_from=initial_weights(source),
    )


def _export(checkpoint: Path, model: Path, setting: Setting) -> None:
    from seti_model.runtime import prepare_process
    from seti_model.training.checkpoint import load_best

    prepare_process(setting.threads, gpu=setting.gpus > 0)
    from seti_model.exported import export_model

    export_model(load_best(checkpoint), model)
