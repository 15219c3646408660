"""What a search says while it runs: a live view on a terminal, plain lines otherwise, nothing where that is asked."""

from __future__ import annotations

import contextlib
import itertools
import math
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from results.log.records import (
    ENDED,
    AttemptEnded,
    AttemptWaiting,
    Event,
    NodeChecked,
    Rung,
    RungDecision,
    Status,
    TrialEnded,
    TrialStarted,
    trial_name,
)
from results.log.state import RunState, TrialState
from results.tables.status import duration
from results.text import one_line, printable
from tune.loop.asha import rung_epochs
from tune.loop.next_work import wanted_retrainings
from tune.process.signals import ENDING, Signals
from tune.study import Study
from tune.view.eta import Pace, time_left_text
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
                print(f"[{self._pace.elapsed_s:6.1f} s] {printable(text)}", file=sys.stderr, flush=True)

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
            case NodeChecked():
                where = f"node {event.node}"
                if not event.admitted:
                    return f"{where} gets no trials: {one_line(event.reason)}", "lost"
                return f"{where} gets trials: {event.cpus or 0:g} CPUs, {event.gpus or 0:g} GPUs", ""
            case AttemptWaiting():
                return f"{_name(event)} waits for a worker: {one_line(event.why)}", "lost"
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


def _name(event: TrialStarted | TrialEnded | Rung | AttemptEnded | AttemptWaiting) -> str:
    return trial_name(event.trial, event.repeat)


SPARKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = (8, 40)  # least and most
NODE_WIDTH = 16
FEW_EVENTS, BEST_SHOWN = 3, 5
SEPARATOR = "  "
STYLES = {
    Status.COMPLETED: "green",
    Status.STOPPED: "dim",
    Status.DIVERGED: "red",
    Status.FAILED: "red",
    Status.OUTSIDE: "dim",
    "lost": "yellow",
}
# From the one that is dropped last; the curve takes what is left of the width.
NEEDED_FIRST = ("trial", "epoch", "best", "rung", "now", "images/s", "MB", "node")


