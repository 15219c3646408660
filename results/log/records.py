"""The events of a run: what one line of `events.jsonl` may say, as frozen records and back.

Every event has a `kind`, a UTC `time` and, where they apply, the trial it speaks of. A trial is named by its
number; `repeat` is None in the search and counts the retrainings of that configuration in the finals.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, ClassVar

from results.files import is_below
from results.schema import Value
from results.study import Natural, Provenance, StudyRecord

SCHEMA_VERSION = 1
_SHOWN = 60  # letters of a value in a message
SpaceRecord = Mapping[str, str | Mapping[str, Mapping[str, Any]]]  # name, description, and the parameters by name
TrialKey = tuple[int, int | None]  # (trial, repeat)


def trial_name(trial: int, repeat: int | None) -> str:
    """Return a trial of the search, or its retraining in the finals, as everything a user reads calls it."""
    return f"trial {trial}" if repeat is None else f"trial {trial}, seed index {repeat}"


class Status(StrEnum):
    """How a trial stands."""

    COMPLETED = "completed"
    STOPPED = "stopped"  # early, by ASHA
    DIVERGED = "diverged"  # not finite any more
    FAILED = "failed"
    OUTSIDE = "outside"  # of the limits; not trained
    RUNNING = "running"  # or open: it goes on with the run


ENDED = (Status.COMPLETED, Status.STOPPED, Status.DIVERGED, Status.FAILED, Status.OUTSIDE)


class RungDecision(StrEnum):
    """What a rung decided."""

    GO_ON = "go on"
    STOP = "stop"
    EXEMPT = "exempt"  # whatever its value


class Cause(StrEnum):
    """Why an attempt ended, where the record needs to know."""

    MEMORY = "memory"  # its worker was killed for memory or could not get any
    CHECKPOINT = "checkpoint"  # what it should have continued from cannot be read
    NODE = "node"  # its machine was at fault: storage, a library, a device


def utc_now() -> str:
    """Return the time in UTC, ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """What all events share."""

    kind: ClassVar[str]
    time: str = field(default_factory=utc_now)


@dataclass(frozen=True, kw_only=True, slots=True)
class OfTrial(Event):
    """What the events of one trial share."""

    trial: int
    repeat: int | None = None

    @property
    def key(self) -> TrialKey:
        """The trial's identity."""
        return self.trial, self.repeat


@dataclass(frozen=True, kw_only=True, slots=True)
class OfAttempt(OfTrial):
    """What the events of one attempt share."""

    attempt: int


