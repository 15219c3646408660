"""What a study takes over from another run: its best configurations, to be tried first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from results.log.state import RunState, TrialState, load_run
from results.schema import Value
from results.study import StartPoint
from results.tables.leaderboard import rank_trials
from search_spaces.parameters import SpaceError
from seti_model.errors import ConfigError
from tune.errors import StudyError
from tune.resume import require_search
from tune.start import is_same, whole_point
from tune.study import Study

TOP = 5  # configurations that are taken over where nothing else is asked for


@dataclass(frozen=True)
class Like:
    """Another run whose best configurations are to be tried first."""

    run: Path
    top: int = TOP

    def origin(self, trial: int) -> str:
        """Return what the log calls the start point that was this trial there."""
        return f"{self.run.absolute()}, trial {trial}"

    def check(self) -> RunState:
        """Read the other run.

        Raises:
            RecordError: No run folder, or a damaged log.
            StudyError: It is no search, has no completed trial yet, or none is asked for.
        """
        if self.top < 1:
            raise StudyError(f"--top {self.top}: at least 1 is expected; choose a number above 0")
        state = load_run(self.run)
        require_search(self.run, state)
        if not rank_trials(state)[0]:
            raise StudyError(f"--like {self.run}: no trial of it is completed; wait for one, or leave --like out")
        return state


@dataclass(frozen=True)
class Borrowed:
    """What is taken over, and what there is to say of it, a line each."""

    points: tuple[StartPoint, ...]
    lines: tuple[str, ...]


def borrow(study: Study, like: Like) -> Borrowed:
    """Return what a study takes over from another run.

    Its configurations are brought into this study's space: a value that does not lie in it is left out, and the
    baseline's or the network's own is tried instead.

    Args:
        study: The study that is to begin.
        like: The run.

    Raises:
        RecordError: As `Like.check`.
        StudyError: As `Like.check`, or nothing of it can be tried.
    """
    state = like.check()
    points, lines = list[StartPoint](), list[str]()
    for trial in rank_trials(state)[0]:
        if len(points) == like.top:
            break
        origin = like.origin(trial.started.trial)
        given, unfit = _within(study, trial)
        lines += [f"{origin}: {words}, left out" for words in unfit]
        try:
            point = whole_point(study, given, origin)
        except (SpaceError, ConfigError) as error:
            lines.append(f"{error}; not tried")
            continue
        before = [study.configuration({}) if study.is_network else {}] if not study.baseline else [study.baseline]
        before += [one.parameters for one in (*study.start, *points)]
        if not any(is_same(point, one) for one in before):
            points.append(StartPoint(origin, point))
    if not points:
        why = f" ({lines[0]})" if lines else ""
        raise StudyError(
            f"--like {like.run}: gives nothing to try that the study has not itself{why}; leave --like out"
        )
    number = f"{len(points)} start point{'' if len(points) == 1 else 's'}"
    return Borrowed(tuple(points), (*lines, f"from {like.run}: {number}"))


def with_borrowed(study: Study, borrowed: Borrowed) -> Study:
    """Return the study with what it has taken over after its own start points."""
    return dataclasses.replace(study, start=(*study.start, *borrowed.points))


def require_as_begun(like: Like, state: RunState, run: Path) -> None:
    """Refuse to take over from another run than the one that a run began with.

    Raises:
        StudyError: The run goes on, and no start point of its log comes from that one.
    """
    origin = like.origin(0).removesuffix("0")
    if not any(point.origin.startswith(origin) for point in state.study.start):
        raise StudyError(
            f"{run}: has no start point of --like {like.run}; leave --like out, or choose another folder with --run"
        )


def _within(study: Study, trial: TrialState) -> tuple[dict[str, Value], list[str]]:
    """Return a trial's values that lie in the study's space, and in words which do not."""
    configuration = {**trial.started.configuration, **trial.parameters}
    values, unfit, declared = dict[str, Value](), list[str](), {p.name for p in study.space.parameters}
    for parameter in study.space.parameters:
        value = configuration.get(parameter.name)
        if value is None or not study.space.is_active(parameter.name, values):
            continue
        if parameter.contains(value):
            values[parameter.name] = value
        else:
            unfit.append(f"{parameter.name!r} = {value!r} is not {parameter.expected}")
    fixed = study.configuration(values) if study.is_network else study.fixed
    unfit += [
        f"{name!r} = {value!r} is no parameter of space {study.space.name!r}"
        for name, value in trial.parameters.items()
        if name not in declared and fixed.get(name) != value
    ]
    return values, unfit
