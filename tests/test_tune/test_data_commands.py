"""`seti-tune data ...` as a user types it."""

from __future__ import annotations

import re
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from results.errors import ResultsError
from seti_model.data.dataset import SPLITS, Dataset, SplitData, write_dataset
from seti_model.data.kind import ImageKind, PixelRule
from seti_model.data.simulator import CLASS_NAMES
from seti_model.errors import DatasetError
from tune.cli.main import parse
from tune.errors import StudyError


def run(*words):
    args = parse(["data", *map(str, words)])
    return args.run(args)


@pytest.fixture
def csv_pair(tmp_path):
    """A function that writes n random images of 64 x 128 with one-hot labels of four classes."""

    def write(name, n, seed):
        pixels = np.random.default_rng(seed).integers(0, 256, (n, 64 * 128))
        images, labels = tmp_path / f"{name}_images.csv", tmp_path / f"{name}_labels.csv"
        np.savetxt(images, pixels / 255, fmt="%.6f", delimiter=",")
        np.savetxt(labels, np.eye(4)[np.arange(n) % 4], fmt="%.2e", delimiter=",")
        return images, labels

    return write


@pytest.fixture
def npz(tmp_path):
    rng = np.random.default_rng(1)
    file = tmp_path / "d.npz"
    np.savez(
        file,
        x=rng.integers(0, 256, (60, 6, 8), np.uint8),
        y=np.arange(60) % 2,
        class_names=np.array(["tone", "noise"]),
        groups=np.arange(60) // 3,
    )
    return file


def sizes(dataset):
    return [sum(dataset.class_counts(name).values()) for name in dataset.splits]


# simulate and describe


def test_simulate_makes_what_was_asked_and_says_how_fast(tmp_path, capsys):
    out = tmp_path / "course"
    assert run("simulate", out, "--preset", "course", "--train", 8, "--validation", 4, "--test", 4, "--seed", 1) == 0
    dataset = Dataset.open(out)
    assert sizes(dataset) == [8, 4, 4]
    printed = capsys.readouterr()
    assert dataset.digest in printed.out
    assert "simulated 16 of 16 images" in printed.err
    assert "images/s" in printed.err


def test_simulate_without_test_images_makes_no_test_split(tmp_path):
    run("simulate", tmp_path / "d", "--train", 4, "--validation", 4, "--test", 0)
    assert set(Dataset.open(tmp_path / "d").splits) == {"train", "validation"}


def test_data_without_end_say_so_and_are_other_data(tmp_path, capsys):
    counts = ("--train", 4, "--validation", 4, "--test", 0, "--seed", 1)
    run("simulate", tmp_path / "plain", *counts)
    assert "new images" not in capsys.readouterr().out
    run("simulate", tmp_path / "fresh", *counts, "--fresh")
    assert "each epoch of a training gets 4 new images, simulated beside it" in capsys.readouterr().out
    assert Dataset.open(tmp_path / "plain").digest != Dataset.open(tmp_path / "fresh").digest


def test_simulated_images_join_those_of_a_data_set(tmp_path, csv_pair):
    run(
        "import", tmp_path / "real", "--train", *csv_pair("train", 12, 1), "--validation", *csv_pair("val", 8, 2),
        "--class-names", "course",
    )  # fmt: skip
    counts = sizes(Dataset.open(tmp_path / "real"))
    run("simulate", tmp_path / "mixed", "--preset", "challenge", "--train", 8, "--beside", tmp_path / "real")
    assert sizes(Dataset.open(tmp_path / "mixed")) == [counts[0] + 8, *counts[1:]]
    with pytest.raises(
        DatasetError, match=r"--beside adds training images; leave --fresh, --validation and --test out"
    ):
        run("simulate", tmp_path / "more", "--beside", tmp_path / "real", "--test", 8)


