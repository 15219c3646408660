"""How a run goes on: its study from the log alone, what may differ since it began, and what is written first."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command, continuing
from results.files import read_moderate
from results.log.records import (
    Event,
    ImagesRecord,
    SpaceWidened,
    Status,
    StudyResumed,
    StudyStarted,
    ThreadsRecord,
    TrialReopened,
)
from results.log.state import RunState, TrialState, load_run
from results.run_folder import INITIAL_MODEL, LOG_NAME, SOURCE
from results.schema import Value
from results.study import NETWORK, Provenance, StudyRecord, forbidden_changes
from search_spaces.parameters import SpaceError
from search_spaces.space import Space, load_space
from search_spaces.widening import widen
from seti_model.config import Configuration
from seti_model.description import read_description
from seti_model.own import source_digest
from seti_model.pretrained import weights_digest
from tune.errors import StudyError
from tune.initial import initial_digest, initial_model
from tune.loop.next_work import within_budget
from tune.study import Study, recorded_code
from tune.trust import code_names, is_ours, own_code, require_trust

if TYPE_CHECKING:
    from seti_model.data.dataset import TrainingData


def recorded_study(
    run: Path,
    *,
    trials: int | None = None,
    data: Path | None = None,
    space: Path | None = None,
    storage: str | None = None,
) -> Study:
    """Return the study of a run as its log has it, the file it came from is not needed.

    Args:
        run: The run folder.
        trials: Another total number of trials.
        data: Where the data set is now.
        space: A file with a wider space.
        storage: Where its store is now.

    Raises:
        RecordError: No run folder, or an empty or damaged log.
        StudyError: The record is refused, or what is asked for.
        SpaceError: The space cannot be read or does not fit.
    """
    state = load_run(run)
    require_search(run, state)
    wider = Space.from_mapping(state.space) if space is None else load_space(space)
    record = _carried_over(state, wider)
    if space is not None:
        section = dataclasses.replace(record.study, space=str(space.absolute()))
        record = dataclasses.replace(record, study=section)
    source = run / SOURCE
    study = Study.from_record(record, wider, place=run / LOG_NAME, source=_text(source))
    copy = initial_model(study, run)
    study = study if copy is None else study.with_init_from(copy)  # the original may have gone or changed
    study = study if data is None else study.with_data(data)
    study = study if storage is None else study.with_storage(storage)
    return study if trials is None else study.with_trials(trials)


def require_own_code(run: Path, *, is_trusted: bool) -> None:
    """Refuse to go on with a run whose log names code of another user that is not what was recorded, or a store.

    To be called before anything that imports it, `recorded_study` for instance.

    Args:
        run: The run folder.
        is_trusted: Whether the user has said that it may be run.

    Raises:
        RecordError: No run folder, or an empty or damaged log.
        StudyError: There is such code.
    """
    state, log = load_run(run), run / LOG_NAME
    uri, home, trainable = state.study.storage.uri, state.study.folder, state.study.study.trainable
    if uri is not None and not is_trusted and not is_ours(log):
        raise StudyError(f"{log}: belongs to another user and names a store, {uri}; add --trust to write to it")
    if home is None:
        return
    names = {*recorded_code(state.study, Space.from_mapping(state.space))} if state.space else set[str]()
    for trial in state.trials.values():
        names |= code_names(trainable, trial.started.configuration)
    if (model := run / INITIAL_MODEL).is_file():
        names |= code_names(NETWORK, read_description(model).configuration.to_mapping())
    require_trust(log, Path(home), names, state.provenance.own_code, is_trusted=is_trusted)


def require_search(run: Path, state: RunState) -> None:
    """Refuse what is asked of the run of a search only.

    Raises:
        StudyError: The run trains one given configuration.
    """
    if not state.is_search:
        raise StudyError(
            f"{run}: holds the training of one configuration and no search; continue it with "
            f"`{continuing(run, is_search=False)}`"
        )


def _text(copy: Path) -> str:
    """Return the study file as it was given; the record does not need it."""
    try:
        return read_moderate(copy).decode("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not UTF-8"
        raise StudyError(f"{copy}: cannot be read ({why}); restore it from a copy or remove it") from error


def finals_study(
    run: Path, *, data: Path | None = None, finalists: int | None = None, seeds: int | None = None
) -> Study:
    """Return the study of a run whose search has ended, with its finals switched on.

    Args:
        run: The run folder.
        data: Where the data set is now.
        finalists: Another number of them.
        seeds: Another number of retrainings of each.

    Raises:
        RecordError: No run folder, or an empty or damaged log.
        StudyError: The search has not ended, or the record or what is asked for is refused.
    """
    study = recorded_study(run, data=data).with_finals(finalists=finalists, seeds=seeds)
    state = load_run(run)
    trials = state.search_trials()
    ended = sum(trial.ended is not None for trial in trials)
    if ended < len(trials) or (ended < study.study.trials and within_budget(study, state)):
        raise StudyError(
            f"{run}: its search has not ended ({ended} of {study.study.trials} trials); continue it with "
            f"`{command('resume', run)}`, the finals follow, or end it there with "
            f"`{command('resume', run, trials=len(trials))}`"
        )
    return study


def retries(state: RunState) -> list[TrialReopened]:
    """Return what opens all failed trials again, retrainings too."""
    failed = (trial.started for trial in state.trials.values() if trial.status == Status.FAILED)
    return [TrialReopened(trial=one.trial, repeat=one.repeat, why="asked for by --retry-failed") for one in failed]


def check_continuation(study: Study, state: RunState, run: Path) -> SpaceWidened | None:
    """Refuse to continue a run whose trials would not be comparable with new ones.

    Returns:
        The event that carries the trials over into the study's wider space; None if the space is the same.

    Raises:
        StudyError: Another study, a space that does not only widen, or a setting that trials depend on.
    """
    if state.started is None:
        return None
    try:
        widened = _widened(study.space, state)
        old = _carried_over(state, study.space)
    except SpaceError as error:
        raise StudyError(f"{run}: {error} (--run names another folder)") from error
    _require_same_sources(state, run)
    if (0, None) not in state.trials:  # no baseline has run yet, so it may have values for what is new
        known = state.space["parameters"]
        added = {name: value for name, value in study.baseline.items() if name not in known}
        old = dataclasses.replace(old, baseline={**old.baseline, **added})
    if study.storage.uri is None and old.storage.uri is not None:
        raise StudyError(
            f"{run}: its checkpoints are in {old.storage.uri}; set [storage] uri again, or choose another folder with "
            "--run"
        )
    for change in forbidden_changes(old, study.record()):
        raise StudyError(
            f"{run}: holds another study: [{change.section}] {change.key} was {change.before!r}, is now "
            f"{change.now!r}; set it back or choose another folder with --run"
        )
    return widened


def _require_same_sources(state: RunState, run: Path) -> None:
    """Refuse to go on where a module or a file of weights is another one than the trials so far had."""
    for trial in state.trials.values():
        weights, digest = (trial.started.configuration.get(f"vgg16.{field}") for field in ("weights", "source"))
        if digest and weights_digest(Path(str(weights))) != digest:
            raise StudyError(
                f"{run}: trial {trial.started.trial} began with another file of {weights}; restore it, or choose "
                "another folder with --run"
            )
        if not any(trial.started.configuration.get(field) for field in ("network.source", "prepare.source")):
            continue
        for source, names in Configuration.from_mapping(trial.started.configuration).own_sources.items():
            if source != source_digest(names):
                raise StudyError(
                    f"{run}: trial {trial.started.trial} was trained with another file of {', '.join(names)}; restore "
                    "it, or choose another folder with --run"
                )


def check_digest(run: Path, state: RunState, digest: str | None) -> None:
    """Refuse a data set that the trials so far have not seen.

    Raises:
        StudyError: The run began with another one.
    """
    if state.started is not None and digest != state.started.data_digest:
        raise StudyError(
            f"{run}: its trials saw the data set {state.started.data_digest}, the one given now is {digest}; "
            "restore the data or choose another folder with --run"
        )


@dataclass(frozen=True)
class SeenData:
    """What the first line of a log says of the data set; nothing of a trainable of one's own that has none."""

    digest: str | None = None
    validation_images: int | None = None
    images: ImagesRecord | None = None

    @classmethod
    def of(cls, data: TrainingData | None, digest: str | None = None) -> SeenData:
        """Return what is to be said of `data`; `digest` where there is another one."""
        if data is None:
            return cls(digest)
        images = ImagesRecord(data.kind.of, data.kind.axes)
        return cls(digest or data.digest, len(data.validation.labels), images)


