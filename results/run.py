"""A run for a notebook: frozen records of its trials and finals, its tables as frames, receipts and predictions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from results.commands import command
from results.errors import RecordError
from results.files import inside
from results.finals import Standing, is_delivered, standings
from results.log.records import Epoch, FinalEvaluated, FinalsDecided, Rung, Status, trial_name
from results.log.state import RunState, TrialState, load_run
from results.predictions import read_predictions
from results.receipt import Receipt, receipt_of
from results.run_folder import TEST_PREDICTIONS, VALIDATION_PREDICTIONS
from results.schema import Value
from results.study import StudyRecord
from results.tables.leaderboard import epochs_frame, leaderboard_frame

if TYPE_CHECKING:
    import pandas as pd

    from results.predictions import Predictions

SPLITS = ("test", "validation")


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One trial of the search, or one retraining of the finals; `reason` says why it ended.

    `objective` is that of `best_epoch`, whose weights are kept; both are None before any epoch.
    `parameters` is the point of the space, `configuration` everything the training function was given.
    """

    number: int
    repeat: int | None  # None in the search
    is_baseline: bool
    status: Status
    reason: str
    parameters: Mapping[str, Value]
    configuration: Mapping[str, Value]
    seed: int
    objective: float | None
    best_epoch: int | None
    epochs: tuple[Epoch, ...]  # those that count, in order
    rungs: tuple[Rung, ...]

    @classmethod
    def of(cls, trial: TrialState) -> Trial:
        """Freeze what is known of a trial."""
        started, best = trial.started, trial.best
        return cls(
            number=started.trial,
            repeat=started.repeat,
            is_baseline=started.is_baseline,
            status=trial.status,
            reason=trial.ended.reason if trial.ended else "",
            parameters=dict(trial.parameters),
            configuration=dict(started.configuration),
            seed=started.seed,
            objective=best.value if best else None,
            best_epoch=best.epoch if best else None,
            epochs=tuple(trial.epochs[n] for n in sorted(trial.epochs)),
            rungs=tuple(trial.rungs[n] for n in sorted(trial.rungs)),
        )


@dataclass(frozen=True)
class Finals:
    """The latest finals: what was decided, how the finalists stood, best first, and who predicted the test split."""

    decision: FinalsDecided
    standings: tuple[Standing, ...]
    evaluated: tuple[FinalEvaluated, ...]


@dataclass(frozen=True, eq=False, repr=False)
class Run:
    """One run as its log was when it was read. Each access to a frame gives one of its own."""

    folder: Path
    name: str
    study: StudyRecord  # the resolved study file
    trials: tuple[Trial, ...]  # of the search, in the order of their numbers
    retrainings: tuple[Trial, ...]  # of the finals
    finals: Finals | None
    _state: RunState

    def __repr__(self) -> str:
        """Return one line: the records themselves fill pages."""
        finals = f", {len(self.retrainings)} retrainings" if self.retrainings else ""
        return f"<Run {self.name} in {self.folder}: {len(self.trials)} trials{finals}>"

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Read a run folder.

        Raises:
            RecordError: No run folder, or a damaged log.
        """
        state = load_run(folder)
        return cls(
            folder=folder,
            name=state.study.study.name,
            study=state.study,
            trials=tuple(map(Trial.of, state.search_trials())),
            retrainings=tuple(map(Trial.of, state.final_trials())),
            finals=_finals(state),
            _state=state,
        )

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The leaderboard, the columns of `leaderboard.csv`."""
        return leaderboard_frame(self._state)

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch that counts, the columns of `epochs.csv`."""
        return epochs_frame(self._state)

    def trial(self, number: int, repeat: int | None = None) -> Trial:
        """Return one trial, or one retraining of it.

        Raises:
            RecordError: There is none.
        """
        for trial in self.trials if repeat is None else self.retrainings:
            if (trial.number, trial.repeat) == (number, repeat):
                return trial
        raise RecordError(
            f"{self.folder}: {trial_name(number, repeat)} is not in the log; see `leaderboard` or `retrainings`"
        )

    def receipt(self, number: int, repeat: int | None = None) -> Receipt:
        """Return everything needed to repeat a trial that has ended.

        Raises:
            RecordError: There is no such trial, or it has not ended.
        """
        return receipt_of(self._state, (number, repeat))

    def predictions(self, split: str = "test", *, key: tuple[int, int] | None = None) -> Predictions:
        """Return what the delivered model said of the images of a split.

        Args:
            split: "test" or "validation".
            key: Trial and repeat of another retraining that predicted the test split, see `finals.evaluated`.

        Raises:
            RecordError: There were no finals, it did not predict that split, or its file is missing or damaged.
        """
        if split not in SPLITS or (key is not None and split != "test"):
            raise RecordError(f"split={split!r}: {' or '.join(SPLITS)} is expected, and with a key only test")
        if key is None:
            decision = self._state.decisions[-1] if self._state.decisions else None
            if decision is None or not is_delivered(self.folder, self._state, decision):
                raise RecordError(
                    f"{self.folder}: no model was handed on yet; let the finals end with "
                    f"`{command('resume', self.folder)}`"
                )
            return read_predictions(self.folder / (TEST_PREDICTIONS if split == "test" else VALIDATION_PREDICTIONS))
        if key not in self._state.finals:
            known = ", ".join(map(str, sorted(self._state.finals))) or "none"
            raise RecordError(f"{self.folder}: key={key} did not predict the test split; those that did: {known}")
        return read_predictions(inside(self.folder, self._state.finals[key].predictions))


def _finals(state: RunState) -> Finals | None:
    if not state.decisions:
        return None
    decision = state.decisions[-1]
    return Finals(
        decision=decision,
        standings=tuple(standings(state, decision.finalists, decision.seeds)),
        evaluated=tuple(state.finals[key] for key in sorted(state.finals)),
    )