def test_describe_prints_counts_ranges_and_digest_and_draws_examples(tmp_path, capsys):
    run("simulate", tmp_path / "d", "--train", 8, "--validation", 4, "--test", 4)
    capsys.readouterr()
    assert run("describe", tmp_path / "d") == 0
    printed = capsys.readouterr().out
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.digest in printed
    images = dataset.split("train").images
    assert (
        f"pixels train: {images.min()}..{images.max()}, mean {images.mean():.2f}, deviation {images.std():.2f}"
        in printed
    )
    assert "amplitude_ratio train: 0." in printed
    lines = [line.split() for line in printed.splitlines()]
    assert ["train", "validation", "test"] in lines
    for name in CLASS_NAMES:
        assert [name, "2", "1", "1"] in lines
    assert ["total", "8", "4", "4"] in lines
    with Image.open(tmp_path / "d" / "contact_sheet.png") as sheet:
        assert min(sheet.size) > 200


def test_describe_draws_to_a_named_file(tmp_path):
    run("simulate", tmp_path / "d", "--train", 8, "--validation", 4)
    run("describe", tmp_path / "d", "--out", tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").exists()
    assert not (tmp_path / "d" / "contact_sheet.png").exists()


@pytest.fixture
def described(tmp_path, npz, capsys):
    """A function: options of `describe` -> what can be read in the sheet that it draws of 60 images in two classes."""
    run("import", tmp_path / "d", "--npz", npz, "--fractions", "0.6,0.2,0.2")

    def describe(*words):
        run("describe", tmp_path / "d", "--out", tmp_path / "sheet.svg", *words)
        text = (tmp_path / "sheet.svg").read_text(encoding="utf-8")
        return re.findall(r"<text[^>]*>([^<]*)</text>", text)

    return describe


def shown(texts):
    return [int(text.removeprefix("image ")) for text in texts if text.startswith("image ")]


def test_describe_shows_other_examples_for_another_seed_and_equal_ones_for_the_same(described):
    assert shown(described()) == shown(described("--seed", 0)) != shown(described("--seed", 1))


def test_describe_shows_as_many_of_the_classes_that_are_asked_for(described, tmp_path):
    labels = Dataset.open(tmp_path / "d").split("train").labels
    texts = described("--class", "noise", "--count", 9)
    assert len(shown(texts)) == 9  # in two rows, the second without a name
    assert set(labels[shown(texts)]) == {1}
    assert [text for text in texts if text.endswith(("noise", "tone"))] == ["1  noise"]
    assert len(shown(described("--class", "noise", "--class", "tone", "--count", 2))) == 4
    assert len(shown(described("--class", "noise", "--count", 100))) == (labels == 1).sum()


def test_of_more_classes_than_a_sheet_holds_the_first_are_drawn_and_that_is_said(tmp_path, capsys):
    names = [f"class {number}" for number in range(12)]
    images = np.random.default_rng(1).integers(0, 256, (36, 4, 4, 1), np.uint8)
    labels = np.repeat(np.arange(12), 3).astype(np.int8)
    splits = {"train": SplitData(images, labels), "validation": SplitData(images[:2] + 1, labels[:2])}
    write_dataset(tmp_path / "d", splits, names, {})
    run("describe", tmp_path / "d", "--count", 99, "--out", tmp_path / "sheet.svg")
    assert f"contact sheet: {tmp_path / 'sheet.svg'}, the first 5 of 12 classes" in capsys.readouterr().out
    assert "class 4" in (text := (tmp_path / "sheet.svg").read_text(encoding="utf-8"))
    assert "class 5" not in text


STUDY = """
[study]
name = "mine"
space = "space.toml"
trials = 4
max_epochs = 2
[data]
path = "d"
[fixed]
"augment.flip_frequency" = false
"augment.shift_time" = 2
"""
SPACE = """
name = "space"
description = "Small."
[parameters."augment.noise"]
type = "float"
low = 0.1
high = 0.3
reason = "r"
"""


def test_describe_draws_what_a_study_makes_of_images(described, tmp_path):
    (tmp_path / "mine.toml").write_text(STUDY)
    (tmp_path / "space.toml").write_text(SPACE)
    texts = described("--augment", tmp_path / "mine.toml", "--count", 3)
    assert {"tone", "noise", "Radio spectrograms as they are, and as trials of mine may see them"} <= set(texts)
    assert len(shown(texts)) == 2
    noises = re.findall(r"shift_time 2, noise (0\.\d+)", "\n".join(texts))
    assert len(noises) == 2 * 3
    assert len(set(noises)) == 3, "each copy has values of its own"
    assert all(0.1 <= float(noise) <= 0.3 for noise in noises)
    assert described("--augment", tmp_path / "mine.toml", "--count", 3) == texts
    run("describe", tmp_path / "d", "--augment", tmp_path / "mine.toml")
    assert (tmp_path / "d" / "augmentation.png").is_file()


def test_a_study_that_changes_no_image_is_named(described, tmp_path):
    (tmp_path / "space.toml").write_text(SPACE.replace("augment.noise", "training.learning_rate"))
    (tmp_path / "mine.toml").write_text(STUDY.replace('shift_time" = 2', 'shift_time" = 0'))
    message = r"--augment mine: changes no image; set augment\.\* under \[fixed\], or let its space vary them"
    with pytest.raises(StudyError, match=message):
        described("--augment", tmp_path / "mine.toml")


def test_a_study_whose_trainable_augments_nothing_is_named(described, quick_study):
    with pytest.raises(StudyError, match=r": its trainable is not the one that augments images; name another study"):
        described("--augment", quick_study())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--class", "pulsar"), r"--class pulsar: no class of .*d; choose one of tone, noise"),
        (("--count", 0), r"--count 0: 1 to 100 are expected; choose a number within"),
        (("--count", 101), r"--count 101: 1 to 100 are expected; choose a number within"),
        (("--count", 13, "--augment", "course"), r"--count 13: 1 to 12 are expected; choose a number within"),
        (("--seed", -1), r"--seed -1: a number from 0 is expected; choose another"),
    ],
)
def test_examples_that_cannot_be_are_refused(described, words, message):
    with pytest.raises(DatasetError, match=message):
        described(*words)


