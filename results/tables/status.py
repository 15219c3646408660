"""How a run stands, in a screenful: from its log alone, also while another process writes it, also on a copy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from results.audit import epochs_spent
from results.commands import command, continuing
from results.log.recorder import is_being_written
from results.log.records import ENDED, AttemptEnded, Cause, Status, trial_name
from results.log.state import RunState, TrialState, fold
from results.run_folder import REPORT
from results.stats.intervals import PairedDifference
from results.tables.leaderboard import rank_trials
from results.tables.nodes import NodeUse, node_uses
from results.tables.table import cell_text, short_name
from results.tables.ties import objective_interval, paired_difference, validation_images
from results.text import one_line, printable

LAST_REASONS = 3
NO_BETTER = 10  # trials from which on it is said that none was better
_CLOCK_TOLERANCE_S = 5.0
_LABEL_WIDTH, _REASON_WIDTH = 15, 90
_CAUSES = {
    Cause.MEMORY: "out of memory",
    Cause.CHECKPOINT: "with an unreadable checkpoint",
    Cause.NODE: "through a fault of their machine",
}


@dataclass(frozen=True)
class RunStatus:
    """A run and whether a driver is writing it at this moment."""

    run: Path
    state: RunState
    is_running: bool

    @property
    def is_finished(self) -> bool:
        """Whether the log says that nothing was left to do."""
        return self.state.ended is not None and self.state.ended.finished


def run_status(run: Path) -> RunStatus:
    """Read a run as it is now. Nothing is written, and a driver that starts at this instant is not kept from it.

    Raises:
        RecordError: No run folder, or a damaged log.
    """
    running = is_being_written(run)
    state = fold(run)
    # A driver that says why it leaves holds the log a little longer: the word of the log is the later one.
    return RunStatus(run, state, running and (state.ended is None or is_being_written(run)))


def status_text(status: RunStatus, *, now: datetime | None = None) -> str:
    """Return the status in lines, each with its label."""
    now = now or datetime.now(UTC)
    state = status.state
    name = state.study.study.name or status.run.name
    lines = [*(f"warning: {doubt}" for doubt in state.doubts)]
    lines.append(f"study {name}, {status.run}: {_how_it_stands(status, now)}")
    for label, text in (
        ("last event", _last_event(state, now)),
        ("trials", _counts(status)),
        ("best", _best(state)),
        ("baseline", _baseline(state)),
        ("epochs", _epochs(state)),
        ("progress", outlook(state)),
        ("time", f"{duration(state.spent_s)} of driver time" if state.started else ""),
    ):
        if text:
            lines.append(f"{label:{_LABEL_WIDTH}}{text}")
    uses = node_uses(state)
    lines += _labelled("nodes", (_use(use) for use in uses if use.checked is None or use.checked.admitted))
    refused = (use.checked for use in uses if use.checked is not None and not use.checked.admitted)
    lines += _labelled("no trials on", (f"{found.node}: {one_line(found.reason)}" for found in refused))
    lines += _labelled("running" if status.is_running else "open", _open_trials(status, now))
    lines += _labelled("lost attempts", _lost(state))
    lines += _labelled("next", next_steps(status))
    return "\n".join(map(printable, lines))


def duration(seconds: float) -> str:
    """Return a span of time in its two largest units; a negative one, from a clock set back, is none."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def _use(use: NodeUse) -> str:
    room = [] if use.checked is None or use.checked.cpus is None else [f"{use.checked.cpus:g} CPUs"]
    speed = [] if use.images_per_s is None else [f"{use.images_per_s:.0f} images/s"]
    words = ", ".join([*room, *speed, f"{use.epochs} epochs, {use.trials} trials"])
    slow = f"; slow: the others train {use.others:.0f} images/s" if use.is_slow else ""
    return f"{use.node}: {words}{slow}"


def _how_it_stands(status: RunStatus, now: datetime) -> str:
    state, ended = status.state, status.state.ended
    since = "" if state.driver_since is None else f" for {duration((now - state.driver_since).total_seconds())}"
    if status.is_running and ended is None:
        return f"running now{since}" if state.started else "starting now, nothing is recorded yet"
    if status.is_running and not status.is_finished:
        return "running now, continued a moment ago"
    if ended is not None:
        reason = " ".join(ended.reason.removeprefix(f"{status.run.absolute()}: ").split())
        return f"{'finished: ' if ended.finished else '' if reason.startswith('interrupted') else 'ended: '}{reason}"
    return "interrupted without a recorded reason, or a copy of a running one"


