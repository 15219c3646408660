"""`seti-tune data import --spectra` as a user types it: filterbank files and time series become a data set of tiles."""

from __future__ import annotations

import os

import numpy as np
import pytest
from spectra_files import fil_header, write_fil, write_h5

from seti_model.data.dataset import Dataset
from seti_model.data.spectra.tiles import Tiling
from seti_model.errors import DatasetError
from tune.cli.main import main, parse

SMALL = ("--tile", "16,16", "--rule", "log")
FRACTIONS = ("--fractions", "0.5,0.25,0.25")


def run(*words):
    args = parse(["data", *map(str, words)])
    return args.run(args)


def powers(n, n_time=32, n_channels=48):
    """Noise, and in every second file a line in each tile."""
    rng = np.random.default_rng(5)
    for number in range(n):
        power = rng.exponential(1e4, (n_time, n_channels)).astype(np.float32)
        if number % 2:
            power[:, 7::16] *= 30
        yield power


@pytest.fixture
def files(tmp_path):
    """Eight files, half of each kind, and a table that says which has a line."""
    paths, rows = [], ["file,class"]
    for number, power in enumerate(powers(8)):
        path = tmp_path / f"{number}.{'h5' if number in (2, 3) else 'fil'}"
        paths.append(write_h5(path, power) if path.suffix == ".h5" else write_fil(path, power))
        rows.append(f"{path.name},{'line' if number % 2 else 'noise'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return paths


def test_files_become_tiles_with_the_class_of_their_file(tmp_path, files, capsys):
    words = ("--spectra", *files, "--labels", tmp_path / "labels.csv", *SMALL, *FRACTIONS)
    assert run("import", tmp_path / "out", *words) == 0
    printed = capsys.readouterr().out
    assert f"{files[0]}: 32 rows x 48 channels of 0.5 s and -1 Hz, 6 tiles" in printed
    dataset = Dataset.open(tmp_path / "out").unlocked()
    assert dataset.class_names == ("line", "noise")
    assert dataset.image_shape == (16, 16, 1)
    assert [sum(dataset.class_counts(name).values()) for name in dataset.splits] == [24, 12, 12]
    assert Tiling.from_mapping(dataset.kind.tiles) == Tiling(16, 16, rule="log")
    for name in dataset.splits:
        split = dataset.split(name)
        columns = split.images[..., 0].astype(float).mean(axis=1).argmax(axis=1)
        assert np.array_equal(columns[split.labels == 0], np.full((split.labels == 0).sum(), 7))
        assert set(split.groups) <= {str(path) for path in files}
        assert len(set(split.groups)) == len(split.labels) // 6
        truth = split.truth
        assert truth.start_mjd.tolist() == pytest.approx((60_000 + truth.row * 0.5 / 86_400).tolist(), abs=1e-9)
        assert truth.high_frequency_mhz.tolist() == pytest.approx((1420 - 1e-6 * (truth.channel - 0.5)).tolist())
        assert set(truth.df_hz.round(9)) == {-1.0}
        assert set(truth.hz_per_s.round(9)) == {-0.125}
    run("describe", tmp_path / "out")
    assert "hz_per_s train: -0.125..-0.125" in capsys.readouterr().out


def test_tiles_at_places_have_their_own_class_and_the_rest_is_said(tmp_path, files, capsys):
    rows = ["file,class,split,group,row,channel,start_time_s,frequency_mhz"]
    for split, path in zip(("train", "validation", "test"), files[1::2], strict=False):
        rows.append(f"{path},line,{split},{path.stem}a,3,20,,")  # tile 1
        rows.append(f"{path.name},noise,{split},{path.stem}b,,,9.5,1419.99996")  # row 19, channel 40: tile 5
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    chosen = files[1::2][:3]
    run("import", tmp_path / "out", "--spectra", *chosen, "--labels", tmp_path / "labels.csv", *SMALL)
    assert f"2 tiles; 4 more have no label in {tmp_path / 'labels.csv'}" in capsys.readouterr().out
    dataset = Dataset.open(tmp_path / "out")
    for name, stem in (("train", "1"), ("validation", "3")):
        split = dataset.split(name)
        assert split.truth.tile.tolist() == [1, 5]
        assert split.labels.tolist() == [0, 1]
        assert split.groups.tolist() == [f"{stem}a", f"{stem}b"]


def test_row_for_a_file_and_rows_for_places_go_together(tmp_path, files):
    rows = ["file,class,group,row,channel", *(f"{path.name},noise,{n},," for n, path in enumerate(files))]
    rows += [f"{path.name},line,{n}x,0,0" for n, path in enumerate(files)]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    words = ("--spectra", *files, "--labels", tmp_path / "labels.csv", *SMALL, *FRACTIONS)
    run("import", tmp_path / "out", *words)
    dataset = Dataset.open(tmp_path / "out").unlocked()
    for name in dataset.splits:
        split = dataset.split(name)
        assert np.array_equal(split.labels == 0, split.truth.tile == 0)


def test_time_series_become_tiles(tmp_path, capsys):
    rng, rows = np.random.default_rng(2), ["file,class"]
    for number in range(6):
        samples = rng.normal(0, 13, (64 * 32, 2))
        if number % 2:
            samples[:, 0] += 20  # a tone of frequency 0
        samples.astype("<i2").tofile(tmp_path / f"{number}.bin")
        rows.append(f"{number}.bin,{'tone' if number % 2 else 'noise'}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    words = ("--spectra", *sorted(tmp_path.glob("*.bin")), "--labels", tmp_path / "labels.csv", "--tile", "16,8")
    series = ("--fft", 32, "--dtype", "int16", "--sample-rate", 3200)
    run("import", tmp_path / "out", *words, *series, "--fractions", "0.34,0.33,0.33")
    assert "64 rows x 32 channels of 0.01 s and 100 Hz, 1 tiles" in capsys.readouterr().out
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.origin["time_series"] == {"n_fft": 32, "dtype": "int16", "sample_rate_hz": 3200.0}
    assert dataset.kind.tiles["n_fft"] == 32
    truth = dataset.split("train").truth
    assert set(truth.low_frequency_mhz.round(9)) == {-0.00165}
    assert "start_mjd" not in truth.columns
    run("import", tmp_path / "unknown", *words, *series[:-2], "--fractions", "0.34,0.33,0.33")
    assert sorted(Dataset.open(tmp_path / "unknown").split("train").truth) == ["channel", "row", "tile"]


def test_blank_values_are_said(tmp_path, files, capsys):
    power = next(powers(1))
    power[3, :5] = np.nan
    write_fil(files[0], power)
    run("import", tmp_path / "out", "--spectra", *files, "--labels", tmp_path / "labels.csv", *SMALL, *FRACTIONS)
    assert f"{files[0]}: 32 rows x 48 channels of 0.5 s and -1 Hz, 6 tiles; 5 values are no numbers and count as 0" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tile", "64,128"), r"0.fil: 32 rows of 48 channels, a tile takes 64 of 128; choose a smaller --tile"),
        (("--tile", "0,0"), r"tiles: n_time is 0, expected 1 to \d+; correct it"),
        (("--overlap", "16,0"), r"--overlap 16,0: at least 0 and less than the tile of 16,16 is expected; choose a sm"),
        (("--average", "0,1"), r"tiles: average_time is 0, expected 1 to 1048576; correct it"),
        (("--rule", "square"), r"rule 'square' is unknown; choose one of course, log"),
        (("--shrink", "2,2"), r"the rule 'log' shrinks no pictures; leave --shrink out"),
        (("--fft", "64"), r"--fft: is of time series, and none is given; leave it out"),
        (("--class-names", "a,b"), r"--class-names: the table of labels names the classes of --spectra; leave it out"),
    ],
)
def test_option_that_cannot_be_is_one_line(tmp_path, files, options, message):
    words = ("--spectra", *files, "--labels", tmp_path / "labels.csv", *SMALL, *FRACTIONS, *options)
    with pytest.raises(DatasetError, match=message):
        run("import", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


def test_options_of_spectra_go_with_spectra(tmp_path, files):
    for words in (("--tile", "16,16"), ("--flatten",)):
        with pytest.raises(DatasetError, match=rf"data import: {words[0]} goes with --spectra; leave it out"):
            run("import", tmp_path / "out", "--npz", "a.npz", *words)
    with pytest.raises(DatasetError, match=r"--spectra needs --labels labels.csv with columns file and class; give it"):
        run("import", tmp_path / "out", "--spectra", *files)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("", r"labels.csv: 0 columns 'file' in its header, expected one; begin the file with file,class"),
        ("file\n", r"labels.csv: 0 columns 'class' in its header"),
        ("file,class\n", r"labels.csv: no rows below its header; add some"),
        ("file,class,class\n", r"labels.csv: 2 columns 'class' in its header"),
        ("file,class,row\n0.fil,a,1\n", r"labels.csv: a place needs both columns, row and channel; add the other one"),
        ("file,class\n0.fil\n", r"labels.csv, line 2: 1 columns, but its header has 2; correct it"),
        ("file,class\n0.fil,\n", r"labels.csv, line 2: no class; fill it in"),
        ("file,class,split\n0.fil,a,dev\n", r"line 2: split 'dev'; choose one of train, validation, test"),
        ("file,class\n0.fil,a\nx.fil,b\n", r"line 3: 'x.fil' is none of the files given; correct it, or name it with"),
        ("file,class\n0.fil,a\n", r"1.fil: has no row in .*labels.csv; add one or leave the file out"),
        ("file,class\n0.fil,a\n1.fil,b\n0.fil,b\n", r"line 4: a second row for all of .*0.fil; leave one of them"),
        (
            "file,class,row,channel\n0.fil,a,1,1\n1.fil,b,2,x\n",
            r"line 3: channel is 'x', a number is expected; correct",
        ),
        ("file,class,row,channel\n0.fil,a,1,nan\n", r"line 2: channel is 'nan', a number is expected"),
        (
            "file,class,row,channel\n0.fil,a,1,1\n1.fil,b,99,0\n",
            r"line 3: its place lies in no tile of .*1.fil; correct",
        ),
        ("file,class,row,channel\n0.fil,a,1,1\n0.fil,b,2,2\n1.fil,a,,\n", r"line 3: tile 0 of .*0.fil has a label alr"),
        (
            "file,class,row,channel,start_time_s,frequency_mhz\n0.fil,a,1,1,1,1\n",
            r"line 2: row and channel, and time and frequency; leave one of them out",
        ),
        ('file,class\n0.fil,"a\n', r"labels.csv, line 2: unexpected end of data; save it as a CSV file"),
        (b"file,class\n\xff\xfe,b\n", r"labels.csv: is no text in UTF-8 .*; save it so"),
    ],
)
def test_unusable_table_is_refused_with_its_line(tmp_path, files, table, message):
    labels = tmp_path / "labels.csv"
    labels.write_bytes(table if isinstance(table, bytes) else table.encode())
    with pytest.raises(DatasetError, match=message):
        run("import", tmp_path / "out", "--spectra", *files[:2], "--labels", labels, *SMALL, *FRACTIONS)


