"""What a report says of a run, for the writers of Markdown and of HTML alike."""

from __future__ import annotations

from collections.abc import Iterable

from results.log.state import RunState


def provenance(state: RunState) -> list[tuple[str, str]]:
    """Return what the run was made from and with; where drivers differed, each value in the order of the drivers."""
    if state.started is None:
        return []
    drivers = state.drivers
    packages = dict.fromkeys(name for driver in drivers for name in driver.get("versions", {}))
    machines = (driver.get("machine", {}).items() for driver in drivers)
    rows = [
        ("started", state.started.time),
        ("data set digest", state.started.data_digest or ""),
        ("digest of the initial weights", state.started.init_digest or ""),
        ("space fingerprint", state.space_fingerprint),
        ("commit", _in_turn(driver.get("commit") or "not run from a checkout" for driver in drivers)),
        ("Python", _in_turn(driver.get("python") for driver in drivers)),
        *((name, _in_turn(driver.get("versions", {}).get(name) for driver in drivers)) for name in packages),
        ("machine", _in_turn(", ".join(f"{name} {value}" for name, value in machine) for machine in machines)),
        ("nodes", ", ".join(sorted({r.node for t in state.trials.values() for r in t.running.values()}))),
    ]
    return [(what, value) for what, value in rows if value]


def _in_turn(values: Iterable[object]) -> str:
    """Return each known value once, in the order of its first use."""
    return ", later ".join(dict.fromkeys(str(value) for value in values if value))
