"""The state of a run, folded from its events: the same code serves the driver that writes and everyone who reads."""

from __future__ import annotations

import bisect
import heapq
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from results.errors import RecordError
from results.log.chain import Chain
from results.log.doubts import Derived, doubts
from results.log.epochs import Epochs
from results.log.reading import read_events
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
    ModelExported,
    NetworkMeasured,
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
    TrialReopened,
    TrialStarted,
)
from results.log.sense import require_point, require_space, require_start
from results.log.tally import Tally
from results.objective import Objective
from results.run_folder import LOG_NAME
from results.schema import Value
from results.study import Provenance, StudyRecord

# The first words of a driver, or those of another command: what lies before them is no time of a driver's.
_MAY_COME_AFTER_A_PAUSE = (
    StudyResumed,
    SpaceWidened,
    FinalsDecided,
    FinalEvaluated,
    ModelExported,
    TestUnlocked,
    StudyEnded,
)


@dataclass(slots=True)
class TrialState:
    """What is known of one trial. Epochs repeated after a crash supersede the earlier ones."""

    started: TrialStarted
    objective: Objective = field(default_factory=Objective)  # by which its epochs are ranked
    epochs: Epochs = field(default_factory=Epochs)  # changed by `add_epoch` and `cut` alone
    rungs: dict[int, Rung] = field(default_factory=dict)
    attempts: dict[int, AttemptStarted] = field(default_factory=dict)
    waiting: dict[int, AttemptWaiting] = field(default_factory=dict)
    running: dict[int, AttemptRunning] = field(default_factory=dict)
    attempts_ended: dict[int, AttemptEnded] = field(default_factory=dict)
    provenance: dict[int, Provenance] = field(default_factory=dict)  # of the driver that began each attempt
    checkpoints: list[Checkpoint] = field(default_factory=list)
    network: NetworkMeasured | None = None  # where the study has limits
    ended: TrialEnded | None = None
    forgiven: int = -1  # the last attempt whose failure does not count any more
    parameters: Mapping[str, Value] = field(init=False)  # the point of the present space, added parameters too
    best: Epoch | None = field(default=None, init=False)  # whose weights are kept: best finite, the first of equals
    last: Epoch | None = field(default=None, init=False)  # the latest
    _highest: float = field(default=-math.inf, init=False)  # merit of all epochs

    def __post_init__(self) -> None:
        self.parameters = self.started.parameters

    @property
    def status(self) -> Status:
        """Completed, stopped, diverged, failed, or running while none of them."""
        return self.ended.status if self.ended else Status.RUNNING

    @property
    def value(self) -> float:
        """The objective at the epoch whose weights are kept; NaN without one."""
        return self.best.value if self.best else math.nan

    @property
    def merit(self) -> float:
        """The same, the higher the better; -inf, below all others, without one."""
        return self.objective.merit(self.best.value) if self.best else -math.inf

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

    def add_epoch(self, epoch: Epoch) -> None:
        """Take in an epoch."""
        is_next = self.last is None or epoch.epoch > self.last.epoch
        self.epochs.add(epoch)
        if is_next:
            self._note(epoch)
        else:
            self._look_again()

    def cut(self, epoch: int) -> None:
        """Forget all epochs after one: what was done beyond a checkpoint is done again."""
        if self.last is not None and self.last.epoch > epoch:
            self.epochs.cut(epoch)
            self._look_again()

    def lose_checkpoint(self, path: str | None) -> None:
        """Forget a checkpoint (the latest where there is none of that path), those after it and what they held."""
        paths = [checkpoint.path for checkpoint in self.checkpoints]
        del self.checkpoints[paths.index(path) if path in paths else -1 :]
        self.cut(self.checkpoint.epoch if self.checkpoint else 0)
        self.ended = None

    def merit_at(self, epoch: int) -> float:
        """Return the best merit up to and including `epoch`: what a rung compares."""
        if self.last is not None and epoch >= self.last.epoch:
            return self._highest
        return max((self.objective.merit(e.value) for n, e in self.epochs.items() if n <= epoch), default=-math.inf)

    def passes(self, rung: Rung) -> bool:
        """Return whether the trial goes on by its value at a rung alone, exempt or not."""
        return self.objective.merit(rung.value) >= self.objective.merit(rung.cutoff)

    @property
    def failures(self) -> list[str]:
        """Why its attempts failed that count, in their order."""
        ended = sorted(self.attempts_ended.items())
        return [attempt.why for number, attempt in ended if attempt.counts and number > self.forgiven]

    def open_attempt(self) -> int | None:
        """Return the attempt that has started and not ended, if there is one."""
        last = max(self.attempts, default=None)
        return None if last is None or last in self.attempts_ended else last

    def _note(self, epoch: Epoch) -> None:
        """Compare an epoch with the best and the last of those before it."""
        merit, best = self.objective.merit(epoch.value), self.best
        if math.isfinite(merit) and (best is None or (merit, -epoch.epoch) > (self.merit, -best.epoch)):
            self.best = epoch
        self._highest = max(self._highest, merit)
        if self.last is None or epoch.epoch > self.last.epoch:
            self.last = epoch

    def _look_again(self) -> None:
        self.best, self.last, self._highest = None, None, -math.inf
        for epoch in self.epochs.values():
            self._note(epoch)


