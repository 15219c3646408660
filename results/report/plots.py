"""The interactive pictures of a search and its finals, as traces and layouts of Plotly.

Its library is not imported for that. Every name passes `text`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any

from results.finals import Standing
from results.front import Cost, Priced, front
from results.log.history import Step
from results.log.records import Status
from results.log.state import RunState, TrialState
from results.schema import Value
from results.stats.bootstrap import ClassEstimates
from results.stats.calibration import ReliabilityBin
from results.stats.curves import ClassCurves, Points, thinned
from results.stats.detection import RecallCurve
from results.stats.intervals import Estimate
from results.tables.table import cell_text, short_name

Trace = dict[str, Any]
Layout = dict[str, Any]
Plot = tuple[list[Trace], Layout]
# Readable on white and on black, told apart with every common colour vision; the symbols say the same again.
STYLE: Mapping[str, tuple[str, str]] = {
    Status.COMPLETED: ("#3d8fd1", "circle"),
    Status.STOPPED: ("#8c8c8c", "triangle-down"),
    Status.DIVERGED: ("#e0701a", "x"),
    Status.FAILED: ("#c766a0", "square"),
    Status.OUTSIDE: ("#c766a0", "square-open"),
    Status.RUNNING: ("#1fa37c", "diamond"),
}
BASELINE = "#d9a014"
_COLOURS = ("#3d8fd1", "#e0701a", "#1fa37c", "#c766a0", BASELINE)
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross")
_INK = "#8c8c8c"
DRAWN_LAST = (
    Status.OUTSIDE,
    Status.STOPPED,
    Status.DIVERGED,
    Status.FAILED,
    Status.RUNNING,
    Status.COMPLETED,
)  # the best on top
_BEST_SHARE, _MOST_BEST = 0.1, 20  # of the completed trials, in colour
_MANY = 200  # trials, whose lines would cover each other
_EVERY_EPOCH = 15  # a tick each up to so many
MOST_POINTS = 300  # of a curve: more than a screen shows
_DASHES = ("solid", "dash", "dot")  # where there are more curves than colours
_CHANCE = {"color": _INK, "width": 1, "dash": "dash"}
_SHORT_H = 3.0  # below it a run is told in minutes


def text(value: object) -> str:
    """Return any text as Plotly shows it, which takes some tags for markup."""
    return html.escape(str(value))


def learning_curves(state: RunState) -> Plot:
    """Return the curves of all trials of the search, those of one status as one trace with gaps, and the rungs."""
    trials = [t for t in state.search_trials() if t.epochs]
    traces: list[Trace] = []
    for status in DRAWN_LAST:
        of = [t for t in trials if t.status == status and not t.started.is_baseline]
        if of:
            traces += _curves(of, status, *STYLE[status], width=1.0 if len(trials) < _MANY else 0.5)
    baseline = [t for t in trials if t.started.is_baseline]
    if baseline:
        traces += _curves(baseline, "baseline", BASELINE, STYLE[baseline[0].status][1], width=3.0)
    rungs = sorted({epoch for t in trials for epoch in t.rungs})
    lines = [
        {"type": "line", "x0": n, "x1": n, "y0": 0, "y1": 1, "yref": "paper", "line": {"dash": "dash", "width": 1}}
        for n in rungs
    ]
    names = [
        {"x": n, "y": 1, "yref": "paper", "yanchor": "bottom", "text": f"rung {n}", "showarrow": False} for n in rungs
    ]
    layout = _axes("epoch", f"validation {state.study.objective.words}") | {
        "shapes": lines,
        "annotations": names,
        "height": 460,
    }
    if max((t.started.max_epochs for t in trials), default=0) <= _EVERY_EPOCH:
        layout["xaxis"] |= {"dtick": 1}
    layout["legend"] = {
        "orientation": "h",
        "x": 0,
        "y": 1,
        "yref": "container",
        "yanchor": "top",
    }  # above the names of the rungs
    layout["margin"] = {"l": 55, "r": 15, "t": 70, "b": 45}
    return traces, layout


def best_so_far(steps: Sequence[Step], by: str, objective: str) -> Plot:
    """Return the best value against what had been spent; `by` is a number of `Step`: epochs or hours."""
    return bests_so_far({"best so far": steps}, by, objective)


def bests_so_far(runs: Mapping[str, Sequence[Step]], by: str, objective: str) -> Plot:
    """Return the same of several runs by their names, each with a colour of its own."""
    longest = max(steps[-1].hours for steps in runs.values())
    unit, scale = ("minutes", 60.0) if by == "hours" and longest < _SHORT_H else (by, 1)
    traces = [
        {
            "type": "scatter", "mode": "lines+markers",
            "line": {"shape": "hv", "width": 2} | ({"color": STYLE[Status.COMPLETED][0]} if len(runs) == 1 else {}),
            "x": [getattr(step, by) * scale for step in steps],
            "y": [step.value for step in steps],
            "customdata": [step.trial for step in steps],
            "hovertemplate": "trial %{customdata}<br>%{y:.4f} after %{x:.4g} " + unit + f"<extra>{text(name)}</extra>",
            "name": text(name),
        }
        for name, steps in runs.items()
    ]  # fmt: skip
    return traces, _axes(
        "epochs of all trials" if by == "epochs" else f"{unit} of the driver", f"best validation {objective}"
    ) | {"showlegend": len(runs) > 1, "height": 320}


def parallel_coordinates(state: RunState, parameters: Sequence[str]) -> Plot:
    """Return a line for each trial through its scaled parameters and its objective; the best in colour."""
    trials = [t for t in state.search_trials() if t.best is not None]
    ranked = sorted((t for t in trials if t.status == Status.COMPLETED), key=attrgetter("merit"), reverse=True)
    best = ranked[: min(_MOST_BEST, math.ceil(_BEST_SHARE * len(ranked)))]
    axes = [Axis(state, name, trials) for name in parameters]
    low, high = (edge((t.value for t in trials), default=0.0) for edge in (min, max))
    groups = (
        ("not completed", [t for t in trials if t.status != Status.COMPLETED], STYLE[Status.STOPPED][0], 0.6, 0.35),
        ("completed", ranked[len(best) :], STYLE[Status.COMPLETED][0], 1.0, 0.55),
        (f"best {len(best)}", best, "#d2452f", 2.0, 1.0),
    )
    traces: list[Trace] = []
    for name, of, colour, width, opacity in groups:
        x: list[int | None] = []
        y: list[float | None] = []
        words: list[str | None] = []
        for t in of:
            x += [*range(len(axes) + 1), None]
            y += [*(axis.place(t) for axis in axes), (t.value - low) / ((high - low) or 1), None]
            who = f"trial {t.started.trial}, objective {t.value:.4f}<br>"
            words += [*(f"{who}{text(a.name)} {text(cell_text(t.parameters.get(a.name)))}" for a in axes), who, None]
        line = {"color": colour, "width": width}
        if of:
            traces.append(_lines(name, x, y, line) | {"text": words, "hoverinfo": "text", "opacity": opacity})
    ends = [(i, at, label) for i, axis in enumerate(axes) for at, label in axis.labels()]
    ends += [(len(axes), 0.0, f"{low:.3f}"), (len(axes), 1.0, f"{high:.3f}")]
    ticks = [short_name(name) for name in parameters] + ["objective"]
    layout = _axes("", "") | {"height": 420}
    layout["annotations"] = [
        {"x": i, "y": at, "text": text(label), "showarrow": False, "xanchor": "left", "xshift": 4, "font": {"size": 10}}
        for i, at, label in ends
    ]
    layout["xaxis"] |= {"tickvals": list(range(len(ticks))), "ticktext": [text(t) for t in ticks], "zeroline": False}
    layout["yaxis"] |= {"visible": False, "range": [-0.05, 1.05]}
    return traces, layout


def slice_of(state: RunState, parameter: str) -> Plot:
    """Return what every trial reached against its value of one parameter."""
    trials = [t for t in state.search_trials() if t.best is not None and parameter in t.parameters]
    axis = Axis(state, parameter, trials)
    traces: list[Trace] = []
    for status in DRAWN_LAST:
        of = [t for t in trials if t.status == status]
        if of:
            values = [t.parameters[parameter] for t in of]
            x: list[Any] = values if axis.is_number else [axis.beside(t) for t in of]
            shown = [f"trial {t.started.trial}<br>{text(cell_text(v))}" for t, v in zip(of, values, strict=True)]
            traces.append(_markers(status, x, [t.value for t in of], STYLE[status]) | {"text": shown})
            traces[-1]["hovertemplate"] = "%{text}<br>%{y:.4f}<extra>" + status + "</extra>"
    layout = _axes("", f"validation {state.study.objective.words}") | {"height": 260, "showlegend": False}
    layout["margin"] = {"l": 55, "r": 10, "t": 30, "b": 25}
    if not axis.is_number:
        layout["xaxis"] |= {
            "tickvals": list(range(len(axis.choices))),
            "ticktext": [text(cell_text(c)) for c in axis.choices],
        }
    elif axis.is_log:
        layout["xaxis"] |= {"type": "log", "dtick": "D2" if axis.high < 500 * axis.low else 1}
    return traces, layout


def rung_values(state: RunState) -> Plot:
    """Return the objective of the completed trials against what each rung saw of them."""
    done = [t for t in state.search_trials() if t.status == Status.COMPLETED and t.best is not None]
    traces = []
    for number, epoch in enumerate(sorted({epoch for t in done for epoch in t.rungs})):
        of = [t for t in done if epoch in t.rungs]
        style = _COLOURS[number % len(_COLOURS)], _SYMBOLS[number % len(_SYMBOLS)]
        trace = _markers(f"rung {epoch}", [t.rungs[epoch].value for t in of], [t.value for t in of], style)
        trace["text"] = [f"trial {t.started.trial}, {t.rungs[epoch].decision}" for t in of]
        trace["hovertemplate"] = "%{text}<br>%{x:.4f} at the rung, %{y:.4f} in the end<extra>%{fullData.name}</extra>"
        traces.append(trace)
    return traces, _axes("value at the rung", "objective in the end") | {"height": 340}


def objective_against(trials: Sequence[Priced], by: Cost) -> Plot:
    """Return what every trial reached against what its network costs, and the front that no trial lies beyond."""
    traces: list[Trace] = []
    for status in DRAWN_LAST:
        of = [one for one in trials if one.trial.status == status]
        if of:
            x, y = [one.cost for one in of], [one.trial.value for one in of]
            traces.append(_markers(status, x, y, STYLE[status]))
            traces[-1]["text"] = [f"trial {one.trial.started.trial}" for one in of]
            traces[-1]["hovertemplate"] = f"%{{text}}<br>%{{x:.4g}} {by}<br>%{{y:.4f}}<extra>{status}</extra>"
    best = front(trials)
    line = {"color": _INK, "width": 1.5, "shape": "hv"}
    ends = [one.cost for one in best], [one.trial.value for one in best]
    traces += [_lines("front", *ends, line) | {"hoverinfo": "skip"}] if len(best) > 1 else []
    words = trials[0].trial.objective.words
    layout = _axes(by, f"validation {words}") | {"height": 340}
    costs = [one.cost for one in trials]
    if min(costs) > 0 and max(costs) > 10 * min(costs):
        layout["xaxis"] |= {"type": "log"}
    return traces, layout


class Axis:
    """Where the values of a parameter lie between 0 and 1: by their logarithm or rank where the space says so."""

    def __init__(self, state: RunState, name: str, trials: Sequence[TrialState]) -> None:
        spec = state.space.get("parameters", {}).get(name, {})
        self.name = name
        values = [t.parameters[name] for t in trials if name in t.parameters]
        self.is_number = spec.get("type") in ("float", "int")
        numbers = [float(v) for v in values] if self.is_number else []
        self.low = float(spec.get("low", min(numbers, default=0.0)))
        self.high = float(spec.get("high", max(numbers, default=1.0)))
        self.is_log = bool(spec.get("log")) and self.low > 0
        self.choices: list[Value] = list(spec.get("choices", [])) or sorted(set(values), key=str)

    def place(self, trial: TrialState) -> float | None:
        """Return the place of a trial's value; None where the parameter is not active in it."""
        value = trial.parameters.get(self.name)
        if value is None:
            return None
        if not self.is_number:
            return self.choices.index(value) / max(1, len(self.choices) - 1)
        scale = math.log if self.is_log else float
        low, high, at = scale(self.low), scale(self.high), scale(float(value))
        return (at - low) / ((high - low) or 1.0)

    def beside(self, trial: TrialState) -> float:
        """Return the rank of a choice, moved a little by the trial's number, so that equal ones stay visible."""
        value = trial.parameters[self.name]
        return self.choices.index(value) + ((trial.started.trial * 0.618) % 1 - 0.5) * 0.5

    def labels(self) -> list[tuple[float, str]]:
        """Return what to write at which place."""
        if self.is_number:
            return [(0.0, f"{self.low:g}"), (1.0, f"{self.high:g}")]
        return [(rank / max(1, len(self.choices) - 1), cell_text(choice)) for rank, choice in enumerate(self.choices)]


