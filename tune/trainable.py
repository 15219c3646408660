"""What a worker runs: one attempt of one trial, and the contract of anything that can be trained.

A trainable is a function `trainable(task, data, on_epoch)`. It trains `task.configuration` from `task.seed`,
continues from `task.resume_from` where that is not None, and calls `on_epoch(EpochReport(...))` after each epoch;
when that returns True it returns at once. In a search a trial that is stopped never returns from `on_epoch`: it is
left by SystemExit, so what must be tidied up belongs in a `finally`. The function knows no Ray.
"""

from __future__ import annotations

import dataclasses
import errno
import importlib
import os
import re
import sysconfig
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from results.log.records import Measured
from results.objective import Objective
from results.schema import Value
from results.study import NETWORK
from seti_model.config import Configuration
from seti_model.errors import DamagedCheckpointError, ProcessError
from seti_model.own import search_too
from seti_model.runtime import prepare_process
from seti_model.training import outcome
from tune.errors import StudyError
from tune.provenance import code_digest, device_model

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData
    from seti_model.training.outcome import CheckpointInfo


class Diverged(Exception):  # noqa: N818 - an outcome that is recorded, not an error
    """Raised by a trainable whose loss or weights are not finite any more."""


class _Outside(Exception):  # noqa: N818 - the driver knows why
    """Raised where a network is not to be trained, as it lies outside of the limits."""


class MachineFault(Exception):  # noqa: N818 - the trial goes on elsewhere
    """Raised where a machine, and no configuration, is at fault."""


class CheckpointLost(Exception):  # noqa: N818 - the trial goes on from an earlier one
    """Raised by a trainable that cannot read `task.resume_from`: it is gone or damaged."""


class Measure(StrEnum):
    """What is to be told of a network before it is trained."""

    NOTHING = ""
    SIZE = "size"
    LATENCY = "latency"  # and size


@dataclass(frozen=True)
class Task:
    """One attempt: everything a worker needs to know, nothing it could look up elsewhere.

    `checkpoint_folder` belongs to this attempt alone; `resume_from` is a checkpoint of an earlier one,
    `init_from` the model that every trial starts from. After the epochs in `checkpoint_epochs` a checkpoint is needed,
    after others it saves time if the worker dies. A worker that has grown above `memory_mb` (10**6 bytes) is replaced
    after an epoch with a checkpoint. On a cluster it may run on `nodes`, by Ray's identity. With `storage` nothing is
    shared but a store at this address; the worker then gives the trainable paths on its own disk
    (`tune.storage.scratch`). The search ranks by `objective`. Where there is something to `measure`,
    `on_epoch(NetworkSize(...))` comes before the first epoch.
    """

    trial: int
    repeat: int | None
    attempt: int
    configuration: Mapping[str, Value]
    seed: int
    max_epochs: int
    checkpoint_folder: Path
    resume_from: Path | None = None
    init_from: Path | None = None
    checkpoint_epochs: tuple[int, ...] = ()
    threads: int = 1
    gpus: float = 0.0
    memory_mb: float | None = None
    nodes: tuple[str, ...] | None = None
    storage: str | None = None
    objective: Objective = field(default_factory=Objective)
    measure: Measure = Measure.NOTHING


@dataclass(frozen=True)
class EpochReport(Measured):
    """What a trainable says after an epoch: what it measured, of which only epoch and validation accuracy are required.

    `checkpoint` is a folder or file below `task.checkpoint_folder` from which this very epoch can be continued.
    `validation_correct` says of each validation image whether it was right, (n_validation,); with it the leaderboard
    marks ties. Where the study ranks by another objective than the accuracy, `metrics` holds it by its name, such as
    `{"macro_f1": 0.83}`, and `validation_drawn` may hold what `results.stats.objectives.drawn_values` gives of the
    validation images, (200,), with which ties are marked. Where a trainable leaves out `seconds` they are the time
    since its attempt began or since its last report.
    """

    metrics: Mapping[str, float] = field(default_factory=dict)
    validation_correct: Sequence[bool] | None = None
    validation_drawn: Sequence[float] | None = None
    checkpoint: Path | None = None
    checkpoint_bytes: int = 0
    checkpoint_digest: str = ""
    checkpoint_seconds: float | None = None


@dataclass(frozen=True)
class NetworkSize:
    """What a trainable says before its first epoch where the study has limits; it is stopped where they are passed."""

    model_parameters: int
    latency_ms: float | None = None  # of one image


@dataclass(frozen=True)
class Entered:
    """A worker entered the training function."""

    node: str
    pid: int
    device: str | None = None  # model of the processor or GPU
    code: str | None = None  # digest of our packages
    node_id: str | None = None  # Ray's, on a cluster


