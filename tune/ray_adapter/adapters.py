"""Ray Tune's searcher and scheduler as thin adapters of the coordinator: a Ray trial is one attempt of ours.

Ray calls the scheduler first, then the searcher, then callbacks, so reports go into the log in the scheduler.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray import tune as ray_tune
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler
from ray.tune.search import Searcher

from tune.loop.coordinator import Coordinator
from tune.ray_adapter.cluster import MemoryKills
from tune.trainable import Task


class _NotPickled:
    """Ray pickles its parts for a restore we never ask for; ours hold a lock and an open file and give nothing."""

    def __getstate__(self) -> dict[str, Any]:
        return {}


class LogSearcher(_NotPickled, Searcher):
    """Hands out what the coordinator says; answers "nothing yet" as long as anything lives."""

    def __init__(self, coordinator: Coordinator, interrupted: Callable[[], bool]) -> None:
        super().__init__(metric=None, mode=None)
        self._coordinator = coordinator
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
            task = self._coordinator.next_task()
        except Exception as error:
            self.error = error
            return Searcher.FINISHED
        if task is None:
            return Searcher.FINISHED if self._coordinator.is_finished() else None
        self.tasks[trial_id] = task
        return {"task": task}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Take note of an attempt that is gone without having said so; the others are over already."""
        task = self.tasks.pop(trial_id, None)
        if task is None or self.is_over:
            return
        for_memory = error and self.memory_kills.is_recent()
        died = "its worker was killed for memory" if for_memory else "its worker or node died"
        try:
            self._coordinator.attempt_died(task, died if error else "its worker ended early", for_memory=for_memory)
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

    def __init__(self, coordinator: Coordinator, searcher: LogSearcher) -> None:
        super().__init__()
        self._coordinator = coordinator
        self._searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Record the report and answer "go on" or "stop"."""
        task = self._searcher.tasks.get(trial.trial_id)
        if task is None or self._searcher.is_over:
            return FIFOScheduler.STOP
        try:
            stop = self._coordinator.receive(task, result["message"])
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
        self._on_step()
        self._searcher.memory_kills.look()
        return is_over
