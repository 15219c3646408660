"""Files of spectra: read exactly, block by block, while they grow; or refused with the file and what to do."""

from __future__ import annotations

import os
import struct
import sys

import h5py
import hdf5plugin
import numpy as np
import pytest
from spectra_files import fil_header, word, write_fil, write_h5

from seti_model.data.recipe import N_FFT
from seti_model.data.spectra.filterbank import MOST_VALUES, open_spectra
from seti_model.data.spectra.voltages import TimeSeries
from seti_model.errors import DatasetError

PACKED = [None, {}, hdf5plugin.Bitshuffle(nelems=64, cname="lz4"), hdf5plugin.Bitshuffle(cname="zstd")]


@pytest.fixture
def power():
    return np.random.default_rng(1).integers(0, 250, (40, 30)).astype(np.float32)


# What is in a file comes out of it


@pytest.mark.parametrize("n_bits", [8, 16, 32])
def test_filterbank_file_gives_what_was_written(tmp_path, power, n_bits):
    values = power * (1 if n_bits == 8 else 257) + (0.25 if n_bits == 32 else 0)
    with open_spectra(write_fil(tmp_path / "a.fil", values, n_bits)) as spectra:
        header = spectra.header
        assert (header.n_time, header.n_channels, header.n_bits) == (40, 30, n_bits)
        assert (header.first_frequency_mhz, header.df_mhz, header.dt_s) == (1420.0, -1e-6, 0.5)
        assert (header.start_mjd, header.source_name) == (60_000.0, "HIP1")
        assert np.array_equal(spectra.read(0, 40), values)
        assert spectra.read(0, 40).dtype == np.float32


@pytest.mark.parametrize("packed", PACKED)
def test_hdf5_file_gives_what_was_written(tmp_path, power, packed):
    with open_spectra(write_h5(tmp_path / "a.h5", power, packed=packed)) as spectra:
        header = spectra.header
        assert (header.n_time, header.n_channels, header.n_bits) == (40, 30, 32)
        assert (header.first_frequency_mhz, header.df_mhz, header.dt_s) == (1420.0, -1e-6, 0.5)
        assert (header.start_mjd, header.source_name) == (60_000.0, "HIP1")
        assert np.array_equal(spectra.read(0, 40), power)


@pytest.mark.parametrize("write", [write_fil, write_h5])
def test_any_block_is_that_part_of_the_whole(tmp_path, power, write):
    suffix = "fil" if write is write_fil else "h5"
    with open_spectra(write(tmp_path / f"a.{suffix}", power)) as spectra:
        assert np.array_equal(spectra.read(3, 5), power[3:8])
        assert np.array_equal(spectra.read(39, 1, 7, 11), power[39:, 7:18])
        assert spectra.read(4, 0).shape == (0, 30)


def test_signed_bytes_are_read_where_the_header_says_so(tmp_path):
    head = fil_header(4, 8, signed=1)
    (tmp_path / "a.fil").write_bytes(head + np.array([-3, 0, 5, -128], "i1").tobytes())
    with open_spectra(tmp_path / "a.fil") as spectra:
        assert spectra.read(0, 1).tolist() == [[-3, 0, 5, -128]]


def test_time_that_is_not_known_is_nan(tmp_path, power):
    with open_spectra(write_fil(tmp_path / "a.fil", power, tstart=None)) as spectra:
        assert np.isnan(spectra.header.start_mjd)
    with open_spectra(write_h5(tmp_path / "a.h5", power, tstart=0.0, source_name=None)) as spectra:
        assert np.isnan(spectra.header.start_mjd)
        assert spectra.header.source_name == ""


def test_text_of_any_length_is_left_where_it_is(tmp_path, power):
    path = write_h5(tmp_path / "a.h5", power)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["source_name"] = "HIP1"
    with open_spectra(path) as spectra:
        assert spectra.header.source_name == ""


# Files that grow, and files that shrink


def test_growing_filterbank_file_has_its_whole_rows_only(tmp_path, power):
    path = write_fil(tmp_path / "a.fil", power[:10])
    with open_spectra(path) as spectra, path.open("ab") as file:
        assert spectra.count_rows() == 10
        file.write(power[10:12].tobytes() + power[12].tobytes()[:-1])
        file.flush()
        assert spectra.count_rows() == 12
        assert np.array_equal(spectra.read(9, 3), power[9:12])
        with pytest.raises(DatasetError, match=r"a.fil: rows 12\.\.12 of 12; ask for what is there"):
            spectra.read(12, 1)


