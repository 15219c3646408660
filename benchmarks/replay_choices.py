"""Which choices of a search are worth anything: each replayed against what is shipped, on both sets of recorded curves.

Every search has the same number of epochs, two workers and the same seeds as what it is compared with; the number that
decides is the regret averaged over those epochs, beside it stands the regret at their end. What is not part of the
product, quasi-random starts, promotion-type ASHA and PASHA, is here and nowhere else.
`python -m benchmarks.replay_choices --help` names the options.
"""

from __future__ import annotations

import argparse
import dataclasses
import heapq
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import optuna
from scipy.stats import qmc

from results.learning_curves import Curve, read_curves
from results.log.recorder import Recorder, Unwritten
from results.log.records import Epoch, Event, Status
from results.schema import Value
from results.study import AshaSection, SearchSection, StartPoint
from search_spaces.parameters import Categorical, Float, Int, Parameter
from search_spaces.space import Space
from seti_model.runtime import derive_seed
from tune.like import Like, borrow, with_borrowed
from tune.loop.asha import rung_epochs
from tune.loop.proposer import Proposer, suggest
from tune.replay.comparison import over_seeds
from tune.replay.nearest import Nearest
from tune.replay.simulation import ReplayPlan, Trace, replay, replayed_study, started
from tune.study import Study

SETS = ("wide", "course")
WHOLE_TRAININGS = 25  # as many epochs has each search
WORKERS = 2
SHIPPED_SEARCH, SHIPPED_ASHA = SearchSection(), AshaSection()
STARTS = SHIPPED_SEARCH.startup_trials
SOFT = 0.01  # PASHA: values this near are not told apart
Search = Callable[[Nearest, int], Trace]


