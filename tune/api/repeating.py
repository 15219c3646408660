"""A trial repeated from Python: the command `retrain`, in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

from results.files import read_moderate
from results.reproduction import Answer
from results.run_folder import ANSWER
from results.schema import parse_json, read
from tune.api.cell import is_notebook
from tune.api.waiting import Words, wait_until_ended
from tune.errors import SearchError
from tune.reproduce import default_folder, find_source

# It ends with this process, whose end of the socket is closed then.
_CODE = (
    "import sys; from tune.process.channel import follow_parent; follow_parent(); "
    "from tune.cli.main import main; sys.exit(main())"
)


def repeat_trial(
    run: Path, trial: str, repeat: int | None, *, out: str | Path | None, data: str | Path | None, is_trusted: bool
) -> Answer:
    """Repeat a trial of a run; see `SearchRun.retrain`.

    Raises:
        RecordError: A damaged receipt or log, or no such trial.
        StudyError: A choice that does not fit.
        SearchError: What the command refused.
    """
    source = find_source(run, trial=trial, repeat=repeat)
    place = Path(default_folder(source.receipt) if out is None else out)
    options = {"--trial": trial, "--repeat": repeat, "--out": place, "--data": data}
    given = [f"{name}={value}" for name, value in options.items() if value is not None]
    before = _written(place / ANSWER)
    here, there = socket.socketpair()
    words_of_it = [sys.executable, "-P", "-c", _CODE, "retrain", *given, *(["--trust"] if is_trusted else []), "--"]
    with here:
        process = subprocess.Popen(
            [*words_of_it, str(run)],
            stdin=there.fileno(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        there.close()
        words, in_one = Words(process), is_notebook()
        try:
            wait_until_ended(process, lambda: process.send_signal(signal.SIGINT), lambda: words.show(in_one=in_one))
        finally:
            words.end()
            words.show(in_one=in_one)
    if _written(place / ANSWER) == before:
        raise SearchError(words.error or f"{run}: the retraining ended without an answer: {words.last}; see above")
    return read(parse_json(read_moderate(place / ANSWER))["answer"], Answer)


def _written(answer: Path) -> tuple[int, int] | None:
    """Return what changes when a file is written anew."""
    try:
        found = os.stat(answer)  # noqa: PTH116 - of the file and nothing else
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
