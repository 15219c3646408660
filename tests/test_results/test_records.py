import dataclasses
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from results.errors import RecordError
from results.log.records import (
    ENDED,
    EVENTS,
    Cause,
    Epoch,
    Event,
    RungDecision,
    StudyStarted,
    TrialStarted,
    from_line,
    to_line,
)

TEXT = st.text(max_size=20)
VALUES = st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
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
    "Mapping[str, Any]": st.dictionaries(TEXT, st.lists(VALUES, max_size=2), max_size=3),
}


@st.composite
def events(draw: st.DrawFn) -> Event:
    cls = draw(st.sampled_from(sorted(EVENTS.values(), key=lambda c: c.kind)))
    return cls(**{f.name: draw(BY_ANNOTATION[str(f.type)]) for f in dataclasses.fields(cls)})


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
    event = StudyStarted(study={}, space={}, space_fingerprint="f", data_digest=None, provenance={})
    assert from_line(to_line(event)) == event


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "not JSON"),
        ("[1]", "a JSON object is expected, found list"),
        ('{"v":99,"kind":"epoch"}', "schema version 99, this seti-tune reads 1"),
        ('{"v":1,"kind":"epoch","not_finite":3}', "not_finite is 3, names with nan, inf or -inf are expected"),
        ('{"v":1,"kind":"party"}', "unknown kind 'party'"),
        (
            '{"v":1,"kind":"trial_ended","time":"t","trial":1,"status":"complete","reason":"","epochs":1}',
            "kind 'trial_ended': 'complete' is not a valid Status",
        ),
        (
            '{"v":1,"kind":"trial_ended","time":"t","trial":1,"status":"running","reason":"","epochs":1}',
            "status is 'running', which is no end; completed, stopped, diverged, failed are expected",
        ),
        ('{"v":1,"kind":"study_ended","time":"t","finished":true}', r"missing fields \['reason'\]"),
        ('{"v":1,"kind":"study_ended","time":"t","finished":true,"reason":"","x":1}', r"unknown fields \['x'\]"),
    ],
)
def test_a_line_that_is_no_event_is_refused_with_the_reason(line: str, message: str) -> None:
    with pytest.raises(RecordError, match=message):
        from_line(line)


def test_records_are_frozen() -> None:
    started = TrialStarted(trial=0, parameters={}, configuration={}, seed=1, max_epochs=2)
    with pytest.raises(dataclasses.FrozenInstanceError, match="cannot assign to field 'seed'"):
        started.seed = 2  # type: ignore[misc]
