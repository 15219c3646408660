import csv
import dataclasses
import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest
from PIL import Image

from results.findings import Findings
from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import ModelExported, StudyStarted
from results.log.state import RunState, load_run
from results.predictions import read_examples, read_predictions, write_predictions
from results.report.content import report
from results.report.markdown import to_markdown
from results.study import Provenance, StudyRecord, StudySection
from results.tables.status import run_status, status_text
from seti_model.data.dataset import Dataset, SplitData, write_dataset
from seti_model.data.simulator import simulate_dataset
from seti_model.training.checkpoint import _digest_of
from tune.best import keep_best
from tune.cli.main import main
from tune.errors import StudyError
from tune.resume import recorded_study
from tune.storage.checkpoints import Checkpoints

SMALL = ["network.filters_1=4", "network.filters_2=4", "network.kernel=3", "network.dense_units=8", "training.epochs=2"]


def arguments(data, out, *more):
    settings = [part for setting in SMALL for part in ("--set", setting)]
    return ["train", "--data", str(data), "--out", str(out), "--threads", "1", *settings, *more]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "simulated"
    simulate_dataset(path, "wide", {"train": 40, "validation": 12, "test": 8}, 1)
    return path


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("train") / "out"
    assert main(arguments(data, out)) == 0
    return out


@pytest.fixture
def error(capsys):
    """Return a function: arguments -> the one line on standard error of a command that ends with exit code 2."""

    def run(arguments):
        assert main(arguments) == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    return run


def test_training_leaves_history_curves_report_model_and_checkpoint(trained):
    history = json.loads((trained / "history.json").read_text())
    assert [row["epoch"] for row in history] == [1, 2]
    assert all(row["images_per_s"] > 0 for row in history)
    with Image.open(trained / "curves.png") as picture:
        assert picture.width > 500
    assert "narrowbanddrd" in (trained / "report.txt").read_text()
    assert [path.name for path in trained.glob("checkpoints/*/*/*")] == ["0002"]
    assert {"model.keras", "model.json", "events.jsonl"} <= {path.name for path in trained.iterdir()}


def test_the_report_of_a_training_has_its_curves_and_its_surest_errors(data, trained, tmp_path):
    found = Findings.read(trained)
    validation = Dataset.open(data).split("validation")
    assert np.array_equal(found.best.predictions.y_true, validation.labels)
    assert f"accuracy {found.best.metrics.accuracy:.3f}" in (trained / "report.txt").read_text()
    text = to_markdown(report(found))
    assert "Trial 0 on the images that chose its best epoch, so that every number is optimistic" in text
    errors = read_examples(trained / "best" / "0000_errors.npz")
    assert not errors.correct.any()
    assert np.array_equal(errors.images, validation.images[errors.index])


def test_predictions_of_an_earlier_epoch_are_not_taken_for_those_of_the_best_one(data, trained, tmp_path, capsys):
    run = shutil.copytree(trained, tmp_path / "run")
    kept = run / "best" / "0000.parquet"
    said = read_predictions(kept)
    write_predictions(kept, dataclasses.replace(said, y_true=(said.y_true + 1) % 4))
    assert Findings.read(run).best is None
    keep_best(Checkpoints(run), load_run(run), data)
    assert np.array_equal(Findings.read(run).best.predictions.y_prob, said.y_prob)
    kept.unlink()
    keep_best(Checkpoints(run), load_run(run), tmp_path / "elsewhere")
    assert "note: the report shows no pictures of the best trial: " in capsys.readouterr().err
    assert Findings.read(run).best is None