def opening_events(
    study: Study,
    state: RunState,
    run: Path,
    *,
    data: SeenData,
    provenance: Provenance,
    threads: ThreadsRecord | None = None,
) -> list[Event]:
    """Return what a driver writes before anything else, in one piece.

    Args:
        study: The study.
        state: The run as it is.
        run: Its folder.
        data: What it sees.
        provenance: Of the driver.
        threads: What was chosen, where it begins.

    Raises:
        StudyError: As `check_continuation`.
        ModelError: The initial model has gone from the run folder.
    """
    record = study.record()
    provenance = dataclasses.replace(provenance, own_code=own_code(study.home, study.code_names()))
    if state.started is not None:
        widened = check_continuation(study, state, run)
        # The space first: were only one of the two on the disk, the study could still be read with it.
        return [*([] if widened is None else [widened]), StudyResumed(study=record, provenance=provenance)]
    return [
        StudyStarted(
            study=record,
            space=study.space.to_mapping(),
            space_fingerprint=study.space.fingerprint,
            data_digest=data.digest,
            validation_images=data.validation_images,
            images=data.images,
            init_digest=initial_digest(study, run),
            threads=threads,
            provenance=provenance,
        )
    ]


def _widened(space: Space, state: RunState) -> SpaceWidened | None:
    if space.fingerprint == state.space_fingerprint:
        return None
    widening = widen(Space.from_mapping(state.space), space)
    carried = {
        str(number): widening.carry(number, trial.parameters, _complete(state, trial))
        for (number, _), trial in state.trials.items()
    }
    return SpaceWidened(
        space=space.to_mapping(),
        space_fingerprint=space.fingerprint,
        changes=widening.changes,
        carried={number: values for number, values in carried.items() if values},
    )


