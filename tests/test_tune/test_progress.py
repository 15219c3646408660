"""What a user sees while a search runs: on a terminal, in a file, and where all is to be quiet."""

import io
import itertools
import os
import pty
import re
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import SEARCH, search, wait_for
from rich.console import Console

from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    Epoch,
    Event,
    Rung,
    TrialEnded,
    TrialStarted,
)
from results.log.state import RunState
from results.run_folder import LOG_NAME
from tune.process.signals import Signals
from tune.study import load_study
from tune.view.live import CLOCK_EVERY_S, LIVE_EVERY_S, Progress
from tune.view.terminal import LIVE, PLAIN, QUIET, SHOW_CURSOR, choose_view

ENDING = "ending in order, everything recorded is kept, Ctrl-C once more ends at once"


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
    made.append(Rung(trial=0, epoch=1, value=0.2, seen=1, better=0, cutoff=0.2, decision="exempt"))
    made.append(AttemptEnded(trial=1, attempt=0, why="stopped"))
    made.append(TrialEnded(trial=1, status="stopped", reason="ASHA at epoch 1", epochs=1, best_epoch=1, objective=0.2))
    made.append(AttemptEnded(trial=0, attempt=0, why="its worker or node died"))
    return made


class Shown:
    """A progress on a terminal in memory, with a clock that is moved by hand."""

    def __init__(self, study: Path) -> None:
        self.out, self.seconds, self.signals = io.StringIO(), 0.0, Signals()
        console = Console(file=self.out, force_terminal=True, width=100, height=30)
        self.state = RunState()
        self.progress = Progress(
            load_study(study),
            self.state,
            view=LIVE,
            signals=self.signals,
            console=console,
            clock=lambda: self.seconds,
        )

    def add(self, event: Event) -> None:
        self.state.apply(event)
        self.progress.update(event)

    def refreshes(self, seconds: float) -> int:
        """How often it is drawn in so many seconds of ten ticks each."""
        drawn = 0
        for _ in range(round(10 * seconds)):
            self.seconds += 0.1
            before = self.out.tell()
            self.progress.tick()
            drawn += self.out.tell() > before
        return drawn


@pytest.fixture
def shown(quick_study: Callable[..., Path]) -> Shown:
    return Shown(quick_study())


def said(quick_study: Callable[..., Path], view: str) -> None:
    state = RunState()
    with Progress(load_study(quick_study()), state, view=view) as progress:
        for event in events():
            state.apply(event)
            progress.update(event)


