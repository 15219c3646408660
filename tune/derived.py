"""What is derived from a run and lies in its folder: tables, receipts, `report.md`, `report.html`, the model card."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

from results.errors import RecordError
from results.files import refuse_links
from results.findings import Findings, Importance, completed_trials, needs_importance, write_importance
from results.log.state import RunState
from results.receipt import write_receipts
from results.report.html import write_html_report
from results.tables.leaderboard import write_tables
from search_spaces.space import Space

_BEST_SHARE, _BEST = 0.1, 5


def refresh(run: Path) -> Findings:
    """Write everything that is derived from a run again, from its folder alone; return what the run found.

    Raises:
        RecordError: A damaged log, damaged predictions, or a file that cannot be written.
    """
    from results.report.markdown import write_report  # draws with matplotlib, which a page does without

    refuse_links(run)
    found = read_findings(run)
    write_receipts(run, found.state)
    write_tables(run, found.state, found.leaderboard)
    write_report(found)
    write_html_report(found)
    return found


def read_findings(run: Path) -> Findings:
    """Read a run, and bring the importance of its parameters up to date.

    Raises:
        RecordError: No run folder, a damaged log, or nothing in it yet.
    """
    found = Findings.read(run)
    if needs_importance(run, found.state):
        store_importance(run, found.state)
    return found


def store_importance(run: Path, state: RunState) -> None:
    """Compute the importance and keep it; standard error says so where that cannot be, as in a read-only copy."""
    try:
        write_importance(run, parameter_importance(state))
    except RecordError as error:
        print(f"note: the report shows no new importance of the parameters: {error}", file=sys.stderr)


def parameter_importance(state: RunState) -> Importance:
    """Return what part each parameter has in being among the best completed trials: a tenth, or five of fewer.

    A parameter that is active in some trials only is weighted by how often it is.

    Source: S. Watanabe, A. Bansal, F. Hutter (2023), arXiv:2304.10255; as in Optuna, whose manual asks for five.
    """
    import optuna  # which takes its time; most reports are of runs with fewer trials
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    from tune.loop.proposer import direction, frozen_trial

    completed = completed_trials(state)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    space = Space.from_mapping(state.space)
    study = optuna.create_study(direction=direction(state.study.objective))
    study.add_trials([frozen_trial(trial, space) for trial in state.search_trials() if trial.ended is not None])
    with warnings.catch_warnings():
        # Too few trials of one range, or all equally good: it then says of such parameters that they do not matter.
        warnings.simplefilter("ignore", UserWarning)
        best = max(_BEST_SHARE, min(0.5, _BEST / max(completed, 1)))
        shares = get_param_importances(study, evaluator=PedAnovaImportanceEvaluator(target_quantile=best))
    return Importance(
        method=f"PED-ANOVA, Optuna {optuna.__version__}",
        completed=completed,
        space_fingerprint=state.space_fingerprint,
        shares={name: float(share) for name, share in shares.items()},
    )
