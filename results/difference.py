"""What made the difference: the best trial with a choice beside the best without it, on the same validation images.

Choices are compared as the search found them. The importance of a parameter answers another question, and rates a
choice that divides the trials into good and bad ones low once most trials have it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

from results.log.state import RunState, TrialState
from results.stats.intervals import PairedDifference
from results.tables.ties import paired_difference, validation_images

# By name the field and its value where a configuration does not have it, as those of before did not.
CHOICES = {"preparation": ("prepare.steps", "none"), "family": ("network.family", "course")}
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

    A trial without a choice has the other one of the best trial, if there is such a trial.
    The last one compares the best trial that has the baseline's preparation and family with the baseline itself.
    """
    trials = [trial for trial in state.search_trials() if trial.best is not None]
    best, baseline = _best(trials), _best(trial for trial in trials if trial.started.is_baseline)
    if best is None:
        return ()
    n, found = validation_images(state), []
    for what in CHOICES:
        chosen = _choices(best)
        others = [trial for trial in trials if _choices(trial)[what] != chosen[what]]
        alike = [trial for trial in others if _choices(trial) | {what: ""} == chosen | {what: ""}]
        without = _best(alike or others)
        if without is not None:
            differ = paired_difference(best, without, n)
            found.append(Contrast(what, chosen[what], best, _choices(without)[what], without, differ))
    if found and baseline is not None:
        same = _best(trial for trial in trials if _choices(trial) == _choices(baseline)) or baseline
        differ = None if same is baseline else paired_difference(same, baseline, n)
        found.append(Contrast(THE_REST, "the best", same, "the baseline's", baseline, differ))
    return tuple(found)


def _best(trials: Iterable[TrialState]) -> TrialState | None:
    """Return the trial that reached most, the first of equals."""
    return max(trials, key=attrgetter("merit"), default=None)


def _choices(trial: TrialState) -> dict[str, str]:
    configuration = trial.started.configuration
    return {what: str(configuration.get(field) or default) for what, (field, default) in CHOICES.items()}
