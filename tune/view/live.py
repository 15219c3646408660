"""What a search says while it runs: a live view on a terminal, plain lines otherwise, nothing where that is asked."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from results.log.records import (
    ENDED,
    AttemptEnded,
    Event,
    Rung,
    RungDecision,
    Status,
    TrialEnded,
    TrialStarted,
    trial_name,
)
from results.log.state import RunState
from results.tables.table import one_line
from tune.process.signals import ENDING, Signals
from tune.study import Study
from tune.view.eta import Pace
from tune.view.screen import Picture
from tune.view.terminal import LIVE, PLAIN, QUIET

# A slow line: the view is sent again only when something happened, or when its clock would look as if it stood.
LIVE_EVERY_S, CLOCK_EVERY_S = 1.0, 10.0
# Plain lines come after a tenth of the time since the start, at least and at most so many seconds: 182 in twelve hours.
PLAIN_EVERY_S = (5.0, 300.0)
EVENTS_SHOWN = 5


class Progress:
    """Shows a run. `update` is called with every event, `tick` may be called at any time."""

    def __init__(
        self,
        study: Study,
        state: RunState,
        *,
        view: str = PLAIN,
        signals: Signals | None = None,
        console: Console | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._study = study
        self._state = state
        self._view = view
        self._signals = signals or Signals()
        self._console = console
        self._clock = clock
        self._pace = Pace(clock)
        self._live: Live | None = None
        self._said: deque[tuple[str, str]] = deque(maxlen=EVENTS_SHOWN)
        self._shown_at = clock()
        self._epochs_said = 0
        self._is_changed = False
        self._is_ending_shown = False

    def __enter__(self) -> Self:
        self._pace.restart()
        self._shown_at = self._clock()
        if self._view == LIVE:
            # Refreshed from tick() alone: a thread of its own would read the state while it changes.
            self._console = self._console or Console(file=sys.stderr, force_terminal=True)
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._signals.is_shown = True
            with contextlib.suppress(OSError):
                self._live.start()
            self._draw()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            with contextlib.suppress(OSError):
                self._live.stop()
            self._live, self._signals.is_shown = None, False
            if self._is_ending:
                self.say(ENDING)  # the view that said so is gone
        self.say(self.summary(is_last=True))

    def update(self, event: Event) -> None:
        """Take note of an event; without a live view say what started, ended or was lost."""
        self._is_changed = True
        self._pace.note(event)
        text, word = self._in_words(event)
        if not text:
            return
        if word:
            self._said.append((f"{datetime.now():%H:%M:%S}  {text}", word))
        if self._live is None and word != "rung":
            self.say(text)

    def tick(self) -> None:
        """Show how it goes, where it is time to: that an end was asked for at once."""
        since = self._clock() - self._shown_at
        if self._live is None:
            least, most = PLAIN_EVERY_S
            if since >= min(most, max(least, self._pace.elapsed_s / 10)):
                self._shown_at = self._clock()
                self.say(self.summary())
        elif since >= (LIVE_EVERY_S if self._is_changed else CLOCK_EVERY_S) or self._is_ending != self._is_ending_shown:
            self._draw()

    def summary(self, *, is_last: bool = False) -> str:
        """Return one line: how trials ended and how many are running, the best, what was spent, the time left.

        Where no epoch has ended since the last one it begins with what is being waited for.
        """
        picture = Picture(self._study, self._state, self._pace)
        waiting = "" if is_last or self._epochs_said != self._pace.epochs else picture.waiting()
        self._epochs_said = self._pace.epochs
        return ", ".join(filter(None, (waiting, picture.summary(is_last=is_last))))

    def say(self, text: str) -> None:
        """Write a line to standard error unless all is to be quiet; one who has stopped reading ends no search."""
        if self._view != QUIET:
            with contextlib.suppress(OSError):
                print(f"[{self._pace.elapsed_s:6.1f} s] {text}", file=sys.stderr, flush=True)

    @property
    def _is_ending(self) -> bool:
        return self._signals.received is not None

    def _draw(self) -> None:
        if self._live is None or self._console is None:
            return
        self._shown_at, self._is_changed, self._is_ending_shown = self._clock(), False, self._is_ending
        picture = Picture(self._study, self._state, self._pace, tuple(self._said), self._is_ending)
        size = self._console.size
        lines = picture.lines(size.width, size.height - 1)  # below the last one the cursor needs a line
        with contextlib.suppress(OSError):
            self._live.update(Text("\n", no_wrap=True).join(lines), refresh=True)

    def _in_words(self, event: Event) -> tuple[str, str]:
        """Return what to say of an event and what it is: a status, "lost", "rung", "" for what plain lines alone say.

        Nothing is said of most events.
        """
        match event:
            case TrialStarted():
                return f"{_name(event)}{' (baseline)' if event.is_baseline else ''} started", ""
            case Rung() if event.decision != RungDecision.STOP:  # the end of the trial follows
                passed = "exempt at" if event.decision == RungDecision.EXEMPT else "passes"
                return f"{_name(event)} {passed} rung {event.epoch} with {event.value:.4f} ({event.seen} seen)", "rung"
            case TrialEnded():
                best = "" if event.objective is None else f", best {event.objective:.4f} at epoch {event.best_epoch}"
                why = "" if event.status == Status.COMPLETED else f" ({one_line(event.reason)})"
                return f"{_name(event)} {event.status}{best}{why}", event.status
            case AttemptEnded() if event.why not in ENDED:
                return f"{_name(event)} lost attempt {event.attempt} ({one_line(event.why)})", "lost"
        return "", ""


def _name(event: TrialStarted | TrialEnded | Rung | AttemptEnded) -> str:
    return trial_name(event.trial, event.repeat)
