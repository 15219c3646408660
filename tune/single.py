"""One given configuration as a run of its own: the log, the checkpoints and the resume of a search, and no search.

Its record has no space, no sampler, no rungs and no finals; trial 0 is the only one, and no baseline.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.files import inside, remove_inside
from results.log.recorder import Recorder
from results.log.records import (
    Checkpoint,
    Epoch,
    Event,
    ModelExported,
    Status,
    StudyEnded,
    StudyResumed,
    StudyStarted,
)
from results.log.state import RunState, TrialState, fold
from results.run_folder import LOG_NAME, TRAINED_MODEL, checkpoint_folder
from results.study import NETWORK, DataSection, ResourcesSection, StudyRecord, StudySection
from seti_model.runtime import prepare_process
from seti_model.training.checkpoint import load_best
from tune.errors import StudyError
from tune.loop.coordinator import Coordinator
from tune.loop.executor import run_here
from tune.loop.next_work import Terms
from tune.loop.plan import GivenPlan
from tune.provenance import provenance
from tune.resume import SeenData
from tune.trainable import load_trainable
from tune.trust import code_names, own_code

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData
    from seti_model.training.outcome import TrainedNetwork


@dataclass(frozen=True)
class Single:
    """What one run trains; `data` is the section of that name as a study has it, `folder` where the trainable lies."""

    name: str
    terms: Terms
    seed: int
    init_digest: str | None = None
    trainable: str = NETWORK
    folder: Path | None = None
    data: DataSection = field(default_factory=DataSection)

    def record(self) -> StudyRecord:
        """Return it as the log holds a study."""
        terms = self.terms
        section = StudySection(
            name=self.name,
            trials=1,
            max_epochs=terms.max_epochs,
            seed=self.seed,
            objective=terms.objective.name,
            background=terms.objective.background,
            false_alarm=terms.objective.false_alarm,
            trainable=self.trainable,
            init_from=None if terms.init_from is None else str(terms.init_from),
        )
        return StudyRecord(
            folder=None if self.folder is None else str(self.folder),
            study=section,
            data=self.data,
            resources=ResourcesSection(cpus_per_trial=terms.threads, gpus_per_trial=terms.gpus),
            fixed=terms.configuration,
        )


def recorded_single(run: Path) -> RunState | None:
    """Return the state of the single run in a folder; None where none of its epochs was trained yet.

    Raises:
        StudyError: The folder holds a search.
        RecordError: The log is damaged.
    """
    if not (run / LOG_NAME).is_file():
        return None
    state = fold(run)
    if state.started is not None and state.space:
        raise StudyError(f"{run}: holds a search; name another folder with --out")
    return state if state.has_epochs else None


def run_single(
    single: Single, recorder: Recorder, data: TrainingData | None, *, on_epoch: Callable[[Epoch], None]
) -> TrialState:
    """Train to the last epoch, from the newest checkpoint of the record; whoever calls has checked that it fits.

    Args:
        single: What is trained.
        recorder: Of the run.
        data: As the trainable expects it.
        on_epoch: Called with each epoch that was recorded.

    Returns:
        The trial: completed, diverged, or failed where a trainable of one's own returned too early.

    Raises:
        KeyboardInterrupt: Ctrl-C; recorded, the same call goes on.
        Exception: Whatever the trainable raised; recorded as well.
    """
    run, state = recorder.run, recorder.state
    recorder.write(_opening(single, state, data), durable=True)

    def listen(event: Event) -> None:
        if isinstance(event, Checkpoint):
            _drop_earlier_attempts(run, state.trials[0, None], event)
        elif isinstance(event, Epoch):
            on_epoch(event)

    recorder.listen(listen)
    coordinator = Coordinator(GivenPlan(single.terms, seed=single.seed, state=state), recorder)
    trainable = load_trainable(single.trainable, single.folder)
    try:
        raised = run_here(coordinator, data, trainable)
    except KeyboardInterrupt:
        recorder.write(StudyEnded(finished=False, reason="interrupted by SIGINT"), durable=True)
        raise
    trial = state.trials[0, None]
    reason = "all epochs done" if trial.ended is None else trial.ended.reason
    recorder.write(StudyEnded(finished=trial.status == Status.COMPLETED, reason=reason), durable=True)
    if raised is not None and trial.status == Status.FAILED:
        raise raised
    return trial


def _opening(single: Single, state: RunState, data: TrainingData | None) -> StudyStarted | StudyResumed:
    names = code_names(single.trainable, single.terms.configuration)
    code = None if single.folder is None else own_code(single.folder, names)
    record, come_from = single.record(), dataclasses.replace(provenance(), own_code=code)
    if state.has_epochs:
        return StudyResumed(study=record, provenance=come_from)
    seen = SeenData.of(data)
    return StudyStarted(
        study=record,
        data_digest=seen.digest,
        validation_images=seen.validation_images,
        images=seen.images,
        init_digest=single.init_digest,
        provenance=come_from,
    )


def _drop_earlier_attempts(run: Path, trial: TrialState, newest: Checkpoint) -> None:
    """Delete what earlier attempts wrote: with a newer checkpoint on the disk nobody continues from it."""
    attempts = inside(run, checkpoint_folder(run, *trial.started.key).relative_to(run))
    for folder in attempts.iterdir():
        if folder.name != str(newest.attempt):
            with contextlib.suppress(OSError):  # it takes space, it harms nothing else
                remove_inside(run, folder.relative_to(run))


def epoch_rows(trial: TrialState) -> list[dict[str, Any]]:
    """Return the epochs that count, each with its time and what was measured, for `history.json`."""
    return [{"time": epoch.time, **epoch.measured()} for _, epoch in sorted(trial.epochs.items())]


def export_best(single: Single, recorder: Recorder, trial: TrialState) -> TrainedNetwork:
    """Write `model.keras`, the network of the best epoch of a trial that has ended, and record it; return it."""
    run = recorder.run
    if trial.checkpoint is None:
        raise RuntimeError(f"{run}: a trial that ended without a checkpoint")
    prepare_process(single.terms.threads, gpu=single.terms.gpus > 0)
    from seti_model.exported import export_model

    best = load_best(inside(run, trial.checkpoint.path))
    digest = export_model(best, run / TRAINED_MODEL)
    record_model(recorder, ModelExported(trial=0, path=TRAINED_MODEL, digest=digest))
    return best


def record_model(recorder: Recorder, exported: ModelExported) -> None:
    """Record that a model was written, unless it was the same one again, whose file had been lost."""
    known = recorder.state.models.get(exported.path)
    if known is None or (known.key, known.digest) != (exported.key, exported.digest):
        recorder.write(exported, durable=True)
