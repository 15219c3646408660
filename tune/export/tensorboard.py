"""A run for TensorBoard: a folder of event files, one a trial, with its curves and what the HParams tab compares."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX.proto import api_pb2, plugin_hparams_pb2
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary, SummaryMetadata
from tensorboardX.record_writer import masked_crc32c

from results.log.event_log import write_atomically
from results.log.records import Status, Value
from results.log.state import RunState, TrialState
from search_spaces.parameters import Categorical, Float, Int
from search_spaces.space import Space
from tune.errors import StudyError
from tune.export.scalars import OBJECTIVE, SCALARS, run_name, scalars_by_epoch, seconds_of

FILE = "events.out.tfevents.0.seti-tune"  # a name that TensorBoard looks for; times stand in the events
BASELINE = "baseline"


def export_tensorboard(state: RunState, folder: Path) -> int:
    """Bring a folder up to date: an event file for each trial and one that says what they have in common.

    A file is only ever added to while its trial goes on, so that a TensorBoard that shows it follows.

    Returns:
        How many trials the folder shows.

    Raises:
        StudyError: The folder holds something else.
        RecordError: It cannot be written.
    """
    if folder.exists() and not (folder / FILE).is_file() and any(folder.iterdir()):
        raise StudyError(f"{folder}: holds something else than a run for TensorBoard; name another folder with --out")
    experiment = _experiment(state, Space.from_mapping(state.space))
    if (folder / FILE).is_file() and not (folder / FILE).read_bytes().startswith(_first(experiment)):
        raise StudyError(f"{folder}: holds another run for TensorBoard; delete it or name another folder with --out")
    _bring_up_to_date(folder / FILE, [experiment])
    trials = state.search_trials() + state.final_trials()
    for trial in trials:
        _bring_up_to_date(folder / run_name(trial) / FILE, _events(trial))
    return len(trials)


def _bring_up_to_date(path: Path, events: list[Event]) -> None:
    """Append what is missing to an event file; one that says otherwise, or is damaged, is written anew."""
    data = _first(events[0]) + b"".join(_record(event.SerializeToString(deterministic=True)) for event in events)
    there = path.read_bytes() if path.is_file() else b""
    if not there or not data.startswith(there):
        write_atomically(path, data)
    elif len(there) < len(data):
        with path.open("ab") as file:
            file.write(data[len(there) :])


def _first(event: Event) -> bytes:
    """Return how a file that begins with this event begins: with the time of the run or trial."""
    return _record(Event(wall_time=event.wall_time, file_version="brain.Event:2").SerializeToString(deterministic=True))


def _record(data: bytes) -> bytes:
    """Frame one event as a TFRecord: length and data, each followed by its masked CRC-32C."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", masked_crc32c(length)) + data + struct.pack("<I", masked_crc32c(data))


def _events(trial: TrialState) -> list[Event]:
    events = []
    if trial.started.repeat is None:  # HParams compares the trials of the search
        start = plugin_hparams_pb2.SessionStartInfo(
            start_time_secs=seconds_of(trial.started.time), group_name=run_name(trial)
        )
        for name, value in {**trial.parameters, BASELINE: trial.started.is_baseline}.items():
            _set(start.hparams[name], value)
        events.append(_hparams("session_start_info", start, trial.started.time))
    for epoch, numbers in scalars_by_epoch(trial):
        values = [Summary.Value(tag=name, simple_value=number) for name, number in numbers.items()]
        events.append(Event(wall_time=seconds_of(epoch.time), step=epoch.epoch, summary=Summary(value=values)))
    if trial.ended is not None and trial.started.repeat is None:
        word = "STATUS_SUCCESS" if trial.status in (Status.COMPLETED, Status.STOPPED) else "STATUS_FAILURE"
        end = plugin_hparams_pb2.SessionEndInfo(
            status=api_pb2.Status.Value(word), end_time_secs=seconds_of(trial.ended.time)
        )
        events.append(_hparams("session_end_info", end, trial.ended.time))
    return events or [Event(wall_time=seconds_of(trial.started.time))]


def _experiment(state: RunState, space: Space) -> Event:
    infos = [_parameter(parameter) for parameter in space.parameters]
    infos.append(api_pb2.HParamInfo(name=BASELINE, type=api_pb2.DATA_TYPE_BOOL))
    metrics = [api_pb2.MetricInfo(name=api_pb2.MetricName(tag=tag)) for tag in (OBJECTIVE, *SCALARS)]
    time = state.started.time if state.started else ""
    experiment = api_pb2.Experiment(time_created_secs=seconds_of(time), hparam_infos=infos, metric_infos=metrics)
    return _hparams("experiment", experiment, time)


def _parameter(parameter: Float | Int | Categorical) -> Any:
    info = api_pb2.HParamInfo(name=parameter.name, type=api_pb2.DATA_TYPE_FLOAT64)
    if isinstance(parameter, Categorical):
        kinds = {bool: api_pb2.DATA_TYPE_BOOL, str: api_pb2.DATA_TYPE_STRING}
        info.type = kinds.get(type(parameter.choices[0]), info.type)  # all choices are of one type
        info.domain_discrete.extend(parameter.choices)
    else:
        info.domain_interval.min_value, info.domain_interval.max_value = parameter.low, parameter.high
    return info


def _set(field: Any, value: Value) -> None:
    if isinstance(value, bool):
        field.bool_value = value
    elif isinstance(value, str):
        field.string_value = value
    else:
        field.number_value = value


def _hparams(kind: str, content: Any, time: str) -> Event:
    """Wrap a message of the HParams tab as an event; `kind` is its field and the end of its tag."""
    named: Mapping[str, Any] = {kind: content}
    data = plugin_hparams_pb2.HParamsPluginData(version=0, **named).SerializeToString(deterministic=True)
    metadata = SummaryMetadata(plugin_data=SummaryMetadata.PluginData(plugin_name="hparams", content=data))
    value = Summary.Value(tag=f"_hparams_/{kind}", metadata=metadata)
    return Event(wall_time=seconds_of(time), summary=Summary(value=[value]))