def test_continuing_needs_no_settings_repeated_and_prolongs(data, trained, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(arguments(data, out, "--set", "training.epochs=1")) == 0
    assert main(["train", "--data", str(data), "--out", str(out), "--continue", "--set", "training.epochs=2"]) == 0
    assert "epoch   2/2" in capsys.readouterr().out
    rows, straight = (json.loads((folder / "history.json").read_text()) for folder in (out, trained))
    assert [row["weights_digest"] for row in rows] == [row["weights_digest"] for row in straight]


def test_a_training_of_before_there_was_a_preparation_goes_on(data, trained, tmp_path):
    out = tmp_path / "out"
    assert main(arguments(data, out, "--set", "training.epochs=1")) == 0
    log, [checkpoint] = out / "events.jsonl", out.glob("checkpoints/*/*/*/training.json")
    log.write_text(log.read_text().replace(',"prepare.steps":""', ""))
    record = json.loads(checkpoint.read_text())
    del record["identity"]["configuration"]["prepare.steps"], record["digest"]
    checkpoint.write_text(json.dumps(record | {"digest": _digest_of(record)}))
    assert "prepare.steps" not in log.read_text() + checkpoint.read_text()
    assert main(["train", "--out", str(out), "--continue", "--set", "training.epochs=2"]) == 0
    rows, straight = (json.loads((folder / "history.json").read_text()) for folder in (out, trained))
    assert [row["weights_digest"] for row in rows] == [row["weights_digest"] for row in straight]


def test_continuing_with_another_network_is_refused_and_spoils_nothing(data, trained, error):
    before = (trained / "events.jsonl").read_text()
    message = error(arguments(data, trained, "--continue", "--set", "network.filters_1=9"))
    assert "made with network.filters_1=4, this training has 9" in message
    assert (trained / "events.jsonl").read_text() == before


def test_a_training_from_an_earlier_model_is_continued_from_the_same(data, trained, tmp_path, error):
    out = tmp_path / "out"
    more = ["--init-from", str(trained / "model.keras"), "--set", "training.frozen_blocks=1"]
    assert main(arguments(data, tmp_path / "straight", *more)) == 0
    assert main(arguments(data, out, *more, "--set", "training.epochs=1")) == 0
    started = load_run(out).started
    digest = json.loads((trained / "model.json").read_text())["weights_digest"]
    assert started is not None
    assert (started.study.study.init_from, started.init_digest) == (str(trained / "model.keras"), digest)
    go_on = ["train", "--data", str(data), "--out", str(out), "--continue", "--set", "training.epochs=2"]
    message = error([*go_on, "--init-from", str(out / "model.keras")])
    assert f"made with init_digest='{digest}', this training has '" in message
    assert main(go_on) == 0
    rows, straight = (json.loads((o / "history.json").read_text()) for o in (out, tmp_path / "straight"))
    assert [row["weights_digest"] for row in rows] == [row["weights_digest"] for row in straight]
    assert json.loads((out / "model.json").read_text())["init_digest"] == digest


def test_a_missing_model_to_start_from_is_one_line(data, tmp_path, error):
    assert "m.keras: no such file" in error(arguments(data, tmp_path / "o", "--init-from", str(tmp_path / "m.keras")))


def test_finished_training_is_not_overwritten(data, trained, error):
    assert "holds a training already; add --continue, or give another folder" in error(arguments(data, trained))


def test_the_folder_of_a_search_is_left_as_it_is(data, tmp_path, error):
    """The checkpoint that its log names stays, in the place where a training would write its own."""
    out = tmp_path / "run"
    with EventLog(out) as log:
        log.append(
            StudyStarted(
                study=StudyRecord(study=StudySection(name="s")),
                space={"parameters": {}},
                space_fingerprint="f",
                data_digest=None,
                provenance=Provenance(),
            )
        )
    kept = out / "checkpoints" / "0000" / "0" / "0003" / "training.json"
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    before = (out / "events.jsonl").read_bytes()
    for more in ([], ["--continue"]):
        assert error(arguments(data, out, *more)).endswith("run: holds a search; name another folder with --out")
    assert (kept.read_text(), (out / "events.jsonl").read_bytes()) == ("{}", before)


def test_a_folder_with_something_else_is_left_as_it_is(data, tmp_path, error):
    (tmp_path / "notes.txt").write_text("mine")
    message = error(arguments(data, tmp_path))
    assert message.endswith("is not empty and holds no training; give another folder with --out")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_training_that_never_began_an_epoch_is_begun_anew(tmp_path, error):
    images = np.random.default_rng(1).integers(0, 255, (8, 8, 8, 1), np.uint8)
    labels = np.array([0, 1] * 4, np.int8)
    splits = {"train": SplitData(images[:4], labels[:4]), "validation": SplitData(images[4:], labels[4:])}
    write_dataset(tmp_path / "tiny", splits, ["a", "b"], {})
    command = arguments(tmp_path / "tiny", tmp_path / "out", "--set", "training.epochs=1")
    assert "network.blocks=4 halves the image 4 times" in error([*command, "--set", "network.blocks=4"])
    assert main(command) == 0
    assert [row["epoch"] for row in json.loads((tmp_path / "out" / "history.json").read_text())] == [1]


def test_ctrl_c_leaves_within_a_second_and_the_printed_command_goes_on(data, tmp_path):
    out = tmp_path / "my out"
    command = [sys.executable, "-m", "tune.cli.main", *arguments(data, out, "--set", "training.epochs=500")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not process.stdout.readline().startswith("epoch   2"):
        assert process.poll() is None, process.communicate()
    began = psutil.Process(process.pid).cpu_times()
    process.send_signal(signal.SIGINT)
    usage = psutil.Process(process.pid)
    try:
        while usage.is_running() and usage.status() != psutil.STATUS_ZOMBIE:
            spent = usage.cpu_times()
            time.sleep(0.02)
    except psutil.NoSuchProcess:
        pass
    printed, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert spent.user + spent.system - began.user - began.system < 1
    state = load_run(out)
    assert state.ended is not None
    assert state.ended.reason == "interrupted by SIGINT"
    [again] = re.findall(r"^interrupted; continue with: (.*)$", printed, re.M)
    done = state.trials[0, None].last.epoch
    again = again.replace("seti-tune", f"{sys.executable} -m tune.cli.main") + f" --set training.epochs={done + 1}"
    resumed = subprocess.run(["bash", "-c", again], capture_output=True, text=True, check=False)
    assert resumed.returncode == 0, resumed.stderr
    assert "epoch   1/" not in resumed.stdout
    assert load_run(out).trials[0, None].status == "completed"


def test_a_model_that_is_not_the_one_its_run_has_recorded_is_refused(trained, data, tmp_path, error):
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    assert main(["evaluate", str(run / "model.keras"), str(data), "--threads", "1"]) == 0
    described = run / "model.json"
    record = json.loads(described.read_text())
    assert [event.digest for event in read_events(run) if isinstance(event, ModelExported)] == [record["digest"]]
    stripped = {"class_names": record["class_names"][::-1], "digest": None, "architecture_digest": None}
    described.write_text(json.dumps(record | stripped))
    message = error(["predict", str(run / "model.keras"), str(data), "--threads", "1"])
    assert f"its digest is none, the log of {run} says {record['digest'][:12]}: it was changed; restore it" in message


def test_commands_about_a_run_know_a_training(trained, tmp_path, capsys, error):
    message = error(["finals", str(trained)])
    assert "holds the training of one configuration and no search; continue it with `seti-tune train" in message
    assert message.endswith(f"train --out {trained} --continue`")
    with pytest.raises(StudyError, match="holds the training of one configuration and no search"):
        recorded_study(trained)  # as `resume` does
    assert "Optuna has no search to show" in error(["export", str(trained), "--optuna", "--out", str(tmp_path)])
    for command in (["status"], ["leaderboard"], ["export", "--tensorboard", "--out", str(tmp_path)]):
        assert main([command[0], str(trained), *command[1:]]) == 0
    assert main(["report", str(trained), "--out", str(tmp_path / "page.html")]) == 0
    out = capsys.readouterr().out
    assert "finished: all epochs done" in out
    assert "baseline" not in out
    status = run_status(trained)
    unfinished = dataclasses.replace(status, state=RunState(list(read_events(trained))[:-2]))  # the end, the model
    assert f"seti-tune train --out {trained} --continue" in status_text(unfinished)


def test_nothing_to_continue_is_said(data, tmp_path, error):
    assert "holds no training to continue" in error(arguments(data, tmp_path / "none", "--continue"))


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.epochs", "--set training.epochs: expected FIELD=VALUE"),
        ("training.epochs=many", "--set training.epochs=many: 'many' is no int; write a whole number"),
        ("training.lr=3", "'training.lr' is no field of the configuration"),
        ("training.epochs=2.5", "training.epochs: 2.5 is of type float, expected int"),
        ("training.precision=half", "training.precision: 'half' is unknown"),
    ],
)
def test_wrong_setting_is_one_line(data, tmp_path, error, setting, message):
    assert message in error(arguments(data, tmp_path / "out", "--set", setting))
    assert not (tmp_path / "out").exists()


