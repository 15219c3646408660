"""What the live view holds at a given width and height, and how long it says a search may still take."""

import dataclasses
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from results.log.records import AttemptRunning, AttemptStarted, Epoch, Event, Rung, TrialEnded, TrialStarted
from results.log.state import RunState
from results.text import one_line
from tune.study import Study, load_study
from tune.view.eta import Pace, epochs_left, time_left_text
from tune.view.live import Picture, sparkline


def trial(
    number: int, accuracies: Sequence[float], status: str | None = None, *, repeat: int | None = None, node: str = "a"
) -> list[Event]:
    made: list[Event] = [
        TrialStarted(
            trial=number,
            repeat=repeat,
            parameters={},
            configuration={},
            seed=0,
            is_baseline=number == 0,
            max_epochs=9,
        ),
        AttemptStarted(trial=number, repeat=repeat, attempt=0),
        AttemptRunning(trial=number, repeat=repeat, attempt=0, node=node, pid=1),
    ]
    for n, accuracy in enumerate(accuracies, start=1):
        values = {"validation_accuracy": accuracy, "seconds": 1800.0, "images_per_s": 81.4, "resident_mb": 1203.0}
        made.append(Epoch(trial=number, repeat=repeat, attempt=0, epoch=n, **values))
    if accuracies and repeat is None:
        made.append(
            Rung(
                trial=number,
                epoch=1,
                value=accuracies[0],
                seen=1,
                better=0,
                cutoff=0.1,
                decision="go on" if number else "exempt",
            )
        )
    if status is not None:
        made.append(TrialEnded(trial=number, repeat=repeat, status=status, reason="", epochs=len(accuracies)))
    return made


def state(*trials: list[Event]) -> RunState:
    return RunState(event for events in trials for event in events)


@pytest.fixture
def study(quick_study: Callable[..., object]) -> Study:
    return load_study(str(quick_study()))  # 12 trials of at most 9 epochs, rungs 1 and 3, finals of 3 + 1 with 3 seeds


@pytest.fixture
def busy() -> RunState:
    """Three trials run on two nodes, three have ended, the finals have begun."""
    return state(
        trial(0, [0.25, 0.3, 0.4, 0.5], node="a-node-with-a-long-name.example"),
        trial(1, [0.1], "stopped"),
        trial(2, [0.2, 0.9], "diverged"),
        trial(3, [0.5] * 9, "completed"),
        trial(4, [0.6, 0.7], node="b"),
        trial(5, []),
        trial(3, [0.81] * 9, "completed", repeat=0),
        trial(3, [0.83] * 9, "completed", repeat=1),
        trial(3, [0.5, 0.6], repeat=2),
        trial(1, [0.7], "diverged", repeat=0),
    )


def drawn(picture: Picture, width: int, height: int = 50) -> list[str]:
    return [line.plain for line in picture.lines(width, height)]


SAID = [(f"12:00:0{n}  trial {n} failed ({'a long reason ' * 20})", "failed") for n in range(5)]


def test_nothing_wraps_at_any_width_and_nothing_scrolls_at_any_height(study: Study, busy: RunState) -> None:
    @given(st.integers(20, 200), st.integers(3, 60), st.booleans())
    def check(width: int, height: int, is_ending: bool) -> None:
        lines = drawn(Picture(study, busy, Pace(), SAID, is_ending), width, height)
        assert len(lines) <= height
        assert max(cell_len(line) for line in lines) <= width

    check()


def columns(picture: Picture, width: int) -> list[str]:
    head = next(line for line in drawn(picture, width) if line.startswith("trial") and "epoch" in line)
    return head.split()


def test_a_narrow_terminal_loses_the_least_needed_columns_first(study: Study, busy: RunState) -> None:
    picture = Picture(study, busy, Pace())
    whole = ["trial", "epoch", "now", "best", "rung", "images/s", "MB", "node", "curve", "0.10..0.90"]
    assert columns(picture, 160) == whole
    assert columns(picture, 80) == [name for name in whole if name != "node"]
    assert columns(picture, 60) == ["trial", "epoch", "now", "best", "rung", "curve"]
    assert columns(picture, 44) == ["trial", "epoch", "best", "curve", "0.10..0.90"]


