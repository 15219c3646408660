"""`report.md`: what a run found, made from its folder alone. Needs neither Ray nor Keras."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from results.audit import audit, audit_markdown, epochs_spent
from results.files import write_atomically
from results.final_evaluation import Tested, read_tested
from results.log.records import ENDED
from results.log.state import RunState
from results.report.content import provenance
from results.report.final_report import finals_markdown, finals_sentences
from results.report.model_card import write_model_card
from results.stats.metrics import markdown_table
from results.tables.leaderboard import leaderboard_text, rank_trials

REPORT = "report.md"
_RANKING = (
    "Completed trials are ranked by the validation accuracy at the epoch whose weights are kept; the others are listed "
    "with what they reached."
)


def headline(state: RunState, tested: Sequence[Tested]) -> list[str]:
    """Return the result in a few sentences, for the terminal and the top of the report."""
    lines = []
    ranked, _ = rank_trials(state)
    best = ranked[0] if ranked else None
    if best is not None and best.best is not None:
        baseline = " (the baseline)" if best.started.is_baseline else ""
        lines.append(
            f"Best of the search: trial {best.started.trial}{baseline}, validation accuracy "
            f"{best.best.validation_accuracy:.4f} at epoch {best.best.epoch} (the best of "
            f"{len(state.search_trials())} trials, so optimistic)."
        )
    elif first := next((t.ended for t in state.search_trials() if t.ended), None):
        lines.append(f"No trial was completed; the first one {first.status}: {first.reason}")
    lines += finals_sentences(state, tested)
    spent = epochs_spent(state)
    lines.append(
        f"Epochs spent: {spent.spent}; without stopping the same trials take {spent.without_stopping} "
        f"({spent.saved:.0%} saved)."
    )
    return lines


def trial_counts(state: RunState) -> str:
    """Say how many trials of the search ended how."""
    trials = state.search_trials()
    words = [f"{sum(t.status == s for t in trials)} {s}" for s in ENDED]
    running = sum(t.ended is None for t in trials)
    words += [f"{running} running"] if running else []
    return f"{len(trials)} trials: {', '.join(words)}."


def write_report(run: Path, state: RunState) -> Path:
    """Write `report.md` with its pictures and tables, and the card of the delivered model; return the report's path."""
    from results.report.figures import CurveRow, search_overview

    tested = read_tested(run, state)
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
    lines = [f"# Study {name}", "", *(f"* {line}" for line in headline(state, tested)), ""]
    if curves:
        search_overview(curves, run / "search.png", rungs=rungs, title=f"Study {name}")
        lines += ["![Validation accuracy of all trials by epoch](search.png)", ""]
    lines += [
        "## Leaderboard",
        "",
        f"{trial_counts(state)} {_RANKING}",
        "",
        "```text",
        leaderboard_text(state),
        "```",
        "",
    ]
    lines += audit_markdown(audit(state))
    lines += finals_markdown(run, state, tested)
    if tested:
        write_model_card(run, state, tested)
    lines += _provenance(state)
    path = run / REPORT
    write_atomically(path, "\n".join(lines))
    return path


def _provenance(state: RunState) -> list[str]:
    return ["## Provenance", "", *markdown_table(["what", "value"], provenance(state)), ""]
