"""The picture of `data confusion`: the chance of another source against the size of a cut-out, a curve a survey."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from results.report.figures import BLUE, GREEN, GREY, ORANGE, PURPLE, save_figure
from results.stats.source_confusion import Survey, chance_of_another

_STYLES = ((BLUE, "-"), (ORANGE, "--"), (GREEN, "-."), (PURPLE, ":"))
_SIDES = (0.1, 100.0)  # arcminutes
_TICKS = (0.1, 0.3, 1, 3, 10, 30, 100)  # written out: a formatter of powers writes mathematics


def confusion_figure(surveys: Mapping[str, Survey], size_arcmin: float, path: Path) -> None:
    """Draw `chance_of_another` for each survey, and mark one size.

    Args:
        surveys: By the names that a user types.
        size_arcmin: Side of the square that is marked.
        path: The picture, `.png` or `.svg`.

    Raises:
        FigureError: Another suffix.
    """
    sides = np.geomspace(min(_SIDES[0], size_arcmin), max(_SIDES[1], size_arcmin), 300)
    figure = Figure(figsize=(7.5, 4.6), layout="constrained")
    axes = figure.subplots()
    for (colour, line), survey in zip(_STYLES, surveys.values(), strict=False):
        chances = [chance_of_another(survey, float(side)) for side in sides]
        label = f"{survey.title}: {survey.per_deg2:,.0f} per square degree"
        axes.plot(sides, chances, line, color=colour, linewidth=2, label=label)
    axes.axvline(size_arcmin, color=GREY, linewidth=1, linestyle=(0, (2, 3)))
    axes.text(size_arcmin, 1.01, f"{size_arcmin:g}'", transform=axes.get_xaxis_transform(), fontsize=8, color=GREY)
    axes.set(xscale="log", ylim=(0, 1), xlabel="side of the cut-out (arcmin)", ylabel="chance of another source")
    axes.set_xticks(_TICKS, [f"{side:g}" for side in _TICKS])
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlim(float(sides[0]), float(sides[-1]))
    figure.legend(frameon=False, fontsize=8, loc="outside upper center", ncols=2)
    save_figure(figure, path)
