"""The lines of a log as events, in order: the only way anybody reads one."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO

from results.errors import RecordError
from results.log.chain import LONGEST_LINE, Chain
from results.log.lines import from_line
from results.log.records import Event
from results.run_folder import LOG_NAME


def read_events(run: Path, chain: Chain | None = None) -> Iterator[Event]:
    """Yield the events of a run folder in order; a torn last line is ignored, it was never acted upon.

    Args:
        run: The run folder.
        chain: Is given each line before its event is.

    Raises:
        RecordError: There is no log, or a line other than a torn last one is damaged.
    """
    path, chain = run / LOG_NAME, chain or Chain()
    try:
        kind = path.stat().st_mode
        if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):
            raise RecordError(f"{path}: is a device, a pipe or a socket, a log is expected; restore it from a copy")
        file = path.open("rb")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise RecordError(
            f"{run}: no run folder ({LOG_NAME} is missing); give the folder that a search printed"
        ) from error
    except OSError as error:
        raise RecordError(f"{path}: cannot be read ({error.strerror}); ask for access or restore it") from error
    with file:
        for number, line in enumerate(chain.follow(_whole_lines(path, file)), start=1):
            try:
                yield from_line(line)
            except RecordError as error:
                raise _damaged(path, number, str(error)) from error


def _whole_lines(path: Path, file: IO[bytes]) -> Iterator[bytes]:
    for line in iter(partial(file.readline, LONGEST_LINE), b""):
        if line[-1:] != b"\n":
            if len(line) == LONGEST_LINE:
                raise _damaged(
                    path,
                    _lines_before(path, file.tell() - LONGEST_LINE) + 1,
                    f"longer than {LONGEST_LINE} bytes, which no event is",
                )
            return
        yield line


def _lines_before(path: Path, place: int) -> int:
    found = 0
    with path.open("rb") as file:
        while place > 0 and (block := file.read(min(place, LONGEST_LINE))):
            found, place = found + block.count(b"\n"), place - len(block)
    return found


def _damaged(path: Path, number: int, why: str) -> RecordError:
    return RecordError(
        f"{path}, line {number}: damaged: {why}; restore the file from a copy, or cut it off before this line to "
        "continue from there"
    )
