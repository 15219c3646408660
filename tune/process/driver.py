"""One run from its study to its report: the process that holds the log and talks to Ray."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import re
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from results.files import remove_inside, write_atomically
from results.findings import Findings
from results.log.recorder import Recorder
from results.log.records import StudyEnded, StudyResumed, ThreadsRecord, TrialReopened
from results.log.state import RunState
from results.objective import AT_FALSE_ALARM, Objective
from results.receipt import write_receipts
from results.run_folder import PREPARED, RAY_FOLDER, SOURCE
from results.stats.detection import noise_needed
from results.tables.leaderboard import write_tables
from seti_model.data.dataset import Dataset, TrainingData
from seti_model.data.simulator import simulate_beside, simulate_dataset
from seti_model.runtime import importing
from tune.best import keep_best
from tune.cores import cores
from tune.derived import refresh
from tune.errors import ClusterError, StorageError, StudyError
from tune.finals import conclude_finals, reopenings
from tune.initial import prepare_initial
from tune.like import Like, borrow, require_as_begun, with_borrowed
from tune.loop.coordinator import Coordinator, HopelessStudyError
from tune.loop.next_work import finals_wait, has_work, within_core_hours
from tune.loop.search import SearchPlan
from tune.process.channel import tell_parent, tell_parent_left
from tune.process.signals import Interrupted, Signals
from tune.process.upkeep import Upkeep
from tune.provenance import provenance
from tune.ray_adapter import cluster as clusters
from tune.ray_adapter.autoscale import room_asked_for
from tune.resume import SeenData, check_continuation, check_digest, opening_events, retries
from tune.start import kept_start
from tune.storage.checkpoints import Checkpoints
from tune.storage.scratch import sweep
from tune.storage.segments import keep, stored_log
from tune.study import Study
from tune.threads import as_recorded, choose_threads, in_words, with_threads
from tune.trainable import load_trainable
from tune.view.live import Progress
from tune.view.terminal import PLAIN

if TYPE_CHECKING:
    from ray.exceptions import RayError


class RayLostError(StudyError):
    """Ray could not go on, for no reason of the study's: continuing is all there is to do."""

    exit_code = 3


@dataclass(frozen=True)
class Outcome:
    """How a run was left: finished, with what it found, or interrupted by the named signal."""

    state: RunState
    signal: str | None = None
    found: Findings | None = None


def run_study(
    study: Study,
    run: Path,
    *,
    address: str | None = None,
    signals: Signals | None = None,
    view: str = PLAIN,
    like: Like | None = None,
    retry_failed: bool = False,
) -> Outcome:
    """Run a study in the folder `run`, or continue the one that is there; a finished one is left as it is.

    Args:
        study: What to run.
        run: The run folder; made if it is not there.
        address: A Ray cluster; None for this machine.
        signals: Who is told of SIGINT and SIGTERM; None where the caller handles them otherwise.
        view: How it is shown, one of `tune.view.terminal.VIEWS`.
        like: Another run, whose best configurations a new one begins with.
        retry_failed: Whether trials that failed are opened again.

    Raises:
        StudyError: The folder holds another study, the trainable or the cluster cannot be reached, no space is left.
        DatasetError: The data set cannot be used.
        RecordError: The log is damaged, in use, or the disk is full.
    """
    if address is not None:
        clusters.check_address(address)
    elif not study.resources.gpus_per_trial:
        clusters.concurrency(study.resources, [{"CPU": cores()}])
    load_trainable(study.study.trainable, study.home)
    signals = signals or Signals()
    say = functools.partial(print, file=sys.stderr, flush=True)
    with stored_log(study.storage.uri, say=say, check=signals.check) as log, Recorder(run.absolute(), log) as recorder:
        driver = Driver(study, recorder, address=address, signals=signals, view=view, like=like)
        return driver.drive(retry_failed=retry_failed)


