"""What a user sees while a search runs, on a terminal and in a file."""

import io
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from results.records import AttemptRunning, AttemptStarted, Epoch, Event, TrialEnded, TrialStarted
from results.state import RunState
from tune.progress import Progress, sparkline
from tune.study import load_study


def events() -> list[Event]:
    made: list[Event] = []
    for trial, epochs in ((0, 3), (1, 1)):
        made.append(
            TrialStarted(trial=trial, parameters={}, configuration={}, seed=0, is_baseline=trial == 0, max_epochs=9)
        )
        made.append(AttemptStarted(trial=trial, attempt=0))
        made.append(AttemptRunning(trial=trial, attempt=0, node="node-a", pid=1))
        for n in range(1, epochs + 1):
            made.append(
                Epoch(trial=trial, attempt=0, epoch=n, validation_accuracy=0.2 * n, seconds=2, images_per_s=80.0)
            )
    made.append(TrialEnded(trial=1, status="stopped", reason="ASHA at epoch 1", epochs=1, best_epoch=1, objective=0.2))
    return made


def shown(quick_study: Callable[..., Path], *, terminal: bool) -> str:
    out = io.StringIO()
    state = RunState()
    console = Console(file=out, force_terminal=terminal, width=100)
    with Progress(load_study(quick_study()), state, console=console) as progress:
        for event in events():
            state.apply(event)
            progress.update(event)
        progress._last_shown = 0.0
        progress.tick()
    return out.getvalue()


def test_plain_lines_say_what_starts_and_ends_and_how_it_goes(quick_study: Callable[..., Path]) -> None:
    text = shown(quick_study, terminal=False)
    assert "\x1b" not in text
    assert "trial 0 (baseline) started" in text
    assert "trial 1 stopped, best 0.2000 at epoch 1 (ASHA at epoch 1)" in text
    assert "1/12 trials ended, 1 stopped, 1 running, best 0.6000" in text
    assert "epochs/s" in text
    assert "left" in text


def test_a_terminal_shows_a_table_of_running_trials(quick_study: Callable[..., Path]) -> None:
    text = shown(quick_study, terminal=True)
    assert "trial 0 (baseline)" in text
    assert "3/9" in text
    assert "▂▄▅" in text
    assert "node-a" in text


def test_a_sparkline_has_a_bar_an_epoch_and_a_gap_where_nothing_is_known() -> None:
    assert sparkline([0.0, 0.5, 1.0, float("nan"), float("inf")]) == "▁▅█  "


def test_time_left_follows_from_epochs_still_to_do_and_their_rate(quick_study: Callable[..., Path]) -> None:
    """One trial ended after 1 epoch: 10 more of 1 epoch, none for the running one, 12 x 9 in the finals."""
    state = RunState(events())
    progress = Progress(load_study(quick_study()), state, console=Console(file=io.StringIO()))
    progress._epochs, progress._started = 4, progress._started - 8.0
    assert progress.summary().endswith("about 3.9 min left")