def test_other_unusable_labels_are_refused(tmp_path, files):
    labels = tmp_path / "labels.csv"
    words = ("import", tmp_path / "out", "--labels", labels, *SMALL)
    labels.unlink()
    with pytest.raises(DatasetError, match=r"labels.csv: no such file; check the path"):
        run(*words, "--spectra", *files)
    labels.write_text("file,class,split\n" + "".join(f"{path.name},a,train\n" for path in files))
    with pytest.raises(
        DatasetError, match=r"--fractions: the source says itself which image is of which split; leave them out"
    ):
        run(*words, *FRACTIONS, "--spectra", *files)
    (tmp_path / "more").mkdir()
    twin = write_fil(tmp_path / "more" / "0.fil", next(powers(1)))
    labels.write_text("file,class\n0.fil,a\nmore/0.fil,b\n")  # beside the table
    with pytest.raises(DatasetError, match=r"a single source has no splits"):
        run(*words, "--spectra", files[0], twin)
    (tmp_path / "elsewhere").mkdir()
    labels.rename(tmp_path / "elsewhere" / "labels.csv")
    with pytest.raises(DatasetError, match=r"line 2: '0.fil' is the name of several files; correct it, or name"):
        run(*words, "--labels", tmp_path / "elsewhere" / "labels.csv", "--spectra", files[0], twin)
    (tmp_path / "a.npy").write_bytes(b"")
    np.save(tmp_path / "a.npy", np.zeros((64 * 512, 2), "i1"))
    labels.write_text("file,class,start_time_s,frequency_mhz\na.npy,a,1,1\n")
    with pytest.raises(
        DatasetError, match=r"line 2: times and frequencies of .*a.npy are not known; give --sample-rate"
    ):
        run(*words, "--spectra", tmp_path / "a.npy")
    rows = [f"{n}.fil,c{n}" for n in range(200)]
    labels.write_text("file,class\n" + "\n".join(rows))
    with pytest.raises(DatasetError, match=r"labels.csv: 200 classes, at most 127 are possible; merge some"):
        run(*words, "--spectra", files[0])


def test_file_of_too_many_tiles_is_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "a.fil"
    path.write_bytes(fil_header(16, 8))
    os.truncate(path, path.stat().st_size + 16 * 16 * (10**6 + 1))
    (tmp_path / "labels.csv").write_text("file,class\na.fil,a\n")
    words = ("--spectra", path, "--labels", tmp_path / "labels.csv", *SMALL, *FRACTIONS)
    with pytest.raises(DatasetError, match=r"a.fil: 1000001 tiles, at most 1000000 become images; give places in the"):
        run("import", tmp_path / "out", *words)


def test_pair_that_is_none_is_refused_by_the_command_line(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["data", "import", str(tmp_path / "out"), "--spectra", "a.fil", "--tile", "64"])
    assert "'64' is no pair of numbers; write for example 64,128" in capsys.readouterr().err
