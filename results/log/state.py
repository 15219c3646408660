"""The state of a run, folded from its events: the same code serves the driver that writes and everyone who reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from results.errors import RecordError
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    AttemptWaiting,
    Cause,
    Checkpoint,
    Epoch,
    Event,
    FinalEvaluated,
    FinalsDecided,
    NodeChecked,
    OfTrial,
    Rung,
    SpaceWidened,
    Status,
    StudyEnded,
    StudyResumed,
    StudyStarted,
    TestUnlocked,
    TrialEnded,
    TrialKey,
    TrialStarted,
    from_line,
)
from results.run_folder import LOG_NAME
from results.schema import Value
from results.study import Provenance, StudyRecord

# The first words of a driver, or those of another command: what lies before them is no time of a driver's.
_MAY_COME_AFTER_A_PAUSE = (StudyResumed, SpaceWidened, FinalsDecided, FinalEvaluated, TestUnlocked, StudyEnded)


@dataclass
class TrialState:
    """What is known of one trial. Epochs repeated after a crash supersede the earlier ones."""

    started: TrialStarted
    epochs: dict[int, Epoch] = field(default_factory=dict)
    rungs: dict[int, Rung] = field(default_factory=dict)
    attempts: dict[int, AttemptStarted] = field(default_factory=dict)
    waiting: dict[int, AttemptWaiting] = field(default_factory=dict)
    running: dict[int, AttemptRunning] = field(default_factory=dict)
    attempts_ended: dict[int, AttemptEnded] = field(default_factory=dict)
    provenance: dict[int, Provenance] = field(default_factory=dict)  # of the driver that began each attempt
    checkpoints: list[Checkpoint] = field(default_factory=list)
    ended: TrialEnded | None = None
    parameters: dict[str, Value] = field(init=False)  # the point of the present space, added parameters too

    def __post_init__(self) -> None:
        self.parameters = dict(self.started.parameters)

    @property
    def status(self) -> Status:
        """Completed, stopped, diverged, failed, or running while none of them."""
        return self.ended.status if self.ended else Status.RUNNING

    @property
    def best(self) -> Epoch | None:
        """The epoch whose weights are kept: highest finite validation accuracy, the first of equals."""
        finite = [e for e in self.epochs.values() if math.isfinite(e.validation_accuracy)]
        return max(finite, key=lambda e: (e.validation_accuracy, -e.epoch), default=None)

    @property
    def last(self) -> Epoch | None:
        """The latest epoch."""
        return self.epochs[max(self.epochs)] if self.epochs else None

    @property
    def checkpoint(self) -> Checkpoint | None:
        """The latest checkpoint, unless it was found to be damaged."""
        return self.checkpoints[-1] if self.checkpoints else None

    @property
    def lacked_memory(self) -> bool:
        """Whether the last attempt that ended did so for want of memory."""
        last = max(self.attempts_ended, default=None)
        return last is not None and self.attempts_ended[last].cause == Cause.MEMORY

    @property
    def seconds(self) -> float:
        """Wall time of all epochs that count."""
        return sum(e.seconds or 0.0 for e in self.epochs.values())

    def lose_checkpoint(self, path: str | None) -> None:
        """Forget a checkpoint (the latest where there is none of that path), those after it and what they held."""
        paths = [checkpoint.path for checkpoint in self.checkpoints]
        del self.checkpoints[paths.index(path) if path in paths else -1 :]
        kept = self.checkpoint.epoch if self.checkpoint else 0
        self.epochs = {n: e for n, e in self.epochs.items() if n <= kept}
        self.ended = None

    def value_at(self, epoch: int) -> float:
        """Return the best validation accuracy up to and including `epoch`: what a rung compares."""
        return max((e.validation_accuracy for n, e in self.epochs.items() if n <= epoch), default=float("-inf"))

    def open_attempt(self) -> int | None:
        """Return the attempt that has started and not ended, if there is one."""
        last = max(self.attempts, default=None)
        return None if last is None or last in self.attempts_ended else last


class RunState:
    """All trials of a run. `apply` is the only way to change it."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.started: StudyStarted | None = None
        self.study = StudyRecord()
        self.space: Mapping[str, Any] = {}  # as it is now, and its fingerprint
        self.space_fingerprint = ""
        self.drivers: list[Provenance] = []  # the provenance of each, in turn
        self.nodes: dict[str, NodeChecked] = {}  # of a cluster, as the latest driver found them, by Ray's identity
        self.trials: dict[TrialKey, TrialState] = {}
        self.finals: dict[TrialKey, FinalEvaluated] = {}
        self.decisions: list[FinalsDecided] = []  # each is one use of the test split
        self.was_tested_before = False  # by a seti-tune that recorded no decisions
        self.unlocks: list[TestUnlocked] = []  # each time the test split was predicted, or about to be
        self.ended: StudyEnded | None = None
        self.failures: list[TrialEnded] = []  # the failed trials in a row, without another end or a resume between
        self.spent_s = 0.0  # wall time of all drivers of this run, without the time between them
        self.driver_since: datetime | None = None  # when the latest driver began to write
        self.last_event: datetime | None = None
        for event in events:
            self.apply(event)

    @property
    def provenance(self) -> Provenance:
        """What the latest driver was made from and ran on."""
        return self.drivers[-1] if self.drivers else Provenance()

    @property
    def begun(self) -> str:
        """When the run began: what tells it from others, whatever its folder is called."""
        return self.started.time if self.started else ""

    @property
    def is_search(self) -> bool:
        """Whether configurations are searched in a space; else one was given."""
        return bool(self.space)

    @property
    def has_epochs(self) -> bool:
        """Whether any trial has been trained for an epoch that counts."""
        return any(trial.epochs for trial in self.trials.values())

    def search_trials(self) -> list[TrialState]:
        """Return the trials of the search, in the order of their numbers."""
        return [t for (_, repeat), t in sorted(self.trials.items(), key=_order) if repeat is None]

    def final_trials(self) -> list[TrialState]:
        """Return the retrainings of the finals."""
        return [t for (_, repeat), t in sorted(self.trials.items(), key=_order) if repeat is not None]

    def apply(self, event: Event) -> None:
        """Fold one event in.

        Raises:
            RecordError: The event speaks of a trial that never started.
        """
        self._count_time(event)
        match event:
            case TrialStarted():
                self.trials[event.key] = TrialState(event)
            case OfTrial():
                self._apply_to_trial(event)
            case StudyStarted():
                self.started, self.study = event, event.study
                self.drivers.append(event.provenance)
                self.space, self.space_fingerprint = event.space or {}, event.space_fingerprint or ""
                self.trials = {}  # a given configuration of which no epoch was trained may be begun anew
            case StudyResumed():
                self.study, self.ended, self.failures, self.nodes = event.study, None, [], {}
                self.drivers.append(event.provenance)
                if not self.is_search:
                    self._reopen(event)
            case NodeChecked():
                self.nodes[event.node_id] = event
            case SpaceWidened():
                self.space, self.space_fingerprint = event.space, event.space_fingerprint
                for (number, _), trial in self.trials.items():
                    trial.parameters |= event.carried.get(str(number), {})
            case StudyEnded():
                self.ended = event
            case FinalsDecided():
                self.decisions.append(event)
            case FinalEvaluated():
                self.finals[event.trial, event.repeat] = event
                self.was_tested_before |= not self.decisions
            case TestUnlocked():
                self.unlocks.append(event)

    def _reopen(self, resumed: StudyResumed) -> None:
        """Continue a given configuration: to more epochs than before, or after whatever ended it before the last."""
        for trial in self.trials.values():
            if len(trial.epochs) < resumed.study.study.max_epochs:
                trial.ended = None

    def _count_time(self, event: Event) -> None:
        now = datetime.fromisoformat(event.time)
        if self.last_event is not None and not isinstance(event, _MAY_COME_AFTER_A_PAUSE):
            self.spent_s += max(0.0, (now - self.last_event).total_seconds())  # a clock may jump back
        if isinstance(event, (StudyStarted, StudyResumed)):
            self.driver_since = now
        self.last_event = now

    def _apply_to_trial(self, event: OfTrial) -> None:
        if event.key not in self.trials:
            raise RecordError(f"{event.kind} of trial {event.trial} before its trial_started")
        trial = self.trials[event.key]
        match event:
            case Epoch():
                trial.epochs[event.epoch] = event
            case AttemptStarted():
                trial.attempts[event.attempt] = event
                trial.provenance[event.attempt] = self.provenance
                # What an earlier attempt did beyond the checkpoint is done again.
                trial.epochs = {n: e for n, e in trial.epochs.items() if n <= event.from_epoch}
            case AttemptWaiting():
                trial.waiting[event.attempt] = event
            case AttemptRunning():
                trial.running[event.attempt] = event
            case AttemptEnded():
                trial.attempts_ended[event.attempt] = event
                if event.cause == Cause.CHECKPOINT:
                    begun = trial.attempts.get(event.attempt)
                    trial.lose_checkpoint(begun.resume_from if begun else None)
            case Rung():
                trial.rungs[event.epoch] = event
            case Checkpoint():
                trial.checkpoints.append(event)
            case TrialEnded():
                trial.ended = event
                if event.repeat is None:
                    failed = event.status == Status.FAILED and not trial.lacked_memory
                    self.failures = [*self.failures, event] if failed else []


