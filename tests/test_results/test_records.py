import dataclasses
import json
import math
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.errors import RecordError
from results.files import is_below
from results.log import lines
from results.log.lines import from_line, to_line
from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import (
    ENDED,
    EVENTS,
    Cause,
    Epoch,
    Event,
    ImagesRecord,
    Rung,
    RungDecision,
    StudyResumed,
    StudyStarted,
    ThreadsRecord,
    TrialStarted,
)
from results.log.state import load_run
from results.receipt import read_receipt, receipt_of
from results.run_folder import LOG_NAME
from results.schema import SchemaError
from results.study import DataSection, FinalsSection, Provenance, SearchSection, StartPoint, StudyRecord, StudySection
from tune.resume import recorded_study

TEXT = st.text(max_size=20)
VALUES = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
SPACES = st.fixed_dictionaries({"name": TEXT, "parameters": st.dictionaries(TEXT, st.dictionaries(TEXT, VALUES))})
STUDIES = st.builds(
    StudyRecord,
    folder=st.none() | TEXT,
    study=st.builds(StudySection, name=TEXT, trials=st.integers(1, 99), time_limit_h=st.none() | st.floats(0, 9)),
    search=st.none() | st.builds(SearchSection, sampler=st.sampled_from(["tpe", "random"])),
    data=st.builds(DataSection, path=st.none() | TEXT),
    finals=st.none() | st.builds(FinalsSection, enabled=st.booleans()),
    fixed=st.dictionaries(TEXT, VALUES, max_size=4),
    start=st.lists(st.builds(StartPoint, TEXT, st.dictionaries(TEXT, VALUES, max_size=2)), max_size=2).map(tuple),
)
THREADS = st.builds(
    ThreadsRecord,
    cores=st.integers(1, 99),
    workers=st.integers(1, 99),
    threads=st.integers(1, 99),
    images_per_s=st.dictionaries(TEXT, st.floats(0, 1e9), max_size=2),
)
BY_ANNOTATION: dict[str, st.SearchStrategy[Any]] = {
    "str": TEXT,
    "int": st.integers(0, 10**6),
    "float": st.floats(),
    "bool": st.booleans(),
    "str | None": st.none() | TEXT,
    "int | None": st.none() | st.integers(0, 10**6),
    "float | None": st.none() | st.floats(),
    "Status": st.sampled_from(ENDED),
    "RungDecision": st.sampled_from(RungDecision),
    "Cause | None": st.none() | st.sampled_from(Cause),
    "tuple[int, ...]": st.lists(st.integers(0, 10**6), max_size=3).map(tuple),
    "tuple[str, ...]": st.lists(TEXT, max_size=3).map(tuple),
    "Mapping[str, Mapping[str, Value]]": st.dictionaries(TEXT, st.dictionaries(TEXT, VALUES, max_size=2), max_size=2),
    "Mapping[str, Value]": st.dictionaries(TEXT, VALUES, max_size=4),
    "ImagesRecord | None": st.none() | st.builds(ImagesRecord, of=TEXT, axes=st.tuples(TEXT, TEXT)),
    "ThreadsRecord | None": st.none() | THREADS,
    "SpaceRecord": SPACES,
    "SpaceRecord | None": st.none() | SPACES,
    "StudyRecord": STUDIES,
    "Provenance": st.builds(
        Provenance,
        versions=st.dictionaries(TEXT, TEXT, max_size=2),
        machine=st.dictionaries(TEXT, st.none() | VALUES, max_size=2),
        cluster=st.dictionaries(TEXT, st.lists(VALUES, max_size=2), max_size=3),
    ),
}


@st.composite
def events(draw: st.DrawFn) -> Event:
    cls = draw(st.sampled_from(sorted(EVENTS.values(), key=lambda c: c.kind)))
    return cls(**{f.name: draw(_values(f)) for f in dataclasses.fields(cls)})