def test_describe_needs_no_tensorflow_for_an_augmentation(tmp_path, npz):
    run("import", tmp_path / "d", "--npz", npz, "--fractions", "0.6,0.2,0.2")
    program = (
        "import sys; from tune.cli.main import main; code = main(sys.argv[1:]);"
        "sys.exit(code or sorted({'tensorflow', 'keras', 'ray'} & set(sys.modules)) or 0)"
    )
    command = [sys.executable, "-c", program, "data", "describe", str(tmp_path / "d"), "--augment", "course"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("d/dataset.json/sheet.png", r"sheet\.png: cannot be written \(.*\); free some space or name another file"),
        ("sheet.docx", r"sheet\.docx: a picture ends in \.png or \.svg, found '\.docx'; rename it"),
    ],
)
def test_unwritable_sheet_is_one_clear_error(tmp_path, name, message):
    run("simulate", tmp_path / "d", "--train", 4, "--validation", 4, "--test", 0)
    with pytest.raises(ResultsError, match=message):
        run("describe", tmp_path / "d", "--out", tmp_path / name)


# import


def test_course_files_are_imported_and_every_choice_said(tmp_path, csv_pair, capsys):
    out = tmp_path / "course"
    train, validation = csv_pair("train", 40, 1), csv_pair("validation", 8, 2)
    assert run("import", out, "--train", *train, "--validation", *validation, "--class-names", "course") == 0
    dataset = Dataset.open(out)
    dataset.verify()
    assert dataset.class_names == CLASS_NAMES
    assert dataset.class_counts("train") == dict.fromkeys(CLASS_NAMES, 8)
    assert dataset.class_counts("test") == dict.fromkeys(CLASS_NAMES, 2)
    printed = capsys.readouterr().out
    assert "class 1: narrowbanddrd\nclass 2: narrowband\nclass 3: noise\n" in printed
    assert (
        "the list usually printed with the course set (squiggle, narrowband, noise, narrowbanddrd) is wrong" in printed
    )
    assert "no test split given: 8 images carved from the training split, stratified" in printed
    assert dataset.origin["test_fraction"] == 0.2


def test_usual_wrong_names_raise_a_doubt(tmp_path, csv_pair, capsys):
    files = csv_pair("train", 40, 1)
    usual = "squiggle,narrowband,noise,narrowbanddrd"
    run("import", tmp_path / "d", "--train", *files, "--fractions", "0.5,0.25,0.25", "--class-names", usual)
    assert "is the wrong order printed with it; give --class-names course" in capsys.readouterr().out
    assert Dataset.open(tmp_path / "d").class_names == tuple(usual.split(","))


