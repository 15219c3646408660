"""What a report holds of models and what they said of images: numbers, pictures, and some of the images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from results.finals import NOISE, Role, Tested
from results.findings import Findings
from results.log.records import ImagesRecord
from results.predictions import ExampleImages, Predictions, read_examples
from results.report import parts, plots
from results.report.kinds import directions
from results.report.sentences import of_configurations, of_models
from results.run_folder import BEST, EXAMPLES, FINAL, RECALL_TABLE, VALIDATION_ERRORS, best_errors_path
from results.stats.bootstrap import DeliveredEstimates
from results.stats.curves import class_curves
from results.stats.metrics import ClassificationMetrics


def sections(found: Findings) -> list[parts.Section]:
    """Return what is known of the models of a run.

    Raises:
        RecordError: Stored predictions or images are damaged or missing.
    """
    return [
        *(parts.Section(f"model-{one.role}", _model_heading(one), _model(one)) for one in found.tested),
        parts.Section("best", "The best trial on the validation images", _best(found)),
        parts.Section("comparison", "Comparison on the test images", _comparison(found)),
        parts.Section("detection", "Detection at a fixed false-alarm rate", _detection(found)),
        parts.Section("recall", "Recall against physics", _recall(found)),
        parts.Section("errors", "The surest errors on the validation images", _errors(found)),
        parts.Section("images", "Test images", _images(found)),
    ]


def numbers(one: Tested) -> tuple[parts.Text, parts.Table]:
    """Return every number of one model on the test images."""
    objective = "" if one.ranked_by.is_accuracy else f"Objective: {one.ranked_by.words} {one.objective:.3f}. "
    words = f"{objective}{_summary(one.metrics, one.numbers)}"
    return parts.Text(words), _class_table(one.numbers)


def _summary(metrics: ClassificationMetrics, of: DeliveredEstimates) -> str:
    return (
        f"Accuracy {of.accuracy:.3f}, macro F1 {of.macro_f1:.3f}, macro AUC {of.macro_auc:.3f}, cross-entropy "
        f"{metrics.loss:.3f}, calibration error {of.calibration.corrected:.3f}, {of.n} images; 95 % intervals in "
        "brackets."
    )


def _class_table(of: DeliveredEstimates) -> parts.Table:
    rows: list[list[parts.Cell]] = [
        [c.class_name, c.n, *map(parts.Number, (c.precision, c.recall, c.f1, c.auc, c.average_precision))]
        for c in of.classes
    ]
    heads = ["class", "images", "precision", "recall", "F1", "AUC, one vs rest", "average precision"]
    return parts.Table("Numbers of each class", heads, rows)


def _model_heading(one: Tested) -> str:
    who = "Delivered model" if one.role == Role.WINNER else "Baseline model"
    return f"{who}: trial {one.trial}, seed index {one.delivered}"


def _model(one: Tested) -> list[parts.Part]:
    error = one.numbers.calibration
    bins: list[list[parts.Cell]] = [[parts.Number(b.confidence), b.n, parts.Number(b.accuracy)] for b in error.bins]
    caption = (
        f"Reliability diagram: accuracy against confidence. Expected calibration error {error.corrected:.3f}, "
        f"corrected for bias; {error.plain:.3f} uncorrected"
    )
    figure = parts.Figure(f"reliability-{one.role}", caption, partial(plots.reliability, error.bins))
    words, classes = numbers(one)
    return [
        words,
        parts.Beside([parts.Confusion(one.metrics), figure]),
        parts.Picture(
            f"{FINAL}/confusion_matrix_{one.role}.png",
            f"Confusion matrix of the {one.role}",
            lambda figures, path: figures.confusion_matrix(one.metrics, path),
        ),
        parts.Picture(
            f"{FINAL}/reliability_{one.role}.png",
            caption,
            lambda figures, path: figures.reliability_diagram(error, path),
        ),
        parts.Table("Reliability", ["mean confidence", "images", "accuracy"], bins, is_folded=True),
        classes,
        *(_class_pictures(FINAL, one.role, one.of_delivered, one.numbers) if one.role == Role.WINNER else []),
    ]


def _best(found: Findings) -> list[parts.Part]:
    best = found.best
    if best is None:
        return []
    chose = "this trial among all and its best epoch" if found.state.is_search else "its best epoch"
    words = (
        f"Trial {best.trial} on the images that chose {chose}, so that every number is optimistic; no finals have "
        f"looked at others. {_summary(best.metrics, best.numbers)}"
    )
    return [
        parts.Text(words),
        parts.Confusion(best.metrics),
        _class_table(best.numbers),
        *_class_pictures(BEST, "best", best.predictions, best.numbers),
    ]


def _class_pictures(folder: str, name: str, said: Predictions, of: DeliveredEstimates) -> list[parts.Part]:
    """Return the pictures of the curves and the numbers of each class."""
    curves = class_curves(said.y_true, said.y_prob, said.class_names, numbers=of, background=NOISE)
    against = f"{curves[0].class_name} against the rest" if len(curves) == 1 else "each class against the rest"
    of_roc = f"{against}, with the area and its 95 % interval; dashed: by chance"
    of_precision = f"{against}, with the average precision, the area below; dashed: by chance"
    of_classes = "Recall, precision and F1 of each class with their 95 % intervals"
    drawn: list[parts.Part] = [
        parts.Picture(
            f"{folder}/classes_{name}.png", of_classes, lambda figures, path: figures.class_numbers(of.classes, path)
        ),
        parts.Figure(f"classes-{name}", of_classes, partial(plots.class_numbers, of.classes), "small"),
    ]
    if not curves:
        return drawn
    both = f"ROC and precision-recall curves: {against}, with the areas and their 95 % intervals; dashed: by chance"
    figures_of = [
        parts.Figure(f"roc-{name}", f"ROC: {of_roc}", partial(plots.roc, curves)),
        parts.Figure(
            f"precision-{name}", f"Precision and recall: {of_precision}", partial(plots.precision_recall, curves)
        ),
    ]
    picture = parts.Picture(
        f"{folder}/curves_{name}.png", both, lambda figures, path: figures.ranking_curves(curves, path)
    )
    return [*drawn, picture, parts.Beside(figures_of)]


def _comparison(found: Findings) -> list[parts.Part]:
    bootstrap = found.models_differ_by_bootstrap
    lines = [*of_models(found)[-1:]] if bootstrap is not None else []
    if bootstrap is not None:
        lines.append(f"By bootstrap: accuracy {bootstrap.accuracy:+.4f}, macro F1 {bootstrap.macro_f1:+.4f}.")
    lines += of_configurations(found)
    return [parts.Points(lines)] if lines else []


def _detection(found: Findings) -> list[parts.Part]:
    rows = [row.detection for row in found.detections if row.detection is not None]
    notes = [parts.Text(f"{row.why_not}.") for row in found.detections if row.detection is None]
    if not rows:
        return [*notes]
    heads = ["wanted rate", "threshold", "noise images (needed for ±20 %)", "false alarms", "all signals"]
    cells: list[list[parts.Cell]] = [
        [
            f"{d.threshold.rate:g}",
            parts.Number(d.threshold.score, ".4f"),
            f"{d.threshold.n_noise} ({d.threshold.needed.precise})",
            *(parts.Number(e) for e in (d.false_alarms, d.recall, *(c.recall for c in d.classes))),
        ]
        for d in rows
    ]
    words = (
        "An image is called a signal if 1 - p(noise) lies above a threshold, set on the noise images of the validation "
        "split; the shares are those of the test split, with 95 % intervals."
    )
    table = parts.Table("Share called a signal", [*heads, *(c.class_name for c in rows[0].classes)], cells)
    return [parts.Text(words), table, *notes]


def _recall(found: Findings) -> list[parts.Part]:
    drawn = [part for place, name in enumerate(found.recall) for part in _recall_against(name, place, found)]
    words = f"Bins of about equally many images with 95 % intervals; the numbers are in `{RECALL_TABLE}`."
    return [parts.Text(words), *drawn] if drawn else []


def _recall_against(name: str, place: int, found: Findings) -> list[parts.Part]:
    curves, classes = found.recall[name], found.tested[0].of_delivered.class_names
    rows: list[list[parts.Cell]] = [
        [curve.class_name, f"{b.low:.4g}..{b.high:.4g}", b.n, parts.Number(b.recall), parts.Number(b.detected)]
        for curve in curves
        for b in curve.bins
    ]
    heads = ["class", f"|{name}|", "images", "as its class", "as any signal"]
    file = "".join(c if c.isalnum() or c in "-_" else "_" for c in name)
    shares = [
        parts.Figure(
            f"recall-{place}-{'signal' if as_signal else 'class'}",
            f"Share predicted as {'any signal' if as_signal else 'its class'} against |{name}|",
            partial(plots.recall, name, curves, classes, as_signal=as_signal),
        )
        for as_signal in (False, True)
    ]
    return [
        parts.Picture(
            f"{FINAL}/recall_{file}.png",
            f"Recall of the delivered model against |{name}|",
            lambda figures, path: figures.recall_curves(curves, path, quantity=f"|{name}|"),
        ),
        parts.Beside(shares),
        parts.Table(f"Recall against |{name}|, with 95 % intervals", heads, rows, is_folded=True),
    ]


def _errors(found: Findings) -> list[parts.Part]:
    """Return of each class the validation images that were taken for another one with the highest probability."""
    place, folder = (VALIDATION_ERRORS, FINAL) if found.is_delivered else ("", BEST)
    if not found.is_delivered and found.best is not None:
        place = best_errors_path(found.best.trial)
    examples = read_examples(found.run / place) if place else None
    if examples is None:
        return []
    if not examples.index.size:
        return [parts.Text("No validation image was taken for another class.")]
    of_class = {
        name: _shown(examples, np.flatnonzero(examples.y_true == label), "validation", is_of_class=True)
        for label, name in enumerate(examples.class_names)
    }
    galleries = [parts.Gallery(f"{name}, taken for others", "", shown) for name, shown in of_class.items() if shown]
    note = (
        "Of each class those that were taken for another one with the highest probability, the surest first. "
        f"{directions(found.images)}"
    )
    sheet = parts.Picture(
        f"{folder}/validation_errors.png",
        "The surest errors of each class on the validation images",
        lambda _, path: _draw_errors(of_class, found.images, path),
    )
    return [parts.Text(note), sheet, *galleries]


def _draw_errors(of_class: Mapping[str, Sequence[parts.ShownImage]], images: ImagesRecord, path: Path) -> None:
    from results.report.sheets import Row, draw_sheet  # matplotlib

    rows = [
        Row(name, [one.pixels for one in shown], [f"{_two_lines(one.words)}, {one.chance}" for one in shown])
        for name, shown in of_class.items()
        if shown
    ]
    draw_sheet(rows, path, columns=max(len(row.images) for row in rows), kind=images)


def _two_lines(words: str) -> str:
    return words.replace(", ", "\n", 1)


def _images(found: Findings) -> list[parts.Part]:
    examples = read_examples(found.run / EXAMPLES) if found.is_delivered else None
    if examples is None:
        return []
    note = directions(found.images)
    wrong, right = (_shown(examples, np.flatnonzero(examples.correct == correct), "test") for correct in (False, True))
    galleries = [
        parts.Gallery("The worst errors: wrong with the highest probability", note, wrong),
        parts.Gallery("One image of each class that was right", note, right),
    ]
    return [gallery for gallery in galleries if gallery.images]


def _shown(
    examples: ExampleImages, places: npt.NDArray[np.intp], split: str, *, is_of_class: bool = False
) -> list[parts.ShownImage]:
    """Return images with what the model said of them, and their class unless a heading names it."""
    names, shown = examples.class_names, []
    for i in places:
        truth, predicted = names[int(examples.y_true[i])], names[int(examples.y_prob[i].argmax())]
        words = f"{split} image {int(examples.index[i])}{'' if is_of_class else f': {truth}'}"
        words += "" if examples.correct[i] else f", predicted {predicted}"
        shown.append(parts.ShownImage(examples.images[i], words, f"p = {float(examples.y_prob[i].max()):.3f}"))
    return shown
