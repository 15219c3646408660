"""Sheets of images as they are stored, in colour where they have three channels: examples, changes and errors.

Like `results.report.figures` each function writes one file, PNG or SVG, in one step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from results.errors import FigureError
from results.log.records import ImagesRecord
from results.report.figures import DPI, GREY, INK, PALE, save_figure
from results.report.kinds import axis_names

_SPECTROGRAMS = ImagesRecord()
_MOST_COLUMNS = 6
_MOST_INCHES = 65_000 / DPI  # along a side: what the library can draw
_WIDTH, _LOWEST, _HIGHEST = 2.4, 0.6, 3.6  # of one image, inches


@dataclass(frozen=True, eq=False)  # arrays do not compare to one answer
class Row:
    """A row of a sheet: what is written beside it, and images, uint8 (n_time, n_freq[, channels]), with their words."""

    name: str
    images: Sequence[npt.NDArray[np.uint8]]
    words: Sequence[str]


def contact_sheet(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer[Any]],
    class_names: Sequence[str],
    path: Path,
    *,
    per_class: int = 4,
    seed: int = 0,
    classes: Sequence[int] | None = None,
    kind: ImagesRecord = _SPECTROGRAMS,
) -> None:
    """Draw `per_class` random images of every class, one class after the other, grey values 0..255 as stored.

    Args:
        images: Pixels, uint8 (n, n_time, n_freq, n_channels); three channels are colours, else the first is shown.
        labels: Class indices, integer (n,).
        class_names: One name per class.
        path: The picture, `.png` or `.svg`.
        per_class: Images of a class, in more rows than one where they are many; one with fewer leaves places empty.
        seed: Chooses the images.
        classes: Which classes; None: all of them.
        kind: What the images are of.

    Raises:
        FigureError: Shapes that do not fit, or a label outside the classes.
    """
    rows = []
    for label, chosen in chosen_images(images, labels, class_names, per_class=per_class, seed=seed).items():
        if classes is None or label in classes:
            name = f"{label}  {class_names[label]}\n{np.count_nonzero(labels == label)} images"
            for start in range(0, max(len(chosen), 1), _MOST_COLUMNS):
                some = chosen[start : start + _MOST_COLUMNS]
                rows.append(Row("" if start else name, [images[i] for i in some], [f"image {i}" for i in some]))
    n_rows, n_columns = images.shape[1:3]
    title = f"{len(images)} {kind.of} of {n_rows} x {n_columns} pixels, examples of each class"
    draw_sheet(rows, path, columns=min(per_class, _MOST_COLUMNS), kind=kind, title=title)


def chosen_images(
    images: npt.NDArray[np.uint8],
    labels: npt.NDArray[np.integer[Any]],
    class_names: Sequence[str],
    *,
    per_class: int,
    seed: int,
) -> dict[int, list[int]]:
    """Return the places of random images of every class, in ascending order, at most `per_class` of each.

    Raises:
        FigureError: Shapes that do not fit, or a label outside the classes.
    """
    _check_sheet(images, labels, class_names, per_class)
    rng = np.random.default_rng(seed)
    members = {label: np.flatnonzero(labels == label) for label in range(len(class_names))}
    return {
        label: np.sort(rng.choice(of, size=min(per_class, of.size), replace=False)).tolist()
        for label, of in members.items()
    }


def draw_sheet(
    rows: Sequence[Row], path: Path, *, columns: int, kind: ImagesRecord = _SPECTROGRAMS, title: str = ""
) -> None:
    """Draw rows of images of one size; a row with fewer than `columns` leaves places empty.

    Raises:
        FigureError: No image, or a suffix other than `.png` and `.svg`.
    """
    first = next((image for row in rows for image in row.images), None)
    if first is None:
        raise FigureError(f"{path}: a sheet without an image; choose a class that has some")
    ratio = first.shape[0] / first.shape[1]
    height = min(max(_WIDTH * ratio, _LOWEST), _HIGHEST)
    lines = max(words.count("\n") + 1 for row in rows for words in (*row.words, ""))
    size = _WIDTH * columns + 1.4, (height + 0.1 + 0.15 * lines) * len(rows) + 0.75
    if max(size) > _MOST_INCHES:
        raise FigureError(f"{path}: {len(rows)} rows of images are more than a picture can hold; choose some classes")
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for place, row in enumerate(rows):
        for column in range(columns):
            axes[place, column].set(xticks=[], yticks=[], box_aspect=ratio)
            axes[place, column].spines[:].set_color(PALE)
            if column < len(row.images):
                _show_image(axes[place, column], row.images[column], row.words[column])
        axes[place, 0].set_ylabel(row.name, rotation=0, ha="right", va="center")
    down, right = axis_names(kind)
    figure.supylabel(down, fontsize=9, color=INK)
    figure.supxlabel(right, fontsize=9, color=INK)
    save_figure(figure, path, title)


def _show_image(axes: Axes, image: npt.NDArray[np.uint8], words: str) -> None:
    shown = image if image.ndim == 2 or image.shape[-1] == 3 else image[..., 0]
    axes.imshow(shown, cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    axes.set_title(words, fontsize=7, color=GREY, pad=2)


def _check_sheet(
    images: npt.NDArray[Any], labels: npt.NDArray[Any], class_names: Sequence[str], per_class: int
) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or labels.shape != images.shape[:1] or images.size == 0:
        raise FigureError(
            f"images {images.shape} of {images.dtype} and labels {labels.shape}, expected uint8 "
            "(n, n_time, n_freq, n_channels) and (n,); scale pixels to 0..255"
        )
    outside = labels[(labels < 0) | (labels >= len(class_names))]
    if outside.size:
        raise FigureError(f"label {outside[0]}, expected 0..{len(class_names) - 1}; name every class")
    if per_class < 1:
        raise FigureError(f"per_class={per_class}, expected at least 1; ask for one image a class")
