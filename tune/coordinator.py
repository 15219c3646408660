"""The search loop without Ray: hands out attempts, takes reports, decides, and writes every decision ahead.

All it knows it knows from the event log: a coordinator built from the log of an interrupted run goes on as the
interrupted one would have.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from results.records import (
    COMPLETED,
    DIVERGED,
    FAILED,
    STOPPED,
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    Checkpoint,
    Epoch,
    Event,
    Rung,
    TrialEnded,
    TrialKey,
    TrialStarted,
)
from results.state import RunState, TrialState
from results.store import EventLog
from seti_model.seeding import derive_seed
from tune.agenda import checkpoint_folder, has_work, missing_finals, within_time
from tune.scheduler import decide, rung_epochs
from tune.search import Proposer
from tune.study import Study, StudyError
from tune.trial import Entered, EpochReport, Left, Task

MAX_RETRIES = 2  # of a training function that raises
MAX_DEATHS = 10  # of workers without an epoch in between; a bound, so that no run goes on for ever


class Coordinator:
    """One study in progress. `record` is called with every event after it is in the log."""

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
                self._write(
                    AttemptRunning(
                        trial=task.trial, repeat=task.repeat, attempt=task.attempt, node=message.node, pid=message.pid
                    )
                )
            case EpochReport():
                return self._epoch(key, task, message)
            case Left():
                self._left(key, task, message)
                return True
        return False

    def attempt_died(self, task: Task, why: str) -> None:
        """Note that an attempt's worker is gone without a word; it is handed out again."""
        key = (task.trial, task.repeat)
        if self._live.get(key) != task:
            return
        del self._live[key]
        self._end_attempt(task, why)
        self._deaths[key] += 1
        if self._deaths[key] >= MAX_DEATHS:
            self._end_trial(key, FAILED, f"{MAX_DEATHS} workers died in a row, the last one: {why}")

    def interrupt(self, why: str) -> None:
        """End all live attempts in the record; their trials stay open and continue with the next driver."""
        for task in list(self._live.values()):
            self._end_attempt(task, why)
        self._live.clear()

    # Decisions ----------------------------------------------------------------------------------------------

    def _epoch(self, key: TrialKey, task: Task, report: EpochReport) -> bool:
        names: dict[str, Any] = {k: getattr(task, k) for k in ("trial", "repeat", "attempt")} | {"epoch": report.epoch}
        values = {k: v for k, v in vars(report).items() if k != "epoch" and not k.startswith("checkpoint")}
        events: list[Event] = [Epoch(**names, **values)]
        if report.checkpoint is not None:
            below = _below(report.checkpoint, task.checkpoint_folder)
            if below is None:
                reason = f"checkpoint {report.checkpoint} does not lie below task.checkpoint_folder"
                self._left(key, task, Left("failed", reason))
                return True
            path = (task.checkpoint_folder.relative_to(self._run) / below).as_posix()
            events.append(
                Checkpoint(**names, path=path, bytes=report.checkpoint_bytes, digest=report.checkpoint_digest)
            )
        self._write(*events)
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
            self._end_trial(key, DIVERGED, f"validation accuracy is {last.validation_accuracy}", task)
            return
        if key[1] is None and last.epoch in self._rungs and last.epoch not in trial.rungs:
            self._write(self._rung(trial, last.epoch), durable=True)
        if last.epoch in trial.rungs and trial.rungs[last.epoch].decision == "stop":
            self._end_trial(key, STOPPED, _why_stopped(trial.rungs[last.epoch]), task)
        elif last.epoch >= trial.started.max_epochs:
            self._end_trial(key, COMPLETED, "all epochs done", task)

    def _rung(self, trial: TrialState, epoch: int) -> Rung:
        others = [t.rungs[epoch].value for t in self.state.search_trials() if epoch in t.rungs]
        decision = decide(trial.value_at(epoch), others, self._study.asha.reduction_factor)
        if trial.started.is_baseline:
            word = "exempt"
        else:
            word = "stop" if decision.stop else "go on"
        return Rung(
            trial=trial.started.trial,
            epoch=epoch,
            value=decision.value,
            seen=decision.seen,
            better=decision.better,
            cutoff=decision.cutoff,
            decision=word,
        )

    def _left(self, key: TrialKey, task: Task, left: Left) -> None:
        if left.outcome == "no space":
            raise StudyError(
                f"{self._run}: a worker could not write ({left.reason}); free some space and start the same command "
                "again, everything recorded so far is kept"
            )
        if left.outcome == "diverged":
            self._end_trial(key, DIVERGED, left.reason, task)
            return
        trial = self.state.trials[key]
        done = len(trial.epochs)
        reason = left.reason or f"the training function returned after {done} of {task.max_epochs} epochs"
        self._live.pop(key)
        self._end_attempt(task, reason, counts=True)
        if sum(a.counts for a in trial.attempts_ended.values()) > MAX_RETRIES:
            self._end_trial(key, FAILED, reason)

    def _end_trial(self, key: TrialKey, status: str, reason: str, task: Task | None = None) -> None:
        trial = self.state.trials[key]
        if task is not None:
            self._live.pop(key, None)
            self._end_attempt(task, status)
        best, last = trial.best, trial.last
        self._write(
            TrialEnded(
                trial=key[0],
                repeat=key[1],
                status=status,
                reason=reason,
                epochs=len(trial.epochs),
                best_epoch=best.epoch if best else None,
                objective=best.validation_accuracy if best else None,
                weights_digest=last.weights_digest if last else None,
                best_weights_digest=last.best_weights_digest if last else None,
            ),
            durable=True,
        )
        if key[1] is None:
            self._proposer.tell(trial)

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
        trial = self.state.trials[key]
        attempt = max(trial.attempts, default=-1) + 1
        saved = trial.checkpoint
        resume_from = saved.path if saved and (self._run / saved.path).exists() else None
        started = trial.started
        task = Task(
            trial=started.trial,
            repeat=started.repeat,
            attempt=attempt,
            configuration=started.configuration,
            seed=started.seed,
            max_epochs=started.max_epochs,
            checkpoint_folder=checkpoint_folder(self._run, started) / str(attempt),
            resume_from=self._run / resume_from if resume_from else None,
            threads=self._study.resources.cpus_per_trial,
            gpus=self._study.resources.gpus_per_trial,
        )
        self._write(
            AttemptStarted(
                trial=key[0],
                repeat=key[1],
                attempt=attempt,
                from_epoch=saved.epoch if saved and resume_from else 0,
                resume_from=resume_from,
            ),
            durable=True,
        )
        self._live[key] = task
        return task

    def _start_final(self) -> TrialKey | None:
        missing = missing_finals(self._study, self.state)
        if not missing:
            return None
        trial = missing[0].started
        self._write(
            TrialStarted(
                trial=trial.trial,
                repeat=0,
                parameters=missing[0].parameters,
                configuration=trial.configuration,
                seed=derive_seed(self._study.study.seed, trial.trial, "final", 0),
                is_baseline=trial.is_baseline,
                max_epochs=trial.max_epochs,
            ),
            durable=True,
        )
        return trial.trial, 0

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

    def _end_attempt(self, task: Task, why: str, *, counts: bool = False) -> None:
        self._write(AttemptEnded(trial=task.trial, repeat=task.repeat, attempt=task.attempt, why=why, counts=counts))

    def _write(self, *events: Event, durable: bool = False) -> None:
        self._log.append(*events, durable=durable)
        for event in events:
            self.state.apply(event)
        for event in events:
            self._on_event(event)

    def _live_search(self) -> bool:
        return any(repeat is None for _, repeat in self._live)


def _why_stopped(rung: Rung) -> str:
    return f"ASHA at epoch {rung.epoch}: {rung.value:.6g} is below {rung.cutoff:.6g} ({rung.seen} seen)"


def _below(path: Path, folder: Path) -> Path | None:
    """Return `path` relative to `folder` if it lies in it, links followed; else None."""
    path, folder = path.resolve(), folder.resolve()
    return path.relative_to(folder) if folder in path.parents else None
