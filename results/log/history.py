"""What a run cost and how it went: what only the order of its events tells, read from the log in one pass."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path

from results.errors import RecordError
from results.log.records import ENDED, Epoch, Event, Status, TrialKey
from results.log.state import RunState, TrialState, fold

FINALS, REPEATED = "finals", "repeated after faults"


@dataclass(frozen=True)
class Step:
    """The search had a new best: its value, and what had been spent by then."""

    trial: int
    value: float  # of the objective
    epochs: int  # of all trials of the search, repeated ones too
    hours: float  # wall time of the drivers


@dataclass(frozen=True)
class Cost:
    """What went into trials that ended in one way; `hours` are wall time of epochs, `core_hours` times threads."""

    what: str
    trials: int
    epochs: int
    core_hours: float
    gpu_hours: float


@dataclass(frozen=True)
class History:
    """A run with its steps and costs; the last step says where the search stands, also without a new best."""

    state: RunState
    steps: tuple[Step, ...]
    costs: tuple[Cost, ...]


def read_history(run: Path) -> History:
    """Read the log of a run folder.

    Raises:
        RecordError: No run folder, a damaged log, or nothing in it yet.
    """
    reader = _Reader()
    state = fold(run, reader.take)
    if state.started is None:
        raise RecordError(f"{run}: the log holds no study_started; start the search again with the same command")
    return History(state, reader.steps_to_now(), _costs(state, reader))


class _Reader:
    def __init__(self) -> None:
        self.epochs: Counter[TrialKey] = Counter()  # all that were ever recorded, and their seconds
        self.seconds: defaultdict[TrialKey, float] = defaultdict(float)
        self._search_epochs = 0
        self._steps: list[Step] = []
        self._last: Step | None = None

    def take(self, state: RunState, event: Event) -> None:
        if not isinstance(event, Epoch):
            return
        key = event.trial, event.repeat
        self.epochs[key] += 1
        self.seconds[key] += event.seconds or 0.0
        if event.repeat is not None:
            return
        self._search_epochs += 1
        best = self._steps[-1] if self._steps else None
        value, merit = event.value, state.study.objective.merit
        now = self._search_epochs, state.spent_s / 3600
        if math.isfinite(value) and (best is None or merit(value) > merit(best.value)):
            best = Step(event.trial, value, *now)
            self._steps.append(best)
        self._last = None if best is None else Step(best.trial, best.value, *now)

    def steps_to_now(self) -> tuple[Step, ...]:
        last = [] if self._last is None or self._last in self._steps else [self._last]
        return (*self._steps, *last)


def _costs(state: RunState, reader: _Reader) -> tuple[Cost, ...]:
    resources = state.study.resources
    cpus, gpus = resources.cpus_per_trial, resources.gpus_per_trial

    def cost(what: str, trials: int, epochs: int, seconds: float) -> Cost:
        return Cost(what, trials, epochs, seconds * cpus / 3600, seconds * gpus / 3600)

    def of(what: str, trials: list[TrialState]) -> Cost:
        return cost(what, len(trials), sum(len(t.epochs) for t in trials), sum(t.seconds for t in trials))

    search = state.search_trials()
    found = [of(status, [t for t in search if t.status == status]) for status in (*ENDED, Status.RUNNING)]
    found.append(of(FINALS, state.final_trials()))
    again = {key: reader.epochs[key] - len(trial.epochs) for key, trial in state.trials.items()}
    lost = [key for key, epochs in again.items() if epochs]
    seconds = sum(max(0.0, reader.seconds[key] - state.trials[key].seconds) for key in lost)
    found.append(cost(REPEATED, len(lost), sum(again[key] for key in lost), seconds))
    return tuple(one for one in found if one.trials)