def test_file_that_only_begins_has_no_rows(tmp_path):
    (tmp_path / "a.fil").write_bytes(fil_header(100) + b"abc")
    with open_spectra(tmp_path / "a.fil") as spectra:
        assert spectra.count_rows() == spectra.header.n_time == 0


def test_hdf5_file_that_was_written_anew_has_its_new_rows(tmp_path, power):
    path = write_h5(tmp_path / "a.h5", power[:10])
    with open_spectra(path) as spectra:
        write_h5(tmp_path / "b.h5", power)
        (tmp_path / "b.h5").replace(path)
        assert spectra.count_rows() == 40
        assert np.array_equal(spectra.read(30, 10), power[30:])
        path.unlink()
        with pytest.raises(DatasetError, match=r"a.h5: cannot be read \(No such file or directory\); check the path"):
            spectra.count_rows()


def test_file_that_became_shorter_between_two_reads_is_said_to_be(tmp_path, power):
    path = write_fil(tmp_path / "a.fil", power)
    with open_spectra(path) as spectra:
        os.truncate(path, path.stat().st_size - 4)
        with pytest.raises(DatasetError, match=r"a.fil: rows 39\.\.39 of 39; ask for what is there"):
            spectra.read(39, 1)
        raw = spectra._raw  # the file may become shorter after it was asked for its rows
        with pytest.raises(DatasetError, match=r"a.fil: became shorter while it was read; copy it anew"):
            raw.numbers(0, 10_000, np.dtype("f4"))


# What is refused


def test_no_block_is_larger_than_stated(tmp_path):
    path = tmp_path / "a.fil"
    path.write_bytes(fil_header(2**20, 8))
    os.truncate(path, path.stat().st_size + 65 * 2**20)
    with open_spectra(path) as spectra:
        with pytest.raises(DatasetError, match=rf"65 rows of 1048576 channels at once, at most {MOST_VALUES} values"):
            spectra.read(0, 65)
        with pytest.raises(DatasetError, match=r"a.fil: channels 1048570\.\.1048579 of 1048576; ask for what is there"):
            spectra.read(0, 1, 2**20 - 6, 10)
        assert spectra.read(64, 1, 2**20 - 6, 6).tolist() == [[0] * 6]


BAD_FIL = [
    (b"", r"its header does not end; give a whole SIGPROC filterbank file"),
    (b"SIMPLE  =    T", r"a word of 1347242323 letters at byte 0 of its header, at most 80 are read"),
    (word("HEADER_STOP"), r"does not begin with HEADER_START; give a SIGPROC filterbank file"),
    (fil_header(8)[:-3], r"its header does not end"),
    (fil_header(8, 1), r"1 bits a sample, 8, 16 or 32 are read; convert it to 8 bits"),
    (fil_header(8, 2), r"2 bits a sample"),
    (fil_header(8, 4), r"4 bits a sample"),
    (fil_header(8, nbits=None), r"None bits a sample"),
    (fil_header(8, nifs=4), r"4 polarisations \(nifs\), one is read; add them up or save one of them"),
    (fil_header(8, data_type=2), r"data type 2 of SIGPROC, only 1 \(filterbank\) is read; convert it"),
    (fil_header(0), r"0 channels, expected 1 to 1073741824; copy it anew or divide it"),
    (fil_header(-1), r"-1 channels, expected"),
    (fil_header(2**31 - 1), r"2147483647 channels, expected"),
    (fil_header(8, nchans=None), r"its header has no 'nchans'; write it with one"),
    (fil_header(8, tsamp=None), r"its header has no 'tsamp'"),
    (fil_header(8, tsamp=0.0), r"the time of a row is 0 s, expected 1e-12 to 1e\+06; correct its header"),
    (fil_header(8, tsamp=float("nan")), r"the time of a row is nan s"),
    (fil_header(8, foff=0.0), r"the width of a channel is 0 MHz"),
    (fil_header(8, fch1=float("inf")), r"the first frequency is inf MHz"),
    (fil_header(8, tstart=-1e300), r"the start is 1e\+300 MJD"),
    (fil_header(8, colour=3), r"unknown keyword 'colour' in its header; write it without"),
    (word("HEADER_START") + word("a\x1b[31m"), r"unknown keyword 'a\\x1b\[31m' in its header"),
    (word("HEADER_START") + word("FREQUENCY_START"), r"has a table of frequencies, which is not read"),
    (word("HEADER_START") + word("source_name") + struct.pack("<i", 2**31 - 1), r"a word of 2147483647 letters"),
]


