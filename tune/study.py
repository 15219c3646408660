"""The study file: typed sections of a TOML file, unknown keys refused, checked against the space and the model."""

from __future__ import annotations

import dataclasses
import tomllib
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from search_spaces.space import Space, load_space
from seti_model.config import Configuration, field_types

NETWORK = "tune.trial:train_network"
STUDIES = Path(__file__).parent / "studies"
Value = bool | int | float | str


class StudyError(ValueError):
    """A study that cannot be run: the message names the file and key, the value and what to do."""


@dataclass(frozen=True)
class StudySection:
    """What is searched, how long, from which seed."""

    space: str
    name: str = ""
    trials: int = 40
    max_epochs: int = 12
    seed: int = 0
    time_limit_h: float | None = None  # no new trial starts after it
    max_retries: int = 2  # of a training function that raises or finds no memory; deaths of workers do not count
    max_consecutive_failures: int = 5  # as many failed trials in a row end the study
    trainable: str = NETWORK


@dataclass(frozen=True)
class SearchSection:
    """How configurations are proposed."""

    sampler: str = "tpe"
    startup_trials: int = 10


@dataclass(frozen=True)
class DataSection:
    """Where the data set is (relative to the study file), or how it is simulated (into the run folder)."""

    path: str | None = None
    simulate: str | None = None
    train: int = 3200
    validation: int = 800
    test: int = 800
    seed: int = 1


@dataclass(frozen=True)
class AshaSection:
    """When poor trials are stopped. Exempt ones run to the end, so that what stopping costs can be known."""

    grace_epochs: int = 4
    reduction_factor: int = 3
    exempt_fraction: float = 0.1  # at 0.1 every tenth trial, beside the baseline


@dataclass(frozen=True)
class ResourcesSection:
    """What a trial gets. One thread per CPU. `max_concurrent` is by default what fits on the machine or cluster.

    A worker of more than `memory_mb` (10**6 bytes) after an epoch is replaced, unless it trains its first trial; by
    default that is a worker's share of its node.
    """

    cpus_per_trial: int = 1
    gpus_per_trial: float = 0.0
    max_concurrent: int | None = None
    memory_mb: float | None = None


@dataclass(frozen=True)
class FinalsSection:
    """Whether winner and baseline are retrained and evaluated on the test split."""

    enabled: bool = True


_SECTIONS: Mapping[str, type] = {
    "study": StudySection,
    "search": SearchSection,
    "data": DataSection,
    "asha": AshaSection,
    "resources": ResourcesSection,
    "finals": FinalsSection,
}