@dataclass(frozen=True)
class Measured:
    """What is measured of one epoch, counted from 1.

    Losses are mean cross-entropies, accuracies fractions, seconds wall time of this epoch.
    """

    __slots__ = ()  # `Epoch`, of which there are millions, has two bases: one of them must leave the slots to it

    epoch: int
    validation_accuracy: float
    validation_loss: float | None = None
    train_accuracy: float | None = None
    train_loss: float | None = None
    learning_rate: float | None = None  # of the last batch
    seconds: float | None = None  # without the checkpoint
    build_seconds: float | None = None  # building the network; 0 but in the first epoch of an attempt
    prepare_seconds: float | None = None  # preparing images, or waiting until others had; as `build_seconds`
    images_per_s: float | None = None  # while training
    resident_mb: float | None = None  # of the worker, millions of bytes
    model_parameters: int | None = None
    weights_digest: str | None = None  # as training goes on with them
    best_weights_digest: str | None = None  # of the best epoch so far, as validated

    def measured(self) -> dict[str, Any]:
        """Return these numbers by name, without what a subclass adds."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(Measured)}


@dataclass(frozen=True)
class ImagesRecord:
    """What the images of a study are of, and what goes down and to the right in them."""

    of: str = "radio spectrograms"
    axes: tuple[str, str] = ("time", "frequency")


@dataclass(frozen=True)
class ThreadsRecord:
    """How many trials run at once, and with how many threads, where the study says neither.

    `images_per_s` is what the baseline alone trains with so many threads, where more than one were tried.
    """

    cores: Natural
    workers: Natural
    threads: Natural
    images_per_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyStarted(Event):
    """The first line: the resolved study and where and with what it runs.

    There is no space where one given configuration is trained and nothing is searched.
    """

    kind: ClassVar[str] = "study_started"
    study: StudyRecord
    space: SpaceRecord | None = None
    space_fingerprint: str | None = None
    data_digest: str | None
    validation_images: int | None = None  # on which every objective is measured
    images: ImagesRecord | None = None  # none in logs of a time when all were of radio spectrograms
    init_digest: str | None = None  # of the weights every trial starts from; None if from scratch
    threads: ThreadsRecord | None = None  # where the study says neither cpus_per_trial nor max_concurrent
    provenance: Provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyResumed(Event):
    """A driver took the run up again; `study` is as it is from now on (its number of trials may have grown)."""

    kind: ClassVar[str] = "study_resumed"
    study: StudyRecord
    provenance: Provenance


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceWidened(Event):
    """The space is another one from now on; `carried` holds, by trial number, the values of added parameters."""

    kind: ClassVar[str] = "space_widened"
    space: SpaceRecord
    space_fingerprint: str
    changes: tuple[str, ...]
    carried: Mapping[str, Mapping[str, Value]]


@dataclass(frozen=True, kw_only=True, slots=True)
class NodeChecked(Event):
    """A node of a cluster was looked at; one that is not `admitted` gets no trial, for the `reason`."""

    kind: ClassVar[str] = "node_checked"
    node: str  # its host name
    node_id: str  # Ray's; another one after it has joined again
    admitted: bool
    reason: str = ""
    code: str | None = None  # SHA-256 of the four packages there, hex
    cpus: float | None = None
    gpus: float | None = None
    memory_gb: float | None = None  # 10**9 bytes
    free_gb: float | None = None  # on the disk of the run folder


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialStarted(OfTrial):
    """A configuration was proposed; written before any worker sees it."""

    kind: ClassVar[str] = "trial_started"
    parameters: Mapping[str, Value]  # the point of the space: active parameters only
    configuration: Mapping[str, Value]  # complete: what the training function is given
    seed: int
    is_baseline: bool = False
    max_epochs: int
    origin: str | None = None  # of a start point, as the study has it; none: the sampler, or the baseline
    shape: str | None = None  # of its network, where the study has limits


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptStarted(OfAttempt):
    """An attempt was handed to Ray; it continues after `from_epoch`, from a path relative to the run folder."""

    kind: ClassVar[str] = "attempt_started"
    from_epoch: int = 0
    resume_from: str | None = None

    def __post_init__(self) -> None:
        _require_below(resume_from=self.resume_from)


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptWaiting(OfAttempt):
    """No worker has begun an attempt for five minutes, as far as can be seen for this reason."""

    kind: ClassVar[str] = "attempt_waiting"
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptRunning(OfAttempt):
    """A worker entered the training function."""

    kind: ClassVar[str] = "attempt_running"
    node: str
    pid: int
    device: str | None = None  # model of the processor or GPU
    code: str | None = None  # SHA-256 of the four packages there, hex
    node_id: str | None = None  # Ray's, on a cluster


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkMeasured(OfAttempt):
    """A network was built and measured before its first epoch, as the study has limits; once for each shape."""

    kind: ClassVar[str] = "network_measured"
    shape: str  # SHA-256 of the fields that decide it, hex
    model_parameters: int
    latency_ms: float | None = None  # of one image, the median of some; none: nothing limits it


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptEnded(OfAttempt):
    """An attempt is over; `counts` says whether it counts towards the limit of retries.

    `cause` is "memory" where a worker was killed for memory or could not get any, "checkpoint" where what it should
    have continued from cannot be read, "node" where the machine was at fault, else None.
    """

    kind: ClassVar[str] = "attempt_ended"
    why: str
    counts: bool = False
    cause: Cause | None = None
    traceback: str = ""  # of a training function that raised, its last 4000 letters


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch(Measured, OfAttempt):
    """One epoch of one attempt; losses are mean cross-entropies, accuracies fractions, `seconds` wall time."""

    kind: ClassVar[str] = "epoch"
    objective: float | None = None  # what the study ranks by; none: the validation accuracy
    validation_correct: str | None = None  # of a new best: which validation images were right, see `ties.py`
    # of a new best, where the objective is not the accuracy: its value on resampled images, see `objectives.py`
    validation_drawn: str | None = None

    @property
    def value(self) -> float:
        """The objective after this epoch."""
        return self.validation_accuracy if self.objective is None else self.objective


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint(OfAttempt):
    """A checkpoint that exists; `path` is relative to the run folder."""

    kind: ClassVar[str] = "checkpoint"
    epoch: int
    path: str
    bytes: int
    digest: str
    seconds: float | None = None  # spent writing it

    def __post_init__(self) -> None:
        _require_below(path=self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Rung(OfTrial):
    """A decision of ASHA: `value` is the trial's best so far, `better` of `seen` values are better."""

    kind: ClassVar[str] = "rung"
    epoch: int
    value: float
    seen: int
    better: int
    cutoff: float
    decision: RungDecision


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialEnded(OfTrial):
    """How a trial ended: completed, stopped, diverged, failed or outside of the limits."""

    kind: ClassVar[str] = "trial_ended"
    status: Status
    reason: str
    epochs: int
    best_epoch: int | None = None
    objective: float | None = None
    weights_digest: str | None = None
    best_weights_digest: str | None = None

    def __post_init__(self) -> None:
        if self.status == Status.RUNNING:
            raise ValueError(f"status: expected one of {', '.join(ENDED)}, found {self.status}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialReopened(OfTrial):
    """A failed trial is tried again, after a fix: what failed before does not count any more."""

    kind: ClassVar[str] = "trial_reopened"
    why: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalsDecided(Event):
    """The winner of the finals, chosen on validation; written before anything predicts the test split.

    A second decision, after the study was extended or with more seeds, is a second use of the test split.
    """

    kind: ClassVar[str] = "finals_decided"
    finalists: tuple[int, ...]  # trials in the order of the search; last the baseline, where it is not among the best
    seeds: int  # retrainings of each
    search_trials: int  # that had ended: with more of them the decision is stale
    winner: int
    delivered: int  # the retraining of the winner that is handed on
    earlier_uses: int = 0  # of this test split, by other runs or unlocked


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalEvaluated(Event):
    """A retrained configuration predicted the test split; the path is relative to the run folder."""

    kind: ClassVar[str] = "final_evaluated"
    trial: int
    repeat: int
    predictions: str
    n: int
    correct: int
    model: str | None = None  # in logs of before several seeds were trained
    model_digest: str | None = None

    def __post_init__(self) -> None:
        _require_below(predictions=self.predictions, model=self.model)


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelExported(OfTrial):
    """The weights of a trial's best epoch were written as a model; `path` is relative to the run folder."""

    kind: ClassVar[str] = "model_exported"
    path: str
    digest: str  # of the whole model, as its description has it: SHA-256, hex

    def __post_init__(self) -> None:
        _require_below(path=self.path)


@dataclass(frozen=True, kw_only=True, slots=True)
class TestUnlocked(Event):
    """A model of this run is about to predict the test split; `model` is its path relative to the run folder."""

    kind: ClassVar[str] = "test_unlocked"
    command: str
    model: str
    weights_digest: str

    def __post_init__(self) -> None:
        _require_below(model=self.model)


@dataclass(frozen=True, kw_only=True, slots=True)
class StudyEnded(Event):
    """The driver left: `finished` or interrupted, with the reason."""

    kind: ClassVar[str] = "study_ended"
    finished: bool
    reason: str


EVENTS: Mapping[str, type[Event]] = {
    cls.kind: cls
    for cls in (
        StudyStarted,
        StudyResumed,
        SpaceWidened,
        NodeChecked,
        TrialStarted,
        AttemptStarted,
        AttemptWaiting,
        AttemptRunning,
        NetworkMeasured,
        AttemptEnded,
        Epoch,
        Checkpoint,
        Rung,
        TrialEnded,
        TrialReopened,
        FinalsDecided,
        FinalEvaluated,
        ModelExported,
        TestUnlocked,
        StudyEnded,
    )
}


def _require_below(**paths: str | None) -> None:
    """Refuse a path that does not lie below the run folder: what a log names is deleted and read."""
    for name, path in paths.items():
        if path is not None and not is_below(path):
            raise ValueError(f"{name}: expected a path below the run folder, found {path[:_SHOWN]!r}")
