"""A study as a log holds it: its sections with each key's type, range, default and meaning. Declared here only.

A new key is one line here: it is then read and checked in study files and in logs, documented by `docs/generate.py`,
and compared when a run goes on, where only the keys marked `MAY_CHANGE` may have another value.
"""

from __future__ import annotations

import re
import typing
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from results.commands import command
from results.objective import FalseAlarm, Name, Objective
from results.schema import Value

NETWORK = "tune.trial:train_network"  # ours, as logs and receipts name it wherever its code lies
MAY_CHANGE = object()  # marks a key that may have another value when a run goes on

_SECRET = re.compile(r"(key|secret|token|password|credential|sig|sas)[^=&]*=", re.IGNORECASE)  # in a query

MOST = 1_000_000  # more than anybody can mean of trials, epochs, images, processors
Natural = Annotated[int, Meta(ge=1, le=MOST)]
Count = Annotated[int, Meta(ge=0, le=MOST)]
MOST_FINALISTS = 1000  # and retrainings of each
Few = Annotated[int, Meta(ge=1, le=MOST_FINALISTS)]
Seed = Annotated[int, Meta(ge=0, le=2**63 - 1)]
Share = Annotated[float, Meta(ge=0, le=1)]
FINITE = 1e12  # more than any amount that is meant; TOML has a word for infinity, JSON has none
Amount = Annotated[float, Meta(ge=0, le=FINITE)]


@dataclass(frozen=True)
class StudySection:
    """What is searched, how long, from which seed."""

    # required: a shipped space by its name, or a space file (`.toml`), relative to the study file
    space: Annotated[str | None, MAY_CHANGE] = None
    name: Annotated[str, MAY_CHANGE] = ""  # of the run folder, `runs/<name>`; none: the name of the file
    trials: Annotated[Natural, MAY_CHANGE] = 40  # all in all, the baseline (trial 0) among them
    max_epochs: Natural = 12  # of a trial that is not stopped
    seed: Seed = 0  # what is proposed, and each training's own seed, follow from it
    # of the validation images: by it epochs, trials and finalists are ranked; loss is minimised, all others maximised
    objective: Name = "accuracy"
    background: str = "noise"  # the class without a signal, for `recall_at_false_alarm`
    # share of the background that may be taken for a signal, for `recall_at_false_alarm`
    false_alarm: FalseAlarm = 0.01
    time_limit_h: Annotated[Amount | None, MAY_CHANGE] = None  # no new trial starts after it
    # of the search: no new epoch begins after it, so that it is passed by an epoch a worker at most; finals come on top
    core_hours: Annotated[Amount | None, MAY_CHANGE] = None
    # of a training function that raises or finds no memory; deaths of workers do not count
    max_retries: Annotated[Count, MAY_CHANGE] = 2
    max_consecutive_failures: Annotated[Natural, MAY_CHANGE] = 5  # as many failed trials in a row end the study
    trainable: str = NETWORK  # `module:function` of a network of your own, the module beside the study file
    # an earlier model.keras, relative to the study file, that every trial starts from; its digest is compared
    init_from: Annotated[str | None, MAY_CHANGE] = None

    def __post_init__(self) -> None:
        if self.trainable.count(":") != 1:
            raise ValueError(f'trainable: expected "module:function", found {self.trainable!r}')


@dataclass(frozen=True)
class SearchSection:
    """How configurations are proposed."""

    sampler: Literal["tpe", "random"] = "tpe"  # `"tpe"` is Optuna's
    startup_trials: Natural = 10  # so many trials are drawn at random before TPE learns from them


