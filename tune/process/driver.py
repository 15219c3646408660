"""One run from its study to its report: the process that holds the log and talks to Ray."""

from __future__ import annotations

import dataclasses
import re
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.log.event_log import EventLog, write_atomically
from results.log.records import Event, StudyEnded, StudyResumed, TrialEnded
from results.log.state import RunState, fold
from results.report.markdown import write_report
from results.tables.leaderboard import write_tables
from tune.cli.report import write_whole_report
from tune.errors import StudyError
from tune.export.optuna import JOURNAL, JournalExport
from tune.finals import conclude_finals, drop_training_state, reopenings
from tune.initial import prepare_initial
from tune.loop.coordinator import Coordinator, HopelessStudyError
from tune.loop.next_work import finals_wait, has_work
from tune.process.signals import Interrupted, Signals
from tune.provenance import provenance
from tune.ray_adapter import cluster as clusters
from tune.resume import SOURCE, check_continuation, check_digest, opening_events
from tune.sections import simulation_command
from tune.study import Study
from tune.trainable import load_trainable, run_attempt
from tune.view.live import Progress
from tune.view.terminal import PLAIN

if TYPE_CHECKING:
    from ray.exceptions import RayError

    from seti_model.data.dataset import TrainingData

RAY_FOLDER = ".ray"
TABLES_EVERY_S = 10.0


class RayLostError(StudyError):
    """Ray could not go on, for no reason of the study's: continuing is all there is to do."""

    exit_code = 3


@dataclass(frozen=True)
class Outcome:
    """How a run was left: finished, or interrupted by the named signal."""

    state: RunState
    signal: str | None = None


