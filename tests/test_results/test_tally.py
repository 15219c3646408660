"""What the state keeps up to date event by event is what one look at all trials and all their epochs would say."""

import dataclasses
import math
import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from results.log.epochs import Epochs
from results.log.records import (
    ENDED,
    AttemptEnded,
    AttemptStarted,
    Cause,
    Checkpoint,
    Epoch,
    Event,
    OfTrial,
    Rung,
    RungDecision,
    SpaceWidened,
    Status,
    StudyResumed,
    StudyStarted,
    TrialEnded,
    TrialKey,
    TrialStarted,
)
from results.log.state import RunState, TrialState
from results.study import Provenance, StudyRecord, StudySection

KEYS: Sequence[TrialKey] = [(0, None), (1, None), (2, None), (3, None), (0, 0), (1, 0), (1, 1)]
VALUES = st.sampled_from([0.25, 0.5, 0.75, -0.0, math.nan, math.inf])  # few, so that many are equal
NUMBERS = st.integers(1, 4)


@st.composite
def of_trials(draw: st.DrawFn) -> Event:
    trial, repeat = draw(st.sampled_from(KEYS))
    names: dict[str, Any] = {"trial": trial, "repeat": repeat}
    path = st.sampled_from(["a", "b"])
    match draw(st.sampled_from(["epoch"] * 6 + ["rung"] * 3 + ["begun", "checkpoint", "lost", "end", "end", "again"])):
        case "epoch":
            value, seconds = draw(VALUES), draw(st.none() | st.sampled_from([0.5, 2.0]))
            reached: dict[str, Any] = {"validation_accuracy": value, "objective": draw(st.none() | VALUES)}
            return Epoch(**names, attempt=0, epoch=draw(NUMBERS), seconds=seconds, **reached)
        case "rung":
            value, cutoff = draw(VALUES), draw(VALUES)
            numbers: dict[str, Any] = {"seen": 1, "better": 0, "decision": RungDecision.EXEMPT}
            return Rung(**names, epoch=draw(NUMBERS), value=value, cutoff=cutoff, **numbers)
        case "begun":  # an attempt that repeats what was done after a checkpoint
            return AttemptStarted(**names, attempt=0, from_epoch=draw(st.integers(0, 4)), resume_from=draw(path))
        case "checkpoint":
            return Checkpoint(**names, attempt=0, epoch=draw(NUMBERS), path=draw(path), bytes=1, digest="")
        case "lost":
            return AttemptEnded(**names, attempt=0, why="", cause=draw(st.sampled_from(Cause)))
        case "end":
            return TrialEnded(**names, status=draw(st.sampled_from(ENDED)), reason="", epochs=0)
    return started((trial, repeat))


def started(key: TrialKey) -> TrialStarted:
    return TrialStarted(
        trial=key[0], repeat=key[1], parameters={}, configuration={}, seed=0, max_epochs=4, is_baseline=key[0] == 0
    )


def widened(number: int) -> SpaceWidened:
    return SpaceWidened(space={}, space_fingerprint="f", changes=(), carried={str(number): {"x": number}})


RESUMED = StudyResumed(study=StudyRecord(study=StudySection(max_epochs=3)), provenance=Provenance())
STARTED = StudyStarted(study=StudyRecord(), space={"parameters": {}}, data_digest=None, provenance=Provenance())
LOSS = dataclasses.replace(STARTED, study=StudyRecord(study=StudySection(objective="loss")))
GIVEN = StudyStarted(study=StudyRecord(), data_digest=None, provenance=Provenance())  # of one configuration, no search
LOGS = st.lists(
    st.lists(st.one_of(*[of_trials()] * 12, st.just(RESUMED), st.integers(0, 3).map(widened)), max_size=60),
    min_size=1,
    max_size=2,
)


