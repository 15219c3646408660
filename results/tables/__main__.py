"""Writes the tables of a run from its log: what a search starts beside itself, `python -m results.tables RUN`."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from results.errors import RecordError
from results.log.state import load_run
from results.tables.leaderboard import write_tables


def main(run: Path) -> None:
    """Write them, or leave none half written when told to end; what is wrong is one line on standard error."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    try:
        write_tables(run, load_run(run))
    except RecordError as error:
        sys.exit(str(error))


main(Path(sys.argv[1]))