def test_given_test_split_is_kept(tmp_path, csv_pair):
    files = [
        word
        for i, split in enumerate(("train", "validation", "test"))
        for word in (f"--{split}", *csv_pair(split, 8, i))
    ]
    run("import", tmp_path / "d", *files, "--class-names", "course")
    assert sizes(Dataset.open(tmp_path / "d")) == [8, 8, 8]


def test_no_test_split_is_carved_when_none_is_wanted(tmp_path, csv_pair):
    files = ("--train", *csv_pair("train", 8, 1), "--validation", *csv_pair("validation", 8, 2))
    run("import", tmp_path / "d", *files, "--class-names", "course", "--test-fraction", 0)
    assert set(Dataset.open(tmp_path / "d").splits) == {"train", "validation"}


def test_duplicates_across_splits_are_reported(tmp_path, csv_pair, capsys):
    files = ("--train", *csv_pair("train", 40, 1), "--validation", *csv_pair("validation", 8, 1))  # the same seed
    run("import", tmp_path / "d", *files, "--class-names", "course", "--test-fraction", 0)
    assert "removed from train: 8 images that also occur, byte for byte" in capsys.readouterr().out


def test_npz_is_imported_without_dividing_a_group(tmp_path, npz):
    assert run("import", tmp_path / "d", "--npz", npz, "--fractions", "0.6,0.2,0.2", "--split-seed", 3) == 0
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.image_shape == (6, 8, 1)
    assert sizes(dataset) == [36, 12, 12]
    groups = [set(dataset.unlocked().split(name).groups.tolist()) for name in dataset.splits]
    assert sum(map(len, groups)) == len(set().union(*groups)) == 20


def test_what_images_are_of_and_their_axes_are_kept_and_said(tmp_path, npz, capsys):
    words = ("--npz", npz, "--fractions", "0.6,0.2,0.2")
    run("import", tmp_path / "d", *words, "--of", "radio galaxies", "--axes", "row, column")
    assert "images: radio galaxies, row downwards, column to the right\n" in capsys.readouterr().out
    assert Dataset.open(tmp_path / "d").kind == ImageKind("radio galaxies", ("row", "column"))
    run("import", tmp_path / "plain", *words)
    assert Dataset.open(tmp_path / "plain").kind == ImageKind()
    run("describe", tmp_path / "d", "--out", tmp_path / "sheet.svg")
    assert "60 radio galaxies" not in (found := (tmp_path / "sheet.svg").read_text(encoding="utf-8"))
    assert "36 radio galaxies of 6 x 8 pixels" in found
    with pytest.raises(DatasetError, match=r"'a\\tb'?.*: at most 100 letters that can be shown; choose others"):
        run("import", tmp_path / "e", *words, "--of", "a\tb")


def test_folder_of_images_is_imported(tmp_path, capsys):
    rng = np.random.default_rng(1)
    for name in ("tone", "noise"):
        (tmp_path / "png" / name).mkdir(parents=True)
        for number in range(10):
            Image.fromarray(rng.integers(0, 256, (5, 7), np.uint8)).save(tmp_path / "png" / name / f"{number}.png")
    assert run("import", tmp_path / "d", "--folder", tmp_path / "png", "--fractions", "0.6,0.2,0.2") == 0
    assert "class 0: noise\nclass 1: tone\n" in capsys.readouterr().out
    assert Dataset.open(tmp_path / "d").class_counts("test") == {"noise": 2, "tone": 2}


