"""What becomes of one attempt of a trainable of one's own, run in this process: its reports, and what it raises."""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench

from results.log.records import Epoch
from results.log.state import load_run
from results.study import NETWORK
from tune.study import load_study
from tune.trainable import TRACEBACK_LETTERS, Entered, EpochReport, Left, Task, load_trainable, run_attempt

HELPER = """import json
import numpy as np

def read(text):
    return json.loads(text)

def stack(arrays):
    return np.concatenate(arrays)
"""


@pytest.fixture
def attempt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[Entered | EpochReport | Left]]:
    """Run an attempt of a module with this text, beside it one whose functions call into libraries."""

    def run(text: str) -> list[Entered | EpochReport | Left]:
        (tmp_path / "my_module.py").write_text(text)
        (tmp_path / "my_helper.py").write_text(HELPER)
        said: list[Entered | EpochReport | Left] = []

        def tell(message: Entered | EpochReport | Left) -> bool:
            said.append(message)
            return False

        task = Task(0, None, 0, {}, seed=1, max_epochs=2, checkpoint_folder=tmp_path / "checkpoints")
        run_attempt(task, None, load_trainable("my_module:train", tmp_path), tell)
        return said

    monkeypatch.setattr(sys, "path", [*sys.path])
    yield run
    for name in ("my_module", "my_helper"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        ("my_helper.read('{')", "JSONDecodeError: Expecting property name .* \\(my_helper.py:5\\)"),
        ("my_helper.stack([])", "ValueError: need at least one array to concatenate \\(my_helper.py:8\\)"),
        ("my_helper.json.loads('{')", "JSONDecodeError: .* \\(my_module.py:3\\)"),
        ("on_epoch(1)", "AttributeError: 'int' object has no attribute 'seconds' \\(my_module.py:3\\)"),
    ],
)
def test_the_reason_names_the_line_of_ones_own_that_called_the_library(
    attempt: Callable[[str], list[Entered | EpochReport | Left]], call: str, reason: str
) -> None:
    left = attempt(f"import my_helper\ndef train(task, data, on_epoch):\n    {call}\n")[-1]
    assert isinstance(left, Left)
    with pytest.raises(ValueError, match=reason):
        raise ValueError(left.reason)
    assert left.traceback.startswith("Traceback (most recent call last):")
    assert 'my_module.py", line 3, in train' in left.traceback
    assert left.reason.partition(":")[0] in left.traceback.splitlines()[-1]


def test_a_long_traceback_is_kept_from_its_end(attempt: Callable[[str], list[Entered | EpochReport | Left]]) -> None:
    left = attempt("def train(task, data, on_epoch):\n    raise ValueError('x' * 9000 + ' the end')\n")[-1]
    assert isinstance(left, Left)
    assert len(left.traceback) == TRACEBACK_LETTERS == 4000
    assert left.traceback.endswith("xxx the end\n")


def test_seconds_are_measured_where_the_trainable_reports_none(
    attempt: Callable[[str], list[Entered | EpochReport | Left]],
) -> None:
    start = time.perf_counter()
    said = attempt("""import time
from tune.trainable import EpochReport
def train(task, data, on_epoch):
    time.sleep(0.2)
    on_epoch(EpochReport(epoch=1, validation_accuracy=0.5))
    time.sleep(0.1)
    on_epoch(EpochReport(epoch=2, validation_accuracy=0.5))
    on_epoch(EpochReport(epoch=3, validation_accuracy=0.5, seconds=7.0))
""")
    whole = time.perf_counter() - start
    first, second, third = (report.seconds for report in said if isinstance(report, EpochReport))
    assert first is not None
    assert second is not None
    assert first >= 0.2
    assert second >= 0.1
    assert first + second <= whole
    assert third == 7.0


def test_the_log_keeps_the_traceback_of_an_attempt(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    bench = Bench(load_study(quick_study(trials=1)), tmp_path / "run")
    task = bench.coordinator.next_task()
    assert task is not None
    bench.coordinator.receive(task, Left("failed", "ValueError: no (mine.py:3)", traceback="Traceback ...\n"))
    bench.recorder.close()
    assert load_run(tmp_path / "run").trials[0, None].attempts_ended[0].traceback == "Traceback ...\n"


def test_the_course_network_keeps_the_name_that_logs_have_for_it() -> None:
    assert NETWORK == "tune.trial:train_network"
    assert load_trainable(NETWORK).__name__ == "train_network"


def test_a_misspelt_number_of_an_epoch_is_refused() -> None:
    values = {"epoch": 1, "validation_accuracy": 0.5}
    with pytest.raises(TypeError, match="unexpected keyword argument 'validation_los'"):
        EpochReport(**values, validation_los=0.1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'validation_los'"):
        Epoch(**values, trial=0, attempt=0, validation_los=0.1)
    report = EpochReport(**values, validation_loss=0.1)
    assert Epoch(**report.measured(), trial=0, attempt=0).validation_loss == 0.1