def test_missing_data_set_is_one_line(tmp_path, error):
    assert "absent" in error(arguments(tmp_path / "absent", tmp_path / "out"))


def test_evaluation_repeats_the_validation_accuracy_of_the_training(data, trained, capsys):
    assert main(["evaluate", str(trained / "model.keras"), str(data), "--threads", "1"]) == 0
    out = capsys.readouterr().out
    best = max(row["validation_accuracy"] for row in json.loads((trained / "history.json").read_text()))
    assert f"accuracy {best:.3f} (95 % " in out
    assert "true \\ predicted" in out
    assert "another data set" not in out


def test_evaluation_on_other_data_says_so_and_on_other_classes_is_refused(data, trained, tmp_path, capsys, error):
    simulate_dataset(tmp_path / "other", "course", {"train": 8, "validation": 8, "test": 8}, 2)
    model = str(trained / "model.keras")
    assert main(["evaluate", model, str(tmp_path / "other"), "--split", "train", "--threads", "1"]) == 0
    assert "note: trained on another data set" in capsys.readouterr().out
    file = tmp_path / "other" / "dataset.json"
    file.write_text(file.read_text().replace("squiggle", "wiggle"))
    assert "classes wiggle, " in error(["evaluate", model, str(tmp_path / "other"), "--threads", "1"])


