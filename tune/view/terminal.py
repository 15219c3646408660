"""Which view a search gives: a live one on a terminal, plain lines elsewhere, nothing before the result if asked to."""

from __future__ import annotations

import os
from typing import TextIO

LIVE, PLAIN, QUIET = "live", "plain", "quiet"
VIEWS = (LIVE, PLAIN, QUIET)
SHOW_CURSOR = "\x1b[?25h"


def choose_view(stream: TextIO, *, quiet: bool = False, plain: bool = False) -> str:
    """Return the view on `stream`; live only where lines can be written over and bars of a curve can be shown.

    The environment may not ask for it: FORCE_COLOR is often set where the output is a file.
    """
    if quiet:
        return QUIET
    is_dumb = os.environ.get("TERM", "dumb") in ("", "dumb", "unknown")
    can_draw = (stream.encoding or "").lower().replace("-", "") == "utf8"
    return LIVE if stream.isatty() and can_draw and not is_dumb and not plain else PLAIN
