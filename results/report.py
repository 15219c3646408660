"""`report.md`: what a run found, made from its folder alone. Needs neither Ray nor Keras."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.audit import audit, audit_markdown, epochs_spent
from results.intervals import LEVEL_P, PairedDifference, paired_difference_interval
from results.leaderboard import finalists, leaderboard_text
from results.metrics import ClassificationMetrics, classification_metrics, report_markdown, write_confusion_csv
from results.records import COMPLETED, DIVERGED, FAILED, STOPPED, RecordError
from results.state import RunState
from results.store import write_atomically

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

PREDICTIONS = "test_predictions.parquet"
REPORT = "report.md"


@dataclass(frozen=True)
class Final:
    """A retrained configuration on the test split: its numbers and which images it got right."""

    role: str  # "winner" or "baseline"
    trial: int
    metrics: ClassificationMetrics
    correct: npt.NDArray[np.bool_]
    folder: Path  # relative to the run folder


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
    """Return the evaluated finals of the present winner and baseline, the winner first, from stored predictions.

    Raises:
        RecordError: Predictions are missing or do not give the accuracy that the log holds.
    """
    import pandas as pd

    finals = []
    for role, trial in finalists(state).items():
        evaluated = state.finals.get((trial.started.trial, 0))
        if evaluated is None:
            continue
        path = run / evaluated.predictions
        if not path.is_file():
            raise RecordError(f"{path}: missing; restore it from a copy, or run the study in another folder with --run")
        frame = pd.read_parquet(path)
        y_true = frame.pop("y_true").to_numpy()
        y_prob = frame.to_numpy()
        correct = y_prob.argmax(axis=1) == y_true
        if (len(correct), int(correct.sum())) != (evaluated.n, evaluated.correct):
            raise RecordError(
                f"{path}: {correct.sum()} of {len(correct)} right, the log says {evaluated.correct} of {evaluated.n}; "
                "restore it from a copy"
            )
        names = [name.removeprefix("p:") for name in frame.columns]
        metrics = classification_metrics(y_true, y_prob, names)
        finals.append(Final(role, evaluated.trial, metrics, correct, Path(evaluated.predictions).parent))
    return finals


def compare_finals(finals: list[Final]) -> PairedDifference | None:
    """Return accuracy of the winner minus that of the baseline on the same test images; None without both."""
    roles = {final.role: final for final in finals}
    if set(roles) != {"winner", "baseline"}:
        return None
    return paired_difference_interval(roles["winner"].correct, roles["baseline"].correct)


def headline(state: RunState, finals: list[Final]) -> list[str]:
    """Return the result in a few sentences, for the terminal and the top of the report."""
    lines = []
    winner = finalists(state).get("winner")
    if winner is not None and winner.best is not None:
        baseline = " (the baseline)" if winner.started.is_baseline else ""
        lines.append(
            f"Best of the search: trial {winner.started.trial}{baseline}, validation accuracy "
            f"{winner.best.validation_accuracy:.4f} at epoch {winner.best.epoch} (the best of "
            f"{len(state.search_trials())} trials, so optimistic)."
        )
    elif first := next((t.ended for t in state.search_trials() if t.ended), None):
        lines.append(f"No trial was completed; the first one {first.status}: {first.reason}")
    for final in finals:
        m = final.metrics
        lines.append(
            f"Test accuracy of the {final.role} (trial {final.trial}, retrained once): {m.accuracy:.4f}, "
            f"95 % interval {m.accuracy_low:.4f}..{m.accuracy_high:.4f} ({m.n} images)."
        )
    lines += _lost_finals(state) + _comparison(finals)
    if finals and winner is not None and winner.started.is_baseline:
        lines.append("The search found nothing better than the baseline, so there is nothing to compare it with.")
    if len(state.finals) > len(finals):
        lines.append(
            f"The test split was also predicted by {len(state.finals) - len(finals)} earlier finalists, before the "
            "study was extended: these figures are not its first use."
        )
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
    lines += audit_markdown(audit(state))
    for final in finals:
        write_confusion_csv(final.metrics, run / final.folder / "confusion_matrix.csv")
        confusion_matrix(final.metrics, run / final.folder / "confusion_matrix.png")
        lines += [f"## Test split: {final.role} (trial {final.trial})", "", report_markdown(final.metrics)]
        lines += [f"![Confusion matrix of the {final.role}]({final.folder}/confusion_matrix.png)", ""]
        lines += [f"Model: `{final.folder}/model.keras`, predictions: `{final.folder}/{PREDICTIONS}`.", ""]
    lines += _provenance(state)
    path = run / REPORT
    write_atomically(path, "\n".join(lines))
    return path


def _lost_finals(state: RunState) -> list[str]:
    """Say which finalist has no test figures because its retraining did not end well."""
    return [
        f"The {role} (trial {trial.started.trial}) has no test figures: retrained, it {final.ended.status} "
        f"({final.ended.reason})."
        for role, trial in finalists(state).items()
        if (final := state.trials.get((trial.started.trial, 0))) and final.ended and final.status != COMPLETED
    ]


def _comparison(finals: list[Final]) -> list[str]:
    difference = compare_finals(finals)
    if difference is None:
        return []
    # A difference is called one only where both the interval and the exact test say so.
    if difference.p_value < LEVEL_P and difference.low > 0:
        verdict = "the retrained winner is better."
    elif difference.p_value < LEVEL_P and difference.high < 0:
        verdict = "the retrained baseline is better."
    else:
        verdict = f"{difference.n} test images do not show a difference."
    return [
        f"Winner minus baseline on the same test images: {difference.difference:+.4f}, 95 % interval "
        f"{difference.low:+.4f}..{difference.high:+.4f}, McNemar p = {difference.p_value:.3g}: {verdict} "
        "(One retraining each; the spread over seeds is not in the interval.)"
    ]


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
        f"* Space fingerprint: `{state.space_fingerprint}`",
        f"* Versions: Python {come_from.get('python')}, {versions}",
        f"* Commit: {come_from.get('commit') or 'not run from a checkout'}",
        f"* Machine: {machine.get('system')}, {machine.get('processor')}, {machine.get('cpus')} CPUs",
        "",
    ]