def test_the_node_is_no_column_where_there_is_only_one(study: Study) -> None:
    assert "node" not in columns(Picture(study, state(trial(0, [0.5]), trial(1, [0.5])), Pace()), 160)


def row(picture: Picture, start: str) -> list[str]:
    return next(line for line in drawn(picture, 120) if line.startswith(start)).split()


def test_a_trial_shows_its_epoch_its_rung_and_its_curve(study: Study, busy: RunState) -> None:
    picture = Picture(study, busy, Pace())
    assert row(picture, "0 baseline")[2:8] == ["4/9", "0.5000", "0.5000", "exempt", "1", "81"]
    assert row(picture, "4 ")[1:6] == ["2/9", "0.7000", "0.7000", "next", "3"]
    assert row(picture, "5 ")[1:4] == ["0/9", "next", "1"]
    assert row(picture, "0 baseline")[-1] == sparkline([0.25, 0.3, 0.4, 0.5], 0.1, 0.9)
    assert row(picture, "2 ")[4] == "diverged", "the best of what has ended follow where there is room"


def test_the_finals_have_a_line_for_each_finalist_and_a_column_for_each_seed(study: Study, busy: RunState) -> None:
    lines = drawn(Picture(study, busy, Pace()), 80)
    head = next(n for n, line in enumerate(lines) if line.startswith("finals"))
    assert [line.split() for line in lines[head : head + 3]] == [
        ["finals", "0", "1", "2", "mean"],
        ["trial", "1", "diverged"],
        ["trial", "3", "0.8100", "0.8300", "2/9", "0.8200"],
    ]


def test_the_totals_count_ends_epochs_and_core_hours(study: Study, busy: RunState) -> None:
    text = " ".join(drawn(Picture(study, busy, Pace()), 160)[1:5])
    assert "3/12 trials ended, 1 completed, 1 stopped, 1 diverged, 3/12 retrainings ended, 4 running" in text
    assert "39 epochs, 19.5 core-hours" in text
    assert "best 0.9000 (trial 2 at epoch 2, diverged), baseline 0.5000" in text


@pytest.mark.parametrize(
    ("finals", "objectives", "retrained", "said"),
    [
        ({}, (0.9, 0.8, 0.7, 0.6), (0, 1, 2), "9/9"),  # the baseline is among the best three
        ({}, (0.5, 0.8, 0.7, 0.6), (0, 1, 2, 3), "12/12"),  # and here beside them
        ({"finalists": 1, "seeds": 3}, (0.9, 0.8, 0.7, 0.6), (0,), "3/3"),
        ({"finalists": 1, "seeds": 1}, (0.5, 0.8, 0.8, 0.8), (0, 1, 2, 3), "4/4"),  # three are tied
        ({"finalists": 1, "seeds": 1, "max_finalists": 2}, (0.5, 0.8, 0.8, 0.8), (0, 1, 2), "3/3"),
    ],
)
def test_a_finished_search_has_done_the_retrainings_that_were_wanted(
    study: Study, finals: dict[str, int], objectives: tuple[float, ...], retrained: tuple[int, ...], said: str
) -> None:
    wanted = dataclasses.replace(
        study,
        study=dataclasses.replace(study.study, trials=len(objectives)),
        finals=dataclasses.replace(study.finals, **finals),
    )
    now = state(*(trial(n, [objective] * 9, "completed") for n, objective in enumerate(objectives)))
    for repeat in range(wanted.finals.seeds):
        for number in retrained:
            for event in trial(number, [0.5] * 9, "completed", repeat=repeat):
                now.apply(event)
    assert f", {said} retrainings ended, " in Picture(wanted, now, Pace()).summary(is_last=True)
    assert epochs_left(wanted, now) == (0, 0)


def test_more_running_trials_than_lines_are_counted(study: Study) -> None:
    lines = drawn(Picture(study, state(*(trial(n, [0.5]) for n in range(40))), Pace(), SAID), 80, 24)
    assert len(lines) == 24
    assert lines[-4] == "", "three events stay"
    hidden = next(line for line in lines if line.endswith("more running"))
    assert int(hidden.split()[1]) == 40 - sum("1/9" in line for line in lines)


