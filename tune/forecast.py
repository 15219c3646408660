"""What a study will cost, before it starts: rungs, epochs, time, memory and disk, from shapes and a short timing."""

from __future__ import annotations

import math
import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from threadpoolctl import threadpool_limits

from results.schema import Value
from seti_model.config import Configuration, NetworkConfig, Preparation
from seti_model.data.prepare import prepare, prepared_form
from seti_model.data.simulator import PRESETS, Series
from seti_model.families import BLOCKS, DriftConfig, SmallConfig
from seti_model.pretrained import FILTERS
from tune.loop.asha import is_exempt, rung_epochs
from tune.study import DRAWS, Study

# Calibrated on one core of a Xeon with AVX-512 whose float32 matrix product runs at 180 GFLOP/s (DECISIONS.md):
# one training image costs its arithmetic, its activations and its share of the optimiser's passes over memory.
REFERENCE_FLOPS = 180e9
SECONDS_PER_ACTIVATION_BYTE = 1.2e-9
SECONDS_PER_PARAMETER_BYTE = 0.9e-9
SHARED_MEMORY = 1.3  # two trainings on two cores share the way to memory: 126 images/s each where one alone has 160
START_S = 40.0  # Ray, TensorFlow in each worker, predicting the test split
WORKER_BYTES = 600e6  # a process with TensorFlow and nothing trained
TIMED_IMAGES, TIMED_GOES = 16, 5  # images that are prepared, or simulated, to see how long it takes


@dataclass(frozen=True)
class Cost:
    """One network: trainable parameters, training FLOPs and activation bytes per image."""

    parameters: int
    flops: float
    activation_bytes: float


@dataclass(frozen=True)
class Images:
    """What is known of a data set beforehand; `fresh`: the training images of later epochs are simulated."""

    shape: tuple[int, int, int]  # n_time, n_freq, channels
    n_classes: int
    train: int
    validation: int
    fresh: bool = False


@dataclass(frozen=True)
class Forecast:
    """What a study will cost; `hours` with stopping and without, None where nothing is known of the trainable.

    `prepare_ms` is what one image costs in the dearest preparation, done once for each choice; `simulate_ms` what it
    costs to simulate one of the `simulated` images that epochs after the first need, done once for all trials.
    """

    rungs: tuple[int, ...]
    epochs: tuple[int, int]
    hours: tuple[float, float] | None
    memory_gb: float | None
    disk_gb: float | None
    prepare_ms: float = 0.0
    simulate_ms: float = 0.0
    simulated: int = 0


def network_cost(configuration: Configuration, shape: tuple[int, int, int], n_classes: int) -> Cost | None:
    """Count one network; None for one of the user's own. A training step passes forward once and backward twice."""
    network = configuration.network
    if network.is_own:
        return None
    if network.family == "drift":
        return _drift_cost(configuration.drift, shape, n_classes)
    if network.family == "small":
        return _small_cost(configuration.small, shape, n_classes)
    if network.family in BLOCKS:
        return _chain_cost(*_chain(configuration), shape, n_classes)
    return _course_cost(network, shape, n_classes)


@dataclass(frozen=True)
class _Convolution:
    """A convolution and the pooling after it, size and strides; one with strides of its own is not padded."""

    filters: int
    kernel: int
    strides: int = 1
    pool: tuple[int, int] = (1, 1)
    mean: bool = False  # over all places, afterwards


def _chain(configuration: Configuration) -> tuple[list[_Convolution], tuple[int, ...]]:
    """Return the convolutions and the units of the dense layers of a family that is one chain of them."""
    family = configuration.network.family
    if family == "alhassan":
        config = configuration.alhassan
        return [_Convolution(filters, config.kernel, pool=(2, 2)) for filters in config.filters], (config.dense_units,)
    if family == "aniyan":
        strides, pools = (4, 1, 1, 1, 1), ((3, 2), (3, 2), (1, 1), (1, 1), (3, 2))
        each = zip(configuration.aniyan.filters, (11, 5, 3, 3, 3), strides, pools, strict=True)
        return [_Convolution(*one) for one in each], 2 * (configuration.aniyan.dense_units,)
    found = [
        _Convolution(filters, 3, pool=(2, 2) if number == convolutions else (1, 1))
        for filters, convolutions in FILTERS
        for number in range(1, convolutions + 1)
    ]
    return [*found[:-1], replace(found[-1], mean=True)], (configuration.vgg16.dense_units,)


