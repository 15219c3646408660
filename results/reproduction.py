"""A trial and its repetition from a receipt: what differs beforehand, and what is to be said of the outcome."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from results.log.records import Status
from results.log.state import RunState
from results.receipt import Environment, Receipt
from results.stats.seeds import objective_over_retrainings
from results.text import printable

LEVEL = 0.95
_COMMIT = "commit of seti-tune"
_MAY_BE_UNKNOWN = ("python", _COMMIT, "device")  # a library that is not named was not there


class Verdict(StrEnum):
    """What came out of repeating a trial."""

    IDENTICAL = "identical"
    WITHIN = "within tolerance"
    DIFFERS = "differs"


@dataclass(frozen=True)
class Setting:
    """With what a trial is repeated: everything that may differ from its receipt."""

    environment: Environment
    threads: int
    gpus: float
    data_digest: str | None
    init_digest: str | None = None


@dataclass(frozen=True)
class Repetition:
    """What a repetition gave, after its last epoch; `ended_early` says why it had fewer epochs than the trial."""

    validation_accuracies: tuple[float, ...]
    objective: float | None  # the best one of all epochs
    weights_digest: str | None
    best_weights_digest: str | None
    ended_early: str | None = None


@dataclass(frozen=True)
class Answer:
    """Whether a repetition gave what its receipt says: `word`, what differs, and the sentence for people."""

    word: Verdict
    differences: tuple[str, ...]
    text: str

    @property
    def exit_code(self) -> int:
        """0 where the trial was repeated, 2 where something named differs, 1 where nothing does: a bug of ours."""
        return 0 if self.word != Verdict.DIFFERS else 2 if self.differences else 1


def differences(receipt: Receipt, setting: Setting, disagreements: Sequence[str] = ()) -> tuple[str, ...]:
    """Return what differs between a trial and its repetition, each as words; known before anything is trained.

    Args:
        receipt: Of the trial.
        setting: Of the repetition.
        disagreements: Where the receipt says otherwise than the log of its run.
    """
    here, recorded = setting.environment, receipt.environments
    names = sorted({*here.versions, *(name for e in recorded for name in e.versions)})
    found = [_changed(name, [e.versions.get(name) for e in recorded], here.versions.get(name)) for name in names]
    found += [_changed("python", [e.python for e in recorded], here.python)]
    found += [_changed(_COMMIT, [e.commit for e in recorded], here.commit)]
    unknown = [f"device: not recorded then, {here.device or 'not known'} now"] if _lacks_device(recorded) else []
    found += [_changed("device", [e.device for e in recorded], here.device), *unknown]
    found += [_changed("threads", [receipt.threads], setting.threads)]
    found += [_changed("GPUs", [receipt.gpus], setting.gpus)]
    found += [_changed("data", [receipt.data_digest], setting.data_digest)]
    found += [_changed("initial weights", [receipt.init_digest], setting.init_digest)]
    return tuple(printable(words) for words in (*found, *disagreements) if words)


def tolerance(receipt: Receipt, setting: Setting, state: RunState | None) -> tuple[float, float] | str:
    """Return between which objectives a further retraining is expected, or why that cannot be said."""
    if state is None:
        return "the run with its finals is not here"
    if receipt.data_digest != setting.data_digest:
        return "its retrainings in the finals saw other data"
    if receipt.status != Status.COMPLETED:
        return f"the trial was {receipt.status} after epoch {receipt.epochs} of {receipt.max_epochs}"
    same = [
        t.value
        for t in state.final_trials()
        if t.started.trial == receipt.trial and t.status == Status.COMPLETED and t.best is not None
        if t.started.configuration == receipt.configuration
    ]
    if len(same) < 2:
        return f"its completed retrainings in the finals are {len(same)}, at least 2 are needed"
    expected = objective_over_retrainings(same, LEVEL).next_retraining
    return expected.low, expected.high


def compare(
    receipt: Receipt, done: Repetition, *, different: Sequence[str], expected: tuple[float, float] | str
) -> Answer:
    """Compare a repetition with its receipt.

    Args:
        receipt: What the trial gave.
        done: What the repetition gave.
        different: What `differences` says.
        expected: What `tolerance` says.
    """
    different = tuple(different)
    if (same := _sameness(receipt, done)) is not None:
        although = f"; although {'; '.join(different)}" if different else ""
        return Answer(Verdict.IDENTICAL, different, f"{Verdict.IDENTICAL}: {same}{although}")
    named = "; ".join(different)
    unsure = "" if different or done.ended_early else _perhaps(receipt)
    if isinstance(expected, str):
        is_within, limits = False, f"whether that is within tolerance cannot be said: {expected}"
    else:
        is_within = done.objective is not None and expected[0] <= done.objective <= expected[1]
        limits = f"{100 * LEVEL:.0f} % of retrainings are expected in {expected[0]:.4f}..{expected[1]:.4f}"
        limits += "" if is_within else ", it lies outside"
    if is_within:
        word, why = Verdict.WITHIN, f"; different: {named or 'nothing that is recorded'}{unsure}"
    else:
        word = Verdict.DIFFERS
        report = unsure or ": please report it"
        why = f", because {named}" if different else f" although nothing recorded differs{report}"
    return Answer(word, different, f"{word}{why}\n{_reached(receipt, done)}; {limits}")


def _perhaps(receipt: Receipt) -> str:
    """Name what of the user's may be behind a difference that nothing recorded explains."""
    texts = (str(receipt.configuration.get(name, "")) for name in ("network.family", "prepare.steps"))
    own = " or ".join(name.strip() for text in texts for name in text.split(",") if ":" in name)
    return f"; perhaps {own} draws something without the seed: then no training of it repeats" if own else ""


