"""The interactive pictures of the finals, as traces and layouts of Plotly."""

from __future__ import annotations

from collections.abc import Sequence

from results.finals import Standing
from results.log.records import Status
from results.report.markup import text
from results.report.plots import BASELINE, STYLE, Layout, Trace
from results.stats.calibration import CalibrationError
from results.stats.intervals import Estimate
from results.stats.physics_recall import RecallCurve

_COLOURS = ("#3d8fd1", "#e0701a", "#1fa37c", "#c766a0", "#d9a014")
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
_INK = "#8c8c8c"


def retrainings(stand: Sequence[Standing]) -> tuple[list[Trace], Layout]:
    """Return each retraining's objective, the mean and what the search saw, a column a finalist."""
    names = [f"trial {s.trial}{' (baseline)' if s.is_baseline else ''}" for s in stand]
    each = [(name, s, value) for name, s in zip(names, stand, strict=True) for value in s.objectives]
    colours = [BASELINE if s.is_baseline else STYLE[Status.COMPLETED][0] for _, s, _ in each]
    hover = "%{x}<br>%{y:.4f}<extra>%{fullData.name}</extra>"
    points = {"type": "scatter", "mode": "markers", "hovertemplate": hover}
    traces: list[Trace] = [
        points | {"name": "retraining, fresh seed", "x": [e[0] for e in each], "y": [e[2] for e in each]}
        | {"marker": {"color": colours, "size": 9, "opacity": 0.8}},
        points | {"name": "mean of them", "x": names, "y": [s.mean for s in stand]}
        | {"marker": {"symbol": "line-ew-open", "size": 34, "color": _INK, "line": {"width": 3}}},
        points | {"name": "in the search", "x": names, "y": [s.searched for s in stand]}
        | {"marker": {"symbol": "diamond-open", "size": 10, "color": _INK}},
    ]  # fmt: skip
    return traces, {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": "validation accuracy"}}, "height": 340}


def reliability(calibration: CalibrationError) -> tuple[list[Trace], Layout]:
    """Return accuracy against confidence with its intervals, and the diagonal of a well calibrated network."""
    bins = calibration.bins
    start = min(min(b.confidence, b.accuracy.low) for b in bins)
    line = {"dash": "dash", "color": _INK, "width": 1}
    traces: list[Trace] = [
        {"type": "scatter", "mode": "lines", "name": "as often right as it says", "hoverinfo": "skip"}
        | {"x": [start, 1], "y": [start, 1], "line": line},
        _with_bars("found", [b.confidence for b in bins], [b.accuracy for b in bins], [b.n for b in bins], 0),
    ]
    layout = {
        "xaxis": {"title": {"text": "confidence (largest probability)"}},
        "yaxis": {"title": {"text": "accuracy"}},
    }
    return traces, layout | {"height": 340, "showlegend": False}


def recall(
    curves: Sequence[RecallCurve], quantity: str, class_names: Sequence[str], *, of_class: bool
) -> tuple[list[Trace], Layout]:
    """Return the share of each class found as itself, or with `of_class` false as any signal, at each bin's median."""
    traces = [
        _with_bars(
            text(curve.class_name),
            [b.median for b in curve.bins],
            [b.recall if of_class else b.detected for b in curve.bins],
            [b.n for b in curve.bins],
            class_names.index(curve.class_name),
        )
        | {"mode": "lines+markers", "showlegend": True}
        for curve in curves
    ]
    title = "predicted as its class" if of_class else "predicted as any signal"
    y = {"title": {"text": title}, "range": [-0.03, 1.05]}
    return traces, {"xaxis": {"title": {"text": text(f"|{quantity}|")}}, "yaxis": y, "height": 340}


def _with_bars(name: str, x: Sequence[float], of: Sequence[Estimate], images: Sequence[int], number: int) -> Trace:
    colour = _COLOURS[number % len(_COLOURS)]
    bars = {"type": "data", "symmetric": False, "thickness": 1.5, "width": 3}
    bars |= {"array": [max(0.0, e.high - e.value) for e in of], "arrayminus": [max(0.0, e.value - e.low) for e in of]}
    words = [f"{e.value:.3f} ({e.low:.3f}..{e.high:.3f}), {n} images" for e, n in zip(of, images, strict=True)]
    return {
        "type": "scatter", "mode": "markers", "name": name, "x": x, "y": [e.value for e in of], "error_y": bars,
        "marker": {"color": colour, "size": 8, "symbol": _SYMBOLS[number % len(_SYMBOLS)]}, "line": {"color": colour},
        "text": words, "hovertemplate": "%{x:.4g}<br>%{text}<extra>%{fullData.name}</extra>",
    }  # fmt: skip
