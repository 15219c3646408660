"""Where runs, data sets and models may lie: on mounted storage that may be read, not at an address of a store."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tune.errors import StudyError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: C:/ is a drive; Path("a://b") is a:/b


def check_places(places: Iterable[object], *, folder: Path = Path(), where: str = "") -> None:
    """Refuse a path among `places`, or in a list there, that cannot be used; one where nothing is may be used.

    Args:
        places: Of these only paths are looked at.
        folder: What they are relative to.
        where: Begins the message.

    Raises:
        StudyError: The first that is an address such as s3://bucket/run, or that may not be looked at.
    """
    for place in places:
        if isinstance(place, list):
            check_places(place, folder=folder, where=where)
        elif isinstance(place, Path):
            if scheme := _SCHEME.match(str(place)):
                address = f"{scheme[1]}://{str(place)[scheme.end() :]}"
                raise StudyError(
                    f"{where}{address}: files at an address cannot be used; name a file or folder on storage that "
                    "every node sees under the same path, such as a mounted bucket"
                )
            _check_access(folder / place, f"{where}{place}")


def _check_access(path: Path, name: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # of a file: that it is no folder
            os.stat(f"{path}/.")  # noqa: PTH116 - of a folder: whether one may go in, which a Path would not ask
    except OSError as error:
        raise StudyError(f"{name}: cannot be used ({error.strerror}); name another one or ask for access") from error
