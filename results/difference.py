"""What made the difference: the best trial with a choice beside the best without it, on the same validation images.

Choices are compared as the search found them. The importance of a parameter answers another question, and rates a
choice that divides the trials into good and bad ones low once most trials have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from results.log.state import RunState, TrialState
from results.stats.intervals import PairedDifference
from results.tables.ties import objective, paired_difference, validation_images

CHOICES = {"preparation": "prepare.steps", "family": "network.family"}
THE_REST = "all other parameters"


@dataclass(frozen=True)
class Contrast:
    """The best trial with a choice and the best without it; stopped trials count with what they reached.

    `difference` is None where both are the same trial, or one does not tell which validation images it had right.
    """

    what: str
    chosen: str  # the value of the best trial
    best: TrialState
    other: str  # the value of the best trial without it
    without: TrialState
    difference: PairedDifference | None


def contrasts(state: RunState) -> tuple[Contrast, ...]:
    """Return a contrast for preparation and family, where they vary, and one for all other parameters.

    The last one compares the best trial that has the baseline's preparation and family with the baseline itself.
    """
    trials = [trial for trial in state.search_trials() if trial.best is not None]
    best, baseline = _best(trials), _best(trial for trial in trials if trial.started.is_baseline)
    if best is None:
        return ()
    n, found = validation_images(state), []
    for what, field in CHOICES.items():
        chosen = _value(best, field)
        without = _best(trial for trial in trials if _value(trial, field) != chosen)
        if without is not None:
            differ = paired_difference(best, without, n)
            found.append(Contrast(what, chosen, best, _value(without, field), without, differ))
    if found and baseline is not None:
        as_baseline = [_value(baseline, field) for field in CHOICES.values()]
        same = _best(t for t in trials if [_value(t, field) for field in CHOICES.values()] == as_baseline) or baseline
        differ = None if same is baseline else paired_difference(same, baseline, n)
        found.append(Contrast(THE_REST, "the best", same, "the baseline's", baseline, differ))
    return tuple(found)


def _best(trials: Iterable[TrialState]) -> TrialState | None:
    """Return the trial that reached most, the first of equals."""
    return max(trials, key=objective, default=None)


def _value(trial: TrialState, field: str) -> str:
    return str(trial.started.configuration.get(field, "") or "none")
