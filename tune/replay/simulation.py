"""One search replayed: its coordinator with a recorder that keeps nothing, and workers of which only the clock runs."""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from results.learning_curves import Curve
from results.log.recorder import Recorder, Unwritten
from results.log.records import RungDecision, Status, StudyStarted
from results.log.state import RunState, TrialState
from results.study import AshaSection, FinalsSection, Provenance, SearchSection, StudySection
from tune.loop.coordinator import Coordinator
from tune.loop.search import SearchPlan
from tune.replay.nearest import Nearest
from tune.study import Study
from tune.trainable import AttemptOutcome, EpochReport, Left, Task

_AXES = {"epochs": 0, "seconds": 1}
Planned = Callable[[Study, RunState, Path], "ReplayPlan"]


class ReplayPlan(SearchPlan):
    """The plan of a search in which a trial also ends where its recorded curve does."""

    def __init__(self, study: Study, state: RunState, run: Path) -> None:
        super().__init__(study, state, run)
        self.lengths: dict[int, int] = {}  # of the cut curves of trials that have begun, by trial

    def overspent(self, trial: TrialState) -> str | None:
        """Say that nobody knows how the training went on."""
        cut = self.lengths.get(trial.started.trial)
        return None if cut is None or len(trial.epochs) < cut else f"its recorded curve ends after epoch {cut}"


@dataclass
class Trace:
    """What a replayed search has taken, and would have delivered at each time.

    `steps` holds, each time another trial leads, the epochs trained and the seconds simulated by then, and the regret
    from there on; `at` and `average` read it along the axis "epochs" or "seconds".
    """

    epochs: int = 0
    seconds: float = 0.0
    trials: int = 0  # that have ended
    beyond: int = 0  # of these, because their recorded curve does
    delivered: int | None = None  # the recorded configuration that leads
    steps: list[tuple[float, float, float]] = field(default_factory=list)

    def at(self, axis: str, place: float, before: float) -> float:
        """Return the regret there; `before` while nothing is completed."""
        passed = [step[2] for step in self.steps if step[_AXES[axis]] <= place]
        return passed[-1] if passed else before

    def average(self, axis: str, place: float, before: float) -> float:
        """Return the mean of the regret from the start to there."""
        ends = [min(step[_AXES[axis]], place) for step in self.steps]
        levels = [before, *(step[2] for step in self.steps)]
        parts = zip(levels, [0.0, *ends], [*ends, place], strict=True)
        return sum(regret * (end - start) for regret, start, end in parts) / place if place else before


def replayed_study(nearest: Nearest, *, search: SearchSection, asha: AshaSection, trials: int, seed: int) -> Study:
    """Return the study that is replayed: the recorded one with these sections, its baseline, and no start points."""
    recorded = nearest.recorded.study
    baseline = next((curve.parameters for curve in nearest.recorded.curves if curve.is_baseline), {})
    section = StudySection(
        space=recorded.study.space,
        trials=trials,
        max_epochs=nearest.max_epochs,
        seed=seed,
        objective=recorded.study.objective,
        background=recorded.study.background,
        false_alarm=recorded.study.false_alarm,
        trainable="replay:curves",  # nothing of a network is built or checked
    )
    return Study(
        study=section,
        search=search,
        asha=asha,
        finals=FinalsSection(enabled=False),
        baseline=baseline,
        space=nearest.space,
    )


def started(study: Study) -> StudyStarted:
    """Return the first line of a replayed search."""
    return StudyStarted(
        study=study.record(),
        space=study.space.to_mapping(),
        space_fingerprint=study.space.fingerprint,
        data_digest=None,
        provenance=Provenance(),
    )


def replay(
    nearest: Nearest,
    study: Study,
    *,
    workers: int = 1,
    epochs: int | None = None,
    planned: Planned = ReplayPlan,
    recorder: Recorder | None = None,
) -> Trace:
    """Replay one search.

    Args:
        nearest: The recorded configurations.
        study: From `replayed_study`.
        workers: As many trials run at once; each epoch takes the seconds that were recorded.
        epochs: The search is left after so many; None: when all its trials have ended.
        planned: What the coordinator carries out.
        recorder: Of a run that has not begun, or has its first line alone; to look at its state afterwards.
    """
    recorder = recorder or Unwritten()
    state = recorder.state
    if state.started is None:
        recorder.write(started(study))
    plan = planned(study, state, recorder.run)
    coordinator = Coordinator(plan, recorder, max_concurrent=workers)
    trace = Trace()
    for task, second in _Workers(nearest, coordinator, plan).run(trace, math.inf if epochs is None else epochs):
        trial = state.trials[task.trial, task.repeat]
        trace.trials += 1
        trace.beyond += trial.status == Status.STOPPED and plan.overspent(trial) is not None and not _stopped(trial)
        best = state.ranked(1)
        if best and best[0] is trial:
            trace.delivered = nearest.configuration(trial.parameters)
            trace.steps.append((trace.epochs, second, nearest.regret(trace.delivered)))
    return trace


class _Workers:
    """As many as the coordinator hands tasks to; each knows when its present epoch ends."""

    def __init__(self, nearest: Nearest, coordinator: Coordinator, plan: ReplayPlan) -> None:
        self._nearest, self._coordinator, self._plan = nearest, coordinator, plan
        self._busy: list[tuple[float, int, Task, Curve, int]] = []  # end of an epoch, order, …, epochs done by then
        self._order = itertools.count()

    def run(self, trace: Trace, most: float) -> Iterator[tuple[Task, float]]:
        """Yield each task that has ended, and when; `trace` is kept up to date, until it has so many epochs."""
        yield from self._hand_out(trace)
        while self._busy and trace.epochs < most:
            trace.seconds, _, task, curve, epoch = heapq.heappop(self._busy)
            value = curve.values[epoch - 1]
            report = EpochReport(
                epoch=epoch,
                validation_accuracy=value,
                metrics={self._nearest.objective.name: value},
                seconds=curve.seconds[epoch - 1],
            )
            trace.epochs += 1
            if self._coordinator.receive(task, report) or self._diverged(task, curve, epoch):
                yield task, trace.seconds
                yield from self._hand_out(trace)
            else:
                self._go_on(trace.seconds, task, curve, epoch)

    def _hand_out(self, trace: Trace) -> Iterator[tuple[Task, float]]:
        """Give tasks to whoever is free; a training that diverged before its first epoch ends at once."""
        while (task := self._coordinator.next_task()) is not None:
            curve = self._nearest.curve(self._nearest.configuration(task.configuration), task.seed)
            if curve.is_cut:
                self._plan.lengths[task.trial] = len(curve.values)
            if self._diverged(task, curve, 0):
                yield task, trace.seconds
            else:
                self._go_on(trace.seconds, task, curve, 0)

    def _go_on(self, now: float, task: Task, curve: Curve, epoch: int) -> None:
        heapq.heappush(self._busy, (now + curve.seconds[epoch], next(self._order), task, curve, epoch + 1))

    def _diverged(self, task: Task, curve: Curve, epoch: int) -> bool:
        if curve.status != Status.DIVERGED or epoch < len(curve.values):
            return False
        self._coordinator.receive(task, Left(AttemptOutcome.DIVERGED, "as recorded"))
        return True


def _stopped(trial: TrialState) -> bool:
    return any(rung.decision == RungDecision.STOP for rung in trial.rungs.values())
