"""`report.md`: what a run found, made from its folder alone. Needs neither Ray nor Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.intervals import PairedDifference, paired_difference_interval
from results.leaderboard import leaderboard_text, rank_trials
from results.metrics import ClassificationMetrics, classification_metrics, report_markdown, write_confusion_csv
from results.records import COMPLETED, DIVERGED, ENDED, FAILED, STOPPED
from results.state import RunState
from results.store import write_atomically

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

ROLES = ("winner", "baseline")
PREDICTIONS = "test_predictions.parquet"
REPORT = "report.md"


@dataclass(frozen=True)
class Final:
    """A retrained configuration on the test split: its numbers and which images it got right."""

    role: str
    trial: int
    metrics: ClassificationMetrics
    correct: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Economy:
    """Epochs spent by the search, and what the same trials would have cost without stopping."""

    spent: int
    without_stopping: int

    @property
    def saved(self) -> float:
        """Share of the epochs that stopping saved."""
        return 1 - self.spent / self.without_stopping if self.without_stopping else 0.0


def epochs_spent(state: RunState) -> Economy:
    """Count the epochs of ended trials; diverged and failed ones would not have cost more without stopping."""
    ended = [t for t in state.search_trials() if t.status in ENDED]
    spent = sum(len(t.epochs) for t in ended)
    whole = sum(t.started.max_epochs if t.status == STOPPED else len(t.epochs) for t in ended)
    return Economy(spent, whole)


def write_predictions(
    path: Path, y_true: npt.NDArray[np.integer], y_prob: npt.NDArray[np.floating], class_names: tuple[str, ...]
) -> None:
    """Write test predictions as Parquet: `y_true`, then the probability of each class in a column of its name.

    Args:
        path: The file; the folder must exist.
        y_true: (n,) class indices.
        y_prob: (n, n_classes) probabilities.
        class_names: One name per column.
    """
    import pandas as pd

    frame = pd.DataFrame(y_prob, columns=[f"p:{name}" for name in class_names])
    frame.insert(0, "y_true", y_true)
    temporary = path.with_suffix(".tmp")
    frame.to_parquet(temporary, index=False)
    temporary.replace(path)


def read_finals(run: Path, state: RunState) -> list[Final]:
    """Return the evaluated finals of a run, the winner first, from their stored predictions."""
    import pandas as pd

    finals = []
    for evaluated in sorted(state.finals.values(), key=lambda e: ROLES.index(e.role)):
        frame = pd.read_parquet(run / evaluated.predictions)
        y_true = frame.pop("y_true").to_numpy()
        y_prob = frame.to_numpy()
        metrics = classification_metrics(y_true, y_prob, [name.removeprefix("p:") for name in frame.columns])
        finals.append(Final(evaluated.role, evaluated.trial, metrics, y_prob.argmax(axis=1) == y_true))
    return finals


def compare_finals(finals: list[Final]) -> PairedDifference | None:
    """Return accuracy of the winner minus that of the baseline on the same test images; None without both."""
    roles = {final.role: final for final in finals}
    if set(roles) != set(ROLES):
        return None
    return paired_difference_interval(roles["winner"].correct, roles["baseline"].correct)


def headline(state: RunState, finals: list[Final]) -> list[str]:
    """Return the result in a few sentences, for the terminal and the top of the report."""
    lines = []
    ranked, _ = rank_trials(state)
    if ranked and ranked[0].best is not None:
        best = ranked[0].best
        baseline = " (the baseline)" if ranked[0].started.is_baseline else ""
        lines.append(
            f"Best of the search: trial {best.trial}{baseline}, validation accuracy {best.validation_accuracy:.4f} "
            f"at epoch {best.epoch}."
        )
    for final in finals:
        m = final.metrics
        lines.append(
            f"Test accuracy of the {final.role} (trial {final.trial}, retrained): {m.accuracy:.4f}, "
            f"95 % interval {m.accuracy_low:.4f}..{m.accuracy_high:.4f} ({m.n} images)."
        )
    difference = compare_finals(finals)
    if difference is not None:
        lines.append(
            f"Winner minus baseline on the same test images: {difference.difference:+.4f}, 95 % interval "
            f"{difference.low:+.4f}..{difference.high:+.4f}, McNemar p = {difference.p_value:.3g}: "
            + ("the winner is better." if difference.low > 0 else _no_win(difference))
        )
    elif finals and finals[0].role == "winner" and ranked and ranked[0].started.is_baseline:
        lines.append("The search found nothing better than the baseline, so there is nothing to compare it with.")
    spent = epochs_spent(state)
    lines.append(
        f"Epochs spent: {spent.spent}; without stopping the same trials take {spent.without_stopping} "
        f"({spent.saved:.0%} saved)."
    )
    return lines


def write_report(run: Path, state: RunState) -> Path:
    """Write `report.md` with its pictures and the confusion matrices; return its path."""
    from results.figures import CurveRow, confusion_matrix, search_overview

    finals = read_finals(run, state)
    curves = [
        CurveRow(
            t.started.trial,
            t.status,
            t.started.is_baseline,
            tuple(sorted(t.epochs)),
            tuple(t.epochs[e].validation_accuracy for e in sorted(t.epochs)),
        )
        for t in state.search_trials()
        if t.epochs
    ]
    rungs = sorted({epoch for t in state.search_trials() for epoch in t.rungs})
    name = str(state.study["study"]["name"])  # type: ignore[index]
    lines = [f"# Study {name}", "", *(f"* {line}" for line in headline(state, finals)), ""]
    if curves:
        search_overview(curves, run / "search.png", rungs=rungs, title=f"Study {name}")
        lines += ["![Validation accuracy of all trials by epoch](search.png)", ""]
    lines += ["## Leaderboard", "", _counts(state), "", "```text", leaderboard_text(state), "```", ""]
    for final in finals:
        folder = run / "final" / final.role
        write_confusion_csv(final.metrics, folder / "confusion_matrix.csv")
        confusion_matrix(final.metrics, folder / "confusion_matrix.png")
        lines += [f"## Test split: {final.role} (trial {final.trial})", "", report_markdown(final.metrics)]
        lines += [f"![Confusion matrix of the {final.role}](final/{final.role}/confusion_matrix.png)", ""]
        lines += [f"Model: `final/{final.role}/model.keras`, predictions: `final/{final.role}/{PREDICTIONS}`.", ""]
    lines += _provenance(state)
    path = run / REPORT
    write_atomically(path, "\n".join(lines))
    return path


def _no_win(difference: PairedDifference) -> str:
    if difference.high < 0:
        return "the baseline is better; the search's choice was luck."
    return f"{difference.n} test images do not show a difference."


def _counts(state: RunState) -> str:
    trials = state.search_trials()
    words = [f"{sum(t.status == s for t in trials)} {s}" for s in (COMPLETED, STOPPED, DIVERGED, FAILED)]
    return (
        f"{len(trials)} trials: {', '.join(words)}. Completed trials are ranked by the validation accuracy at the "
        "epoch whose weights are kept; the others are listed with what they reached."
    )


def _provenance(state: RunState) -> list[str]:
    if state.started is None:
        return []
    come_from = state.started.provenance
    versions = ", ".join(f"{name} {version}" for name, version in come_from.get("versions", {}).items())
    machine = come_from.get("machine", {})
    return [
        "## Provenance",
        "",
        f"* Data set digest: `{state.started.data_digest}`",
        f"* Space fingerprint: `{state.started.space_fingerprint}`",
        f"* Versions: Python {come_from.get('python')}, {versions}",
        f"* Commit: {come_from.get('commit') or 'not run from a checkout'}",
        f"* Machine: {machine.get('system')}, {machine.get('processor')}, {machine.get('cpus')} CPUs",
        "",
    ]