def test_the_first_ctrl_c_is_answered_in_the_view(study: Study, busy: RunState) -> None:
    text = " ".join(drawn(Picture(study, busy, Pace(), is_ending=True), 60))
    assert "ending in order, everything recorded is kept, Ctrl-C once more ends at once" in text


def test_what_others_write_into_a_reason_cannot_move_the_cursor() -> None:
    assert one_line("bad\x1b[2J\r\n  thing\x07") == "bad [2J thing"


def test_a_sparkline_has_a_bar_an_epoch_and_a_gap_where_nothing_is_known() -> None:
    assert sparkline([0.0, 0.5, 1.0, float("nan"), float("inf")]) == "▁▅█  "
    assert sparkline([0.5, 0.5], 0.5, 0.5) == "▁▁"


# Time left ----------------------------------------------------------------------------------------------------


def test_before_two_trials_have_ended_a_trial_takes_from_the_first_rung_to_all_epochs(study: Study) -> None:
    """Ten to start; trial 1 has 3 of its 1 to 9; the baseline takes the 5 it lacks; 12 retrainings of 9."""
    now = state(trial(0, [0.5] * 4), trial(1, [0.5] * 3))
    assert epochs_left(study, now) == (10 * 1 + 0 + 5 + 108, 10 * 9 + 6 + 5 + 108)


def test_the_interval_follows_from_the_spread_of_ended_trials(study: Study) -> None:
    """1 and 3 epochs: mean 2, deviation sqrt 2, 9 waiting: 2 -+ 2 sqrt 2 sqrt(1/9 + 1/2), cut off at 0 and 9."""
    now = state(trial(0, [0.5] * 9, "completed"), trial(1, [0.5], "stopped"), trial(2, [0.5] * 3, "stopped"))
    assert epochs_left(study.without_finals(), now) == pytest.approx((0.0, 9 * 4.21108), abs=1e-3)


def test_the_interval_holds_what_is_left_in_most_searches_of_stopped_trials(study: Study) -> None:
    """Of 12 trials 6 have ended, each after 1, 3 or 9 epochs as one in 3 goes on; 5 are to start."""
    rng, held = random.Random(5), 0
    short = study.without_finals()
    for _ in range(300):
        takes = rng.choices([1, 3, 9], [6, 2, 1], k=11)
        now = state(
            trial(0, [0.5] * 9, "completed"),
            *(trial(n, [0.5] * epochs, "stopped") for n, epochs in enumerate(takes[:6], start=1)),
        )
        least, most = epochs_left(short, now)
        held += least <= sum(takes[6:]) <= most
    assert held >= 240, "a skewed number of epochs is no normal one, but four in five must be held"


def test_nothing_is_left_when_all_has_ended(study: Study) -> None:
    done = state(*(trial(n, [0.5] * 9, "completed") for n in range(12)))
    assert epochs_left(study.without_finals(), done) == (0, 0)


def test_the_rate_of_late_widens_the_interval(study: Study) -> None:
    """100 epochs in the first 100 s, 50 more in 200 s: half an epoch a second on average, a quarter of late."""
    seconds = [0.0]
    pace = Pace(lambda: seconds[0])
    for step in [1.0] * 100 + [4.0] * 50:
        seconds[0] += step
        pace.note(Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5))
    done = state(trial(0, [0.5] * 4), *(trial(n, [0.5] * 9, "completed") for n in range(1, 12)))
    assert pace.epochs_per_s == 0.5
    left = pace.seconds_left(study.without_finals(), done)
    assert left == pytest.approx((5 / 0.5, 5 * 196 / 50))  # the first of the last 50 is 196 s ago


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "time left unknown before the first epoch"),
        ((0.0, 0.0), "about 0 s left"),
        ((31.0, 99.0), "31 to 99 s left"),
        ((31.0, 250.0), "1 to 4 min left"),
        ((5950.0, 6100.0), "1.7 h left"),
        ((3600.0, 36000.0), "1.0 to 10.0 h left"),
    ],
)
def test_time_left_is_said_in_the_unit_of_its_larger_end(seconds: tuple[float, float] | None, text: str) -> None:
    assert time_left_text(seconds).removeprefix("about ") == text.removeprefix("about ")
