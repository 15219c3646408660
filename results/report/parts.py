"""What a report consists of: sections of text, tables and figures, which its writers turn into Markdown or HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from results.log.state import RunState
from results.report.plots import Plot
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
    is_folded: bool = False  # the numbers of a figure: on a page to be opened, not in Markdown


@dataclass(frozen=True)
class Leaderboard:
    """All trials of a search, with the parameters that were searched."""

    state: RunState
    table: tables.Table


@dataclass(frozen=True)
class Confusion:
    """A confusion matrix, in images."""

    metrics: ClassificationMetrics


@dataclass(frozen=True)
class Figure:
    """What a page draws, with Plotly: `draw` returns traces and layout."""

    name: str
    caption: str
    draw: Callable[[], Plot]
    width: Literal["", "small", "broad"] = ""


@dataclass(frozen=True)
class Picture:
    """What lies beside Markdown as a file; `place` is its path within the run folder.

    `draw` is given the module `results.report.figures`, which takes its time to import, and the path to write to.
    """

    place: str
    caption: str
    draw: Callable[[Any, Path], None]


@dataclass(frozen=True)
class Beside:
    """Parts that may stand side by side where there is room."""

    parts: Sequence[Part]
    heading: str = ""
    are_small: bool = False


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class ShownImage:
    """An image, uint8 (n_time, n_freq[, channels]), with what the model said of it and how sure it was."""

    pixels: npt.NDArray[np.uint8]
    words: str
    chance: str


@dataclass(frozen=True)
class Gallery:
    """Images side by side under a heading; `note` says which way their axes go."""

    heading: str
    note: str
    images: Sequence[ShownImage]


@dataclass(frozen=True)
class Source:
    """A long text as it is."""

    caption: str
    text: str


@dataclass(frozen=True)
class Console:
    """Commands to type."""

    commands: Sequence[str]


Part = (
    Text | Points | Answers | Table | Leaderboard | Confusion | Figure | Picture | Beside | Gallery | Source | Console
)


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
