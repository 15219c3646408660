"""What a search shows while it runs: a live table on a terminal, plain lines otherwise."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from results.records import ENDED, Epoch, Event, TrialEnded, TrialStarted
from results.state import RunState, TrialState
from tune.study import Study

LIVE_EVERY_S, PLAIN_EVERY_S = 0.5, 10.0
SPARKS = "▁▂▃▄▅▆▇█"


class Progress:
    """Shows a run. `update` is called with every event, `tick` may be called at any time."""

    def __init__(self, study: Study, state: RunState, *, console: Console | None = None) -> None:
        self._study = study
        self._state = state
        self._console = console or Console(file=sys.stderr)
        self._live: Live | None = None
        self._started = time.monotonic()
        self._epochs = 0
        self._epoch_times: deque[float] = deque(maxlen=200)
        self._last_shown = time.monotonic()

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            # Refreshed from tick() alone: a thread of its own would read the state while it changes.
            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
        self._say(self.summary())

    def update(self, event: Event) -> None:
        """Take note of an event; on anything but a terminal say what ended and, now and then, how it goes."""
        if isinstance(event, Epoch):
            self._epochs += 1
            self._epoch_times.append(time.monotonic())
        if self._live is not None:
            return
        if isinstance(event, TrialStarted):
            self._say(f"{_name(event)} started")
        if isinstance(event, TrialEnded):
            reached = "" if event.objective is None else f", best {event.objective:.4f} at epoch {event.best_epoch}"
            self._say(f"{_name(event)} {event.status}{reached} ({event.reason})")

    def tick(self) -> None:
        """Show how it goes: twice a second on a terminal, every ten seconds otherwise."""
        now = time.monotonic()
        if now - self._last_shown < (LIVE_EVERY_S if self._live else PLAIN_EVERY_S):
            return
        self._last_shown = now
        if self._live is not None:
            self._live.update(self._table(), refresh=True)
        else:
            self._say(self.summary())

    def summary(self) -> str:
        """Return one line: trials running, done, stopped; best so far; epochs per second; time left."""
        trials = self._state.search_trials()
        ended = [t for t in trials if t.status in ENDED]
        counts = {status: sum(t.status == status for t in ended) for status in ENDED}
        words = [f"{len(ended)}/{self._study.study.trials} trials ended"]
        words += [f"{n} {status}" for status, n in counts.items() if n]
        running = len(trials) - len(ended) + sum(t.ended is None for t in self._state.final_trials())
        words.append(f"{running} running")
        best = max((t.best.validation_accuracy for t in trials if t.best), default=None)
        words.append("no result yet" if best is None else f"best {best:.4f}")
        words.append(f"{self._epochs_per_s():.2f} epochs/s")
        words.append(self._time_left(ended, trials))
        return ", ".join(words)

    def _say(self, text: str) -> None:
        elapsed = time.monotonic() - self._started
        with contextlib.suppress(OSError):  # a reader that has left must not end the search
            self._console.print(f"[{elapsed:6.1f} s] {text}", markup=False, highlight=False, soft_wrap=True)

    def _epochs_per_s(self) -> float:
        now = time.monotonic()
        recent = [t for t in self._epoch_times if now - t < 60]
        return len(recent) / max(1.0, min(60.0, now - self._started))

    def _time_left(self, ended: list[TrialState], trials: list[TrialState]) -> str:
        """Estimate from the epochs that ended trials took and the rate of epochs since the start."""
        if not ended or not self._epochs:
            return "time left unknown until a trial has ended"
        mean = sum(len(t.epochs) for t in ended) / len(ended)
        epochs = mean * max(0, self._study.study.trials - len(trials))
        epochs += sum(max(0.0, mean - len(t.epochs)) for t in trials if t.ended is None)
        done = sum(len(t.epochs) for t in self._state.final_trials())
        epochs += max(0, self._study.retrainings * self._study.study.max_epochs - done)
        left = epochs * (time.monotonic() - self._started) / self._epochs
        return f"about {left / 60:.1f} min left" if left >= 60 else f"about {left:.0f} s left"

    def _table(self) -> Group:
        table = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("trial", "epoch", "now", "best", "curve", "images/s", "MB", "node"):
            table.add_column(name, justify="left" if name in ("trial", "curve", "node") else "right")
        for trial in self._state.trials.values():
            if trial.ended is None:
                table.add_row(*_cells(trial))
        title = f"{self._study.study.name}: {time.monotonic() - self._started:.0f} s"
        return Group(Text(title, style="bold"), table, Text(self.summary()))


def _cells(trial: TrialState) -> list[str]:
    last, best = trial.last, trial.best
    values = [e.validation_accuracy for _, e in sorted(trial.epochs.items())]
    return [
        _name(trial.started),
        f"{last.epoch if last else 0}/{trial.started.max_epochs}",
        f"{last.validation_accuracy:.4f}" if last else "",
        f"{best.validation_accuracy:.4f}" if best else "",
        sparkline(values[-24:]),
        f"{last.images_per_s:.0f}" if last and last.images_per_s is not None else "",
        f"{last.resident_mb:.0f}" if last and last.resident_mb is not None else "",
        trial.running[max(trial.running)].node if trial.running else "starting",
    ]


def sparkline(values: list[float]) -> str:
    """Return accuracies 0..1 as a row of bars; what is not finite is a gap."""
    return "".join(
        SPARKS[min(len(SPARKS) - 1, max(0, int(v * len(SPARKS))))] if v == v and abs(v) < 1e9 else " " for v in values
    )


def _name(event: TrialStarted | TrialEnded) -> str:
    baseline = " (baseline)" if isinstance(event, TrialStarted) and event.is_baseline else ""
    final = "" if event.repeat is None else f"final {event.repeat} of "
    return f"{final}trial {event.trial}{baseline}"
