"""What the finals found, in words: sentences for the terminal, sections and pictures for the report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from results.files import write_atomically
from results.final_evaluation import (
    DetectionRow,
    Role,
    Tested,
    bootstrap_difference,
    compare_configurations,
    compare_delivered,
    detections,
    recall_against_physics,
    recall_csv,
)
from results.finals import Standing, baseline_of, is_stale, standings
from results.log.records import Status
from results.log.state import RunState
from results.stats.bootstrap import ClassEstimates
from results.stats.intervals import LEVEL_P
from results.stats.metrics import confusion_markdown, markdown_table, write_confusion_csv

RECALL_TABLE = "final/recall.csv"


def finals_sentences(state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Return who won the finals and what the test split said, in a few sentences."""
    if not state.decisions:
        return [*_without_decision(state), *uses_sentences(state)]
    decision = state.decisions[-1]
    stand = standings(state, decision.finalists, decision.seeds)
    winner = next(s for s in stand if s.trial == decision.winner)
    lines = [
        f"Winner of the finals: trial {winner.trial}{' (the baseline)' if winner.is_baseline else ''}, mean validation "
        f"accuracy {winner.mean:.4f} over {_retrainings(len(winner.objectives))}; the search had shown "
        f"{winner.searched:.4f}."
    ]
    first = max(stand, key=lambda s: -math.inf if math.isnan(s.searched) else s.searched)
    if first.objectives:
        lines.append(
            f"Optimism of the search: its best, trial {first.trial}, had shown {first.searched:.4f} and came to "
            f"{first.mean:.4f} in the mean of its retrainings ({first.optimism:+.4f})."
        )
    for one in tested:
        m = one.metrics
        model = "The delivered model" if one.role == Role.WINNER else "The baseline's best retraining"
        lines.append(
            f"{model} (trial {one.trial}, retraining {one.delivered}) on new images: test accuracy {m.accuracy:.4f}, "
            f"95 % interval {m.accuracy_low:.4f}..{m.accuracy_high:.4f} ({m.n} images)."
        )
    return [*lines, *_compared_models(tested), *configuration_sentences(tested), *caveats(state, tested)]


