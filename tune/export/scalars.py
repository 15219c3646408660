"""What other tools are shown of a trial: its name, its numbers by epoch, and when things happened."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import datetime

from results.log.records import Epoch
from results.log.state import TrialState

OBJECTIVE = "objective"  # the best one so far: at the end, that of the weights that are kept
SCALARS: Mapping[str, str] = {  # shown as, and the field of an epoch
    "validation/accuracy": "validation_accuracy",
    "validation/loss": "validation_loss",
    "train/accuracy": "train_accuracy",
    "train/loss": "train_loss",
    "learning_rate": "learning_rate",
    "images_per_s": "images_per_s",
}


def run_name(trial: TrialState) -> str:
    """Return `trial-0003`, or `final-0003-1` for its retraining 1; names sort like the numbers."""
    number, repeat = trial.started.key
    return f"trial-{number:04d}" if repeat is None else f"final-{number:04d}-{repeat}"


def scalars_by_epoch(trial: TrialState) -> list[tuple[Epoch, dict[str, float]]]:
    """Return the epochs that count in order, each with its numbers that are known and finite."""
    found, best = [], math.nan
    for _, epoch in sorted(trial.epochs.items()):
        numbers = {shown: getattr(epoch, name) for shown, name in SCALARS.items()}
        if not trial.objective.is_accuracy:
            numbers[f"validation/{trial.objective.name}"] = epoch.value
        numbers = {shown: value for shown, value in numbers.items() if value is not None and math.isfinite(value)}
        best = trial.objective.best(best, epoch.value if math.isfinite(epoch.value) else math.nan)
        found.append((epoch, numbers | ({OBJECTIVE: best} if math.isfinite(best) else {})))
    return found


def seconds_of(time: str) -> float:
    """Return a time of the log as seconds since 1970."""
    return datetime.fromisoformat(time).timestamp()
