"""Pictures are complete files of a sensible size, with what they show as text, and name input they cannot draw."""

import gc
import math
import re
import threading

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from results.errors import FigureError
from results.log.state import RunState
from results.report.figures import (
    STATUS_STYLE,
    confusion_matrix,
    learning_curves,
    search_overview,
)
from results.report.sheets import contact_sheet
from results.stats.metrics import classification_metrics

NAMES = ("squiggle", "narrowband", "noise")


def texts(path):
    """Everything a reader can read in an SVG."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def history(epochs):
    return [
        {
            "epoch": epoch,
            "train_loss": 1.4 / epoch,
            "validation_loss": 1.6 / epoch,
            "train_accuracy": 1 - 0.7 / epoch,
            "validation_accuracy": 1 - 0.75 / epoch,
        }
        for epoch in range(1, epochs + 1)
    ]


def images_of(n, channels=1):
    images = np.random.default_rng(0).integers(0, 256, (n, 16, 32, channels), dtype=np.uint8)
    return images, np.arange(n) % 3


@pytest.fixture
def metrics():
    y_true = np.array([0, 0, 1, 1, 1, 0])
    return classification_metrics(y_true, np.eye(3)[[0, 0, 1, 1, 0, 0]], NAMES)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_contact_sheet_is_a_picture_of_every_class(channels, tmp_path):
    images, labels = images_of(30, channels)
    contact_sheet(images, labels, NAMES, tmp_path / "sheet.png", per_class=3)
    with Image.open(tmp_path / "sheet.png") as picture:
        picture.verify()
        assert min(picture.size) > 400


def test_contact_sheet_names_classes_counts_and_axes(tmp_path):
    images, labels = images_of(30)
    contact_sheet(images, labels, ("a", "b", "$c$"), tmp_path / "sheet.svg", per_class=2, seed=5)
    found = texts(tmp_path / "sheet.svg")
    assert {
        "0  a",
        "1  b",
        "2  $c$",
        "10 images",
        "30 radio spectrograms of 16 x 32 pixels, examples of each class",
    } <= set(found)
    assert {"time (row, downwards)", "frequency (channel)"} <= set(found)
    shown = [int(text.removeprefix("image ")) for text in found if text.startswith("image ")]
    assert [labels[index] for index in shown] == [0, 0, 1, 1, 2, 2]


def test_contact_sheet_shows_the_same_images_for_the_same_seed(tmp_path):
    images, labels = images_of(60)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        contact_sheet(images, labels, NAMES, tmp_path / f"{name}.svg", seed=seed)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert texts(tmp_path / "a.svg") != texts(tmp_path / "c.svg")


def test_contact_sheet_of_a_class_with_few_or_no_images_leaves_places_empty(tmp_path):
    images, _ = images_of(3)
    contact_sheet(images, np.array([0, 0, 1]), NAMES, tmp_path / "sheet.svg")
    found = texts(tmp_path / "sheet.svg")
    assert "0 images" in found
    assert sum(text.startswith("image ") for text in found) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": images_of(3)[0] / 255}, r"images \(3, 16, 32, 1\) of float64 and labels \(3,\), expected uint8"),
        (
            {"images": images_of(3)[0][..., 0]},
            r"images \(3, 16, 32\) of uint8 .* expected uint8 \(n, n_time, n_freq, n",
        ),
        ({"labels": np.array([0, 1])}, r"labels \(2,\), expected uint8 .* and \(n,\); scale pixels"),
        ({"labels": np.array([0, 1, 3])}, r"label 3, expected 0\.\.2; name every class"),
        ({"labels": np.array([0, 1, -1])}, r"label -1, expected 0\.\.2"),
        ({"per_class": 0}, r"per_class=0, expected at least 1; ask for one image a class"),
    ],
)
def test_images_that_do_not_fit_are_refused(change, message, tmp_path):
    images, labels = images_of(3)
    with pytest.raises(FigureError, match=message):
        contact_sheet(
            **{"images": images, "labels": labels, "class_names": NAMES, "path": tmp_path / "x.png", **change}
        )


def test_learning_curves_name_the_best_epoch_and_their_units(tmp_path):
    rows = history(5)
    rows[2]["validation_accuracy"] = 0.93
    learning_curves(rows, tmp_path / "curves.svg", title="trial 3")
    found = texts(tmp_path / "curves.svg")
    assert {"trial 3", "cross-entropy (nats)", "accuracy", "epoch", "train", "validation"} <= set(found)
    assert "best validation accuracy 0.930 at epoch 3" in found


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_learning_curves_of_few_epochs_are_drawn(epochs, tmp_path):
    learning_curves(history(epochs), tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as picture:
        picture.verify()


def test_learning_curves_of_a_diverged_training_are_drawn(tmp_path):
    rows = history(4)
    rows[1]["validation_loss"] = 4000.0
    rows[3] |= {"train_loss": math.nan, "validation_loss": math.inf, "validation_accuracy": None}
    learning_curves(rows, tmp_path / "curves.svg")
    found = texts(tmp_path / "curves.svg")
    assert "1000" in found  # a logarithmic scale with plain numbers
    assert "best validation accuracy 0.750 at epoch 3" in found


def test_viewer_never_sees_half_a_picture(tmp_path):
    path = tmp_path / "curves.png"
    learning_curves(history(2), path)
    stop, damaged = threading.Event(), []

    def view():
        while not stop.is_set():
            try:
                with Image.open(path) as picture:
                    picture.load()
            except (OSError, SyntaxError) as error:
                damaged.append(error)

    viewer = threading.Thread(target=view)
    viewer.start()
    for epochs in range(2, 8):
        learning_curves(history(epochs), path)
    stop.set()
    viewer.join()
    assert damaged == []
    assert [file.name for file in tmp_path.iterdir()] == ["curves.png"]


def test_figures_leave_nothing_in_memory(tmp_path):
    learning_curves(history(2), tmp_path / "curves.png")
    gc.collect()
    assert not [item for item in gc.get_objects() if isinstance(item, Figure)]


def test_row_without_a_key_is_refused(tmp_path):
    with pytest.raises(FigureError, match=r"row 0: train_loss, validation_loss, .* missing; give epoch, train_loss"):
        learning_curves([{"epoch": 1}], tmp_path / "curves.png")


def test_confusion_matrix_shows_counts_and_shares(metrics, tmp_path):
    confusion_matrix(metrics, tmp_path / "confusion.svg")
    found = texts(tmp_path / "confusion.svg")
    assert {"100.0%", "66.7%", "33.3%", "true class", "predicted class", *NAMES} <= set(found)
    assert any(text.startswith("accuracy 0.833 (95 % ") for text in found)


def test_search_overview_names_baseline_best_rungs_and_statuses(hand, tmp_path):
    events = [hand.study(), *hand.trial(0, [0.25, 0.25, 0.5, 0.7]), *hand.trial(1, [0.3, 0.9, 0.8, 0.8])]
    # Not ranked, whatever it reached.
    events += hand.trial(2, [0.3, 0.95], "stopped", rungs={2: (0.95, 0.99, "stop")})
    events += hand.trial(3, [0.3, math.nan], "diverged") + hand.trial(4, [], "failed") + hand.trial(5, [0.4], None)
    events += hand.trial(6, [], "outside")
    search_overview(RunState(events), tmp_path / "search.svg", title="study small")
    found = set(texts(tmp_path / "search.svg"))
    assert {"baseline, trial 0: 0.700", "best, trial 1: 0.900", "rung 2", "study small"} <= found
    assert {f"1 {status}" for status in STATUS_STYLE} <= found
    assert {"epoch", "validation accuracy"} <= found


def test_search_overview_of_nothing_yet_and_of_hundreds_is_drawn(hand, tmp_path):
    search_overview(RunState([hand.study()]), tmp_path / "none.png")
    baseline = hand.trial(0, [0.5, 0.6])
    search_overview(RunState([hand.study(), *baseline]), tmp_path / "one.png")
    search_overview(RunState([hand.study(), *hand.trial(0, [], None)]), tmp_path / "begun.png")
    many = [e for number in range(1, 300) for e in hand.trial(number, [0.3, number / 400], "stopped")]
    search_overview(RunState([hand.study(), *baseline, *many]), tmp_path / "many.png")
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            picture.verify()


def test_other_kinds_of_file_are_refused_and_leave_nothing(metrics, tmp_path):
    with pytest.raises(FigureError, match=r"c\.jpg: a picture ends in \.png or \.svg, found '\.jpg'; rename it"):
        confusion_matrix(metrics, tmp_path / "c.jpg")
    assert list(tmp_path.iterdir()) == []