def _values(f: dataclasses.Field[Any]) -> st.SearchStrategy[Any]:
    if f.name not in ("path", "resume_from", "predictions", "model"):
        return BY_ANNOTATION[str(f.type)]
    paths = st.lists(TEXT, min_size=1, max_size=3).map("/".join).filter(is_below)
    return paths if str(f.type) == "str" else st.none() | paths


@given(events())
def test_every_event_survives_its_line(event: Event) -> None:
    line = to_line(event)
    assert "\n" not in line
    json.loads(line, parse_constant=_refuse)  # called for NaN and Infinity, which are no JSON
    # repr tells NaN from NaN, which == does not, and 1 from 1.0.
    assert repr(from_line(line)) == repr(event)


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_numbers_that_are_not_finite_are_null_with_a_reason() -> None:
    line = json.loads(to_line(Epoch(trial=1, attempt=0, epoch=2, validation_accuracy=0.5, train_loss=math.inf)))
    assert line["train_loss"] is None
    assert line["not_finite"] == {"train_loss": "inf"}


def test_every_line_says_version_kind_and_utc_time() -> None:
    line = json.loads(to_line(Epoch(trial=1, attempt=0, epoch=2, validation_accuracy=0.5)))
    assert (line["v"], line["kind"]) == (1, "epoch")
    assert line["time"].endswith("Z")


def test_a_required_field_may_be_none_and_comes_back() -> None:
    event = StudyStarted(study=StudyRecord(), data_digest=None, provenance=Provenance())
    assert from_line(to_line(event)) == event


def holds(now: object, before: object) -> bool:
    """Whether all that was there is there still; keys may have come to it."""
    if isinstance(before, dict):
        return isinstance(now, dict) and all(key in now and holds(now[key], before[key]) for key in before)
    return now == before


def test_a_log_and_a_receipt_of_the_first_version_are_read_whole(tmp_path: Path) -> None:
    old = Path(__file__).with_name("log_of_version_1.jsonl")
    for line in old.read_text().splitlines():
        before = json.loads(line)
        before.get("study", {}).pop("export", None)  # nothing reads it any more
        assert holds(json.loads(to_line(from_line(line))), before)
    shutil.copy(old, tmp_path / LOG_NAME)
    state = load_run(tmp_path)
    assert [trial.status for trial in state.search_trials()] == ["completed", "stopped"]
    receipt = old.with_name("receipt_of_version_1.json")
    assert read_receipt(receipt) == receipt_of(state, (1, None))
    assert holds(json.loads(receipt_of(state, (1, None)).to_text()), json.loads(receipt.read_text()))
    study = recorded_study(tmp_path)
    assert (study.is_network, study.study.space, study.home) == (True, "baseline", Path("/somewhere"))


