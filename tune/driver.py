"""One run from its study to its report: the process that holds the log and talks to Ray."""

from __future__ import annotations

import argparse
import dataclasses
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from results.leaderboard import leaderboard_text, write_tables
from results.records import Event, StudyEnded, StudyResumed, StudyStarted, TrialEnded
from results.report import REPORT, headline, read_finals, write_report
from results.state import RunState
from results.store import EventLog, read_events, write_atomically
from tune import cluster as clusters
from tune.coordinator import Coordinator, has_work
from tune.errors import guarded
from tune.finals import drop_training_state, evaluate_finals
from tune.progress import Progress
from tune.provenance import provenance
from tune.study import Study, StudyError, load_study
from tune.supervisor import EXIT_BUG
from tune.trial import load_trainable, run_attempt

if TYPE_CHECKING:
    from tune.adapters import LogSearcher

RAY_FOLDER = ".ray"
TABLES_EVERY_S = 10.0
COMPARED = ("study", "search", "asha", "fixed", "baseline", "data")
MAY_CHANGE = ("trials", "time_limit_h")


@dataclass(frozen=True)
class Outcome:
    """How a run was left: `finished`, or interrupted by the named signal."""

    state: RunState
    finished: bool
    signal: str | None = None


def run_study(study: Study, run: Path, *, address: str | None = None) -> Outcome:
    """Run a study in the folder `run`, or continue the one that is there; a finished one is only read.

    Raises:
        StudyError: The folder holds another study, the trainable or the cluster is not to be had.
        DatasetError: The data set cannot be used.
        RecordError: The log is damaged, in use, or the disk is full.
    """
    run = run.absolute()
    if address is not None:
        clusters.check_address(address)
    load_trainable(study.study.trainable, study.folder)
    with EventLog(run) as log:
        state = RunState(read_events(run))
        if state.started is not None:
            check_same_study(study, state, run)
        data, digest = prepare_data(study, run)
        if state.started is not None and digest != state.started.data_digest:
            raise StudyError(
                f"{run}: its trials saw the data set {state.started.data_digest}, {study.data.path} is {digest}; "
                "restore the data or choose another folder with --run"
            )
        write_atomically(run / "study.toml", study.source)
        return _drive(study, run, log, state, data, digest, address)


def check_same_study(study: Study, state: RunState, run: Path) -> None:
    """Refuse to continue a run whose trials would not be comparable with new ones.

    Raises:
        StudyError: Another study, space, or setting that trials depend on.
    """
    started = state.started
    if started is None:
        return
    if started.space_fingerprint != study.space.fingerprint:
        raise StudyError(
            f"{run}: holds a study of another space than {study.space.name!r} as it is now; "
            "choose another folder with --run"
        )
    old, new = state.study, study.to_mapping()
    for section in COMPARED:
        before: Any = old[section]
        for key in sorted({*before, *new[section]}):
            if key in MAY_CHANGE or (section, key) == ("study", "space"):
                continue
            if before.get(key) != new[section].get(key):
                raise StudyError(
                    f"{run}: holds another study: [{section}] {key} was {before.get(key)!r}, is now "
                    f"{new[section].get(key)!r}; set it back or choose another folder with --run"
                )


def prepare_data(study: Study, run: Path) -> tuple[Any, str | None]:
    """Open the study's data set, simulating it into the run folder where it says so.

    Returns:
        What trials may see (never the test split) and the digest of the whole; (None, None) without [data].
    """
    from seti_model.dataset import Dataset

    path = dataset_path(study, run)
    if path is None:
        return None, None
    if study.data.simulate is not None and not path.exists():
        from seti_model.simulator import simulate_dataset

        counts = {"train": study.data.train, "validation": study.data.validation, "test": study.data.test}
        print(f"simulating {sum(counts.values())} images into {path}", file=sys.stderr)
        simulate_dataset(path, study.data.simulate, counts, study.data.seed)
    dataset = Dataset.open(path)
    return dataset.training_data(), dataset.digest


def dataset_path(study: Study, run: Path) -> Path | None:
    """Return where the study's data set is or will be."""
    if study.data.simulate is not None:
        return run / "dataset"
    return Path(study.data.path).absolute() if study.data.path is not None else None