def _sameness(receipt: Receipt, done: Repetition) -> str | None:
    """Say in what the two are the same; None where they are not."""
    if len(done.validation_accuracies) != len(receipt.validation_accuracies):
        return None
    recorded = receipt.weights_digest, receipt.best_weights_digest
    if any(recorded):
        same = recorded == (done.weights_digest, done.best_weights_digest)
        words = f"the weights after epoch {receipt.epochs} and those of the best epoch are the same bit for bit"
    else:
        same = receipt.validation_accuracies == tuple(_finite(a) for a in done.validation_accuracies)
        words = f"the validation accuracies of all {receipt.epochs} epochs are the same; no weights are recorded"
    return words if same else None


def _reached(receipt: Receipt, done: Repetition) -> str:
    was, is_now = ("none" if a is None else f"{a:.4f}" for a in (receipt.objective, done.objective))
    early = f", {done.ended_early}" if done.ended_early else ""
    return f"Best validation {receipt.ranked_by.words} {is_now}, recorded {was}{early}"


def _changed(name: str, recorded: Iterable[Any], now: Any) -> str | None:
    """Say what a value was, in one or several environments, and is; None where it is the same or was not recorded."""
    before = list(dict.fromkeys(value for value in recorded if value is not None or name not in _MAY_BE_UNKNOWN))
    if before in ([], [now]) or (now is None and name == _COMMIT):  # installed from a package
        return None
    return f"{name}: {' and '.join(map(_short, before))} then, {_short(now)} now"


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _lacks_device(recorded: Sequence[Environment]) -> bool:
    return any(environment.device is None for environment in recorded)


def _short(value: Any) -> str:
    if value is None:
        return "not there"
    text = str(value)
    return f"{text[:12]}…" if len(text) > 39 and " " not in text else text  # digests and commits


def to_mapping(answer: Answer, setting: Setting, done: Repetition) -> dict[str, Any]:
    """Return all of it as JSON can hold it; accuracies that are not finite are None."""
    accuracies = [_finite(a) for a in done.validation_accuracies]
    repetition = dataclasses.asdict(done) | {"validation_accuracies": accuracies}
    return {"answer": dataclasses.asdict(answer), "setting": dataclasses.asdict(setting), "repetition": repetition}
