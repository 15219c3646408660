"""The sections of `report.html` on the finals: who won, how the delivered model does, and images to look at."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from results.final_evaluation import (
    VALIDATION_PREDICTIONS,
    Role,
    Tested,
    detections,
    is_delivered,
    recall_against_physics,
)
from results.finals import standings
from results.log.state import RunState
from results.report.example_images import EXAMPLES, ExampleImages, png_uri, read_examples
from results.report.final_report import configuration_sentences, finals_sentences
from results.report.markup import Page, bullets, details, paragraph, table, text
from results.report.plots import recall, reliability, retrainings
from results.stats.metrics import ClassificationMetrics


def add_finals(page: Page, run: Path, state: RunState, tested: Sequence[Tested]) -> None:
    """Add what the finals found, as far as there were any.

    Raises:
        RecordError: Stored predictions or images are damaged.
    """
    if not state.decisions:
        if sentences := finals_sentences(state, tested):  # they go on, or decided nothing
            page.section("finals", "Finals", bullets(sentences))
        return
    page.section(
        "finals", "Finals", *_standings(page, state), bullets(configuration_sentences(tested)) if tested else ""
    )
    for one in tested:
        page.section(f"model-{one.role}", _heading(one), *_model(page, one))
    if tested:
        page.section("detection", "Signals at a fixed false-alarm rate", *_detection(run, state, tested[0]))
        page.section("recall", "Recall against physics", *_recall(page, tested[0]))
    if is_delivered(run, state, state.decisions[-1]) and (examples := read_examples(run / EXAMPLES)) is not None:
        page.section("images", "Test images", *_images(examples))


def confusion_table(metrics: ClassificationMetrics) -> str:
    """Return the confusion matrix as a table whose cells are the darker the larger their share of the true class."""
    heads = "".join(f'<th scope="col">{text(name)}</th>' for name in metrics.class_names)
    rows = []
    for name, row in zip(metrics.class_names, metrics.confusion, strict=True):
        cells = "".join(
            f'<td style="--share:{round(100 * n / max(1, sum(row)))}%" title="{n / max(1, sum(row)):.0%} of the images '
            f'of {text(name)}">{n}</td>'
            for n in row
        )
        rows.append(f'<tr><th scope="row">{text(name)}</th>{cells}</tr>')
    return (
        '<div class="wide" role="region" tabindex="0" aria-label="Confusion matrix"><table class="confusion">'
        "<caption>Confusion matrix, in images: rows are true classes, columns predicted ones</caption>"
        f'<thead><tr><th scope="col">true \\ predicted</th>{heads}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _standings(page: Page, state: RunState) -> list[str]:
    decision = state.decisions[-1]
    stand = standings(state, decision.finalists, decision.seeds)
    rows = []
    for s in stand:
        over = f"{s.over_seeds:.4f}"
        objectives = ", ".join(f"{value:.4f}" for value in s.objectives)
        name = f"trial {s.trial}{' (baseline)' if s.is_baseline else ''}"
        searched = "-" if math.isnan(s.searched) else f"{s.searched:.4f}"
        optimism = "-" if math.isnan(s.optimism) else f"{s.optimism:+.4f}"
        rows.append([name, searched, objectives, over, optimism, "; ".join(s.lost)])
    heads = ["finalist", "in the search", "retrainings", "mean (95 % interval)", "optimism", "lost"]
    caption = "Objective of every retraining from a fresh seed, its mean, and what the search had seen"
    return [
        paragraph(
            "Every finalist was retrained from fresh seeds; the best mean validation accuracy wins. Optimism is what "
            "the search had promised beyond it: the price of having picked the best of many."
        ),
        table("Finalists, the best first", heads, rows),
        page.figure("plot-finals", caption, *retrainings(stand), "small") if any(s.objectives for s in stand) else "",
    ]


def _heading(one: Tested) -> str:
    who = "The delivered model" if one.role == Role.WINNER else "The baseline's model"
    return f"{who}: trial {one.trial}, retraining {one.delivered}"


def _model(page: Page, one: Tested) -> list[str]:
    numbers = one.numbers
    error = numbers.calibration
    rows = [
        [c.class_name, c.n, f"{c.precision:.3f}", f"{c.recall:.3f}", f"{c.f1:.3f}", f"{c.auc:.3f}"]
        for c in numbers.classes
    ]
    heads = ["class", "images", "precision", "recall", "F1", "AUC, one against the rest"]
    bins = [[f"{b.confidence:.3f}", b.n, f"{b.accuracy:.3f}"] for b in error.bins]
    caption = (
        f"Reliability diagram: accuracy against confidence. Expected calibration error {error.corrected:.3f}, "
        f"corrected for its bias; {error.plain:.3f} as summed up"
    )
    return [
        paragraph(
            f"Accuracy {numbers.accuracy:.4f}, macro F1 {numbers.macro_f1:.3f}, macro AUC "
            f"{numbers.macro_auc:.3f}, cross-entropy {one.metrics.loss:.3f}; {numbers.n} images, 95 % intervals."
        ),
        '<div class="pair"><div>',
        confusion_table(one.metrics),
        "</div><div>",
        page.figure(f"plot-reliability-{one.role}", caption, *reliability(error)),
        details("The bins as a table", table("Reliability", ["mean confidence", "images", "accuracy"], bins)),
        "</div></div>",
        table("Numbers of each class, with 95 % intervals", heads, rows),
    ]


def _detection(run: Path, state: RunState, winner: Tested) -> list[str]:
    if not (run / VALIDATION_PREDICTIONS).is_file():  # the model is being handed on at this moment
        return []
    rows = detections(run, state, winner.of_delivered)
    found = [row.detection for row in rows if row.detection is not None]
    notes = [paragraph(f"{row.why_not}.") for row in rows if row.detection is None]
    if not found:
        return notes
    heads = ["wanted rate", "threshold", "false alarms", "all signals", *(c.class_name for c in found[0].classes)]
    cells = [
        [f"{d.threshold.rate:g}", d.threshold.score, f"{d.false_alarms:.3f}", f"{d.recall:.3f}"]
        + [f"{c.recall:.3f}" for c in d.classes]
        for d in found
    ]
    words = (
        "An image is called a signal if 1 - p(noise) lies above a threshold that the noise images of the validation "
        "split set; the shares are those of the test split, with 95 % intervals."
    )
    return [paragraph(words), table("What is found at a fixed false-alarm rate", heads, cells), *notes]


def _recall(page: Page, winner: Tested) -> list[str]:
    parts, names = [], winner.of_delivered.class_names
    for place, (name, curves) in enumerate(recall_against_physics(winner.of_delivered).items()):
        of_class, of_signal = (
            page.figure(
                f"plot-recall-{place}-{kind}",
                f"{words} against |{name}|",
                *recall(curves, name, names, of_class=kind == "class"),
            )
            for kind, words in (("class", "Share predicted as its class"), ("signal", "Share predicted as any signal"))
        )
        rows = [
            [curve.class_name, f"{b.low:.4g}..{b.high:.4g}", b.n, f"{b.recall:.3f}", f"{b.detected:.3f}"]
            for curve in curves
            for b in curve.bins
        ]
        heads = ["class", f"|{name}|", "images", "as its class", "as any signal"]
        as_table = details(f"Recall against |{name}| as a table", table("Shares with 95 % intervals", heads, rows))
        parts.append(f'<div class="pair">{of_class}{of_signal}</div>{as_table}')
    return parts


def _images(examples: ExampleImages) -> list[str]:
    def gallery(chosen: bool) -> str:
        return "".join(_picture(examples, i) for i in range(len(examples.index)) if examples.correct[i] == chosen)

    wrong, right = gallery(False), gallery(True)
    note = "Time goes down, frequency to the right."
    return [
        f"<h3>The worst errors: wrong with the highest probability</h3>{paragraph(note)}" if wrong else "",
        f'<div class="gallery">{wrong}</div>' if wrong else "",
        f'<h3>One image of each class that was right</h3><div class="gallery">{right}</div>' if right else "",
    ]


def _picture(examples: ExampleImages, i: int) -> str:
    names, y_prob = examples.class_names, examples.y_prob[i]
    truth, said = names[int(examples.y_true[i])], names[int(y_prob.argmax())]
    words = f"test image {int(examples.index[i])}: {truth}" + ("" if truth == said else f", taken for {said}")
    caption = f"{text(words)} (p = {float(y_prob.max()):.3f})"
    return (
        f'<figure class="picture"><img src="{png_uri(examples.images[i])}" alt="{text(words)}">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
