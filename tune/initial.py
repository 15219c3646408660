"""The earlier model that all trials of a run start from: copied into the run folder, its weights always the same."""

from __future__ import annotations

import shutil
from pathlib import Path

from results.files import replacing
from results.log.state import RunState
from results.run_folder import INITIAL_MODEL
from seti_model.config import Configuration
from seti_model.description import Description, description_path, read_description
from tune.errors import StudyError
from tune.study import Study


def initial_model(study: Study, run: Path) -> Path | None:
    """Return where the workers find the model; None where trials start from scratch."""
    return None if study.study.init_from is None else run / INITIAL_MODEL


def initial_digest(study: Study, run: Path) -> str | None:
    """Return the digest of the weights in the run folder; None where trials start from scratch.

    Raises:
        ModelError: The model is not there.
    """
    copy = initial_model(study, run)
    return None if copy is None else read_description(copy).weights_digest


def prepare_initial(study: Study, run: Path, state: RunState) -> None:
    """Copy the model that the study names into the run folder; in a run that began, check that it is still the same.

    A run that began needs its copy only: what the study names may be gone.

    Raises:
        StudyError: Other weights than those the run began with, or another form of network than the study's.
        ModelError: No model there.
    """
    source, copy = study.init_from, initial_model(study, run)
    began = state.started is not None
    description = None
    if source is not None and copy is not None:
        description = read_description(copy if began and not source.is_file() else source)
    if state.started is not None:
        _require_same(run, state.started.init_digest, description)
    if source is None or copy is None or description is None or (began and copy.is_file()):
        return
    _require_form(source, description, study)
    _copy(source, copy)
    _copy(description_path(source), description_path(copy))


def _require_same(run: Path, began_with: str | None, now: Description | None) -> None:
    digest = None if now is None else now.weights_digest
    if digest != began_with:
        raise StudyError(
            f"{run}: its trials started from the weights {began_with}, [study] init_from now gives {digest}; "
            "restore it or choose another folder with --run"
        )


def _require_form(source: Path, description: Description, study: Study) -> None:
    """Refuse here what otherwise every trial would fail for."""
    ours = Configuration.from_mapping(study.configuration({})).form
    for name, earlier in description.configuration.form.items():
        if ours.get(name) != earlier:
            raise StudyError(
                f"{source}: made with {name}={earlier!r}, the study has {ours.get(name)!r}; set it under [fixed], "
                "the weights fit no other network"
            )


def _copy(source: Path, target: Path) -> None:
    try:
        with source.open("rb") as reader, replacing(target) as temporary, temporary.open("wb") as writer:
            shutil.copyfileobj(reader, writer)
    except OSError as error:
        raise StudyError(f"{source}: cannot be read ({error.strerror}); correct [study] init_from") from error