@dataclass(frozen=True)
class DataSection:
    """Where the data set is (relative to the study file), or how it is simulated (into the run folder)."""

    # of a data set that was imported or simulated, relative to the study file; its digest is compared
    path: Annotated[str | None, MAY_CHANGE] = None
    simulate: str | None = None  # `"course"`, `"challenge"` or `"wide"`: instead of `path`, or beside it
    train: Natural = 3200  # images to simulate
    validation: Natural = 800  # images to simulate
    test: Natural = 800  # images to simulate
    seed: int = 1  # equal seeds, equal images
    fresh: bool = False  # with `simulate`: each epoch trains on new images, simulated beside it from seed and epoch
    # with `path` and `simulate`: so many simulated images join the training split of the data set at `path`
    simulate_beside: Count = 0

    def __post_init__(self) -> None:
        if self.path is not None and self.simulate is not None and not self.simulate_beside:
            raise ValueError("has both path and simulate; keep one of them, or say simulate_beside = N")
        if self.simulate_beside and (self.path is None or self.simulate is None):
            raise ValueError("simulate_beside: expected both path and simulate, or leave it out")
        if self.fresh and (self.simulate is None or self.path is not None):
            raise ValueError("fresh: expected simulate and no path, or leave it out")

    @property
    def recipe(self) -> str | None:
        """The recipe of validation and test images, where these are simulated."""
        return self.simulate if self.path is None else None

    def simulation_command(self, out: Path, folder: Path) -> str:
        """Return the command that simulates this data set into `out`; `folder` is that of the study file."""
        if self.path is not None:
            beside = {"beside": folder / self.path, "train": self.simulate_beside, "seed": self.seed}
            return command("data", "simulate", out, preset=self.simulate, **beside)
        counts = {name: getattr(self, name) for name in ("train", "validation", "test", "seed")}
        return command("data", "simulate", out, preset=self.simulate, **counts, fresh=self.fresh)


@dataclass(frozen=True)
class AshaSection:
    """When poor trials are stopped. Exempt ones run to the end, so that what stopping costs can be known."""

    grace_epochs: Natural = 4  # the first epoch at which a trial may be stopped
    # one trial in so many goes on; the next decision comes after so many times the epochs
    reduction_factor: Annotated[int, Meta(ge=2)] = 3
    exempt_fraction: Annotated[Share, MAY_CHANGE] = 0.1  # at 0.1 1 in 10 trials, beside the baseline


@dataclass(frozen=True)
class ResourcesSection:
    """What a trial gets. One thread per CPU. `max_concurrent` is by default what fits on the machine or cluster.

    A study that gives neither `cpus_per_trial` nor `max_concurrent` has a trial of one thread on each core of the
    machine. Where half of the cores or more would have no trial, and 5000 images or more are trained on in all, more
    threads are tried as it begins, those that make the baseline 1.1 times as fast are taken, and the run keeps to
    them. On a cluster a trial has one thread.

    A worker of more than `memory_mb` (10**6 bytes) after an epoch is replaced, unless it trains its first trial; by
    default that is a worker's share of its node.
    """

    cpus_per_trial: Natural = 1  # one thread each; the number of threads is part of what makes a result repeatable
    gpus_per_trial: Amount = 0.0  # 0.5 puts two trials on one GPU
    max_concurrent: Annotated[Natural | None, MAY_CHANGE] = None  # trials at once; none: what fits
    # a cluster that grows: asked for room for max_concurrent trials, and waited for where it has none yet
    autoscaled: Annotated[bool, MAY_CHANGE] = False
    # a worker that has grown above it (10**6 bytes) is replaced; none: its share of the machine
    memory_mb: Annotated[Annotated[float, Meta(ge=1, le=FINITE)] | None, MAY_CHANGE] = None

    def __post_init__(self) -> None:
        if self.gpus_per_trial > 1 and self.gpus_per_trial % 1:
            raise ValueError(f"gpus_per_trial: expected at most 1, or a whole number, found {self.gpus_per_trial:g}")


@dataclass(frozen=True)
class LimitsSection:
    """What a network may cost where it is used; one beyond is not trained, and the sampler keeps away from its like.

    A worker builds the network, says what it has and measures one image on the threads of a trial, once for each shape.
    """

    model_parameters: Annotated[Annotated[int, Meta(ge=1, le=10**12)] | None, MAY_CHANGE] = None  # all weights
    latency_ms: Annotated[Annotated[float, Meta(gt=0, le=FINITE)] | None, MAY_CHANGE] = None  # to predict one image

    @property
    def are_set(self) -> bool:
        """Whether there is any."""
        return self.model_parameters is not None or self.latency_ms is not None


@dataclass(frozen=True)
class FinalsSection:
    """Whether the best of the search and the baseline are retrained from fresh seeds, and the winner evaluated.

    The best `finalists` are taken, with those that tie with the last of them up to `max_finalists`.
    """

    enabled: Annotated[bool, MAY_CHANGE] = True  # as `search --no-finals` where false
    finalists: Annotated[Few, MAY_CHANGE] = 3  # so many of the best are retrained
    max_finalists: Annotated[Few, MAY_CHANGE] = 6  # with those that tie with the last of them, at most so many
    seeds: Annotated[Few, MAY_CHANGE] = 3  # retrainings of each

    def __post_init__(self) -> None:
        if self.max_finalists < self.finalists:
            raise ValueError(
                f"max_finalists: expected at least finalists = {self.finalists}, found {self.max_finalists}"
            )


