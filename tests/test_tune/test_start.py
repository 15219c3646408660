"""Configurations that a study gives itself are tried once, first and in their order, whatever happens to the driver."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import Bench, Crash, outcome
from test_fault_campaign import compare, disturb

from results.log.reading import read_events
from results.log.records import TrialStarted
from results.log.state import RunState, fold
from results.run_folder import LOG_NAME
from search_spaces.parameters import SpaceError
from seti_model.errors import ConfigError
from tune.resume import recorded_study
from tune.study import load_study

POINTS = "[[start]]\nx = 0.25\n[[start]]\nx = 0.5\n[[start]]\nx = 1\n"
FAMILIES = """
name = "families"
description = "Two networks."
[parameters."network.family"]
type = "categorical"
choices = ["course", "drift"]
reason = "r"
[parameters."network.filters_1"]
type = "int"
low = 8
high = 64
reason = "r"
when = {"network.family" = ["course"]}
[parameters."drift.features"]
type = "int"
low = 2
high = 32
reason = "r"
when = {"network.family" = ["drift"]}
[parameters."training.learning_rate"]
type = "float"
low = 0.0001
high = 0.01
reason = "r"
"""


@pytest.fixture
def path(quick_study: Callable[..., Path]) -> Path:
    return quick_study(trials=8, extra=POINTS)


def begun(state: RunState) -> list[tuple[int, str | None, Any]]:
    return [(t.started.trial, t.started.origin, t.started.parameters["x"]) for t in state.search_trials()]


def test_start_points_come_right_after_the_baseline_and_count_among_the_trials(path: Path, tmp_path: Path) -> None:
    bench = Bench(load_study(path), tmp_path / "run")
    state = bench.run()
    assert begun(state)[:4] == [(0, None, 0.9), (1, "start 1", 0.25), (2, "start 2", 0.5), (3, "start 3", 1.0)]
    assert [origin for _, origin, _ in begun(state)[4:]] == [None] * 4
    assert state.trials[1, None].started.configuration["x"] == 0.25
    told = bench.plan.proposer.study.trials
    assert [t.params["x"] for t in told] == [x for _, _, x in begun(state)]
    assert {t.state.name for t in told} == {"COMPLETE", "PRUNED"}


def test_without_a_baseline_they_are_the_first(path: Path, tmp_path: Path) -> None:
    path.write_text(path.read_text().replace("[baseline]\nx = 0.9\n", ""))
    state = Bench(load_study(path).with_trials(4), tmp_path / "run").run()
    assert [origin for _, origin, _ in begun(state)] == ["start 1", "start 2", "start 3", None]


@pytest.mark.parametrize("seed", range(3))
def test_each_is_tried_once_whenever_the_driver_dies(path: Path, tmp_path: Path, seed: int) -> None:
    whole = outcome(Bench(load_study(path), tmp_path / "whole").run())
    rng, crashes = random.Random(seed), 0
    while True:
        try:
            state = Bench(load_study(path), tmp_path / "run", crash_after=rng.randint(0, 25)).run()
            break
        except Crash:
            crashes += 1
            with (tmp_path / "run" / LOG_NAME).open("ab") as file:
                file.write(b'{"v":1,"kind":"trial_started"'[: rng.randint(0, 29)])
    assert crashes >= 3
    assert outcome(state) == whole
    origins = [e.origin for e in read_events(tmp_path / "run") if isinstance(e, TrialStarted) and e.repeat is None]
    assert origins == [None, "start 1", "start 2", "start 3", None, None, None, None]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_each_is_tried_once_and_first_after_twenty_kills(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study = quick_study(trials=28, sleep=0.5, extra=POINTS + "[resources]\nmax_concurrent = 1\n", short_finals=True)
    compare(study, tmp_path, lambda run: disturb(study, run, kills=20, seconds=7, rng=random.Random(4)))
    assert begun(fold(tmp_path / "disturbed"))[1:4] == [(1, "start 1", 0.25), (2, "start 2", 0.5), (3, "start 3", 1.0)]


def test_a_list_that_was_changed_loses_and_repeats_none(path: Path, tmp_path: Path) -> None:
    """Of three points one was tried; the file then lists two others before the first, and another one at its end."""
    run = tmp_path / "run"
    Bench(load_study(path).with_trials(2), run).run()
    path.write_text(path.read_text().replace(POINTS, "[[start]]\nx = 0.5\n[[start]]\nx = 0.25\n[[start]]\nx = 0.75\n"))
    state = Bench(load_study(path), run).run()
    points = [(origin, x) for _, origin, x in begun(state) if origin]
    assert points == [("start 1", 0.25), ("start 2", 0.5), ("start 3", 1.0), ("start 4", 0.75)]
    assert recorded_study(run).start == state.study.start
    assert Bench(recorded_study(run).with_trials(9), run).run().n_search == 9
    assert [(origin, x) for _, origin, x in begun(fold(run)) if origin] == points


def test_in_a_space_that_was_widened_the_rest_of_them_is_tried_with_what_is_new(path: Path, tmp_path: Path) -> None:
    run, space = tmp_path / "run", path.with_name("line.toml")
    path.write_text(path.read_text().replace("[fixed]\n", "[fixed]\ny = 0.5\n"))
    Bench(load_study(path).with_trials(2), run).recorder.close()
    Bench(load_study(path).with_trials(2), run).run()
    more = '[parameters.y]\ntype = "float"\nlow = 0.0\nhigh = 1.0\nreason = "Was fixed."\n'
    space.write_text(space.read_text() + more)
    study = recorded_study(run, trials=5, space=space)
    assert [dict(point.parameters) for point in study.start] == [{"x": x, "y": 0.5} for x in (0.25, 0.5, 1.0)]


def test_what_a_network_s_points_leave_out_is_the_baseline_s_or_the_network_s_own(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(FAMILIES)
    path = tmp_path / "s.toml"
    path.write_text(
        '[study]\nspace = "space.toml"\n[data]\nsimulate = "course"\n[baseline]\n"training.learning_rate" = 0.002\n'
        '"network.filters_1" = 16\n[[start]]\n"network.family" = "drift"\n[[start]]\n"network.filters_1" = 64\n'
    )
    study = load_study(path)
    assert study.baseline_parameters() == {
        "network.family": "course", "network.filters_1": 16, "training.learning_rate": 0.002,
    }  # fmt: skip
    drift, course = (dict(point.parameters) for point in study.start)
    assert drift == {"network.family": "drift", "drift.features": 32, "training.learning_rate": 0.002}
    assert course == {"network.family": "course", "network.filters_1": 64, "training.learning_rate": 0.002}
    path.write_text(path.read_text().replace('family" = "drift"', 'family" = "drift"\n"network.filters_1" = 8'))
    with pytest.raises(SpaceError, match=r"\[\[start\]\] 1: .*'network\.filters_1': 8 given, but it counts only where"):
        load_study(path)


def test_a_point_that_no_training_accepts_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "space.toml").write_text(FAMILIES.replace("high = 0.01", "high = 1000001.0"))
    path = tmp_path / "s.toml"
    start = '[[start]]\n"training.learning_rate" = 1000000.5\n'
    path.write_text(f'[study]\nspace = "space.toml"\n[data]\nsimulate = "course"\n{start}')
    with pytest.raises(ConfigError, match=r"\[\[start\]\] 1: training\.learning_rate: 1000000\.5 lies outside"):
        load_study(path)
