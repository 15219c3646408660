"""What a run found: every number that a report, a page or the terminal needs, computed once and shared by them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from results.audit import Audit, audit
from results.finals import (
    DetectionRow,
    Role,
    Standing,
    Tested,
    baseline_of,
    detections,
    is_delivered,
    read_tested,
    recall_against_physics,
    standings,
)
from results.log.event_log import is_being_written
from results.log.history import History, read_history
from results.log.records import FinalsDecided
from results.log.state import RunState, TrialState
from results.report.importance import Importance, read_importance
from results.stats.bootstrap import PairedEstimates, paired_estimates
from results.stats.detection import RecallCurve
from results.stats.intervals import Estimate, PairedDifference, paired_difference_interval
from results.stats.seeds import difference_over_retrainings
from results.tables.leaderboard import leaderboard_table, rank_trials
from results.tables.table import Table


@dataclass(frozen=True, eq=False)
class Findings:
    """A run as its log was when it was read. Each part is computed when it is first asked for, and then kept.

    Where predictions or flags of right images are damaged or missing, what needs them raises a RecordError.
    """

    run: Path
    history: History

    @classmethod
    def read(cls, run: Path) -> Findings:
        """Read a run folder.

        Raises:
            RecordError: No run folder, a damaged log, or nothing in it yet.
        """
        return cls(run, read_history(run))

    @property
    def state(self) -> RunState:
        """What the log says."""
        return self.history.state

    @property
    def name(self) -> str:
        """Of the study."""
        return self.state.study.study.name

    @cached_property
    def is_running(self) -> bool:
        """Whether a driver is at work; one that has said why it leaves is not, though it may hold the log."""
        return self.state.ended is None and is_being_written(self.run)

    @cached_property
    def ranked(self) -> list[TrialState]:
        """The completed trials of the search, the best first."""
        return rank_trials(self.state)[0]

    @cached_property
    def leaderboard(self) -> Table:
        """All trials of the search."""
        return leaderboard_table(self.state)

    @cached_property
    def audit(self) -> Audit:
        """What the rungs say about stopping early."""
        return audit(self.state)

    @cached_property
    def importance(self) -> Importance | None:
        """How much each parameter mattered, where that is stored."""
        return read_importance(self.run)

    @property
    def decision(self) -> FinalsDecided | None:
        """The latest decision of the finals."""
        return self.state.decisions[-1] if self.state.decisions else None

    @cached_property
    def standings(self) -> list[Standing]:
        """The finalists of that decision, the best first."""
        decision = self.decision
        return [] if decision is None else standings(self.state, decision.finalists, decision.seeds)

    @cached_property
    def winner(self) -> Standing | None:
        """Who won; as the decision says, whatever was retrained since."""
        decision = self.decision
        return None if decision is None else next(s for s in self.standings if s.trial == decision.winner)

    @cached_property
    def baseline(self) -> Standing | None:
        """The baseline among the finalists, where it is."""
        decision = self.decision
        number = None if decision is None else baseline_of(self.state, decision)
        return next((s for s in self.standings if s.trial == number), None)

    @cached_property
    def is_delivered(self) -> bool:
        """Whether the model in `final/` is the one that was decided."""
        return self.decision is not None and is_delivered(self.run, self.state, self.decision)

    @cached_property
    def tested(self) -> list[Tested]:
        """Winner and baseline on the test split, the winner first; none without predictions."""
        return read_tested(self.run, self.state, self.standings)

    @cached_property
    def models_differ(self) -> PairedDifference | None:
        """Accuracy of the delivered model minus that of the baseline's on the same images; None without both."""
        if self._pair is None:
            return None
        winner, baseline = self._pair
        return paired_difference_interval(winner.of_delivered.correct, baseline.of_delivered.correct)

    @cached_property
    def models_differ_by_bootstrap(self) -> PairedEstimates | None:
        """The same by bootstrap, with macro F1 beside accuracy."""
        if self._pair is None:
            return None
        winner, baseline = (one.of_delivered for one in self._pair)
        return paired_estimates(winner.y_true, winner.y_prob, baseline.y_prob)

    @cached_property
    def configurations_differ(self) -> Estimate | None:
        """Accuracy of the winner minus that of the baseline over retrainings; None where either has none."""
        if self._pair is None or any(one.over_retrainings is None for one in self._pair):
            return None
        winner, baseline = (np.stack([p.correct for p in one.predictions]) for one in self._pair)
        return difference_over_retrainings(winner, baseline)

    @cached_property
    def detections(self) -> list[DetectionRow]:
        """What the delivered model finds at fixed false-alarm rates."""
        return detections(self.run, self.tested[0].of_delivered) if self.tested and self.is_delivered else []

    @cached_property
    def recall(self) -> dict[str, tuple[RecallCurve, ...]]:
        """What the delivered model finds, against each quantity that is known of the images."""
        return recall_against_physics(self.tested[0].of_delivered) if self.tested else {}

    @property
    def _pair(self) -> tuple[Tested, Tested] | None:
        return (self.tested[0], self.tested[1]) if [one.role for one in self.tested] == list(Role) else None
