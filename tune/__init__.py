"""How it is searched: the only home of Ray and Optuna. `from ray import tune as ray_tune`; plain `tune` is us.

The ways in from a notebook or a script; each is imported when it is first used:

    study = tune.read_study("study.toml", trials=20)     # or a mapping with the same keys
    run = tune.search(study, "runs/mine")                # the same call, or run.resume(), continues it
    run.leaderboard
    run.model().predict(images)
    run = tune.open_run("runs/mine")                     # one that is there
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tune.api.run import SearchRun, open_run, search
    from tune.api.study import read_study

__all__ = ["SearchRun", "open_run", "read_study", "search"]

# None is called as a module of this package: importing that module would take its place.
_HOMES = {"SearchRun": "run", "open_run": "run", "search": "run", "read_study": "study"}


def __getattr__(name: str) -> object:
    """Return what is public of this package; its modules are imported as always."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"tune.api.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """Return the public names too, for completion."""
    return sorted({*globals(), *__all__})
