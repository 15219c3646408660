"""The search loop without Ray or processes: a coordinator whose tasks run in the test itself, and crash if told to."""

import dataclasses
import importlib.util
import math
import random
from pathlib import Path
from typing import Any

from results.files import write_atomically
from results.log.recorder import Recorder
from results.log.records import StudyEnded, StudyResumed, StudyStarted
from results.log.state import RunState
from results.objective import NAMES
from results.receipt import write_receipts
from results.run_folder import SOURCE
from results.study import Provenance
from results.tables.leaderboard import write_tables
from seti_model.data.dataset import TrainingData
from tune.derived import refresh
from tune.finals import conclude_finals
from tune.initial import prepare_initial
from tune.loop import executor
from tune.loop.coordinator import Coordinator
from tune.loop.search import SearchPlan
from tune.process.driver import prepare_data
from tune.provenance import provenance
from tune.resume import SeenData, check_digest, opening_events
from tune.start import kept_start
from tune.study import Study
from tune.trainable import Entered, EpochReport, Left, Task, load_trainable, train_network

spec = importlib.util.spec_from_file_location("quick", Path(__file__).parent / "quick_trainable.py")
assert spec is not None
assert spec.loader is not None
quick = importlib.util.module_from_spec(spec)
spec.loader.exec_module(quick)


class Crash(Exception):  # noqa: N818 - an event, not an error
    """The driver is gone."""


class Bench:
    """Runs a coordinator's tasks one epoch at a time in one process, and crashes where told to."""

    def __init__(
        self,
        study: Study,
        run: Path,
        *,
        workers: int = 1,
        crash_after: int | None = None,
        data: TrainingData | None = None,
        epoch_seconds: float | None = None,
    ) -> None:
        self._seconds = epoch_seconds
        self.recorder = Recorder(run)
        self.state = self.recorder.state
        study = dataclasses.replace(study, start=kept_start(study, self.state))
        if self.state.started is None:
            started = StudyStarted(
                study=study.record(),
                space=study.space.to_mapping(),
                space_fingerprint=study.space.fingerprint,
                data_digest=data.digest if data else None,
                validation_images=len(data.validation.labels) if data else None,
                provenance=Provenance(),
            )
            self.recorder.write(started)
        elif self.state.study != (record := study.record()):
            resumed = StudyResumed(study=record, provenance=Provenance())
            self.recorder.write(resumed)
        self.left = math.inf if crash_after is None else crash_after
        self.recorder.listen(self._count)
        self.plan = SearchPlan(study, self.state, run)
        try:
            self.coordinator = Coordinator(self.plan, self.recorder, max_concurrent=workers)
        except Crash:
            self.recorder.close()
            raise
        self.study = study
        self._written: dict[str, Path] = {}
        self._older: list[Path] = []

    def _count(self, event: object) -> None:
        self.left -= 1
        if self.left < 0:
            raise Crash

    def run(self, rng: random.Random | None = None) -> RunState:
        live: list[Any] = []
        try:
            for _ in range(100_000):
                while (task := self.coordinator.next_task()) is not None:
                    live.append(self._epochs(task))
                if not live:
                    assert self.coordinator.is_finished()
                    return self.state
                worker = rng.choice(live) if rng else live[0]
                if next(worker, True):
                    live.remove(worker)
            raise AssertionError("the study does not end")
        finally:
            self.recorder.close()

    def _checkpoint(self, task: Task, epoch: int) -> Path | None:
        """Write one where it is needed and now and then besides, and remove the one before it."""
        if epoch not in task.checkpoint_epochs and (epoch + task.trial) % 3:
            return None
        folder = task.checkpoint_folder / f"{epoch:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        before = self._written.get(str(task.checkpoint_folder))
        self._older += [before] if before else []
        self._written[str(task.checkpoint_folder)] = folder
        return folder

    def _prune(self) -> None:
        while self._older:
            self._older.pop().rmdir()

    def _epochs(self, task: Task) -> Any:
        self.coordinator.receive(task, Entered(node="here", pid=1))
        x = float(task.configuration["x"])
        start = int(task.resume_from.name) if task.resume_from else 0
        if task.measure and self.coordinator.receive(task, quick.size(x)):
            return
        for epoch in range(start + 1, task.max_epochs + 1):
            if x > float(self.study.fixed.get("diverges_above", 2.0)):
                self.coordinator.receive(task, Left("diverged", "loss is nan"))
                return
            folder = self._checkpoint(task, epoch)
            nan = epoch >= 2 and x < float(self.study.fixed.get("nan_below", 0.0))
            value = math.nan if nan else quick.accuracy(x, epoch, task.seed)
            metrics = dict.fromkeys(NAMES, math.nan) if nan else quick.metrics(x, epoch, task.seed)
            measured: dict[str, Any] = {"validation_accuracy": value, "metrics": metrics, "weights_digest": f"{x}"}
            measured["seconds"] = self._seconds
            report = EpochReport(epoch=epoch, checkpoint=folder, **measured)
            if self.coordinator.receive(task, report):
                return
            self._prune()  # as the real one, when the report has been taken
            yield False


class NetworkBench(Bench):
    """Trains the real network of each task, one after the other, in this process."""

    def __init__(self, study: Study, run: Path, data: TrainingData) -> None:
        super().__init__(study, run, data=data)
        self._data = data

    def run(self, rng: random.Random | None = None) -> RunState:
        with self.recorder:
            executor.run_here(self.coordinator, self._data, train_network)
        return self.state


def run_here(study: Study, run: Path) -> RunState:
    """Search, or go on, in this process and without Ray, with the study's trainable; finals are not yet decided."""
    with Recorder(run) as recorder:
        state = recorder.state
        prepare_initial(study, run, state)
        data, digest = prepare_data(study, run, say=lambda line: None)
        check_digest(run, state, digest)
        write_atomically(run / SOURCE, study.source)
        recorder.write(*opening_events(study, state, run, data=SeenData.of(data, digest), provenance=provenance()))
        coordinator = Coordinator(SearchPlan(study, state, run), recorder)
        executor.run_here(coordinator, data, load_trainable(study.study.trainable, study.home))
    write_receipts(run, state)
    write_tables(run, state)
    return state


def finish_here(study: Study, run: Path) -> None:
    """Bring a run to its end as a driver leaves it, the finals decided and the report written."""
    run_here(study, run)
    with Recorder(run) as recorder:
        conclude_finals(study, recorder)
        recorder.write(StudyEnded(finished=True, reason="all trials ended"))
    refresh(run)


def outcome(state: RunState) -> list[Any]:
    """What must not depend on where a run was interrupted: all but times, attempts and nodes."""
    return [
        (
            key,
            dict(t.started.configuration),
            t.started.seed,
            t.status,
            {n: repr(e.validation_accuracy) for n, e in sorted(t.epochs.items())},
            {n: (r.value, r.seen, r.better, r.cutoff, r.decision) for n, r in sorted(t.rungs.items())},
            t.ended and (t.ended.reason, t.ended.objective, t.ended.weights_digest),
        )
        for key, t in sorted(state.trials.items(), key=str)
    ]
