import dataclasses
import io
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy.stats import binomtest
from whole_run import findings

from results.audit import epochs_spent
from results.errors import RecordError
from results.findings import Findings
from results.log import records
from results.log.recorder import EventLog
from results.log.records import (
    AttemptRunning,
    AttemptStarted,
    Epoch,
    Event,
    FinalEvaluated,
    FinalsDecided,
    Rung,
    SpaceWidened,
    StudyEnded,
    StudyResumed,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState, load_run
from results.report.markdown import write_report
from results.report.sentences import headline
from results.study import Provenance, StudyRecord, StudySection
from results.tables.leaderboard import (
    epochs_frame,
    leaderboard_frame,
    leaderboard_table,
    leaderboard_text,
    rank_trials,
    write_tables,
)


def board_text(state: RunState, *, top: int = 20) -> str:
    return leaderboard_text(state, leaderboard_table(state), top=top)


SPACE = {
    "parameters": {
        "network.filters_1": {"type": "int"},
        "training.learning_rate": {"type": "float"},
        "augment.flip_time": {"type": "categorical"},
    }
}


def trial(number: int, accuracies: list[float], status: str, reason: str = "") -> list[Event]:
    parameters = {"network.filters_1": 8 * (number + 1), "training.learning_rate": 0.001, "augment.flip_time": True}
    events: list[Event] = [
        TrialStarted(
            trial=number,
            parameters=parameters,
            configuration=parameters,
            seed=number + 100,
            is_baseline=number == 0,
            max_epochs=3,
        ),
        AttemptStarted(trial=number, attempt=0),
        AttemptRunning(trial=number, attempt=0, node="here", pid=1),
    ]
    for epoch, accuracy in enumerate(accuracies, start=1):
        events.append(
            Epoch(
                trial=number,
                attempt=0,
                epoch=epoch,
                validation_accuracy=accuracy,
                seconds=2.0,
                images_per_s=50.0,
                model_parameters=1000,
            )
        )
    events.append(TrialEnded(trial=number, status=status, reason=reason, epochs=len(accuracies)))
    return events


@pytest.fixture
def events() -> list[Event]:
    return [
        StudyStarted(
            study=StudyRecord(study=StudySection(name="hand")),
            space=SPACE,
            space_fingerprint="f",
            data_digest="d",
            provenance=Provenance(),
        ),
        *trial(0, [0.5, 0.7, 0.6], "completed"),
        *trial(1, [0.9], "stopped", "ASHA at epoch 1"),
        *trial(2, [0.5, 0.8, 0.8], "completed"),
        *trial(3, [0.4, float("nan")], "diverged", "validation accuracy is nan"),
        *trial(4, [], "failed", "ValueError: no"),
        *trial(5, [0.1, 0.2, 0.7], "completed"),
    ]


def test_only_completed_trials_are_ranked_by_their_best_epoch(events: list[Event]) -> None:
    """A stopped trial is not ranked however high it stood; equal objectives are ordered by trial number."""
    ranked, others = rank_trials(RunState(events))
    assert [t.started.trial for t in ranked] == [2, 0, 5]
    assert [t.best.epoch for t in ranked if t.best] == [2, 2, 3]
    assert [(t.started.trial, t.status) for t in others] == [(1, "stopped"), (3, "diverged"), (4, "failed")]


def test_leaderboard_csv_opens_with_the_right_types(events: list[Event]) -> None:
    text = leaderboard_frame(RunState(events)).to_csv(index=False)
    frame = pd.read_csv(io.StringIO(text))
    assert list(frame["rank"][:3]) == [1, 2, 3]
    assert frame["rank"][3:].isna().all()
    assert frame["network.filters_1"].dtype == "int64"
    assert frame["training.learning_rate"].dtype == "float64"
    assert frame["augment.flip_time"].dtype == "bool"
    assert frame["baseline"].dtype == "bool"
    assert frame.loc[0, ["trial", "objective", "best_epoch", "epochs", "seed", "node"]].to_list() == [
        2, 0.8, 2, 3, 102, "here",
    ]  # fmt: skip
    assert frame.loc[0, "seconds"] == 6.0
    assert list(frame["reason"])[-2:] == ["validation accuracy is nan", "ValueError: no"]


def test_tables_are_derived_again_from_the_log_alone(events: list[Event], tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*events)
    path = write_tables(tmp_path, load_run(tmp_path))
    first = path.read_bytes(), (tmp_path / "epochs.csv").read_bytes()
    for name in ("leaderboard.csv", "epochs.csv"):
        (tmp_path / name).unlink()
    write_tables(tmp_path, load_run(tmp_path))
    assert (path.read_bytes(), (tmp_path / "epochs.csv").read_bytes()) == first


def test_an_attempt_repeats_what_came_after_its_checkpoint(events: list[Event]) -> None:
    again = Epoch(trial=0, attempt=1, epoch=2, validation_accuracy=0.75)
    state = RunState([*events, AttemptStarted(trial=0, attempt=1, from_epoch=1), again])
    frame = epochs_frame(state)
    mine = frame[frame["trial"] == 0]
    assert list(zip(mine["epoch"], mine["attempt"], mine["validation_accuracy"], strict=True)) == [
        (1, 0, 0.5),
        (2, 1, 0.75),
    ]


def test_epochs_spent_are_compared_with_those_of_no_stopping(events: list[Event]) -> None:
    spent = epochs_spent(RunState(events))
    assert (spent.spent, spent.without_stopping) == (12, 14)
    assert spent.saved == pytest.approx(2 / 14)


def test_terminal_text_has_a_row_a_trial_and_says_where_and_why_it_ended(events: list[Event]) -> None:
    stop = Rung(trial=1, epoch=1, value=0.9, seen=7, better=3, cutoff=0.95, decision="stop")
    ranked, others = board_text(RunState([*events, stop])).split("\n\n")
    assert ranked.splitlines()[2].split() == ["1", "2", "0.8000", "2/3", "24", "0.001", "True"]
    assert ranked.splitlines()[3].endswith("baseline")
    lines = others.splitlines()
    assert lines[0] == "Not ranked: 1 stopped, 1 diverged, 1 failed"
    assert lines[-3].endswith("epoch 1: below 0.95 (7 seen)")
    assert lines[-2].endswith("epoch 2: validation accuracy is nan")
    assert lines[-1].endswith("before epoch 1: ValueError: no")


def test_terminal_text_of_the_baseline_space_fits_125_columns(hand: Any) -> None:
    names = ("filters_1", "filters_2", "conv_dropout", "dense_dropout")
    space = {f"network.{name}": {"type": "float"} for name in names}
    space |= {f"training.{name}": {"type": "float"} for name in ("learning_rate", "decay_rate")}
    values = dict.fromkeys(space, 0.25) | {"training.learning_rate": 0.0009615}
    events = [hand.study(space={"parameters": space}, validation_images=800)]
    events += hand.trial(0, [0.5] * 12, right=[True] * 400 + [False] * 400, parameters=values)
    events += hand.trial(1, [0.4875] * 12, right=[True] * 390 + [False] * 410, parameters=values)
    events += hand.trial(2, [0.48], "stopped", rungs={1: (0.48125, 0.48625, "stop")}, parameters=values)
    lines = board_text(RunState(events)).splitlines()
    assert max(map(len, lines)) <= 125, "\n".join(lines)
    assert "0.465..0.535" in lines[2]


def test_terminal_text_can_be_cut_to_the_top(events: list[Event]) -> None:
    assert "(2 more ranked trials in leaderboard.csv)" in board_text(RunState(events), top=1)


def test_an_objective_has_the_interval_of_its_right_images(hand: Any) -> None:
    state = RunState([hand.study(validation_images=400), *hand.trial(0, [0.5, 0.7475]), *hand.trial(1, [0.6], None)])
    frame = leaderboard_frame(state)
    for row, right in ((0, 299), (1, 240)):
        low, high = binomtest(right, 400).proportion_ci(method="wilson")
        assert frame.loc[row, "objective_low"] == pytest.approx(low, abs=1e-12)
        assert frame.loc[row, "objective_high"] == pytest.approx(high, abs=1e-12)


def test_without_the_number_of_validation_images_there_is_neither_interval_nor_tie(events: list[Event]) -> None:
    frame = leaderboard_frame(RunState(events))
    assert frame[["objective_low", "objective_high", "tied"]].isna().all(axis=None)
    assert "interval" not in board_text(RunState(events))


def test_an_objective_that_is_no_share_of_images_has_no_interval(hand: Any) -> None:
    state = RunState([hand.study(validation_images=400), *hand.trial(0, [-3.5])])
    assert leaderboard_frame(state)[["objective_low", "objective_high"]].isna().all(axis=None)


def test_ties_follow_from_the_same_images_and_not_from_the_accuracies(hand: Any) -> None:
    """Both others have 10 images fewer right: ten of 10 discordant ones tell, ten more of 110 do not."""
    best = [True] * 150 + [False] * 50
    nested = [False] * 10 + [True] * 140 + [False] * 50
    crossed = [False] * 60 + [True] * 90 + [True] * 50
    events = [hand.study(validation_images=200)]
    events += hand.trial(0, [0.7], right=nested) + hand.trial(1, [0.75], right=best)
    events += hand.trial(2, [0.7], right=crossed) + hand.trial(3, [0.1], "stopped", right=best)
    events += hand.trial(4, [0.6])
    assert binomtest(0, 10).pvalue < 0.05 < binomtest(50, 110).pvalue
    frame = leaderboard_frame(RunState(events)).set_index("trial")
    assert [frame.loc[n, "tied"] for n in (1, 2, 0)] == [True, True, False]
    assert frame.loc[[3, 4], "tied"].isna().all(), "not ranked, or without flags"
    lines = board_text(RunState(events)).splitlines()
    assert lines[2].split()[:2] == ["1", "1"], "the best needs no mark"
    assert [line.split()[:2] for line in lines if " = " in line] == [["3", "="]]
    note = "= no significant difference from rank 1 on the same 200 validation images (exact McNemar, p >= 0.05)"
    assert note in lines


def test_flags_that_do_not_belong_to_the_images_name_the_trial(hand: Any) -> None:
    events = [hand.study(validation_images=20), *hand.trial(6, [0.5], right=[True] * 8)]
    with pytest.raises(RecordError, match="trial 6, epoch 1: flags of 8 bits do not belong to 20 images"):
        leaderboard_frame(RunState(events))


def test_a_parameter_called_like_a_column_keeps_a_column_of_its_own(hand: Any) -> None:
    space = {"parameters": {"seed": {"type": "int"}}}
    frame = leaderboard_frame(RunState([hand.study(space=space), *hand.trial(3, [0.5], parameters={"seed": 77})]))
    assert frame.loc[0, ["seed", "parameters.seed"]].to_list() == [3, 77]


def test_an_event_of_a_trial_that_never_started_is_refused(events: list[Event]) -> None:
    stray = Rung(trial=77, epoch=1, value=0.5, seen=1, better=0, cutoff=0.5, decision="go on")
    with pytest.raises(RecordError, match="rung of trial 77 before its trial_started"):
        RunState([*events, stray])


def test_the_report_of_a_run_without_finals_says_what_was_found(events: list[Event], tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*events)
    found = Findings.read(tmp_path)
    text = write_report(found).read_text()
    assert (
        "Best of the search: trial 2, validation accuracy 0.8000 at epoch 2 (optimistic: the best of 6 trials)." in text
    )
    assert "Epochs trained: 12; without early stopping the same trials take 14 (14% saved)." in text
    assert "6 trials: 3 completed, 1 stopped, 1 diverged, 1 failed." in text
    assert (tmp_path / "search.png").stat().st_size > 10_000
    assert headline(found)[0] in text


def test_a_study_without_a_completed_trial_says_the_first_error(events: list[Event], tmp_path: Path) -> None:
    lines = headline(findings(tmp_path, RunState([events[0], *trial(0, [], "failed", "ValueError: no")])))
    assert lines[0] == "No trial was completed; the first one failed: ValueError: no"


def test_time_spent_is_that_of_the_drivers_without_the_pause_between_them(events: list[Event]) -> None:
    night = {"time": "2026-01-02T00:00:00.000Z"}
    begun = dataclasses.replace(events[0], time="2026-01-01T00:00:00.000Z")
    trial_started = dataclasses.replace(events[1], time="2026-01-01T00:00:00.000Z")
    rung = Rung(
        trial=0, epoch=1, value=1, seen=1, better=0, cutoff=1, decision="go on", time="2026-01-01T00:10:00.000Z"
    )
    decided = FinalsDecided(finalists=(0,), seeds=0, search_trials=1, winner=0, delivered=None, **night)
    for first_word in (  # of the next driver
        StudyResumed(study=StudyRecord(), provenance=Provenance(), **night),
        SpaceWidened(space={}, space_fingerprint="", changes=(), carried={}, **night),
        StudyEnded(finished=False, reason="", **night),
        decided,
        FinalEvaluated(trial=0, repeat=0, predictions="p", n=1, correct=1, **night),
        records.TestUnlocked(command="evaluate", model="m", weights_digest="d", **night),
    ):
        back = StudyEnded(finished=True, reason="", time="2026-01-01T23:00:00.000Z")
        assert RunState([begun, trial_started, rung, first_word, back]).spent_s == 600


def test_a_log_that_is_not_whole_names_file_and_line(events: list[Event], tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(events[0], *events[2:])
    with pytest.raises(
        RecordError, match=r"events\.jsonl, line 2: attempt_started of trial 0 before its trial_started"
    ):
        load_run(tmp_path)
