"""What a report consists of: sections of text, tables and figures, which its writers turn into Markdown or HTML."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from results.finals import Role, Standing
from results.log.history import History
from results.log.state import RunState
from results.report.example_images import ExampleImages
from results.stats.calibration import CalibrationError
from results.stats.detection import RecallCurve
from results.stats.intervals import Estimate
from results.stats.metrics import ClassificationMetrics
from results.tables import table as tables
from results.tables.table import cell_text


@dataclass(frozen=True)
class Number:
    """A number of a table in the format it is shown in; an estimate shows its interval too, NaN is "-"."""

    value: float | Estimate
    form: str = ".3f"

    def __str__(self) -> str:
        """Return it as text."""
        if isinstance(self.value, float) and math.isnan(self.value):
            return "-"
        return format(self.value, self.form)


@dataclass(frozen=True)
class Share:
    """A part of a whole, in 0..1."""

    value: float

    def __str__(self) -> str:
        """Return it in percent."""
        return f"{self.value:.0%}"


Cell = str | int | float | None | Number | Share


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    words: str


@dataclass(frozen=True)
class Points:
    """A list of sentences."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Answer:
    """A question that a reader comes with, its answer in a few words, and what that rests on."""

    question: str
    answer: str
    because: Sequence[str]


@dataclass(frozen=True)
class Answers:
    """The first thing to read."""

    answers: Sequence[Answer]


@dataclass(frozen=True)
class Table:
    """Rows that begin with their names."""

    caption: str
    heads: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    are_words: bool = False  # long texts, not numbers


@dataclass(frozen=True)
class Leaderboard:
    """All trials of a search, with the parameters that were searched."""

    state: RunState
    table: tables.Table


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, in images."""

    role: Role
    metrics: ClassificationMetrics


@dataclass(frozen=True)
class Curves:
    """Validation accuracy of all trials by epoch."""

    state: RunState


@dataclass(frozen=True)
class BestSoFar:
    """The best value against what had been spent; `by` is a number of `Step`: epochs or hours."""

    history: History
    by: str


@dataclass(frozen=True)
class Parallel:
    """Every trial as a line through its parameters."""

    state: RunState
    parameters: Sequence[str]


@dataclass(frozen=True)
class Slice:
    """What every trial reached against one parameter."""

    state: RunState
    parameter: str


@dataclass(frozen=True)
class Rungs:
    """What the completed trials reached against what each rung saw of them."""

    state: RunState


@dataclass(frozen=True)
class Retrainings:
    """The objective of each retraining of the finalists."""

    standings: Sequence[Standing]


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence."""

    role: Role
    calibration: CalibrationError


@dataclass(frozen=True)
class Recall:
    """The share of each class that is found, as itself or as any signal, against a quantity."""

    quantity: str
    curves: Sequence[RecallCurve]
    class_names: Sequence[str]


Drawing = Curves | BestSoFar | Parallel | Slice | Rungs | Retrainings | Reliability | Recall


@dataclass(frozen=True)
class Figure:
    """Something to draw; each writer draws what it can, in its own way. `numbers` are those in it, as a table."""

    name: str
    caption: str
    drawing: Drawing
    numbers: Table | None = None


@dataclass(frozen=True)
class Beside:
    """Parts that may stand side by side where there is room."""

    parts: Sequence[Part]
    heading: str = ""
    are_small: bool = False


@dataclass(frozen=True)
class Gallery:
    """Test images with what the model said of them."""

    examples: ExampleImages


@dataclass(frozen=True)
class Source:
    """A long text as it is."""

    caption: str
    text: str


@dataclass(frozen=True)
class Console:
    """Commands to type."""

    commands: Sequence[str]


Part = Text | Points | Answers | Table | Leaderboard | Confusion | Figure | Beside | Gallery | Source | Console


@dataclass(frozen=True)
class Section:
    """Parts under a heading, or without one; `name` is its address within the document."""

    name: str
    heading: str
    parts: Sequence[Part]


@dataclass(frozen=True)
class Document:
    """A report, or a card."""

    title: str
    sections: Sequence[Section]

    def parts(self) -> Iterator[Part]:
        """Yield all parts of all sections."""
        for section in self.sections:
            yield from every_part(section.parts)


def confusion_table(metrics: ClassificationMetrics) -> Table:
    """Return a confusion matrix as a table."""
    return Table(
        "Confusion matrix, in images; rows are true classes, columns predicted ones",
        ["true \\ predicted", *metrics.class_names],
        [[name, *row] for name, row in zip(metrics.class_names, metrics.confusion, strict=True)],
    )


def every_part(parts: Sequence[Part]) -> Iterator[Part]:
    """Yield parts and the parts within them."""
    for part in parts:
        yield part
        if isinstance(part, Beside):
            yield from every_part(part.parts)


def shown(cell: Cell) -> str:
    """Return a cell as text, nothing where there is nothing."""
    return str(cell) if isinstance(cell, Number | Share) else cell_text(cell)