def run_study(
    study: Study, run: Path, *, address: str | None = None, signals: Signals | None = None, view: str = PLAIN
) -> Outcome:
    """Run a study in the folder `run`, or continue the one that is there; a finished one is left as it is.

    Args:
        study: What to run.
        run: The run folder; made if it is not there.
        address: A Ray cluster; None for this machine.
        signals: Who is told of SIGINT and SIGTERM; None where the caller handles them otherwise.
        view: How it is shown, one of `tune.view.terminal.VIEWS`.

    Raises:
        StudyError: The folder holds another study, the trainable or the cluster is not to be had, no space is left.
        DatasetError: The data set cannot be used.
        RecordError: The log is damaged, in use, or the disk is full.
    """
    run, signals = run.absolute(), signals or Signals()
    if address is not None:
        clusters.check_address(address)
    elif not study.resources.gpus_per_trial:
        clusters.concurrency(study.resources, clusters.local_cpus(), 0)
    load_trainable(study.study.trainable, study.folder)
    with EventLog(run) as log:
        state = fold(run)
        check_continuation(study, state, run)
        try:
            progress = Progress(study, state, view=view, signals=signals)
            _drive(study, run, log, state, address, signals, progress)
        except Interrupted as interrupted:
            if state.started is None:
                raise
            if state.ended is not None:  # nothing has been begun since
                return Outcome(state, signal=interrupted.name)
            _write(log, state, StudyEnded(finished=False, reason=f"interrupted by {interrupted.name}"))
            write_tables(run, state)
            return Outcome(state, signal=interrupted.name)
        except (HopelessStudyError, RayLostError) as error:
            _write(log, state, StudyEnded(finished=False, reason=str(error)))
            write_tables(run, state)
            raise
        return Outcome(state)


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
        StudyError: Finals are enabled and there is no test split.
        DatasetError: The data set cannot be used.
    """
    from seti_model.data.dataset import Dataset

    path = study.dataset_path(run)
    if path is None:
        return None, None
    if study.data.simulate is not None and not path.exists():
        from seti_model.data.simulator import simulate_dataset

        counts = {"train": study.data.train, "validation": study.data.validation, "test": study.data.test}
        say(f"simulating {sum(counts.values())} images into {path}")
        simulate_dataset(path, study.data.simulate, counts, study.data.seed, on_image=on_image)
    dataset = Dataset.open(path)
    if study.is_network and study.finals.enabled and "test" not in dataset.splits:
        raise StudyError(
            f"{path}: has no test split for the finals; import it with one, or set [finals] enabled = false"
        )
    return dataset.training_data(), dataset.digest


def _drive(
    study: Study, run: Path, log: EventLog, state: RunState, address: str | None, signals: Signals, progress: Progress
) -> None:
    """Search, if anything is left to search, then evaluate and report."""
    if state.started is None or has_work(study, state) or reopenings(study, run, state):
        _check_data_is_there(study, run, state)
        prepare_initial(study, run, state)
        data, digest = prepare_data(study, run, say=progress.say, on_image=signals.check)
        check_digest(run, state, digest)
        if study.source:
            write_atomically(run / SOURCE, study.source)
        signals.check()
        _search(study, run, log, state, data, digest, address, signals, progress)
    else:
        if check_continuation(study, state, run) is not None:
            print(
                "the wider space counts once there is something to search; add trials with --trials N", file=sys.stderr
            )
        _journal(study, run, state).finish()
        if finals_wait(study, state):  # nothing is left to train for them
            _write(log, state, StudyResumed(study=study.to_mapping(), provenance=state.provenance))
    conclude_finals(study, run, log, state, check=signals.check)
    if state.ended is None or not state.ended.finished:
        done, wanted = len(state.search_trials()), study.study.trials
        reason = "all trials ended" if done >= wanted else f"time limit reached after {done} of {wanted} trials"
        _write(log, state, StudyEnded(finished=True, reason=reason))
    write_tables(run, state)
    write_report(run, state)
    write_whole_report(run, state)


def _check_data_is_there(study: Study, run: Path, state: RunState) -> None:
    path = study.dataset_path(run)
    if state.started is None or path is None or path.exists():
        return
    if study.data.simulate is None:
        way = f"put it back, or say where it is now with `seti-tune resume {run} --data PATH`"
    else:
        command = simulation_command(dataclasses.asdict(study.data), path)
        way = f"put it back, or make it again with `{command}`; its digest is compared"
    raise StudyError(f"{path}: the data set of this run is not there any more; {way}")


def _search(
    study: Study,
    run: Path,
    log: EventLog,
    state: RunState,
    data: TrainingData | None,
    digest: str | None,
    address: str | None,
    signals: Signals,
    progress: Progress,
) -> None:
    size = 0 if data is None else data.train.images.nbytes + data.validation.images.nbytes
    try:
        cluster = clusters.connect(address, study.resources, folder=run / RAY_FOLDER, data_bytes=size)
        signals.install()
        signals.check()
        come_from = provenance(dataclasses.asdict(cluster))
        images = None if data is None else len(data.validation.labels)
        opening = opening_events(study, state, run, data=(digest, images), provenance=come_from)
        _write(log, state, *opening)
        _write(log, state, *reopenings(study, run, state))
        journal = _journal(study, run, state)
        on_event = _on_event(study, run, state, progress, journal)
        coordinator = Coordinator(study, log, state, run=run, on_event=on_event)
        coordinator.max_concurrent, coordinator.memory_mb = cluster.max_concurrent, cluster.memory_mb
        with progress, journal:
            while not _tune(study, run, coordinator, data, progress, signals):
                clusters.disconnect()
                clusters.connect(address, study.resources, folder=run / RAY_FOLDER, data_bytes=size)
                signals.install()
    finally:
        clusters.disconnect()
        shutil.rmtree(run / RAY_FOLDER, ignore_errors=True)


def _tune(
    study: Study,
    run: Path,
    coordinator: Coordinator,
    data: TrainingData | None,
    progress: Progress,
    signals: Signals,
) -> bool:
    """Run Ray Tune until nothing is left to do; return False where a new Ray has to go on.

    Ray Tune 2.60 takes a dead worker for a trial's error, but one killed by Ray's memory monitor ends its loop.
    """
    from ray import tune as ray_tune
    from ray.exceptions import RayError

    from tune.ray_adapter.adapters import Interruptible, LogScheduler, LogSearcher

    searcher = LogSearcher(coordinator, interrupted=lambda: signals.received is not None)
    resources: dict[str, float] = {"cpu": study.resources.cpus_per_trial, "gpu": study.resources.gpus_per_trial}
    trainable = ray_tune.with_parameters(run_attempt, data=data, name=study.study.trainable, folder=study.folder)
    tuner = ray_tune.Tuner(
        ray_tune.with_resources(trainable, resources),
        tune_config=ray_tune.TuneConfig(
            search_alg=searcher,
            scheduler=LogScheduler(coordinator, searcher),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=lambda trial: str(trial.trial_id),
        ),
        run_config=ray_tune.RunConfig(
            name="tune",
            storage_path=str(run / RAY_FOLDER),
            stop=Interruptible(searcher, progress.tick),
            failure_config=ray_tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    is_whole = True
    try:
        tuner.fit()
    except RuntimeError as error:
        if not isinstance(error.__context__, RayError):
            raise
        _take_over(run, coordinator, error.__context__)
        is_whole = False
    if searcher.error is not None:
        coordinator.interrupt("the driver could not go on")
        raise searcher.error
    if signals.received is not None:
        coordinator.interrupt(f"interrupted by {signals.received}")
        signals.check()
    return is_whole or coordinator.is_finished()


def _take_over(run: Path, coordinator: Coordinator, error: RayError) -> None:
    """Note what ended Ray Tune's loop: a worker killed for memory, or else nothing that could be gone on from."""
    killed = {int(pid) for pid in re.findall(r"Selected to kill: .*?\bpid=(\d+)", str(error))}
    if not coordinator.interrupt("Ray was started again", killed_for_memory=killed):
        raise RayLostError(
            f"{run}: Ray gave up ({type(error).__name__}: {str(error).splitlines()[0]}); all that was recorded is "
            f"kept, continue with `seti-tune resume {run}`"
        ) from error


def _journal(study: Study, run: Path, state: RunState) -> JournalExport:
    return JournalExport(state, run / JOURNAL, trials=study.study.trials, wanted=study.export.optuna_journal)


def _on_event(
    study: Study, run: Path, state: RunState, progress: Progress, journal: JournalExport
) -> Callable[[Event], None]:
    written = time.monotonic()
    if study.is_network:
        for trial in state.trials.values():  # what an interrupted driver left behind
            drop_training_state(run, trial)

    def on_event(event: Event) -> None:
        nonlocal written
        progress.update(event)
        if isinstance(event, TrialEnded):
            if study.is_network:
                drop_training_state(run, state.trials[event.trial, event.repeat])
            journal.trial_ended()
            if time.monotonic() - written > TABLES_EVERY_S:
                write_tables(run, state)
                written = time.monotonic()

    return on_event


def _write(log: EventLog, state: RunState, *events: Event) -> None:
    log.append(*events, durable=True)
    for event in events:
        state.apply(event)
