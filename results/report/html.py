"""`report.html`: what a run found, in one file without network, made from its folder alone, also while it runs."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from results.files import write_atomically
from results.final_evaluation import Role, Tested, compare_delivered, read_tested
from results.finals import standings
from results.log.event_log import is_being_written
from results.log.history import read_history
from results.log.state import RunState
from results.report.content import provenance
from results.report.html_finals import add_finals
from results.report.html_search import add_search, resolved_study
from results.report.importance import read_importance
from results.report.markdown import headline, trial_counts
from results.report.markup import Page, bullets, paragraph, table, text, to_json
from results.tables.leaderboard import rank_trials

HTML_REPORT = "report.html"
Card = tuple[str, str, str]  # what, its number, what belongs to it
# Nine public copies of the course's network, a VGG16 and an EfficientNet; on its 800 validation images.
PUBLISHED_LOW, PUBLISHED_HIGH = 0.74, 0.77
# Plotly writes styles into its elements; nothing may be fetched or sent.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
_PLACE = re.compile(r"\{\{(\w+)\}\}")


def write_html_report(run: Path, out: Path | None = None) -> Path:
    """Write the report of a run folder to `out`, by default its `report.html`; return the path.

    Raises:
        RecordError: No run folder, a damaged log, damaged predictions, or `out` cannot be written.
    """
    history = read_history(run)
    state = history.state
    tested = read_tested(run, state)
    page = Page()
    page.section("result", "Result", *_result(run, state, tested))
    add_search(page, history, read_importance(run))
    add_finals(page, run, state, tested)
    page.section("provenance", "Provenance", *_provenance(state))
    path = run / HTML_REPORT if out is None else out
    study: Any = state.study
    write_atomically(path, _document(page, f"Study {study['study']['name']}", is_running=_is_running(run, state)))
    return path


def _document(page: Page, title: str, *, is_running: bool) -> str:
    from plotly.offline import get_plotlyjs

    folder = files("results.report") / "templates"
    script, library = (folder / "report.js").read_text("utf-8"), str(get_plotlyjs())
    now = f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} UTC"
    parts = {
        "title": text(title),
        "policy": f"{_POLICY}; script-src {_hashes(script, library)}",
        "style": (folder / "report.css").read_text("utf-8"),
        "made": text(
            f"Made on {now}{' while the study was running; make it again to see more' if is_running else ''}."
        ),
        "links": "".join(f'<li><a href="#{name}">{text(heading)}</a></li>' for name, heading in page.sections),
        "sections": "\n".join(page.html),
        "figures": to_json(page.figures),
        "library": library,
        "script": script,
    }
    return _PLACE.sub(lambda place: parts[place[1]], (folder / "report.html").read_text("utf-8"))


def _hashes(*scripts: str) -> str:
    """Name the only scripts that a browser may run in the page."""
    digests = [base64.b64encode(hashlib.sha256(script.encode("utf-8")).digest()).decode() for script in scripts]
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _result(run: Path, state: RunState, tested: Sequence[Tested]) -> list[str]:
    cards = [*_winner_card(state), *(_test_cards(tested) if tested else _search_cards(state))]
    if _is_course_recipe(state):
        band = f"{PUBLISHED_LOW:.2f} to {PUBLISHED_HIGH:.2f}"
        cards.append(
            ("Published", band, "networks on the course's 800 validation images; comparable on that data only")
        )
    found = "".join(
        f'<div class="card"><dt>{text(name)}</dt><dd><b>{text(value)}</b> {text(more)}</dd></div>'
        for name, value, more in cards
    )
    if state.ended is not None:
        how = f"The study {'is finished' if state.ended.finished else 'was interrupted'}: {state.ended.reason}."
    else:
        how = "The study is running." if _is_running(run, state) else "The study was interrupted without a word."
    words = [paragraph(f"{how} {trial_counts(state)}"), bullets(headline(state, tested))]
    return [f"<dl>{found}</dl>" if found else "", *words]


def _is_running(run: Path, state: RunState) -> bool:
    """Return whether a driver is at work; one that has said why it leaves is not, though it may hold the log."""
    return state.ended is None and is_being_written(run)


def _is_course_recipe(state: RunState) -> bool:
    """Return whether the images were simulated as the course's were; nothing proves it of images from elsewhere."""
    data: Any = state.study.get("data", {})
    return bool(data.get("simulate") == "course")


def _winner_card(state: RunState) -> list[Card]:
    if not state.decisions:
        return []
    decision = state.decisions[-1]
    winner = standings(state, [decision.winner], decision.seeds)[0]
    words = f"{'the baseline, ' if winner.is_baseline else ''}{winner.mean:.4f} on validation, retrained"
    return [("Winner", f"trial {winner.trial}", words)]


def _test_cards(tested: Sequence[Tested]) -> list[Card]:
    cards = []
    for one in tested:
        m = one.metrics
        name = "Test accuracy" if one.role == Role.WINNER else "Baseline on the same images"
        cards.append((name, f"{m.accuracy:.4f}", f"95 % {m.accuracy_low:.3f}..{m.accuracy_high:.3f}, {m.n} images"))
    if (d := compare_delivered(tested)) is not None:
        cards.append(("Difference", f"{d.difference:+.4f}", f"95 % {d.low:+.3f}..{d.high:+.3f}, p = {d.p_value:.3g}"))
    return cards


def _search_cards(state: RunState) -> list[Card]:
    ranked, _ = rank_trials(state)
    baseline = [t for t in ranked if t.started.is_baseline]
    chosen = [("Best of the search", ranked[:1]), ("Baseline", baseline)]
    return [
        (name, f"{t.best.validation_accuracy:.4f}", f"trial {t.started.trial}, validation accuracy")
        for name, trials in chosen
        for t in trials
        if t.best is not None
    ]


def _provenance(state: RunState) -> list[str]:
    return [
        table("Where the run comes from", ["what", "value"], provenance(state), kind="facts"),
        resolved_study(state),
    ]
