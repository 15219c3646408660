"""Pictures of training, search and final evaluation; those of images are in `results.report.sheets`.

Every function writes one file, PNG or SVG by its suffix (another one is a `FigureError`), and replaces it in one
step, so that a viewer never sees half a picture. Without pyplot nothing stays in memory and threads do not meet.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.errors import FigureError
from results.files import replacing
from results.finals import Standing
from results.log.records import Status
from results.log.state import RunState, TrialState
from results.stats.bootstrap import ClassEstimates
from results.stats.calibration import CalibrationError
from results.stats.curves import ClassCurves
from results.stats.detection import RecallCurve
from results.stats.intervals import Estimate
from results.stats.metrics import ClassificationMetrics, summary_line
from results.tables.leaderboard import rank_trials

mpl.rcParams["svg.fonttype"] = "none"  # text stays text
mpl.rcParams["text.parse_math"] = False  # also a class name with dollar signs
mpl.rcParams["svg.hashsalt"] = "seti-tune"  # the same picture gives the same file

# M. Okabe and K. Ito (2008), Color Universal Design: told apart with every common colour vision.
BLUE, ORANGE, GREEN, VERMILLION, PURPLE = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"
INK, GREY, PALE = "#222222", "#8C8C8C", "#E4E4E4"
_COLOURS, _MARKERS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE), "osD^v"
STATUS_STYLE: Mapping[str, tuple[str, str, str]] = {  # colour, line, marker at the end
    Status.COMPLETED: (BLUE, "-", "o"),
    Status.STOPPED: (GREY, "-", "|"),
    Status.DIVERGED: (VERMILLION, "--", "x"),
    Status.FAILED: (PURPLE, ":", "X"),
    Status.OUTSIDE: (PURPLE, ":", "P"),
    Status.RUNNING: (GREEN, "-", ">"),
}
DPI = 144
LOG_SCALE_FROM = 30  # largest over smallest loss; a diverging loss would flatten all others on a linear scale


def learning_curves(rows: Sequence[Mapping[str, Any]], path: Path, *, title: str = "") -> None:
    """Draw loss and accuracy of one training against the epoch, and mark the best validation accuracy.

    Args:
        rows: One mapping an epoch with `epoch`, `train_loss`, `validation_loss` (nats), `train_accuracy` and
            `validation_accuracy` (0..1); None or not finite leaves a gap.
        path: The picture, replaced at each call.
        title: Printed above.

    Raises:
        FigureError: A row without one of the keys.
    """
    keys = ("epoch", "train_loss", "validation_loss", "train_accuracy", "validation_accuracy")
    for number, row in enumerate(rows):
        missing = [key for key in keys if key not in row]
        if missing:
            raise FigureError(f"row {number}: {', '.join(missing)} missing; give {', '.join(keys)} for every epoch")
    epochs = [int(row["epoch"]) for row in rows]
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    for axes, quantity in ((loss, "loss"), (accuracy, "accuracy")):
        for split, colour, line in (("train", ORANGE, "--"), ("validation", BLUE, "-")):
            values = _numbers([row[f"{split}_{quantity}"] for row in rows])
            axes.plot(epochs, values, line, color=colour, marker="o", markersize=3.5, linewidth=1.8, label=split)
        axes.set_ylabel("cross-entropy (nats)" if quantity == "loss" else quantity)
        _epoch_axis(axes, epochs)
    _loss_scale(loss, rows)
    loss.legend(frameon=False)
    accuracy.set_ylim(0, 1)  # fixed, so that a picture refreshed each epoch does not jump
    _mark_best(accuracy, _known(epochs, [row["validation_accuracy"] for row in rows]))
    save_figure(figure, path, title)


def confusion_matrix(metrics: ClassificationMetrics, path: Path) -> None:
    """Draw the confusion matrix: images in each cell, coloured by their share of the true class."""
    counts = np.asarray(metrics.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.4, 1.05 * len(counts) + 1.6)
    figure = Figure(figsize=(side + 1.2, side), layout="constrained")
    axes = figure.subplots()
    picture = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for (row, column), count in np.ndenumerate(counts):
        share = shares[row, column]
        colour = GREY if count == 0 else "white" if share > 0.6 else INK
        text = f"{count}\n{share:.1%}" if count else "0"
        axes.text(column, row, text, ha="center", va="center", color=colour, fontsize=10)
    axes.set_xticks(range(len(counts)), metrics.class_names, rotation=30, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(counts)), metrics.class_names)
    axes.set(xlabel="predicted class", ylabel="true class")
    axes.set_title(summary_line(metrics), fontsize=9, color=INK)
    axes.tick_params(length=0)
    axes.spines[:].set_color(PALE)
    figure.colorbar(picture, ax=axes, fraction=0.046, label="share of the true class")
    save_figure(figure, path)


def search_overview(state: RunState, path: Path, *, title: str = "") -> None:
    """Draw the learning curves of all trials, coloured by how they ended, the baseline and the best on top.

    Vertical lines are the epochs at which ASHA decided.

    Raises:
        FigureError: A suffix other than `.png` and `.svg`.
    """
    curves = state.search_trials()
    rungs = sorted({epoch for curve in curves for epoch in curve.rungs})
    figure = Figure(figsize=(10, 5.4), layout="constrained")
    axes = figure.subplots()
    best, crowded = next(iter(rank_trials(state)[0]), None), len(curves) > 40
    for rung in rungs:
        axes.axvline(rung, color=GREY, linewidth=0.9, linestyle=(0, (2, 3)), zorder=0)
        axes.text(rung, 1.01, f"rung {rung}", transform=axes.get_xaxis_transform(), fontsize=8, color=GREY)
    for curve in curves:
        colour, line, marker = STATUS_STYLE[curve.status]
        strong = curve is best or curve.started.is_baseline
        style = {"color": ORANGE if curve.started.is_baseline else colour, "linewidth": 2.6 if strong else 1.0}
        style |= {"alpha": 1.0 if strong else 0.35 if crowded else 0.65, "zorder": 4 if strong else 2}
        _draw_curve(axes, curve, line, marker, style)
    _epoch_axis(axes, [epoch for curve in curves for epoch in curve.epochs] + rungs)
    values = [value for curve in curves for _, value in _values(curve) if math.isfinite(value)]
    if values:
        highest = math.inf if state.study.objective.is_minimised else 1.0
        axes.set_ylim(max(0.0, min(values) - 0.05), min(highest, max(values) + 0.05))
    axes.set_ylabel(f"validation {state.study.objective.words}")
    _search_legend(axes, curves, best)
    save_figure(figure, path, title)


def _known(epochs: Sequence[int], values: Sequence[float | None]) -> list[tuple[int, float]]:
    return [(epoch, value) for epoch, value in zip(epochs, _numbers(values), strict=True) if math.isfinite(value)]


def _values(trial: TrialState) -> list[tuple[int, float]]:
    return [(n, trial.epochs[n].value) for n in sorted(trial.epochs)]


def _draw_curve(axes: Axes, trial: TrialState, line: str, marker: str, style: dict[str, Any]) -> None:
    points = _values(trial)
    axes.plot([epoch for epoch, _ in points], [value for _, value in points], line, solid_capstyle="round", **style)
    for epoch, value in [point for point in points if math.isfinite(point[1])][-1:]:
        axes.plot(epoch, value, marker, color=style["color"], alpha=style["alpha"], zorder=style["zorder"])


def _search_legend(axes: Axes, curves: Sequence[TrialState], best: TrialState | None) -> None:
    handles = []
    for curve in curves:
        if curve.started.is_baseline or curve is best:
            name, colour = ("baseline", ORANGE) if curve.started.is_baseline else ("best", BLUE)
            label = f"{name}, trial {curve.started.trial}" + (f": {curve.value:.3f}" if curve.best else "")
            handles += axes.plot([], [], color=colour, linewidth=2.6, label=label)
    for status, (colour, line, marker) in STATUS_STYLE.items():
        number = sum(curve.status == status and not curve.started.is_baseline for curve in curves)
        if number:
            handles += axes.plot([], [], line, color=colour, marker=marker, label=f"{number} {status}")
    axes.legend(handles=handles, frameon=False, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)


def _numbers(values: Sequence[Any]) -> list[float]:
    return [math.nan if value is None else float(value) for value in values]


def _mark_best(axes: Axes, known: Sequence[tuple[int, float]]) -> None:
    if known:
        epoch, value = max(known, key=lambda pair: (pair[1], -pair[0]))
        axes.plot(epoch, value, "o", markersize=11, markerfacecolor="none", markeredgecolor=BLUE)
        axes.set_title(f"best validation accuracy {value:.3f} at epoch {epoch}", fontsize=10, color=INK)


def _epoch_axis(axes: Axes, epochs: Sequence[int]) -> None:
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if epochs:
        axes.set_xlim(min(epochs) - 0.5, max(epochs) + 0.5)
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _loss_scale(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    losses = _numbers([row[key] for row in rows for key in ("train_loss", "validation_loss")])
    positive = [value for value in losses if math.isfinite(value) and value > 0]
    if positive and max(positive) > LOG_SCALE_FROM * min(positive):
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter("{x:g}")
    elif positive:
        axes.set_ylim(bottom=0)


def save_figure(figure: Figure, path: Path, title: str = "") -> None:
    """Write the file in one step; a suffix other than `.png` and `.svg` is a `FigureError`."""
    kind = path.suffix.lower().removeprefix(".")
    if kind not in ("png", "svg"):
        raise FigureError(f"{path}: a picture ends in .png or .svg, found {path.suffix!r}; rename it")
    if title:
        figure.suptitle(title, fontsize=11, color=INK)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=kind, dpi=DPI, metadata={"Date": None} if kind == "svg" else None)


def reliability_diagram(calibration: CalibrationError, path: Path, *, title: str = "") -> None:
    """Draw accuracy against confidence with Wilson intervals, and the number of images of each bin below.

    Raises:
        FigureError: No bin, or a suffix other than `.png` and `.svg`.
    """
    bins, error = calibration.bins, calibration.corrected
    level = f"{100 * error.level:.0f} %"
    if not bins:
        raise FigureError("reliability diagram without a bin; give those of `reliability_bins`")
    figure = Figure(figsize=(5.6, 6.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    confidence = [one.confidence for one in bins]
    start = math.floor(10 * min(min(confidence), *(one.accuracy.low for one in bins))) / 10
    axes.plot([start, 1], [start, 1], "--", color=GREY, linewidth=1.2, label="perfectly calibrated")
    _with_bars(
        axes,
        confidence,
        [one.accuracy for one in bins],
        color=BLUE,
        marker="o",
        label=f"mean of a bin, {level} interval",
    )
    _quiet(axes)
    axes.set(xlim=(start, 1.02), ylim=(start, 1.02), ylabel="accuracy")
    axes.set_title(
        f"expected calibration error {error.value:.3f} ({level} {error.low:.3f} to {error.high:.3f})\n"
        f"corrected for bias; {calibration.plain:.3f} uncorrected",
        fontsize=9,
        color=INK,
    )
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    for one in bins:
        counts.plot([one.confidence] * 2, [0, one.n], color=GREY, linewidth=5, solid_capstyle="butt")
    counts.set(xlabel="confidence (largest probability)", ylabel="images")
    counts.set_ylim(bottom=0)
    counts.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=3))
    _quiet(counts)
    save_figure(figure, path, title)


def recall_curves(curves: Sequence[RecallCurve], path: Path, *, quantity: str, title: str = "") -> None:
    """Draw recall and detection of every class against a physical quantity, at the median of each bin.

    Args:
        curves: As returned by `recall_by_quantity`.
        path: The picture, `.png` or `.svg`.
        quantity: What the bins are of, with its unit.
        title: Printed above.

    Raises:
        FigureError: No curve, or a suffix other than `.png` and `.svg`.
    """
    if not curves:
        raise FigureError(f"recall against {quantity} without a curve; no class has this quantity")
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, name in zip(panels, ("predicted as its class", "predicted as any signal"), strict=True):
        for number, curve in enumerate(curves):
            estimates = [one.recall if axes is panels[0] else one.detected for one in curve.bins]
            images = sum(one.n for one in curve.bins)
            _with_bars(
                axes,
                [one.median for one in curve.bins],
                estimates,
                color=_COLOURS[number % len(_COLOURS)],
                marker=_MARKERS[number % len(_MARKERS)],
                label=f"{curve.class_name}, {images} images",
                linestyle="-",
            )
        axes.set_title(name, fontsize=10, color=INK)
        axes.set(xlabel=quantity, ylim=(-0.02, 1.02))
        _quiet(axes)
    panels[0].set_ylabel("share of the images, 95 % interval")
    panels[1].legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    save_figure(figure, path, title)


def ranking_curves(curves: Sequence[ClassCurves], path: Path, *, title: str = "") -> None:
    """Draw the ROC curve and the precision-recall curve of each class, with their areas and what guessing gives.

    Raises:
        FigureError: No curve, or a suffix other than `.png` and `.svg`.
    """
    if not curves:
        raise FigureError(f"{path}: curves of no class; give predictions of images of two classes at least")
    figure = Figure(figsize=(10.4, 5.0), layout="constrained")
    roc, precision = figure.subplots(1, 2)
    roc.plot([0, 1], [0, 1], "--", color=GREY, linewidth=1)
    for number, one in enumerate(curves):
        look: dict[str, Any] = {"color": _COLOURS[number % len(_COLOURS)], "linewidth": 1.8}
        look["linestyle"] = ("-", "--", ":")[number // len(_COLOURS) % 3]
        roc.plot(*one.roc, label=f"{one.class_name}, area {one.auc:.3f}", **look)
        average = f"{one.class_name}, average {one.average_precision:.3f}"
        precision.plot(*one.precision_recall, drawstyle="steps-pre", label=average, **look)
        precision.axhline(one.share, color=look["color"], linewidth=0.8, linestyle=(0, (2, 3)))
    roc.set(xlabel="share of the other images taken for it", ylabel="recall", title="ROC")
    precision.set(xlabel="recall", ylabel="precision", title="precision and recall")
    for axes, corner in ((roc, "lower right"), (precision, "lower left")):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axes.legend(fontsize=8, loc=corner, framealpha=0.8, edgecolor="none")
        axes.title.set_fontsize(10)
        _quiet(axes)
    save_figure(figure, path, title)


def class_numbers(classes: Sequence[ClassEstimates], path: Path, *, title: str = "") -> None:
    """Draw recall, precision and F1 of each class with their intervals, a column a class.

    Raises:
        FigureError: No class, or a suffix other than `.png` and `.svg`.
    """
    if not classes:
        raise FigureError(f"{path}: numbers of no class; give those of `delivered_estimates`")
    figure = Figure(figsize=(max(5.6, 1.1 * len(classes) + 2.6), 4.2), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate(("recall", "precision", "F1")):
        places = [place + 0.18 * (number - 1) for place in range(len(classes))]
        look = {"color": _COLOURS[number], "marker": _MARKERS[number], "label": name}
        _with_bars(axes, places, [getattr(one, name.lower()) for one in classes], **look)
    names = [f"{one.class_name}\n{one.n} images" for one in classes]
    axes.set_xticks(range(len(classes)), names, rotation=30 if len(classes) > 6 else 0)
    axes.set(xlim=(-0.5, len(classes) - 0.5), ylim=(-0.02, 1.02), ylabel="95 % intervals")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    _quiet(axes)
    save_figure(figure, path, title)


def finals_overview(finalists: Sequence[Standing], path: Path, *, title: str = "") -> None:
    """Draw each retraining's objective beside its mean and the objective that the search saw, a column a finalist.

    Raises:
        FigureError: No finalist, or a suffix other than `.png` and `.svg`.
    """
    if not finalists:
        raise FigureError("finals without a finalist; retrain one first")
    figure = Figure(figsize=(max(5.6, 1.1 * len(finalists) + 3.4), 4.6), layout="constrained")
    axes = figure.subplots()
    for column, row in enumerate(finalists):
        colour = ORANGE if row.is_baseline else BLUE
        if row.objectives:
            # Side by side, so that equal values stay visible.
            places = column + 0.09 * (np.arange(len(row.objectives)) - (len(row.objectives) - 1) / 2)
            axes.plot(places, row.objectives, "o", color=colour, markersize=6, alpha=0.85)
            axes.plot([column - 0.28, column + 0.28], [row.mean, row.mean], color=colour, linewidth=2.2)
            axes.annotate(f"{row.mean:.3f}", (column + 0.3, row.mean), va="center", fontsize=8, color=INK)
        if not math.isnan(row.searched):
            axes.plot(column - 0.36, row.searched, "D", color=INK, markersize=6, markerfacecolor="none")
    axes.plot([], [], "o", color=BLUE, label="retraining, fresh seed")
    axes.plot([], [], color=BLUE, linewidth=2.2, label="mean of the retrainings")
    axes.plot([], [], "D", color=INK, markerfacecolor="none", label="in the search")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_xticks(range(len(finalists)), [_finalist_name(row) for row in finalists])
    axes.set(xlim=(-0.6, len(finalists) - 0.3), ylabel=f"validation {finalists[0].ranked_by.words}")
    _quiet(axes)
    save_figure(figure, path, title)


def _finalist_name(row: Standing) -> str:
    return f"trial {row.trial}" + ("\nbaseline" if row.is_baseline else "")


def _with_bars(axes: Axes, places: Sequence[float], estimates: Sequence[Estimate], **style: Any) -> None:
    values = np.array([(one.value, one.low, one.high) for one in estimates]).reshape(-1, 3)
    below, above = values[:, 0] - values[:, 1], values[:, 2] - values[:, 0]
    look: dict[str, Any] = {"linestyle": "none", "linewidth": 1.6, "markersize": 5, "elinewidth": 1.2, "capsize": 2.5}
    axes.errorbar(places, values[:, 0], yerr=np.maximum([below, above], 0), **(look | style))


def _quiet(axes: Axes) -> None:
    axes.grid(axis="y", color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