@dataclass(frozen=True)
class Picture:
    """A run at one moment; `said` are the last events in words, each with a word of STYLES or none."""

    study: Study
    state: RunState
    pace: Pace
    said: Sequence[tuple[str, str]] = ()
    is_ending: bool = False

    def lines(self, width: int, height: int) -> list[Text]:
        """Return at most `height` lines of at most `width` cells."""
        top, finals = self._top(width), self._finals(width)
        spare = height - sum(1 + len(block) for block in (top, finals) if block) - len(("", "heads", ""))
        events = [Text(text, STYLES.get(word, "")) for text, word in self.said]
        events = events[-max(FEW_EVENTS, spare - len(self._open())) :]
        blocks = [top, self._running(width, max(1, spare - len(events))), finals, events]
        lines = [line for block in blocks if block for line in (Text(), *block)]
        for line in lines:
            line.truncate(width, overflow="ellipsis")
        return lines[:height]

    def summary(self, *, is_last: bool = False) -> str:
        """Return the totals in one line, the last one without what may still come."""
        left = [] if is_last else [time_left_text(self.pace.seconds_left(self.study, self.state))]
        return ", ".join([*self._counts("open" if is_last else "running"), *self._best(), *self._spent(), *left])

    def waiting(self) -> str:
        """Return what goes on where no epoch has ended for a while: workers that start, the longest present epoch."""
        waited = {trial.started.key: self.pace.seconds_waited(trial.started.key) for trial in self._open()}
        training = {t.started.key: t for t in self._open() if t.open_attempt() in t.running}
        parts = []
        if starting := [waited[key] for key in waited if key not in training]:
            workers = "1 worker" if len(starting) == 1 else f"{len(starting)} workers"
            parts.append(f"{workers} starting for {duration(max(starting))}")
        if training:
            longest = max(training, key=lambda key: waited[key])
            epoch = max(training[longest].epochs, default=0) + 1
            parts.append(f"trial {_number(training[longest])} in epoch {epoch} for {duration(waited[longest])}")
        return ", ".join(parts)

    def _top(self, width: int) -> list[Text]:
        left = time_left_text(self.pace.seconds_left(self.study, self.state))
        title = SEPARATOR.join((self.study.study.name, duration(self.pace.elapsed_s), left))
        totals = (self._counts(), self._spent(), self._best())
        lines = [Text(title, "bold"), *(Text(line) for parts in totals for line in _wrapped(parts, width))]
        return [*lines, *(Text(line, "bold yellow") for line in _wrapped(ENDING.split(", "), width) if self.is_ending)]

    def _counts(self, still: str = "running") -> Iterator[str]:
        ended = self.state.tally.ended
        yield f"{ended.total()}/{self.study.study.trials} trials ended"
        for status in ENDED:
            if ended[status]:
                yield f"{ended[status]} {status}"
        finals = self.state.final_trials()
        if finals:
            done = sum(t.ended is not None for t in finals)
            yield f"{done}/{wanted_retrainings(self.study, self.state)} retrainings ended"
        if self._open():
            yield f"{len(self._open())} {still}"

    def _spent(self) -> Iterator[str]:
        tally, running = self.state.tally, self._open()
        yield f"{tally.epochs + sum(len(t.epochs) for t in running)} epochs"
        seconds = tally.seconds + sum(t.seconds for t in running)
        hours = seconds * self.state.study.resources.cpus_per_trial / 3600
        yield f"{hours:.3g} core-hours"
        yield f"{self.pace.epochs_per_s:.2f} epochs/s"

    def _best(self) -> Iterator[str]:
        running = [t for t in self._open() if t.started.repeat is None]
        found = [(t.best, t) for t in (*itertools.islice(self.state.best_ended(), 1), *running) if t.best is not None]
        if not found:
            yield "no result yet"
            return
        best, trial = max(found, key=lambda pair: (pair[1].merit, -pair[0].trial))
        yield f"best {best.value:.4f} (trial {best.trial} at epoch {best.epoch}, {trial.status})"
        if baseline := next((t.best for t in self.state.baselines if t.best is not None and t.best is not best), None):
            yield f"baseline {baseline.value:.4f}"

    def _open(self) -> list[TrialState]:
        return self.state.open_trials()

    def _best_ended(self) -> list[TrialState]:
        return list(itertools.islice(self.state.best_ended(), BEST_SHOWN))

    def _running(self, width: int, room: int) -> list[Text]:
        """Return a line for each running trial and, where there is room, for the best of those that ended."""
        running = self._open()
        shown = running if len(running) <= room else running[: max(1, room - 1)]
        trials = [*shown, *self._best_ended()][: max(room, len(shown))]
        if not trials:
            return []
        rungs = rung_epochs(self.study.asha.grace_epochs, self.study.asha.reduction_factor, self.study.study.max_epochs)
        lines = _table([_cells(trial, rungs) for trial in trials], [_values(trial) for trial in trials], width)
        for line in lines[1 + len(shown) :]:
            line.stylize("dim")
        left = len(running) - len(shown)
        return [*lines, Text(f"and {left} more running", "dim")] if left else lines

    def _finals(self, width: int) -> list[Text]:
        """Return a line for each finalist with the objective of each retraining, or the epoch it is at."""
        finals = self.state.final_trials()
        if not finals:
            return []
        by_trial: dict[int, dict[int, TrialState]] = {}
        for final in finals:
            by_trial.setdefault(final.started.trial, {})[final.started.repeat or 0] = final
        seeds = range(max(self.study.finals.seeds, *(r + 1 for runs in by_trial.values() for r in runs), 1))
        name, cell = len("trial 0 baseline") + 1, 9
        seeds = seeds[: max(1, (width - name - cell) // cell)]
        heads = "".join(f"{seed:>{cell}}" for seed in seeds)
        lines = [Text(f"{'finals':{name}}{heads}{'mean':>{cell}}", "bold")]
        for number in sorted(by_trial):
            runs = by_trial[number]
            reached = [t.value for t in runs.values() if t.status == Status.COMPLETED and t.best]
            cells = [_retraining(runs.get(seed)) for seed in seeds]
            cells.append(f"{sum(reached) / len(reached):.4f}" if reached else "")
            label = f"trial {_number(next(iter(runs.values())), with_repeat=False)}"
            lines.append(Text(f"{label:{name}}" + "".join(f"{text:>{cell}}" for text in cells)))
        return lines


def sparkline(values: Sequence[float], low: float = 0.0, high: float = 1.0) -> str:
    """Return values as a row of bars from `low` to `high`; what is not finite is a gap."""
    scale = len(SPARKS) / ((high - low) or 1.0)
    return "".join(
        SPARKS[min(len(SPARKS) - 1, max(0, int((v - low) * scale)))] if math.isfinite(v) else " " for v in values
    )


def _wrapped(parts: Iterable[str], width: int) -> list[str]:
    """Return parts joined by commas, broken between them where a line is full."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + len(", ,") <= width:
            lines[-1] += f", {part}"
        else:
            lines = [*lines[:-1], *(f"{line}," for line in lines[-1:]), part]
    return lines


def _table(rows: list[dict[str, str]], curves: list[list[float]], width: int) -> list[Text]:
    columns = _fitting(rows, width)
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in columns}
    used = sum(w + len(SEPARATOR) for w in widths.values())
    room = min(CURVE_WIDTH[1], width - used)
    heads = SEPARATOR.join(_aligned(name, name, w) for name, w in widths.items())
    lines = [SEPARATOR.join(_aligned(name, row[name], w) for name, w in widths.items()) for row in rows]
    finite = [value for curve in curves for value in curve[-room:] if math.isfinite(value)]
    if room >= CURVE_WIDTH[0] and finite:
        # One scale for all, or curves could not be compared; the whole of 0..1 would make most of them flat.
        low, high = min(finite), max(finite)
        head = f"curve {low:.2f}..{high:.2f}"
        heads += SEPARATOR + (head if len(head) <= width - used else "curve")
        bars = [sparkline(curve[-room:], low, high) for curve in curves]
        lines = [line + SEPARATOR + bar for line, bar in zip(lines, bars, strict=True)]
    return [Text(heads.rstrip(), "bold"), *(Text(line.rstrip()) for line in lines)]


def _fitting(rows: list[dict[str, str]], width: int) -> list[str]:
    """Return the columns that hold something and fit beside a curve, in the order they are shown in."""
    chosen: list[str] = []
    left = width - CURVE_WIDTH[0]
    for name in NEEDED_FIRST:
        cells = [row[name] for row in rows]
        if name == "node" and len({cell for cell in cells if cell}) < 2:
            continue  # all on one machine
        needed = max(len(name), *map(len, cells)) + len(SEPARATOR)
        if needed > left and chosen:
            break
        if any(cells):
            chosen.append(name)
            left -= needed
    return [name for name in rows[0] if name in chosen]


def _aligned(column: str, text: str, width: int) -> str:
    text = printable(text)
    return text.ljust(width) if column in ("trial", "rung", "node") else text.rjust(width)


def _cells(trial: TrialState, rungs: Sequence[int]) -> dict[str, str]:
    last, best = trial.last, trial.best
    attempt = trial.open_attempt()
    entered = None if attempt is None else trial.running.get(attempt)
    return {
        "trial": _number(trial),
        "epoch": f"{last.epoch if last else 0}/{trial.started.max_epochs}",
        "now": f"{last.value:.4f}" if last else "",
        "best": f"{best.value:.4f}" if best else "",
        "rung": trial.status if trial.ended else _rung(trial, rungs) if entered else "starting",
        "images/s": f"{last.images_per_s:.0f}" if last and last.images_per_s is not None else "",
        "MB": f"{last.resident_mb:.0f}" if last and last.resident_mb is not None else "",
        "node": entered.node[:NODE_WIDTH] if entered else "",
    }


def _rung(trial: TrialState, rungs: Sequence[int]) -> str:
    """Return the rung that comes, or what the last one decided."""
    if trial.started.repeat is not None:
        return ""  # no rung in the finals
    done = max(trial.epochs, default=0)
    coming = [epoch for epoch in rungs if epoch > done]
    if coming:
        return f"next {coming[0]}"
    decided = trial.rungs[max(trial.rungs)] if trial.rungs else None
    return (
        ""
        if decided is None
        else f"{'exempt' if decided.decision == RungDecision.EXEMPT else 'passed'} {decided.epoch}"
    )


def _retraining(trial: TrialState | None) -> str:
    if trial is None:
        return ""
    if trial.ended is None:
        return f"{max(trial.epochs, default=0)}/{trial.started.max_epochs}"
    return f"{trial.value:.4f}" if trial.status == Status.COMPLETED and trial.best else trial.status


def _number(trial: TrialState, *, with_repeat: bool = True) -> str:
    started = trial.started
    words = f"{started.trial} baseline" if started.is_baseline else str(started.trial)
    return f"{words} seed {started.repeat}" if with_repeat and started.repeat is not None else words


def _values(trial: TrialState) -> list[float]:
    return [epoch.value for _, epoch in sorted(trial.epochs.items())]
