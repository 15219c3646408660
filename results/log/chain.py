"""The sums that tie each line of a log to all bytes before it, so that a line lost, added or changed is noticed.

A line ends in `"sum"`, the CRC-32 of the file before it. It tells of accidents and careless hands; who means to
deceive can compute it too. Logs of before have lines without it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from zlib import crc32

LONGEST_LINE = 2**24  # bytes of an event; the longest holds a study with its space
KEY = "sum"
_TAIL = f',"{KEY}":"%08x"}}\n'.encode()  # a quote inside a text is written with a backslash, so no text ends like this
_TIED = re.compile(rb',"sum":"([0-9a-f]{8})"\}\n\Z')


def tied(text: str, before: int) -> bytes:
    """Return an event as its line in a log, with the sum of all bytes before it."""
    return text[:-1].encode() + _TAIL % before


class Chain:
    """Follows a log line by line; `broken` are the numbers of the lines that do not go on from those before."""

    def __init__(self) -> None:
        self.broken: list[int] = []
        self.sum = 0  # what the next line has to have, once all were followed
        self._untied = 0  # so many lines at the beginning have no sum

    @classmethod
    def of(cls, file: Path) -> Chain:
        """Follow a log to its end.

        Raises:
            OSError: It cannot be read.
        """
        chain = cls()
        with file.open("rb") as stream:
            for _ in chain.follow(iter(partial(stream.readline, LONGEST_LINE), b"")):
                pass
        return chain

    def follow(self, lines: Iterable[bytes]) -> Iterator[bytes]:
        """Yield whole lines, the first one of a log first, each after it was looked at."""
        before, digits = 0, slice(-11, -3)
        for number, line in enumerate(lines, start=1):  # a million of them: no call for each, and no comparing of texts
            try:
                is_next = int(line[digits], 16) == before
            except ValueError:
                is_next = False
            if not is_next:
                before = self._look_closer(number, line, before)
            before = crc32(line, before)
            yield line
        self.sum = before

    def _look_closer(self, number: int, line: bytes, before: int) -> int:
        """Note a break, unless the line is of before there were sums; return the sum from which its writer went on."""
        found = _TIED.search(line)
        if found is None and number == self._untied + 1:
            self._untied = number
            return before
        self.broken.append(number)
        return before if found is None else int(found[1], 16)
