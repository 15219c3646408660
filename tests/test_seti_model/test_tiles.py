"""Tiles of spectra: each pixel is where its place says, the same spectra give the same pixels, memory stays bounded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
from spectra_files import fil_header, write_fil, write_h5

from seti_model.data import recipe
from seti_model.data.recipe import N_FFT
from seti_model.data.simulator import PRESETS, Signal, noisy_power
from seti_model.data.spectra.filterbank import open_spectra
from seti_model.data.spectra.tiles import (
    LOG_PERCENTILES,
    NOISE_POWER,
    DamagedTilesError,
    Tiling,
    count_tiles,
    flattened,
    place_of,
    read_tiles,
    tile_at,
    to_image,
)
from seti_model.data.spectra.voltages import TimeSeries
from seti_model.errors import DatasetError

LOG = {"rule": "log"}
TESTS = Path(__file__).resolve().parents[1]


def all_tiles(path, tiling, series=None, **limits):
    """Images (n, n_time, n_freq) and places of a file."""
    with open_spectra(path, series) as spectra:
        batches = list(read_tiles(spectra, tiling, **limits))
    images = [image for batch in batches for image in batch.images[..., 0]]
    return np.array(images), [place for batch in batches for place in batch.places]


def noise(n_time, n_channels, seed=1):
    return np.random.default_rng(seed).exponential(1e5, (n_time, n_channels)).astype(np.float32)


# Physics


@pytest.mark.parametrize("df_hz", [2.0, -2.0])
@pytest.mark.parametrize("average", [(1, 1), (2, 4)])
def test_tone_of_a_filterbank_file_is_at_its_frequency_time_and_drift(tmp_path, df_hz, average):
    """A line f(t) = f0 + r t, drawn into the power by its closed form, is read back from pixels and places."""
    rate, f0, dt_s, n_time, n_channels = 0.05, 1_420_000_700.0, 1.5, 512, 1024
    first = 1_420_000_000.0 if df_hz > 0 else 1_420_002_000.0
    power, t = noise(n_time, n_channels), (np.arange(n_time) + 0.5) * dt_s
    line = np.rint((f0 + rate * t - first) / df_hz).astype(int)
    power[np.arange(n_time), line] += 3e7
    path = write_fil(tmp_path / "a.fil", power, fch1=first / 1e6, foff=df_hz / 1e6, tsamp=dt_s)
    tiling = Tiling(n_time=64, n_freq=128, average_time=average[0], average_frequency=average[1], **LOG)
    seen = 0
    for image, place in zip(*all_tiles(path, tiling), strict=True):
        rows = np.arange(64)
        times = place.start_time_s + (rows + 0.5) * place.dt_s
        low, high = 1e6 * place.low_frequency_mhz, 1e6 * place.high_frequency_mhz
        if not (low < f0 + rate * times[0] < high and low < f0 + rate * times[-1] < high):
            continue
        seen += 1
        column = image.argmax(axis=1)
        found = np.array([1e6 * place.frequency_mhz(one) for one in column])
        assert np.abs(found - (f0 + rate * times)).max() < 1.1 * abs(place.df_hz)
        pixels = np.polyfit(rows, column, 1)[0] * 64
        assert pixels * place.hz_per_s == pytest.approx(rate, abs=0.5 * abs(place.hz_per_s))
        assert place.start_mjd == pytest.approx(60_000 + place.start_time_s / 86_400, abs=1e-9)
    assert seen >= 3


def test_drift_of_a_time_series_is_found_in_hertz_per_second(tmp_path):
    """The phase of a chirp, 2 pi (f0 t + r t^2 / 2), in a series of 1 kHz: 131 s, drift of 1.2 Hz/s."""
    hz, n, f0, rate = 1000.0, 256 * N_FFT, -120.0, 1.2
    t = np.arange(n) / hz
    tone = 40 * np.exp(2j * np.pi * (f0 * t + rate * t**2 / 2)) + np.random.default_rng(1).normal(0, 5, n)
    np.stack((tone.real, tone.imag), axis=1).astype("i1").tofile(tmp_path / "a.dat")
    series = TimeSeries(dtype="int8", sample_rate_hz=hz)
    images, places = all_tiles(tmp_path / "a.dat", Tiling(n_time=256, n_freq=512, **LOG), series)
    assert len(images) == 1
    assert places[0].dt_s == pytest.approx(0.512)
    assert places[0].df_hz == pytest.approx(hz / N_FFT)
    column = images[0].argmax(axis=1)
    found = 1e6 * np.array([places[0].frequency_mhz(one) for one in column])
    expected = f0 + rate * (np.arange(256) + 0.5) * 0.512
    assert np.abs(found - expected).max() < places[0].df_hz
    assert np.polyfit(np.arange(256), column, 1)[0] * 256 * places[0].hz_per_s == pytest.approx(rate, rel=0.02)


# The same spectra, the same pixels


def test_samples_of_a_file_become_exactly_the_pixels_of_the_simulators_recipe(tmp_path):
    """Three images of noise and a tone as the recipe has them, int8, in one file and one by one through the recipe."""
    rng, n = np.random.default_rng(3), 256 * N_FFT
    tone = 0.3 * 13 * np.exp(1j * (0.4 * np.arange(3 * n) + 1e-6 * np.arange(3 * n) ** 2))
    voltage = rng.normal(0, 13, (3 * n, 2)) + np.stack((tone.real, tone.imag), axis=1)
    voltage = np.trunc(np.clip(voltage, -127, 127)).astype(np.float32)
    expected = np.stack([recipe.to_pixels(recipe.power_of(part)) for part in voltage.reshape(3, n, 2)])
    voltage.astype("i1").tofile(tmp_path / "a.dat")
    np.save(tmp_path / "a.npy", (voltage[:, 0] + 1j * voltage[:, 1]).astype("c8"))
    for name, series in (("a.dat", TimeSeries(dtype="int8")), ("a.npy", None)):
        images, places = all_tiles(tmp_path / name, Tiling(), series)
        assert np.array_equal(images, expected)
        assert [place.row for place in places] == [0, 256, 512]
    assert expected.std() > 5


def test_power_of_a_file_becomes_exactly_the_pixels_of_the_recipe(tmp_path):
    power = np.concatenate([noisy_power(Signal(0.3, 0.1, 0.0), np.random.default_rng(n)) for n in range(2)], axis=1)
    images, _ = all_tiles(write_fil(tmp_path / "a.fil", power), Tiling())
    assert np.array_equal(images, np.stack([recipe.to_pixels(power[:, :512]), recipe.to_pixels(power[:, 512:])]))


@pytest.mark.parametrize("tiling", [Tiling(16, 32, 8, 24, flatten=True), Tiling(16, 32, 8, 24, flatten=True, **LOG)])
def test_tile_is_the_same_alone_and_among_others(tmp_path, tiling):
    path = write_fil(tmp_path / "a.fil", noise(150, 700))
    images, places = all_tiles(path, tiling, batch=7)
    for number in (0, 5, len(images) - 1):
        one, place = all_tiles(path, tiling, first=number, stop=number + 1)
        assert np.array_equal(one[0], images[number])
        assert place == [places[number]]


def test_logarithm_lies_between_percentiles_whatever_the_unit():
    power, tiling = noise(64, 128), Tiling(**LOG)
    image = to_image(power, tiling)
    assert np.abs(to_image(power * np.float32(1e-9), tiling).astype(int) - image).max() <= 1  # rounding
    assert np.all(np.diff(image.ravel()[np.argsort(power, axis=None)].astype(int)) >= 0)
    below, above = np.mean(image == 0), np.mean(image == 255)
    assert (below, above) == pytest.approx((LOG_PERCENTILES[0] / 100, 1 - LOG_PERCENTILES[1] / 100), abs=0.005)


def test_average_is_the_mean_of_the_power():
    power = noise(64 * 2, 128 * 3)
    mean = power.reshape(64, 2, 128, 3).mean(axis=(1, 3))
    averaged = to_image(power, Tiling(average_time=2, average_frequency=3, **LOG))
    assert np.array_equal(averaged, to_image(mean, Tiling(**LOG)))


@pytest.mark.parametrize("rule", ["course", "log"])
def test_empty_and_constant_tiles_are_pictures_too(rule):
    tiling = Tiling(16, 16, rule=rule)
    for value in (0.0, -5.0, 1e30, 7.0):
        power = np.full((tiling.n_rows, tiling.n_channels), value, np.float32)
        assert np.ptp(to_image(power, tiling)) == 0


# Flattening


def test_band_pass_is_taken_out_and_lines_stay():
    """Noise under a band of a factor of 30, a line that stays in its channel: both are known, and so is the result."""
    n_time, n_channels = 400, 3000
    band = 1.0 + 29 * np.sin(np.pi * np.arange(n_channels) / n_channels) ** 2
    power = noise(n_time, n_channels) * band.astype(np.float32)
    power[:, 1500] *= 20
    flat = flattened(power)
    level = np.median(flat, axis=0)
    ripple = np.delete(level, 1500) / NOISE_POWER
    assert np.median(flat) == pytest.approx(NOISE_POWER, rel=0.01)
    assert np.abs(ripple - 1).max() < 0.35  # the median of 400 exponentials scatters by 7 % in a channel
    assert np.abs(ripple.reshape(-1)[:2990].reshape(10, -1).mean(axis=1) - 1).max() < 0.02
    assert level[1500] / NOISE_POWER == pytest.approx(20, rel=0.3)


def test_flattened_power_looks_like_the_noise_of_the_course():
    """Whatever its unit; the maximum of an image, by which it is divided, moves its mean by 3 or 4."""
    course = [noisy_power(Signal(), np.random.default_rng(n), physics=PRESETS["course"]) for n in range(8)]
    flat = [flattened(noise(256, 512, n) * np.float32(1e-7)) for n in range(8)]
    assert np.median(course) == pytest.approx(NOISE_POWER, rel=0.003)
    assert np.median(flat) == pytest.approx(NOISE_POWER, rel=0.01)
    images = [np.stack([to_image(power, Tiling()) for power in powers]) for powers in (course, flat)]
    assert images[1].mean() == pytest.approx(images[0].mean(), abs=3)
    assert images[1].std() == pytest.approx(images[0].std(), abs=1)


def test_channels_without_power_stay_without_it():
    power = noise(32, 600)
    power[:, :300] = 0
    flat = flattened(power)
    assert np.all(flat[:, :230] == 0)
    assert np.isfinite(flat).all()


def test_values_that_are_no_numbers_are_counted_in_their_tile(tmp_path):
    power = noise(64, 256)
    power[3, 5:9] = (np.nan, np.inf, -np.inf, 3e38)
    path = write_fil(tmp_path / "a.fil", power)
    for tiling in (Tiling(**LOG), Tiling(flatten=True, **LOG), Tiling(16, 32)):
        images, places = all_tiles(path, tiling)
        assert [place.n_blank for place in places] == [4] + [0] * (len(places) - 1)
        assert images.std(axis=(1, 2)).min() > 5


# Places and numbers


def test_tiles_cover_the_band_and_keep_their_numbers_while_a_file_grows(tmp_path):
    tiling = Tiling(16, 32, 8, 24, **LOG)
    path = write_fil(tmp_path / "a.fil", noise(40, 100))
    _, places = all_tiles(path, tiling)
    assert [place.tile for place in places] == list(range(16))
    assert [place.channel for place in places[:4]] == [0, 24, 48, 68]
    assert [place.row for place in places[::4]] == [0, 8, 16, 24]
    with open_spectra(path) as spectra, path.open("ab") as file:
        file.write(noise(7, 100).tobytes())
        file.flush()
        assert list(read_tiles(spectra, tiling, first=16)) == []
        file.write(noise(1, 100).tobytes())
        file.flush()
        more = [place for batch in read_tiles(spectra, tiling, first=16) for place in batch.places]
        assert [place.tile for place in more] == [16, 17, 18, 19]
        assert {place.row for place in more} == {32}
        assert count_tiles(spectra.header, tiling) == 16
        assert count_tiles(spectra.header, tiling, 48) == 20
    assert place_of(spectra.header, tiling, 17) == more[1]


def test_edges_of_a_tile_are_those_of_its_channels(tmp_path):
    path = write_fil(tmp_path / "a.fil", noise(16, 64), fch1=1000.0, foff=-0.5)
    _, places = all_tiles(path, Tiling(16, 32, **LOG))
    assert (places[0].high_frequency_mhz, places[0].low_frequency_mhz) == (1000.25, 984.25)
    assert (places[1].high_frequency_mhz, places[1].low_frequency_mhz) == (984.25, 968.25)
    assert places[1].frequency_mhz(0) == 984.0


def test_tile_of_a_place_is_the_one_in_whose_middle_it_lies(tmp_path):
    with open_spectra(write_fil(tmp_path / "a.fil", noise(40, 100))) as spectra:
        header = spectra.header
    tiling = Tiling(16, 32, 8, 24, **LOG)
    assert tile_at(header, tiling, 0, 0) == 0
    assert tile_at(header, tiling, 39, 99) == 15
    assert tile_at(header, tiling, 15, 40) == 5  # rows 8..23, channels 24..55
    assert tile_at(header, tiling, 3, 82) == 3  # channels 68..99, beside 48..79
    assert tile_at(header, tiling, 40, 0) is None
    assert tile_at(header, tiling, 0, 100) is None
    assert tile_at(header, Tiling(64, 32, **LOG), 0, 0) is None
    assert tile_at(header, Tiling(8, 32, 16, 48, **LOG), 9, 0) is None  # between two tiles


def test_band_that_is_narrower_than_a_tile_is_refused(tmp_path):
    path = write_fil(tmp_path / "a.fil", noise(300, 100))
    with pytest.raises(
        DatasetError, match=r"a.fil: 100 channels, a tile takes 512 \(128 pixels of 4\); choose a smaller"
    ):
        all_tiles(path, Tiling())


def test_damaged_block_is_passed_over_by_its_tiles(tmp_path):
    """Of three rows of tiles the packed values of the second one are damaged; the others are what they were."""
    tiling, path = Tiling(16, 32, **LOG), write_h5(tmp_path / "a.h5", noise(48, 64), chunks=(16, 1, 64))
    before, _ = all_tiles(path, tiling)
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info(1)
    data = bytearray(path.read_bytes())
    data[where.byte_offset : where.byte_offset + where.size] = b"\xff" * where.size
    path.write_bytes(data)
    with open_spectra(path) as spectra:
        seen = []
        with pytest.raises(
            DamagedTilesError, match=r"a.h5, rows 16..31: cannot be read \(.*\); copy it anew"
        ) as caught:
            seen.extend(read_tiles(spectra, tiling))
        assert caught.value.tiles == range(2, 4)
        seen.extend(read_tiles(spectra, tiling, first=caught.value.tiles.stop))
    assert [place.tile for batch in seen for place in batch.places] == [0, 1, 4, 5]
    assert np.array_equal(np.concatenate([batch.images[..., 0] for batch in seen]), before[[0, 1, 4, 5]])


# The tiling itself


def test_tiling_comes_back_from_json():
    for tiling in (Tiling(), Tiling(32, 64, 16, 48, 2, 8, True, "course", 1, 2, 256), Tiling(rule="log")):
        assert Tiling.from_mapping(json.loads(json.dumps(tiling.to_mapping()))) == tiling
    assert Tiling(**LOG).shrink_time == 1
    assert Tiling().to_mapping()["shrink_frequency"] == 4
    assert (Tiling().n_rows, Tiling().n_channels) == (256, 512)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_time": 0}, r"tiles: n_time is 0, expected 1 to 1048576; correct it"),
        ({"n_time": "64"}, r"tiles: n_time is 64, expected"),
        ({"n_time": None}, r"tiles: n_time is None, expected"),
        ({"step_freq": True}, r"tiles: step_freq is True, expected"),
        ({"average_time": -2}, r"tiles: average_time is -2, expected"),
        ({"n_fft": 2.5}, r"tiles: n_fft is 2.5, expected"),
        ({"flatten": 1}, r"tiles: flatten is 1, expected true or false; correct it"),
        ({"rule": "linear"}, r"rule 'linear' is unknown; choose one of course, log"),
        ({"rule": ["log"]}, r"rule \"\['log'\]\" is unknown"),
        (
            {"rule": "log", "shrink_time": 4},
            r"the rule 'log' shrinks no pictures; leave --shrink out and give --average",
        ),
        (
            {"n_time": 4096, "n_freq": 4096},
            r"at most 16777216 values are possible; choose smaller ones, or --average less",
        ),
        ({"n_time": 8192, "n_freq": 8192, "rule": "log"}, r"tiles of 8192 x 8192 pixels, each of 8192 rows and 8192"),
        ({"colour": 1}, r"tiles: 'colour' is unknown; this version knows average_frequency, average_time, flatten"),
    ],
)
def test_tiling_that_cannot_be_is_refused(values, message):
    with pytest.raises(DatasetError, match=message):
        Tiling.from_mapping(values)


# Memory

READ_ALL = """
import resource, sys
from pathlib import Path
from seti_model.data.spectra.filterbank import open_spectra
from seti_model.data.spectra.tiles import Tiling, read_tiles
assert "pandas" not in sys.modules and "tensorflow" not in sys.modules and "h5py" not in sys.modules
flatten = len(sys.argv) > 2
def most():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
if flatten:
    import scipy.ndimage
