"""Whether the four packages that are imported are ours; looks before any of the others is imported."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from tune.errors import InstallationError

OURS = ("tune", "search_spaces", "seti_model", "results")


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