class Driver:
    """A study on its way from the first event to the report."""

    def __init__(
        self,
        study: Study,
        recorder: Recorder,
        *,
        address: str | None,
        signals: Signals,
        view: str,
        like: Like | None = None,
    ) -> None:
        """Take over a run.

        Raises:
            StudyError: It holds another study.
        """
        self.run = recorder.run
        self.recorder = recorder
        self.state = recorder.state
        self._address = address
        self._signals = signals
        self._like = like
        if like is not None and self.state.started is not None:
            require_as_begun(like, self.state, self.run)
        study = as_recorded(study, self.state)
        check_continuation(study, self.state, self.run)
        self.study = study = dataclasses.replace(study, start=kept_start(study, self.state))
        self._progress = Progress(study, self.state, view=view, signals=signals)
        for doubt in self.state.doubts:
            self._progress.say(f"warning: {doubt}")
        recorder.listen(self._progress.update)

    def drive(self, *, retry_failed: bool = False) -> Outcome:
        """Search, if anything is left to search, then evaluate and report; record how it ended."""
        try:
            found = self._search_and_conclude(retry_failed=retry_failed)
        except Interrupted as interrupted:
            if self.state.started is None:
                raise
            self._end_unfinished(f"interrupted by {interrupted.name}")
            return Outcome(self.state, signal=interrupted.name)
        except (HopelessStudyError, RayLostError, ClusterError, StorageError) as error:
            self._end_unfinished(str(error))
            raise
        return Outcome(self.state, found=found)

    def _search_and_conclude(self, *, retry_failed: bool) -> Findings:
        study, run, state = self.study, self.run, self.state
        failed = retries(state) if retry_failed else []
        if retry_failed:
            self._progress.say(f"trials that failed and are tried again: {len(failed)}")
        if failed or state.started is None or has_work(study, state) or reopenings(study, run, state):
            self._search(failed)
        else:
            self._simulate_again()
            if check_continuation(study, state, run) is not None:
                print(
                    "all trials have ended, so the wider space changes nothing yet; add trials with --trials N",
                    file=sys.stderr,
                )
            if finals_wait(study, state):  # nothing is left to train for them
                resumed = StudyResumed(study=study.record(), provenance=state.provenance)
                self.recorder.write(resumed, durable=True)
        conclude_finals(study, self.recorder, check=self._signals.check)
        if study.is_network and not study.finals.enabled and (path := study.dataset_path(run)) is not None:
            keep_best(Checkpoints(run, study.storage.uri), state, path)
        keep(study.storage.uri, run)
        if state.ended is None or not state.ended.finished:
            done, wanted = len(state.search_trials()), study.study.trials
            limit = "time limit reached" if within_core_hours(study, state) else "core-hours spent"
            reason = "all trials ended" if done >= wanted else f"{limit} after {done} of {wanted} trials"
            self.recorder.write(StudyEnded(finished=True, reason=reason), durable=True)
        return refresh(run)

    def _simulate_again(self) -> None:
        """Make the data set of a finished run whose folder was made from its store."""
        path = self.study.dataset_path(self.run)
        if self.study.storage.uri is None or self.study.data.simulate is None or path is None or path.exists():
            return
        _, digest = prepare_data(self.study, self.run, say=self._progress.say, on_image=self._signals.check)
        check_digest(self.run, self.state, digest)

    def _end_unfinished(self, reason: str) -> None:
        if self.state.started is None:
            return
        if self.state.ended is None:  # else it is recorded, or nothing has been begun since
            self.recorder.write(StudyEnded(finished=False, reason=reason), durable=True)
        write_receipts(self.run, self.state)
        write_tables(self.run, self.state)

    def _search(self, failed: Sequence[TrialReopened]) -> None:
        """Prepare, connect to Ray, and search until nothing is left to do."""
        self._borrow()
        study, run, signals = self.study, self.run, self._signals
        check_data_is_there(study, run, self.state)
        prepare_initial(study, run, self.state)
        data, digest = prepare_data(study, run, say=self._progress.say, on_image=signals.check)
        check_digest(run, self.state, digest)
        threads = self._settle_threads(data)
        study = self.study
        if study.source:
            write_atomically(run / SOURCE, study.source)
        keep(study.storage.uri, run)
        signals.check()
        with contextlib.suppress(OSError):  # whoever writes there says why it cannot be
            remove_inside(run, RAY_FOLDER)  # of a driver that was killed
        try:
            cluster = self._connect(data)
            come_from = provenance(dataclasses.asdict(cluster))
            seen = SeenData.of(data, digest)
            opening = opening_events(study, self.state, run, data=seen, provenance=come_from, threads=threads)
            self.recorder.write(*opening, *failed, durable=True)
            self.recorder.write(*reopenings(study, run, self.state), durable=True)
            keeps, uri = not study.is_network, study.storage.uri
            with Upkeep(self.recorder, keeps_training_state=keeps, storage=uri), self._progress:
                coordinator = Coordinator(
                    SearchPlan(study, self.state, run),
                    self.recorder,
                    max_concurrent=cluster.max_concurrent,
                    memory_mb=cluster.memory_mb,
                )
                while not self._tune_with_room(coordinator, data):
                    clusters.disconnect()
                    self._connect(data)
        finally:
            clusters.disconnect()
            tell_parent_left()
            shutil.rmtree(run / RAY_FOLDER, ignore_errors=True)
            if study.storage.uri is not None:
                sweep()

    def _settle_threads(self, data: TrainingData | None) -> ThreadsRecord | None:
        """Choose the threads of a trial in a new run whose study does not say them; say what was chosen."""
        resources = self.study.resources
        if self.study.says_threads or self.state.started is not None or resources.gpus_per_trial:
            return None
        if self._address is not None:
            self._progress.say("one thread a trial: on a cluster [resources] cpus_per_trial says if it shall be more")
            return None
        chosen = choose_threads(self.study, data, check=self._signals.check)
        self._progress.say(in_words(chosen))
        self.study = with_threads(self.study, chosen.threads)
        return chosen

    def _borrow(self) -> None:
        """Take over into a new run what it shall have of another one."""
        if self._like is None or self.state.started is not None:
            return
        borrowed = borrow(self.study, self._like)
        self.study = with_borrowed(self.study, borrowed)
        for line in borrowed.lines:
            self._progress.say(line)

    def _connect(self, data: TrainingData | None) -> clusters.Cluster:
        size = 0 if data is None else data.train.images.nbytes + data.validation.images.nbytes
        cluster = clusters.connect(self._address, self.study.resources, folder=self.run / RAY_FOLDER, data_bytes=size)
        if cluster.address is not None:
            tell_parent(cluster.address, asks_for_room=self.study.resources.autoscaled)
        self._signals.install()  # Ray takes SIGTERM for itself
        self._signals.check()
        return cluster

    def _tune_with_room(self, coordinator: Coordinator, data: TrainingData | None) -> bool:
        """Do what `_tune` does; where the cluster grows on request, ask it for room meanwhile."""
        if self._address is None or not self.study.resources.autoscaled:
            return self._tune(coordinator, data)
        with room_asked_for(self.study.resources, self.study.study.trials):
            return self._tune(coordinator, data)

    def _tune(self, coordinator: Coordinator, data: TrainingData | None) -> bool:
        """Run Ray Tune until nothing is left to do; return False where a new Ray has to go on.

        Ray Tune 2.60 takes a dead worker for a trial's error, but one killed by Ray's memory monitor ends its loop.
        """
        with importing():
            from ray.exceptions import RayError

            from tune.ray_adapter.adapters import LogSearcher, make_tuner
            from tune.ray_adapter.nodes import Nodes

        nodes = None
        if self._address is not None:
            nodes = Nodes(self.study, self.run, self.recorder)
            nodes.look_first(self._signals.check, say=self._progress.say)
            nodes.hand_to(coordinator)

        def on_step() -> None:
            self._progress.tick()
            self.recorder.require_place()
            if nodes is not None:
                nodes.look()
                if nodes.hand_to(coordinator):
                    self._progress.say(nodes.in_words())

        searcher = LogSearcher(coordinator, lambda: self._signals.received is not None)
        tuner = make_tuner(self.study, searcher, data, folder=self.run / RAY_FOLDER, on_step=on_step)
        is_whole = True
        try:
            tuner.fit()
        except RuntimeError as error:
            if not isinstance(error.__context__, RayError):
                raise
            _take_over(self.run, coordinator, error.__context__)
            is_whole = False
        if searcher.error is not None:
            coordinator.interrupt("the driver could not go on")
            raise searcher.error
        if self._signals.received is not None:
            self._interrupt(coordinator, f"interrupted by {self._signals.received}")
        return is_whole or coordinator.is_finished()

    def _interrupt(self, coordinator: Coordinator, why: str) -> None:
        """Record the end first of all: who sends SIGTERM may send SIGKILL while Ray's processes end."""
        coordinator.interrupt(why)
        self.recorder.write(StudyEnded(finished=False, reason=why), durable=True)
        self._signals.check()


