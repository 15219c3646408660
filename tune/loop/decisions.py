"""What a worker's report means for the record: its events and the decision of a rung, as pure functions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from results.log.lines import from_line, to_line
from results.log.records import Checkpoint, Epoch, Event, Rung, RungDecision, Status, TrialEnded
from results.log.state import RunState, TrialState
from results.objective import LOSS, Objective
from results.stats.objectives import DRAWS, pack_values
from results.tables.ties import pack_flags
from tune.loop.asha import decide, is_exempt
from tune.study import Study
from tune.trainable import EpochReport, Task


def epoch_events(run: Path, task: Task, report: EpochReport, state: RunState) -> list[Event]:
    """Return the epoch of a report and, where it brings one, its checkpoint.

    Args:
        run: The run folder, to which paths in the record are relative.
        task: The attempt that reports.
        report: What it says.
        state: The run; right images are recorded where this is the trial's best epoch so far.

    Raises:
        ValueError: The checkpoint lies elsewhere than it must, or there is not one flag for each validation image.
        RecordError: A value of another type than its field.
    """
    names: dict[str, Any] = {"trial": task.trial, "repeat": task.repeat, "attempt": task.attempt}
    numbers = {name: plain(value) for name, value in report.measured().items()}
    trial, flags, drawn = state.trials[task.trial, task.repeat], report.validation_correct, report.validation_drawn
    n = state.started.validation_images if state.started else None
    if flags is not None and n is not None and len(flags) != n:
        raise ValueError(f"validation_correct holds {len(flags)} flags, the data set {n} validation images")
    objective = trial.objective
    value = numbers["validation_accuracy"] if objective.is_accuracy else plain(_reported(report, objective))
    if not objective.is_accuracy:
        numbers["objective"] = value
    if drawn is not None and len(drawn) != DRAWS:
        raise ValueError(f"validation_drawn holds {len(drawn)} values, {DRAWS} are expected")
    if trial.best is None or objective.merit(value) > trial.merit:
        numbers |= {} if flags is None else {"validation_correct": pack_flags(flags)}
        numbers |= {} if drawn is None else {"validation_drawn": pack_values(drawn)}
    events: list[Event] = [Epoch(**names, **numbers)]
    if report.checkpoint is not None:
        below = _below(Path(report.checkpoint), task.checkpoint_folder)
        if below is None:
            raise ValueError(f"checkpoint {report.checkpoint} does not lie below task.checkpoint_folder")
        checkpoint = Checkpoint(
            **names,
            epoch=numbers["epoch"],
            path=(task.checkpoint_folder.relative_to(run) / below).as_posix(),
            bytes=plain(report.checkpoint_bytes),
            digest=report.checkpoint_digest,
            seconds=plain(report.checkpoint_seconds),
        )
        events.append(checkpoint)
    # As they will be read; what a line cannot hold is refused here, the log's own refusal would end the study.
    return [from_line(to_line(event)) for event in events]


def _reported(report: EpochReport, objective: Objective) -> float:
    """Return the objective from a report that gives it by name; the loss has a field of its own.

    Raises:
        ValueError: It is not there.
    """
    if report.metrics.get(objective.name) is not None:
        return report.metrics[objective.name]
    if objective.name == LOSS and report.validation_loss is not None:
        return report.validation_loss
    raise ValueError(
        f"the objective {objective.name!r} is not in metrics ({', '.join(report.metrics) or 'empty'}); report it with "
        f"EpochReport(..., metrics={{{objective.name!r}: ...}})"
    )


def rung(study: Study, state: RunState, trial: TrialState, epoch: int) -> Rung:
    """Return ASHA's decision on a trial at a rung, from the values that reached this rung before it."""
    merit = trial.objective.merit
    decision = decide(trial.merit_at(epoch), state.rung_values(epoch), study.asha.reduction_factor)
    if trial.started.is_baseline or is_exempt(trial.started.trial, study.asha.exempt_fraction):
        word = RungDecision.EXEMPT
    else:
        word = RungDecision.STOP if decision.stop else RungDecision.GO_ON
    return Rung(
        trial=trial.started.trial,
        epoch=epoch,
        value=merit(decision.value),
        seen=decision.seen,
        better=decision.better,
        cutoff=merit(decision.cutoff),
        decision=word,
    )


def trial_ended(trial: TrialState, status: Status, reason: str) -> TrialEnded:
    """Return the end of a trial with what it reached."""
    best, last = trial.best, trial.last
    return TrialEnded(
        trial=trial.started.trial,
        repeat=trial.started.repeat,
        status=status,
        reason=reason,
        epochs=len(trial.epochs),
        best_epoch=best.epoch if best else None,
        objective=best.value if best else None,
        weights_digest=last.weights_digest if last else None,
        best_weights_digest=last.best_weights_digest if last else None,
    )


def why_stopped(rung: Rung, objective: Objective) -> str:
    """Return the reason of a stop in words."""
    worse = "above" if objective.is_minimised else "below"
    return f"ASHA at epoch {rung.epoch}: {rung.value:.6g} is {worse} {rung.cutoff:.6g} ({rung.seen} seen)"


def plain(value: Any) -> Any:
    """Return a NumPy number as Python's, anything else as it is."""
    return value.item() if hasattr(value, "item") else value


def _below(path: Path, folder: Path) -> Path | None:
    """Return `path` relative to `folder` if it lies in it, links followed; else None."""
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder) if folder in path.parents else None