@pytest.mark.parametrize(("content", "message"), BAD_FIL)
def test_unusable_filterbank_file_is_refused(tmp_path, content, message):
    (tmp_path / "a.fil").write_bytes(content)
    with pytest.raises(DatasetError, match=r"a\.fil: " + message):
        open_spectra(tmp_path / "a.fil")


@pytest.mark.parametrize(
    ("power", "attributes", "message"),
    [
        (np.zeros((4, 8), "f8"), {}, r"samples of type float64, expected uint8, int8, uint16, float32; convert it"),
        (np.zeros((4, 8), ">f4"), {}, None),
        (np.zeros((4, 8, 2), "f4"), {}, r"'data' of shape \(4, 1, 8, 2\), expected \(n_time, 1, n_channels\)"),
        (np.zeros((4, 8), "f4"), {"tsamp": None}, r"'data' has no number as its attribute 'tsamp'; write it"),
        (np.zeros((4, 8), "f4"), {"tsamp": "fast"}, r"'data' has no number as its attribute 'tsamp'"),
        (np.zeros((4, 8), "f4"), {"foff": [1.0, 2.0]}, r"attribute 'foff' of 'data' has shape \(2,\); give it one"),
        (np.zeros((4, 8), "f4"), {"foff": [1.0]}, None),
        (np.zeros((4, 8), "f4"), {"fch1": float("nan")}, r"the first frequency is nan MHz"),
        (np.zeros((4, 8), "f4"), {"packed": hdf5plugin.Blosc()}, r"packed by HDF5 filter 32001, only bitshuffle with"),
        (
            np.zeros((4, 8), "f4"),
            {"packed": {"compression": "gzip", "shuffle": True}},
            r"packed by HDF5 filter 2, 1,",
        ),
        (np.zeros((4, 8), "f4"), {"packed": hdf5plugin.Bitshuffle(cname="none")}, r"packed by HDF5 filter 32008, only"),
    ],
)
def test_hdf5_file_is_read_or_refused(tmp_path, power, attributes, message):
    path = write_h5(tmp_path / "a.h5", power, **attributes)
    if message is None:
        with open_spectra(path) as spectra:
            assert np.array_equal(spectra.read(0, 4), power)
        return
    with pytest.raises(DatasetError, match=r"a\.h5: " + message):
        open_spectra(path)


def test_hdf5_file_whose_data_lie_elsewhere_is_refused(tmp_path, power):
    write_h5(tmp_path / "other.h5", power)
    named, elsewhere = (
        r"has no data set 'data' of its own; give a",
        r"'data' is no data set that lies in the file; copy",
    )
    for message, make in (
        (named, lambda file: file.create_group("more")),
        (named, lambda file: file.__setitem__("data", h5py.ExternalLink("other.h5", "/data"))),
        (named, lambda file: file.__setitem__("data", h5py.SoftLink("/data"))),
        (elsewhere, lambda file: file.create_group("data")),
        (elsewhere, lambda file: file.create_dataset("data", (4, 1, 8), "u1", external=[("/etc/passwd", 0, 32)])),
        (elsewhere, lambda file: file.create_virtual_dataset("data", virtual_layout())),
    ):
        with h5py.File(tmp_path / "a.h5", "w") as file:
            make(file)
        with pytest.raises(DatasetError, match=r"a\.h5: " + message):
            open_spectra(tmp_path / "a.h5")


def virtual_layout():
    layout = h5py.VirtualLayout((40, 1, 30), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "data", (40, 1, 30))
    return layout


@pytest.mark.parametrize(
    ("shape", "chunks", "message"),
    [
        ((2**20, 1, 10**12), None, r"1000000000000 channels, expected 1 to 1073741824"),
        ((2**20, 1, 2**20), (2**9, 1, 2**20), r"chunks of 536870912 bytes, at most 268435456 are read; save it in sm"),
        ((4, 3, 8), None, r"3 polarisations, one is read; add them up or save one of them"),
    ],
)
def test_hdf5_file_that_claims_too_much_is_refused(tmp_path, shape, chunks, message):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", shape, "u1", chunks=chunks)
        data.attrs.update({"tsamp": 1.0, "fch1": 1420.0, "foff": 1e-6})
    with pytest.raises(DatasetError, match=r"a\.h5: " + message):
        open_spectra(tmp_path / "a.h5")


