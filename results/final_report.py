"""What the finals say of the test split: read from the stored predictions, checked against the log, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from results.finals import baseline_of, is_stale, standings
from results.intervals import LEVEL_P, PairedDifference, paired_difference_interval
from results.metrics import classification_metrics
from results.predictions import Predictions, read_predictions
from results.records import RecordError
from results.state import RunState


@dataclass(frozen=True)
class Tested:
    """One configuration on the test split, with all its retrainings; `delivered` is the best of them on validation."""

    role: str  # "winner" or "baseline"
    trial: int
    repeats: tuple[int, ...]
    predictions: tuple[Predictions, ...]
    delivered: int

    @property
    def of_delivered(self) -> Predictions:
        """Predictions of the retraining that is handed on, or that stands for the baseline."""
        return self.predictions[self.repeats.index(self.delivered)]


def read_tested(run: Path, state: RunState) -> list[Tested]:
    """Return winner and baseline of the latest decision on the test split, the winner first.

    Without predictions (a trainable of one's own, or an interrupted evaluation) there are none.

    Raises:
        RecordError: Predictions are missing or do not give the accuracy that the log holds.
    """
    if not state.decisions:
        return []
    decision = state.decisions[-1]
    roles = {"winner": decision.winner}
    if (baseline := baseline_of(state, decision)) not in (None, decision.winner):
        roles |= {"baseline": baseline}
    tested = []
    for role, trial in roles.items():
        repeats = tuple(r for r in range(decision.seeds) if (trial, r) in state.finals)
        best = standings(state, [trial], decision.seeds)[0]
        if best.objectives and best.best_repeat in repeats:
            predictions = tuple(_read(run, state, trial, repeat) for repeat in repeats)
            tested.append(Tested(role, trial, repeats, predictions, best.best_repeat))
    return tested


def compare_delivered(tested: Sequence[Tested]) -> PairedDifference | None:
    """Return accuracy of the delivered model minus that of the baseline's on the same images; None without both."""
    if [one.role for one in tested] != ["winner", "baseline"]:
        return None
    winner, baseline = tested
    return paired_difference_interval(winner.of_delivered.correct, baseline.of_delivered.correct)


def finals_sentences(state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Return who won the finals and what the test split said, in a few sentences."""
    if not state.decisions:
        return []
    decision = state.decisions[-1]
    winner = standings(state, [decision.winner], decision.seeds)[0]
    lines = [
        f"Winner of the finals: trial {winner.trial}{' (the baseline)' if winner.is_baseline else ''}, mean validation "
        f"accuracy {winner.mean:.4f} over {_retrainings(len(winner.objectives))}; the search had promised "
        f"{winner.searched:.4f} ({winner.optimism:+.4f})."
    ]
    for one in tested:
        p = one.of_delivered
        m = classification_metrics(p.y_true, p.y_prob, p.class_names)
        model = "The delivered model" if one.role == "winner" else "The baseline's best retraining"
        lines.append(
            f"{model} (trial {one.trial}, retraining {one.delivered}) on new images: test accuracy {m.accuracy:.4f}, "
            f"95 % interval {m.accuracy_low:.4f}..{m.accuracy_high:.4f} ({m.n} images)."
        )
    return lines + _comparison(tested) + _caveats(state, tested)


def _read(run: Path, state: RunState, trial: int, repeat: int) -> Predictions:
    evaluated = state.finals[trial, repeat]
    path = run / evaluated.predictions
    found = read_predictions(path)
    right, n = int(found.correct.sum()), len(found.y_true)
    if (n, right) != (evaluated.n, evaluated.correct):
        raise RecordError(
            f"{path}: {right} of {n} right, the log says {evaluated.correct} of {evaluated.n}; restore it from a copy"
        )
    return found


def _comparison(tested: Sequence[Tested]) -> list[str]:
    difference = compare_delivered(tested)
    if difference is None:
        return []
    # A difference is called one only where both the interval and the exact test say so.
    if difference.p_value < LEVEL_P and difference.low > 0:
        verdict = "the delivered model is better."
    elif difference.p_value < LEVEL_P and difference.high < 0:
        verdict = "the baseline's is better."
    else:
        verdict = f"{difference.n} test images do not show a difference."
    return [
        f"Delivered model minus the baseline's on the same test images: {difference.difference:+.4f}, 95 % interval "
        f"{difference.low:+.4f}..{difference.high:+.4f}, McNemar p = {difference.p_value:.3g}: {verdict}"
    ]


def _caveats(state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Say what a reader must know before believing the figures: stale finals, earlier uses, nothing to compare."""
    decision, lines = state.decisions[-1], []
    if is_stale(state):
        lines.append(
            f"These finals are stale: they were decided after {decision.search_trials} trials, there are more now; "
            "`seti-tune finals RUN` decides anew, as a further use of the test split."
        )
    if tested and decision.winner == baseline_of(state, decision):
        lines.append("Nothing that was searched is better than the baseline, so there is nothing to compare it with.")
    lost = [s for s in standings(state, decision.finalists, decision.seeds) if s.lost]
    lines += [
        f"Trial {s.trial}: {len(s.lost)} of {_retrainings(decision.seeds)} did not complete ({'; '.join(s.lost)})."
        for s in lost
    ]
    return [*lines, *_uses(state)] if tested else lines


def _uses(state: RunState) -> list[str]:
    """Count the uses of the test split: decisions of this run, unlocked ones, and those of others before."""
    counts = {
        "by finals of this run": len(state.decisions),
        "unlocked for a model of this run": len(state.unlocks),
        "by others before": state.decisions[-1].earlier_uses,
    }
    if sum(counts.values()) == 1:
        return ["The test split has been used once."]
    words = ", ".join(f"{n} {what}" for what, n in counts.items() if n)
    return [f"The test split has been used {sum(counts.values())} times ({words}): every use makes it less of a test."]


def _retrainings(n: int) -> str:
    return "one retraining" if n == 1 else f"{n} retrainings"
