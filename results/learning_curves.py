"""Learning curves of one or more runs, from their logs or from a Parquet file: what a search is replayed from."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from results.errors import RecordError
from results.files import MOST_BYTES, UNREADABLE, check_output, replacing
from results.log.records import Status
from results.log.state import RunState, TrialState, load_run
from results.objective import Objective
from results.schema import SchemaError, Value, parse_json, read, read_json, to_json
from results.study import StudyRecord, forbidden_changes

_HEADER = b"seti-tune.curves"  # in the metadata of a Parquet file
_MOST_CELLS = 10**7  # of a table that is read: epochs of all curves
_USED = (Status.COMPLETED, Status.STOPPED, Status.RUNNING, Status.DIVERGED)


@dataclass(frozen=True)
class Curve:
    """One training: the objective and the seconds of each epoch, from the first, as far as it went.

    Completed ones are whole; one that diverged has an end of its own; all others were cut by a stop, or still run.
    """

    parameters: Mapping[str, Value]
    seed: int
    values: tuple[float, ...]
    seconds: tuple[float, ...]
    status: Status
    is_baseline: bool = False

    @property
    def is_cut(self) -> bool:
        """Whether it would have gone on."""
        return self.status not in (Status.COMPLETED, Status.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class _Header:
    """What was searched. `left_out` trials have no curve; `doubts` say where a log was changed after it was written."""

    study: StudyRecord
    space: Mapping[str, Any]
    fingerprint: str
    data_digest: str | None
    left_out: int = 0
    doubts: tuple[str, ...] = ()

    @property
    def objective(self) -> Objective:
        """By what the curves are ranked."""
        return self.study.objective


@dataclass(frozen=True, kw_only=True)
class Recorded(_Header):
    """What was searched, and the curves; of several runs the first one's study."""

    curves: tuple[Curve, ...]


def read_curves(paths: Iterable[Path]) -> Recorded:
    """Read run folders and files of curves, all of one search: the same space, data, epochs, objective and [fixed].

    Raises:
        RecordError: One cannot be read, is no search, holds no curve, or cannot be compared with the first.
    """
    first: Recorded | None = None
    for path in paths:
        one = _read_file(path) if path.is_file() else _of_run(path, load_run(path))
        if first is None:
            first, place = one, path
            continue
        if (why := next(_differences(first, one), None)) is not None:
            raise RecordError(f"{path}: {why} than {place}; replay runs of one search together")
        first = replace(
            first,
            curves=(*first.curves, *one.curves),
            left_out=first.left_out + one.left_out,
            doubts=(*first.doubts, *one.doubts),
        )
    if first is None:
        raise RecordError("nothing to replay; name a run folder or a file of curves")
    return first


def write_curves(path: Path, recorded: Recorded) -> None:
    """Write curves into one Parquet file, a row each; where the study file was stays out of it.

    Raises:
        RecordError: As `results.files.check_output`, or it cannot be written.
    """
    import pyarrow as pa
    from pyarrow import parquet

    check_output(path)
    header = _Header(**{f.name: getattr(recorded, f.name) for f in fields(_Header)})
    header = replace(header, study=replace(recorded.study, folder=None, start=()))
    columns = {
        "parameters": pa.array(
            [to_json(dict(curve.parameters), indent=None) for curve in recorded.curves], pa.string()
        ),
        "seed": pa.array([curve.seed for curve in recorded.curves], pa.int64()),
        "status": pa.array([curve.status.value for curve in recorded.curves], pa.string()),
        "is_baseline": pa.array([curve.is_baseline for curve in recorded.curves], pa.bool_()),
        "values": pa.array([curve.values for curve in recorded.curves], pa.list_(pa.float64())),
        "seconds": pa.array([curve.seconds for curve in recorded.curves], pa.list_(pa.float64())),
    }
    table = pa.table(columns).replace_schema_metadata({_HEADER: to_json(header, indent=None).encode()})
    with replacing(path) as temporary:
        parquet.write_table(table, temporary, compression="zstd")


