"""The same comparison on recorded curves: many seeds of each rule that searches, nothing trained.

`python -m benchmarks.search.recorded` replays the setting `wide`. Whatever is proposed trains as the recorded
configuration nearest to it did with our trainer, so that only what proposes and stops differs: ours is the coordinator
as `seti-tune replay` drives it; of stock software Ray's OptunaSearch and ASHAScheduler, and Optuna's sampler and
pruner, are asked and told as their own loops do it, by two workers. What a start, a trial and an epoch cost in each
way is fitted to the live searches of the same setting.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Protocol

import numpy as np
import optuna
from ray.tune.schedulers import TrialScheduler
from scipy.optimize import nnls

from benchmarks.search import record, stock_optuna, stock_ray
from benchmarks.search.measures import by_way, epochs_to, target_of
from benchmarks.search.setting import BENCHMARKS, SETTINGS, WIDE, Setting, first_parameters, space
from benchmarks.search.tables import error_of, rows
from benchmarks.search.ways import OURS, RANDOM
from results.learning_curves import Curve, read_curves
from results.log.recorder import Unwritten
from results.log.records import Epoch, Event
from results.schema import Value
from results.study import AshaSection, SearchSection
from seti_model.runtime import derive_seed
from tune.loop.proposer import suggest
from tune.replay.nearest import Nearest
from tune.replay.simulation import replay, replayed_study, started

CURVES = BENCHMARKS / "replay" / "wide.parquet"
RESULTS = Path(__file__).with_name("results")
TABLE, NUMBERS = "table.md", "searches.json"
SEEDS = 40
LAST_COLUMN = "delivered: mean of that configuration trained whole"


@dataclass(frozen=True)
class Told:
    """A report of a replayed search: accuracy after an epoch (from 1), and the processor seconds recorded for it."""

    trial: int
    epoch: int
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Outcome:
    """A replayed search: its reports in their order, the trial it delivers, and the recorded configuration of that."""

    told: tuple[Told, ...]
    delivered: int
    configuration: int


class Rule(Protocol):
    """What proposes, stops and delivers."""

    def begin(self, trial: int) -> dict[str, Value]:
        """Return what a trial is to train."""

    def stops(self, trial: int, epoch: int, accuracy: float) -> bool:
        """Take the report of an epoch (from 1); return whether the trial ends with it."""

    def end(self, trial: int, accuracies: Sequence[float], *, was_stopped: bool) -> None:
        """Take the end of a trial in, with all it reported."""

    def delivered(self, told: Sequence[Told]) -> int:
        """Return the trial that is delivered."""


class RayRule:
    """OptunaSearch and ASHAScheduler, as Ray Tune calls them."""

    def __init__(self, setting: Setting, seed: int) -> None:
        self._searcher, self._scheduler = stock_ray.searcher(setting, seed), stock_ray.scheduler(setting)
        self._scheduler.set_search_properties(stock_ray.ACCURACY, "max")

    def begin(self, trial: int) -> dict[str, Value]:
        """Return what a trial is to train."""
        self._scheduler.on_trial_add(None, _named(trial))
        return dict(self._searcher.suggest(str(trial)))

    def stops(self, trial: int, epoch: int, accuracy: float) -> bool:
        """Take a report; Ray tells its searcher of one that ends a trial as that trial's end alone."""
        result = _result(epoch, accuracy)
        if self._scheduler.on_trial_result(None, _named(trial), result) == TrialScheduler.STOP:
            return True
        self._searcher.on_trial_result(str(trial), result)
        return False

    def end(self, trial: int, accuracies: Sequence[float], *, was_stopped: bool) -> None:
        """Take the end of a trial in: for OptunaSearch it is complete, stopped or not."""
        self._searcher.on_trial_complete(str(trial), _result(len(accuracies), accuracies[-1]))

    def delivered(self, told: Sequence[Told]) -> int:
        """Return the trial of the best report, a stopped one too."""
        return max(told, key=lambda one: one.accuracy).trial