def test_fits_with_a_table_of_labels_become_pixels_by_a_rule_that_is_kept(tmp_path, capsys):
    rng, folder = np.random.default_rng(1), tmp_path / "sky"
    folder.mkdir()
    rows = []
    for number in range(20):
        values = rng.gamma(2.0, 3.0, (12, 14)).astype(np.float32)
        values[0, :number] = np.nan
        fits.PrimaryHDU(values).writeto(folder / f"{number}.fits")
        rows.append(f"{number}.fits,{'FRI' if number % 2 else 'FRII'},object {number // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(["file,class,group", *rows]))
    (tmp_path / "drop.txt").write_text("3.fits  # blurred\n")
    words = ["--folder", folder, "--labels", tmp_path / "labels.csv", "--size", "6,7", "--fractions", "0.6,0.2,0.2"]
    assert run("import", tmp_path / "d", *words, "--drop", tmp_path / "drop.txt") == 0
    out = capsys.readouterr().out
    assert "note: values between the percentiles 0.5 and 99.5 of a picture become 0..255 (--scale)" in out
    assert "left out: 1 images that" in out
    assert "19.fits: 14 values that are not finite became 0" in out
    dataset = Dataset.open(tmp_path / "d")
    assert dataset.kind.picture == PixelRule((6, 7), scale="percentile")
    assert dataset.class_names == ("FRI", "FRII")
    assert sum(sizes(dataset)) == 19
    assert len(dataset.origin["not_finite"]) == 18
    everywhere = [set(dataset.split(name).groups) for name in ("train", "validation")]
    assert not everywhere[0] & everywhere[1]


def test_a_source_that_is_divided_already_stays_so(tmp_path):
    for number, split in enumerate(SPLITS):
        for name in ("a", "b"):
            (tmp_path / "in" / split / name).mkdir(parents=True)
            Image.new("RGB", (3, 2), (60 * number, 7, ord(name))).save(tmp_path / "in" / split / name / "0.png")
    assert run("import", tmp_path / "d", "--folder", tmp_path / "in", "--grey") == 0
    dataset = Dataset.open(tmp_path / "d")
    assert sizes(dataset) == [2, 2, 2]
    assert dataset.image_shape == (2, 3, 1)
    with pytest.raises(DatasetError, match="the source says itself which image is of which split; leave them out"):
        run("import", tmp_path / "e", "--folder", tmp_path / "in", "--fractions", "0.6,0.2,0.2")


def test_splits_without_training_images_are_refused(tmp_path, npz):
    with np.load(npz) as arrays:
        np.savez(tmp_path / "v.npz", **{**arrays, "split": np.full(60, "validation")})
    with pytest.raises(DatasetError, match="splits validation; expected train, validation and perhaps test"):
        run("import", tmp_path / "d", "--npz", tmp_path / "v.npz")


def test_rows_of_an_archive_can_be_grouped_by_a_table(tmp_path, npz):
    with np.load(npz) as arrays:
        np.savez(npz, **{name: array for name, array in arrays.items() if name != "groups"})
    (tmp_path / "g.csv").write_text("row,group\n" + "".join(f"{row},night {row // 6}\n" for row in range(1, 61)))
    assert (
        run("import", tmp_path / "d", "--npz", npz, "--groups", tmp_path / "g.csv", "--fractions", "0.6,0.2,0.2") == 0
    )
    assert set(Dataset.open(tmp_path / "d").split("train").groups) <= {f"night {n}" for n in range(11)}


def test_the_blank_and_the_equal_images_of_a_genuine_archive_are_named(tmp_path, real_data, capsys):
    file = real_data / "frdeep_first_600x150x150.npz"
    run("import", tmp_path / "d", "--npz", file, "--fractions", "0.6,0.2,0.2")
    for _ in ("import", "describe"):
        out = capsys.readouterr().out
        assert f"1 image of one constant value: {file}, row 510 (FRI); kept, remove what is wrong from" in out
        assert f"1 group of equal images in train: {file}, row 480 (FRII) = {file}, row 500 (FRII); kept, " in out
        run("describe", tmp_path / "d")
    assert sum(len(Dataset.open(tmp_path / "d").unlocked().split(name).labels) for name in SPLITS) == 600


def test_genuine_galaxies_lose_the_duplicate_that_reached_two_splits(tmp_path, real_data):
    """Each survey has one pair of equal images; where chance divides it, one of the two goes."""
    file = real_data / "frdeep_nvss_600x150x150.npz"
    removed = set()
    for seed in range(4):
        run("import", tmp_path / f"{seed}", "--npz", file, "--fractions", "0.6,0.2,0.2", "--split-seed", seed)
        dataset = Dataset.open(tmp_path / f"{seed}")
        pixels = [{image.tobytes() for image in dataset.unlocked().split(name).images} for name in dataset.splits]
        assert sum(map(len, pixels)) == len(set().union(*pixels))
        removed.add(sum(dataset.origin["duplicates_removed"].values()))
    assert removed == {0, 1}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), r"give exactly one of --train, --npz, --folder and --spectra; see --help"),
        (("--npz", "a.npz", "--folder", "b"), r"give exactly one of --train, --npz, --folder and --spectra"),
        (("--npz", "a.npz", "--test", "x", "y"), r"--validation and --test go with --train; divide other sources by"),
        (("--npz", "NPZ"), r"a single source has no splits; give --fractions 0\.6,0\.2,0\.2"),
        (
            ("--npz", "NPZ", "--fractions", "0.6,0.4"),
            r"fractions 0\.6, 0\.4: expected three positive numbers with sum 1",
        ),
        (
            ("--folder", ".", "--class-names", "a,b"),
            r"folders or --labels name the classes of --folder; rename them there",
        ),
        (("--train", "x", "y"), r"CSV files hold no class names: give --class-names A,B,… in the order of the one-hot"),
        (
            ("--npz", "NPZ", "--labels", "x"),
            r"--labels goes with --folder, which holds the files, or --spectra; name",
        ),
        (
            ("--train", "x", "y", "--validation", "x", "y", "--groups", "x"),
            r"--groups and --drop name the images of one source; import one file with --fractions",
        ),
        (
            ("--folder", ".", "--percentiles", "1"),
            r"--percentiles: two numbers are expected; write for example 0.5,99.5",
        ),
        (
            ("--train", "x", "y", "--class-names", "a,b"),
            r"give either --validation IMAGES.csv LABELS.csv, or --fractions",
        ),
        (
            ("--train", "x", "y", "--test", "x", "y", "--class-names", "a,b", "--fractions", "0.6,0.2,0.2"),
            r"--fractions divides one file into all splits; leave --test out",
        ),
        (
            ("--train", "x", "y", "--validation", "x", "y", "--class-names", "a,b"),
            r"y: no such file; check the path",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(tmp_path, npz, words, message):
    words = [npz if word == "NPZ" else word for word in words]
    with pytest.raises(DatasetError, match=message):
        run("import", tmp_path / "d", *words)
    assert not (tmp_path / "d").exists()


def test_failed_import_leaves_nothing_behind(tmp_path, csv_pair):
    images, labels = csv_pair("train", 8, 1)
    labels.write_text(labels.read_text().replace("1.00e+00", "1.50e+00"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(DatasetError, match=r"train_labels.csv, row 1: 1\.5, 0, 0, 0 is not one-hot"):
        run(
            "import",
            tmp_path / "d",
            "--train",
            images,
            labels,
            "--fractions",
            "0.5,0.25,0.25",
            "--class-names",
            "course",
        )
    assert sorted(tmp_path.iterdir()) == before


def test_bad_test_fraction_is_refused(tmp_path, csv_pair):
    files = ("--train", *csv_pair("train", 8, 1), "--validation", *csv_pair("validation", 8, 2))
    with pytest.raises(DatasetError, match=r"test fraction 2: expected a number between 0 and 1"):
        run("import", tmp_path / "d", *files, "--class-names", "course", "--test-fraction", 2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--shape", "64x128"), "'64x128' is not a shape; write for example 64,128"),
        (("--axes", "row"), "'row' does not name two axes; write for example row,column"),
        (("--axes", "row,"), "'row,' does not name two axes"),
        (("--shape", "0,128"), "'0,128' is not a shape; both numbers must be positive"),
        (("--fractions", "most,some,few"), "'most,some,few' is not a list of numbers; write for example 0.6,0.2,0.2"),
    ],
)
def test_unreadable_option_is_refused_before_anything_is_read(words, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("import", "out", *words)
    assert message in capsys.readouterr().err


# help


@pytest.mark.parametrize("command", ["simulate", "import", "describe"])
def test_every_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    assert f"seti-tune data {command} " in capsys.readouterr().out.split("example:")[1]