def test_damaged_chunk_is_named_by_its_rows(tmp_path, power):
    path = write_h5(tmp_path / "a.h5", np.random.default_rng(2).random((64, 512)).astype("f4"))
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info(0)
    data[where.byte_offset : where.byte_offset + where.size] = b"\xff" * where.size
    path.write_bytes(data)
    with open_spectra(path) as spectra, pytest.raises(DatasetError, match=r"a.h5, rows 2\.\.4: cannot be read \(.*\);"):
        spectra.read(2, 3)


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (0, b"\x7f" * 8),
        (4, b"\x01"),
        (5, b"\x40"),
        (8, bytes(4)),
        (8, b"\x00\x00\x00\x11"),
        (12, b"\x7f" * 4),
        (14, b"\xff"),
    ],
)
def test_chunk_that_lies_about_its_size_is_not_unpacked(tmp_path, at, value):
    """Where a chunk of bitshuffle claims more than is there its filter leaves its memory, which ends the process."""
    path = write_h5(tmp_path / "a.h5", np.random.default_rng(2).random((64, 512)).astype("f4"), chunks=(16, 1, 512))
    data = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        where = file["data"].id.get_chunk_info(2)
    data[where.byte_offset + at : where.byte_offset + at + len(value)] = value
    path.write_bytes(data)
    with open_spectra(path) as spectra:
        assert spectra.read(0, 32).shape == (32, 512)
        with pytest.raises(DatasetError, match=r"cannot be read \(the chunk of row 32, channel 0 is damaged\); copy"):
            spectra.read(20, 20)


def test_file_of_too_many_chunks_is_refused(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("data", (2**12, 1, 2**12), "u1", chunks=(1, 1, 1))
        data.attrs.update({"tsamp": 1.0, "fch1": 1420.0, "foff": 1e-6})
    with open_spectra(tmp_path / "a.h5") as spectra:
        assert not spectra.read(0, 2).any()  # nothing was written there
        with pytest.raises(DatasetError, match=r"a.h5: more than 262144 chunks for 100 rows; save it in larger chunks"):
            spectra.read(0, 100)


def test_what_reads_hdf5_is_named_where_it_is_missing(tmp_path, power, monkeypatch):
    path = write_h5(tmp_path / "a.h5", power)
    monkeypatch.setitem(sys.modules, "hdf5plugin", None)
    with pytest.raises(DatasetError, match=r"not installed; run pip install 'seti-tune\[filterbank\]'"):
        open_spectra(path)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("a.txt", r"a.txt: no file of spectra by its name; give one of .fil, .h5, .hdf5, .npy, .dat, .bin"),
        ("a.fil", r"a.fil: cannot be read \(No such file or directory\); check the path"),
        ("a.h5", r"a.h5: cannot be read \(No such file or directory\); check the path"),
    ],
)
def test_file_that_is_not_there_or_of_another_kind_is_refused(tmp_path, name, message):
    with pytest.raises(DatasetError, match=message):
        open_spectra(tmp_path / name)


@pytest.mark.parametrize("name", ["a.fil", "a.h5", "a.npy"])
def test_pipe_and_folder_are_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(DatasetError, match=rf"{name}: cannot be read .*;"):
        open_spectra(tmp_path / name)
    os.mkfifo(tmp_path / f"pipe{name}")
    with pytest.raises(DatasetError, match=r"is a device, a pipe or a socket, a file is expected"):
        open_spectra(tmp_path / f"pipe{name}")


# Time series


def samples(n, seed=3):
    return np.random.default_rng(seed).integers(-100, 100, (n, 2)).astype(np.int8)


def series_files(folder, pairs):
    """The same samples in each form that is read, with what must be said of it."""
    values = pairs[:, 0] + 1j * pairs[:, 1]
    (folder / "a.dat").write_bytes(pairs.astype("i1").tobytes())
    (folder / "a.bin").write_bytes(pairs.astype("<i2").tobytes())
    (folder / "f.bin").write_bytes(pairs.astype("<f4").tobytes())
    for name, array in {
        "c8": values.astype("c8"), "c16": values.astype("c16"), "big": values.astype(">c8"), "i1": pairs,
        "i2": pairs.astype(">i2"), "f8": pairs.astype("f8"),
    }.items():  # fmt: skip
        np.save(folder / f"{name}.npy", array)
        yield folder / f"{name}.npy", TimeSeries()
    yield folder / "a.dat", TimeSeries(dtype="int8")
    yield folder / "a.bin", TimeSeries(dtype="int16")
    yield folder / "f.bin", TimeSeries(dtype="float32")