@dataclass(frozen=True)
class Study:
    """A whole study, checked. `source` is the text of its file, kept in the run folder."""

    study: StudySection
    space: Space
    search: SearchSection = SearchSection()
    data: DataSection = DataSection()
    asha: AshaSection = AshaSection()
    resources: ResourcesSection = ResourcesSection()
    finals: FinalsSection = FinalsSection()
    fixed: Mapping[str, Value] = field(default_factory=dict)
    baseline: Mapping[str, Value] = field(default_factory=dict)
    folder: Path = Path()
    source: str = ""

    @property
    def is_network(self) -> bool:
        """Whether the trainable is ours, the course network."""
        return self.study.trainable == NETWORK

    def configuration(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Return the complete configuration for a point of the space: what the training function is given."""
        values = {**self.fixed, **parameters}
        if not self.is_network:
            return values
        return Configuration.from_mapping({**values, "training.epochs": self.study.max_epochs}).to_mapping()

    def baseline_parameters(self) -> dict[str, Value] | None:
        """Return the baseline as a point of the space; None where a study of another trainable names none."""
        if not self.is_network:
            return dict(self.baseline) or None
        return self.space.restrict(self.configuration({}))

    def dataset_path(self, run: Path) -> Path | None:
        """Return where the data set is: in the run folder if simulated, else relative to the study file."""
        if self.data.simulate is not None:
            return run / "dataset"
        return self.folder / self.data.path if self.data.path is not None else None

    def to_mapping(self) -> dict[str, Any]:
        """Return all sections as JSON can hold them."""
        sections: dict[str, Any] = {name: dataclasses.asdict(getattr(self, name)) for name in _SECTIONS}
        return sections | {"fixed": dict(self.fixed), "baseline": dict(self.baseline)}

    def with_trials(self, trials: int) -> Study:
        """Return the study with another total number of trials.

        Raises:
            StudyError: Fewer than one.
        """
        if trials < 1:
            raise StudyError(f"--trials {trials}: at least 1 is expected")
        return dataclasses.replace(self, study=dataclasses.replace(self.study, trials=trials))


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the study files that come with seti-tune."""
    return tuple(sorted(p.stem for p in STUDIES.glob("*.toml")))


def load_study(name_or_path: str | Path) -> Study:
    """Read a study file, or a shipped study by its name.

    Raises:
        StudyError: A missing file, invalid TOML, an unknown key, a value of the wrong type or out of range, a
            fixed value or a baseline that does not fit.
        SpaceError: The space it names is refused.
        ConfigError: A fixed value that no training accepts.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and str(name_or_path) in shipped_studies():
        path = STUDIES / f"{name_or_path}.toml"
    try:
        source = path.read_text(encoding="utf-8")
        values = tomllib.loads(source)
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be read ({error.strerror}); give a study file or one of: {', '.join(shipped_studies())}"
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise StudyError(f"{path}: invalid TOML: {error}; correct that line") from error
    return _build(path, source, values)


def _build(path: Path, source: str, values: dict[str, Any]) -> Study:
    unknown = sorted(set(values) - set(_SECTIONS) - {"fixed", "baseline"})
    if unknown:
        raise StudyError(
            f"{path}: unknown section [{unknown[0]}]; known: {', '.join([*_SECTIONS, 'fixed', 'baseline'])}"
        )
    for name in ("fixed", "baseline"):
        _check_values(path, name, values.get(name, {}))
    if not isinstance(values.get("study", {}), Mapping) or "space" not in values.get("study", {}):
        raise StudyError(f'{path}: [study] has no space; add e.g. space = "baseline"')
    sections = {name: _section(path, name, cls, values.get(name, {})) for name, cls in _SECTIONS.items()}
    if not sections["study"].name:
        sections["study"] = dataclasses.replace(sections["study"], name=path.stem)
    name = sections["study"].space
    beside = path.parent / name
    study = Study(
        space=load_space(beside if name.endswith(".toml") and not Path(name).is_absolute() else name),
        fixed=values.get("fixed", {}),
        baseline=values.get("baseline", {}),
        folder=path.parent.absolute(),
        source=source,
        **sections,
    )
    _check_numbers(path, study)
    _check_data(path, study)
    _check_parameters(path, study)
    return study


def _section(path: Path, section: str, cls: type, values: Mapping[str, Any]) -> Any:
    hints = typing.get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise StudyError(f"{path}: {section} is {values!r}; a section [{section}] is expected")
    typed = {}
    for key, value in values.items():
        if key not in hints:
            raise StudyError(f"{path}: [{section}] has an unknown key {key!r}; known: {', '.join(hints)}")
        expected = [t for t in typing.get_args(hints[key]) or (hints[key],) if t is not types.NoneType]
        if float in expected and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if type(value) not in expected:
            names = " or ".join(t.__name__ for t in expected)
            raise StudyError(
                f"{path}: [{section}] {key} = {value!r} is of type {type(value).__name__}, expected {names}"
            )
        typed[key] = value
    return cls(**typed)


def _check_values(path: Path, section: str, values: object) -> None:
    if not isinstance(values, Mapping):
        raise StudyError(f"{path}: {section} is {values!r}; a section [{section}] is expected")
    for name, value in values.items():
        if not isinstance(value, bool | int | float | str):
            raise StudyError(
                f"{path}: [{section}] {name!r} = {value!r} is no single value; quote names with a dot, "
                'as in "training.batch_size" = 32'
            )


def _check_numbers(path: Path, study: Study) -> None:
    limits: list[tuple[str, float | None, float]] = [
        ("[study] trials", study.study.trials, 1),
        ("[study] max_epochs", study.study.max_epochs, 1),
        ("[study] seed", study.study.seed, 0),
        ("[study] time_limit_h", study.study.time_limit_h, 0),
        ("[study] max_retries", study.study.max_retries, 0),
        ("[study] max_consecutive_failures", study.study.max_consecutive_failures, 1),
        ("[search] startup_trials", study.search.startup_trials, 1),
        ("[asha] grace_epochs", study.asha.grace_epochs, 1),
        ("[asha] reduction_factor", study.asha.reduction_factor, 2),
        ("[asha] exempt_fraction", study.asha.exempt_fraction, 0),
        ("[resources] cpus_per_trial", study.resources.cpus_per_trial, 1),
        ("[resources] gpus_per_trial", study.resources.gpus_per_trial, 0),
        ("[resources] max_concurrent", study.resources.max_concurrent, 1),
        ("[resources] memory_mb", study.resources.memory_mb, 1),
    ]
    for name, value, least in limits:
        if value is not None and not value >= least:
            raise StudyError(f"{path}: {name} = {value}: at least {least} is expected")
    if study.asha.exempt_fraction > 1:
        raise StudyError(
            f"{path}: [asha] exempt_fraction = {study.asha.exempt_fraction}: a fraction is expected, at most 1"
        )
    if study.search.sampler not in ("tpe", "random"):
        raise StudyError(f'{path}: [search] sampler = {study.search.sampler!r} is unknown; choose "tpe" or "random"')
    if Path(study.study.name).name != study.study.name or study.study.name in (".", ".."):
        raise StudyError(f"{path}: [study] name = {study.study.name!r} names a folder; leave out the slashes")
    if study.study.trainable.count(":") != 1:
        raise StudyError(f'{path}: [study] trainable = {study.study.trainable!r}; "module:function" is expected')


def _check_data(path: Path, study: Study) -> None:
    data = study.data
    if data.path is not None and data.simulate is not None:
        raise StudyError(f"{path}: [data] has both path and simulate; keep one of them")
    if study.is_network and data.path is None and data.simulate is None:
        raise StudyError(f'{path}: [data] is missing; add path = "DATASET" or simulate = "course"')
    if min(data.train, data.validation, data.test) < 1:
        raise StudyError(f"{path}: [data] train, validation and test must each be at least 1")


def _check_parameters(path: Path, study: Study) -> None:
    both = sorted(set(study.fixed) & {p.name for p in study.space.parameters})
    if both:
        raise StudyError(
            f"{path}: [fixed] {both[0]!r} also varies in space {study.space.name!r}; remove it from one of them"
        )
    if study.is_network:
        if study.baseline:
            raise StudyError(f"{path}: [baseline] belongs to studies with a trainable of their own; remove it")
        fields = {name: kind for name, kind in field_types().items() if name != "training.epochs"}
        study.space.check_fields(fields)
        if "training.epochs" in study.fixed:
            raise StudyError(f"{path}: [fixed] 'training.epochs' is set by [study] max_epochs; remove it")
        study.configuration({})
    elif study.baseline:
        study.space.validate(study.baseline)
