"""Pictures of the final evaluation: calibration, recall against physics, and the retrainings of the finalists."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from results.errors import FigureError
from results.report.figures import BLUE, GREEN, GREY, INK, ORANGE, PALE, PURPLE, VERMILLION, save_figure
from results.stats.calibration import CalibrationError
from results.stats.intervals import Estimate
from results.stats.physics_recall import RecallCurve

_COLOURS, _MARKERS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE), "osD^v"


@dataclass(frozen=True)
class FinalistRow:
    """One retrained configuration: the objective of each retraining, and that of its trial in the search if known."""

    trial: int
    is_baseline: bool
    search_objective: float | None
    objectives: tuple[float, ...]


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
    axes.plot([start, 1], [start, 1], "--", color=GREY, linewidth=1.2, label="as often right as it says")
    _with_bars(
        axes,
        confidence,
        [one.accuracy for one in bins],
        color=BLUE,
        marker="o",
        label=f"found in a bin, {level} interval",
    )
    _quiet(axes)
    axes.set(xlim=(start, 1.02), ylim=(start, 1.02), ylabel="accuracy")
    axes.set_title(
        f"expected calibration error {error.value:.3f} ({level} {error.low:.3f} to {error.high:.3f})\n"
        f"corrected for its bias; {calibration.plain:.3f} as summed up",
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


def finals_overview(
    finalists: Sequence[FinalistRow], path: Path, *, objective: str = "validation accuracy", title: str = ""
) -> None:
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
            mean = float(np.mean(row.objectives))
            axes.plot([column - 0.28, column + 0.28], [mean, mean], color=colour, linewidth=2.2)
            axes.annotate(f"{mean:.3f}", (column + 0.3, mean), va="center", fontsize=8, color=INK)
        if row.search_objective is not None:
            axes.plot(column - 0.36, row.search_objective, "D", color=INK, markersize=6, markerfacecolor="none")
    axes.plot([], [], "o", color=BLUE, label="retraining, fresh seed")
    axes.plot([], [], color=BLUE, linewidth=2.2, label="mean of the retrainings")
    axes.plot([], [], "D", color=INK, markerfacecolor="none", label="in the search")
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0))
    axes.set_xticks(range(len(finalists)), [_finalist_name(row) for row in finalists])
    axes.set(xlim=(-0.6, len(finalists) - 0.3), ylabel=objective)
    _quiet(axes)
    save_figure(figure, path, title)


def _finalist_name(row: FinalistRow) -> str:
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