def test_every_form_of_the_same_samples_gives_the_same_power(tmp_path):
    pairs = samples(5 * N_FFT + 100)
    expected = np.fft.fftshift(np.abs(np.fft.fft((pairs[: 5 * N_FFT] @ [1, 1j]).reshape(5, N_FFT))) ** 2, axes=1)
    for path, series in series_files(tmp_path, pairs):
        with open_spectra(path, series) as spectra:
            assert (spectra.header.n_time, spectra.header.n_channels) == (5, N_FFT), path
            power = spectra.read(0, 5)
            assert np.allclose(power, expected, rtol=1e-4, atol=1.0), path
            assert np.array_equal(spectra.read(0, 5, 100, 17), power[:, 100:117]), path
            assert np.isnan([spectra.header.dt_s, spectra.header.df_mhz, spectra.header.start_mjd]).all()


def test_tone_of_a_time_series_stands_in_its_channel(tmp_path):
    """A tone of k / n_fft cycles a sample has all its power, (n_fft amplitude)^2, in channel n_fft / 2 + k."""
    n_fft, k, rate = 64, -9, 1e6
    tone = 50 * np.exp(2j * np.pi * k / n_fft * np.arange(10 * n_fft))
    np.save(tmp_path / "a.npy", tone)
    with open_spectra(tmp_path / "a.npy", TimeSeries(n_fft=n_fft, sample_rate_hz=rate)) as spectra:
        header, power = spectra.header, spectra.read(0, 10)
        assert power.argmax(axis=1).tolist() == [n_fft // 2 + k] * 10
        assert power.max() == pytest.approx((n_fft * 50) ** 2, rel=1e-4)
        frequency_hz = 1e6 * (header.first_frequency_mhz + (n_fft // 2 + k) * header.df_mhz)
        assert frequency_hz == pytest.approx(rate * k / n_fft)
        assert header.dt_s == pytest.approx(n_fft / rate)


@pytest.mark.parametrize(
    ("array", "series", "message"),
    [
        (np.zeros(9, "f4"), {}, r"float32 \(9,\), expected complex numbers \(n,\), or pairs \(n, 2\) of integers"),
        (np.zeros((9, 3), "i1"), {}, r"int8 \(9, 3\), expected complex numbers"),
        (np.zeros((9, 2), "i8"), {}, r"int64 \(9, 2\), expected complex numbers"),
        (np.asfortranarray(np.zeros((9, 2), "i1")), {}, r"int8 \(9, 2\), expected .*row after row; save it so"),
        (np.array([None]), {}, r"object \(1,\), expected complex numbers"),
        (np.zeros(9, "c8"), {"dtype": "int8"}, r"says of what type its samples are; leave --dtype out"),
    ],
)
def test_unusable_array_of_samples_is_refused(tmp_path, array, series, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DatasetError, match=r"a.npy: " + message):
        open_spectra(tmp_path / "a.npy", TimeSeries(**series))


def test_other_unusable_time_series_are_refused(tmp_path):
    (tmp_path / "a.dat").write_bytes(b"1234")
    with pytest.raises(DatasetError, match=r"a.dat: says nothing of its samples; give --dtype, one of int8, int16, fl"):
        open_spectra(tmp_path / "a.dat")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(DatasetError, match=r"a.npy: cannot be read as .npy \(.*\); save it with numpy.save"):
        open_spectra(tmp_path / "a.npy")
    np.save(tmp_path / "b.npy", samples(1000))
    os.truncate(tmp_path / "b.npy", 1000)
    with pytest.raises(DatasetError, match=r"b.npy: 1000 bytes, its header says 2128; copy it anew"):
        open_spectra(tmp_path / "b.npy")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"n_fft": 1}, r"FFT of 1 samples: 2 to 1048576 are possible; choose another --fft"),
        ({"dtype": "uint8"}, r"samples of type 'uint8': int8, int16, float32 are read; choose one as --dtype"),
        ({"sample_rate_hz": 0.0}, r"sample rate 0 Hz: expected 1e-06 to 1e\+15; correct --sample-rate"),
        ({"sample_rate_hz": float("nan")}, r"sample rate nan Hz"),
    ],
)
def test_what_is_said_of_a_time_series_must_make_sense(values, message):
    with pytest.raises(DatasetError, match=message):
        TimeSeries(**values)
