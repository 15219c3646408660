"""What a notebook's cell shows while a search runs: its table and curves, put in the place of the former ones."""

from __future__ import annotations

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from results.errors import ResultsError
from results.run_folder import LOG_NAME

_EVERY_S = 1.0
_SHARE = 0.05  # of the time may go into looking: the log of a long run takes a while to be read


def is_notebook() -> bool:
    """Return whether this is the kernel of a notebook, which shows HTML; a terminal, also IPython's, does not."""
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def run_html(folder: Path) -> str:
    """Return a run as it is now, as HTML for a cell."""
    from results.findings import Findings
    from results.report.cell import cell_html, waiting_html

    try:
        return cell_html(Findings.read(folder))
    except ResultsError as error:
        log = folder / LOG_NAME
        return waiting_html(
            str(error) if log.is_file() and log.stat().st_size else f"{folder}: nothing is recorded yet"
        )


class Cell:
    """A display below the cell that follows the log of a run; nothing where there is no notebook."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._size, self._next = folder, -1, 0.0
        self._display: Any = None
        self.is_shown = is_notebook()

    def update(self, *, is_last: bool = False) -> None:
        """Show how the run stands, where it has grown since; what goes wrong in a notebook ends no search."""
        began = time.monotonic()
        if not self.is_shown or (began < self._next and not is_last):
            return
        with contextlib.suppress(Exception):
            log = self._folder / LOG_NAME
            size = log.stat().st_size if log.is_file() else 0
            if size != self._size or is_last:
                self._size = size
                self._show(run_html(self._folder))
        now = time.monotonic()
        self._next = now + max(_EVERY_S, (now - began) / _SHARE)

    def _show(self, html: str) -> None:
        from IPython.display import HTML, display

        if self._display is None:
            self._display = display(HTML(html), display_id=True)
        else:
            self._display.update(HTML(html))
