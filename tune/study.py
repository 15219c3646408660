"""The study file: sections as `results.study` declares them, checked against the space and the model."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from results.run_folder import DATASET, LONGEST_NAME, is_folder_name
from results.schema import SchemaError, Value, read
from results.study import (
    MOST,
    MOST_FINALISTS,
    NETWORK,
    SECTIONS,
    AshaSection,
    FinalsSection,
    SearchSection,
    StudyRecord,
)
from search_spaces.parameters import Categorical
from search_spaces.space import Space, load_space
from search_spaces.toml_files import read_toml
from seti_model.config import EPOCHS, MOST_FROZEN, STEPS, Configuration, field_types
from seti_model.errors import ConfigError
from seti_model.families import FAMILIES, MADE_FOR
from seti_model.own import completed, own_fields, search_too
from tune.checks import check_places
from tune.errors import StudyError
from tune.start import START, start_section, with_points

STUDIES = Path(__file__).parent / "studies"
EXPORT = "export"  # a section that study files once had
FROZEN = "training.frozen_blocks"
DRAWS = 32  # points of a space that are looked at before it is searched


@dataclass(frozen=True, kw_only=True)
class Study(StudyRecord):
    """A whole study of a search, checked. `source` is the text of its file, kept in the run folder.

    `says_threads` is false of a study file without `cpus_per_trial` and `max_concurrent`; what was recorded says.
    """

    search: SearchSection = field(default_factory=SearchSection)
    asha: AshaSection = field(default_factory=AshaSection)
    finals: FinalsSection = field(default_factory=FinalsSection)
    space: Space
    source: str = ""
    says_threads: bool = field(default=True, compare=False)  # not part of what a study is

    @property
    def home(self) -> Path:
        """The folder of the study file, in which a trainable of one's own lies."""
        return Path(self.folder or "")

    @property
    def is_network(self) -> bool:
        """Whether the trainable is ours, which trains a Keras network of any family."""
        return self.study.trainable == NETWORK

    @property
    def has_baseline(self) -> bool:
        """Whether trial 0 is the baseline: the course's values, or those of [baseline]."""
        return self.is_network or bool(self.baseline)

    @property
    def retrainings(self) -> int:
        """The most trainings that the finals take, without ties: the baseline may be among the best, or beside them."""
        best = min(self.finals.finalists, self.study.trials)
        beside = self.has_baseline and self.study.trials > best
        return (best + beside) * self.finals.seeds if self.finals.enabled else 0

    @property
    def init_from(self) -> Path | None:
        """The earlier model that every trial starts from."""
        return None if self.study.init_from is None else self.home / self.study.init_from

    def own_names(self) -> tuple[str, ...]:
        """Return the networks and the steps of the user's own that any trial may have, `module:name`."""
        return _own(self.fixed, self.space) if self.is_network else ()

    def code_names(self) -> tuple[str, ...]:
        """Return all that is the user's own in a study, its trainable too."""
        return self.own_names() if self.is_network else (self.study.trainable,)

    def configuration(self, parameters: Mapping[str, Value]) -> dict[str, Value]:
        """Return the complete configuration for a point of the space: what the training function is given."""
        values = {**self.fixed, **parameters}
        if not self.is_network:
            return values
        configuration = Configuration.from_mapping({**values, EPOCHS: self.study.max_epochs})
        return completed(configuration, self.home).to_mapping()

    def baseline_parameters(self) -> dict[str, Value] | None:
        """Return the baseline as a point of the space; None where a study of another trainable names none."""
        if not self.has_baseline:
            return None
        return dict(self.baseline) or self.space.restrict(self.configuration({}))

    def dataset_path(self, run: Path) -> Path | None:
        """Return where the data set is: in the run folder if simulated, else relative to the study file."""
        if self.data.simulate is not None:
            return run / DATASET
        return self.home / self.data.path if self.data.path is not None else None

    def record(self) -> StudyRecord:
        """Return it as a log holds it, without the space and the file's text."""
        return StudyRecord(**{one.name: getattr(self, one.name) for one in dataclasses.fields(StudyRecord)})

    @classmethod
    def from_record(cls, record: StudyRecord, space: Space, *, place: Path, source: str = "") -> Study:
        """Build a study from what `record` gave, checked as a file is; `place` is named in errors.

        Raises:
            StudyError: The record does not say where the study file was, or is refused for what a file would be.
            SpaceError: The space does not fit the configuration or the baseline.
            ConfigError: A fixed value that no training accepts.
        """
        if record.folder is None:
            raise StudyError(
                f"{place}: does not say where its study file was, as an earlier seti-tune wrote it; "
                "continue it with `seti-tune search STUDY`"
            )
        given = {one.name: getattr(record, one.name) for one in dataclasses.fields(StudyRecord)}
        study = cls(**{name: value for name, value in given.items() if value is not None}, space=space, source=source)
        _check(place, study)
        return with_points(place, study)

    def with_trials(self, trials: int) -> Study:
        """Return the study with another total number of trials.

        Raises:
            StudyError: Fewer than one, or more than anybody means.
        """
        if not 1 <= trials <= MOST:
            raise StudyError(f"--trials {trials}: 1 to {MOST} are expected; choose a number within")
        return dataclasses.replace(self, study=dataclasses.replace(self.study, trials=trials))

    def with_finals(self, *, finalists: int | None = None, seeds: int | None = None) -> Study:
        """Return the study with its finals switched on and as many finalists and seeds, where given.

        Raises:
            StudyError: Fewer than one, or more than anybody means.
        """
        for option, number in (("--finalists", finalists), ("--seeds", seeds)):
            if number is not None and not 1 <= number <= MOST_FINALISTS:
                raise StudyError(f"{option} {number}: 1 to {MOST_FINALISTS} are expected; choose a number within")
        finals = dataclasses.replace(self.finals, enabled=True, seeds=seeds or self.finals.seeds)
        if finalists is not None:
            most = max(finalists, self.finals.max_finalists)
            finals = dataclasses.replace(finals, finalists=finalists, max_finalists=most)
        return dataclasses.replace(self, finals=finals)

    def without_finals(self) -> Study:
        """Return the study with its finals switched off."""
        return dataclasses.replace(self, finals=dataclasses.replace(self.finals, enabled=False))

    def with_init_from(self, model: Path) -> Study:
        """Return the study with the model that its trials start from at another place."""
        return dataclasses.replace(self, study=dataclasses.replace(self.study, init_from=str(model.absolute())))

    def with_storage(self, uri: str) -> Study:
        """Return the study with its store at another address."""
        return dataclasses.replace(self, storage=dataclasses.replace(self.storage, uri=uri))

    def with_data(self, path: Path) -> Study:
        """Return the study with its data set at another place.

        Raises:
            StudyError: It has none, or simulates it into the run folder.
        """
        if self.data.path is None:
            where = "has no data set" if self.data.simulate is None else "simulates its data set into the run folder"
            raise StudyError(f"--data {path}: the study {where}; leave --data out")
        return dataclasses.replace(self, data=dataclasses.replace(self.data, path=str(path.absolute())))


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the study files that come with seti-tune."""
    return tuple(sorted(p.stem for p in STUDIES.glob("*.toml")))


def load_study(name_or_path: str | Path) -> Study:
    """Read a study file, or a shipped study by its name.

    Raises:
        StudyError: A missing file or invalid TOML, or as in `study_of`.
        SpaceError: The space it names is refused.
        ConfigError: A fixed value that no training accepts.
    """
    path, source, values = read_study_file(name_or_path)
    return study_of(values, place=path, source=source)


def read_study_file(name_or_path: str | Path) -> tuple[Path, str, dict[str, Any]]:
    """Return the path of a study file, its text and its values, unchecked.

    Raises:
        StudyError: It is not there, or no TOML.
    """
    path = Path(name_or_path)
    if path.suffix != ".toml" and str(name_or_path) in shipped_studies():
        path = STUDIES / f"{name_or_path}.toml"
    try:
        return path, *read_toml(path)
    except OSError as error:
        raise StudyError(
            f"{path}: cannot be read ({error.strerror}); give a study file or one of: {', '.join(shipped_studies())}"
        ) from error
    except UnicodeDecodeError as error:
        raise StudyError(f"{path}: byte {error.start} is not UTF-8; save the file as UTF-8") from error
    except ValueError as error:
        raise StudyError(f"{path}: invalid TOML: {error}; correct that line") from error


def study_of(values: Mapping[str, Any], *, place: Path, source: str) -> Study:
    """Return the study that the values of a study file say.

    Args:
        values: Sections by their names.
        place: The file, named in errors; paths in it are relative to its folder.
        source: Its text.

    Raises:
        StudyError: An unknown key, a value of the wrong type or out of range, a fixed value or a baseline that does
            not fit.
        SpaceError: The space it names is refused.
        ConfigError: A fixed value that no training accepts.
    """
    if EXPORT in values:
        raise StudyError(
            f"{place}: [{EXPORT}] is no section any more; remove it and write Optuna's journal with "
            "`seti-tune export RUN --optuna`"
        )
    sections: dict[str, Any] = {name: _section(place, name, given) for name, given in values.items() if name != START}
    if "study" not in sections or sections["study"].space is None:
        raise StudyError(f'{place}: [study] has no space; add e.g. space = "baseline"')
    sections["study"] = dataclasses.replace(sections["study"], name=sections["study"].name or place.stem)
    space = _named_space(place, sections["study"].space)
    start = start_section(place, values.get(START, []))
    # What a shipped study names lies where one is: nothing of a user's is in the folder it comes from.
    folder = Path.cwd() if place.parent == STUDIES else place.parent.absolute()
    says = any(key in values.get("resources", {}) for key in ("cpus_per_trial", "max_concurrent"))
    study = Study(folder=str(folder), space=space, source=source, start=start, says_threads=says, **sections)
    _check(place, study)
    return with_points(place, study)


def _section(path: Path, name: str, given: object) -> Any:
    """Return one section of a study file, typed."""
    plain = ("fixed", "baseline")
    if name not in (*SECTIONS, *plain):
        raise StudyError(f"{path}: unknown section [{name}]; known: {', '.join((*SECTIONS, *plain, START))}")
    if not isinstance(given, Mapping):
        raise StudyError(f"{path}: {name}: expected a section [{name}], found {given!r}")
    try:
        return read(given, SECTIONS.get(name, Mapping[str, Value]))
    except SchemaError as error:
        quote = '; quote names with a dot, as in "training.batch_size" = 32' if name in plain else ""
        raise StudyError(f"{path}: [{name}] {error}{quote or '; correct it'}") from error


def _check(place: Path, study: Study) -> None:
    """Check what the sections alone do not tell: against the space, the model and the folder of runs."""
    if Path(study.study.name).name != study.study.name or study.study.name in (".", ".."):
        raise StudyError(f"{place}: [study] name = {study.study.name!r} names a folder; leave out the slashes")
    if not is_folder_name(study.study.name):
        raise StudyError(
            f"{place}: [study] name = {study.study.name[:LONGEST_NAME]!r} is longer than {LONGEST_NAME} letters, or "
            "has some that cannot be shown; choose another"
        )
    for key, value in {"[data] path": study.data.path, "[study] init_from": study.study.init_from}.items():
        check_places([] if value is None else [Path(value)], folder=study.home, where=f"{place}: {key} = ")
    if study.is_network and study.data.path is None and study.data.simulate is None:
        raise StudyError(f'{place}: [data] is missing; add path = "DATASET" or simulate = "course"')
    _check_parameters(place, study)
    _check_start(place, study)
    if study.is_network:
        _check_draws(place, study)


def _named_space(place: Path, name: str) -> Space:
    beside = place.parent / name
    return load_space(beside if name.endswith(".toml") and not Path(name).is_absolute() else name)


def _check_parameters(path: Path, study: Study) -> None:
    both = sorted(set(study.fixed) & {p.name for p in study.space.parameters})
    if both:
        raise StudyError(
            f"{path}: [fixed] {both[0]!r} also varies in space {study.space.name!r}; remove it from one of them"
        )
    if study.is_network:
        study.space.check_fields({name: kind for name, kind in _fields(study).items() if name not in _GIVEN})
        for name in set(_GIVEN) & set(study.fixed):
            raise StudyError(f"{path}: [fixed] {name!r} is set by {_GIVEN[name]}; remove it")
        _check_fixed(path, study)
        study.configuration({})


def _check_draws(path: Path, study: Study) -> None:
    """Refuse a space with points that no training accepts, as far as some draws show."""
    rng = random.Random(0)  # noqa: S311 - points to look at
    for point in (study.space.sample(rng) for _ in range(DRAWS)):
        try:
            configuration = Configuration.from_mapping(study.configuration(point))
            if configuration.training.frozen_blocks and study.study.init_from is None and not configuration.pretrained:
                raise ConfigError(f"{FROZEN} keeps blocks that nothing has given values")
        except ConfigError as error:
            raise StudyError(
                f"{path}: space {study.space.name!r} holds points that cannot be trained, such as {point}: {error}; "
                "give a parameter a `when`, or set it under [fixed]"
            ) from error


_GIVEN: Mapping[str, str] = {
    EPOCHS: "[study] max_epochs",
    "network.source": "the module itself",
    "prepare.source": "the module itself",
    "vgg16.source": "the file itself",
}


def recorded_code(record: StudyRecord, space: Space) -> tuple[str, ...]:
    """Return what `Study.code_names` does, of a record from which no study is made yet."""
    return _own(record.fixed, space) if record.study.trainable == NETWORK else (record.study.trainable,)


def _own(fixed: Mapping[str, Value], space: Space) -> tuple[str, ...]:
    return tuple(sorted(name for name in _named(fixed, space) if ":" in name))


def _named(fixed: Mapping[str, Value], space: Space) -> set[str]:
    """Return the families and steps that any trial of a study may have."""
    texts = {str(fixed.get(field, "")) for field in ("network.family", "prepare.steps")}
    for parameter in space.parameters:
        if parameter.name in ("network.family", "prepare.steps") and isinstance(parameter, Categorical):
            texts |= set(map(str, parameter.choices))
    named = {part.strip() for text in texts for part in text.split(",")}
    return named | ({"align"} if named & set(MADE_FOR) else set())


def _fields(study: Study) -> dict[str, type]:
    """Return the type of every field that the study may name, those of the user's networks and steps too."""
    search_too(study.home)
    fields = dict(field_types())
    for name in study.own_names():
        fields |= own_fields(name)
    return fields


