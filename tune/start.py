"""Configurations that a study gives itself: its baseline, and the start points that are tried before the sampler's."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from results.log.state import RunState
from results.schema import SchemaError, Value, read
from results.study import StartPoint
from search_spaces.parameters import Float, SpaceError
from seti_model.errors import ConfigError
from tune.errors import StudyError

if TYPE_CHECKING:
    from tune.study import Study

START = "start"  # the section of a study file, [[start]]


def start_section(path: Path, given: object) -> tuple[StartPoint, ...]:
    """Return the tables [[start]] of a study file, as far as they are written out.

    Raises:
        StudyError: They are no tables, or hold something else than values.
    """
    if not isinstance(given, list) or not all(isinstance(one, Mapping) for one in given):
        raise StudyError(f"{path}: {START}: expected tables [[{START}]], one a configuration; double the brackets")
    points = []
    for number, one in enumerate(given, start=1):
        try:
            points.append(StartPoint(f"start {number}", read(one, Mapping[str, Value])))  # type: ignore[type-abstract]
        except SchemaError as error:
            raise StudyError(
                f'{path}: [[{START}]] {number}: {error}; quote names with a dot, as in "training.batch_size" = 32'
            ) from error
    return tuple(points)


def with_points(place: Path, study: Study) -> Study:
    """Return a study whose baseline and start points are whole points of its space, as its log will have them.

    What [baseline] leaves out has the network's own value, what a start point leaves out that of the baseline.

    Raises:
        StudyError: The same point is there twice.
        SpaceError: A point does not lie in the space; the message says which.
        ConfigError: A point that no training accepts.
    """
    if study.baseline:
        baseline = whole_point(study, study.baseline, f"{place}: [baseline]")
        study = dataclasses.replace(study, baseline=baseline)
    if not study.start:
        return study
    points = [_completed(place, study, point) for point in study.start]
    _refuse_twice(place, study, points)
    return dataclasses.replace(study, start=tuple(points))


def kept_start(study: Study, state: RunState) -> tuple[StartPoint, ...]:
    """Return the start points of a run that goes on: those it has, then those that are new in the study.

    None is lost where a study file lists fewer than before, and none is tried again where it lists them otherwise.
    """
    kept, new = list(state.study.start), []
    for point in study.start:
        same = next((i for i, one in enumerate(kept) if is_same(one.parameters, point.parameters)), None)
        if same is None:
            new.append(point)
        else:  # in a space that was widened it has more parameters
            kept[same] = dataclasses.replace(kept[same], parameters=point.parameters)
    begun = {trial.started.origin for trial in state.search_trials()}
    kept = [point if point.origin in begun else _completed(Path(START), study, point) for point in kept]
    taken = {point.origin for point in kept}
    for point in new:
        kept.append(dataclasses.replace(point, origin=_free(point.origin, taken)))
        taken.add(kept[-1].origin)
    return tuple(kept)


def waiting(points: Iterable[StartPoint], state: RunState) -> list[StartPoint]:
    """Return the start points of which no trial was begun, in their order; the log says which were."""
    begun = {trial.started.origin for trial in state.search_trials()}
    return [point for point in points if point.origin not in begun]


def whole_point(study: Study, given: Mapping[str, Value], where: str) -> dict[str, Value]:
    """Return a whole point of a study's space with the values that are given, else the baseline's or the network's.

    Raises:
        SpaceError: It is none; the message begins with `where`.
        ConfigError: No training accepts it.
    """
    space, values, usual = study.space, dict[str, Value](), study.baseline
    try:
        for parameter in space.parameters:
            name = parameter.name
            if not space.is_active(name, values):
                continue
            if name in given or name in usual:
                values[name] = given.get(name, usual.get(name, 0))
            elif study.is_network and name in (made := study.configuration(values)):
                values[name] = made[name]
            if isinstance(parameter, Float) and type(values.get(name)) is int:
                values[name] = float(values[name])
        space.validate({**values, **given})
        study.configuration(values)
    except SpaceError as error:
        raise SpaceError(f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
    return values


def is_same(old: Mapping[str, Value], new: Mapping[str, Value]) -> bool:
    """Return whether a point has the same values as another one, which may have more."""
    return all(new.get(name) == value for name, value in old.items())


def _completed(place: Path, study: Study, point: StartPoint) -> StartPoint:
    whole = whole_point(study, point.parameters, f"{place}: {_named(point)}")
    return dataclasses.replace(point, parameters=whole)


def _refuse_twice(place: Path, study: Study, points: Iterable[StartPoint]) -> None:
    seen: dict[str, Mapping[str, Value]] = {}
    if study.has_baseline:
        seen["the baseline"] = study.baseline or study.configuration({})
    for point in points:
        same = next((name for name, one in seen.items() if is_same(point.parameters, one)), None)
        if same is not None:
            raise StudyError(f"{place}: {_named(point)} is the same point of the space as {same}; remove it")
        seen[_named(point)] = point.parameters


def _named(point: StartPoint) -> str:
    word, _, number = point.origin.partition(" ")
    return f"[[{START}]] {number}" if word == START else f"the start point from {point.origin}"


def _free(origin: str, taken: Iterable[str]) -> str:
    """Return an origin that no other start point has: a study file counts its own from 1."""
    if not origin.startswith(f"{START} "):
        return origin
    numbers = [int(one.removeprefix(f"{START} ")) for one in taken if one.startswith(f"{START} ")]
    return f"{START} {max(numbers, default=0) + 1}"