class Plain:
    """The same without anything kept: epochs as dicts, and every question a look at all of them."""

    def __init__(self) -> None:
        self.epochs: dict[TrialKey, dict[int, Epoch]] = {}

    def take(self, state: RunState, event: Event) -> None:
        """Do what the fold, which has taken the event, does to epochs."""
        if isinstance(event, StudyStarted):
            self.epochs = {}
        if not isinstance(event, OfTrial):
            return
        kept = math.inf
        if isinstance(event, TrialStarted):
            self.epochs[event.key] = {}
        elif isinstance(event, Epoch):
            self.epochs[event.key][event.epoch] = event
        elif isinstance(event, AttemptStarted):
            kept = event.from_epoch
        elif isinstance(event, AttemptEnded) and event.cause == Cause.CHECKPOINT:
            checkpoint = state.trials[event.key].checkpoint
            kept = checkpoint.epoch if checkpoint else 0
        self.epochs[event.key] = {n: e for n, e in self.epochs[event.key].items() if n <= kept}

    def compare_trial(self, trial: TrialState) -> None:
        epochs = self.epochs[trial.started.key]
        assert repr(trial.epochs) == repr(epochs)
        assert (len(trial.epochs), list(trial.epochs), bool(trial.epochs)) == (len(epochs), list(epochs), bool(epochs))
        assert [repr(trial.epochs[n]) for n in epochs] == [repr(e) for e in epochs.values()]
        finite = [e for e in epochs.values() if math.isfinite(e.value)]
        sign = -1 if trial.objective.is_minimised else 1
        assert repr(trial.best) == repr(max(finite, key=lambda e: (sign * e.value, -e.epoch), default=None))
        assert repr(trial.last) == repr(epochs[max(epochs)] if epochs else None)
        for epoch in range(6):
            below = [sign * e.value for n, e in epochs.items() if n <= epoch]
            if not any(map(math.isnan, below)):
                assert trial.merit_at(epoch) == max(below, default=-math.inf)

    def compare(self, state: RunState) -> None:
        for trial in state.trials.values():
            self.compare_trial(trial)
        search = [state.trials[key] for key in sorted(k for k in state.trials if k[1] is None)]
        finals = [t for k, t in sorted(state.trials.items(), key=lambda i: (i[0][1] or 0, i[0][0])) if k[1] is not None]
        assert_same(state.search_trials(), search)
        assert state.n_search == len(search)
        assert_same(state.final_trials(), finals)
        assert_same(state.open_trials(), [t for t in (*search, *finals) if t.ended is None])
        assert set(state.open) == {key for key, t in state.trials.items() if t.ended is None}
        assert_same(state.baselines, [t for t in search if t.started.is_baseline])
        ended = [t for t in search if t.ended is not None]
        sign = -1 if search[:1] and search[0].objective.is_minimised else 1
        assert +state.tally.ended == Counter(t.status for t in ended)
        both = [t for t in (*search, *finals) if t.ended is not None]
        assert state.tally.epochs == sum(len(t.epochs) for t in both)
        assert state.tally.seconds == pytest.approx(sum(t.seconds for t in both))
        lengths = [len(t.epochs) for t in ended if not t.started.is_baseline]
        assert state.tally.lengths == (len(lengths), sum(lengths), sum(n * n for n in lengths))
        reached = sorted((-sign * t.best.value, t.started.trial) for t in ended if t.best)
        assert [t.started.trial for t in state.best_ended()] == [number for _, number in reached]
        completed = {t.started.trial for t in ended if t.status == Status.COMPLETED}
        assert [t.started.trial for t in state.ranked()] == [n for _, n in reached if n in completed]
        for epoch in range(1, 5):
            values = [sign * t.rungs[epoch].value for t in search if epoch in t.rungs and would_reach(t, epoch)]
            assert state.rung_values(epoch) == sorted(-math.inf if math.isnan(v) else v for v in values)


def assert_same(found: Sequence[TrialState], expected: Sequence[TrialState]) -> None:
    assert list(map(id, found)) == list(map(id, expected))


def would_reach(trial: TrialState, epoch: int) -> bool:
    sign = -1 if trial.objective.is_minimised else 1
    return all(sign * rung.value >= sign * rung.cutoff for n, rung in trial.rungs.items() if n < epoch)


@given(opening=st.sampled_from([STARTED, GIVEN, LOSS]), logs=LOGS)
@settings(max_examples=150, deadline=None)
def test_what_is_kept_up_to_date_is_what_a_look_at_everything_says(
    opening: StudyStarted, logs: list[list[Event]]
) -> None:
    state, plain = RunState(), Plain()
    for log in logs:
        for event in (opening, *map(started, KEYS), *log):
            state.apply(event)
            plain.take(state, event)
            plain.compare(state)


@given(st.lists(st.integers(0, 9), max_size=30))
def test_mean_and_spread_of_lengths_are_those_of_the_list(lengths: list[int]) -> None:
    state = RunState([STARTED])
    for number, length in enumerate(lengths, start=1):
        state.apply(started((number, None)))
        for epoch in range(1, length + 1):
            state.apply(Epoch(trial=number, attempt=0, epoch=epoch, validation_accuracy=0.5))
        state.apply(TrialEnded(trial=number, status=Status.STOPPED, reason="", epochs=length))
    n, total, squares = state.tally.lengths
    if n > 1:
        assert total / n == pytest.approx(statistics.fmean(lengths))
        assert (n * squares - total**2) / (n * (n - 1)) == pytest.approx(statistics.variance(lengths))


def test_packed_epochs_take_a_third_of_the_memory_and_are_the_same() -> None:
    numbers: dict[str, Any] = {"validation_loss": 0.1, "seconds": 1.5, "weights_digest": "0f" * 32}
    given_ = [Epoch(trial=1, attempt=0, epoch=n, validation_accuracy=n / 1000, **numbers) for n in range(1, 101)]
    epochs = Epochs()
    for epoch in given_:
        epochs.add(epoch)
    epochs.pack()
    assert list(epochs.values()) == given_
    assert len(epochs._packed) < 100 * 150
    epochs.add(given_[0])
    assert list(epochs) == list(range(1, 101)), "one more of the same number takes the place of the first"
    epochs.cut(3)
    assert dict(epochs) == {n: given_[n - 1] for n in (1, 2, 3)}