def _chain_cost(
    chain: Sequence[_Convolution], dense: tuple[int, ...], shape: tuple[int, int, int], n_classes: int
) -> Cost:
    (height, width, channels), parameters, flops, activations = shape, 0, 0.0, 0.0
    for one in chain:
        if one.strides > 1:
            height, width = ((side - one.kernel) // one.strides + 1 for side in (height, width))
        weights = one.kernel**2 * channels * one.filters
        parameters += weights + one.filters
        flops += 6 * weights * height * width
        activations += 4 * height * width * one.filters
        size, strides = one.pool
        height, width = (1 if one.mean else (side - size) // strides + 1 for side in (height, width))
        channels = one.filters
    inputs = height * width * channels
    for units in (*dense, n_classes):
        parameters += (inputs + 1) * units
        flops += 6 * inputs * units
        inputs = units
    return Cost(parameters, flops, activations)


def _drift_cost(config: DriftConfig, shape: tuple[int, int, int], n_classes: int) -> Cost:
    n_time, width, _ = shape
    weights = 11 * config.features + config.features**2 + 8 * config.features + 9 * 8
    curvatures = 2 * round(config.max_curvature / config.curvature_step) + 1
    curves = curvatures * (2 * round(config.max_slope / config.slope_step) + 1)
    steps = 2 * 24 * (config.max_curvature + config.max_slope / 2) + 7  # places of a row that are compared
    head = (2 * curvatures + 2 + config.features) * config.dense_units + config.dense_units * n_classes
    flops = 6 * (n_time * width * weights + 7 * n_time * (steps - 6) * curves + head)
    interpolated = n_time * steps * (2 * steps / 3 + 12)
    return Cost(
        weights + head, flops, 4 * (n_time * width * (2 * config.features + 16) + 2 * interpolated + 7 * curves)
    )


def _small_cost(config: SmallConfig, shape: tuple[int, int, int], n_classes: int) -> Cost:
    (height, width, channels), parameters, flops, activations = shape, 0, 0.0, 0.0
    for _ in range(config.convolutions):
        weights = min(4, height) * config.kernel * channels * config.filters
        parameters += weights + 3 * config.filters
        flops += 6 * weights * height * width
        activations += 4 * height * width * config.filters
        height, channels = max(1, height // 4), config.filters
    dense = height * width * channels * config.dense_1 + config.dense_1 * config.dense_2 + config.dense_2 * n_classes
    return Cost(parameters + dense, flops + 6 * dense, activations)


def _course_cost(config: NetworkConfig, shape: tuple[int, int, int], n_classes: int) -> Cost:
    height, width, channels = shape
    parameters, flops, activations = 0, 0.0, 0.0
    for filters in config.filters:
        weights = config.kernel**2 * channels * filters
        parameters += weights + 3 * filters
        flops += 6 * weights * height * width
        activations += 4 * height * width * filters
        height, width, channels = height // 2, width // 2, filters
    flat = height * width * channels
    parameters += flat * config.dense_units + 3 * config.dense_units + (config.dense_units + 1) * n_classes
    flops += 6 * (flat * config.dense_units + config.dense_units * n_classes)
    return Cost(parameters, flops, activations)


def seconds_per_image(cost: Cost, batch_size: int, *, flops_per_s: float) -> float:
    """Estimate the time of one training image on one core, seconds."""
    at_reference = (
        cost.flops / REFERENCE_FLOPS
        + cost.activation_bytes * SECONDS_PER_ACTIVATION_BYTE
        + 4 * cost.parameters * SECONDS_PER_PARAMETER_BYTE / batch_size
    )
    return at_reference * REFERENCE_FLOPS / flops_per_s


def measure_flops() -> float:
    """Time float32 matrix products on one thread; return FLOP/s."""
    a = np.ones((768, 768), np.float32)
    return 2 * 768**3 / _quickest(lambda: a @ a)


def forecast(study: Study, images: Images | None, *, concurrent: int, flops_per_s: float) -> Forecast:
    """Forecast a study from draws of its space.

    Args:
        study: The study.
        images: Those of its training and validation split; None where there is no data.
        concurrent: Trials that run at once.
        flops_per_s: What one core does, from `measure_flops`.
    """
    rungs = rung_epochs(study.asha.grace_epochs, study.asha.reduction_factor, study.study.max_epochs)
    epochs = (_epochs_with_stopping(study, rungs), study.study.trials * study.study.max_epochs)
    if not study.is_network or images is None or study.resources.gpus_per_trial > 0:
        return Forecast(rungs, epochs, None, None, None)
    rng = random.Random(0)  # noqa: S311 - draws for an estimate
    points: list[Mapping[str, Value]] = [study.space.sample(rng) for _ in range(DRAWS)]
    configurations = [Configuration.from_mapping(study.configuration(p)) for p in points]
    found = [network_cost(c, prepared_form(images.shape, c.preparation)[0], images.n_classes) for c in configurations]
    costs = [cost for cost in found if cost is not None]
    if len(costs) < len(found):
        return Forecast(rungs, epochs, None, None, None)
    training = [
        seconds_per_image(cost, c.training.batch_size, flops_per_s=flops_per_s)
        for cost, c in zip(costs, configurations, strict=True)
    ]
    per_image = _preparing_seconds({c.prepare.steps: c.preparation for c in configurations}, images.shape)
    simulated = (study.study.max_epochs - 1) * images.train if images.fresh else 0
    simulating = _simulating_seconds() if simulated else 0.0
    finals = study.retrainings * study.study.max_epochs
    passes = [_passed(c, images) * seconds for c, seconds in zip(configurations, training, strict=True)]
    each_epoch = images.train * max(per_image) if images.fresh else 0.0  # further images are prepared by every trial
    per_epoch = (
        (statistics.mean(passes) + each_epoch)
        / study.resources.cpus_per_trial
        * (SHARED_MEMORY if concurrent > 1 else 1.0)
    )
    once = START_S + sum(per_image) * (images.train + images.validation)
    once += simulating * simulated
    hours = tuple(((e + finals) * per_epoch / concurrent + once) / 3600 for e in epochs)
    largest = max(costs, key=lambda cost: cost.parameters)
    batch = max(c.training.batch_size for c in configurations)
    # At its peak, while a checkpoint is written: weights, gradients, both moments, the best weights and copies.
    worker = WORKER_BYTES + 9 * 4 * largest.parameters + 6 * batch * max(c.activation_bytes for c in costs)
    kept = 4 * statistics.mean(c.parameters for c in costs) * (study.study.trials + study.retrainings)
    being_written = 2 * 4 * 4 * largest.parameters * concurrent
    on_disk = simulated * math.prod(images.shape)
    milliseconds = 1000 * max(per_image), 1000 * simulating
    memory_gb, disk_gb = worker * concurrent / 1e9, (kept + being_written + on_disk) / 1e9
    return Forecast(rungs, epochs, (hours[0], hours[1]), memory_gb, disk_gb, *milliseconds, simulated)


def _preparing_seconds(preparations: Mapping[str, Preparation], shape: tuple[int, int, int]) -> list[float]:
    """Time each preparation on a few images; return seconds an image on one thread."""
    images = np.random.default_rng(0).integers(0, 256, (TIMED_IMAGES, *shape), dtype=np.uint8)
    return [
        _quickest(partial(prepare, images, preparation)) / TIMED_IMAGES if preparation.steps else 0.0
        for preparation in preparations.values()
    ]


def _simulating_seconds() -> float:
    """Time the simulation of an image on one thread."""
    return _quickest(partial(Series(PRESETS["course"], seed=0).images, 0, TIMED_IMAGES)) / TIMED_IMAGES


def _quickest(work: Callable[[], object]) -> float:
    """Return the seconds of the quickest of a few goes on one thread: the first one also sets up what is kept."""
    with threadpool_limits(1):
        times = [time.perf_counter()]
        for _ in range(TIMED_GOES):
            work()
            times.append(time.perf_counter())
    return min(now - before for before, now in pairwise(times))


def forecast_text(study: Study, plan: Forecast, concurrent: int) -> str:
    """Return the plan of a study in a few lines."""
    s = study.study
    rungs = ", ".join(map(str, plan.rungs)) or "no epoch"
    lines = [
        f"study {s.name}: {s.trials} trial{'' if s.trials == 1 else 's'} of at most {s.max_epochs} epochs, "
        f"{concurrent} at a time, "
        f"{study.search.sampler} over the {len(study.space.parameters)} parameters of space {study.space.name!r}, "
        f"seed {s.seed}",
        f"ASHA decides after epochs {rungs}; 1 in {study.asha.reduction_factor} goes on{_always(study)}",
        f"forecast: {plan.epochs[0]} to {plan.epochs[1]} epochs",
    ]
    if plan.hours is not None:
        lines[-1] += (
            f", {_duration(plan.hours[0])} to {_duration(plan.hours[1])}; {plan.memory_gb:.1f} GB of memory, "
            f"{plan.disk_gb:.1f} GB on disk (estimates, good to a factor of two)"
        )
    if study.start:
        lines.insert(1, f"{_start_points(len(study.start))} before the sampler proposes any")
    if not study.objective.is_accuracy:
        lines.insert(1, f"ranked by {study.objective.words}")
    if s.core_hours is not None:
        lines.append(f"no epoch of the search begins after {s.core_hours:g} core-hours")
    if plan.prepare_ms:
        how_often = "in every trial" if plan.simulated else "once for each choice"
        lines.append(f"preparing an image takes {plan.prepare_ms:.2g} ms of one core, {how_often}")
    if plan.simulated:
        lines.append(
            f"simulating an image takes {plan.simulate_ms:.2g} ms of one core; epochs after the first need "
            f"{plan.simulated}, made once for all trials"
        )
    return "\n".join(lines)


def _start_points(number: int) -> str:
    return "one start point is tried" if number == 1 else f"{number} start points are tried"


def _passed(configuration: Configuration, images: Images) -> float:
    """Images of an epoch; predicting one, in validation or for statistics, costs a third of training with it."""
    training = configuration.training
    recomputed = min(images.train, training.recalibration_batches * training.batch_size)
    return images.train + (images.validation + recomputed) / 3


def _epochs_with_stopping(study: Study, rungs: tuple[int, ...]) -> int:
    """Epochs if the baseline and exempt trials run whole, and at each rung one in `reduction_factor` others goes on."""
    whole = _exempt(study) + (study.baseline_parameters() is not None)
    spent, alive, before = float(whole * study.study.max_epochs), float(study.study.trials - whole), 0
    for rung in (*rungs, study.study.max_epochs):
        spent += alive * (rung - before)
        alive, before = max(0.0 if whole else 1.0, alive / study.asha.reduction_factor), rung
    return round(spent)


def _exempt(study: Study) -> int:
    return sum(is_exempt(trial, study.asha.exempt_fraction) for trial in range(study.study.trials))


def _always(study: Study) -> str:
    """Say which trials go on whatever they reach: the baseline and the exempt ones."""
    baseline = study.baseline_parameters() is not None
    words = ", the baseline (trial 0) always" if baseline else ""
    if not _exempt(study):
        return words
    step = 1 / study.asha.exempt_fraction
    share = "all trials" if step == 1 else f"1 in {step:.3g} trials"
    return f"{words}, {share} {'too' if baseline else 'always'}"


def _duration(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min" if hours >= 1 / 60 else f"{3600 * hours:.0f} s"