def _curves(trials: Sequence[TrialState], name: str, colour: str, symbol: str, width: float) -> list[Trace]:
    x: list[int | None] = []
    y: list[float | None] = []
    who: list[int | None] = []
    ends = []
    for t in trials:
        epochs = sorted(t.epochs)
        x += [*epochs, None]
        y += [*(t.epochs[n].value for n in epochs), None]
        who += [*(t.started.trial for _ in epochs), None]
        seen = [n for n in epochs if math.isfinite(t.epochs[n].value)]
        ends += [(seen[-1], t.epochs[seen[-1]].value, t.started.trial)] if seen else []
    shown = {
        "customdata": who,
        "hovertemplate": f"trial %{{customdata}}, epoch %{{x}}<br>%{{y:.4f}}<extra>{name}</extra>",
    }
    line = _lines(name, x, y, {"color": colour, "width": width}) | shown | {"legendgroup": name}
    last = _markers(name, [e[0] for e in ends], [e[1] for e in ends], (colour, symbol))
    last |= shown | {"customdata": [e[2] for e in ends], "legendgroup": name, "showlegend": False}
    return [line | {"opacity": 0.75}, last]


def _lines(name: str, x: Sequence[Any], y: Sequence[Any], line: Mapping[str, Any]) -> Trace:
    return {"type": "scatter", "mode": "lines", "name": name, "x": x, "y": y, "line": line, "connectgaps": False}


