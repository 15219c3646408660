"""The table and the picture of a folder of records, made from these alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.search.measures import (
    Amount,
    by_way,
    cpu_to,
    epochs_to,
    expected,
    ratio,
    target_of,
    wall_to,
)
from benchmarks.search.record import Searched, machine_in_words
from benchmarks.search.ways import OURS, RANDOM, WAYS

COLOURS = ("#3d8fd1", "#e0701a", "#d9a014", "#1fa37c", "#7fbf6b", "#8c8c8c", "#c766a0")
HEAD = (
    "| way | seeds that had it | processor s | wall s | epochs | ours is faster, processor time | wall time "
    "| fewer epochs | best on validation | {last} |"
)


def table(records: Sequence[Searched]) -> str:
    """Return the tables as Markdown: the space of the course network at two targets, then the full space."""
    ways = by_way(records)
    if RANDOM not in ways or OURS not in ways:
        return "No table yet: it needs a finished search of ours and a random one, whose best is the target."
    target = target_of(ways[RANDOM])
    error = error_of(target, records)
    first = [name for name, way in WAYS.items() if name in ways and not way.is_full_space]
    full = [name for name, way in WAYS.items() if name in ways and way.is_full_space]
    parts = [
        _in_words(records, target, len(ways[RANDOM])),
        rows(first, ways, target),
        f"The same at {target - error:.4f}, a standard error of the validation images below; less of it is chance:",
        rows(first, ways, target - error),
    ]
    if full:
        parts += [
            "Another space, same data, same budget, first target: images aligned or not, and two more families.",
            rows(full, ways, target),
        ]
    return "\n\n".join(parts)


def _in_words(records: Sequence[Searched], target: float, seeds: int) -> str:
    setting = records[0].setting
    loads = [record.load_before for record in records]
    return (
        f"Target: {target:.4f} of the {setting['validation']} validation images right, the median of the best that "
        f"random search reports with its whole budget (seeds: {seeds}). {setting['train']} training images, "
        f"{setting['trials']} trials of at most {setting['max_epochs']} epochs, {setting['workers']} workers. Machine: "
        f"{machine_in_words(records)}; load before each search {min(loads):.1f} to {max(loads):.1f}."
    )


def error_of(target: float, records: Sequence[Searched]) -> float:
    """Return a standard error of the validation images at an accuracy."""
    return math.sqrt(target * (1 - target) / records[0].setting["validation"])


def short(records: Sequence[Searched]) -> str:
    """Return the table of all ways in a few columns, for a front page."""
    ways = by_way(records)
    target = target_of(ways[RANDOM])
    lower = target - error_of(target, records)
    head = f"| way | best on validation | delivered, on {records[0].setting['test']} unseen images |"
    for one in (target, lower):
        head += f" processor s until {one:.4f} | ours is faster |"
    lines = [head, "|" + "---|" * (head.count("|") - 1)]
    for name, way in WAYS.items():
        if of := ways.get(name):
            cells = [way.title, _mean([one.best for one in of]), _mean([one.winner.test_accuracy for one in of])]
            for one in (target, lower):
                cells += [_amount(of, one, cpu_to), _against_ours(name, ways, one, cpu_to)]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def rows(
    names: Sequence[str], ways: Mapping[str, list[Searched]], target: float, *, last_column: str = "winner on test"
) -> str:
    """Return the table of some ways as Markdown; the last column is what their winners are worth."""
    lines = [HEAD.format(last=last_column), "|" + "---|" * (HEAD.count("|") - 1)]
    return "\n".join([*lines, *(_row(name, ways, target) for name in names)])


def _row(name: str, ways: Mapping[str, list[Searched]], target: float) -> str:
    records = ways[name]
    had = sum(epochs_to(record, target)[1] for record in records)
    cells = [WAYS[name].title, f"{had} of {len(records)}"]
    cells += [_amount(records, target, amount) for amount in (cpu_to, wall_to, epochs_to)]
    for amount in (cpu_to, wall_to, epochs_to):
        cells.append(_against_ours(name, ways, target, amount))
    cells.append(_mean([record.best for record in records]))
    cells.append(_mean([record.winner.test_accuracy for record in records]))
    return f"| {' | '.join(cells)} |"


def _amount(records: Sequence[Searched], target: float, amount: Amount) -> str:
    value, is_known = expected(records, target, amount)
    return f"{'' if is_known else '> '}{value:.0f}"


def _against_ours(name: str, ways: Mapping[str, list[Searched]], target: float, amount: Amount) -> str:
    if name == OURS or WAYS[name].is_full_space:
        return ""
    found = ratio(ways[OURS], ways[name], target, amount)
    if found is None:
        return "ours never had it"
    shown = f"{'> ' if found.is_bound else ''}{found.value:.2f}x"
    if found.low is None:
        return shown
    return f"{shown} ({found.low:.2f}..{'' if found.high is None else f'{found.high:.2f}'})"


def _mean(values: Sequence[float]) -> str:
    spread = f" ({min(values):.3f}..{max(values):.3f})" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def draw(records: Sequence[Searched], path: Path) -> None:
    """Draw the best accuracy so far against processor time: the mean over seeds, and each seed as a thin line."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot, ticker

    ways = by_way(records)
    figure, axes = pyplot.subplots(figsize=(10, 4.4), layout="constrained")
    for colour, (name, way) in zip(COLOURS, WAYS.items(), strict=True):
        if name not in ways:
            continue
        grid, curves = _curves(ways[name])
        dashes = "--" if way.is_full_space else ":" if name == RANDOM else "-"
        for curve in curves:
            axes.step(grid, curve, where="post", color=colour, alpha=0.25, linewidth=0.8)
        axes.step(grid, np.mean(curves, axis=0), dashes, where="post", color=colour, linewidth=2, label=way.title)
    if RANDOM in ways:
        axes.axhline(target_of(ways[RANDOM]), color="black", linewidth=0.8, linestyle=(0, (1, 2)), label="target")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("processor seconds of all processes")
    axes.set_ylabel("best validation accuracy so far")
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.0, 1.0), frameon=False)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def _curves(records: Sequence[Searched]) -> tuple[np.ndarray, np.ndarray]:
    """Return common moments from the first report on, and the best so far of each seed at them; 0 before its first."""
    grid = np.unique([epoch.cpu_s for record in records for epoch in record.epochs])
    curves = []
    for record in records:
        at = np.array([epoch.cpu_s for epoch in record.epochs])
        best = np.maximum.accumulate([epoch.validation_accuracy for epoch in record.epochs])
        so_far = np.searchsorted(at, grid, side="right")
        curves.append(np.where(so_far > 0, best[np.maximum(so_far - 1, 0)], 0.0))
    begin = max(record.epochs[0].cpu_s for record in records)
    return grid[grid >= begin], np.array(curves)[:, grid >= begin]
