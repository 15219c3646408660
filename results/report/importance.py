"""How much each parameter mattered: computed where Optuna is known, kept in the run folder, read here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from results.files import write_atomically
from results.log.records import Status
from results.log.state import RunState
from results.run_folder import IMPORTANCE
from results.schema import SchemaError, read_json, to_json

MIN_COMPLETED = 20  # the method compares the best, at least five, with all


@dataclass(frozen=True)
class Importance:
    """Shares of the parameters, which add up to one, with the completed trials and the space they hold for."""

    method: str
    completed: int
    space_fingerprint: str
    shares: Mapping[str, float]  # by parameter, the largest first


def completed_trials(state: RunState) -> int:
    """Count the completed trials of the search."""
    return sum(t.status == Status.COMPLETED and t.best is not None for t in state.search_trials())


def write_importance(run: Path, importance: Importance) -> None:
    """Write `importance.json` into the run folder.

    Raises:
        RecordError: It cannot be written.
    """
    write_atomically(run / IMPORTANCE, to_json(importance) + "\n")


def read_importance(run: Path) -> Importance | None:
    """Return what was stored; None where there is nothing that could be read, as it can be computed again."""
    try:
        return read_json((run / IMPORTANCE).read_bytes(), Importance)
    except (OSError, SchemaError):
        return None


def is_current(importance: Importance | None, state: RunState) -> bool:
    """Return whether a stored importance is that of the run as it is now."""
    return importance is not None and (importance.completed, importance.space_fingerprint) == (
        completed_trials(state),
        state.space_fingerprint,
    )


def needs_importance(run: Path, state: RunState) -> bool:
    """Return whether enough trials are completed and what is stored is not of them."""
    return completed_trials(state) >= MIN_COMPLETED and not is_current(read_importance(run), state)