def _markers(name: str, x: Sequence[Any], y: Sequence[Any], style: tuple[str, str]) -> Trace:
    marker = {"color": style[0], "symbol": style[1], "size": 6, "opacity": 0.85}
    return {"type": "scatter", "mode": "markers", "name": name, "x": x, "y": y, "marker": marker}


def _axes(x: str, y: str) -> Layout:
    return {"xaxis": {"title": {"text": x}}, "yaxis": {"title": {"text": y}}}


def retrainings(standings: Sequence[Standing]) -> Plot:
    """Return each retraining's objective, the mean and what the search saw, a column a finalist."""
    names = [f"trial {s.trial}{' (baseline)' if s.is_baseline else ''}" for s in standings]
    name = f"validation {standings[0].ranked_by.words}" if standings else ""
    each = [(name, s, value) for name, s in zip(names, standings, strict=True) for value in s.objectives]
    colours = [BASELINE if s.is_baseline else STYLE[Status.COMPLETED][0] for _, s, _ in each]
    hover = "%{x}<br>%{y:.4f}<extra>%{fullData.name}</extra>"
    points = {"type": "scatter", "mode": "markers", "hovertemplate": hover}
    traces: list[Trace] = [
        points | {"name": "retraining, fresh seed", "x": [e[0] for e in each], "y": [e[2] for e in each]}
        | {"marker": {"color": colours, "size": 9, "opacity": 0.8}},
        points | {"name": "mean of them", "x": names, "y": [s.mean for s in standings]}
        | {"marker": {"symbol": "line-ew-open", "size": 34, "color": _INK, "line": {"width": 3}}},
        points | {"name": "in the search", "x": names, "y": [s.searched for s in standings]}
        | {"marker": {"symbol": "diamond-open", "size": 10, "color": _INK}},
    ]  # fmt: skip
    return traces, {"xaxis": {"type": "category"}, "yaxis": {"title": {"text": name}}, "height": 340}