def _order(item: tuple[TrialKey, TrialState]) -> tuple[int, int]:
    (trial, repeat), _ = item
    return (-1 if repeat is None else repeat), trial


def read_events(run: Path) -> Iterator[Event]:
    """Yield the events of a run folder in order; a torn last line is ignored, it was never acted upon.

    Raises:
        RecordError: There is no log, or a line other than a torn last one is damaged.
    """
    path = run / LOG_NAME
    try:
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(
            f"{run}: no run folder ({LOG_NAME} is missing); give the folder that a search printed"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); ask for access or restore it") from error
    with file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                return
            try:
                yield from_line(line)
            except RecordError as error:
                raise RecordError(
                    f"{path}, line {number}: damaged: {error}; restore the file from a copy, "
                    "or cut it off before this line to continue from there"
                ) from error


def fold(run: Path, on_event: Callable[[RunState, Event], None] = lambda state, event: None) -> RunState:
    """Fold the log of a run folder as far as it goes; it may be empty.

    Args:
        run: The run folder.
        on_event: Told of each event after it was folded in, with the state so far.

    Raises:
        RecordError: No log, or a damaged one; the message names the line.
    """
    state = RunState()
    for number, event in enumerate(read_events(run), start=1):
        try:
            state.apply(event)
            on_event(state, event)
        except (RecordError, ValueError) as error:
            raise RecordError(
                f"{run / LOG_NAME}, line {number}: {error}; restore the file from a copy, or cut it off there"
            ) from error
    return state


def load_run(run: Path) -> RunState:
    """Read the log of a run folder; needs neither Ray nor Keras.

    Raises:
        RecordError: No run folder, or a damaged log.
    """
    state = fold(run)
    if state.started is None:
        raise RecordError(f"{run}: the log holds no study_started; start the search again with the same command")
    return state
