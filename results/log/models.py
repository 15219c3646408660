"""Which models a run has written, read from its log without the rest of it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from results.log.chain import LONGEST_LINE
from results.log.lines import from_line
from results.log.records import ModelExported
from results.run_folder import LOG_NAME

_OF_MODEL = f'"{ModelExported.kind}"'.encode()


def recorded_models(run: Path) -> dict[str, ModelExported]:
    """Return the models that were written from a run's weights, by their path in it; reads no other line with care.

    Raises:
        RecordError: The line of one is damaged.
    """
    try:
        with (run / LOG_NAME).open("rb") as file:
            lines = [line for line in iter(partial(file.readline, LONGEST_LINE), b"") if _OF_MODEL in line]
    except OSError:  # it was there a moment ago, and may hold none
        return {}
    events = (from_line(line) for line in lines if line.endswith(b"\n"))
    return {event.path: event for event in events if isinstance(event, ModelExported)}