def _last_event(state: RunState, now: datetime) -> str:
    if state.last_event is None:
        return ""
    age = (now - state.last_event).total_seconds()
    if age < -_CLOCK_TOLERANCE_S:
        return f"at {state.last_event:%Y-%m-%d %H:%M:%S} UTC, ahead of this machine's clock"
    return f"{duration(age)} ago"


def _counts(status: RunStatus) -> str:
    state = status.state
    trials, total = state.search_trials(), state.study.study.trials if state.started else None
    counts = Counter(t.status for t in trials)
    words = [f"{counts[s]} {s}" for s in ENDED if counts[s]]
    still = len(trials) - sum(counts[s] for s in ENDED)
    starting = sum(_is_starting(t) for t in trials) if status.is_running else 0
    if still > starting:
        words.append(f"{still - starting} {'running' if status.is_running else 'open'}")
    if starting:
        words.append(f"{starting} starting")
    finals = Counter(t.status if t.ended else "open" for t in state.final_trials())
    text = f"{len(trials)} of {total}" if isinstance(total, int) else str(len(trials))
    text += f": {', '.join(words)}" if words else ""
    return text + (f"; finals: {', '.join(f'{n} {s}' for s, n in finals.items())}" if finals else "")


def leader(state: RunState) -> TrialState | None:
    """Return the best completed trial or, as long as none is, the one that reached most; None without an epoch."""
    ranked, others = rank_trials(state)
    reached = ranked[:1] or [t for t in others if t.best]
    return max(reached, key=lambda t: (t.merit, -t.started.trial), default=None)


def advantage(state: RunState) -> PairedDifference | None:
    """Return by how much the best completed trial differs from the baseline on the images that both predicted.

    Without a test of it: the trial was chosen on these images as the best of many.
    """
    best = leader(state)
    baseline = next((t for t in state.search_trials() if t.started.is_baseline and t.status == Status.COMPLETED), None)
    if best is None or baseline is None or best.status != Status.COMPLETED or best.started.is_baseline:
        return None
    return paired_difference(best, baseline, validation_images(state))


def lost_attempts(state: RunState) -> list[AttemptEnded]:
    """Return the attempts that ended without a verdict on their trial, in the order of time.

    Their worker died, training raised or returned early, or the driver left; the last one of a failed trial too.
    """
    ends = [end for trial in state.trials.values() for end in trial.attempts_ended.values()]
    return sorted((end for end in ends if end.why not in ENDED), key=lambda end: end.time)


def _best(state: RunState) -> str:
    best = leader(state)
    if best is None:
        return "no epoch is recorded yet"
    if best.status != Status.COMPLETED:
        return f"no trial is completed; best so far {_reached(best, state)}"
    if best.started.is_baseline:
        return f"{_reached(best, state)}, the baseline"
    difference = advantage(state)
    if difference is None:
        return _reached(best, state)
    return (
        f"{_reached(best, state)}; minus baseline {difference.difference:+.4f} "
        f"(95 % {difference.low:+.3f}..{difference.high:+.3f}){best.objective.of_differences}, optimistic: "
        "chosen on the same images"
    )


def _baseline(state: RunState) -> str:
    baseline = next((t for t in state.search_trials() if t.started.is_baseline), None)
    if baseline is None or baseline.best is None:
        return ""
    status = "" if baseline.status == Status.COMPLETED else f", {baseline.status}"
    return f"{_reached(baseline, state)}{status}: {what_baseline(state)}"


def what_baseline(state: RunState) -> str:
    """Say what the baseline of a search is; empty where it has none."""
    baseline = next((t for t in state.search_trials() if t.started.is_baseline), None)
    if baseline is None or not state.is_search:
        return ""
    if not state.study.baseline:
        return f"the course's network and values{' with those of [fixed]' if state.study.fixed else ''}"
    values = ", ".join(f"{short_name(name)} {cell_text(value)}" for name, value in baseline.parameters.items())
    return f"{values} (from [baseline])"