class RunState:
    """All trials of a run. `apply` is the only way to change it."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.started: StudyStarted | None = None
        self.study = StudyRecord()
        self._objective = Objective()
        self.space: Mapping[str, Any] = {}  # as it is now, and its fingerprint
        self.space_fingerprint = ""
        self.drivers: list[Provenance] = []  # the provenance of each, in turn
        self.nodes: dict[str, NodeChecked] = {}  # of a cluster, as the latest driver found them, by Ray's identity
        self._forget_trials()
        self.networks: dict[str, NetworkMeasured] = {}  # measured so far, by their shape
        self.finals: dict[TrialKey, FinalEvaluated] = {}
        self.decisions: list[FinalsDecided] = []  # each is one use of the test split
        self.was_tested_before = False  # by a seti-tune that recorded no decisions
        self.models: dict[str, ModelExported] = {}  # written from this run's weights, by their path in the run folder
        self.doubts: list[str] = []  # what speaks against the log that this was read from, a sentence each
        self.ended_once: set[TrialKey] = set()  # trials that have ended, also those that were opened again
        self.unlocks: list[TestUnlocked] = []  # each time the test split was predicted, or about to be
        self.ended: StudyEnded | None = None
        self.failures: list[TrialEnded] = []  # the failed trials in a row, without another end or a resume between
        self.core_seconds = 0.0  # of all epochs of the search, also those that were done again
        self.spent_s = 0.0  # wall time of all drivers of this run, without the time between them
        self.driver_since: datetime | None = None  # when the latest driver began to write
        self.last_event: datetime | None = None
        for event in events:
            self.apply(event)

    def _forget_trials(self) -> None:
        self.trials: dict[TrialKey, TrialState] = {}
        self.open: dict[TrialKey, TrialState] = {}  # those that have not ended
        self.tally = Tally()  # of those that have
        self.baselines: list[TrialState] = []  # in the search: trial 0, where the study has one
        self._search: list[TrialState] = []
        self._finals: list[TrialState] = []

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

    @property
    def n_search(self) -> int:
        """How many trials of the search there are."""
        return len(self._search)

    def search_trials(self) -> list[TrialState]:
        """Return the trials of the search, in the order of their numbers."""
        return list(self._search)

    def final_trials(self) -> list[TrialState]:
        """Return the retrainings of the finals."""
        return list(self._finals)

    def open_trials(self) -> list[TrialState]:
        """Return the trials that have not ended, those of the search first, each in the order of their numbers."""
        return sorted(self.open.values(), key=_order)

    def ranked(self, most: int | None = None) -> list[TrialState]:
        """Return the completed trials of the search, the best objective first, equals by number; at most so many."""
        return [self.trials[number, None] for _, number in self.tally.completed[:most]]

    def best_ended(self) -> Iterator[TrialState]:
        """Yield the ended trials of the search that have an objective, as `ranked`, however they ended."""
        for _, number in heapq.merge(self.tally.completed, self.tally.others):
            yield self.trials[number, None]

    def rung_values(self, epoch: int) -> Sequence[float]:
        """Return the merits at a rung, ascending, of the trials of the search that passed all rungs before it.

        An exempt trial that an earlier rung would have stopped does not count: it would not have come so far.
        """
        return self.tally.rungs[epoch]

    def apply(self, event: Event) -> None:
        """Fold one event in.

        Raises:
            RecordError: The event speaks of a trial that never started.
        """
        self._count_time(event)
        match event:
            case TrialStarted():
                require_point(self.space, event.parameters)
                self._begin(TrialState(event, self._objective))
            case ModelExported():
                self.models[event.path] = event
            case OfTrial():
                self._apply_to_trial(event)
            case StudyStarted():
                require_start(event)
                self.started, self.study, self._objective = event, event.study, event.study.objective
                self.drivers.append(event.provenance)
                self.space, self.space_fingerprint = event.space or {}, event.space_fingerprint or ""
                self._forget_trials()  # a given configuration of which no epoch was trained may be begun anew
            case StudyResumed():
                self.study, self.ended, self.failures, self.nodes = event.study, None, [], {}
                self.drivers.append(event.provenance)
                if not self.is_search:
                    self._reopen(event)
            case NodeChecked():
                self.nodes[event.node_id] = event
            case SpaceWidened():
                require_space(event.space)
                for (number, _), trial in self.trials.items():
                    require_point(event.space, {**trial.parameters, **event.carried.get(str(number), {})})
                self.space, self.space_fingerprint = event.space, event.space_fingerprint
                for (number, _), trial in self.trials.items():
                    trial.parameters = {**trial.parameters, **event.carried.get(str(number), {})}
            case StudyEnded():
                self.ended = event
            case FinalsDecided():
                self._require_retrained(event)
                self.decisions.append(event)
            case FinalEvaluated():
                self.finals[event.trial, event.repeat] = event
                self.was_tested_before |= not self.decisions
            case TestUnlocked():
                self.unlocks.append(event)

    def _require_retrained(self, decision: FinalsDecided) -> None:
        """Refuse finals of trials that are not there: pages count on them."""
        keys = [*((number, None) for number in decision.finalists), (decision.winner, decision.delivered)]
        lacking = next((key for key in keys if key not in self.trials), None)
        if lacking is not None or decision.seeds > len(self._finals):
            of = f"{decision.seeds} seeds" if lacking is None else f"trial {lacking[0]}"
            raise RecordError(f"{decision.kind}: of {of}, which are not in the log before it")

    def _reopen(self, resumed: StudyResumed) -> None:
        """Continue a given configuration: to more epochs than before, or after whatever ended it before the last."""
        for key, trial in self.trials.items():
            if trial.ended is not None and len(trial.epochs) < resumed.study.study.max_epochs:
                self.tally.count(trial, -1)
                trial.ended, self.open[key] = None, trial

    def _count_time(self, event: Event) -> None:
        now = datetime.fromisoformat(event.time)
        if now.utcoffset() is None:
            raise ValueError(f"time: {event.time[:40]!r} is of no zone")
        if self.last_event is not None and not isinstance(event, _MAY_COME_AFTER_A_PAUSE):
            self.spent_s += max(0.0, (now - self.last_event).total_seconds())  # a clock may jump back
        if isinstance(event, (StudyStarted, StudyResumed)):
            self.driver_since = now
        self.last_event = now

    def _begin(self, trial: TrialState) -> None:
        key = trial.started.key
        if (former := self.trials.get(key)) is not None:
            self._leave_out(key, former)
        self.trials[key] = self.open[key] = trial
        bisect.insort(self._search if key[1] is None else self._finals, trial, key=_order)
        if key[1] is None and trial.started.is_baseline:
            bisect.insort(self.baselines, trial, key=_order)

    def _leave_out(self, key: TrialKey, former: TrialState) -> None:
        """Forget a trial that is begun anew; no driver of ours does that."""
        if former.ended is not None:
            self.tally.count(former, -1)
        self.tally.count_rungs(_reached(former), {})
        for trials in (self._search, self._finals, self.baselines):
            trials[:] = [trial for trial in trials if trial is not former]
        self.open.pop(key, None)

    def _apply_to_trial(self, event: OfTrial) -> None:
        key = event.key
        if key not in self.trials:
            raise RecordError(f"{event.kind} of trial {event.trial} before its trial_started")
        trial = self.trials[key]
        had_ended = trial.ended is not None
        if had_ended:
            self.tally.count(trial, -1)
        self._change(trial, event)
        if trial.ended is not None:
            self.open.pop(key, None)
            self.tally.count(trial)
            trial.epochs.pack()
        elif had_ended:
            self.open[key] = trial

    def _change(self, trial: TrialState, event: OfTrial) -> None:
        match event:
            case Epoch():
                trial.add_epoch(event)
                if event.repeat is None and math.isfinite(event.seconds or 0.0):
                    self.core_seconds += (event.seconds or 0.0) * self.study.resources.cpus_per_trial
            case NetworkMeasured():
                trial.network = self.networks[event.shape] = event
            case AttemptStarted():
                trial.attempts[event.attempt] = event
                trial.provenance[event.attempt] = self.provenance
                # What an earlier attempt did beyond the checkpoint is done again.
                trial.cut(event.from_epoch)
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
                before = _reached(trial)
                trial.rungs[event.epoch] = event
                self.tally.count_rungs(before, _reached(trial))
            case Checkpoint():
                trial.checkpoints.append(event)
            case TrialReopened():
                trial.ended, trial.forgiven = None, max(trial.attempts, default=-1)
            case TrialEnded():
                trial.ended = event
                self.ended_once.add(event.key)
                if event.repeat is None:
                    failed = event.status == Status.FAILED and not trial.lacked_memory
                    self.failures = [*self.failures, event] if failed else []


def _order(trial: TrialState) -> tuple[int, int]:
    started = trial.started
    return (-1 if started.repeat is None else started.repeat), started.trial


def _reached(trial: TrialState) -> dict[int, float]:
    """Return the merits of a trial of the search at the rungs that it came to by its own values."""
    reached: dict[int, float] = {}
    for epoch in sorted(trial.rungs) if trial.started.repeat is None else ():
        rung = trial.rungs[epoch]
        merit = trial.objective.merit(rung.value)
        reached[epoch] = -math.inf if math.isnan(merit) else merit  # NaN has no place in an order
        if not trial.passes(rung):
            break
    return reached


def fold(
    run: Path, on_event: Callable[[RunState, Event], None] = lambda state, event: None, *, chain: Chain | None = None
) -> RunState:
    """Fold the log of a run folder as far as it goes; it may be empty.

    Args:
        run: The run folder.
        on_event: Told of each event after it was folded in, with the state so far.
        chain: Follows the lines.

    Raises:
        RecordError: No log, or a damaged one; the message names the line.
    """
    state, chain, derived = RunState(), chain or Chain(), Derived.of(run)
    for number, event in enumerate(read_events(run, chain), start=1):
        try:
            state.apply(event)
            on_event(state, event)
        except (RecordError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError) as error:
            raise RecordError(  # an event that no driver writes
                f"{run / LOG_NAME}, line {number}: {error}; restore the file from a copy, or cut it off there"
            ) from error
    has_decided = bool(state.decisions or state.finals)
    state.doubts = doubts(chain.broken, derived, ended=state.ended_once, is_decided=has_decided)
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