@pytest.fixture
def same_images_in_every_format(data, tmp_path):
    images = np.load(data / "test_images.npy")
    np.savez(tmp_path / "a.npz", x=images[..., 0])
    np.savetxt(tmp_path / "b.csv", images.reshape(8, -1) / 255, delimiter=",", fmt="%.6f")
    (tmp_path / "c").mkdir()
    for number, image in enumerate(images):
        Image.fromarray(image[..., 0]).save(tmp_path / "c" / f"{number}.png")
    return [tmp_path / name for name in ("a.npz", "b.csv", "c")]


def test_predictions_do_not_depend_on_the_format_of_the_images(
    data, trained, same_images_in_every_format, tmp_path, capsys
):
    table = tmp_path / "predictions.csv"
    files = [str(path) for path in same_images_in_every_format]
    model = str(trained / "model.keras")
    assert main(["predict", model, *files, "--csv", str(table), "--threads", "1"]) == 0
    assert "24 images in" in capsys.readouterr().err
    with table.open() as file:
        header, *rows = csv.reader(file)
    names = json.loads((trained / "model.json").read_text())["class_names"]
    assert header == ["file", "index", "predicted", *(f"p_{name}" for name in names)]
    assert [row[1] for row in rows[:8]] == [str(index) for index in range(8)]
    assert [row[0] for row in rows[16:]] == [str(tmp_path / "c" / f"{number}.png") for number in range(8)]
    by_file = [[row[2:] for row in rows[start : start + 8]] for start in (0, 8, 16)]
    assert by_file[0] == by_file[1] == by_file[2]
    probabilities = np.array([row[3:] for row in rows], float)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert [row[2] for row in rows] == [names[best] for best in probabilities.argmax(axis=1)]
    assert main(["predict", model, files[0], "--threads", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 9


def test_prediction_says_its_rate_and_the_latency_of_one_image_apart_from_loading_and_tracing(
    trained, same_images_in_every_format, capsys, error
):
    command = ["predict", str(trained / "model.keras"), str(same_images_in_every_format[0]), "--threads", "1"]
    assert main([*command, "--batch", "3"]) == 0
    [line] = capsys.readouterr().err.splitlines()
    number = r"(\d+\.\d+)"
    found = re.fullmatch(
        rf"8 images in {number} s, {number} images/s, 3 at a time, 1 such batches side by side \(as asked for\); "
        rf"one image alone takes {number} ms \(median of 40; 95 % at most "
        rf"{number} ms\); model loaded in {number} s, traced in {number} s",
        line,
    )
    assert found, line
    _, rate, median, high, loaded, traced = map(float, found.groups())
    assert min(rate, median, loaded, traced) > 0
    assert median <= high
    assert "--batch 0: at least 1 image at a time is expected" in error([*command, "--batch", "0"])


def test_images_that_cannot_be_predicted_are_named(trained, tmp_path, error):
    model = str(trained / "model.keras")

    def message(name):
        return error(["predict", model, str(tmp_path / name), "--threads", "1"])

    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    np.savez(tmp_path / "y.npz", y=np.zeros(3))
    np.savez(tmp_path / "small.npz", x=np.zeros((2, 8, 8), np.uint8))
    (tmp_path / "short.csv").write_text("0.1,0.2\n")
    assert "no PNG or FITS files in this folder" in message("empty")
    assert "absent.npz: no such file" in message("absent.npz")
    assert "notes.txt: unknown kind of file" in message("notes.txt")
    assert "y.npz: no array 'x'" in message("y.npz")
    assert (
        "small.npz: images of shape (8, 8, 1), the model expects (n_time, n_freq, channels) = (64, 128, 1)"
        in message("small.npz")
    )
    assert "short.csv, row 1: 2 columns, the model expects 64 x 128 x 1 = 8192" in message("short.csv")


@pytest.mark.parametrize("name", ["events.jsonl", "EVENTS.jsonl", "model.keras", "history.json", "checkpoints"])
def test_a_table_of_predictions_never_replaces_a_record(data, trained, tmp_path, error, name):
    run = shutil.copytree(trained, tmp_path / "run")
    log = run / "events.jsonl"
    log.write_bytes(b"{}\n" * 42)
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    message = error(["predict", str(trained / "model.keras"), str(data), "--csv", str(run / name)])
    assert f"{run / name}: " in message
    assert message.endswith(("name another file", "name a file in it or another one"))
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before


def test_a_table_of_predictions_never_replaces_the_images(trained, tmp_path, error):
    images = tmp_path / "images.csv"
    images.write_text(",".join(["0.5"] * (64 * 128)) + "\n")
    before = images.read_bytes()
    message = error(["predict", str(trained / "model.keras"), str(images), "--csv", str(tmp_path / "." / "images.csv")])
    assert "images.csv: holds the images to be classified; name another file" in message
    assert images.read_bytes() == before


def test_missing_model_is_one_line(data, tmp_path, error):
    assert "m.keras: no such file" in error(["evaluate", str(tmp_path / "m.keras"), str(data), "--threads", "1"])


def test_help_has_examples_and_loads_nothing_heavy():
    for command in ("train", "evaluate", "predict"):
        code = f"""
import sys
from tune.cli.main import main
try:
    main([{command!r}, "--help"])
except SystemExit:
    print("heavy:", sorted({{"tensorflow", "keras", "ray", "pandas", "matplotlib"}} & set(sys.modules)))
"""
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert f"seti-tune {command} " in out.split("examples:")[1]
        assert out.endswith("heavy: []\n")


def test_a_network_that_draws_without_the_seed_is_named_by_retrain(data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "careless.py").write_text(
        "import dataclasses, os\n"
        "@dataclasses.dataclass(frozen=True)\n"
        "class Net:\n"
        "    def build(self, shape, n_classes, *, seed, precision):\n"
        "        from keras import Input, Model, initializers, layers\n"
        "        drawn = initializers.RandomNormal(seed=int.from_bytes(os.urandom(3), 'big'))\n"
        "        pixels = Input(shape)\n"
        "        flat = layers.Flatten()(layers.AveragePooling2D(8)(pixels))\n"
        "        return Model(pixels, layers.Dense(n_classes, kernel_initializer=drawn)(flat))\n"
    )
    options = ["--out", "out", "--threads", "1", "--set", "network.family=careless:Net", "--set", "training.epochs=1"]
    assert main(["train", "--data", str(data), *options]) == 0
    capsys.readouterr()
    assert main(["retrain", "out", "--out", "again"]) == 1
    said = capsys.readouterr().out
    assert "differs although nothing recorded differs; perhaps careless:Net draws something without the seed" in said
