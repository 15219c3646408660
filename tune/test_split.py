"""The only way to the test split: each use is recorded before anything is predicted, and can be counted afterwards."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.errors import RecordError
from results.files import LEDGER, read_moderate
from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import TestUnlocked, utc_now
from results.log.state import RunState, load_run
from results.run_folder import LOG_NAME
from results.schema import SchemaError, read_json, to_json
from seti_model.errors import DatasetError

if TYPE_CHECKING:
    from seti_model.data.dataset import Dataset


@dataclass(frozen=True)
class SplitUse:
    """A line of a data set's ledger: when (UTC), which command, which weights (SHA-256), in which run.

    A run is told from others by `run_begun`, the time of its first event: folders are renamed, copied and used again.
    For finals `time` is that of their decision.
    """

    time: str
    what: str
    weights_digest: str
    run: str | None = None
    run_begun: str | None = None


def unlock_test(dataset: Dataset, what: str, *, model: Path, weights_digest: str) -> Dataset:
    """Record the use of the test split as `record_use` does, then return the data set with the lock taken off.

    Raises:
        RecordError: The run of the model is being written by another process.
        DatasetError: The use can be recorded nowhere.
    """
    record_use(dataset.path, what, model=model, weights_digest=weights_digest)
    return dataset.unlocked()


def unlock_for_finals(dataset: Dataset, run: Path, state: RunState, *, weights_digest: str) -> Dataset:
    """Return the data set with the lock taken off for the latest decision in the log of `run`.

    Its line in the ledger is written once: going on after an interruption is no further use.
    """
    use = SplitUse(state.decisions[-1].time, "finals", weights_digest, run.name, state.begun)
    if not any((known.time, known.run_begun) == (use.time, use.run_begun) for known in earlier_uses(dataset.path)):
        try:
            _append(dataset.path / LEDGER, use)
        except OSError as error:
            print(f"note: this use of the test split is in the log of {run} only: {error}", file=sys.stderr)
    return dataset.unlocked()


def uses_of_others(dataset: Path, state: RunState) -> int:
    """Return how many recorded uses of the test split are not in the log of this run."""
    logged = {event.time for event in state.unlocks}
    uses = [use for use in earlier_uses(dataset) if use.time not in logged]
    return sum(use.what != "finals" or use.run_begun != state.begun for use in uses)


def record_use(dataset: Path, what: str, *, model: Path, weights_digest: str) -> None:
    """Record that a model is about to predict the test split: in the data set's ledger and in the log of its run.

    Where one of the two cannot be written, standard error says so; a model outside any run has the ledger alone.

    Args:
        dataset: Folder of the data set.
        what: The command: "evaluate" or "predict".
        model: The model's file.
        weights_digest: SHA-256 of its weights, hex.

    Raises:
        RecordError: The run of the model is being written by another process.
        DatasetError: Nothing can be written.
    """
    run = run_of(model)
    use = SplitUse(utc_now(), what, weights_digest, *(() if run is None else (run.name, _begun(run))))
    places = [lambda: _append(dataset / LEDGER, use)]
    if run is not None:
        path = model.resolve().relative_to(run).as_posix()
        event = TestUnlocked(time=use.time, command=what, model=path, weights_digest=weights_digest)
        places.insert(0, lambda: _log(run, event))  # first, as the run may be in use
    failures = [failure for place in places for failure in _failure(place)]
    if len(failures) == len(places):
        raise DatasetError(
            f"{dataset}: that its test split is used can be recorded nowhere ({'; '.join(failures)}), so it is not "
            "used; make the folder writable or take a copy of the data set"
        )
    for failure in failures:
        print(f"note: this use of the test split is recorded in one place only: {failure}", file=sys.stderr)


def earlier_uses(dataset: Path) -> tuple[SplitUse, ...]:
    """Return the recorded uses of the test split of the data set in the folder `dataset`, oldest first.

    Raises:
        DatasetError: The ledger cannot be read, or a line of it is damaged.
    """
    file = dataset / LEDGER
    try:
        lines = read_moderate(file).splitlines()
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise DatasetError(f"{file}: cannot be read ({error.strerror}); ask for access or restore it") from error
    uses = []
    for number, line in enumerate(lines, start=1):
        try:
            uses.append(read_json(line, SplitUse))
        except SchemaError as error:
            raise DatasetError(
                f"{file}, line {number}: damaged: {error}; restore the file from a copy, or remove that line"
            ) from error
    return tuple(uses)


def run_of(model: Path) -> Path | None:
    """Return the run folder that holds a model, if one does."""
    return next((folder for folder in model.resolve().parents if (folder / LOG_NAME).is_file()), None)


def report_use(model: Path) -> None:
    """Write the reports of the model's run again, where it has one, so that they count the use just recorded."""
    from tune.derived import refresh

    run = run_of(model)
    try:
        if run is not None and load_run(run).is_search:
            refresh(run)
    except RecordError as error:
        print(f"note: the report of {run} does not count this use yet: {error}", file=sys.stderr)


def _begun(run: Path) -> str | None:
    return next((event.time for event in read_events(run)), None)


def _log(run: Path, event: TestUnlocked) -> None:
    with EventLog(run) as log:
        log.append(event, durable=True)


def _append(ledger: Path, use: SplitUse) -> None:
    line = to_json(use, indent=None) + "\n"
    descriptor = os.open(ledger, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    try:
        # One write, so that lines of two processes do not mix.
        os.write(descriptor, line.encode("utf-8"))
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(write: Callable[[], None]) -> list[str]:
    """Return why nothing could be written, or nothing; a run that another process writes is no such reason."""
    try:
        write()
    except RecordError as error:
        if isinstance(error.__cause__, BlockingIOError):
            raise
        return [str(error)]
    except OSError as error:
        return [f"{error.filename or 'the ledger'}: {error.strerror}"]
    return []