def _named(trial: int) -> Any:
    return SimpleNamespace(trial_id=str(trial))


def _result(epoch: int, accuracy: float) -> dict[str, Any]:
    return {"training_iteration": epoch, stock_ray.ACCURACY: accuracy}


class OptunaRule:
    """Optuna's TPE with its Hyperband pruner, in the order of `study.optimize`."""

    def __init__(self, setting: Setting, seed: int) -> None:
        sampler, pruner = optuna.samplers.TPESampler(seed=seed), stock_optuna.pruner(setting)
        name = f"optuna-{seed}"  # as of the live search: Hyperband draws a trial's bracket by it
        self._study = optuna.create_study(study_name=name, direction="maximize", sampler=sampler, pruner=pruner)
        self._study.enqueue_trial(first_parameters(setting))
        self._space, self._trials, self._last = space(setting), dict[int, optuna.Trial](), setting.max_epochs

    def begin(self, trial: int) -> dict[str, Value]:
        """Return what a trial is to train."""
        self._trials[trial] = self._study.ask()
        return suggest(self._trials[trial], self._space)

    def stops(self, trial: int, epoch: int, accuracy: float) -> bool:
        """Take a report; as in the live search a trial that has had all its epochs is complete."""
        self._trials[trial].report(accuracy, epoch)
        return epoch < self._last and self._trials[trial].should_prune()

    def end(self, trial: int, accuracies: Sequence[float], *, was_stopped: bool) -> None:
        """Take the end of a trial in."""
        if was_stopped:
            self._study.tell(self._trials[trial], state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(self._trials[trial], max(accuracies))

    def delivered(self, told: Sequence[Told]) -> int:
        """Return the best completed trial."""
        return self._study.best_trial.number


def of_stock(rule: Rule, nearest: Nearest, *, setting: Setting, seed: int) -> Outcome:
    """Replay a rule of stock software with the setting's workers."""
    told, busy, order = list[Told](), list[tuple[float, int, int, int]](), itertools.count()
    curves, chosen = dict[int, Curve](), dict[int, int]()

    def go_on(now: float, trial: int, epoch: int) -> None:
        heapq.heappush(busy, (now + curves[trial].seconds[epoch - 1], next(order), trial, epoch))

    def begin(now: float) -> None:
        if (trial := len(curves)) < setting.trials:
            chosen[trial] = nearest.configuration(rule.begin(trial))
            curves[trial] = nearest.curve(chosen[trial], derive_seed(seed, trial))
            go_on(now, trial, 1)

    for _ in range(setting.workers):
        begin(0.0)
    while busy:
        now, _, trial, epoch = heapq.heappop(busy)
        curve = curves[trial]
        told.append(Told(trial, epoch, curve.values[epoch - 1], curve.seconds[epoch - 1]))
        was_stopped = rule.stops(trial, epoch, curve.values[epoch - 1])
        if was_stopped or epoch == setting.max_epochs:
            rule.end(trial, curve.values[:epoch], was_stopped=was_stopped)
            begin(now)
        else:
            go_on(now, trial, epoch + 1)
    delivered = rule.delivered(told)
    return Outcome(tuple(told), delivered, chosen[delivered])


def of_ours(nearest: Nearest, *, setting: Setting, seed: int, sampler: str, **asha: Any) -> Outcome:
    """Replay our own search; with the sampler `random` and every trial exempt it is the one that sets the target."""
    section = AshaSection(grace_epochs=setting.grace_epochs, reduction_factor=setting.reduction_factor, **asha)
    search = SearchSection(sampler=sampler)
    study = replayed_study(nearest, search=search, asha=section, trials=setting.trials, seed=seed)
    study = dataclasses.replace(study, baseline=first_parameters(setting))
    recorder, told = Unwritten(), list[Told]()
    recorder.write(started(study))

    def hear(event: Event) -> None:
        if isinstance(event, Epoch):
            told.append(Told(event.trial, event.epoch, event.validation_accuracy, event.seconds))

    recorder.listen(hear)
    replay(nearest, study, workers=setting.workers, recorder=recorder)
    best = recorder.state.ranked(1)[0]
    return Outcome(tuple(told), best.started.trial, nearest.configuration(best.parameters))


SEARCHES: dict[str, Callable[[Nearest, Setting, int], Outcome]] = {
    OURS: lambda nearest, setting, seed: of_ours(nearest, setting=setting, seed=seed, sampler="tpe"),
    "ray": lambda nearest, setting, seed: of_stock(RayRule(setting, seed), nearest, setting=setting, seed=seed),
    "optuna": lambda nearest, setting, seed: of_stock(OptunaRule(setting, seed), nearest, setting=setting, seed=seed),
    RANDOM: lambda nearest, setting, seed: of_ours(
        nearest, setting=setting, seed=seed, sampler="random", exempt_fraction=1.0
    ),
}


@dataclass(frozen=True)
class Costs:
    """Seconds that a way spends until its first trial, on each trial besides its epochs, and after the last report.

    An epoch takes `factor` times the processor seconds that were recorded for it with our trainer.
    """

    start: float
    trial: float
    factor: float
    end: float

    def by(self, trials: int, recorded_s: float) -> float:
        """Return what was spent when so many trials had reported epochs of so many recorded seconds."""
        return self.start + trials * self.trial + recorded_s * self.factor


Spent = dict[str, tuple[Costs, Costs]]  # of each way, in processor time and by the clock


def fitted(live: Sequence[record.Searched], nearest: Nearest) -> Spent:
    """Return what live searches of all ways cost.

    Raises:
        SystemExit: One of them has none.
    """
    ways = by_way(live)
    if missing := [name for name in SEARCHES if name not in ways]:
        raise SystemExit(f"no live search of {', '.join(missing)}; run: python -m benchmarks.search --setting {WIDE}")
    return {name: (costs(ways[name], nearest, "cpu_s"), costs(ways[name], nearest, "wall_s")) for name in SEARCHES}


def costs(records: Sequence[record.Searched], nearest: Nearest, axis: str) -> Costs:
    """Fit the seconds of live searches along `cpu_s` or `wall_s` to their reports, nothing below zero.

    Each epoch counts with the seconds recorded for the configuration that is nearest to its trial's.
    """
    lines, spent = list[tuple[float, float, float]](), list[float]()
    for one in records:
        begun, recorded_s = set[int](), 0.0
        for epoch in one.epochs:
            begun.add(epoch.trial)
            curve = nearest.curve(nearest.configuration(one.parameters[str(epoch.trial)]), one.seed)
            recorded_s += curve.seconds[epoch.epoch - 1]
            lines.append((1.0, len(begun), recorded_s))
            spent.append(getattr(epoch, axis))
    found, _ = nnls(np.array(lines), np.array(spent))
    after = [getattr(one, axis) - getattr(one.epochs[-1], axis) for one in records]
    return Costs(*(round(float(value), 3) for value in (*found, np.mean(after))))


def as_record(way: str, outcome: Outcome, nearest: Nearest, *, seed: int, spent: Spent) -> record.Searched:
    """Return a replayed search in the form of a live one.

    In the place of a test accuracy stands the mean, over whole trainings, of what the delivered configuration reached
    on the validation images, as nothing else was recorded.
    """
    cpu, wall = spent[way]
    begun, recorded_s, epochs = set[int](), 0.0, list[record.Epoch]()
    for one in outcome.told:
        begun.add(one.trial)
        recorded_s += one.seconds
        at = {"wall_s": wall.by(len(begun), recorded_s), "cpu_s": cpu.by(len(begun), recorded_s)}
        epochs.append(record.Epoch(one.trial, one.epoch, one.accuracy, images=SETTINGS[WIDE].train, **at))
    seen = max(one.accuracy for one in outcome.told if one.trial == outcome.delivered)
    return record.Searched(
        way=way,
        seed=seed,
        setting=dataclasses.asdict(SETTINGS[WIDE]),
        machine={},
        versions={},
        load_before=0.0,
        wall_s=epochs[-1].wall_s + wall.end,
        cpu_s=epochs[-1].cpu_s + cpu.end,
        winner=record.Winner(outcome.delivered, seen, nearest.means[outcome.configuration]),
        epochs=tuple(epochs),
    )


def all_records(nearest: Nearest, seeds: int, spent: Spent) -> list[record.Searched]:
    """Replay all ways from so many seeds."""
    return [
        as_record(way, search(nearest, SETTINGS[WIDE], seed), nearest, seed=seed, spent=spent)
        for way, search in SEARCHES.items()
        for seed in range(1, seeds + 1)
    ]


def table(records: Sequence[record.Searched], nearest: Nearest, spent: Spent) -> str:
    """Return the table as Markdown."""
    ways = by_way(records)
    target = target_of(ways[RANDOM])
    lower = target - error_of(target, records)
    parts = []
    for one, what in (
        (target, f"the median of the best that a replayed random search reports ({len(ways[RANDOM])} seeds)"),
        (lower, "a standard error of the validation images below"),
    ):
        reach = sum(max(max(curve.values) for curve in curves) >= one for curves in nearest.curves)
        parts += [
            f"Target: {one:.4f}, {what}; {reach} of {len(nearest.curves)} recorded configurations ever reach it.",
            rows(list(SEARCHES), ways, one, last_column=LAST_COLUMN),
        ]
    lines = [
        f"| {name} | {' | '.join(f'{getattr(cpu, part):.2f} ({getattr(wall, part):.2f})' for part in vars(cpu))} |"
        for name, (cpu, wall) in spent.items()
    ]
    fit = ["| way | start | a trial besides its epochs | factor of an epoch | end |", "|---|---|---|---|---|", *lines]
    return "\n\n".join(
        [*parts, "Costs, fitted to one live search of each way, in processor seconds (by the clock):", "\n".join(fit)]
    )


def numbers(records: Sequence[record.Searched], spent: Spent) -> str:
    """Return JSON, a line for each search: what the table is made of."""
    target = target_of(by_way(records)[RANDOM])
    lines = []
    for one in records:
        until, had = epochs_to(one, target)
        line = {
            "way": one.way,
            "seed": one.seed,
            "epochs": len(one.epochs),
            "trials": len({epoch.trial for epoch in one.epochs}),
            "until_target": until,
            "had_it": had,
            "best": one.best,
            "delivered": round(one.winner.test_accuracy, 6),
        }
        lines.append(json.dumps(line))
    return (
        f'{{"target": {target}, "costs": {json.dumps(as_mapping(spent))}, "searches": [\n'
        + ",\n".join(lines)
        + "\n]}\n"
    )


def as_mapping(spent: Spent) -> dict[str, Any]:
    """Return costs as JSON holds them."""
    return {name: {"cpu_s": vars(cpu), "wall_s": vars(wall)} for name, (cpu, wall) in spent.items()}


def recorded_curves() -> Nearest:
    """Return the recorded configurations.

    Raises:
        SystemExit: A curve is cut or diverged, which the loops of stock software are not replayed with.
    """
    nearest = Nearest(read_curves([CURVES]))
    if any(len(curve.values) < nearest.max_epochs for curve in nearest.recorded.curves):
        raise SystemExit(f"{CURVES}: holds curves that end early; record them without a stopping rule")
    return nearest


def main() -> None:
    """Replay all, print the table and write it with its numbers."""
    nearest = recorded_curves()
    spent = fitted(record.read(RESULTS / WIDE), nearest)
    records = all_records(nearest, SEEDS, spent)
    place = RESULTS / f"{WIDE}-recorded"
    place.mkdir(parents=True, exist_ok=True)
    text = table(records, nearest, spent)
    (place / TABLE).write_text(text + "\n", encoding="utf-8")
    (place / NUMBERS).write_text(numbers(records, spent), encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
