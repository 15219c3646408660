"""ROC and precision-recall curves are those of scikit-learn, and so are their areas."""

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from results.errors import FigureError
from results.report.figures import class_numbers, ranking_curves
from results.report.plots import MOST_POINTS, precision_recall, roc
from results.report.plots import class_numbers as class_numbers_plot
from results.stats.bootstrap import delivered_estimates
from results.stats.curves import class_curves, recall_points, roc_points, thinned
from results.stats.weighted import average_precision, roc_area

EXACT = {"rel": 0, "abs": 1e-12}


def predictions(n: int = 400, classes: int = 3, *, rounded: bool = False) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + classes)
    y_true = rng.integers(0, classes, n)
    scores = rng.normal(size=(n, classes)) + 1.2 * np.eye(classes)[y_true]
    y_prob = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    if rounded:  # many equal scores
        y_prob = np.round(y_prob[:, :1] * 8) / 8
        y_prob = np.concatenate([y_prob, np.repeat((1 - y_prob) / (classes - 1), classes - 1, axis=1)], axis=1)
    return y_true, y_prob


@pytest.mark.parametrize("rounded", [False, True])
@pytest.mark.parametrize(("n", "classes"), [(400, 3), (57, 2), (1000, 5)])
def test_points_and_areas_are_those_of_scikit_learn(n: int, classes: int, rounded: bool) -> None:
    y_true, y_prob = predictions(n, classes, rounded=rounded)
    for label in range(classes):
        positive, scores = y_true == label, y_prob[:, label]
        x, y = roc_points(scores, positive)
        theirs = roc_curve(positive, scores, drop_intermediate=False)
        assert x == pytest.approx(theirs[0], **EXACT)
        assert y == pytest.approx(theirs[1], **EXACT)
        recall, precision = recall_points(scores, positive)
        theirs = precision_recall_curve(positive, scores)
        assert precision[::-1] == pytest.approx(theirs[0], **EXACT)
        assert recall[::-1] == pytest.approx(theirs[1], **EXACT)
        once = np.ones((1, n))
        [area], [average] = roc_area(scores, positive, once), average_precision(scores, positive, once)
        assert area == pytest.approx(roc_auc_score(positive, scores), **EXACT)
        assert area == pytest.approx(auc(x, y), **EXACT)
        assert average == pytest.approx(average_precision_score(positive, scores), **EXACT)


def test_average_precision_of_weighted_images_is_that_of_images_drawn_so_often() -> None:
    y_true, y_prob = predictions(120, 3, rounded=True)
    weights = np.random.default_rng(0).integers(0, 4, (5, 120)).astype(float)
    found = average_precision(y_prob[:, 0], y_true == 0, weights)
    theirs = [average_precision_score(y_true == 0, y_prob[:, 0], sample_weight=row) for row in weights]
    assert found == pytest.approx(theirs, **EXACT)
    assert np.isnan(average_precision(y_prob[:, 0], y_true == 9, weights)).all()


def test_every_class_that_occurs_has_curves_with_the_areas_of_the_numbers() -> None:
    y_true, y_prob = predictions(classes=4)
    y_true[y_true == 2] = 0
    numbers = delivered_estimates(y_true, y_prob, "abcd")
    curves = class_curves(y_true, y_prob, "abcd", numbers=numbers)
    assert [c.class_name for c in curves] == ["a", "b", "d"]
    for curve in curves:
        of = numbers.classes["abcd".index(curve.class_name)]
        assert (curve.auc, curve.average_precision) == (of.auc, of.average_precision)
        assert curve.share == pytest.approx(of.n / 400)
        assert of.auc.low < of.auc.value < of.auc.high
        assert of.average_precision.low < of.average_precision.value < of.average_precision.high
        recall, precision = curve.precision_recall
        assert np.sum(np.diff(recall) * precision[1:]) == pytest.approx(of.average_precision.value, **EXACT)
        assert precision[0] == precision[1]


@pytest.mark.parametrize(
    ("names", "background", "shown"),
    [
        (("FRI", "FRII"), "noise", "FRII"),
        (("signal", "noise"), "noise", "signal"),
        (("noise", "signal"), "noise", "signal"),
    ],
)
def test_of_two_classes_there_is_one_curve(names: tuple[str, str], background: str, shown: str) -> None:
    y_true, y_prob = predictions(classes=2)
    numbers = delivered_estimates(y_true, y_prob, names)
    assert [c.class_name for c in class_curves(y_true, y_prob, names, numbers=numbers, background=background)] == [
        shown
    ]


def test_a_class_that_is_always_found_has_an_area_of_one_with_a_lower_limit() -> None:
    y_true = np.arange(60) % 3
    numbers = delivered_estimates(y_true, np.eye(3)[y_true], "abc")
    for of in numbers.classes:
        assert of.average_precision.value == 1
        assert 0.75 < of.average_precision.low < of.average_precision.high == 1


def test_a_thinned_curve_keeps_its_ends_and_strays_little() -> None:
    y_true, y_prob = predictions(20_000, 3)
    for points in (roc_points(y_prob[:, 0], y_true == 0), recall_points(y_prob[:, 0], y_true == 0)):
        x, y = thinned(points, MOST_POINTS)
        assert x.size <= MOST_POINTS + 1
        assert (x[0], y[0], x[-1], y[-1]) == (points[0][0], points[1][0], points[0][-1], points[1][-1])
        assert auc(x, y) == pytest.approx(auc(*points), abs=2e-3)
    few = recall_points(y_prob[:20, 0], y_true[:20] == 0)
    assert thinned(few, MOST_POINTS) is few


def test_page_and_picture_show_the_same_areas_and_classes(tmp_path: Path) -> None:
    y_true, y_prob = predictions(classes=3)
    names = ("a<b", "$b$", "c")
    numbers = delivered_estimates(y_true, y_prob, names)
    curves = class_curves(y_true, y_prob, names, numbers=numbers)
    ranking_curves(curves, tmp_path / "curves.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "curves.svg").read_text(encoding="utf-8"))
    drawn = [trace["name"] for plot in (roc(curves), precision_recall(curves)) for trace in plot[0]]
    for curve in curves:
        escaped = curve.class_name.replace("<", "&lt;")
        for label in (f"{escaped}, area {curve.auc:.3f}", f"{escaped}, average {curve.average_precision:.3f}"):
            assert label in texts
            assert label in drawn
    class_numbers(numbers.classes, tmp_path / "classes.svg")
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "classes.svg").read_text(encoding="utf-8"))
    traces, layout = class_numbers_plot(numbers.classes)
    assert {"recall", "precision", "F1", "c"} <= set(texts)
    assert [trace["name"] for trace in traces] == ["recall", "precision", "F1"]
    assert traces[2]["y"] == [c.f1.value for c in numbers.classes]
    assert layout["xaxis"]["ticktext"] == ["a&lt;b", "$b$", "c"]


def test_nothing_to_draw_is_named(tmp_path: Path) -> None:
    with pytest.raises(FigureError, match=r"x\.png: curves of no class; give predictions of images of two classes"):
        ranking_curves((), tmp_path / "x.png")
    with pytest.raises(FigureError, match=r"x\.png: numbers of no class; give those of `delivered_estimates`"):
        class_numbers((), tmp_path / "x.png")
