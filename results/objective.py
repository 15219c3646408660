"""The objective of a study: the number by which epochs, trials and finalists are ranked.

`results.stats.objectives` computes it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal, get_args

from msgspec import Meta

FalseAlarm = Annotated[float, Meta(gt=0, lt=1)]
Name = Literal["accuracy", "balanced_accuracy", "macro_f1", "auc", "loss", "recall_at_false_alarm"]
NAMES: tuple[str, ...] = get_args(Name)
ACCURACY, LOSS, AT_FALSE_ALARM = "accuracy", "loss", "recall_at_false_alarm"
_WORDS = {"balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1", "auc": "macro AUC", LOSS: "cross-entropy"}


@dataclass(frozen=True)
class Objective:
    """A number of the validation images. `background` and `false_alarm` count for `recall_at_false_alarm` alone."""

    name: Name = "accuracy"
    background: str = "noise"  # the class without a signal
    false_alarm: FalseAlarm = 0.01  # share of the background that may be taken for a signal

    @property
    def is_minimised(self) -> bool:
        """Whether the lowest value is the best one."""
        return self.name == LOSS

    @property
    def is_accuracy(self) -> bool:
        """Whether it is the share of right images, for which there are exact tests."""
        return self.name == ACCURACY

    @property
    def words(self) -> str:
        """What a reader calls it."""
        if self.name == AT_FALSE_ALARM:
            return f"recall at a false-alarm rate of {self.false_alarm:g}"
        return _WORDS.get(self.name, self.name)

    @property
    def identity(self) -> str:
        """Everything that it depends on, in one word."""
        return f"{self.name}({self.background}, {self.false_alarm!r})" if self.name == AT_FALSE_ALARM else self.name

    @property
    def of_differences(self) -> str:
        """What is to be said beside a difference, so that its sign is understood."""
        return " (less is better)" if self.is_minimised else ""

    def merit(self, value: float) -> float:
        """Return the value, the higher the better; and of a merit its value."""
        return -value if self.is_minimised else value

    def best(self, a: float, b: float) -> float:
        """Return the better one of two values; NaN is worse than any other."""
        if math.isnan(a) or math.isnan(b):
            return b if math.isnan(a) else a
        return min(a, b) if self.is_minimised else max(a, b)