before = most()
with open_spectra(Path(sys.argv[1])) as spectra:
    tiling = Tiling(32, 2048, rule="log", flatten=flatten)
    n = sum(len(batch.places) for batch in read_tiles(spectra, tiling))
print(n, most() - before)
"""


@pytest.mark.parametrize("flatten", [[], ["flatten"]])
def test_file_of_200_mb_is_read_in_a_fraction_of_that(tmp_path, flatten):
    """A sparse file of 200 rows of 2^18 float32: a block is 34 MB, what is calculated from it some times that."""
    path = tmp_path / "a.fil"
    path.write_bytes(fil_header(2**18))
    n_rows = 64 if flatten else 200
    os.truncate(path, path.stat().st_size + n_rows * 2**20)
    words = [sys.executable, "-c", READ_ALL, str(path), *flatten]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=120, cwd=TESTS.parent)
    n, grown = map(int, done.stdout.split())
    assert n == n_rows // 32 * 128
    assert grown < 190e6 if flatten else grown < 130e6


def test_spectra_are_opened_without_pandas_and_keras():
    code = "import sys, seti_model.data.spectra.tiles, seti_model.data.spectra.voltages as v; v.TimeSeries()\n"
    code += "print(sorted({'pandas', 'h5py', 'keras', 'tensorflow', 'astropy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=TESTS.parent)
    assert done.stdout.strip() == "[]"