def reliability(bins: Sequence[ReliabilityBin]) -> Plot:
    """Return accuracy against confidence with its intervals, and the diagonal of a well calibrated network."""
    start = min(min(b.confidence, b.accuracy.low) for b in bins)
    line = {"dash": "dash", "color": _INK, "width": 1}
    traces: list[Trace] = [
        {"type": "scatter", "mode": "lines", "name": "perfectly calibrated", "hoverinfo": "skip"}
        | {"x": [start, 1], "y": [start, 1], "line": line},
        _with_bars("found", [b.confidence for b in bins], [b.accuracy for b in bins], [b.n for b in bins], 0),
    ]
    layout = {
        "xaxis": {"title": {"text": "confidence (largest probability)"}},
        "yaxis": {"title": {"text": "accuracy"}},
    }
    return traces, layout | {"height": 340, "showlegend": False}


def recall(quantity: str, curves: Sequence[RecallCurve], class_names: Sequence[str], *, as_signal: bool) -> Plot:
    """Return the share of each class found as itself, or with `as_signal` as any signal, at each bin's median."""
    traces = [
        _with_bars(
            text(curve.class_name),
            [b.median for b in curve.bins],
            [b.detected if as_signal else b.recall for b in curve.bins],
            [b.n for b in curve.bins],
            class_names.index(curve.class_name),
        )
        | {"mode": "lines+markers", "showlegend": True}
        for curve in curves
    ]
    title = f"predicted as {'any signal' if as_signal else 'its class'}"
    y = {"title": {"text": title}, "range": [-0.03, 1.05]}
    return traces, {"xaxis": {"title": {"text": text(f"|{quantity}|")}}, "yaxis": y, "height": 340}


