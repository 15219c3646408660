"""Which parameter mattered: on objectives made from one of two."""

import json
from pathlib import Path

import numpy as np
import pytest

from results.findings import MIN_COMPLETED, needs_importance, read_importance
from results.log.records import Epoch, Event, Status, StudyStarted, TrialEnded, TrialStarted
from results.log.state import RunState
from results.run_folder import IMPORTANCE
from results.schema import read
from results.study import Provenance, StudyRecord
from search_spaces.parameters import Categorical, Float
from search_spaces.space import Space
from tune.derived import parameter_importance, store_importance

SPACE = Space("two", "Two numbers and a word.", (
    Float("matters", 0.0, 1.0, reason="It decides."),
    Float("idle", 0.0, 1.0, reason="It does nothing."),
    Categorical("word", ("a", "b"), reason="Nor does it."),
))  # fmt: skip


def run_of(completed: int, *, objective: str = "matters", stopped: int = 0, ranked_by: str = "accuracy") -> RunState:
    rng = np.random.default_rng(3)
    events: list[Event] = [
        StudyStarted(
            study=read({"study": {"objective": ranked_by}}, StudyRecord),
            space=SPACE.to_mapping(),
            space_fingerprint=SPACE.fingerprint,
            data_digest=None,
            provenance=Provenance(),
        )
    ]
    for n in range(completed + stopped):
        point = {"matters": float(rng.uniform()), "idle": float(rng.uniform()), "word": str(rng.choice(["a", "b"]))}
        value = float(point[objective]) if objective else 0.5
        status = Status.COMPLETED if n < completed else "stopped"
        events += [
            TrialStarted(trial=n, parameters=point, configuration=point, seed=n, max_epochs=1),
            Epoch(trial=n, attempt=0, epoch=1, validation_accuracy=value, objective=value**2),
            TrialEnded(trial=n, status=status, reason="", epochs=1),
        ]
    return RunState(events)


def test_the_parameter_that_makes_the_objective_has_nearly_all_the_importance() -> None:
    found = parameter_importance(run_of(100, stopped=30))
    assert next(iter(found.shares)) == "matters"
    assert found.shares["matters"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1.0)
    assert found.completed == 100


def test_of_a_loss_the_trials_with_the_lowest_are_the_best() -> None:
    lowest, highest = (parameter_importance(run_of(200, ranked_by=name)).shares for name in ("loss", "auc"))
    assert lowest["matters"] > 0.8
    assert lowest != highest


def test_the_same_trials_give_the_same_importance() -> None:
    assert parameter_importance(run_of(40)) == parameter_importance(run_of(40))


def test_objectives_that_are_all_equal_tell_the_parameters_apart_by_nothing() -> None:
    shares = parameter_importance(run_of(30, objective="")).shares
    assert list(shares.values()) == pytest.approx([1 / 3] * 3)


def test_it_is_stored_with_its_number_of_trials_and_computed_anew_when_there_are_more(tmp_path: Path) -> None:
    state = run_of(MIN_COMPLETED)
    assert needs_importance(tmp_path, state)
    store_importance(tmp_path, state)
    assert read_importance(tmp_path) == parameter_importance(state)
    assert not needs_importance(tmp_path, state)
    assert not needs_importance(tmp_path, run_of(MIN_COMPLETED, stopped=3))
    assert needs_importance(tmp_path, run_of(MIN_COMPLETED + 1))
    assert not needs_importance(tmp_path / "other", run_of(MIN_COMPLETED - 1))


def test_a_damaged_file_counts_as_none(tmp_path: Path) -> None:
    for text in (
        "",
        "[]",
        '{"shares": 1}',
        json.dumps({"method": "", "completed": 1, "space_fingerprint": "", "shares": [1]}),
        json.dumps({"method": "", "completed": 1, "space_fingerprint": "", "shares": {"x": "1"}}),
        json.dumps({"method": "", "completed": 1, "space_fingerprint": "", "shares": {}, "more": 1}),
    ):
        (tmp_path / IMPORTANCE).write_text(text)
        assert read_importance(tmp_path) is None


def test_a_folder_that_cannot_be_written_to_is_a_note(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run").write_text("no folder")
    store_importance(tmp_path / "run", run_of(MIN_COMPLETED))
    assert "the report shows no new importance of the parameters: " in capsys.readouterr().err