def main() -> None:
    """Replay all choices on the sets; print a table and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    parser.add_argument("--only", nargs="+", default=tuple(CHOICES), choices=tuple(CHOICES), help="these choices")
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--json", type=Path, help="write regrets by set, choice and seed; what it holds is kept")
    options = parser.parse_args()
    place = Path(__file__).parent / "replay"
    kept: dict[str, Any] = json.loads(options.json.read_text()) if options.json and options.json.exists() else {}
    for name in options.sets:
        nearest = Nearest(read_curves([place / f"{name}.parquet"]))
        found = kept.setdefault(name, {})
        for choice in dict.fromkeys(one for asked in options.only for one in (CHOICES[asked][0], asked)):
            if choice not in found:
                began = time.process_time()
                traces = [CHOICES[choice][1](nearest, seed) for seed in range(1, options.seeds + 1)]
                found[choice] = _numbers(nearest, traces) | {"cpu_s": round(time.process_time() - began, 1)}
                if options.json:
                    options.json.write_text(_text(kept))
        _print(name, nearest, found, options.only)


def _text(kept: Mapping[str, Any]) -> str:
    """Return JSON with a line for each choice."""
    sets = []
    for name, found in kept.items():
        lines = ",\n".join(f"  {json.dumps(choice)}: {json.dumps(numbers)}" for choice, numbers in found.items())
        sets.append(f" {json.dumps(name)}: {{\n{lines}\n }}")
    return "{\n" + ",\n".join(sets) + "\n}\n"


def _budget(nearest: Nearest) -> int:
    return WHOLE_TRAININGS * nearest.max_epochs


def _numbers(nearest: Nearest, traces: list[Trace]) -> dict[str, Any]:
    budget, before = _budget(nearest), nearest.regret(None)
    return {
        "average": [round(trace.average("epochs", budget, before), 6) for trace in traces],
        "end": [round(trace.at("epochs", budget, before), 6) for trace in traces],
    }


def _print(name: str, nearest: Nearest, found: Mapping[str, Any], asked: tuple[str, ...]) -> None:
    print(f"\n{name}: {len(nearest.curves)} configurations, {_budget(nearest)} epochs a search, {WORKERS} workers")
    print("| choice | against | average regret | its difference | regret at the end | its difference |")
    print("|---|---|---|---|---|---|")
    for choice in asked:
        against, cells = CHOICES[choice][0], []
        for number in ("average", "end"):
            ours, theirs = found[against][number], found[choice][number]
            cells.append(f"{over_seeds(theirs):.4f}")
            cells.append(f"{over_seeds([b - a for a, b in zip(ours, theirs, strict=True)]):+.4f}")
        print(f"| {choice} | {against} | {' | '.join(cells)} |", flush=True)


# What is shipped, with other values -----------------------------------------------------------------------------


def _study(
    nearest: Nearest, seed: int, *, sampler: str = "tpe", start: tuple[StartPoint, ...] = (), **asha: Any
) -> Study:
    search = dataclasses.replace(SHIPPED_SEARCH, sampler=sampler)
    section = dataclasses.replace(SHIPPED_ASHA, **asha)
    study = replayed_study(nearest, search=search, asha=section, trials=_budget(nearest), seed=seed)
    return dataclasses.replace(study, start=start)


def _with(*, planned: Any = ReplayPlan, starts: Any = None, **values: Any) -> Search:
    """Return the search that is shipped, with these values, this plan, and start points made from space and seed."""

    def search(nearest: Nearest, seed: int) -> Trace:
        start = () if starts is None else starts(nearest.space, seed)
        study = _study(nearest, seed, start=start, **values)
        return replay(nearest, study, workers=WORKERS, epochs=_budget(nearest), planned=planned)

    return search


def _without_stopping(nearest: Nearest, seed: int) -> Trace:
    return _with(grace_epochs=nearest.max_epochs)(nearest, seed)


def _best_seen(nearest: Nearest, seed: int) -> Trace:
    """Search at random from grace 1 on, and deliver the best value of any epoch, completed or not, as PASHA does."""
    study, recorder, trace, best = (
        _study(nearest, seed, sampler="random", grace_epochs=1),
        Unwritten(),
        Trace(),
        -math.inf,
    )
    recorder.write(started(study))

    def hear(event: Event) -> None:
        nonlocal best
        if isinstance(event, Epoch):
            trace.epochs += 1
            if (merit := nearest.objective.merit(event.value)) > best:
                best = merit
                configuration = nearest.configuration(recorder.state.trials[event.key].parameters)
                trace.steps.append((trace.epochs, 0.0, nearest.regret(configuration)))

    recorder.listen(hear)
    replay(nearest, study, workers=WORKERS, epochs=_budget(nearest), recorder=recorder)
    return trace


class _CompletedOnly(Proposer):
    """A TPE that learns from completed trials alone: of stopped ones it hears that they failed."""

    def tell(self, recorded: Any) -> None:
        if recorded.status != Status.STOPPED:
            super().tell(recorded)
            return
        self._study.tell(self._running.pop(recorded.started.trial), state=optuna.trial.TrialState.FAIL)


class _CompletedOnlyPlan(ReplayPlan):
    def __init__(self, study: Study, state: Any, run: Path) -> None:
        super().__init__(study, state, run)
        self.proposer = _CompletedOnly(
            study.space, sampler="tpe", startup_trials=STARTS, seed=study.study.seed, objective=study.objective
        )


def _like(nearest: Nearest, seed: int) -> Trace:
    """Search from the start points that an earlier search of the same length gives."""
    study, earlier = _study(nearest, seed), _study(nearest, 1000 + seed)
    with tempfile.TemporaryDirectory(prefix="seti-replay-") as folder:
        with Recorder(Path(folder) / "earlier") as recorder:
            replay(nearest, earlier, workers=WORKERS, epochs=_budget(nearest), recorder=recorder)
        study = with_borrowed(study, borrow(study, Like(Path(folder) / "earlier")))
    return replay(nearest, study, workers=WORKERS, epochs=_budget(nearest))


# Quasi-random starts ----------------------------------------------------------------------------------------------


def _sobol(space: Space, seed: int) -> tuple[StartPoint, ...]:
    """Return scrambled Sobol points of the whole cube; of each the parameters count that are active there."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # ten are no power of two
        rows = qmc.Sobol(len(space.parameters), scramble=True, seed=derive_seed("sobol", seed)).random(STARTS)
    points = []
    for row in rows:
        values: dict[str, Value] = {}
        for parameter, place in zip(space.parameters, row, strict=True):
            if space.is_active(parameter.name, values):
                values[parameter.name] = _at(parameter, float(place))
        points.append(values)
    return _points(points)


