"""Pictures of the final evaluation show the numbers of their records, and name what they cannot draw."""

import math
import re

import numpy as np
import pytest
from PIL import Image

from results.errors import FigureError
from results.finals import Standing
from results.report.figures import finals_overview, recall_curves, reliability_diagram
from results.stats.calibration import CalibrationError, calibration_error, reliability_bins
from results.stats.detection import recall_by_quantity
from results.stats.intervals import Estimate

NAMES = ("squiggle", "$narrow$", "noise")


def texts(path):
    """Everything a reader can read in an SVG."""
    return re.findall(r"<text[^>]*>([^<]*)</text>", path.read_text(encoding="utf-8"))


def finalist(trial, searched, *objectives):
    return Standing(trial, trial == 0, searched, tuple(range(len(objectives))), objectives, ())


@pytest.fixture
def example():
    rng = np.random.default_rng(0)
    y_true = np.arange(120) % 3
    y_prob = rng.dirichlet(np.ones(3), 120) * 0.5 + 0.5 * np.eye(3)[y_true]
    return y_true, y_prob


def test_reliability_diagram_says_both_errors_and_its_axes(example, tmp_path):
    calibration = calibration_error(reliability_bins(*example, bins=5))
    reliability_diagram(calibration, tmp_path / "reliability.svg", title="winner")
    found = texts(tmp_path / "reliability.svg")
    error = calibration.corrected
    expected = f"expected calibration error {error.value:.3f} (95 % {error.low:.3f} to {error.high:.3f})"
    assert {"winner", expected, f"corrected for bias; {calibration.plain:.3f} uncorrected"} <= set(found)
    assert {"accuracy", "confidence (largest probability)", "images", "mean of a bin, 95 % interval"} <= set(found)


def test_recall_curves_name_classes_images_and_the_quantity(example, tmp_path):
    quantity = np.where(example[0] == 2, np.nan, np.linspace(0, 1, 120))
    curves = recall_by_quantity(*example, quantity, NAMES, noise_class=2)
    recall_curves(curves, tmp_path / "recall.svg", quantity="drift (rad/sample²)", title="winner")
    found = texts(tmp_path / "recall.svg")
    assert {"winner", "squiggle, 40 images", "$narrow$, 40 images", "drift (rad/sample²)"} <= set(found)
    assert {"predicted as its class", "predicted as any signal", "share of the images, 95 % interval"} <= set(found)


def test_finals_show_means_names_and_what_is_which(tmp_path):
    rows = [finalist(12, 0.87, 0.86, 0.85, 0.855), finalist(0, math.nan, 0.75)]
    finals_overview(rows, tmp_path / "finals.svg", title="study wide")
    found = texts(tmp_path / "finals.svg")
    assert {"study wide", "0.855", "0.750", "trial 12", "trial 0", "baseline", "validation accuracy"} <= set(found)
    assert {"retraining, fresh seed", "mean of the retrainings", "in the search"} <= set(found)


def test_extreme_records_are_drawn(tmp_path):
    sure = calibration_error(reliability_bins(np.zeros(5, int), np.eye(2)[[0] * 5]))
    wrong = calibration_error(reliability_bins(np.ones(5, int), np.eye(2)[[0] * 5]))
    reliability_diagram(sure, tmp_path / "sure.png")
    reliability_diagram(wrong, tmp_path / "wrong.png")
    one = recall_by_quantity(np.zeros(1, int), np.eye(2)[[0]], np.zeros(1), ("a", "b"), noise_class=1)
    recall_curves(one, tmp_path / "one.png", quantity="drift")
    finals_overview([finalist(3, 0.5), finalist(4, math.nan)], tmp_path / "none.png")
    finals_overview([finalist(i, 0.5, 0.5, 0.5, 0.5) for i in range(12)], tmp_path / "many.png")
    for path in tmp_path.iterdir():
        with Image.open(path) as picture:
            picture.verify()


def test_nothing_to_draw_is_refused(tmp_path):
    path = tmp_path / "x.png"
    with pytest.raises(FigureError, match=r"reliability diagram without a bin; give those of `reliability_bins`"):
        reliability_diagram(CalibrationError(0.0, Estimate(0.0, 0.0, 0.0), ()), path)
    with pytest.raises(FigureError, match=r"recall against drift without a curve; no class has this quantity"):
        recall_curves([], path, quantity="drift")
    with pytest.raises(FigureError, match=r"finals without a finalist; retrain one first"):
        finals_overview([], path)
    assert not path.exists()


def test_other_kinds_of_file_are_refused(tmp_path):
    with pytest.raises(FigureError, match=r"x\.jpg: a picture ends in \.png or \.svg, found '\.jpg'; rename it"):
        finals_overview([finalist(0, 0.5)], tmp_path / "x.jpg")
