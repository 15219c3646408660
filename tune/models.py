"""Exported models as their runs recorded them: loaded to predict, by the commands and from Python."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from results.log.models import recorded_models
from results.log.state import load_run
from results.run_folder import MODEL
from results.study import NETWORK
from results.text import printable
from seti_model.errors import ModelError
from seti_model.own import search_too
from seti_model.runtime import prepare_process, threads_in_use
from tune.cores import cores
from tune.errors import SearchError
from tune.test_split import run_of

if TYPE_CHECKING:  # what it imports takes seconds
    from seti_model.exported import ExportedModel


def load_delivered(run: Path, threads: int | None) -> ExportedModel:
    """Return the model that the finals of a run delivered.

    Args:
        run: The run folder.
        threads: Of TensorFlow's; None for those it runs with here, or all cores.

    Raises:
        RecordError: No run folder, or a damaged log.
        SearchError: There is none.
        ModelError: It was changed or cannot be read.
        ProcessError: TensorFlow runs here with other settings.
    """
    from results.finals import is_delivered  # needs pandas, which `--help` must not wait for

    state = load_run(run)
    decision = state.decisions[-1] if state.decisions else None
    if decision is None or not is_delivered(run, state, decision):
        if state.study.study.trainable != NETWORK:
            raise SearchError(f"{run}: its trainable is no network of ours and exports no model; see its checkpoints")
        raise SearchError(
            f"{run}: no model was delivered yet; run.run_finals() makes one once the search has ended, run.resume() "
            "ends the search and what was begun of the finals"
        )
    return load_recorded(run / MODEL, threads_in_use() or cores() if threads is None else threads)


def load_recorded(path: Path, threads: int, *, side_by_side: int = 1) -> ExportedModel:
    """Return a model; one in a run folder must be what the run's log says was written there.

    Args:
        path: Of the model.
        threads: Of TensorFlow's, for each batch.
        side_by_side: So many batches may be predicted at the same time.

    Raises:
        ModelError: It was changed or cannot be read.
        ProcessError: TensorFlow runs here with other settings.
    """
    prepare_process(threads, side_by_side=side_by_side)
    from seti_model.exported import load_model

    for folder in (path.parent, Path()):  # where a step of the user's own may lie
        search_too(folder.absolute())
    model = load_model(path)
    _require_recorded(path, model)
    if model.digest is None:
        print(
            f"note: {printable(str(path))} was exported before there was a digest of its class names and layers; "
            "they are taken as they are",
            file=sys.stderr,
        )
    return model


def _require_recorded(path: Path, model: ExportedModel) -> None:
    """Refuse a model in a run folder that is not the one which the run's log says was written there."""
    run = run_of(path)
    if run is None:
        return
    written = recorded_models(run).get(path.resolve().relative_to(run).as_posix())
    if written is not None and written.digest != model.digest:
        raise ModelError(
            f"{path}: its digest is {(model.digest or 'none')[:12]}, the log of {run} says {written.digest[:12]}: it "
            "was changed; restore it from a copy, or let the run write it again"
        )
