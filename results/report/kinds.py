"""How a report speaks of images, by what they are of: which way their axes go, and how their arrays lie."""

from __future__ import annotations

from results.log.records import ImagesRecord

_TIME_FREQUENCY, _ROW_COLUMN = ("time", "frequency"), ("row", "column")


def directions(images: ImagesRecord) -> str:
    """Return in one sentence what goes down and what to the right."""
    if images.axes == _ROW_COLUMN:
        return "Rows go down, columns to the right."
    down, right = images.axes
    return f"{down[:1].upper()}{down[1:]} goes down, {right} to the right."


def layout(images: ImagesRecord) -> str:
    """Return the shape of an array of them."""
    names = ("n_time", "n_freq") if images.axes == _TIME_FREQUENCY else images.axes
    return f"(n, {', '.join(names)}, channels)"


def axis_names(images: ImagesRecord) -> tuple[str, str]:
    """Return what is written beside a picture of them: of its rows and of its columns."""
    if images.axes == _ROW_COLUMN:
        return "row (downwards)", "column"
    if images.axes == _TIME_FREQUENCY:
        return "time (row, downwards)", "frequency (channel)"
    down, right = images.axes
    return f"{down} (row, downwards)", f"{right} (column)"
