"""What a run found: every number that a report, a page or the terminal needs, computed once and shared by them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from results.audit import Audit, audit
from results.best import Best, read_best
from results.difference import Contrast, contrasts
from results.files import read_moderate, write_atomically
from results.finals import (
    DetectionRow,
    Role,
    Standing,
    Tested,
    baseline_of,
    configurations_difference,
    detections,
    is_delivered,
    models_difference,
    read_tested,
    recall_against_physics,
    standings,
)
from results.log.history import History, read_history
from results.log.recorder import is_being_written
from results.log.records import FinalsDecided, ImagesRecord, Status
from results.log.state import RunState, TrialState
from results.run_folder import IMPORTANCE
from results.schema import SchemaError, read_json, to_json
from results.stats.bootstrap import PairedEstimates, paired_estimates
from results.stats.detection import RecallCurve
from results.stats.intervals import Estimate, PairedDifference
from results.tables.leaderboard import leaderboard_table, rank_trials
from results.tables.table import Table

MIN_COMPLETED = 20  # the method compares the best, at least five, with all


@dataclass(frozen=True)
class Importance:
    """Shares of the parameters, which add up to one, with the completed trials and the space they hold for."""

    method: str
    completed: int
    space_fingerprint: str
    shares: Mapping[str, float]  # by parameter, the largest first


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

    @property
    def title(self) -> str:
        """Of its reports."""
        return f"Study {self.name}"

    @property
    def images(self) -> ImagesRecord:
        """What its images are of; in a log of before, radio spectrograms."""
        started = self.state.started
        return (started and started.images) or ImagesRecord()

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
    def contrasts(self) -> tuple[Contrast, ...]:
        """The best trial with and the best without each choice of preparation and family."""
        return contrasts(self.state)

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
        """Objective of the delivered model minus that of the baseline's on the same images; None without both."""
        return None if self._pair is None else models_difference(*self._pair)

    @cached_property
    def models_differ_by_bootstrap(self) -> PairedEstimates | None:
        """Accuracy and macro F1 of these models by bootstrap."""
        if self._pair is None:
            return None
        winner, baseline = (one.of_delivered for one in self._pair)
        return paired_estimates(winner.y_true, winner.y_prob, baseline.y_prob)

    @cached_property
    def configurations_differ(self) -> Estimate | None:
        """Objective of the winner minus that of the baseline over retrainings; None where either has none."""
        if self._pair is None or any(one.over_retrainings is None for one in self._pair):
            return None
        return configurations_difference(*self._pair)

    @cached_property
    def detections(self) -> list[DetectionRow]:
        """What the delivered model finds at fixed false-alarm rates."""
        return detections(self.run, self.tested[0].of_delivered) if self.tested and self.is_delivered else []

    @cached_property
    def recall(self) -> dict[str, tuple[RecallCurve, ...]]:
        """What the delivered model finds, against each quantity that is known of the images."""
        return recall_against_physics(self.tested[0].of_delivered) if self.tested else {}

    @cached_property
    def best(self) -> Best | None:
        """What the best trial said of the validation images, where no finals have decided and it was kept."""
        return None if self.decision is not None else read_best(self.run, self.ranked)

    @property
    def _pair(self) -> tuple[Tested, Tested] | None:
        return (self.tested[0], self.tested[1]) if [one.role for one in self.tested] == list(Role) else None


def completed_trials(state: RunState) -> int:
    """Count the completed trials of the search."""
    return sum(t.status == Status.COMPLETED and t.best is not None for t in state.search_trials())


def write_importance(run: Path, importance: Importance) -> None:
    """Write `importance.json` into the run folder.

    Raises:
        RecordError: It cannot be written.
    """
    write_atomically(run / IMPORTANCE, to_json(importance) + "\n")


def read_importance(run: Path) -> Importance | None:
    """Return what was stored; None where there is nothing that could be read, as it can be computed again."""
    try:
        return read_json(read_moderate(run / IMPORTANCE), Importance)
    except (OSError, SchemaError):
        return None


def is_current(importance: Importance | None, state: RunState) -> bool:
    """Return whether a stored importance is that of the run as it is now."""
    return importance is not None and (importance.completed, importance.space_fingerprint) == (
        completed_trials(state),
        state.space_fingerprint,
    )


def needs_importance(run: Path, state: RunState) -> bool:
    """Return whether enough trials are completed and what is stored is not of them."""
    return completed_trials(state) >= MIN_COMPLETED and not is_current(read_importance(run), state)
