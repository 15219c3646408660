"""Runs written by hand: the events of a study and of its trials, with what a test wants to say about them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    Epoch,
    Event,
    Rung,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from results.study import DataSection, Provenance, StudyRecord, StudySection
from results.tables.ties import pack_flags

SPACE = {"parameters": {"training.learning_rate": {"type": "float"}, "network.filters_1": {"type": "int"}}}


@dataclasses.dataclass(frozen=True)
class Hand:
    """Makes events; every default is the plainest case."""

    def study(
        self,
        *,
        name: str = "hand",
        trials: int = 8,
        space: Mapping[str, Any] = SPACE,
        objective: Any = "accuracy",
        **other: Any,
    ) -> Event:
        values = {"data_digest": "d" * 64, "space_fingerprint": "f", "provenance": Provenance()}
        study = StudyRecord(
            study=StudySection(name=name, trials=trials, objective=objective), data=DataSection(path="data/hand")
        )
        return StudyStarted(study=study, space=space, **(values | other))

    def trial(
        self,
        number: int,
        accuracies: Sequence[float],
        status: str | None = "completed",
        *,
        reason: str = "",
        right: Sequence[bool] | None = None,
        rungs: Mapping[int, tuple[float, float, str]] | None = None,
        parameters: Mapping[str, Any] | None = None,
        configuration: Mapping[str, Any] | None = None,
        max_epochs: int = 3,
    ) -> list[Event]:
        """Events of one trial; `right` are the flags of its best epoch, `rungs` hold value, cutoff and decision."""
        if parameters is None:
            parameters = {"training.learning_rate": 0.001 * (number + 1), "network.filters_1": 8 * (number + 1)}
        started = TrialStarted(
            trial=number,
            parameters=parameters,
            configuration=parameters if configuration is None else configuration,
            seed=number,
            is_baseline=number == 0,
            max_epochs=max_epochs,
        )
        events: list[Event] = [started, AttemptStarted(trial=number, attempt=0)]
        events.append(AttemptRunning(trial=number, attempt=0, node="node-1", pid=1))
        best = max(accuracies, default=0.0)
        for epoch, accuracy in enumerate(accuracies, start=1):
            flags = pack_flags(right) if right is not None and accuracy == best else None
            events.append(
                Epoch(trial=number, attempt=0, epoch=epoch, validation_accuracy=accuracy, validation_correct=flags)
            )
        for epoch, (value, cutoff, decision) in (rungs or {}).items():
            events.append(
                Rung(trial=number, epoch=epoch, value=value, seen=9, better=3, cutoff=cutoff, decision=decision)
            )
        if status is not None:
            events.append(AttemptEnded(trial=number, attempt=0, why=status))
            events.append(TrialEnded(trial=number, status=status, reason=reason, epochs=len(accuracies)))
        return events


@pytest.fixture(scope="session")
def hand() -> Hand:
    return Hand()