def _drive(
    study: Study, run: Path, log: EventLog, state: RunState, data: Any, digest: str | None, address: str | None
) -> Outcome:
    if state.started is not None and not has_work(study, state):
        return _finish(study, run, log, state)
    cluster = clusters.connect(address, study.resources, data_bytes=_bytes(data))
    try:
        come_from = provenance(dataclasses.asdict(cluster))
        if state.started is None:
            event: Event = StudyStarted(
                study=study.to_mapping(),
                space=study.space.to_mapping(),
                space_fingerprint=study.space.fingerprint,
                data_digest=digest,
                provenance=come_from,
            )
        else:
            event = StudyResumed(study=study.to_mapping(), provenance=come_from)
        log.append(event, durable=True)
        state.apply(event)
        progress = Progress(study, state, concurrent=cluster.max_concurrent)
        coordinator = Coordinator(study, log, state, run=run, on_event=_on_event(run, state, progress))
        coordinator.max_concurrent = cluster.max_concurrent
        with progress:
            interrupted = _tune(study, run, coordinator, data, progress)
    finally:
        clusters.disconnect()
        shutil.rmtree(run / RAY_FOLDER, ignore_errors=True)
    if interrupted is not None:
        log.append(StudyEnded(finished=False, reason=f"interrupted by {interrupted}"), durable=True)
        write_tables(run, state)
        return Outcome(state, finished=False, signal=interrupted)
    return _finish(study, run, log, state)


def _tune(study: Study, run: Path, coordinator: Coordinator, data: Any, progress: Progress) -> str | None:
    """Run Ray Tune until nothing is left to do; return the name of the signal that interrupted it, or None."""
    from ray import tune as ray_tune

    from tune.adapters import Interruptible, LogScheduler, LogSearcher

    searcher = LogSearcher(coordinator)
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
    with _Signals(searcher) as signals:
        tuner.fit()
    if signals.received is not None:
        coordinator.interrupt(f"interrupted by {signals.received}")
    return signals.received


class _Signals:
    """Turns the first SIGINT or SIGTERM into a request to stop; a second one ends the process at once."""

    def __init__(self, searcher: LogSearcher) -> None:
        self._searcher = searcher
        self._former: dict[int, Any] = {}
        self.received: str | None = None

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._former[number] = signal.signal(number, self._receive)
        return self

    def __exit__(self, *error: object) -> None:
        for number, former in self._former.items():
            signal.signal(number, former)

    def _receive(self, number: int, frame: object) -> None:
        if self.received is not None:
            os._exit(exit_code(self.received))
        self.received = signal.Signals(number).name
        self._searcher.interrupted = True


def exit_code(name: str | None) -> int:
    """Return the exit code of a run left by the named signal: 130 for Ctrl-C, 3 for others, 0 for none."""
    return 0 if name is None else 130 if name == "SIGINT" else 3


def _on_event(run: Path, state: RunState, progress: Progress) -> Callable[[Event], None]:
    written = time.monotonic()

    def on_event(event: Event) -> None:
        nonlocal written
        progress.update(event)
        if isinstance(event, TrialEnded):
            drop_training_state(run, state.trials[event.trial, event.repeat])
            if time.monotonic() - written > TABLES_EVERY_S:
                write_tables(run, state)
                written = time.monotonic()

    return on_event


def _finish(study: Study, run: Path, log: EventLog, state: RunState) -> Outcome:
    path = dataset_path(study, run)
    if study.is_network and path is not None:
        evaluate_finals(study, run, log, state, path)
    if state.ended is None or not state.ended.finished:
        event = StudyEnded(finished=True, reason="all trials ended")
        log.append(event, durable=True)
        state.apply(event)
    write_tables(run, state)
    write_report(run, state)
    return Outcome(state, finished=True)


def _bytes(data: Any) -> int:
    return sum(split.images.nbytes for split in (data.train, data.validation)) if data is not None else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run as the child of `tune.supervisor`; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tune.driver", description="The process behind `seti-tune search`.")
    parser.add_argument("study")
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--address")
    options = parser.parse_args(arguments)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    study = load_study(options.study).with_trials(options.trials)
    outcome = run_study(study, options.run, address=options.address)
    print(leaderboard_text(outcome.state))
    if outcome.signal is not None:
        print(
            f"\nInterrupted; leaderboard of what was done: {options.run}/leaderboard.csv. Start the same command again "
            "to continue."
        )
    else:
        print("\n" + "\n".join(headline(outcome.state, read_finals(options.run, outcome.state))))
        print(f"\nLeaderboard: {options.run}/leaderboard.csv\nReport: {options.run}/{REPORT}")
    return exit_code(outcome.signal)


def _end_with_parent() -> None:
    """End in order when the parent is gone: nobody writes to standard input, so reading returns only then."""
    os.read(0, 1)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(guarded(main, bug=EXIT_BUG))
