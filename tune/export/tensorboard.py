"""A run for TensorBoard: a folder a trial, with its curves and what the HParams tab compares."""

from __future__ import annotations

import hashlib
import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c
from tensorboardX.summary import hparams, scalar

from results.files import read_moderate, write_atomically
from results.log.records import Status
from results.log.state import RunState, TrialState
from tune.errors import StudyError
from tune.export.scalars import run_name, scalars_by_epoch, seconds_of

FILE_VERSION = "brain.Event:2"
CONTENT = "seti-tune.json"  # which run a folder is of, and a digest of what each trial's folder shows


def export_tensorboard(state: RunState, folder: Path) -> int:
    """Bring a folder up to date: what is new or has changed is written, a TensorBoard that shows it follows.

    Returns:
        How many trials the folder shows.

    Raises:
        StudyError: The folder holds something else.
        RecordError: It cannot be written.
    """
    begun = state.started.time if state.started else ""
    trials = {run_name(trial): trial for trial in state.search_trials() + state.final_trials()}
    digests = {name: _digest(trial) for name, trial in trials.items()}
    there = _shown(folder, begun)
    stale = [name for name in trials if there.get(name) != digests[name]]
    _write_content(folder, begun, {name: digest for name, digest in there.items() if name not in stale})
    for name in stale:
        _write_trial(folder / name, trials[name])
    _write_content(folder, begun, digests)
    return len(trials)


def _shown(folder: Path, begun: str) -> dict[str, str]:
    """Return the digest of each trial that the folder shows."""
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return {}
    try:
        content = json.loads(read_moderate(folder / CONTENT))
        run, trials = content["run"], dict(content["trials"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(
            f"{folder}: holds something else than a run for TensorBoard; name another folder with --out"
        ) from error
    if run != begun:
        raise StudyError(f"{folder}: holds another run for TensorBoard; delete it or name another folder with --out")
    return trials


def _write_content(folder: Path, begun: str, digests: dict[str, str]) -> None:
    write_atomically(folder / CONTENT, json.dumps({"run": begun, "trials": digests}, indent=1) + "\n")


def _digest(trial: TrialState) -> str:
    shown = (dict(trial.parameters), str(trial.status), [(e.time, numbers) for e, numbers in scalars_by_epoch(trial)])
    return hashlib.sha256(repr(shown).encode()).hexdigest()


def _write_trial(folder: Path, trial: TrialState) -> None:
    """Write all of a trial to one more file, which tells readers to forget the one before.

    Replacing that one would end what a TensorBoard shows of the trial that has it open.
    """
    before = len(list(folder.glob("events.*")))
    # Not by a SummaryWriter: its thread says of a full disk what it likes, when it likes.
    name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}.{before:04d}"
    events = [Event(wall_time=time.time(), file_version=FILE_VERSION), *_events(trial, is_again=before > 0)]
    write_atomically(folder / name, b"".join(map(_record, events)))


def _record(event: Event) -> bytes:
    """Return an event as a record of a TFRecord file."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return b"".join([length, _check(length), data, _check(data)])


def _check(data: bytes) -> bytes:
    return struct.pack("<I", masked_crc32c(data))


def _events(trial: TrialState, *, is_again: bool) -> Iterator[Event]:
    if is_again:
        yield Event(file_version=FILE_VERSION)
        yield Event(session_log=SessionLog(status=SessionLog.START))  # forget what came before
    if trial.started.repeat is None and trial.ended is not None:  # what HParams compares; it reads it only once
        compared = {**trial.parameters, "baseline": trial.started.is_baseline, "status": str(trial.status)}
        _, start, success = hparams(compared, {})
        yield Event(summary=start, wall_time=seconds_of(trial.started.time))
        if trial.status in (Status.COMPLETED, Status.STOPPED):
            yield Event(summary=success, wall_time=seconds_of(trial.ended.time))
    for epoch, numbers in scalars_by_epoch(trial):
        for name, number in numbers.items():
            yield Event(summary=scalar(name, number), step=epoch.epoch, wall_time=seconds_of(epoch.time))
