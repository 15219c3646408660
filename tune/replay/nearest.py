"""Recorded configurations as a benchmark: the one nearest to a proposal, its curves, and what it is worth."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from results.errors import RecordError
from results.learning_curves import Curve, Recorded
from results.log.records import Status
from results.schema import Value
from search_spaces.parameters import Categorical, Parameter, SpaceError
from search_spaces.space import Space

Coordinates = npt.NDArray[np.float64]


class Nearest:
    """All recorded configurations of a space.

    The squared distance of two points is a sum over the parameters of the space: of numbers the square of the
    difference of their places in the range, 0..1, in the logarithm where the space says `log`; of categories 0 or 1;
    1 where only one of the points has the parameter, 0 where neither has. Of equally near ones the first counts.
    """

    def __init__(self, recorded: Recorded) -> None:
        """Take all curves in.

        Raises:
            RecordError: The space is none, a curve is no point of it, or no configuration was trained to the end.
        """
        self.recorded = recorded
        self.objective, self.max_epochs = recorded.objective, recorded.study.study.max_epochs
        try:
            self.space = Space.from_mapping(recorded.space)
            for curve in recorded.curves:
                self.space.validate(curve.parameters)
        except SpaceError as error:
            raise RecordError(f"curves that are no points of their space: {error}; restore them from a copy") from error
        self.curves: list[list[Curve]] = []
        self._by_parameters: dict[tuple[tuple[str, Value], ...], int] = {}
        for curve in recorded.curves:
            key = tuple(sorted(curve.parameters.items()))
            if self._by_parameters.setdefault(key, len(self.curves)) == len(self.curves):
                self.curves.append([])
            self.curves[self._by_parameters[key]].append(curve)
        self._places = [(p, isinstance(p, Categorical)) for p in self.space.parameters]
        self._is_category = np.array([is_category for _, is_category in self._places])
        self._points = np.array([self._coordinates(curves[0].parameters) for curves in self.curves])
        self.means = [self._mean(curves) for curves in self.curves]
        whole = [merit for mean in self.means if not math.isnan(merit := self.objective.merit(mean))]
        if not whole:
            raise RecordError("no recorded configuration was trained to the end; name a run with a completed trial")
        self.best, self.blind = max(whole), statistics.fmean(whole)  # merits

    def configuration(self, parameters: Mapping[str, Value]) -> int:
        """Return the index of the recorded configuration that is nearest to a point of the space."""
        known = self._by_parameters.get(tuple(sorted(parameters.items())))
        return int(np.argmin(self._distances(self._coordinates(parameters)))) if known is None else known

    def curve(self, configuration: int, seed: int) -> Curve:
        """Return the training that stands for one from this seed.

        That of the same seed where there is one; else, among whole ones if there are any, one that the seed draws.
        """
        curves = self.curves[configuration]
        same = next((curve for curve in curves if curve.seed == seed), None)
        if same is not None:
            return same
        whole = [curve for curve in curves if not curve.is_cut] or curves
        return whole[seed % len(whole)]

    def regret(self, configuration: int | None) -> float:
        """Return by how much a configuration's mean is worse than the best one's; of None the mean of a blind choice.

        It is a difference of objectives, so that 0 is best, of a loss too.
        """
        merit = self.blind if configuration is None else self.objective.merit(self.means[configuration])
        return self.best - merit

    @cached_property
    def doubt(self) -> float:
        """By how much a configuration's mean differs from that of its nearest neighbour, the median of all."""
        known = [i for i, mean in enumerate(self.means) if not math.isnan(mean)]
        if len(known) < 2:
            return math.nan
        differences = []
        for i in known:
            distances = self._distances(self._points[i])[known]
            distances[known.index(i)] = np.inf
            differences.append(abs(self.means[i] - self.means[known[int(np.argmin(distances))]]))
        return statistics.median(differences)

    def _mean(self, curves: list[Curve]) -> float:
        """Return the mean objective, over whole trainings, of the epochs whose weights are kept; NaN without one."""
        whole = [curve.values for curve in curves if curve.status == Status.COMPLETED]
        merits = [max(map(self.objective.merit, values)) for values in whole if all(map(math.isfinite, values))]
        return self.objective.merit(statistics.fmean(merits)) if merits else math.nan

    def _coordinates(self, parameters: Mapping[str, Value]) -> list[float]:
        """Return a coordinate for each parameter of the space; NaN where the point does not have it."""
        return [_place(p, parameters[p.name]) if p.name in parameters else math.nan for p, _ in self._places]

    def _distances(self, point: Any) -> Coordinates:
        away = np.abs(self._points - np.asarray(point))  # NaN where one of them has no such parameter
        away[:, self._is_category] = away[:, self._is_category] > 0  # of NaN too this is false, and put right below
        has, other = ~np.isnan(self._points), ~np.isnan(np.asarray(point, np.float64))
        distances: Coordinates = (np.where(has & other, away, has ^ other) ** 2).sum(axis=1)
        return distances


def _place(parameter: Parameter, value: Value) -> float:
    if isinstance(parameter, Categorical):
        return float(parameter.choices.index(value))
    number, low, high = float(value), float(parameter.low), float(parameter.high)
    return math.log(number / low) / math.log(high / low) if parameter.log else (number - low) / (high - low)
