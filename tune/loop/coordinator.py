"""The search loop without Ray: hands out attempts, takes reports, decides, and writes every decision ahead.

All it knows it knows from the event log: a coordinator built from the log of an interrupted run goes on as the
interrupted one would have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Container
from pathlib import Path

from results.log.event_log import EventLog
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    Cause,
    Event,
    RungDecision,
    Status,
    TrialKey,
    TrialStarted,
)
from results.log.state import RunState
from seti_model.runtime import derive_seed
from tune.errors import StudyError
from tune.loop.asha import rung_epochs
from tune.loop.decisions import epoch_events, rung, trial_ended, why_stopped
from tune.loop.next_work import has_work, missing_finals, next_attempt, retraining, within_time
from tune.loop.proposer import Proposer
from tune.study import Study
from tune.trainable import AttemptOutcome, Entered, EpochReport, Left, Task

MAX_DEATHS = 10  # of workers without an epoch in between; a bound, so that no run goes on for ever


class HopelessStudyError(StudyError):
    """Trial after trial failed: the message shows the first error."""


class Coordinator:
    """One study in progress. `on_event` is called with every event after it is in the log."""

    def __init__(
        self,
        study: Study,
        log: EventLog,
        state: RunState,
        *,
        run: Path,
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.state = state
        self._study = study
        self._log = log
        self._run = run
        self.max_concurrent = 1  # as many attempts live at once
        self.memory_mb: float | None = None  # a worker that has grown above it is replaced
        self._on_event = on_event
        self._rungs = rung_epochs(study.asha.grace_epochs, study.asha.reduction_factor, study.study.max_epochs)
        self._live: dict[TrialKey, Task] = {}
        self._deaths: Counter[TrialKey] = Counter()
        self._proposer = Proposer(
            study.space,
            sampler=study.search.sampler,
            startup_trials=study.search.startup_trials,
            seed=study.study.seed,
        )
        self._proposer.rebuild(state.search_trials())
        for key in list(state.trials):
            self._recover(key)

    # What the searcher asks ---------------------------------------------------------------------------------

    def next_task(self) -> Task | None:
        """Return the next attempt, or None when there is nothing to hand out now.

        In this order: interrupted trials and attempts that died, new configurations, finals.
        """
        if len(self._live) >= self.max_concurrent:
            return None
        waiting = [key for key, trial in self.state.trials.items() if trial.ended is None and key not in self._live]
        if waiting:
            return self._start_attempt(min(waiting, key=lambda key: (-1 if key[1] is None else key[1], key[0])))
        if len(self.state.search_trials()) < self._study.study.trials and within_time(self._study, self.state):
            return self._start_attempt(self._start_trial())
        if not self._live_search() and (key := self._start_final()) is not None:
            return self._start_attempt(key)
        return None

    def is_finished(self) -> bool:
        """Whether nothing is running and nothing will be handed out any more."""
        return not self._live and not has_work(self._study, self.state)

    # What the workers say -----------------------------------------------------------------------------------

    def receive(self, task: Task, message: Entered | EpochReport | Left) -> bool:
        """Take a worker's message; return True when the attempt must stop. Decisions are on the disk by then."""
        key = (task.trial, task.repeat)
        if self._live.get(key) != task:
            return True  # a worker cut off earlier, whose trial has gone on elsewhere
        match message:
            case Entered():
                entered = vars(message)
                self._write(AttemptRunning(trial=task.trial, repeat=task.repeat, attempt=task.attempt, **entered))
            case EpochReport():
                return self._epoch(key, task, message)
            case Left():
                self._left(key, task, message)
                return True
        return False

    def attempt_died(self, task: Task, why: str, *, for_memory: bool = False) -> None:
        """Note that an attempt's worker is gone without a word; it is handed out again.

        One that was killed `for_memory` counts: the same configuration will ask for the same memory.
        """
        key = (task.trial, task.repeat)
        if self._live.get(key) != task:
            return
        del self._live[key]
        last = self.state.trials[key].last
        grown = last.resident_mb if last is not None and last.attempt == task.attempt else None
        if grown is not None and task.memory_mb is not None and grown > task.memory_mb:
            why = f"its worker had grown to {grown:.0f} MB, above {task.memory_mb:.0f} MB, and is replaced"
        elif for_memory:
            self._failed(key, task, why, cause=Cause.MEMORY)
            return
        self._end_attempt(task, why)
        self._deaths[key] += 1
        if self._deaths[key] >= MAX_DEATHS:
            self._end_trial(key, Status.FAILED, f"{MAX_DEATHS} workers died in a row, the last one: {why}")

    def interrupt(self, why: str, *, killed_for_memory: Container[int] = ()) -> bool:
        """End all live attempts in the record; their trials stay open and are continued.

        Args:
            why: What is recorded of them.
            killed_for_memory: Processes that were killed for memory: the attempts they ran count.

        Returns:
            Whether one of these processes ran an attempt.
        """
        found = False
        for key, task in list(self._live.items()):
            del self._live[key]
            running = self.state.trials[key].running.get(task.attempt)
            if running is not None and running.pid in killed_for_memory:
                found = True
                self._failed(key, task, f"its worker was killed for memory on {running.node}", cause=Cause.MEMORY)
            else:
                self._end_attempt(task, why)
        return found

    # Decisions ----------------------------------------------------------------------------------------------

    def _epoch(self, key: TrialKey, task: Task, report: EpochReport) -> bool:
        try:
            events = epoch_events(self._run, task, report, self.state)
        except (TypeError, ValueError) as error:
            self._left(key, task, Left(AttemptOutcome.FAILED, f"a report that cannot be recorded: {error}"))
            return True
        # An attempt removes its earlier checkpoint once this returns, so the new one must be known after a power cut.
        self._write(*events, durable=report.checkpoint is not None)
        self._deaths.pop(key, None)
        self._settle(key, task)
        return self.state.trials[key].ended is not None

    def _settle(self, key: TrialKey, task: Task | None = None) -> None:
        """Decide what the latest epoch asks for and is not decided yet: divergence, a rung, the end."""
        trial = self.state.trials[key]
        last = trial.last
        if last is None:
            return
        if not math.isfinite(last.validation_accuracy):
            self._end_trial(key, Status.DIVERGED, f"validation accuracy is {last.validation_accuracy}", task)
            return
        if key[1] is None and last.epoch in self._rungs and last.epoch not in trial.rungs:
            self._write(rung(self._study, self.state, trial, last.epoch), durable=True)
        if last.epoch in trial.rungs and trial.rungs[last.epoch].decision == RungDecision.STOP:
            self._end_trial(key, Status.STOPPED, why_stopped(trial.rungs[last.epoch]), task)
        elif last.epoch >= trial.started.max_epochs:
            self._end_trial(key, Status.COMPLETED, "all epochs done", task)

    def _left(self, key: TrialKey, task: Task, left: Left) -> None:
        if left.outcome == AttemptOutcome.NO_SPACE:
            raise StudyError(
                f"{self._run}: a worker could not write ({left.reason}); free some space and start the same command "
                "again, everything recorded so far is kept"
            )
        if left.outcome == AttemptOutcome.DIVERGED:
            self._end_trial(key, Status.DIVERGED, left.reason, task)
            return
        trial = self.state.trials[key]
        done = len(trial.epochs)
        reason = left.reason or f"the training function returned after {done} of {task.max_epochs} epochs"
        self._live.pop(key)
        if left.outcome == AttemptOutcome.CHECKPOINT and task.resume_from is not None:
            self._end_attempt(task, reason, cause=Cause.CHECKPOINT)
        else:
            self._failed(key, task, reason, cause=Cause.MEMORY if left.outcome == AttemptOutcome.MEMORY else None)

    def _failed(self, key: TrialKey, task: Task, reason: str, *, cause: Cause | None = None) -> None:
        self._end_attempt(task, reason, counts=True, cause=cause)
        self._settle_failures(key)

    def _settle_failures(self, key: TrialKey) -> None:
        """End a trial that has used up its retries."""
        counted = [a.why for _, a in sorted(self.state.trials[key].attempts_ended.items()) if a.counts]
        if len(counted) > self._study.study.max_retries:
            self._end_trial(key, Status.FAILED, counted[-1])

    def _end_trial(self, key: TrialKey, status: Status, reason: str, task: Task | None = None) -> None:
        trial = self.state.trials[key]
        if task is not None:
            self._live.pop(key, None)
            self._end_attempt(task, status)
        self._write(trial_ended(trial, status, reason), durable=True)
        if key[1] is None:
            self._proposer.tell(trial)
        failures = self.state.failures
        if len(failures) >= self._study.study.max_consecutive_failures:
            raise HopelessStudyError(
                f"{self._run}: {len(failures)} trials in a row failed, the first one, trial {failures[0].trial}: "
                f"{failures[0].reason}; correct the cause and continue with `seti-tune resume {self._run}`"
            )

    # Starting -----------------------------------------------------------------------------------------------

    def _start_trial(self) -> TrialKey:
        number = len(self.state.search_trials())
        baseline = self._study.baseline_parameters() if number == 0 else None
        parameters = self._proposer.propose(number) if baseline is None else baseline
        self._write(
            TrialStarted(
                trial=number,
                parameters=parameters,
                configuration=self._study.configuration(parameters),
                seed=derive_seed(self._study.study.seed, number),
                is_baseline=baseline is not None,
                max_epochs=self._study.study.max_epochs,
            ),
            durable=True,
        )
        if baseline is not None:
            self._proposer.add(self.state.trials[number, None])
        return number, None

    def _start_attempt(self, key: TrialKey) -> Task:
        task, event = next_attempt(self._study, self._run, self.state.trials[key], memory_mb=self.memory_mb)
        self._write(event, durable=True)
        self._live[key] = task
        return task

    def _start_final(self) -> TrialKey | None:
        missing = missing_finals(self._study.finals, self.state)
        if not missing:
            return None
        event = retraining(self._study, *missing[0])
        self._write(event, durable=True)
        return event.key

    # The record ---------------------------------------------------------------------------------------------

    def _recover(self, key: TrialKey) -> None:
        """Write what an interrupted driver could not: the end of its attempts, and missing decisions."""
        trial = self.state.trials[key]
        open_attempt = trial.open_attempt()
        if open_attempt is not None:
            self._write(
                AttemptEnded(trial=key[0], repeat=key[1], attempt=open_attempt, why="the driver was interrupted")
            )
        # The epoch after the last checkpoint is done again: its weights are gone, so it must not end the trial.
        whole = trial.checkpoint is None or trial.last is None or trial.checkpoint.epoch >= trial.last.epoch
        if trial.ended is None and whole:
            self._settle(key)
        if trial.ended is None:
            self._settle_failures(key)

    def _end_attempt(self, task: Task, why: str, *, counts: bool = False, cause: Cause | None = None) -> None:
        self._write(
            AttemptEnded(
                trial=task.trial, repeat=task.repeat, attempt=task.attempt, why=why, counts=counts, cause=cause
            )
        )

    def _write(self, *events: Event, durable: bool = False) -> None:
        self._log.append(*events, durable=durable)
        for event in events:
            self.state.apply(event)
        for event in events:
            self._on_event(event)

    def _live_search(self) -> bool:
        return any(repeat is None for _, repeat in self._live)