def finals_markdown(run: Path, state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Return the sections of the report on the finals, and write their pictures and tables into `final/`.

    Raises:
        RecordError: Stored predictions are missing or damaged.
    """
    from results.report.figures import FinalistRow, finals_overview

    if not state.decisions:
        return []
    decision = state.decisions[-1]
    stand = standings(state, decision.finalists, decision.seeds)
    picture = Path("final") / "finals.png"
    (run / "final").mkdir(exist_ok=True)
    rows = [FinalistRow(s.trial, s.is_baseline, _known(s.searched), s.objectives) for s in stand]
    finals_overview(rows, run / picture)
    lines = ["## Finals", "", *_standings_markdown(stand), "", f"![Retrainings of the finalists]({picture})", ""]
    for one in tested:
        lines += _tested_markdown(run, one)
    if tested:
        lines += [*_pair_markdown(tested), "## Configurations over retrainings", ""]
        lines += [*(f"* {line}" for line in configuration_sentences(tested)), ""]
        lines += _detection_markdown(detections(run, state, tested[0].of_delivered))
        lines += _physics_markdown(run, tested[0])
    return lines


def numbers_markdown(one: Tested) -> list[str]:
    """Return every number of the delivered model with its interval, as Markdown."""
    numbers, error = one.numbers, one.numbers.calibration
    heads = ["class", "images", "precision", "recall", "F1", "AUC, one against the rest"]
    return [
        f"Accuracy {numbers.accuracy:.3f}, macro F1 {numbers.macro_f1:.3f}, macro AUC "
        f"{numbers.macro_auc:.3f}, cross-entropy {one.metrics.loss:.3f}, calibration error "
        f"{error.corrected:.3f}, {numbers.n} images; 95 % intervals in brackets.",
        "",
        *markdown_table(heads, [_class_row(each) for each in numbers.classes]),
    ]


def configuration_sentences(tested: Sequence[Tested]) -> list[str]:
    """Say what the configurations give when they are trained again, seeds and images both left to chance."""
    lines = []
    for one in tested:
        over = one.over_retrainings
        if over is not None:
            lines.append(
                f"The configuration of the {one.role} (trial {one.trial}), trained again: test accuracy "
                f"{over.accuracy:.4f} over {over.n_seeds} seeds and {over.n_images} images together; "
                f"deviation between seeds beyond the chance of the images {over.seed_deviation:.4f}."
            )
    difference = compare_configurations(tested)
    if difference is not None:
        shown = "better" if difference.low > 0 else "worse" if difference.high < 0 else "not told from it"
        lines.append(
            f"Configuration of the winner minus that of the baseline: {difference.value:+.4f}, 95 % interval "
            f"{difference.low:+.4f}..{difference.high:+.4f}: {shown}."
        )
    return lines


def caveats(state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Say what a reader must know before believing the figures: stale finals, earlier uses, nothing to compare."""
    decision, lines = state.decisions[-1], []
    if is_stale(state):
        lines.append(
            f"These finals are stale: they were decided after {decision.search_trials} trials, there are more now; "
            "`seti-tune finals RUN` decides anew, as a further use of the test split."
        )
    if tested and decision.winner == baseline_of(state, decision):
        lines.append("No finalist is better than the baseline, so there is nothing to compare it with.")
    lost = [s for s in standings(state, decision.finalists, decision.seeds) if s.lost]
    lines += [
        f"Trial {s.trial}: {len(s.lost)} of {_retrainings(decision.seeds)} did not complete ({'; '.join(s.lost)})."
        for s in lost
    ]
    return [*lines, *uses_sentences(state)] if tested else lines


def uses_sentences(state: RunState) -> list[str]:
    """Count the uses of the test split: decisions of this run, unlocked ones, and those of others before."""
    counts = {
        "by finals of this run": len(state.decisions) + state.was_tested_before,
        "unlocked for a model of this run": len(state.unlocks),
        "by others before": state.decisions[-1].earlier_uses if state.decisions else 0,
    }
    used = sum(counts.values())
    if used < 2:
        return ["The test split has been used once."] * used
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return [f"The test split has been used {used} times ({words}): every use makes it less of a test."]


def _without_decision(state: RunState) -> list[str]:
    """Say what became of retrainings that decided nothing."""
    ended = [t.ended for t in state.final_trials() if t.ended]
    if not ended:
        return []
    lost = [end for end in ended if end.status != Status.COMPLETED]
    if len(lost) == len(ended) == len(state.final_trials()):
        return [f"The finals decided nothing: {_retrainings(len(lost))} lost, the first one: {lost[0].reason}"]
    if state.was_tested_before:
        return [
            "The finals are those of an earlier version, one retraining each; `seti-tune finals RUN` does them now."
        ]
    return [f"The finals are not over: {len(ended)} of {len(state.final_trials())} begun retrainings ended."]


def _compared_models(tested: Sequence[Tested]) -> list[str]:
    difference = compare_delivered(tested)
    if difference is None:
        return []
    # A difference is called one only where both the interval and the exact test say so.
    if difference.p_value < LEVEL_P and difference.low > 0:
        verdict = "the delivered model is better."
    elif difference.p_value < LEVEL_P and difference.high < 0:
        verdict = "the baseline's is better."
    else:
        verdict = f"{difference.n} test images do not show a difference."
    return [
        f"Delivered model minus the baseline's on the same test images: {difference.difference:+.4f}, 95 % interval "
        f"{difference.low:+.4f}..{difference.high:+.4f}, McNemar p = {difference.p_value:.3g}: {verdict}"
    ]


def _standings_markdown(stand: Sequence[Standing]) -> list[str]:
    heads = ["place", "trial", "in the search", "retrainings", "mean (95 % interval)", "optimism", "lost"]
    rows = []
    for place, s in enumerate(stand, start=1):
        rows.append(
            [
                str(place),
                f"{s.trial}{' (baseline)' if s.is_baseline else ''}",
                _number(s.searched),
                ", ".join(f"{value:.4f}" for value in s.objectives),
                f"{s.over_seeds:.4f}",
                "-" if math.isnan(s.optimism) else f"{s.optimism:+.4f}",
                "; ".join(s.lost) or "-",
            ]
        )
    return [
        "Every finalist was retrained from fresh seeds. The first place has the best mean validation objective; what "
        "the search saw of it beyond that mean is the price of having picked the best of many. The interval is that "
        "of the mean over seeds (Student's t), on the same validation images.",
        "",
        *markdown_table(heads, rows),
    ]


def _tested_markdown(run: Path, one: Tested) -> list[str]:
    from results.report.figures import confusion_matrix, reliability_diagram

    metrics, final = one.metrics, Path("final")
    write_confusion_csv(metrics, run / final / f"confusion_matrix_{one.role}.csv")
    matrix, diagram = (final / f"{name}_{one.role}.png" for name in ("confusion_matrix", "reliability"))
    confusion_matrix(metrics, run / matrix)
    reliability_diagram(one.numbers.calibration, run / diagram)
    heading = "The delivered model on new images" if one.role == Role.WINNER else "The baseline's best retraining"
    return [
        f"## {heading}: trial {one.trial}, retraining {one.delivered}",
        "",
        *numbers_markdown(one),
        "",
        *confusion_markdown(metrics),
        "",
        f"![Confusion matrix of the {one.role}]({matrix})",
        f"![Reliability diagram of the {one.role}]({diagram})",
        "",
    ]


def _pair_markdown(tested: Sequence[Tested]) -> list[str]:
    bootstrap = bootstrap_difference(tested)
    if bootstrap is None:
        return []
    drawn = [
        f"{name} {e.value:+.4f} ({e.low:+.4f}..{e.high:+.4f})"
        for name, e in (("accuracy", bootstrap.accuracy), ("macro F1", bootstrap.macro_f1))
    ]
    heading = "## The delivered model against the baseline's on the same images"
    return [heading, "", *(f"* {s}" for s in _compared_models(tested)), f"* By bootstrap: {', '.join(drawn)}.", ""]


def _class_row(each: ClassEstimates) -> list[str]:
    return [each.class_name, str(each.n), *(f"{e:.3f}" for e in (each.precision, each.recall, each.f1, each.auc))]


def _detection_markdown(rows: Sequence[DetectionRow]) -> list[str]:
    if not rows:
        return []
    lines = [
        "## Finding signals at a fixed false-alarm rate",
        "",
        "An image is called a signal if 1 - p(noise) lies above a threshold that the noise images of the validation "
        "split set; the shares are those of the test split, with 95 % intervals.",
        "",
    ]
    found = [row.detection for row in rows if row.detection is not None]
    if found:
        names = [each.class_name for each in found[0].classes]
        heads = ["wanted rate", "threshold", "noise images (needed for ±20 %)", "false alarms", "all signals", *names]
        table = [
            [
                f"{d.threshold.rate:g}",
                f"{d.threshold.score:.4f}",
                f"{d.threshold.n_noise} ({d.threshold.needed.precise})",
                f"{d.false_alarms:.3f}",
                f"{d.recall:.3f}",
                *(f"{each.recall:.3f}" for each in d.classes),
            ]
            for d in found
        ]
        lines += [*markdown_table(heads, table), ""]
    return lines + [line for row in rows if row.detection is None for line in (f"{row.why_not}.", "")]


def _physics_markdown(run: Path, winner: Tested) -> list[str]:
    from results.report.figures import recall_curves

    lines, found = [], recall_against_physics(winner.of_delivered)
    if found:
        write_atomically(run / RECALL_TABLE, recall_csv(found))
        lines += [f"Bins of about equally many images with 95 % intervals; the numbers are in `{RECALL_TABLE}`.", ""]
    for name, curves in found.items():
        picture = Path("final") / f"recall_{_file_name(name)}.png"
        recall_curves(curves, run / picture, quantity=f"|{name}|")
        lines += [f"![Recall of the delivered model against {name}]({picture})", ""]
    return ["## Recall against the physics of the signals", "", *lines] if lines else []


def _file_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in text)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def _number(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.4f}"


def _retrainings(n: int) -> str:
    return "one retraining" if n == 1 else f"{n} retrainings"
