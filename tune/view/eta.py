"""How fast a search goes and how long it may still take, as an interval."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable

from results.log.records import AttemptRunning, AttemptStarted, Epoch, Event, TrialKey
from results.log.state import RunState
from tune.loop.next_work import wanted_retrainings, within_budget
from tune.study import Study

RECENT_EPOCHS = 50


class Pace:
    """Counts the epochs of this driver and times them; `restart` when the first of them is about to begin."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._recent: deque[float] = deque(maxlen=RECENT_EPOCHS)
        self._begun: dict[TrialKey, float] = {}  # when a trial's worker was asked for, entered, or ended an epoch
        self.epochs = 0
        self.restart()

    def restart(self) -> None:
        """Count the time from now on."""
        self._started = self._clock()

    def note(self, event: Event) -> None:
        """Take note of epochs, and of attempts that begin."""
        if isinstance(event, Epoch):
            self.epochs += 1
            self._recent.append(self._clock())
        if isinstance(event, AttemptStarted | AttemptRunning | Epoch):
            self._begun[event.key] = self._clock()

    def seconds_waited(self, trial: TrialKey) -> float:
        """Return for how long a trial's worker has been starting or in its present epoch."""
        return self._clock() - self._begun.get(trial, self._started)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._clock() - self._started

    @property
    def epochs_per_s(self) -> float:
        """Epochs per second since the start; 0 without one."""
        return self.epochs / max(self.elapsed_s, 1e-3)

    def seconds_left(self, study: Study, state: RunState) -> tuple[float, float] | None:
        """Return the least and the most time that what is left may take; None before the first epoch.

        The rate is that since the start and that of the last epochs, whichever is faster or slower: trials differ in
        what an epoch costs.
        """
        if not self.epochs:
            return None
        least, most = epochs_left(study, state)
        recent = len(self._recent) / max(self._clock() - self._recent[0], 1e-3)
        rates = (self.epochs_per_s, recent) if len(self._recent) > 1 else (self.epochs_per_s,)
        return least / max(rates), most / min(rates)


def epochs_left(study: Study, state: RunState) -> tuple[float, float]:
    """Return the least and the most epochs that a search and its finals still need.

    A search trial is expected to take as many as those that have ended did, without the baseline, which ASHA does not
    stop. The interval is the prediction interval, at two standard deviations (95 % of normal values), of the mean over
    the `waiting` trials from the `ended` ones: s * sqrt(1 / waiting + 1 / ended). Before two trials have ended it is
    from the first rung to all epochs. Retrainings are never stopped. What a retry costs is not in it.
    """
    whole = study.study.max_epochs
    open_trials = state.open_trials()
    running = [t for t in open_trials if t.started.repeat is None]
    to_start = max(0, study.study.trials - state.n_search) if within_budget(study, state) else 0
    ended, epochs, squares = state.tally.lengths
    low, high = float(min(study.asha.grace_epochs, whole)), float(whole)
    if ended > 1:
        mean, waiting = epochs / ended, max(1, to_start + len(running))
        deviation = math.sqrt((ended * squares - epochs**2) / (ended * (ended - 1)))
        half = 2 * deviation * math.sqrt(1 / waiting + 1 / ended)
        low, high = max(0.0, mean - half), min(high, mean + half)
    least, most = to_start * low, to_start * high
    for trial in running:
        done, rest = len(trial.epochs), float(whole - len(trial.epochs))
        least += rest if trial.started.is_baseline else max(0.0, low - done)
        most += rest if trial.started.is_baseline or done >= high else high - done
    least, most = (min(epochs, _affordable(study, state)) for epochs in (least, most))
    retraining = sum(whole - len(t.epochs) for t in open_trials if t.started.repeat is not None)
    retraining += whole * (wanted_retrainings(study, state) - len(state.final_trials()))
    return least + retraining, most + retraining


def _affordable(study: Study, state: RunState) -> float:
    """Return how many more epochs of the search its core-hours allow, as the ones so far went."""
    limit = study.study.core_hours
    if limit is None or not state.core_seconds:
        return math.inf
    done = sum(len(trial.epochs) for trial in state.search_trials())
    return max(0.0, 3600 * limit - state.core_seconds) * done / state.core_seconds


def time_left_text(seconds: tuple[float, float] | None) -> str:
    """Return the interval in words, both ends in the unit of the larger one."""
    if seconds is None:
        return "time left unknown before the first epoch"
    unit, size, digits = next(
        entry for entry in (("s", 1, 0), ("min", 60, 0), ("h", 3600, 1)) if seconds[1] < 100 * entry[1] or entry[2]
    )
    low, high = (f"{s / size:.{digits}f}" for s in seconds)
    return f"about {high} {unit} left" if low == high else f"{low} to {high} {unit} left"
