"""Where runs, data sets and models may lie: on storage that is mounted, not at an address of an object store."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from tune.errors import StudyError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: C:/ is a drive; Path("a://b") is a:/b


def check_places(places: Iterable[object], *, where: str = "") -> None:
    """Refuse a path among `places`, or in a list there, that is an address such as s3://bucket/run.

    Args:
        places: Of these only paths are looked at.
        where: Begins the message.

    Raises:
        StudyError: The first of them.
    """
    for place in places:
        if isinstance(place, list):
            check_places(place, where=where)
        elif isinstance(place, Path) and (scheme := _SCHEME.match(str(place))):
            address = f"{scheme[1]}://{str(place)[scheme.end() :]}"
            raise StudyError(
                f"{where}{address}: files at an address cannot be used; name a file or folder on storage that every "
                "node sees under the same path, such as a mounted bucket"
            )