class AttemptOutcome(StrEnum):
    """How the training function was left."""

    RETURNED = "returned"
    DIVERGED = "diverged"
    FAILED = "failed"
    MEMORY = "memory"  # there was none left
    CHECKPOINT = "checkpoint"  # the one to continue from cannot be read
    NO_SPACE = "no space"  # on the disk
    NODE = "node"  # whose own fault it is
    STORAGE = "storage"  # the store for checkpoints did not answer this worker


@dataclass(frozen=True)
class Left:
    """The training function is over: it returned, diverged or raised, then with the end of its traceback."""

    outcome: AttemptOutcome
    reason: str
    traceback: str = ""


_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_STORAGE_IS_GONE = (
    errno.EIO,
    errno.ESTALE,
    errno.ENODEV,
    errno.ENXIO,
    errno.ENOTCONN,
    errno.EREMOTEIO,
)
_OF_GPU = re.compile(r"CUDA|cuDNN|cuBLAS|GPU", re.IGNORECASE)  # what TensorFlow says where a card fails
_SHOWN, _SHOWN_ERROR = 100, 500  # letters of a name and of an error in a message
TRACEBACK_LETTERS = 4000  # so much of a traceback is kept, from its end
CHECKPOINT_SHARE = 0.05  # of the time of training may go into checkpoints that nobody asked for by epoch
OnEpoch = Callable[[EpochReport | NetworkSize], bool]
Message = Entered | NetworkSize | EpochReport | Left
Tell = Callable[[Message], bool]
Trainable = Callable[[Task, Any, OnEpoch], None]


def load_trainable(name: str, folder: Path | None = None) -> Trainable:
    """Return that of our networks, or import `module:function`; `folder`, where the study file lies, is searched too.

    Raises:
        StudyError: No such module or function.
    """
    if folder is not None:
        search_too(folder)
    if name == NETWORK:
        return train_network
    module, function = name.split(":")
    try:
        found: Trainable = getattr(importlib.import_module(module), function)
    except Exception as error:  # whatever a user's module does when it is imported
        raise StudyError(
            f"[study] trainable = {name[:_SHOWN]!r}: {type(error).__name__}: {str(error)[:_SHOWN_ERROR]}; correct it, "
            "put the module beside the study file or install it on every node"
        ) from error
    return found


def train_network(task: Task, data: TrainingData, on_epoch: OnEpoch) -> None:
    """Train a Keras network: the trainable of every study that names no other."""
    prepare_process(task.threads, gpu=task.gpus > 0)
    from results.stats.objectives import drawn_values, objective_value
    from seti_model.training.train import BuiltNetwork, Checkpoints, train

    def measured(network: BuiltNetwork) -> None:
        latency = network.latency_ms() if task.measure == Measure.LATENCY else None
        if on_epoch(NetworkSize(network.parameters, latency)):
            raise _Outside

    objective, labels, names = task.objective, data.validation.labels, data.class_names

    def drawn(probabilities: Any) -> list[float]:
        values: list[float] = drawn_values(objective, labels, probabilities, names).tolist()
        return values

    def report(result: outcome.EpochResult) -> bool:
        found = result.validation_probabilities
        measured = EpochReport(
            epoch=result.epoch,
            validation_accuracy=result.validation_accuracy,
            validation_loss=result.validation_loss,
            train_accuracy=result.train_accuracy,
            train_loss=result.train_loss,
            learning_rate=result.learning_rate,
            seconds=result.seconds,
            build_seconds=result.build_seconds,
            prepare_seconds=result.prepare_seconds,
            images_per_s=result.images_per_s,
            resident_mb=result.resident_mb,
            model_parameters=result.model_parameters,
            weights_digest=result.weights_digest,
            best_weights_digest=result.best_weights_digest,
            metrics={} if result.merit is None else {objective.name: objective.merit(result.merit)},
            validation_correct=result.validation_correct,
            validation_drawn=None if criterion is None or found is None else drawn(found),
        )
        return on_epoch(measured if result.checkpoint is None else _with_checkpoint(measured, result.checkpoint))

    def merit(labels: Any, probabilities: Any) -> float:
        return objective.merit(objective_value(objective, labels, probabilities, names))

    criterion = None if objective.is_accuracy else outcome.Criterion(objective.identity, merit)
    try:
        train(
            Configuration.from_mapping(task.configuration),
            data,
            seed=task.seed,
            on_epoch=report,
            init_from=task.init_from,
            resume_from=task.resume_from,
            criterion=criterion,
            checkpoints=Checkpoints(task.checkpoint_folder, share=CHECKPOINT_SHARE, epochs=task.checkpoint_epochs),
            on_built=measured if task.measure else None,
        )
    except _Outside:
        return
    except outcome.Diverged as error:
        raise Diverged(str(error)) from error
    except DamagedCheckpointError as error:
        raise CheckpointLost(str(error)) from error