@dataclass(frozen=True)
class StorageSection:
    """Where checkpoints, models and a copy of the log go, for nodes of a cluster that share no folder.

    `uri` is an address that pyarrow reads: `s3://bucket/prefix`, with `?endpoint_override=HOST:PORT&scheme=http` for a
    server of one's own; one for each run. Credentials come from the environment of each node, never from here.
    """

    uri: Annotated[str | None, MAY_CHANGE] = None  # none: all nodes see the run folder under the same path

    def __post_init__(self) -> None:
        if self.uri is None:
            return
        parts = urlsplit(self.uri)
        if not parts.scheme or "://" not in self.uri:
            raise ValueError(f'uri: expected an address such as "s3://bucket/prefix", found {self.uri!r}')
        in_front = parts.netloc.rpartition("@")[0]
        if ":" in in_front or (in_front and parts.scheme == "s3") or _SECRET.search(parts.query):
            raise ValueError("uri: holds credentials, which a log would keep; give them in each node's environment")


@dataclass(frozen=True)
class StartPoint:
    """A configuration that is tried before the sampler proposes any; `origin` says where it comes from."""

    origin: str  # `start 1` is the first of the study file's; else a run and its trial
    parameters: Mapping[str, Value]  # the whole point of the space


@dataclass(frozen=True, kw_only=True)
class StudyRecord:
    """A study with every default filled in.

    A run of one given configuration (`train`, `retrain`) is recorded in the same way: it has no `search`, no `asha`, no
    `finals`, and the whole configuration in `fixed`. Logs of before there were finals lack that section too.
    """

    FORMER: ClassVar = ("export",)  # a section that logs once had

    folder: str | None = None  # of the study file
    study: StudySection = field(default_factory=StudySection)
    search: SearchSection | None = None
    data: DataSection = field(default_factory=DataSection)
    asha: AshaSection | None = None
    resources: ResourcesSection = field(default_factory=ResourcesSection)
    limits: LimitsSection = field(default_factory=LimitsSection)
    finals: FinalsSection | None = None
    storage: StorageSection = field(default_factory=StorageSection)
    fixed: Mapping[str, Value] = field(default_factory=dict)
    baseline: Mapping[str, Value] = field(default_factory=dict)
    start: tuple[StartPoint, ...] = ()

    @property
    def objective(self) -> Objective:
        """By what epochs, trials and finalists are ranked."""
        return Objective(self.study.objective, self.study.background, self.study.false_alarm)


@dataclass(frozen=True)
class Provenance:
    """Where a driver ran and with what; None where it is not recorded."""

    versions: Mapping[str, str] = field(default_factory=dict)
    python: str | None = None
    commit: str | None = None
    machine: Mapping[str, Value | None] = field(default_factory=dict)
    cluster: Mapping[str, Any] = field(default_factory=dict)
    own_code: str | None = None  # SHA-256 of the user's modules beside the study file, hex


SECTIONS: Mapping[str, type] = {
    name: kind
    for name, hint in typing.get_type_hints(StudyRecord).items()
    for kind in typing.get_args(hint) or (hint,)
    if isinstance(kind, type) and is_dataclass(kind) and kind is not StartPoint
}


@dataclass(frozen=True)
class Change:
    """A key that has another value in one study than in another."""

    section: str
    key: str
    before: Any
    now: Any


def forbidden_changes(before: StudyRecord, now: StudyRecord) -> Iterator[Change]:
    """Yield what has changed between two records of a study and may not while its run goes on."""
    old, new = asdict(before), asdict(now)
    for section in (f.name for f in fields(StudyRecord) if f.name not in ("folder", "start")):
        kind = SECTIONS.get(section)
        hints = {} if kind is None else typing.get_type_hints(kind, include_extras=True)
        ours, theirs = old[section] or {}, new[section] or {}
        for key in sorted({*ours, *theirs}):
            may_change = MAY_CHANGE in getattr(hints.get(key), "__metadata__", ())
            if ours.get(key) != theirs.get(key) and not may_change:
                yield Change(section, key, ours.get(key), theirs.get(key))