def test_plain_lines_say_what_starts_and_ends_and_is_lost(
    quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    said(quick_study, PLAIN)
    lines = [line.split("] ")[1] for line in capsys.readouterr().err.splitlines()]
    assert lines[:4] == [
        "trial 0 (baseline) started",
        "trial 1 started",
        "trial 1 stopped, best 0.2000 at epoch 1 (ASHA at epoch 1)",
        "trial 0 lost attempt 0 (its worker or node died)",
    ]
    assert lines[4].startswith("1/12 trials ended, 1 stopped, 1 open, best 0.6000 (trial 0 at epoch 3, running), 4 ")
    assert lines[4].endswith("epochs/s")


class Plain:
    """Plain lines with a clock that is moved by hand, a tick a second; `lines` are those that time alone caused."""

    def __init__(self, study: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.seconds, self.state, self.lines, self._capsys = 0.0, RunState(), [], capsys
        self.progress = Progress(load_study(study), self.state, view=PLAIN, clock=lambda: self.seconds)

    def add(self, *made: Event) -> None:
        for event in made:
            self.state.apply(event)
            self.progress.update(event)
        self._capsys.readouterr()

    def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.seconds += 1
            self.progress.tick()
            self.lines += [(self.seconds, line) for line in self._capsys.readouterr().err.splitlines()]


def begins(trial: int) -> list[Event]:
    start = TrialStarted(
        trial=trial, parameters={}, configuration={}, seed=0, is_baseline=trial == 0, max_epochs=10_000
    )
    return [start, AttemptStarted(trial=trial, attempt=0)]


def test_a_log_of_twelve_hours_has_less_than_two_hundred_lines_and_none_is_missed_for_long(
    quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Plain(quick_study(), capsys)
    with plain.progress:
        plain.add(*begins(0), AttemptRunning(trial=0, attempt=0, node="a", pid=1))
        for epoch in range(1, 12 * 60 + 1):
            plain.wait(60)
            plain.add(Epoch(trial=0, attempt=0, epoch=epoch, validation_accuracy=0.5))
    times = [seconds for seconds, _ in plain.lines]
    assert 150 < len(times) < 200
    assert times[:2] == [5, 10]
    gaps = [(earlier, later - earlier) for earlier, later in itertools.pairwise(times)]
    assert all(gap <= max(5, earlier / 9 + 2) for earlier, gap in gaps), "more than a tenth of the time so far"
    assert max(gap for _, gap in gaps) == 300


def test_a_first_epoch_of_110_s_shows_signs_of_life(
    quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain = Plain(quick_study(), capsys)
    running = [AttemptRunning(trial=n, attempt=0, node="a", pid=n + 1) for n in (0, 1)]
    with plain.progress:
        plain.add(*begins(0), *begins(1))
        plain.wait(11)
        plain.add(running[0])
        plain.wait(4)
        plain.add(running[1])
        plain.wait(110)
        plain.add(Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5))
        plain.wait(15)
    said = [line.partition("] ")[2].partition(", 0/12 trials ended")[0] for _, line in plain.lines]
    assert said[:3] == [
        "2 workers starting for 5 s",
        "2 workers starting for 10 s",
        "1 worker starting for 15 s, trial 0 baseline in epoch 1 for 4 s",
    ]
    assert said[3] == "trial 0 baseline in epoch 1 for 9 s"
    assert "trial 0 baseline in epoch 1 for 1 min 49 s" in said
    assert plain.lines[-1][1].partition("] ")[2].startswith("0/12 trials ended, 2 running, best 0.5"), (
        "an epoch has ended"
    )


def test_quiet_says_nothing(quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    said(quick_study, QUIET)
    assert capsys.readouterr().err == ""


def test_the_live_view_shows_running_trials_and_the_last_events(shown: Shown) -> None:
    with shown.progress:
        for event in events():
            shown.add(event)
        shown.refreshes(2)
        text = shown.out.getvalue()
    assert "0 baseline" in text
    assert "3/9" in text
    assert "trial 0 exempt at rung 1 with 0.2000 (1 seen)" in text
    assert "trial 1 stopped, best 0.2000 at epoch 1 (ASHA at epoch 1)" in text
    assert "trial 0 lost attempt 0 (its worker or node died)" in text


def test_the_view_is_sent_again_once_a_second_at_most_and_only_if_something_changed(shown: Shown) -> None:
    made = events()
    with shown.progress:
        assert shown.refreshes(60) == pytest.approx(60 / CLOCK_EVERY_S, abs=1)
        drawn = 0
        for event in made:
            shown.add(event)
            drawn += shown.refreshes(0.5)
        assert drawn == pytest.approx(len(made) * 0.5 / LIVE_EVERY_S, abs=1)


def test_a_busy_view_of_80_columns_sends_less_than_2_kb_a_second(shown: Shown) -> None:
    with shown.progress:
        for event in events():
            shown.add(event)
        before = shown.out.tell()
        for n in range(1, 10):
            shown.add(Epoch(trial=0, attempt=0, epoch=n, validation_accuracy=0.1 * n))
            shown.refreshes(1)
        assert len(shown.out.getvalue()[before:].encode()) < 2000 * 9


def test_the_first_signal_is_shown_at_once(shown: Shown) -> None:
    with shown.progress:
        shown.refreshes(1)
        assert ENDING not in shown.out.getvalue()
        shown.signals._receive(signal.SIGINT, None)
        shown.refreshes(0.1)
        assert ENDING in shown.out.getvalue()


def test_no_color_leaves_no_colour_in_the_view(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    shown.progress._console = Console(file=shown.out, force_terminal=True, width=100, height=30)
    with shown.progress:
        for event in events():
            shown.add(event)
        shown.refreshes(2)
    assert "lost attempt" in shown.out.getvalue()
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", shown.out.getvalue())


def test_a_terminal_that_hangs_up_ends_no_search(quick_study: Callable[..., Path]) -> None:
    shown = Shown(quick_study())
    master, slave = pty.openpty()
    gone = os.fdopen(slave, "w")
    shown.progress._console = Console(file=gone, force_terminal=True, width=100, height=30)
    with shown.progress:
        os.close(master)
        shown.add(events()[0])
        shown.refreshes(3)
    with pytest.raises(OSError, match="Input/output error"):
        gone.close()


@pytest.mark.parametrize(
    ("term", "options", "view"),
    [
        ("xterm-256color", {}, LIVE),
        ("xterm", {"plain": True}, PLAIN),
        ("xterm", {"quiet": True}, QUIET),
        ("dumb", {}, PLAIN),
        (None, {}, PLAIN),
    ],
)
def test_a_terminal_gets_the_live_view_unless_it_cannot_or_need_not(
    monkeypatch: pytest.MonkeyPatch, term: str | None, options: dict[str, bool], view: str
) -> None:
    monkeypatch.delenv("TERM", raising=False)
    if term is not None:
        monkeypatch.setenv("TERM", term)
    master, slave = pty.openpty()
    with os.fdopen(slave, "w", encoding="utf-8") as terminal:
        assert choose_view(terminal, **options) == view
    os.close(master)


def test_a_file_gets_plain_lines_whatever_the_environment_asks_for(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in (("TERM", "xterm"), ("FORCE_COLOR", "1"), ("TTY_COMPATIBLE", "1")):
        monkeypatch.setenv(name, value)
    with (tmp_path / "out").open("w", encoding="utf-8") as file:
        assert choose_view(file) == PLAIN


# Whole runs ---------------------------------------------------------------------------------------------------


def test_a_quiet_search_prints_its_result_and_nothing_else(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    done = search(quick_study(trials=3), tmp_path / "run", "--quiet", "--no-finals")
    assert done.returncode == 0
    assert done.stderr == ""
    assert "Best of the search" in done.stdout
    assert "Winner of the finals" not in done.stdout


class OnTerminal:
    """A search on a terminal of its own; `text` is all that it wrote there so far."""

    def __init__(self, *command: str) -> None:
        master, slave = pty.openpty()
        environment = os.environ | {"TERM": "xterm", "PYTHONUTF8": "1", "COLUMNS": "80", "LINES": "24"}
        self.process = subprocess.Popen(
            command, stdout=slave, stderr=slave, env=environment, text=True, start_new_session=True
        )
        os.close(slave)
        self._master, self.text = master, ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        try:
            while data := os.read(self._master, 65536):
                self.text += data.decode(errors="replace")
        except OSError:  # how a terminal says that nobody writes any more
            pass

    def wait(self) -> int:
        code = self.process.wait(60)
        self._reader.join(10)
        os.close(self._master)
        return code


def test_plain_lines_on_a_terminal_hold_no_control_sequence_and_ctrl_c_twice_ends_at_once(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    terminal = OnTerminal(*SEARCH, str(quick_study(sleep=0.3)), "--run", str(run), "--plain")
    wait_for(lambda: "trial 0 (baseline) started" in terminal.text, terminal.process)
    terminal.process.send_signal(signal.SIGINT)
    wait_for(lambda: ENDING in terminal.text, terminal.process)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == 130
    assert (
        f"seti-tune: interrupted; all that was recorded is kept, continue with: seti-tune resume {run}" in terminal.text
    )
    assert "Leaderboard" not in terminal.text
    assert "\x1b" not in terminal.text


def test_ctrl_c_on_a_live_view_is_answered_and_leaves_the_terminal_as_it_was(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    terminal = OnTerminal(*SEARCH, str(quick_study(sleep=0.3)), "--run", str(run))
    wait_for(lambda: (run / LOG_NAME).exists() and "1/9" in terminal.text, terminal.process)
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.wait() == 130
    assert ENDING in terminal.text
    assert f"Continue with: seti-tune resume {run}" in terminal.text
    assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex("\x1b[?25l")