def _with_checkpoint(report: EpochReport, saved: CheckpointInfo) -> EpochReport:
    return dataclasses.replace(
        report,
        checkpoint=saved.path,
        checkpoint_bytes=saved.bytes,
        checkpoint_digest=saved.digest,
        checkpoint_seconds=saved.seconds,
    )


def run_attempt(task: Task, data: Any, trainable: Trainable, tell: Tell) -> None:
    """Run one attempt in this process: all that becomes of it goes to `tell`, what the trainable raises too.

    Args:
        task: The attempt.
        data: As the trainable expects it.
        trainable: From `load_trainable`.
        tell: Takes a message and returns True when the attempt has to stop; it may leave by SystemExit instead.
    """
    device = device_model(gpu=task.gpus > 0)
    tell(Entered(node=os.uname().nodename, pid=os.getpid(), device=device, code=code_digest()))
    is_stopped, since = False, time.perf_counter()

    def on_epoch(report: EpochReport | NetworkSize) -> bool:
        nonlocal is_stopped, since
        try:
            is_stopped = tell(report if isinstance(report, NetworkSize) else _with_measurements(report, since))
        except SystemExit:
            is_stopped = True
            raise
        since = time.perf_counter()
        return is_stopped

    try:
        trainable(task, data, on_epoch)
    except Diverged as error:
        left = Left(AttemptOutcome.DIVERGED, str(error) or "not finite")
    except CheckpointLost as error:
        left = Left(AttemptOutcome.CHECKPOINT, str(error) or f"cannot read {task.resume_from}")
    except SystemExit as error:
        if is_stopped:
            raise
        left = Left(AttemptOutcome.FAILED, f"the training function called sys.exit({error.code!r})")
    except Exception as error:
        left = Left(_outcome(error), _reason(error), traceback=_end_of_traceback(error))
    else:
        left = Left(AttemptOutcome.RETURNED, "")
    if not is_stopped:
        tell(left)


def _outcome(error: Exception) -> AttemptOutcome:
    if _is_full(error):
        return AttemptOutcome.NO_SPACE
    if _is_memory(error):
        return AttemptOutcome.MEMORY
    return AttemptOutcome.NODE if any(_is_of_machine(one) for one in _chain(error)) else AttemptOutcome.FAILED


def _with_measurements(report: EpochReport, since: float) -> EpochReport:
    """Return a report with the seconds since `since` (`time.perf_counter`) and the memory, where it has none."""
    seconds = time.perf_counter() - since if report.seconds is None else report.seconds
    resident_mb = psutil.Process().memory_info().rss / 1e6 if report.resident_mb is None else report.resident_mb
    return dataclasses.replace(report, seconds=seconds, resident_mb=resident_mb)


def _reason(error: Exception) -> str:
    place = _place(traceback.extract_tb(error.__traceback__))
    return f"{type(error).__name__}: {error}{'' if place is None else f' ({place})'}"


def _place(frames: Sequence[traceback.FrameSummary]) -> str | None:
    """Return file and line where the trainable's own code was left: the innermost frame below the trainable's folder.

    That folder is told from the first frame that belongs neither to this package nor to a library.
    """
    if not frames:
        return None
    others = [frame for frame in frames if not Path(frame.filename).is_relative_to(Path(__file__).parent)]
    first = next((frame for frame in others if not _is_library(frame.filename)), (others or frames)[0])
    folder = Path(first.filename).parent
    last = [frame for frame in frames if Path(frame.filename).is_relative_to(folder)][-1]
    return f"{Path(last.filename).name}:{last.lineno}"


def _is_library(file: str) -> bool:
    path = Path(file)
    is_installed = not {"site-packages", "dist-packages"}.isdisjoint(path.parts)
    return is_installed or path.is_relative_to(sysconfig.get_path("stdlib"))


def _end_of_traceback(error: Exception) -> str:
    return "".join(traceback.format_exception(error))[-TRACEBACK_LETTERS:]


def _is_memory(error: Exception) -> bool:
    """Return whether memory ran out: Python's own error, or TensorFlow's on a processor or GPU."""
    return isinstance(error, MemoryError) or type(error).__name__ in ("ResourceExhaustedError", "OutOfMemoryError")


def _is_full(error: BaseException) -> bool:
    """Return whether a full or read-only disk is behind an error: no fault of the configuration."""
    return any(isinstance(one, OSError) and one.errno in _NO_SPACE for one in _chain(error))


def _is_of_machine(error: BaseException) -> bool:
    """Return whether an error tells of a library, storage or device that fails where others may have it whole."""
    if isinstance(error, (MachineFault, ImportError, ProcessError)):
        return True
    if isinstance(error, OSError):
        return error.errno in _STORAGE_IS_GONE
    return type(error).__name__ in ("InternalError", "UnknownError") and bool(_OF_GPU.search(str(error)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and what it came from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