def prepare_data(
    study: Study, run: Path, *, say: Callable[[str], None], on_image: Callable[[], None] = lambda: None
) -> tuple[TrainingData | None, str | None]:
    """Open the study's data set, simulating it into the run folder where it says so.

    Args:
        study: The study.
        run: Its run folder.
        say: Called with a line before something that takes time.
        on_image: Called after each simulated image; what it raises ends the simulation.

    Returns:
        What trials may see (never the test split) and the digest of the whole; (None, None) without [data].

    Raises:
        StudyError: Finals are enabled and there is no test split, or the objective has no meaning for these images.
        DatasetError: The data set cannot be used.
    """
    path = study.dataset_path(run)
    if path is None:
        return None, None
    if study.data.simulate is not None and not path.exists():
        _simulate(study, path, say=say, on_image=on_image)
    dataset = Dataset.open(path)
    if study.is_network and study.finals.enabled and "test" not in dataset.splits:
        raise StudyError(
            f"{path}: has no test split for the finals; import it with one, or set [finals] enabled = false"
        )
    data = dataset.training_data(prepared_in=(run / PREPARED).absolute())
    if study.is_network:
        _check_objective(path, study.objective, data)
    return data, dataset.digest


def _check_objective(path: Path, objective: Objective, data: TrainingData) -> None:
    if objective.name != AT_FALSE_ALARM:
        return
    if objective.background not in data.class_names:
        raise StudyError(
            f"{path}: [study] background = {objective.background!r} is none of its classes; choose one of "
            f"{', '.join(data.class_names)}"
        )
    found = int((data.validation.labels == data.class_names.index(objective.background)).sum())
    needed = noise_needed(objective.false_alarm).minimum
    if found < needed:
        raise StudyError(
            f"{path}: {found} validation images of {objective.background!r} cannot tell a false-alarm rate of "
            f"{objective.false_alarm:g}, at least {needed} can; raise [study] false_alarm, or add such images"
        )


