"""What is checked before a command starts: that our packages are ours, and that the places it names can be used."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
from collections.abc import Iterable
from pathlib import Path

from tune.errors import InstallationError, StudyError

OURS = ("tune", "search_spaces", "seti_model", "results")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+")  # two letters at least: C:/ is a drive; Path("a://b") is a:/b


def check_installation() -> None:
    """Make sure that our four packages are ours: other distributions install modules called `tune` and `results`.

    Raises:
        InstallationError: One of them was put over ours, or lies in a folder that is searched before it.
    """
    home = Path(__file__).resolve().parent.parent
    for name in OURS:
        spec = importlib.util.find_spec(name)
        origin = Path(spec.origin).resolve() if spec and spec.origin else None
        if origin is None or origin.parent.parent != home:
            raise InstallationError(
                f"the package {name!r} is taken by {origin.parent if origin else 'nothing'}, expected {home / name}; "
                "uninstall the other distribution and install seti-tune again, best in a virtual environment of its own"
            )


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
                    "every node sees under the same path, such as a mounted bucket; for what a search writes, name "
                    "the address in [storage] uri"
                )
            _check_access(folder / place, f"{where}{place}")


def _check_access(path: Path, name: str) -> None:
    try:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):  # of a file: that it is no folder
            os.stat(f"{path}/.")  # noqa: PTH116 - of a folder: whether one may go in, which a Path would not ask
    except (OSError, ValueError) as error:  # a name with a zero byte, or one that is no text of this system
        why = getattr(error, "strerror", None) or error
        raise StudyError(f"{name}: cannot be used ({why}); name another one or ask for access") from error
