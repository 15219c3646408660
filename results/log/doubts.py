"""What speaks against a log that can be read: breaks in its chain, and files of its run that it should have led to."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

from results.log.records import TrialKey
from results.run_folder import DESCRIPTION, LOG_NAME, RECEIPTS, trial_name

_RECEIPT = re.compile(r"(\d{4,})(?:-(\d+))?\.json")
_RESTORE = "restore the file from a copy"


@dataclass(frozen=True)
class Derived:
    """What a run folder holds that only follows from a log: of which trials there are receipts, and a model."""

    receipts: frozenset[TrialKey]
    has_model: bool

    @classmethod
    def of(cls, run: Path) -> Derived:
        """Look at a run folder; to be done before its log is read, which another process may be writing."""
        try:
            names = [path.name for path in (run / RECEIPTS).iterdir()]
        except OSError:
            names = []
        found = (_RECEIPT.fullmatch(name) for name in names)
        keys = ((int(one[1]), None if one[2] is None else int(one[2])) for one in found if one is not None)
        return cls(frozenset(keys), (run / DESCRIPTION).is_file())


def doubts(broken: Collection[int], derived: Derived, *, ended: Iterable[TrialKey], is_decided: bool) -> list[str]:
    """Return what speaks against a log, a sentence each.

    Args:
        broken: Lines that do not go on from those before.
        derived: What the run folder holds.
        ended: The trials that ended according to the log, also those that were opened again.
        is_decided: Whether finals were.
    """
    said = []
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        said.append(
            f"line {min(broken)} of {LOG_NAME}{more} does not go on from those before it: lines were lost, added or "
            f"changed there, so that what is shown may be wrong; {_RESTORE}"
        )
    lost = sorted(derived.receipts - set(ended), key=lambda key: (key[0], -1 if key[1] is None else key[1]))
    if lost:
        more = f" (and {len(lost) - 1} more)" if len(lost) > 1 else ""
        said.append(
            f"{RECEIPTS}/{trial_name(*lost[0])}.json{more} is of a trial that has not ended according to {LOG_NAME}: "
            f"its last lines were lost; {_RESTORE}"
        )
    if derived.has_model and not is_decided:
        said.append(f"{DESCRIPTION} is of finals that {LOG_NAME} does not hold: lines were lost; {_RESTORE}")
    return said
