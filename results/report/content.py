"""What a report holds: its sections with all tables and figures, the same for `report.md` and `report.html`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

from results.audit import Audit, ExemptTrials
from results.findings import MIN_COMPLETED, Findings, is_current
from results.front import Cost, front, priced
from results.log.records import Status
from results.log.state import RunState, TrialState
from results.report import models, parts, plots
from results.report.sentences import answers, conclusion, headline, how_it_ended, of_finals, saved
from results.run_folder import FINAL, SEARCH_PICTURE
from results.schema import to_json
from results.tables.leaderboard import parameter_types
from results.tables.nodes import NodeUse, node_uses
from results.tables.status import duration
from results.tables.table import short_name
from results.text import one_line


def report(found: Findings) -> parts.Document:
    """Return all that a run found, as far as it has come.

    Raises:
        RecordError: Stored predictions, images or flags of right images are damaged or missing.
    """
    sections = (
        parts.Section("result", "Result", _result(found)),
        parts.Section("leaderboard", "Leaderboard", _leaderboard(found)),
        parts.Section("curves", "Learning curves", _curves(found)),
        parts.Section("difference", "What made the difference", _difference(found)),
        parts.Section("parameters", "Parameters", _parameters(found)),
        parts.Section("size", "Objective against size", _size(found.state)),
        parts.Section("stopping", "Early stopping", _stopping(found.state, found.audit)),
        parts.Section("costs", "Costs", _costs(found)),
        parts.Section("finals", "Finals", _finals(found)),
        *models.sections(found),
        parts.Section("provenance", "Provenance", _provenance(found.state)),
    )
    return parts.Document(found.title, tuple(section for section in sections if section.parts))


def _result(found: Findings) -> list[parts.Part]:
    doubts = [parts.Points([f"Warning: {doubt}." for doubt in found.state.doubts])] if found.state.doubts else []
    return [*doubts, parts.Answers(answers(found)), parts.Text(how_it_ended(found)), parts.Points(headline(found))]


def _words(found: Findings) -> str:
    return found.state.study.objective.words


def _leaderboard(found: Findings) -> list[parts.Part]:
    ranking = (
        f"Completed trials are ranked by the validation {_words(found)} at the epoch whose weights are kept; the "
        "others are listed with what they reached."
    )
    return [parts.Text(ranking), parts.Leaderboard(found.state, found.leaderboard)]


def _curves(found: Findings) -> list[parts.Part]:
    state, so_far = found.state, found.history.steps
    if not any(t.best for t in state.search_trials()):
        return [parts.Text(f"No epoch with a finite validation {_words(found)} is recorded yet.")]
    rungs = sorted({epoch for t in state.search_trials() for epoch in t.rungs})
    at = f" Dashed lines are the rungs: epoch {', '.join(map(str, rungs))}." if rungs else ""
    caption = f"Validation {_words(found)} of all trials by epoch; a marker shows where a trial ended or stands.{at}"
    curves = parts.Figure("curves", caption, partial(plots.learning_curves, state))
    steps = [
        parts.Figure(
            f"best-{by}",
            f"Best {_words(found)} of any trial so far, by {words}",
            partial(plots.best_so_far, so_far, by, _words(found)),
        )
        for by, words in (("epochs", "epochs spent"), ("hours", "wall time of the driver"))
        if so_far
    ]
    picture = parts.Picture(
        SEARCH_PICTURE, caption, lambda figures, path: figures.search_overview(state, path, title=found.title)
    )
    return [picture, curves, *([parts.Beside(steps)] if steps else [])]


def _difference(found: Findings) -> list[parts.Part]:
    if not found.contrasts:
        return []

    def reached(trial: TrialState, value: str) -> str:
        stopped = "" if trial.status == Status.COMPLETED else f", {trial.status} after epoch {max(trial.epochs)}"
        return f"{value}: {trial.value:.4f}, trial {trial.started.trial}{stopped}"

    rows: list[list[parts.Cell]] = [
        [
            one.what,
            reached(one.best, one.chosen),
            reached(one.without, one.other),
            None if one.difference is None else parts.Number(one.difference.estimate, "+.4f"),
        ]
        for one in found.contrasts
    ]
    words = (
        "The best trial with a choice and the best without it, on the same validation images. They differ in other "
        "parameters too, in preparation and family both only where no two trials differ in one of them alone. The last "
        "line keeps those of the baseline: what the other parameters alone gained. Each is the best of several trials, "
        "and the search tried some choices more often than others."
    )
    heads = ["choice", "best with it", "best without it", "difference (95 % interval)"]
    return [parts.Text(words), parts.Table("Best trials with and without a choice", heads, rows)]


def _parameters(found: Findings) -> list[parts.Part]:
    state, importance = found.state, found.importance
    reached = [t for t in state.search_trials() if t.best]
    known = [name for name in parameter_types(state) if any(name in t.parameters for t in reached)]
    if not known:
        return []
    shares = importance.shares if importance is not None else {}
    known.sort(key=lambda name: -shares.get(name, 0.0))
    told = _importance(found)
    if len(known) > 1:
        together = "Every line is a trial, every axis a parameter from its lowest to its highest value"
        told.append(parts.Figure("parallel", together, partial(plots.parallel_coordinates, state, known), "broad"))
    slices = []
    for place, name in enumerate(known):
        share = f", importance {shares[name]:.0%}" if name in shares else ""
        draw = partial(plots.slice_of, state, name)
        slices.append(parts.Figure(f"slice-{place}", f"{short_name(name)}{share}", draw))
    return [
        *told,
        parts.Beside(slices, f"Validation {_words(found)} of every trial against each parameter", are_small=True),
    ]


def _importance(found: Findings) -> list[parts.Part]:
    importance = found.importance
    if importance is None:
        return [parts.Text(f"The importance of the parameters is computed from {MIN_COMPLETED} completed trials on.")]
    shares = importance.shares
    words = (
        f"{importance.method}, from {importance.completed} completed trials: what part each parameter has in being "
        "among the best of them. It says where good values lie apart from others, not in which direction."
    )
    if shares and max(shares.values()) - min(shares.values()) < 1e-9:
        words += " All are equal: these trials show no difference between the parameters."
    if not is_current(importance, found.state):
        words += " More trials were completed since; `seti-tune report` brings it up to date."
    rows: list[list[parts.Cell]] = [[short_name(name), parts.Share(share)] for name, share in shares.items()]
    return [parts.Text(words), parts.Table("Importance of the parameters", ["parameter", "importance"], rows)]


def _size(state: RunState) -> list[parts.Part]:
    found = {by: priced(state, by) for by in Cost}
    shown = {by: trials for by, trials in found.items() if len({one.cost for one in trials}) > 1}
    if not shown:
        return []
    words = state.study.objective.words
    figures = [
        parts.Figure(f"size-{place}", f"Validation {words} against {by}", partial(plots.objective_against, trials, by))
        for place, (by, trials) in enumerate(shown.items())
    ]
    rows: list[list[parts.Cell]] = [
        [by, f"trial {one.trial.started.trial}", f"{one.cost:.6g}", parts.Number(one.trial.value, ".4f")]
        for by, trials in shown.items()
        for one in front(trials)
    ]
    told = (
        "The front: completed trials that no other reaches with a network as small, or as quick. The search looks for "
        f"{words} alone, and each is the best of few, so a step of the front may be chance."
    )
    table = parts.Table("The front", ["against", "trial", "costs", words], rows)
    return [parts.Text(told), parts.Beside(figures), table]


def _stopping(state: RunState, found: Audit) -> list[parts.Part]:
    if not found.rungs:
        return []
    rows: list[list[parts.Cell]] = [
        [f"epoch {rung.epoch}", rung.completed, _correlation(rung.correlation), *_exempt(rung.exempt)]
        for rung in found.rungs
    ]
    if len(found.rungs) > 1:
        rows.append(["any", None, None, *_exempt(found.any_rung)])
    heads = ["rung", "completed", "correlation", "exempt", "below the cutoff", "best third of the exempt"]
    seen = any(rung.completed for rung in found.rungs)
    caption = "Value of the completed trials at each rung, and what they reached in the end"
    return [
        parts.Text(f"{saved(found)} {conclusion(found)}"),
        parts.Table("Decisions at the rungs", [*heads, "of them below the cutoff"], rows),
        parts.Text(
            "Correlation: Spearman's, of the value at the rung and the objective, over completed trials; stopped ones "
            "are missing, so it says little where many were stopped. Exempt: trials that no rung may stop, whatever "
            "it decides, so nothing has selected them; the baseline is not counted. Best third: by objective, equals "
            "included."
        ),
        *([parts.Figure("rungs", caption, partial(plots.rung_values, state))] if seen else []),
    ]


def _correlation(value: float | None) -> parts.Cell:
    return None if value is None else parts.Number(value, ".2f")


def _exempt(exempt: ExemptTrials) -> list[parts.Cell]:
    top = (exempt.top, exempt.top_would_stop) if exempt.top else (None, None)
    return [exempt.exempt, exempt.would_stop, *top]


def _costs(found: Findings) -> list[parts.Part]:
    costs = found.history.costs
    total, has_gpu = sum(one.core_hours for one in costs), any(one.gpu_hours for one in costs)
    heads = ["what", "trials", "epochs"] + ["core-hours", "share"] * bool(total) + ["GPU-hours"] * has_gpu

    def row(what: str, counts: tuple[int | None, int], core: float, gpu: float, share: parts.Cell) -> list[parts.Cell]:
        return [what, *counts, *([core, share] if total else []), *([gpu] if has_gpu else [])]

    rows = [
        row(c.what, (c.trials, c.epochs), c.core_hours, c.gpu_hours, parts.Share(c.core_hours / (total or 1)))
        for c in costs
    ]
    rows.append(row("all", (None, sum(c.epochs for c in costs)), total, sum(c.gpu_hours for c in costs), None))
    how = (
        "Core-hours are the seconds of recorded epochs times the threads of a trial, without starting workers, "
        "preparing images, building networks and epochs that never ended."
        if total
        else "No epoch says how long it took."
    )
    ran = f"The drivers ran for {duration(found.state.spent_s)}."
    prepared = sum(e.prepare_seconds or 0.0 for t in found.state.trials.values() for e in t.epochs.values())
    if prepared >= 1:
        ran += f" Preparing images took {duration(prepared)}, over all workers."
    return [
        parts.Text(f"{ran} {how}"),
        parts.Table("Costs by the outcome of trials", heads, rows),
        *_nodes(found.state),
    ]


def _nodes(state: RunState) -> list[parts.Part]:
    uses = node_uses(state)
    if not uses:
        return []

    def remark(use: NodeUse) -> str:
        if use.checked is not None and not use.checked.admitted:
            return f"no trials: {one_line(use.checked.reason)}"
        return f"slow: the others train {use.others:.0f} images/s" if use.is_slow else "-"

    rows: list[list[parts.Cell]] = [
        [use.node, use.trials, use.epochs, use.images_per_s and round(use.images_per_s), remark(use)] for use in uses
    ]
    words = (
        "Images/s are the median over the epochs of a machine, whatever networks it trained; it is called slow where "
        "that is less than half of what the others do."
    )
    heads = ["machine", "trials", "epochs", "images/s", "remark"]
    return [parts.Text(words), parts.Table("What each machine did", heads, rows)]


def _finals(found: Findings) -> list[parts.Part]:
    if found.decision is None:
        sentences = of_finals(found)  # they go on, or decided nothing
        return [parts.Points(sentences)] if sentences else []
    lost = any(s.lost for s in found.standings)
    heads = ["finalist", "in the search", "retrainings", "mean (95 % interval)", "optimism", *(["lost"] * lost)]
    rows: list[list[parts.Cell]] = [
        [
            f"trial {s.trial}{' (baseline)' if s.is_baseline else ''}",
            parts.Number(s.searched, ".4f"),
            ", ".join(f"{value:.4f}" for value in s.objectives),
            parts.Number(s.over_seeds, ".4f"),
            parts.Number(s.optimism, "+.4f"),
            *(["; ".join(s.lost)] * lost),
        ]
        for s in found.standings
    ]
    words = (
        f"Every finalist was trained again from fresh seeds; the best mean validation {_words(found)} wins. Optimism "
        "is by how much it was better in the search than in that mean: the bias of choosing the best of many. The "
        "interval is that of the mean over seeds (Student's t) on the same validation images."
    )
    caption = f"Validation {_words(found)} of every retraining, its mean, and that in the search"
    return [
        parts.Text(words),
        parts.Table("Finalists, the best first", heads, rows),
        parts.Picture(
            f"{FINAL}/finals.png", caption, lambda figures, path: figures.finals_overview(found.standings, path)
        ),
        parts.Figure("finals", caption, partial(plots.retrainings, found.standings), "small"),
    ]


def _provenance(state: RunState) -> list[parts.Part]:
    if state.started is None:
        return []
    return [
        parts.Table("Where the run comes from", ["what", "value"], list(_origins(state)), are_words=True),
        parts.Source("The resolved study", to_json(state.study)),
    ]


def _origins(state: RunState) -> Iterator[tuple[str, str]]:
    """Yield what the run was made from and with; where drivers differed, each value in the order of the drivers."""
    started, drivers = state.started, state.drivers
    packages = dict.fromkeys(name for driver in drivers for name in driver.versions)
    machines = (driver.machine.items() for driver in drivers)
    rows = [
        ("started", started.time if started else ""),
        ("data set digest", started and started.data_digest),
        ("digest of the initial weights", started and started.init_digest),
        ("space fingerprint", state.space_fingerprint),
        ("commit", _in_turn(driver.commit or "not run from a checkout" for driver in drivers)),
        ("Python", _in_turn(driver.python for driver in drivers)),
        *((name, _in_turn(driver.versions.get(name) for driver in drivers)) for name in packages),
        ("machine", _in_turn(", ".join(f"{name} {value}" for name, value in machine) for machine in machines)),
        ("nodes", ", ".join(sorted({r.node for t in state.trials.values() for r in t.running.values()}))),
    ]
    yield from ((what, value) for what, value in rows if value)


def _in_turn(values: Iterable[object]) -> str:
    """Return each known value once, in the order of its first use."""
    return ", later ".join(dict.fromkeys(str(value) for value in values if value))
