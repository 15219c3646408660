"""The search loop without Ray: hands out attempts, takes reports, decides, and writes every decision ahead.

All it knows it knows from the event log: a coordinator built from the log of an interrupted run goes on as the
interrupted one would have.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import math
import time
from collections import Counter
from collections.abc import Container
from pathlib import Path
from typing import Any

from results.commands import command
from results.errors import RecordError
from results.log.lines import from_line, to_line
from results.log.recorder import Recorder
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptWaiting,
    Cause,
    NetworkMeasured,
    NodeChecked,
    RungDecision,
    Status,
    TrialKey,
    utc_now,
)
from tune.errors import StudyError
from tune.loop.decisions import epoch_events, plain, trial_ended, why_stopped
from tune.loop.faults import BENCH_AFTER, Exceptions, Faults, nodes_for
from tune.loop.limits import MOST_OUTSIDE
from tune.loop.next_work import next_attempt
from tune.loop.plan import Plan
from tune.trainable import AttemptOutcome, Entered, EpochReport, Left, Message, NetworkSize, Task

MAX_DEATHS = 10  # of workers without an epoch in between; a bound, so that no run goes on for ever
_MACHINES = (AttemptOutcome.NO_SPACE, AttemptOutcome.NODE, AttemptOutcome.STORAGE)  # faults of their own, on a cluster
SEEN_S = 5.0  # within which a file that another machine has written is seen here


class HopelessStudyError(StudyError):
    """Trial after trial failed: the message shows the first error."""


class Coordinator:
    """One run in progress, whichever executor trains its attempts.

    `max_concurrent` attempts live at once; a worker that has grown above `memory_mb` (10**6 bytes) is replaced. On a
    cluster `nodes` have trials, by Ray's identity.
    """

    def __init__(
        self, plan: Plan, recorder: Recorder, *, max_concurrent: int = 1, memory_mb: float | None = None
    ) -> None:
        self.max_concurrent = max_concurrent
        self.memory_mb = memory_mb
        self.nodes: tuple[str, ...] | None = None
        self.state = recorder.state
        self._plan = plan
        self._recorder = recorder
        self._write = recorder.write
        self._live: dict[TrialKey, Task] = {}
        self._deaths: Counter[TrialKey] = Counter()
        self._faults = Faults()
        self._exceptions = Exceptions()
        for key in list(self.state.trials):
            self._recover(key)

    # What the searcher asks ---------------------------------------------------------------------------------

    def next_task(self) -> Task | None:
        """Return the next attempt, or None when there is nothing to hand out now.

        In this order: interrupted trials and attempts that died, new configurations, finals.
        """
        if len(self._live) >= self.max_concurrent:
            return None
        while (key := self._next_trial()) is not None:
            trial = self.state.trials[key]
            if (why := self._plan.outside(trial)) is not None:
                self._end_trial(key, Status.OUTSIDE, why)
            elif (why := self._plan.overspent(trial)) is not None:
                self._end_trial(key, Status.STOPPED, why)
            else:
                return self._start_attempt(key)
        return None

    def is_finished(self) -> bool:
        """Whether nothing is running and nothing will be handed out any more."""
        return not self._live and not self._plan.has_work()

    def _next_trial(self) -> TrialKey | None:
        waiting = [key for key in self.state.open if key not in self._live]
        if waiting:
            return min(waiting, key=lambda key: (-1 if key[1] is None else key[1], key[0]))
        started = self._plan.next_trial(self._live)
        if started is None:
            return None
        self._write(started)  # on the disk with the start of its attempt, or with its end
        self._plan.note_begun(self.state.trials[started.key])
        return started.key

    # What the workers say -----------------------------------------------------------------------------------

    def receive(self, task: Task, message: Message) -> bool:
        """Take a worker's message; return True when the attempt must stop. Decisions are on the disk by then."""
        key = (task.trial, task.repeat)
        if self._live.get(key) != task:
            return True  # a worker cut off earlier, whose trial has gone on elsewhere
        match message:
            case Entered():
                entered = vars(message)
                self._write(AttemptRunning(trial=task.trial, repeat=task.repeat, attempt=task.attempt, **entered))
            case NetworkSize():
                return self._measured(key, task, message)
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
        self._settle_deaths(key, f"workers died in a row, the last one: {why}")

    def note_waiting(self, task: Task, why: str) -> None:
        """Record why no worker begins an attempt."""
        if self._live.get((task.trial, task.repeat)) == task:
            self._write(AttemptWaiting(trial=task.trial, repeat=task.repeat, attempt=task.attempt, why=why))

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
            events = epoch_events(self._recorder.run, task, report, self.state)
        except (TypeError, ValueError, RecordError) as error:
            self._left(key, task, Left(AttemptOutcome.FAILED, f"a report that cannot be recorded: {error}"))
            return True
        is_shared = self.nodes is not None and task.storage is None
        if is_shared and report.checkpoint is not None and not _is_seen(Path(report.checkpoint)):
            unseen = f"the driver does not see the checkpoint {report.checkpoint} that it wrote"
            self._left(key, task, Left(AttemptOutcome.NODE, unseen))
            return True
        # An attempt removes its earlier checkpoint once this returns, so the new one must be known after a power cut.
        self._write(*events, durable=report.checkpoint is not None)
        self._deaths.pop(key, None)
        if node := self._node_of(task):
            self._faults.went_well(node.node_id)
        self._settle(key, task)
        trial = self.state.trials[key]
        if trial.ended is None and (why := self._plan.overspent(trial)) is not None:
            self._end_trial(key, Status.STOPPED, why, task)
        return trial.ended is not None

    def _measured(self, key: TrialKey, task: Task, size: NetworkSize) -> bool:
        """Take note of what a network has; end its trial where that is outside of the limits."""
        trial = self.state.trials[key]
        names: dict[str, Any] = {"trial": task.trial, "repeat": task.repeat, "attempt": task.attempt}
        sizes = {name: plain(value) for name, value in vars(size).items()}
        try:
            event = from_line(to_line(NetworkMeasured(**names, shape=self._plan.shape(trial), **sizes)))
        except (TypeError, RecordError) as error:
            self._left(key, task, Left(AttemptOutcome.FAILED, f"a size that cannot be recorded: {error}"))
            return True
        self._write(event)
        if (why := self._plan.outside(trial)) is not None:
            self._end_trial(key, Status.OUTSIDE, why, task)
        return why is not None

    def _settle(self, key: TrialKey, task: Task | None = None) -> None:
        """Decide what the latest epoch asks for and is not decided yet: divergence, a rung, the end."""
        trial = self.state.trials[key]
        last = trial.last
        if last is None:
            return
        if not math.isfinite(last.value):
            self._end_trial(key, Status.DIVERGED, f"validation {trial.objective.words} is {last.value}", task)
            return
        if last.epoch not in trial.rungs and (rung := self._plan.rung(trial, last.epoch)) is not None:
            self._write(rung, durable=rung.decision != RungDecision.STOP)  # else with the end that follows
        if last.epoch in trial.rungs and trial.rungs[last.epoch].decision == RungDecision.STOP:
            self._end_trial(key, Status.STOPPED, why_stopped(trial.rungs[last.epoch], trial.objective), task)
        elif last.epoch >= self._plan.terms(trial).max_epochs:
            self._end_trial(key, Status.COMPLETED, "all epochs done", task)

    def _left(self, key: TrialKey, task: Task, left: Left) -> None:
        run = self._recorder.run
        node = self._node_of(task)
        if left.outcome in _MACHINES and node is not None:
            self._failed_by(node, key, task, left)
            return
        if left.outcome == AttemptOutcome.NO_SPACE:
            raise StudyError(
                f"{run}: a worker could not write ({left.reason}); free some space and start the same command again, "
                "everything recorded so far is kept"
            )
        if left.outcome == AttemptOutcome.STORAGE:  # of the node or the store, no fault of the configuration
            self.attempt_died(task, left.reason)
            return
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
            cause = Cause.MEMORY if left.outcome == AttemptOutcome.MEMORY else None
            self._failed(key, task, reason, cause=cause, traceback=left.traceback)

    def _failed_by(self, node: NodeChecked, key: TrialKey, task: Task, left: Left) -> None:
        """End an attempt through a fault of its node, which has no trials any more after some of them in a row."""
        del self._live[key]
        why = f"{node.node}: {left.reason}"
        self._end_attempt(task, why, cause=Cause.NODE, traceback=left.traceback)
        self._settle_deaths(key, f"attempts met a fault of their machine or died in a row, the last one on {why}")
        is_of_all = left.outcome == AttemptOutcome.STORAGE  # a store that fails, fails every node
        if is_of_all or not self._faults.are_too_many(node.node_id, key) or not node.admitted:
            return
        row = f"{BENCH_AFTER} different trials in a row failed there, the last one: {left.reason}"
        if self.nodes == (node.node_id,):
            run = self._recorder.run
            raise HopelessStudyError(
                f"{run}: no node has trials but {node.node}, and {row}; correct the cause and continue with "
                f"`{command('resume', run)}`"
            )
        self._write(dataclasses.replace(node, time=utc_now(), admitted=False, reason=row), durable=True)
        self.nodes = tuple(other for other in self.nodes or () if other != node.node_id)

    def _node_of(self, task: Task) -> NodeChecked | None:
        """Return the node on which an attempt runs, where there are several and one has begun it."""
        running = self.state.trials[task.trial, task.repeat].running.get(task.attempt)
        return None if self.nodes is None or running is None else self.state.nodes.get(running.node_id or "")

    def _settle_deaths(self, key: TrialKey, words: str) -> None:
        """Count an attempt that ended through no fault of its own; end a trial with too many and no epoch between."""
        self._deaths[key] += 1
        if self._deaths[key] >= MAX_DEATHS:
            self._end_trial(key, Status.FAILED, f"{MAX_DEATHS} {words}")

    def _failed(
        self, key: TrialKey, task: Task, reason: str, *, cause: Cause | None = None, traceback: str = ""
    ) -> None:
        self._end_attempt(task, reason, counts=True, cause=cause, traceback=traceback)
        other = self._exceptions.other_trial(reason, task.trial) if cause is None else None
        if other is None:
            self._settle_failures(key)
        else:
            why = f"{reason}; not tried again, as trial {other} failed there with the same exception"
            self._end_trial(key, Status.FAILED, why)

    def _settle_failures(self, key: TrialKey) -> None:
        """End a trial that has used up its retries."""
        counted = self.state.trials[key].failures
        if len(counted) > self._plan.max_retries:
            self._end_trial(key, Status.FAILED, counted[-1])

    def _end_trial(self, key: TrialKey, status: Status, reason: str, task: Task | None = None) -> None:
        trial = self.state.trials[key]
        if task is not None:
            self._live.pop(key, None)
            self._end_attempt(task, status)
        self._write(trial_ended(trial, status, reason), durable=True)
        self._plan.note_ended(trial)
        if status in (Status.COMPLETED, Status.STOPPED):
            self._exceptions.went_well(key[0])
        if status == Status.OUTSIDE:
            self._require_inside()
        failures = self.state.failures
        if len(failures) >= self._plan.max_consecutive_failures:
            run, first = self._recorder.run, failures[0]
            raise HopelessStudyError(
                f"{run}: {len(failures)} trials in a row failed, the first one, trial {first.trial}: {first.reason}; "
                f"correct the cause and continue with `{command('resume', run)}`"
            )

    def _require_inside(self) -> None:
        """Refuse to go on where hardly any configuration is within the limits; the last one was not."""
        ended = (trial for trial in reversed(self.state.search_trials()) if trial.ended is not None)
        row = sum(1 for _ in itertools.takewhile(lambda trial: trial.status == Status.OUTSIDE, ended))
        if row and row % MOST_OUTSIDE == 0:
            raise HopelessStudyError(
                f"{self._recorder.run}: {row} configurations in a row are outside of [limits]; raise the limits in the "
                "study file and start `seti-tune search` with it again, or narrow its space in a run of its own"
            )

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

    def _start_attempt(self, key: TrialKey) -> Task:
        trial = self.state.trials[key]
        nodes = nodes_for(trial, self.nodes)
        terms = self._plan.terms(trial)
        task, event = next_attempt(self._recorder.run, trial, terms, memory_mb=self.memory_mb, nodes=nodes)
        self._write(event, durable=True)
        self._live[key] = task
        return task

    def _end_attempt(
        self, task: Task, why: str, *, counts: bool = False, cause: Cause | None = None, traceback: str = ""
    ) -> None:
        self._write(
            AttemptEnded(
                trial=task.trial,
                repeat=task.repeat,
                attempt=task.attempt,
                why=why,
                counts=counts,
                cause=cause,
                traceback=traceback,
            )
        )


def _is_seen(path: Path) -> bool:
    """Return whether a checkpoint of another machine is there; on a network's file system it may take a moment."""
    until = time.monotonic() + SEEN_S
    while not path.exists():
        if time.monotonic() > until:
            return False
        with contextlib.suppress(OSError):
            list(path.parent.iterdir())  # makes the system ask again
        time.sleep(0.1)
    return True
