"""Simulated data sets: balanced splits of SETI spectrograms, each image a function of seed, split and index.

The recipe is that of the public four-class course set (an int8 voltage time series, FFT power, logarithm, jet
colours, Lanczos, luminance). Signals therefore are dark lines on a brighter ground, and grey is not monotone in power.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import (
    MOST_IMAGES,
    SPLITS,
    Dataset,
    Fresh,
    Images,
    Labels,
    Split,
    SplitData,
    require_new,
    write_dataset,
)
from seti_model.data.recipe import N_FFT, SHAPE, Power, power_of, to_pixels
from seti_model.errors import DatasetError

if TYPE_CHECKING:
    import pandas as pd

Range = tuple[float, float]
CLASS_NAMES = ("squiggle", "narrowbanddrd", "narrowband", "noise")
SQUIGGLE, NARROWBANDDRD, _NARROWBAND, NOISE = range(4)
_N_SAMPLES = 256 * N_FFT  # the recipe makes 196 608 samples, but only these reach the image
_INT8_LIMIT = 127
_NAN = float("nan")


@dataclass(frozen=True)
class Simulation:
    """Images (n, 64, 128, 1), labels into `CLASS_NAMES` (n,), and one row of `Signal` fields per image."""

    images: Images
    labels: Labels
    truth: pd.DataFrame


def simulate(
    physics: Physics | str,
    n: int,
    seed: int,
    *,
    split: str = "train",
    threads: int | None = None,
    on_image: Callable[[], None] = lambda: None,
) -> Simulation:
    """Simulate one split with balanced classes in random order.

    An image depends on `physics`, `seed`, `split` and its own index only, and every four images in a row hold each
    class once.

    Args:
        physics: The name of a preset, or the ranges themselves.
        n: Number of images.
        seed: Not negative; equal seeds give equal images on machines that round alike.
        split: One of train, validation, test; each draws its own images from the seed.
        threads: NumPy releases the interpreter lock for most of the work; None means one per processor.
        on_image: Called after each image, in order.

    Raises:
        DatasetError: An unknown preset or split, a negative seed, or a count that is negative or too large.
    """
    import pandas as pd  # which a search that simulates nothing need not wait for

    series = Series(_resolve(physics), seed, split)
    if not 0 <= n <= MOST_IMAGES:
        raise DatasetError(f"simulation of {n} images: 0 to {MOST_IMAGES} are expected; correct the number")
    labels = series.labels(0, n)
    images = np.empty((n, *SHAPE, 1), np.uint8)

    def make(index: int) -> Signal:
        images[index, :, :, 0], signal = series.image(index, int(labels[index]))
        return signal

    signals = _run(make, n, threads, on_image)
    columns = [field.name for field in dataclasses.fields(Signal)]
    truth = pd.DataFrame([dataclasses.astuple(signal) for signal in signals], columns=columns, dtype="float64")
    return Simulation(images, labels, truth)


def simulate_dataset(
    path: Path,
    preset: str,
    counts: Mapping[str, int],
    seed: int,
    *,
    fresh: bool = False,
    on_image: Callable[[], None] = lambda: None,
) -> Dataset:
    """Simulate every split of `counts` (split name to number of images) and write the data set to `path`.

    Args:
        path: Folder to be made.
        preset: Name of the physics.
        counts: Images by split.
        seed: As for `simulate`.
        fresh: Whether each epoch of a training gets further images, of which the training split is the first epoch's.
        on_image: Called after each image.

    Raises:
        DatasetError: As for `simulate` and `write_dataset`.
    """
    physics = _resolve(preset)
    require_new(path)
    splits = {}
    for split, n in counts.items():
        made = simulate(physics, n, seed, split=split, on_image=on_image)
        splits[split] = SplitData(made.images, made.labels, truth=made.truth)
    origin = {"simulated": preset, "seed": seed, "physics": dataclasses.asdict(physics)}
    further = Fresh(seed, dataclasses.asdict(physics)) if fresh else None
    return write_dataset(path, splits, class_names=CLASS_NAMES, origin=origin, fresh=further)


def simulate_beside(
    path: Path,
    dataset: Dataset,
    preset: str,
    n: int,
    seed: int,
    *,
    on_image: Callable[[], None] = lambda: None,
) -> Dataset:
    """Write a data set like `dataset` to `path`, with `n` simulated images more in its training split.

    Raises:
        DatasetError: It has other classes or another shape than simulated images, or as for `simulate_dataset`.
    """
    absent = [name for name in CLASS_NAMES if name not in dataset.class_names]
    if absent or dataset.image_shape != (*SHAPE, 1):
        found = f"the classes {', '.join(dataset.class_names)} and images of {dataset.image_shape}"
        raise DatasetError(
            f"{dataset.path}: has {found}; simulated images are {', '.join(CLASS_NAMES)} of {(*SHAPE, 1)}, import it so"
        )
    if dataset.fresh is not None or (dataset.origin.get("simulated"), dataset.origin.get("seed")) == (preset, seed):
        same = "has no end" if dataset.fresh is not None else f"is simulated with {preset!r} and seed {seed} itself"
        raise DatasetError(f"{dataset.path}: {same}; add simulated images to real ones, or choose another --seed")
    require_new(path)
    made = simulate(preset, n, seed, on_image=on_image)
    labels = np.array([dataset.class_names.index(name) for name in CLASS_NAMES], np.int8)[made.labels]
    origin = {"simulated_beside": {"preset": preset, "images": n, "seed": seed}}
    return dataset.with_training_images(path, Split(made.images, labels), origin)


@dataclass(frozen=True)
class Physics:
    """What the parameters of the signals are drawn from; every range is uniform, signs are drawn evenly.

    `amplitude_ratio` is signal amplitude over noise sigma (of one component): the power ratio in one FFT channel is
    256 times its square. Frequencies are phase steps in rad/sample; the band is -pi..pi. No sample rate is known.
    """

    narrowband_amplitude_ratio: Range = (0.2, 0.3)  # of narrowband and narrowbanddrd
    squiggle_amplitude_ratio: Range = (0.4, 0.5)
    max_phase_step_rad: float = math.radians(120)  # at the first sample, either sign
    max_drift_rad_per_sample2: float = 0.004 / 1024  # either sign
    drift_derivative_rad_per_sample3: Range = (0.005 / 1e6 / 1024, 0.01 / 1e6 / 1024)  # narrowbanddrd, either sign
    squiggle_half_width_rad: Range = (0.001, 0.01)  # of the uniform jitter added to the phase step at each sample
    noise_sigma: float = 13.0  # per component, in units of the int8 voltage


PRESETS: Mapping[str, Physics] = MappingProxyType(
    {
        "course": Physics(),
        "challenge": Physics(
            narrowband_amplitude_ratio=(0.05, 0.4),
            squiggle_amplitude_ratio=(0.05, 0.4),
            max_drift_rad_per_sample2=0.0075 / 1024,
            drift_derivative_rad_per_sample3=(0.01 / 1e6 / 1024, 0.08 / 1e6 / 1024),
            squiggle_half_width_rad=(0.0001, 0.005),
        ),
        # In `course` the curvature of narrowbanddrd is below half a pixel and networks stay at chance on it.
        "wide": Physics(drift_derivative_rad_per_sample3=(0.015 / 1e6 / 1024, 0.04 / 1e6 / 1024)),
    }
)


@dataclass(frozen=True)
class Series:
    """Images without end, the first of which are those of a split; each is a function of these fields and its index."""

    physics: Physics
    seed: int
    split: str = "train"

    def __post_init__(self) -> None:
        """Refuse what no images come from.

        Raises:
            DatasetError: An unknown split or a negative seed.
        """
        if self.split not in SPLITS:
            raise DatasetError(f"split {self.split!r} is unknown; choose one of {', '.join(SPLITS)}")
        if self.seed < 0:
            raise DatasetError(f"simulation with seed {self.seed}: it may not be negative; correct it")

    def labels(self, first: int, last: int) -> Labels:
        """Return the labels of images `first` to `last` - 1: every four in a row, from 0, hold each class once."""
        n = len(CLASS_NAMES)
        blocks = range(first // n, -(-last // n))
        labels = [self._generator(1, block).permutation(n) for block in blocks]
        return np.concatenate([*labels, np.empty(0)])[first % n :][: last - first].astype(np.int8)

    def image(self, index: int, label: int) -> tuple[npt.NDArray[np.uint8], Signal]:
        """Return the pixels (64, 128) of one image of class `label`, and its signal."""
        rng = self._generator(0, index)
        signal = draw_signal(self.physics, label, rng)
        return to_pixels(noisy_power(signal, rng, physics=self.physics)), signal

    def images(self, first: int, last: int) -> Images:
        """Return images `first` to `last` - 1, (n, 64, 128, 1), made one after another."""
        images = [self.image(first + row, int(label))[0] for row, label in enumerate(self.labels(first, last))]
        return np.stack(images)[..., None]

    def _generator(self, purpose: int, index: int) -> np.random.Generator:
        key = (SPLITS.index(self.split), purpose, index)
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))


@dataclass(frozen=True)
class Signal:
    """The physical parameters of one image; NaN where the class has no such parameter."""

    amplitude_ratio: float = _NAN
    phase_step_rad: float = _NAN
    drift_rad_per_sample2: float = _NAN
    drift_derivative_rad_per_sample3: float = _NAN
    squiggle_half_width_rad: float = _NAN

    @property
    def is_present(self) -> bool:
        """Whether there is a signal at all."""
        return not math.isnan(self.amplitude_ratio)


def draw_signal(physics: Physics, label: int, rng: np.random.Generator) -> Signal:
    """Draw the parameters of one image of class `label`, an index into `CLASS_NAMES`."""
    if label == NOISE:
        return Signal()
    squiggle = label == SQUIGGLE
    amplitude = physics.squiggle_amplitude_ratio if squiggle else physics.narrowband_amplitude_ratio
    sign = rng.choice((-1.0, 1.0))
    return Signal(
        amplitude_ratio=rng.uniform(*amplitude),
        phase_step_rad=rng.uniform(-physics.max_phase_step_rad, physics.max_phase_step_rad),
        drift_rad_per_sample2=rng.uniform(-physics.max_drift_rad_per_sample2, physics.max_drift_rad_per_sample2),
        drift_derivative_rad_per_sample3=(
            sign * rng.uniform(*physics.drift_derivative_rad_per_sample3) if label == NARROWBANDDRD else _NAN
        ),
        squiggle_half_width_rad=rng.uniform(*physics.squiggle_half_width_rad) if squiggle else _NAN,
    )


def noisy_power(signal: Signal, rng: np.random.Generator, *, physics: Physics = PRESETS["course"]) -> Power:
    """Return the power (256, 512) of `signal` in Gaussian noise, through int8 voltages.

    Voltages are clipped at +-127 and truncated towards zero, as the course set's were.
    """
    line = _tone(signal, rng) if signal.is_present else None
    voltage = rng.standard_normal((_N_SAMPLES, 2), dtype=np.float32)
    voltage *= physics.noise_sigma
    if line is not None:
        line *= signal.amplitude_ratio * physics.noise_sigma
        voltage += line
    np.clip(voltage, -_INT8_LIMIT, _INT8_LIMIT, out=voltage)
    np.trunc(voltage, out=voltage)
    return power_of(voltage)


def noise_free_power(
    signal: Signal, rng: np.random.Generator | None = None, *, physics: Physics = PRESETS["course"]
) -> Power:
    """Return the power (256, 512) of `signal` alone, not rounded to int8.

    Args:
        signal: A signal that is present; a missing drift, derivative or jitter counts as zero.
        rng: Draws the random walk; needed for a squiggle only.
        physics: Only its `noise_sigma` matters: it is the unit of the amplitude.

    Raises:
        DatasetError: The signal is noise, which has no noise-free image, or a squiggle without `rng`.
    """
    if not signal.is_present:
        raise DatasetError("a noise-free image of the class 'noise' is empty; choose a class with a signal")
    line = _tone(signal, rng)
    line *= signal.amplitude_ratio * physics.noise_sigma
    return power_of(line)


def _resolve(physics: Physics | str) -> Physics:
    if isinstance(physics, Physics):
        return physics
    if physics not in PRESETS:
        raise DatasetError(f"preset {physics!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[physics]


def _run(make: Callable[[int], Signal], n: int, threads: int | None, on_image: Callable[[], None]) -> list[Signal]:
    signals = []
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for signal in pool.map(make, range(n)):
                signals.append(signal)
                on_image()
        except BaseException:  # Ctrl-C would otherwise wait for all that is queued
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return signals


def _tone(signal: Signal, rng: np.random.Generator | None) -> npt.NDArray[np.float32]:
    """Return real and imaginary part (131072, 2) of a tone of amplitude 1, silent while it is outside the band."""
    k, half_k2 = _sample_numbers()
    step = signal.phase_step_rad + np.nan_to_num(signal.drift_rad_per_sample2) * k
    if not math.isnan(signal.drift_derivative_rad_per_sample3):
        step += signal.drift_derivative_rad_per_sample3 * half_k2
    if not math.isnan(signal.squiggle_half_width_rad):
        if rng is None:
            raise DatasetError("a squiggle is a random walk; pass a generator for it")
        half_width = signal.squiggle_half_width_rad
        step += np.cumsum(rng.uniform(-half_width, half_width, _N_SAMPLES))
    turns = np.cumsum(step) / (2 * math.pi)
    turns -= np.rint(turns)  # in float64, so that float32 suffices for the cosine
    phase = (turns * (2 * math.pi)).astype(np.float32)
    tone = np.empty((_N_SAMPLES, 2), np.float32)
    np.cos(phase, out=tone[:, 0])
    np.sin(phase, out=tone[:, 1])
    tone[np.abs(step) > math.pi] = 0
    return tone


@functools.cache
def _sample_numbers() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    k = np.arange(_N_SAMPLES, dtype=np.float64)
    return k, k * k / 2