def roc(curves: Sequence[ClassCurves]) -> Plot:
    """Return recall against the share of false alarms, a curve a class, and the diagonal of guessing."""
    guess = _lines("by chance", [0, 1], [0, 1], _CHANCE) | {"hoverinfo": "skip", "showlegend": False}
    hover = "recall %{y:.3f}<br>at a share of %{x:.4g} false alarms"
    traces = [guess, *(_class_curve(i, c, c.roc, f"area {c.auc:.3f}", hover) for i, c in enumerate(curves))]
    return traces, _unit_axes("share of the other images taken for it", "recall", len(curves))


def precision_recall(curves: Sequence[ClassCurves]) -> Plot:
    """Return precision against recall, a curve a class, and what guessing gives of each."""
    traces = []
    for i, c in enumerate(curves):
        line = _CHANCE | {"color": _COLOURS[i % len(_COLOURS)]}
        traces.append(_lines("by chance", [0, 1], [c.share] * 2, line) | {"hoverinfo": "skip", "showlegend": False})
    hover = "precision %{y:.3f}<br>at a recall of %{x:.3f}"
    areas = [f"average {c.average_precision:.3f}" for c in curves]
    traces += [_class_curve(i, c, c.precision_recall, areas[i], hover) for i, c in enumerate(curves)]
    for trace in traces:
        trace["line"] |= {"shape": "vh"}  # the steps that the average is the sum of
    return traces, _unit_axes("recall", "precision", len(curves))


def class_numbers(classes: Sequence[ClassEstimates]) -> Plot:
    """Return recall, precision and F1 of each class with their intervals, a column a class."""
    names = ("recall", "precision", "F1")
    traces = []
    for number, name in enumerate(names):
        of = [getattr(c, name.lower()) for c in classes]
        x = [place + 0.2 * (number - 1) for place in range(len(classes))]
        trace = _with_bars(name, x, of, [c.n for c in classes], number)
        traces.append(trace | {"hovertemplate": f"{name} %{{text}}<extra></extra>"})
    layout = _axes("", "") | {"height": 340}
    ticks = [text(c.class_name) for c in classes]
    layout["xaxis"] |= {"tickvals": list(range(len(classes))), "ticktext": ticks, "zeroline": False}
    layout["xaxis"] |= {"range": [-0.5, len(classes) - 0.5], "showgrid": False}
    layout["yaxis"] |= {"range": [-0.03, 1.05]}
    return traces, layout


def _class_curve(number: int, of: ClassCurves, points: Points, area: str, hover: str) -> Trace:
    x, y = thinned(points, MOST_POINTS)
    line = {"color": _COLOURS[number % len(_COLOURS)], "width": 2, "dash": _DASHES[number // len(_COLOURS) % 3]}
    name = f"{text(of.class_name)}, {area}"
    return _lines(name, x.tolist(), y.tolist(), line) | {
        "hovertemplate": f"{hover}<extra>{text(of.class_name)}</extra>"
    }


def _unit_axes(x: str, y: str, entries: int) -> Layout:
    """Return axes from 0 to 1, and below them, as in a narrow window too, a line of the legend for each curve."""
    room = 20 * entries
    layout = _axes(x, y) | {"height": 340 + room, "margin": {"l": 55, "r": 15, "t": 36, "b": 58 + room}}
    for name in ("xaxis", "yaxis"):
        layout[name] |= {"range": [-0.02, 1.02]}
    return layout | {"legend": {"x": 0, "y": 0, "yref": "container", "yanchor": "bottom"}}


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