def _at(parameter: Parameter, place: float) -> Value:
    match parameter:
        case Categorical():
            return parameter.choices[int(place * len(parameter.choices))]
        case Int():
            return parameter.low + parameter.step * int(
                place * ((parameter.high - parameter.low) // parameter.step + 1)
            )
        case Float(step=None, log=True):
            return min(parameter.low * (parameter.high / parameter.low) ** place, parameter.high)
        case Float(step=None):
            return parameter.low + place * (parameter.high - parameter.low)
        case Float():
            steps = round((parameter.high - parameter.low) / (parameter.step or 1))
            return min(parameter.low + int(place * (steps + 1)) * (parameter.step or 1), parameter.high)


def _optuna_qmc(space: Space, seed: int) -> tuple[StartPoint, ...]:
    """Return what Optuna's QMCSampler proposes; parameters that not every trial has it draws at random."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.QMCSampler(
            scramble=True, seed=derive_seed("qmc", seed), warn_independent_sampling=False
        )
        study, points = optuna.create_study(sampler=sampler), []
        for _ in range(STARTS):
            trial = study.ask()
            points.append(suggest(trial, space))
            study.tell(trial, 0.0)
    return _points(points)


def _points(points: list[dict[str, Value]]) -> tuple[StartPoint, ...]:
    return tuple(StartPoint(f"start {number}", values) for number, values in enumerate(points, start=1))


# Promotion-type ASHA and PASHA -------------------------------------------------------------------------------------


def _promotion(grace: int, *, is_pasha: bool = False) -> Search:
    """Return a search of random configurations that are paused at each rung and go on when they are promoted.

    In its favour going on costs nothing. The best completed one is delivered, of PASHA the best at its highest rung.
    Source: Li et al. (arXiv:1810.05934, algorithm 2); PASHA: Bohdal et al. (arXiv:2207.06940), ranks compared softly.
    """

    def search(nearest: Nearest, seed: int) -> Trace:
        return _Promotion(nearest, seed, grace=grace, is_pasha=is_pasha).run()

    return search


class _Promotion:
    def __init__(self, nearest: Nearest, seed: int, *, grace: int, is_pasha: bool) -> None:
        self._nearest, self._factor = nearest, SHIPPED_ASHA.reduction_factor
        rungs = rung_epochs(grace, self._factor, nearest.max_epochs)
        self._ends = (*rungs, nearest.max_epochs)
        self._is_pasha, self._top = is_pasha, min(1, len(self._ends) - 1) if is_pasha else len(self._ends) - 1
        self._reached: list[dict[int, float]] = [{} for _ in self._ends]  # merit of each trial at each rung
        self._promoted: list[set[int]] = [set() for _ in self._ends]
        self._curves: list[tuple[int, Curve]] = []
        self._proposer = Proposer(nearest.space, sampler="random", startup_trials=STARTS, seed=seed)
        self._seed = seed

    def run(self) -> Trace:
        trace, budget, busy, order = Trace(), _budget(self._nearest), [], 0
        while True:
            while len(busy) < WORKERS:
                trial, rung = self._next()
                seconds = self._curves[trial][1].seconds
                done = self._ends[rung - 1] if rung else 0
                heapq.heappush(busy, (trace.seconds + sum(seconds[done : self._ends[rung]]), order, trial, rung))
                order += 1
            trace.seconds, _, trial, rung = heapq.heappop(busy)
            done = self._ends[rung - 1] if rung else 0
            trace.epochs += len(self._curves[trial][1].values[done : self._ends[rung]])
            if trace.epochs > budget:
                return trace
            self._arrive(trial, rung)
            highest = self._reached[self._top]
            best = max(highest, key=lambda one: (highest[one], -one), default=None)
            configuration = None if best is None else self._curves[best][0]
            if configuration is not None and configuration != trace.delivered:
                trace.delivered = configuration
                trace.steps.append((trace.epochs, trace.seconds, self._nearest.regret(configuration)))

    def _next(self) -> tuple[int, int]:
        for rung in range(self._top - 1, -1, -1):
            reached = self._reached[rung]
            best = sorted(reached, key=lambda one: (-reached[one], one))[: len(reached) // self._factor]
            waiting = [trial for trial in best if trial not in self._promoted[rung] and math.isfinite(reached[trial])]
            if waiting:
                self._promoted[rung].add(waiting[0])
                return waiting[0], rung + 1
        number = len(self._curves)
        configuration = self._nearest.configuration(self._proposer.propose(number))
        self._curves.append((configuration, self._nearest.curve(configuration, derive_seed(self._seed, number))))
        return number, 0

    def _arrive(self, trial: int, rung: int) -> None:
        values = self._curves[trial][1].values
        is_whole = len(values) >= self._ends[rung] and all(map(math.isfinite, values[: self._ends[rung]]))
        merits = map(self._nearest.objective.merit, values[: self._ends[rung]])
        self._reached[rung][trial] = max(merits) if is_whole else -math.inf
        if self._is_pasha and rung == self._top < len(self._ends) - 1 and not self._is_settled():
            self._top += 1

    def _is_settled(self) -> bool:
        """Return whether the two highest rungs rank the trials alike, but for values that are hardly apart."""
        now, before = self._reached[self._top], self._reached[self._top - 1]
        pairs = ((a, b) for a in now for b in now if now[a] > now[b])
        return all(before[a] >= before[b] - SOFT for a, b in pairs)


SHIPPED, RANDOM, RANDOM_1 = "shipped", "random sampler", "random sampler, grace 1"
BEST_SEEN = "random sampler, grace 1, best seen"
# Each choice: what it is compared with, and how it searches.
CHOICES: Mapping[str, tuple[str, Search]] = {
    SHIPPED: (SHIPPED, _with()),
    RANDOM: (SHIPPED, _with(sampler="random")),
    "Sobol start": (SHIPPED, _with(starts=_sobol)),
    "Optuna's QMC start": (SHIPPED, _with(starts=_optuna_qmc)),
    "TPE of completed only": (SHIPPED, _with(planned=_CompletedOnlyPlan)),
    "like, start points": (SHIPPED, _like),
    "grace 1": (SHIPPED, _with(grace_epochs=1)),
    "grace 2": (SHIPPED, _with(grace_epochs=2)),
    "grace 3": (SHIPPED, _with(grace_epochs=3)),
    "grace 6": (SHIPPED, _with(grace_epochs=6)),
    "no stopping": (SHIPPED, _without_stopping),
    "factor 2": (SHIPPED, _with(reduction_factor=2)),
    "factor 4": (SHIPPED, _with(reduction_factor=4)),
    "none exempt": (SHIPPED, _with(exempt_fraction=0.0)),
    "promotion ASHA, grace 4": (RANDOM, _promotion(4)),
    RANDOM_1: (SHIPPED, _with(sampler="random", grace_epochs=1)),
    "promotion ASHA, grace 1": (RANDOM_1, _promotion(1)),
    "PASHA, grace 1": (RANDOM_1, _promotion(1, is_pasha=True)),
    BEST_SEEN: (RANDOM_1, _best_seen),
    "PASHA, grace 1, against best seen": (BEST_SEEN, _promotion(1, is_pasha=True)),
}


if __name__ == "__main__":
    main()
