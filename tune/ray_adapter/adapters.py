"""Ray Tune's searcher and scheduler as thin adapters of the coordinator: a Ray trial is one attempt of ours.

Ray calls the scheduler first, then the searcher, then callbacks, so reports go into the log in the scheduler.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ray import tune as ray_tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from results.errors import RecordError
from tune.loop.coordinator import Coordinator
from tune.ray_adapter.cluster import MemoryKills, why_waiting
from tune.ray_adapter.worker import run_on_worker
from tune.study import Study
from tune.trainable import Task

LATE_S = 300.0  # for a worker to begin
NODE_LABEL = "ray.io/node-id"


class _NotPickled:
    """Ray pickles its parts for a restore we never ask for; ours hold a lock and an open file and give nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LogSearcher(_NotPickled, Searcher):
    """Hands out what the coordinator says; answers "nothing yet" as long as anything lives."""

    def __init__(
        self,
        coordinator: Coordinator,
        interrupted: Callable[[], bool],
    ) -> None:
        """Begin with nothing handed out.

        Args:
            coordinator: Of the run.
            interrupted: Whether the driver was told to end.
        """
        super().__init__(metric=None, mode=None)
        self.coordinator = coordinator
        self._starting: dict[str, float] = {}  # attempts that no worker has begun, and since when
        self._said: set[str] = set()  # those of which is recorded why
        self._interrupted = interrupted
        self.memory_kills = MemoryKills()
        self.tasks: dict[str, Task] = {}  # by Ray's trial id
        self.error: Exception | None = None  # Ray would turn it into a TuneError with our traceback as its text

    @property
    def is_over(self) -> bool:
        """Whether Ray's loop has to end: the driver was told to, or could not record something."""
        return self.error is not None or self._interrupted()

    def suggest(self, trial_id: str) -> Any:
        """Return the next attempt as Ray's configuration."""
        if self.is_over:
            return Searcher.FINISHED
        try:
            task = self.coordinator.next_task()
        except Exception as error:
            self.error = error
            return Searcher.FINISHED
        if task is None:
            return Searcher.FINISHED if self.coordinator.is_finished() else None
        self.tasks[trial_id] = task
        self._starting[trial_id] = time.monotonic()
        return {"task": task}

    def note_begun(self, trial_id: str) -> None:
        """Take note that an attempt is in a worker's hands."""
        self._starting.pop(trial_id, None)
        self._said.discard(trial_id)

    def say_why_waiting(self) -> None:
        """Record, once for each attempt that has waited for long, why no worker begins it."""
        now = time.monotonic()
        late = [one for one, since in self._starting.items() if now - since > LATE_S and one not in self._said]
        if late:
            self._said.update(late)
            why = why_waiting()
            for trial_id in late:
                self.coordinator.note_waiting(self.tasks[trial_id], why)

    def stranded(self) -> list[str]:
        """Return the attempts that wait for nodes none of which has trials any more."""
        now = set(self.coordinator.nodes or ())
        waiting = [(trial_id, self.tasks[trial_id].nodes) for trial_id in self._starting]
        return [trial_id for trial_id, nodes in waiting if nodes is not None and now.isdisjoint(nodes)]

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note of an attempt that is gone without having said so; the others are over already."""
        early = "no node that it could go to is left" if trial_id in self._starting else "its worker ended early"
        self.note_begun(trial_id)
        task = self.tasks.pop(trial_id, None)
        if task is None or self.is_over:
            return
        for_memory = error and self.memory_kills.is_recent()
        died = "its worker was killed for memory" if for_memory else "its worker or node died"
        try:
            self.coordinator.attempt_died(task, died if error else early, for_memory=for_memory)
        except Exception as problem:
            self.error = problem

    def save(self, checkpoint_path: str) -> None:
        """Do nothing: the event log is the only state."""

    def restore(self, checkpoint_path: str) -> None:
        """Do nothing: the event log is the only state."""

    def save_to_dir(self, checkpoint_dir: str, session_str: str = "default") -> None:
        """Do nothing: the event log is the only state."""


class LogScheduler(_NotPickled, FIFOScheduler):
    """Passes reports to the coordinator and its decision back."""

    def __init__(self, searcher: LogSearcher) -> None:
        super().__init__()
        self._searcher = searcher

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Leave it to Ray which trial gets a free worker; the oldest would lose the one that is starting for it.

        What waits for nodes that are gone is given back, to be handed out for others.
        """
        if stranded := self._searcher.stranded():
            for trial in [trial for trial in tune_controller.get_trials() if trial.trial_id in stranded]:
                tune_controller.stop_trial(trial)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the report and answer "go on" or "stop"."""
        self._searcher.note_begun(trial.trial_id)
        task = self._searcher.tasks.get(trial.trial_id)
        if task is None or self._searcher.is_over:
            return FIFOScheduler.STOP
        try:
            stop = self._searcher.coordinator.receive(task, result["message"])
        except Exception as error:
            self._searcher.error = error
            return FIFOScheduler.STOP
        return FIFOScheduler.STOP if stop else FIFOScheduler.CONTINUE


class Interruptible(_NotPickled, ray_tune.Stopper):
    """Ends Ray's loop when the searcher says so; `on_step` is called ten times a second."""

    def __init__(self, searcher: LogSearcher, on_step: Callable[[], None]) -> None:
        self._searcher = searcher
        self._on_step = on_step

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Never stop a single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether the loop has to end."""
        is_over = self._searcher.is_over  # asked first: the last step must show that an end was asked for
        try:
            self._on_step()
        except RecordError as error:
            self._searcher.error = error
        self._searcher.say_why_waiting()
        self._searcher.memory_kills.look()
        return is_over


def _placement(config: Mapping[str, Any]) -> ray_tune.PlacementGroupFactory:
    """Return what an attempt is given, and on which nodes; by its configuration, as Ray pickles this function."""
    task: Task = config["task"]
    bundle = {"CPU": float(task.threads)} | ({"GPU": task.gpus} if task.gpus else {})
    if task.nodes is None:
        return ray_tune.PlacementGroupFactory([bundle])
    selector = {NODE_LABEL: f"in({','.join(task.nodes)})"}
    return ray_tune.PlacementGroupFactory([bundle], bundle_label_selector=[selector])


def make_tuner(
    study: Study, searcher: LogSearcher, data: Any, *, folder: Path, on_step: Callable[[], None]
) -> ray_tune.Tuner:
    """Return a Tuner whose trials are the attempts of a study.

    Args:
        study: What a trial is given.
        searcher: Of the coordinator.
        data: What trials may see; into Ray's object store once, read by all without a copy.
        folder: For Ray's own files.
        on_step: Called ten times a second.
    """
    trainable = ray_tune.with_parameters(run_on_worker, data=data, name=study.study.trainable, folder=study.home)
    return ray_tune.Tuner(
        ray_tune.with_resources(trainable, _placement),
        tune_config=ray_tune.TuneConfig(
            search_alg=searcher,
            scheduler=LogScheduler(searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=ray_tune.RunConfig(
            name="tune",
            storage_path=str(folder),
            stop=Interruptible(searcher, on_step),
            failure_config=ray_tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