def _carried_over(state: RunState, space: Space) -> StudyRecord:
    """Return the study as it is recorded, without or with what a wider space makes a parameter of.

    A parameter that is added leaves [fixed]; a baseline and start points that have run have the value they ran with.
    """
    names = {parameter.name for parameter in space.parameters}
    fixed = {name: value for name, value in state.study.fixed.items() if name not in names}
    baseline = dict(state.study.baseline)
    first = state.trials.get((0, None))
    if baseline and first is not None and first.started.is_baseline:
        baseline = _present(state, space, first)
    begun = {trial.started.origin: trial for trial in state.search_trials() if trial.started.origin is not None}
    start = tuple(
        dataclasses.replace(point, parameters=_present(state, space, begun[point.origin]))
        if point.origin in begun
        else point
        for point in state.study.start
    )
    return dataclasses.replace(state.study, fixed=fixed, baseline=baseline, start=start)


def _present(state: RunState, space: Space, trial: TrialState) -> dict[str, Value]:
    """Return the point of a trial in a space that may be wider than its own."""
    point = dict(trial.parameters)
    if space.fingerprint != state.space_fingerprint:
        widening = widen(Space.from_mapping(state.space), space)
        point |= widening.carry(trial.started.trial, point, _complete(state, trial))
    return point


def _complete(state: RunState, trial: TrialState) -> Mapping[str, Value]:
    """Return a trial's configuration with the fields that were not there yet when it was recorded."""
    given = trial.started.configuration
    is_network = state.study.study.trainable == NETWORK
    return Configuration.from_mapping(given).to_mapping() if is_network else given