def _check_fixed(path: Path, study: Study) -> None:
    """Refuse a fixed value that no trial could use."""
    named = _named(study.fixed, study.space)
    for name in study.fixed:
        section = name.partition(".")[0]
        if section in (*FAMILIES, *STEPS) and section not in named:
            raise StudyError(
                f"{path}: [fixed] {name!r} has no meaning, since no trial has {section!r} in network.family or "
                "prepare.steps; remove it, or name that too"
            )


def _check_start(path: Path, study: Study) -> None:
    """Check what an earlier model to start from leaves to be varied."""
    named = study.study.init_from is not None
    varied = {parameter.name: parameter for parameter in study.space.parameters}
    if not study.is_network:
        if named:
            raise StudyError(f"{path}: [study] init_from belongs to the course network; remove it or trainable")
        return
    if not named:
        if (FROZEN in varied or study.fixed.get(FROZEN)) and not study.fixed.get("vgg16.weights"):
            raise StudyError(
                f"{path}: {FROZEN!r} keeps blocks as an earlier model has them; name one with [study] init_from"
            )
        return
    configuration = Configuration.from_mapping(study.configuration({}))
    for name in configuration.form:
        if name in varied:
            raise StudyError(
                f"{path}: space {study.space.name!r} varies {name!r}, but the weights of [study] init_from fit one "
                "value only; set it under [fixed] instead"
            )
    most = MOST_FROZEN if configuration.blocks is None else configuration.blocks
    for blocks in range(most + 1, MOST_FROZEN + 1):
        if FROZEN in varied and varied[FROZEN].contains(blocks):
            raise StudyError(
                f"{path}: space {study.space.name!r} lets {FROZEN!r} be {blocks}, the network has {most} blocks; "
                "lower its bound"
            )
