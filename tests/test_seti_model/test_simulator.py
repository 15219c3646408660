"""The simulator against closed forms and against its own promises; genuine images are in test_fidelity."""

from __future__ import annotations

import dataclasses
import math
import time

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.data.recipe import jet_palette, to_pixels
from seti_model.data.simulator import (
    CLASS_NAMES,
    PRESETS,
    SHAPE,
    Physics,
    Series,
    Signal,
    noise_free_power,
    noisy_power,
    simulate,
    simulate_beside,
    simulate_dataset,
)
from seti_model.errors import DatasetError

ROW = 512  # samples that make one row of the power
SQUIGGLE, NARROWBANDDRD, NARROWBAND, NOISE = range(4)


@pytest.fixture(scope="module")
def course():
    return simulate("course", 900, seed=5)


# Physics


def line_frequencies(power):
    """Phase step (rad/sample) of a lone tone in each row: for an unwindowed FFT, from the two largest channels."""
    rows = np.arange(len(power))
    peak = power.argmax(axis=1).clip(1, power.shape[1] - 2)
    side = np.where(power[rows, peak + 1] > power[rows, peak - 1], 1, -1)
    a, b = np.sqrt(power[rows, peak]), np.sqrt(power[rows, peak + side])
    return (peak + side * b / (a + b) - ROW // 2) * 2 * math.pi / ROW


def row_centres(n_rows, samples_per_row):
    return np.arange(n_rows) * samples_per_row + (samples_per_row - 1) / 2


def test_drift_and_its_derivative_are_recovered_from_noise_free_power(course):
    drifting = course.truth[course.labels == NARROWBANDDRD]
    turning = drifting[drifting.phase_step_rad.abs() < 1.9].head(40)  # never leaves the band
    assert len(turning) == 40
    for row in turning.itertuples(index=False):
        frequency = line_frequencies(noise_free_power(Signal(**row._asdict())))
        fit = np.polynomial.polynomial.polyfit(row_centres(256, ROW), frequency, 2)
        assert fit[0] == pytest.approx(row.phase_step_rad, abs=1e-4)
        assert fit[1] == pytest.approx(row.drift_rad_per_sample2, abs=1e-9)
        assert 2 * fit[2] == pytest.approx(row.drift_derivative_rad_per_sample3, rel=0.01)


@pytest.mark.parametrize("derivative", [-9e-12, 5e-12, 3e-11])
def test_pixels_show_the_curve_of_the_drift_derivative(derivative):
    ground = 2 * ROW * 13**2  # the mean noise power without its scatter, so that the line is dark on even ground
    signal = Signal(0.3, 0.4, 1e-6, derivative)
    darkness = 255.0 - to_pixels(noise_free_power(signal) + np.float32(ground))
    darkness = (darkness - np.median(darkness)).clip(0)
    column = (darkness * np.arange(128)).sum(axis=1) / darkness.sum(axis=1)
    frequency = ((column + 0.5) * 4 - 0.5 - ROW / 2) * 2 * math.pi / ROW
    fit = np.polynomial.polynomial.polyfit(row_centres(64, 4 * ROW), frequency, 2)
    # Pixels are 0.05 rad wide and 8 bits deep: 1e-12 is a bend of 0.02 pixel over the image.
    assert 2 * fit[2] == pytest.approx(derivative, abs=1e-12)


def test_squiggle_wanders_as_a_random_walk_of_uniform_steps():
    half_width, lag = 0.001, 16  # rows; over many rows it does not matter where in a row its frequency is measured
    wander = []
    for seed in range(20):
        signal = Signal(0.5, 0.0, 0.0, squiggle_half_width_rad=half_width)
        frequency = line_frequencies(noise_free_power(signal, np.random.default_rng(seed)))
        wander.append(frequency[lag:] - frequency[:-lag])
    expected = half_width / math.sqrt(3) * math.sqrt(lag * ROW)  # a uniform step has the variance w^2 / 3
    assert np.std(wander) == pytest.approx(expected, rel=0.1)  # 300 independent steps: 4 %


def test_signal_is_silent_beyond_the_band():
    drift = 4e-6
    power = noise_free_power(Signal(0.25, 3.1, drift)).sum(axis=1)
    leaves = int((math.pi - 3.1) / drift / ROW)
    assert np.all(power[:leaves] > 0)
    assert np.all(power[leaves + 1 :] == 0)


def test_amplitude_ratio_sets_the_power_of_the_line():
    power = noise_free_power(
        Signal(amplitude_ratio=0.25, phase_step_rad=2 * math.pi * 10 / ROW, drift_rad_per_sample2=0)
    )
    expected = (0.25 * 13 * ROW) ** 2
    assert power[:, ROW // 2 + 10] == pytest.approx(np.full(256, expected), rel=1e-4)
    # Over the noise power in one channel, as DATA.md's unit says: 256 times the squared ratio.
    assert expected / (2 * ROW * 13**2) == pytest.approx(256 * 0.25**2)


def test_voltages_are_integers_truncated_towards_zero():
    power = noisy_power(Signal(), np.random.default_rng(1)).astype(float)
    energy = power.sum(axis=1) / ROW  # Parseval: the sum of squared voltages of a row
    assert energy == pytest.approx(np.rint(energy), abs=0.1)
    k = np.arange(1, 128)
    probability = stats.norm.sf(k / 13) - stats.norm.sf((k + 1) / 13)
    expected = 2 * np.sum(k**2 * probability)
    # The variance of a squared Gaussian is 2 sigma^4: 262144 of them average to a deviation of 0.47.
    assert energy.sum() / (2 * 131072) == pytest.approx(expected, abs=1.5)
    assert expected == pytest.approx(159, abs=1)  # rounding to the nearest integer would give 169


def test_voltages_are_clipped_to_int8():
    power = noisy_power(Signal(), np.random.default_rng(1), physics=Physics(noise_sigma=1e9))
    energy = power.astype(float).sum(axis=1) / ROW
    assert energy == pytest.approx(np.full(256, 2 * ROW * 127**2), rel=1e-3)


def test_palette_is_the_jet_of_matplotlib():
    expected = matplotlib.colormaps["jet"](np.arange(256), bytes=True)[:, :3]
    assert np.array_equal(np.frombuffer(jet_palette(), np.uint8).reshape(256, 3), expected)


# Promises


def test_classes_are_balanced_in_every_four_images(course):
    blocks = course.labels.reshape(-1, 4)
    assert np.array_equal(np.sort(blocks, axis=1), np.tile(np.arange(4), (len(blocks), 1)))
    assert len(np.unique(blocks, axis=0)) == math.factorial(4)
    assert course.images.shape == (900, 64, 128, 1)
    assert (course.images.dtype, course.labels.dtype) == (np.uint8, np.int8)


def test_image_depends_on_seed_split_and_index_only(course):
    first = simulate("course", 12, seed=5, threads=1)
    assert np.array_equal(first.images, course.images[:12])
    assert np.array_equal(first.labels, course.labels[:12])
    assert first.truth.equals(course.truth[:12])
    for other in (simulate("course", 12, seed=6), simulate("course", 12, seed=5, split="test")):
        assert not any(np.array_equal(a, b) for a in first.images for b in other.images)


def test_truth_lies_in_the_ranges_of_the_preset_and_is_nan_elsewhere(course):
    truth, labels, physics = course.truth, course.labels, PRESETS["course"]
    line, squiggle, turning = labels != NOISE, labels == SQUIGGLE, labels == NARROWBANDDRD
    for column, applies in (
        ("amplitude_ratio", line),
        ("phase_step_rad", line),
        ("drift_rad_per_sample2", line),
        ("drift_derivative_rad_per_sample3", turning),
        ("squiggle_half_width_rad", squiggle),
    ):
        assert np.array_equal(truth[column].notna(), applies), column
    assert truth.amplitude_ratio[squiggle].between(*physics.squiggle_amplitude_ratio).all()
    assert truth.amplitude_ratio[line & ~squiggle].between(*physics.narrowband_amplitude_ratio).all()
    assert truth.drift_derivative_rad_per_sample3[turning].abs().between(4.88e-12, 9.77e-12).all()
    assert truth.drift_derivative_rad_per_sample3[turning].gt(0).mean() == pytest.approx(0.5, abs=0.1)
    assert truth.phase_step_rad.abs().max() == pytest.approx(math.radians(120), rel=0.02)


def test_wide_differs_from_course_in_the_drift_derivative_only():
    wide, course = dataclasses.asdict(PRESETS["wide"]), dataclasses.asdict(PRESETS["course"])
    changed = {name for name in wide if wide[name] != course[name]}
    assert changed == {"drift_derivative_rad_per_sample3"}
    assert wide["drift_derivative_rad_per_sample3"] == (0.015 / 1e6 / 1024, 0.04 / 1e6 / 1024)


def test_one_core_makes_a_hundred_images_in_two_seconds():
    """Half of the promised rate, in processor time: the machine that tests may be busy with other things."""
    start = time.process_time()
    simulate("course", 100, seed=1, threads=1)
    assert time.process_time() - start < 2


def test_simulated_dataset_is_complete_and_reports_progress(tmp_path):
    calls = []
    counts = {"train": 8, "validation": 5, "test": 4}
    simulate_dataset(tmp_path / "d", "challenge", counts, 3, on_image=lambda: calls.append(1))
    dataset = Dataset.open(tmp_path / "d")
    dataset.verify()
    assert len(calls) == 17
    assert dataset.class_names == CLASS_NAMES
    assert {name: sum(dataset.class_counts(name).values()) for name in dataset.splits} == counts
    assert dataset.origin["simulated"] == "challenge"
    assert len(dataset.split("validation").truth) == 5


def test_interrupted_simulation_does_not_finish_what_is_queued():
    def interrupt():
        raise KeyboardInterrupt

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        simulate("course", 20_000, seed=1, on_image=interrupt)
    assert time.monotonic() - start < 30


# Refusals


def test_unknown_preset_is_refused(tmp_path):
    with pytest.raises(DatasetError, match=r"preset 'easy' is unknown; choose one of course, challenge, wide"):
        simulate_dataset(tmp_path / "d", "easy", {"train": 1}, 1)


def test_unknown_split_is_refused():
    with pytest.raises(DatasetError, match=r"split 'dev' is unknown; choose one of train, validation, test"):
        simulate("course", 1, 1, split="dev")


@pytest.mark.parametrize(
    ("n", "seed", "message"),
    [
        (-1, 1, "simulation of -1 images: 0 to 1000000 are expected"),
        (1, -1, "with seed -1: it may not be negative"),
    ],
)
def test_negative_count_or_seed_is_refused(n, seed, message):
    with pytest.raises(DatasetError, match=message):
        simulate("course", n, seed)


@given(first=st.integers(0, 40), n=st.integers(0, 40))
def test_labels_of_any_part_of_a_series_are_those_of_the_whole(first, n):
    series = Series(PRESETS["course"], seed=3)
    whole = series.labels(0, 80)
    assert series.labels(first, first + n).tolist() == whole[first : first + n].tolist()
    assert all(sorted(whole[block : block + 4]) == [0, 1, 2, 3] for block in range(0, 80, 4))


def test_a_series_goes_on_where_a_split_ends():
    split = simulate("wide", 12, seed=5)
    series = Series(PRESETS["wide"], seed=5)
    assert np.array_equal(series.images(0, 12), split.images)
    assert np.array_equal(series.images(7, 10), split.images[7:10])
    assert series.labels(0, 12).tolist() == split.labels.tolist()


@pytest.fixture
def real(tmp_path):
    """A data set as people import it: the same classes in another order, one split of it in groups."""
    rng = np.random.default_rng(0)
    splits = {
        name: SplitData(
            rng.integers(0, 256, (n, *SHAPE, 1), np.uint8),
            np.resize(np.arange(4), n).astype(np.int8),
            groups=np.array([f"{name} {i // 2}" for i in range(n)]),
        )
        for name, n in {"train": 12, "validation": 8, "test": 4}.items()
    }
    return write_dataset(tmp_path / "real", splits, sorted(CLASS_NAMES), {"imported": "here"})


def test_simulated_images_join_the_training_split_alone(tmp_path, real):
    mixed = simulate_beside(tmp_path / "mixed", real, "challenge", 8, seed=2)
    assert mixed.class_names == real.class_names
    assert mixed.digest != real.digest
    assert mixed.origin["imported"] == "here"
    assert mixed.origin["simulated_beside"] == {"preset": "challenge", "images": 8, "seed": 2}
    train, alone = mixed.split("train"), simulate("challenge", 8, seed=2)
    assert np.array_equal(train.images[:12], real.split("train").images)
    assert np.array_equal(train.images[12:], alone.images)
    assert [mixed.class_names[i] for i in train.labels[12:]] == [CLASS_NAMES[i] for i in alone.labels]
    assert len(set(train.groups[12:])) == 8
    for name in ("validation", "test"):
        assert np.array_equal(mixed.unlocked().split(name).images, real.unlocked().split(name).images)
    mixed.verify()


def test_images_of_other_classes_or_shapes_are_not_mixed_with_simulated_ones(tmp_path, real):
    splits = {name: real.split(name) for name in ("train", "validation")}
    other = write_dataset(tmp_path / "other", splits, ("a", "b", "noise", "squiggle"), {})
    with pytest.raises(DatasetError, match=r"other: has the classes a, b, noise, squiggle and images of \(64, "):
        simulate_beside(tmp_path / "mixed", other, "course", 4, seed=1)
    small = {
        name: dataclasses.replace(split, images=np.ascontiguousarray(split.images[:, :32]))
        for name, split in splits.items()
    }
    other = write_dataset(tmp_path / "small", small, CLASS_NAMES, {})
    with pytest.raises(DatasetError, match=r"images of \(32, 128, 1\); simulated images are squiggle, .* import it so"):
        simulate_beside(tmp_path / "mixed", other, "course", 4, seed=1)
    assert not (tmp_path / "mixed").exists()


def test_existing_target_is_refused_before_anything_is_simulated(tmp_path):
    with pytest.raises(DatasetError, match="exists already; choose another folder"):
        simulate_dataset(tmp_path, "course", {"train": 10**9, "validation": 1}, 1)


def test_noise_has_no_noise_free_image():
    with pytest.raises(DatasetError, match="a noise-free image of the class 'noise' is empty"):
        noise_free_power(Signal())


def test_squiggle_needs_a_generator():
    with pytest.raises(DatasetError, match="a squiggle is a random walk; pass a generator"):
        noise_free_power(Signal(0.4, 0.0, 0.0, squiggle_half_width_rad=0.01))


def test_what_has_no_end_or_is_the_same_is_not_added_to(tmp_path):
    counts = {"train": 4, "validation": 4}
    endless = simulate_dataset(tmp_path / "endless", "course", counts, 1, fresh=True)
    with pytest.raises(DatasetError, match=r"endless: has no end; add simulated images to real ones"):
        simulate_beside(tmp_path / "mixed", endless, "wide", 4, seed=2)
    plain = simulate_dataset(tmp_path / "plain", "course", counts, 1)
    with pytest.raises(DatasetError, match=r"plain: is simulated with 'course' and seed 1 itself; .* another --seed"):
        simulate_beside(tmp_path / "mixed", plain, "course", 4, seed=1)
    assert len(simulate_beside(tmp_path / "mixed", plain, "course", 4, seed=2).split("train").labels) == 8
