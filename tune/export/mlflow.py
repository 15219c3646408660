"""A run for MLflow: a local SQLite store with one MLflow run a trial, written through MLflow's own client."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from results.log.records import Status
from results.log.state import RunState, TrialState
from tune.errors import StudyError
from tune.export.scalars import run_name, scalars_by_epoch, seconds_of

INSTALL = "install it with `pip install mlflow-skinny`, or `mlflow` with its viewer"
BATCH = 1000  # metrics that MLflow takes at once
TRIAL, VERSION = "seti_tune.trial", "seti_tune.version"  # tags: which trial a run is of, and of which state of it
_LONGEST_TAG = 500  # letters; MLflow refuses what is much longer


def export_mlflow(state: RunState, path: Path) -> int:
    """Add the trials that have ended and are not there yet, or are there otherwise, to a store.

    Runs of several studies may share a store; nothing in it that came from elsewhere is touched.

    Returns:
        How many trials were added.

    Raises:
        StudyError: MLflow is not installed, or the file is no store of it that can be written to.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise StudyError(f"{path}: is a link, a device, a pipe or a folder; name another folder with --out")
    client, errors = _client(path.absolute())
    try:
        return _bring_up_to_date(client, state, path.absolute())
    except errors as error:
        raise _unusable(path, error) from error


def _client(path: Path) -> tuple[Any, tuple[type[Exception], ...]]:
    """Return a client of the store and what it may raise."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # a search says nothing to anybody
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise StudyError(f"--mlflow needs MLflow, which is not part of seti-tune ({error}); {INSTALL}") from error
    from sqlalchemy.exc import SQLAlchemyError

    errors = (MlflowException, SQLAlchemyError, OSError)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(f"sqlite:///{path}"), errors
    except errors as error:
        raise _unusable(path, error) from error


def _unusable(path: Path, error: Exception) -> StudyError:
    what = str(error).splitlines()[0]
    return StudyError(
        f"{path}: cannot be used as a store of MLflow ({what}); free some space, name another folder with --out, or "
        "delete it"
    )


def _bring_up_to_date(client: Any, state: RunState, path: Path) -> int:
    experiment = _experiment(client, state.study.study.name, path)
    there = _known(client, experiment)
    origin = state.started.time if state.started else ""
    added = 0
    for trial in state.search_trials() + state.final_trials():
        name = f"{origin} {run_name(trial)}"
        version = f"{trial.ended.time} {state.space_fingerprint}" if trial.ended else ""
        if trial.ended is None or there.get(name, {}).get(version):
            continue
        for run_id in there.get(name, {}).values():  # of a space since widened, or cut off while it was written
            client.delete_run(run_id)
        _add(client, experiment, trial, {TRIAL: name, VERSION: version})
        added += 1
    return added


def _experiment(client: Any, name: str, path: Path) -> str:
    there = client.get_experiment_by_name(name)
    if there is not None:
        return str(there.experiment_id)
    # Nothing is stored there, but MLflow would else take a folder in the working directory.
    return str(client.create_experiment(name, artifact_location=(path.parent / "mlflow-artifacts").as_uri()))


def _known(client: Any, experiment: str) -> dict[str, dict[str, str]]:
    """Return the runs that came from here: their id by version, by trial."""
    found: dict[str, dict[str, str]] = {}
    token = None
    while True:
        page = client.search_runs([experiment], max_results=1000, page_token=token)
        for run in page:
            if TRIAL in run.data.tags:
                found.setdefault(run.data.tags[TRIAL], {})[run.data.tags.get(VERSION, "")] = run.info.run_id
        token = page.token
        if not token:
            return found


def _add(client: Any, experiment: str, trial: TrialState, tags: dict[str, str]) -> None:
    from mlflow.entities import Metric, Param, RunTag

    started, ended = trial.started, trial.ended
    run = client.create_run(
        experiment, start_time=_ms(started.time), run_name=run_name(trial), tags={TRIAL: tags[TRIAL]}
    )
    metrics = [
        Metric(name, number, _ms(epoch.time), epoch.epoch)
        for epoch, numbers in scalars_by_epoch(trial)
        for name, number in numbers.items()
    ]
    parameters = [Param(name, str(value)) for name, value in trial.parameters.items()]
    said = {
        "status": trial.status,
        "reason": ended.reason[:_LONGEST_TAG] if ended else "",
        "baseline": str(started.is_baseline),
        "seed": str(started.seed),
    }
    client.log_batch(run.info.run_id, params=parameters, tags=[RunTag(*tag) for tag in said.items()])
    for first in range(0, len(metrics), BATCH):
        client.log_batch(run.info.run_id, metrics=metrics[first : first + BATCH])
    status = "FINISHED" if trial.status in (Status.COMPLETED, Status.STOPPED) else "FAILED"
    client.set_terminated(run.info.run_id, status=status, end_time=_ms(ended.time) if ended else None)
    client.set_tag(run.info.run_id, VERSION, tags[VERSION])  # last: what has it is whole


def _ms(time: str) -> int:
    return round(seconds_of(time) * 1000)