def _simulate(study: Study, path: Path, *, say: Callable[[str], None], on_image: Callable[[], None]) -> None:
    data, preset = study.data, str(study.data.simulate)
    if data.path is not None:
        say(f"simulating {data.simulate_beside} training images beside those of {study.home / data.path} into {path}")
        beside = Dataset.open(study.home / data.path)
        simulate_beside(path, beside, preset, data.simulate_beside, data.seed, on_image=on_image)
        return
    counts = {"train": data.train, "validation": data.validation, "test": data.test}
    say(f"simulating {sum(counts.values())} images into {path}")
    simulate_dataset(path, preset, counts, data.seed, fresh=data.fresh, on_image=on_image)


def check_data_is_there(study: Study, run: Path, state: RunState) -> None:
    """Refuse to continue a run whose data set is gone.

    Raises:
        StudyError: It is not where the study says.
    """
    path = study.dataset_path(run)
    if state.started is None or path is None or path.exists():
        return
    if study.storage.uri is not None and study.data.simulate is not None:
        return  # a folder made from the store: it is simulated again, and its digest compared
    if study.data.simulate is None:
        way = f"put it back, or say where it is now with `{command('resume', run, data='PATH')}`"
    else:
        again = study.data.simulation_command(path, study.home)
        way = f"put it back, or make it again with `{again}`; its digest is compared"
    raise StudyError(f"{path}: the data set of this run is not there any more; {way}")


def _take_over(run: Path, coordinator: Coordinator, error: RayError) -> None:
    """Note what ended Ray Tune's loop: a worker killed for memory, or else nothing that could be gone on from."""
    killed = {int(pid) for pid in re.findall(r"Selected to kill: .*?\bpid=(\d+)", str(error))}
    if not coordinator.interrupt("Ray was started again", killed_for_memory=killed):
        raise RayLostError(
            f"{run}: Ray gave up ({type(error).__name__}: {str(error).splitlines()[0]}); all that was recorded is "
            f"kept, continue with `{command('resume', run)}`"
        ) from error
