"""Several ways to search, replayed from the same seeds and compared: their regrets, and the differences of pairs."""

from __future__ import annotations

import dataclasses
import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from results.stats.intervals import Estimate
from results.stats.seeds import objective_over_retrainings
from results.study import AshaSection, SearchSection
from tune.errors import StudyError
from tune.replay.nearest import Nearest
from tune.replay.simulation import ReplayPlan, Trace, replay, replayed_study

SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the longest search, at which searches are compared
MOST_VARIANTS = 12
SEEDS, MOST_SEEDS = 20, 1000
MOST_TRIALS = 100_000  # of one search
SAMPLERS, SCHEDULERS = ("tpe", "random"), ("asha", "none")


@dataclass(frozen=True)
class Asked:
    """What is to be compared: every combination of these, the first against each other; empty is the run's own."""

    sampler: tuple[str, ...] = ()
    scheduler: tuple[str, ...] = ()
    grace: tuple[int, ...] = ()
    factor: tuple[int, ...] = ()
    workers: tuple[int, ...] = ()
    trials: int | None = None
    epochs: int | None = None
    seeds: int = SEEDS


@dataclass(frozen=True)
class Variant:
    """One way to search; its name says what tells it from the others."""

    name: str
    search: SearchSection
    asha: AshaSection
    workers: int
    planned: Callable[..., ReplayPlan] = ReplayPlan


@dataclass(frozen=True)
class Replayed:
    """A variant and its searches, a trace for each seed."""

    variant: Variant
    traces: tuple[Trace, ...]


def variants(nearest: Nearest, asked: Asked) -> tuple[Variant, ...]:
    """Return the combinations of what is asked for.

    Raises:
        StudyError: A number out of its range, or too many combinations.
    """
    study = nearest.recorded.study
    search, asha = study.search or SearchSection(), study.asha or AshaSection()
    own = {
        "sampler": search.sampler,
        "scheduler": "asha",
        "grace": asha.grace_epochs,
        "factor": asha.reduction_factor,
        "workers": study.resources.max_concurrent or 1,
    }
    _check(asked)
    options = {name: getattr(asked, name) or (value,) for name, value in own.items()}
    several = [name for name, values in options.items() if len(values) > 1]
    combinations = [dict(zip(options, chosen, strict=True)) for chosen in itertools.product(*options.values())]
    if len(combinations) > MOST_VARIANTS:
        raise StudyError(
            f"replay: {len(combinations)} combinations of options, at most {MOST_VARIANTS} are compared; name fewer"
        )
    return tuple(
        Variant(
            name=", ".join(f"{name} {chosen[name]}" for name in several) or "as asked",
            search=dataclasses.replace(search, sampler=chosen["sampler"]),
            asha=dataclasses.replace(
                asha,
                grace_epochs=nearest.max_epochs if chosen["scheduler"] == "none" else chosen["grace"],
                reduction_factor=chosen["factor"],
            ),
            workers=chosen["workers"],
        )
        for chosen in combinations
    )


def replay_seeds(
    nearest: Nearest, variant: Variant, asked: Asked, *, tell: Callable[[int], None] = lambda done: None
) -> Replayed:
    """Replay a variant from as many seeds, the first of them the run's own; `tell` is called after each."""
    first, traces = nearest.recorded.study.study.seed, []
    trials = asked.epochs or asked.trials or nearest.recorded.study.study.trials
    for number in range(asked.seeds):
        study = replayed_study(nearest, search=variant.search, asha=variant.asha, trials=trials, seed=first + number)
        traces.append(replay(nearest, study, workers=variant.workers, epochs=asked.epochs, planned=variant.planned))
        tell(number + 1)
    return Replayed(variant, tuple(traces))


@dataclass(frozen=True)
class Row:
    """The regrets of a variant, or its differences from the first one: at some places, and averaged up to the last."""

    name: str
    regrets: tuple[Estimate, ...]
    average: Estimate


def table(nearest: Nearest, replayed: Sequence[Replayed], axis: str) -> tuple[tuple[float, ...], list[Row]]:
    """Return places along an axis, shares of what the longest variant takes, and what to say of them.

    Args:
        nearest: The recorded configurations.
        replayed: The variants.
        axis: "epochs" or "seconds", which are simulated.
    """
    longest = max(statistics.fmean(getattr(trace, axis) for trace in one.traces) for one in replayed)
    places = tuple(round(share * longest) if axis == "epochs" else share * longest for share in SHARES)
    before = nearest.regret(None)
    values = [
        [[trace.at(axis, place, before) for trace in one.traces] for place in places]
        + [[trace.average(axis, places[-1], before) for trace in one.traces]]
        for one in replayed
    ]
    names = [one.variant.name for one in replayed]
    rows = [
        _row(name, [_above_zero(over_seeds(of)) for of in all_of]) for name, all_of in zip(names, values, strict=True)
    ]
    for name, of in zip(names[1:], values[1:], strict=True):
        pairs = [[b - a for a, b in zip(*two, strict=True)] for two in zip(values[0], of, strict=True)]
        rows.append(_row(f"{name} - {names[0]}", [over_seeds(pair) for pair in pairs]))
    return places, rows


def over_seeds(values: Sequence[float]) -> Estimate:
    """Return a mean over seeds with Student's interval."""
    return objective_over_retrainings(values).mean


def _row(name: str, estimates: list[Estimate]) -> Row:
    return Row(name, tuple(estimates[:-1]), estimates[-1])


def _above_zero(regret: Estimate) -> Estimate:
    return dataclasses.replace(regret, low=max(0.0, regret.low))


def _check(asked: Asked) -> None:
    least = {"grace": 1, "factor": 2, "workers": 1}
    for name, low in least.items():
        for value in getattr(asked, name):
            if not low <= value <= 10_000:
                raise StudyError(f"--{name} {value}: {low} to 10000 are expected; choose a number within")
    if not 2 <= asked.seeds <= MOST_SEEDS:
        raise StudyError(f"--seeds {asked.seeds}: 2 to {MOST_SEEDS} are expected; choose a number within")
    for name, number in (("trials", asked.trials), ("epochs", asked.epochs)):
        if number is not None and not 1 <= number <= MOST_TRIALS:
            raise StudyError(f"--{name} {number}: 1 to {MOST_TRIALS} are expected; choose a number within")
    if asked.trials is not None and asked.epochs is not None:
        raise StudyError(f"--epochs {asked.epochs}: says when a search ends, as --trials does; leave one of them out")
