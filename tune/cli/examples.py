"""The pictures of `data describe`: examples of each class, and what the augmentation of a study does to some."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from results.files import check_output
from results.log.records import ImagesRecord
from results.text import printable
from seti_model.config import AugmentConfig, Configuration
from seti_model.data.dataset import Dataset
from seti_model.errors import DatasetError
from seti_model.training.augment import augment_batch
from tune.errors import StudyError

if TYPE_CHECKING:
    from tune.study import Study

MOST, MOST_COPIES = 100, 12  # images of a class; copies of one
_DRAWS = 64  # configurations of a study that are looked at for some that change images


@dataclass(frozen=True)
class Wanted:
    """Which examples to draw and where: some classes or, with an empty list, all; `augment` is a study."""

    out: Path | None
    seed: int
    classes: Sequence[str]
    count: int
    augment: str | None

    def check(self, dataset: Dataset) -> None:
        """Refuse what cannot be drawn before a large data set is read through.

        Raises:
            DatasetError: A class that the data set has not, a negative seed, no image or more than anybody looks at.
            RecordError: `out` would replace a record.
        """
        most = MOST if self.augment is None else MOST_COPIES
        if not 1 <= self.count <= most:
            raise DatasetError(f"--count {self.count}: 1 to {most} are expected; choose a number within")
        if self.seed < 0:
            raise DatasetError(f"--seed {self.seed}: a number from 0 is expected; choose another")
        for name in self.classes:
            if name not in dataset.class_names:
                raise DatasetError(
                    f"--class {printable(name)}: no class of {dataset.path}; choose one of "
                    f"{printable(', '.join(dataset.class_names))}"
                )
        if self.out is not None:
            check_output(self.out)


def draw_examples(dataset: Dataset, wanted: Wanted) -> str:
    """Draw images of the training split, equal ones for equal seeds; return what was drawn and where, in a line.

    Raises:
        FigureError: A suffix other than `.png` and `.svg`, or too many rows.
        StudyError: The study cannot be read, or changes no image.
    """
    from results.report.sheets import MOST_COLUMNS, MOST_IMAGES, contact_sheet  # matplotlib, for this command alone

    if wanted.augment is not None:
        return _draw_augmented(dataset, wanted, wanted.augment)
    train, labels = dataset.split("train"), _labels(dataset, wanted)
    path = wanted.out or dataset.path / "contact_sheet.png"
    most = MOST_IMAGES // (math.ceil(wanted.count / MOST_COLUMNS) * MOST_COLUMNS)
    left = "" if len(labels) <= most or wanted.classes else f", the first {most} of {len(labels)} classes"
    contact_sheet(
        train.images,
        train.labels,
        dataset.class_names,
        path,
        per_class=wanted.count,
        seed=wanted.seed,
        classes=labels[:most] if left else labels,
        kind=ImagesRecord(dataset.kind.of, dataset.kind.axes),
    )
    return f"contact sheet: {path}{left}"


def _draw_augmented(dataset: Dataset, wanted: Wanted, name: str) -> str:
    """Draw one image of each class, and beside it what the study may train on in its place."""
    from results.report.sheets import MOST_IMAGES, Row, chosen_images, draw_sheet
    from tune.study import load_study

    study = load_study(name)
    changes = list(_changes(study, wanted))
    train = dataset.split("train")
    chosen = chosen_images(train.images, train.labels, dataset.class_names, per_class=1, seed=wanted.seed)
    places = [i for label in _labels(dataset, wanted) for i in chosen[label]][: MOST_IMAGES // (wanted.count + 1)]
    if not places:
        raise DatasetError(f"{dataset.path}: no training image of {', '.join(wanted.classes)}; choose another class")
    images = np.stack([train.images[i] for i in places])
    copies = [
        augment_batch(images, change, seed=wanted.seed, epoch=1, batch=number) for number, change in enumerate(changes)
    ]
    words = [_in_words(change) for change in changes]
    rows = [
        Row(
            dataset.class_names[train.labels[place]],
            [images[row], *(copy[row] for copy in copies)],
            [f"image {place}", *words],
        )
        for row, place in enumerate(places)
    ]
    path = wanted.out or dataset.path / "augmentation.png"
    kind = ImagesRecord(dataset.kind.of, dataset.kind.axes)
    title = f"{kind.of[:1].upper()}{kind.of[1:]} as they are, and as trials of {study.study.name} may see them"
    draw_sheet(rows, path, columns=wanted.count + 1, kind=kind, title=title)
    return f"augmentation: {path}"


def _changes(study: Study, wanted: Wanted) -> Iterator[AugmentConfig]:
    """Yield as many augmentations that change something as copies are wanted, each as a trial may have it."""
    if not study.is_network:
        raise StudyError(
            f"--augment {study.study.name}: its trainable is not the one that augments images; name another study"
        )
    rng = random.Random(wanted.seed)  # noqa: S311 - points to look at
    points = (study.configuration(study.space.sample(rng)) for _ in range(_DRAWS))
    drawn = dict.fromkeys(Configuration.from_mapping(point).augment for point in points)  # each once, in their order
    found = [change for change in drawn if _in_words(change)]
    if not found:
        raise StudyError(
            f"--augment {study.study.name}: changes no image; set augment.* under [fixed], or let its space vary them"
        )
    yield from (found[number % len(found)] for number in range(wanted.count))


def _in_words(config: AugmentConfig) -> str:
    """Return what is switched on, with how much; nothing where images stay as they are."""
    values = ((field.name, getattr(config, field.name)) for field in dataclasses.fields(config))
    shown = ((name, f" {value:.3g}" if isinstance(value, float) else f" {value}") for name, value in values if value)
    words = [name if value == " True" else f"{name}{value}" for name, value in shown]
    return "\n".join(", ".join(words[i : i + 2]) for i in range(0, len(words), 2))


def _labels(dataset: Dataset, wanted: Wanted) -> list[int]:
    """Return the classes that are wanted, in the order of the data set."""
    return [i for i, name in enumerate(dataset.class_names) if name in wanted.classes or not wanted.classes]
