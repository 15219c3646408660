"""The recorded curves that come with the benchmarks, and what is tried on them that is not part of the product."""

import importlib.util
import math
from pathlib import Path

import pytest

from results.learning_curves import read_curves
from results.log.records import Status
from tune.replay.nearest import Nearest

ROOT = Path(__file__).resolve().parents[2]
SETS = ("wide", "course")
spec = importlib.util.spec_from_file_location("replay_choices", ROOT / "benchmarks" / "replay_choices.py")
assert spec is not None
assert spec.loader is not None
choices = importlib.util.module_from_spec(spec)
spec.loader.exec_module(choices)


@pytest.fixture(scope="module", params=SETS)
def nearest(request: pytest.FixtureRequest) -> Nearest:
    return Nearest(read_curves([ROOT / "benchmarks" / "replay" / f"{request.param}.parquet"]))


def test_recorded_curves_are_whole_of_two_families_and_small(nearest: Nearest) -> None:
    assert {curve.status for curve in nearest.recorded.curves} <= {Status.COMPLETED, Status.DIVERGED}
    assert {curves[0].parameters["network.family"] for curves in nearest.curves} == {"small", "drift"}
    assert sum(file.stat().st_size for file in (ROOT / "benchmarks" / "replay").glob("*.parquet")) < 4e6


def test_of_set_one_there_are_many_configurations_and_of_the_good_ones_a_second_seed() -> None:
    wide = Nearest(read_curves([ROOT / "benchmarks" / "replay" / "wide.parquet"]))
    assert len(wide.curves) >= 150
    assert sum(len({curve.seed for curve in curves}) == 2 for curves in wide.curves) >= 100


def test_quasi_random_starts_are_points_of_the_space_and_sobol_fills_it_evenly(nearest: Nearest) -> None:
    rate = next(p for p in nearest.space.parameters if p.name == "training.learning_rate")
    for seed in range(5):
        starts = {design: getattr(choices, design)(nearest.space, seed) for design in ("_sobol", "_optuna_qmc")}
        for points in starts.values():
            assert len(points) == choices.STARTS
            for point in points:
                nearest.space.validate(point.parameters)
        first = [point.parameters[rate.name] for point in starts["_sobol"][:8]]
        assert sum(value < math.sqrt(rate.low * rate.high) for value in first) == 4, "eight points of a net in base 2"


@pytest.mark.parametrize("is_pasha", [False, True])
def test_promotion_goes_on_with_the_best_third_of_a_rung_within_the_budget(nearest: Nearest, is_pasha: bool) -> None:
    search = choices._Promotion(nearest, 3, grace=1, is_pasha=is_pasha)
    trace = search.run()
    assert trace.epochs <= choices._budget(nearest) + choices.WORKERS * nearest.max_epochs
    assert trace.steps
    for reached, promoted in zip(search._reached[: search._top], search._promoted, strict=False):
        best = sorted(reached, key=lambda trial: -reached[trial])[: len(reached) // 3]
        assert len({*best} - promoted) <= choices.WORKERS, "of the best third one waits while a new one begins"
        worst = sorted(reached, key=lambda trial: reached[trial])[: len(reached) // 3]
        assert len(promoted.intersection(worst)) < len(promoted) / 3
    assert len(search._reached[0]) > len(search._reached[1]) > 0


@pytest.mark.parametrize("choice", ["shipped", "TPE of completed only", "random sampler, grace 1, best seen"])
def test_the_same_seed_gives_the_same_trace(nearest: Nearest, choice: str) -> None:
    search = choices.CHOICES[choice][1]
    assert search(nearest, 5).steps == search(nearest, 5).steps != search(nearest, 6).steps