def outlook(state: RunState) -> str:
    """Say for how many trials none was better and what ten more would cost: advice, which nothing goes by."""
    best, trials = leader(state), state.search_trials()
    since = 0 if best is None else sum(t.ended is not None and t.started.trial > best.started.trial for t in trials)
    if since < NO_BETTER:
        return ""
    hours = 10 * state.core_seconds / len(trials) / 3600
    cost = f"; the next ten would cost about {hours:.2g} core-hours" if hours else ""
    return f"no better trial in the last {since}{cost}"


def _reached(trial: TrialState, state: RunState) -> str:
    interval = objective_interval(trial, validation_images(state))
    words = "" if interval is None else f" (95 % {interval[0]:.3f}..{interval[1]:.3f})"
    if trial.best is None:
        return f"trial {trial.started.trial}"
    return f"trial {trial.started.trial}: {trial.value:.4f}{words} at epoch {trial.best.epoch}"


def _epochs(state: RunState) -> str:
    spent = epochs_spent(state)
    done = sum(len(t.epochs) for t in state.trials.values())
    saved = spent.without_stopping - spent.spent
    return f"{done} done; ended trials took {spent.spent}, stopping them early saved {saved} ({spent.saved:.0%})"


def _is_starting(trial: TrialState) -> bool:
    """Return whether an attempt was handed out that no worker has begun."""
    attempt = trial.open_attempt()
    return trial.ended is None and attempt is not None and attempt not in trial.running


def _starting(trial: TrialState, attempt: int, now: datetime) -> str:
    since = now - datetime.fromisoformat(trial.attempts[attempt].time)
    why = f": {one_line(trial.waiting[attempt].why)}" if attempt in trial.waiting else ""
    return f"attempt {attempt} is starting for {duration(since.total_seconds())}{why}"


def _open_trials(status: RunStatus, now: datetime) -> Iterator[str]:
    for trial in (*status.state.search_trials(), *status.state.final_trials()):
        if trial.ended is not None:
            continue
        words = [trial_name(*trial.started.key)]
        words.append(f"epoch {max(trial.epochs, default=0)}/{trial.started.max_epochs}")
        if trial.last is not None:
            words.append(f"last {trial.last.value:.4f}")
        attempt = trial.open_attempt()
        if attempt is None or not status.is_running:
            words.append("waits for its next attempt" if status.is_running else "continues with the run")
        else:
            entered = trial.running.get(attempt)
            words.append(f"attempt {attempt} on {entered.node}" if entered else _starting(trial, attempt, now))
        yield ", ".join(words)


def _lost(state: RunState) -> Iterator[str]:
    lost = lost_attempts(state)
    if not lost:
        return
    counts = Counter(_kind(end) for end in lost)
    failed = sum(t.status == Status.FAILED and bool(t.attempts_ended) for t in state.trials.values())
    ended = f"; {failed} of them ended {'its trial' if failed == 1 else 'their trials'} as failed" if failed else ""
    yield f"{len(lost)}: {', '.join(f'{n} {kind}' for kind, n in counts.most_common())}{ended}"
    for end in lost[-LAST_REASONS:]:
        yield f"{trial_name(end.trial, end.repeat)}, attempt {end.attempt}: {one_line(end.why)[:_REASON_WIDTH]}"


def _kind(end: AttemptEnded) -> str:
    if end.cause is not None:
        return _CAUSES[end.cause]
    return "raised or returned early" if end.counts else "died or interrupted"


def next_steps(status: RunStatus) -> Iterator[str]:
    """Return what can be done with the run now, most of it commands."""
    if status.is_finished and (status.run / REPORT).is_file():
        yield f"read {status.run / REPORT}"
    if status.state.started is not None:
        yield command("leaderboard", status.run)
    if status.is_running or status.is_finished:
        return
    if status.state.started is not None:
        yield continuing(status.run, is_search=status.state.is_search)
    else:
        yield "start the search again with the same command; nothing is recorded that could be resumed"


def _labelled(label: str, texts: Iterator[str]) -> list[str]:
    return [f"{'' if number else label:{_LABEL_WIDTH}}{text}" for number, text in enumerate(texts)]