def _of_run(run: Path, state: RunState) -> Recorded:
    if not state.is_search:
        raise RecordError(f"{run}: trains one given configuration; name the run of a search")
    trials = [*state.search_trials(), *state.final_trials()]
    curves = tuple(curve for trial in trials if (curve := _curve(trial)) is not None)
    if not curves:
        raise RecordError(f"{run}: no trial has an epoch yet; wait for one")
    digest = state.started.data_digest if state.started else None
    return Recorded(
        study=state.study,
        space=state.space,
        fingerprint=state.space_fingerprint,
        data_digest=digest,
        curves=curves,
        left_out=len(trials) - len(curves),
        doubts=tuple(f"{run.name}: {doubt}" for doubt in state.doubts),
    )


def _curve(trial: TrialState) -> Curve | None:
    """Return a trial's epochs; None without the first, or where it failed: that is no property of its configuration."""
    most = trial.started.max_epochs
    epochs = [trial.epochs[n] for n in itertools.takewhile(trial.epochs.__contains__, range(1, most + 1))]
    if trial.status not in _USED or (not epochs and trial.status != Status.DIVERGED):
        return None
    return Curve(
        parameters=dict(trial.parameters),
        seed=trial.started.seed,
        values=tuple(epoch.value for epoch in epochs),
        seconds=tuple(max(0.0, s) if math.isfinite(s := epoch.seconds or 0.0) else 0.0 for epoch in epochs),
        status=Status.STOPPED if trial.status == Status.COMPLETED and len(epochs) < most else trial.status,
        is_baseline=trial.started.is_baseline,
    )


def _differences(first: Recorded, other: Recorded) -> Iterator[str]:
    """Yield what makes the curves of another run say nothing about the first."""
    if first.fingerprint != other.fingerprint:
        yield "has another space"
    if first.data_digest != other.data_digest:
        yield "has another data set"
    for change in forbidden_changes(first.study, other.study):
        if change.section in ("study", "fixed") and change.key != "seed":
            yield f"[{change.section}] {change.key} is {change.now} and not {change.before}, another"


def _read_file(path: Path) -> Recorded:
    try:
        return _from_parquet(path)
    except RecordError as error:
        raise RecordError(f"{path}: {error}") from error
    except UNREADABLE as error:
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise RecordError(
            f"{path}: is no file of curves ({why}); write one with `seti-tune replay RUN --save FILE`"
        ) from error


def _from_parquet(path: Path) -> Recorded:
    from pyarrow import parquet

    if path.stat().st_size > MOST_BYTES:
        raise RecordError(f"{path.stat().st_size} bytes, at most {MOST_BYTES} are read; keep fewer curves in one file")
    claimed = parquet.read_metadata(path)
    groups = (claimed.row_group(number) for number in range(claimed.num_row_groups))
    cells = sum(group.column(number).num_values for group in groups for number in range(group.num_columns))
    if cells > _MOST_CELLS:
        raise RecordError(f"{cells} values, at most {_MOST_CELLS} are read; keep fewer curves in one file")
    table = parquet.read_table(path)
    header = read_json((table.schema.metadata or {})[_HEADER], _Header)
    curves = tuple(_row(row, header.study.study.max_epochs) for row in table.to_pylist())
    if not curves:
        raise ValueError("no curve in it")
    return Recorded(**vars(header), curves=curves)


def _row(row: Mapping[str, Any], max_epochs: int) -> Curve:
    curve = read({**row, "parameters": parse_json(row["parameters"])}, Curve)
    if len(curve.values) != len(curve.seconds) or len(curve.values) > max_epochs:
        raise SchemaError(f"{len(curve.values)} values and {len(curve.seconds)} seconds of {max_epochs} epochs")
    if curve.status not in _USED or not (curve.values or curve.status == Status.DIVERGED):
        raise SchemaError(f"a curve of {len(curve.values)} epochs of a trial that is {curve.status}")
    if not all(math.isfinite(second) and second >= 0 for second in curve.seconds):
        raise SchemaError("seconds that are no time")
    if curve.status == Status.COMPLETED and len(curve.values) < max_epochs:
        raise SchemaError(f"{len(curve.values)} of {max_epochs} epochs in a completed trial")
    return curve
