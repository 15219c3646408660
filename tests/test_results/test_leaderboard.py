import io
from pathlib import Path

import pandas as pd
import pytest

from results.leaderboard import epochs_frame, leaderboard_frame, leaderboard_text, rank_trials, write_tables
from results.records import (
    AttemptRunning,
    AttemptStarted,
    Epoch,
    Event,
    RecordError,
    Rung,
    StudyStarted,
    TrialEnded,
    TrialStarted,
)
from results.report import epochs_spent, headline, write_report
from results.state import RunState, load_run
from results.store import EventLog

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
            study={"study": {"name": "hand"}},
            space=SPACE,
            space_fingerprint="f",
            data_digest="d",
            provenance={"versions": {}, "machine": {}},
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


def test_an_epoch_repeated_after_a_crash_supersedes_the_earlier_one(events: list[Event]) -> None:
    again = Epoch(trial=0, attempt=1, epoch=2, validation_accuracy=0.75)
    state = RunState([*events, AttemptStarted(trial=0, attempt=1), again])
    frame = epochs_frame(state)
    rows = frame[(frame["trial"] == 0) & (frame["epoch"] == 2)]
    assert list(rows["attempt"]) == [1]
    assert len(frame) == 3 + 1 + 3 + 2 + 0 + 3


def test_epochs_spent_are_compared_with_those_of_no_stopping(events: list[Event]) -> None:
    spent = epochs_spent(RunState(events))
    assert (spent.spent, spent.without_stopping) == (12, 14)
    assert spent.saved == pytest.approx(2 / 14)


def test_terminal_text_has_a_row_a_trial_and_says_why_it_ended(events: list[Event]) -> None:
    lines = leaderboard_text(RunState(events)).splitlines()
    assert len(lines) == 7
    assert lines[1].split() == ["1", "2", "0.8000", "2/3", "completed", "24", "0.001", "True"]
    assert lines[2].endswith("baseline")
    assert lines[-1].endswith("ValueError: no")


def test_terminal_text_can_be_cut_to_the_top(events: list[Event]) -> None:
    assert "(2 more ranked trials in leaderboard.csv)" in leaderboard_text(RunState(events), top=1)


def test_an_event_of_a_trial_that_never_started_is_refused(events: list[Event]) -> None:
    stray = Rung(trial=77, epoch=1, value=0.5, seen=1, better=0, cutoff=0.5, decision="go on")
    with pytest.raises(RecordError, match="rung of trial 77 before its trial_started; the log is not whole"):
        RunState([*events, stray])


def test_the_report_of_a_run_without_finals_says_what_was_found(events: list[Event], tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*events)
    state = load_run(tmp_path)
    text = write_report(tmp_path, state).read_text()
    assert "Best of the search: trial 2, validation accuracy 0.8000 at epoch 2." in text
    assert "Epochs spent: 12; without stopping the same trials take 14 (14% saved)." in text
    assert "6 trials: 3 completed, 1 stopped, 1 diverged, 1 failed." in text
    assert (tmp_path / "search.png").stat().st_size > 10_000
    assert headline(state, [])[0] in text
