"""One given configuration as a run of its own: interrupted, prolonged, corrected; the trainable takes milliseconds."""

import dataclasses
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from bench import quick
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.log.reading import read_events
from results.log.recorder import Recorder
from results.log.records import Epoch
from results.log.state import RunState, load_run
from tune.errors import StudyError
from tune.loop.next_work import Terms
from tune.single import Single, recorded_single, run_single

EPOCHS = 9


def single(*, epochs: int = EPOCHS, **options: Any) -> Single:
    return Single(
        name="one",
        terms=Terms(configuration={"x": 0.4} | options, max_epochs=epochs, checkpoint_epochs=(epochs,)),
        seed=5,
        trainable="quick_trainable:train",
        folder=Path(quick.__file__).parent,
    )


def train(run: Path, wanted: Single, *, interrupt_after: int | None = None) -> RunState:
    left = interrupt_after

    def on_epoch(epoch: Epoch) -> None:
        nonlocal left
        if left is not None:
            left -= 1
            if left < 0:
                raise KeyboardInterrupt

    with Recorder(run) as recorder:
        run_single(wanted, recorder, None, on_epoch=on_epoch)
    return load_run(run)


def outcome(state: RunState) -> Any:
    trial = state.trials[0, None]
    epochs = {n: (e.validation_accuracy, e.weights_digest) for n, e in sorted(trial.epochs.items())}
    return trial.status, epochs, trial.ended and (trial.ended.objective, trial.ended.best_epoch)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(interrupts=st.lists(st.integers(0, EPOCHS - 1), max_size=4))
def test_a_run_interrupted_anywhere_ends_like_the_uninterrupted_one(
    tmp_path_factory: pytest.TempPathFactory, interrupts: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("single")
    for after in interrupts:
        if not (folder / "run").exists() or load_run(folder / "run").trials[0, None].ended is None:
            try:
                train(folder / "run", single(), interrupt_after=after)
            except KeyboardInterrupt:
                state = load_run(folder / "run")
                assert state.ended is not None
                assert state.ended.reason == "interrupted by SIGINT"
                assert state.trials[0, None].ended is None
    assert outcome(train(folder / "run", single())) == outcome(train(folder / "straight", single()))
    recorded = [event.epoch for event in read_events(folder / "run") if isinstance(event, Epoch)]
    assert len(recorded) <= EPOCHS + len(interrupts), "more than the epoch without a checkpoint was done again"


def test_ctrl_c_that_a_library_turned_into_another_error_is_still_ctrl_c(tmp_path: Path) -> None:
    def on_epoch(epoch: Epoch) -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(9)
        except KeyboardInterrupt:  # as TensorFlow does while it converts an array
            raise TypeError("Expected uint8 but got [[170]]") from None

    before = signal.getsignal(signal.SIGINT)
    with Recorder(tmp_path / "run") as recorder, pytest.raises(KeyboardInterrupt, match=r"^$"):
        run_single(single(), recorder, None, on_epoch=on_epoch)
    assert signal.getsignal(signal.SIGINT) is before
    state = load_run(tmp_path / "run")
    assert state.trials[0, None].ended is None
    assert outcome(train(tmp_path / "run", single())) == outcome(train(tmp_path / "straight", single()))


def test_a_completed_run_is_prolonged_from_its_last_checkpoint(tmp_path: Path) -> None:
    train(tmp_path / "run", single(epochs=4))
    state = train(tmp_path / "run", single())
    assert outcome(state) == outcome(train(tmp_path / "straight", single()))
    assert [event.epoch for event in read_events(tmp_path / "run") if isinstance(event, Epoch)] == [*range(1, 10)]
    assert [path.name for path in (tmp_path / "run" / "checkpoints" / "0000").iterdir()] == ["1"]


def test_a_completed_run_that_is_asked_for_no_more_epochs_stays_as_it_is(tmp_path: Path) -> None:
    before = outcome(train(tmp_path / "run", single()))
    state = train(tmp_path / "run", single())
    assert outcome(state) == before
    assert list(state.trials[0, None].attempts) == [0]


def test_what_the_trainable_raises_is_recorded_and_raised_and_a_corrected_one_goes_on(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"cannot train x = 0\.400"):
        train(tmp_path / "run", single(raises_above=0.3))
    state = load_run(tmp_path / "run")
    assert state.trials[0, None].status == "failed"
    assert state.ended is not None
    assert "cannot train x = 0.400" in state.ended.reason
    assert outcome(train(tmp_path / "run", single())) == outcome(train(tmp_path / "straight", single()))


def test_a_diverged_run_is_an_outcome_and_no_error(tmp_path: Path) -> None:
    state = train(tmp_path / "run", single(diverges_above=0.3))
    assert state.trials[0, None].status == "diverged"
    assert state.ended is not None
    assert (state.ended.finished, state.ended.reason) == (False, "loss is nan in epoch 1")


def test_its_record_holds_no_search(tmp_path: Path) -> None:
    state = train(tmp_path / "run", single(epochs=2))
    assert not state.is_search
    assert recorded_single(tmp_path / "run") is not None
    [trial] = state.search_trials()
    assert (trial.started.is_baseline, trial.rungs, state.final_trials()) == (False, {}, [])


def test_a_trainable_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"'quick_trainable:nothing': AttributeError: .* correct it, put the module"):
        train(tmp_path / "run", dataclasses.replace(single(), trainable="quick_trainable:nothing"))