VALID: dict[str, dict[str, Any]] = {
    "epoch": {"attempt": 0, "epoch": 1, "validation_accuracy": 0.5},
    "trial_started": {"parameters": {"x": 1}, "configuration": {}, "seed": 1, "is_baseline": False, "max_epochs": 3},
    "trial_ended": {"status": "completed", "reason": "", "epochs": 1},
    "rung": {"epoch": 1, "value": 1, "seen": 1, "better": 0, "cutoff": 1, "decision": "stop"},
    "attempt_ended": {"attempt": 0, "why": "", "cause": "memory"},
}
LINE = {
    kind: json.dumps({"v": 1, "kind": kind, "time": "t", "trial": 1, **values}, separators=(",", ":"))
    for kind, values in VALID.items()
}
LINE["finals_decided"] = (
    '{"v":1,"kind":"finals_decided","time":"t","finalists":[1,2],"seeds":1,"search_trials":2,"winner":1,"delivered":0}'
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"not JSON \("),
        (b'{"\xff":1}', r"not JSON \("),
        (b'{"x":"\xff"}', r"not JSON \("),
        ("[" * 100_000, r"not JSON \("),
        ("[1]", "expected an object, found a list"),
        ('{"v":99,"kind":"epoch"}', "schema version 99, this seti-tune reads 1"),
        ('{"v":true,"kind":"epoch"}', "schema version True, this seti-tune reads 1"),
        ('{"v":1,"kind":"party"}', "kind: expected one of study_started, .*, study_ended, found 'party'"),
        ('{"v":1,"kind":[]}', r"kind: expected one of .*, found \[\]"),
        ('{"v":1,"kind":"study_ended","finished":true,"reason":""}', "study_ended.time: missing"),
        ('{"v":1,"kind":"study_ended","time":"t","finished":true}', "^reason: missing"),
        (
            '{"v":1,"kind":"study_ended","time":"t","finished":true,"reason":"","x":1}',
            "^x: unknown; known are time, finished, reason",
        ),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_reason(line: str | bytes, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_line(line)


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("epoch", '"validation_accuracy":0.5', '"validation_accuracy":"0.4"',
         'validation_accuracy: expected a number, found "0.4"'),
        ("epoch", '"validation_accuracy":0.5', '"validation_accuracy":null',
         "validation_accuracy: expected a number, found null"),
        ("epoch", '"time":"t"', '"time":5', "time: expected a string, found 5"),
        ("epoch", '"trial":1', '"trial":true', "trial: expected an integer, found true"),
        ("epoch", '"trial":1', '"trial":1,"repeat":"0"',
         'repeat: expected an integer or null, found "0"'),
        ("trial_started", '"max_epochs":3', '"max_epochs":"3"', 'max_epochs: expected an integer, found "3"'),
        ("trial_started", '"is_baseline":false', '"is_baseline":"no"',
         'is_baseline: expected true or false, found "no"'),
        ("trial_started", '"x":1', '"x":1,"y":[2]', r"parameters\['y'\]: expected a single value, found \[2\]"),
        ("trial_ended", '"completed"', '"complete"',
         'status: expected one of completed, stopped, diverged, failed, outside, running, found "complete"'),
        ("trial_ended", '"completed"', '"running"',
         "status: expected one of completed, stopped, diverged, failed, outside, found running"),
        ("rung", '"stop"', '"halt"', 'decision: expected one of go on, stop, exempt, found "halt"'),
        ("attempt_ended", '"memory"', '"age"', 'cause: expected one of memory, checkpoint, node, found "age"'),
        ("finals_decided", "[1,2]", '[1,"2"]', r'finalists\[1\]: expected an integer, found "2"'),
        ("finals_decided", "[1,2]", "3", "finalists: expected a list, found 3"),
        ("epoch", "0.5", "1e999", r"not JSON \(Number out of range"),
        ("epoch", "0.5", "NaN", r"not JSON \("),
        ("epoch", "0.5", 'null,"not_finite":3', "not_finite: expected an object, found 3"),
        ("epoch", "0.5", 'null,"not_finite":{"validation_accuracy":"0.5"}',
         r"not_finite\['validation_accuracy'\]: expected one of nan, inf, -inf, found \"0.5\""),
        ("epoch", "0.5", '0.5,"not_finite":{"validation_accuracy":"nan"}',
         "not_finite.validation_accuracy: expected null at validation_accuracy, found 0.5"),
        ("epoch", '"trial":1', '"trial":null,"not_finite":{"trial":"nan"}', "trial: expected an integer, found NaN"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_with_its_line(
    kind: str, old: str, new: str, message: str, tmp_path: Path
) -> None:
    assert from_line(LINE[kind]).kind == kind
    assert old in LINE[kind]
    with EventLog(tmp_path) as log:
        log.append(Epoch(trial=1, attempt=0, epoch=1, validation_accuracy=0.5))
    with (tmp_path / LOG_NAME).open("a") as file:
        file.write(LINE[kind].replace(old, new) + "\n")
    with pytest.raises(RecordError, match=rf"events\.jsonl, line 2: damaged: {message}.*; restore the file"):
        list(read_events(tmp_path))


def test_trials_of_another_run_that_a_log_of_before_tells_of_are_passed_over() -> None:
    event = StudyStarted(study=StudyRecord(), data_digest=None, provenance=Provenance())
    line = json.loads(to_line(event))
    known = [{"trial": 3, "parameters": {"x": 1}, "status": "completed", "epochs": 9, "objective": 0.5}]
    assert from_line(json.dumps(line | {"known": known})) == from_line(json.dumps(line))
    with pytest.raises(RecordError, match="unheard"):
        from_line(json.dumps(line | {"unheard": known}))


OTHERS = [None, True, 7, 0.25, "7", [], [1], {}, {"x": [1]}]


def changed(data: st.DataObject, values: dict[str, Any]) -> dict[str, Any]:
    """The same with a value of another type at one place, at whatever depth."""
    key = data.draw(st.sampled_from(sorted(values)))
    inner = values[key]
    if isinstance(inner, dict) and inner and data.draw(st.booleans()):
        return values | {key: changed(data, inner)}
    return values | {key: data.draw(st.sampled_from(OTHERS))}


def known(written: Any) -> Any:
    """What is said, without null, which says nothing."""
    if not isinstance(written, dict):
        return written
    return {name: known(value) for name, value in written.items() if value is not None and name != "not_finite"}


def is_said_in(given: Any, said: Any) -> bool:
    if isinstance(given, dict) and isinstance(said, dict):
        return all(name in said and is_said_in(value, said[name]) for name, value in given.items())
    return bool(given == said)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
@given(data=st.data())
def test_a_value_of_another_type_is_understood_or_refused_in_one_sentence(data: st.DataObject, tmp_path: Path) -> None:
    """Whatever JSON type takes the place of a value: the same event, or a `RecordError` that names the line."""
    line = changed(data, json.loads(to_line(data.draw(events()))))
    (tmp_path / LOG_NAME).write_text(json.dumps(line) + "\n", encoding="utf-8")
    try:
        (event,) = read_events(tmp_path)
    except RecordError as error:
        assert re.match(rf".*{LOG_NAME}, line 1: damaged: .+; restore the file", str(error), re.DOTALL)  # noqa: PT017
    else:
        assert is_said_in(known(line), known(json.loads(to_line(event)))), "it was taken for something else"


@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_the_short_way_to_read_a_line_takes_what_the_careful_one_takes(data: st.DataObject) -> None:
    values = json.loads(to_line(data.draw(events())))
    line = json.dumps(data.draw(st.sampled_from([values, values | {"new": 1}, changed(data, values)])))
    try:
        expected: object = lines._carefully(line)
    except SchemaError as error:
        with pytest.raises(RecordError, match=re.escape(str(error))):
            from_line(line)
    else:
        assert repr(from_line(line)) == repr(expected)


@pytest.mark.parametrize(
    ("event", "message"),
    [
        (Epoch(trial=1, attempt=0, epoch=1, validation_accuracy="0"), "epoch: cannot be recorded: validation_accuracy"),
        (
            Epoch(trial=1, attempt=0, epoch=1, validation_accuracy=None),
            "expected a number, found null; correct that value where it comes from",
        ),
        (
            TrialStarted(trial=0, parameters={"x": "a" * 10**8}, configuration={}, seed=1, max_epochs=2),
            r"cannot be recorded: \d+ letters, at most \d+ are; shorten what it names",
        ),
        (Rung(trial=1, epoch=1, value=1, seen=1, better=0, cutoff=1, decision="halt"), "decision: expected one of"),
        (
            TrialStarted(trial=0, parameters={"x": math.nan}, configuration={}, seed=1, max_epochs=2),
            "trial_started: cannot be recorded: Out of range float values are not JSON compliant",
        ),
        (
            StudyResumed(study=StudyRecord(), provenance=Provenance(cluster={"head": object()})),
            "study_resumed: cannot be recorded: Object of type object is not JSON serializable",
        ),
    ],
)  # fmt: skip
def test_what_no_reader_would_take_is_not_written(event: Any, message: str, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log, pytest.raises(RecordError, match=message):
        log.append(event)
    assert (tmp_path / LOG_NAME).read_bytes() == b""


def test_records_are_frozen() -> None:
    started = TrialStarted(trial=0, parameters={}, configuration={}, seed=1, max_epochs=2)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        started.seed = 2  # type: ignore[misc]
