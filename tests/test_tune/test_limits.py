"""What a network may cost: one beyond the limits is not trained, is recorded as such and teaches the sampler."""

import dataclasses
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bench import Bench, Crash, NetworkBench, finish_here, outcome

from results.findings import Findings
from results.log.reading import read_events
from results.log.records import NetworkMeasured
from results.log.state import RunState, load_run
from results.report.cell import cell_html
from results.report.sentences import headline, how_it_ended
from results.study import LimitsSection
from results.tables.leaderboard import leaderboard_table, leaderboard_text
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from tune.loop.coordinator import HopelessStudyError
from tune.study import load_study
from tune.trainable import AttemptOutcome, Left, NetworkSize

LIMITS = "[limits]\nmodel_parameters = 600\n"  # x is at most 0.6, see quick_trainable.py


def outside(state: RunState) -> list[float]:
    return [float(t.parameters["x"]) for t in state.search_trials() if t.status == "outside"]


def test_what_has_too_many_parameters_is_not_trained_and_avoided(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    bench = Bench(load_study(quick_study(trials=30, extra=LIMITS)), tmp_path / "run")
    state = bench.run()
    baseline = state.trials[0, None]
    assert baseline.status == "outside"
    assert baseline.ended is not None
    assert baseline.ended.reason == "900 parameters, more than the 600 of [limits]"
    for trial in state.search_trials():
        assert (trial.status == "outside") == (float(trial.parameters["x"]) >= 0.601)
        assert bool(trial.epochs) == (trial.status != "outside")
        told = bench.plan.proposer.study.trials[trial.started.trial]
        assert told.constraints == ({"trainable": 1.0} if trial.status == "outside" else {})
    late = [t for t in state.search_trials()[15:] if t.status == "outside"]
    assert len(late) <= 3, "the sampler has not learnt where the limit is"
    assert not any(t.status == "outside" for t in state.final_trials())
    text = leaderboard_text(state, leaderboard_table(state))
    assert "900 parameters, more than the 600" in text


def test_latency_is_limited_too_and_both_are_said(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    extra = LIMITS + "latency_ms = 8.5\n"
    state = Bench(load_study(quick_study(trials=8, extra=extra)), tmp_path / "run").run()
    ended = state.trials[0, None].ended
    assert ended is not None
    assert ended.reason == "900 parameters, more than the 600 and 9 ms an image, more than the 8.5 of [limits]"


def test_a_run_interrupted_anywhere_ends_like_the_uninterrupted_one(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study, rng = load_study(quick_study(trials=12, extra=LIMITS)), random.Random(2)
    whole = outcome(Bench(study, tmp_path / "whole").run())
    for _ in range(8):
        try:
            Bench(study, tmp_path / "run", crash_after=rng.randint(0, 12)).run()
        except Crash:
            continue
    assert outcome(Bench(study, tmp_path / "run").run()) == whole


def test_a_space_with_nothing_inside_ends_and_says_so(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study = load_study(quick_study(trials=80, extra="[limits]\nlatency_ms = 0.000001\n"))
    words = r"run: 50 configurations in a row are outside of \[limits\]; raise the limits in the study file and start"
    with pytest.raises(HopelessStudyError, match=words):
        Bench(study, tmp_path / "run").run()
    assert len(outside(load_run(tmp_path / "run"))) == 50
    raised = dataclasses.replace(study, limits=LimitsSection(latency_ms=100.0))
    state = Bench(raised, tmp_path / "run").run()
    assert (len(outside(state)), state.n_search) == (50, 80)


def test_a_short_study_with_nothing_inside_says_so_in_its_report(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    finish_here(load_study(quick_study(trials=3, extra="[limits]\nmodel_parameters = 1\n")), tmp_path / "run")
    found = Findings.read(tmp_path / "run")
    assert how_it_ended(found).endswith("3 trials: 0 completed, 0 stopped, 0 diverged, 0 failed, 3 outside.")
    assert headline(found)[0] == (
        "No trial was completed; the first one outside: 900 parameters, more than the 1 of [limits]"
    )


def test_real_networks_are_counted_before_they_are_trained_and_measured_once_a_shape(tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "data", "course", {"train": 32, "validation": 32, "test": 8}, 1)
    (tmp_path / "space.toml").write_text(
        'name = "narrow"\ndescription = "Small."\n[parameters."network.filters_2"]\ntype = "categorical"\n'
        'choices = [4, 64]\nreason = "r"\n[parameters."training.learning_rate"]\ntype = "float"\nlow = 0.001\n'
        'high = 0.01\nreason = "r"\n'
    )
    path = tmp_path / "study.toml"
    path.write_text(
        '[study]\nspace = "space.toml"\ntrials = 5\nmax_epochs = 1\n[data]\npath = "data"\n[finals]\nenabled = false\n'
        '[fixed]\n"network.dense_units" = 16\n"training.recalibration_batches" = 1\n"network.filters_1" = 4\n'
        "[limits]\nmodel_parameters = 200000\nlatency_ms = 1000\n"
    )
    study, data = load_study(path), Dataset.open(tmp_path / "data").training_data()
    run = tmp_path / "run"
    state = NetworkBench(study, run, data).run()
    assert state.trials[0, None].status == "outside"  # the course's 64 filters: 16 x 32 x 64 x 16 weights behind them
    measured = [e for e in read_events(run) if isinstance(e, NetworkMeasured)]
    assert len(measured) == len({e.shape for e in measured}) == 2
    assert all(e.latency_ms is not None and 0 < e.latency_ms < 1000 for e in measured)
    small = [t for t in state.search_trials() if t.status == "completed"]
    assert small
    counted = {e.shape: e.model_parameters for e in measured}.values()
    assert {t.epochs[1].model_parameters for t in small} == {min(counted)}
    assert max(counted) > 16 * 32 * 64 * 16
    NetworkBench(study.with_trials(7), run, data).run()
    assert [e for e in read_events(run) if isinstance(e, NetworkMeasured)] == measured


def test_a_small_network_that_ends_before_a_large_one_is_measured_ends_no_search(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = load_study(quick_study(trials=4, extra="[limits]\nmodel_parameters = 10000\n"))
    bench = Bench(study, tmp_path / "run", workers=2)
    first, second = bench.coordinator.next_task(), bench.coordinator.next_task()
    assert first is not None
    assert second is not None
    bench.coordinator.receive(second, Left(AttemptOutcome.DIVERGED, "nan"))
    assert bench.coordinator.receive(first, NetworkSize(model_parameters=np.int64(20_000)))
    assert [trial.status for trial in bench.state.search_trials()] == ["outside", "diverged"]


def test_a_trial_with_epochs_may_lie_outside_later_and_is_drawn(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    path, run = quick_study(trials=6), tmp_path / "run"
    with pytest.raises(Crash):
        Bench(load_study(path), run, crash_after=9).run()
    path.write_text(path.read_text() + LIMITS)
    state = Bench(load_study(path), run).run()
    assert state.trials[0, None].status == "outside"
    assert state.trials[0, None].epochs
    assert "outside" in cell_html(Findings.read(run))
