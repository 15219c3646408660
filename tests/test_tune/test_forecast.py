from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from seti_model.config import Configuration, NetworkConfig
from seti_model.data.prepare import prepared_form
from seti_model.families import FAMILIES
from seti_model.network import PixelScale, build_network
from seti_model.runtime import prepare_process
from tune.forecast import Images, forecast, forecast_text, measure_flops, network_cost, seconds_per_image
from tune.study import load_study

SHAPE = (64, 128, 1)


def test_the_course_network_is_counted_to_the_last_trainable_weight() -> None:
    """33 616 132 parameters, of which the moving statistics are not trained."""
    moving_statistics = 2 * (32 + 64 + 1024)
    assert network_cost(Configuration(), SHAPE, 4).parameters == 33_616_132 - moving_statistics


def test_the_arithmetic_of_a_step_follows_from_the_shapes() -> None:
    """Second convolution of the course network: 5x5x32x64 weights at 32x64 places, three passes, 2 FLOP each."""
    one = network_cost(Configuration(NetworkConfig(blocks=1, dense_units=1)), SHAPE, 4)
    two = network_cost(Configuration(NetworkConfig(blocks=2, dense_units=1)), SHAPE, 4)
    dense = 6 * (32 * 64 * 32 - 16 * 32 * 64)
    assert two.flops - one.flops == pytest.approx(6 * 25 * 32 * 64 * 32 * 64 - dense)


def test_the_course_network_is_forecast_near_what_was_measured() -> None:
    """82-91 images/s of CPU time were measured where a core does 180 GFLOP/s (FACTS of the project)."""
    rate = 1 / seconds_per_image(network_cost(Configuration(), SHAPE, 4), 32, flops_per_s=180e9)
    assert 60 < rate < 120


@pytest.mark.parametrize("family", FAMILIES)
def test_the_weights_of_a_family_are_counted_nearly_all(family: str) -> None:
    prepare_process(threads=1)
    configuration = Configuration.from_mapping({"network.family": family, "aniyan.dense_units": 64})
    shape, _ = prepared_form((80, 128, 1), configuration.preparation)
    counted = network_cost(configuration, shape, 4)
    network = build_network(configuration, shape, 4, seed=1, pixels=PixelScale())
    trained = sum(int(np.prod(weight.shape)) for weight in network.trainable_variables)
    assert counted is not None
    assert counted.parameters == pytest.approx(trained, rel=0.1)


def test_half_the_speed_takes_twice_as_long() -> None:
    cost = network_cost(Configuration(), SHAPE, 4)
    slow = seconds_per_image(cost, 32, flops_per_s=90e9)
    assert slow == pytest.approx(2 * seconds_per_image(cost, 32, flops_per_s=180e9))


def test_a_core_is_timed_in_gflops() -> None:
    assert 1e9 < measure_flops() < 5e12


def test_the_forecast_counts_epochs_rungs_and_disk() -> None:
    study = load_study("course")
    plan = forecast(study, Images(SHAPE, 4, 3200, 800), concurrent=2, flops_per_s=180e9)
    assert plan.rungs == (4,)
    assert plan.epochs == (3 * 12 + 21 * 4 + 7 * 8, 24 * 12), "trials 0, 10 and 20 run whole"
    assert plan.hours is not None
    assert plan.disk_gb is not None
    assert 0.3 < plan.hours[0] < plan.hours[1] < 4
    assert 1 < plan.disk_gb < 20
    assert plan.memory_gb is not None
    assert 3 < plan.memory_gb < 6, "a worker with the course network takes up to 2.25 GB"
    text = forecast_text(study, plan, 2)
    assert "ASHA decides after epochs 4; 1 in 3 goes on, the baseline (trial 0) always, 1 in 10 trials too\n" in text
    assert "176 to 288 epochs" in text
    assert 0.2 < plan.prepare_ms < 50
    assert "preparing an image takes" in text


def test_nothing_is_forecast_of_an_unknown_trainable(quick_study: Callable[..., Path]) -> None:
    study = load_study(quick_study())
    plan = forecast(study, None, concurrent=1, flops_per_s=1e9)
    assert plan.hours is None
    assert forecast_text(study, plan, 1).endswith("forecast: 41 to 108 epochs"), "two whole trials"


@pytest.mark.parametrize(
    ("trials", "fraction", "words"),
    [
        (9, 0.1, "the baseline (trial 0) always"),  # the tenth is not reached
        (20, 0, "the baseline (trial 0) always"),
        (20, 0.1, "the baseline (trial 0) always, 1 in 10 trials too"),
        (20, 0.5, "the baseline (trial 0) always, 1 in 2 trials too"),
        (20, 0.3, "the baseline (trial 0) always, 1 in 3.33 trials too"),
        (90, 0.05, "the baseline (trial 0) always, 1 in 20 trials too"),
        (20, 1, "the baseline (trial 0) always, all trials too"),
    ],
)
def test_the_trials_that_always_go_on_are_named(
    quick_study: Callable[..., Path], trials: int, fraction: float, words: str
) -> None:
    study = quick_study(trials=trials)
    study.write_text(study.read_text().replace("[asha]", f"[asha]\nexempt_fraction = {fraction}"))
    loaded = load_study(study)
    plan = forecast(loaded, None, concurrent=1, flops_per_s=1e9)
    assert f"ASHA decides after epochs 1, 3; 1 in 3 goes on, {words}\n" in forecast_text(loaded, plan, 1)
    assert plan.epochs[0] <= plan.epochs[1]
    assert (plan.epochs[0] == plan.epochs[1]) is (fraction == 1)


def test_without_a_baseline_the_exempt_trials_alone_always_go_on(quick_study: Callable[..., Path]) -> None:
    study = quick_study()
    study.write_text(study.read_text().replace("[baseline]\nx = 0.9\n", ""))
    loaded = load_study(study)
    plan = forecast(loaded, None, concurrent=1, flops_per_s=1e9)
    assert "1 in 3 goes on, 1 in 10 trials always\n" in forecast_text(loaded, plan, 1)
    assert plan.epochs[0] == round(9 + 11 * 1 + 11 / 3 * 2 + 11 / 9 * 6)


@pytest.mark.parametrize(("fraction", "whole"), [(0, 1), (0.25, 1 + 9), (0.5, 1 + 19)])
def test_whole_trials_are_in_the_lower_bound(quick_study: Callable[..., Path], fraction: float, whole: int) -> None:
    """Of 40 trials the baseline and floor(39 f) run 9 epochs, of the others a third go on at each of two rungs."""
    study = quick_study(trials=40)
    study.write_text(study.read_text().replace("[asha]", f"[asha]\nexempt_fraction = {fraction}"))
    plan = forecast(load_study(study), None, concurrent=1, flops_per_s=1e9)
    assert plan.epochs[0] == round(whole * 9 + (40 - whole) * (1 + 2 / 3 + 6 / 9))
