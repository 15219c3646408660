"""What is a machine's own fault: it counts against no configuration, and a node that goes on so gets no trials."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench

from results.log.records import Cause, NodeChecked, RungDecision
from results.log.state import load_run
from results.tables.status import run_status, status_text
from seti_model.errors import ProcessError
from tune.loop.coordinator import MAX_DEATHS, HopelessStudyError
from tune.loop.faults import BENCH_AFTER
from tune.study import Study, load_study
from tune.trainable import Entered, EpochReport, Left, MachineFault, Task, run_attempt

NODES = ("aa", "bb")


@pytest.fixture
def study(quick_study: Callable[..., Path]) -> Study:
    return load_study(quick_study(trials=15))


@pytest.fixture
def bench(study: Study, tmp_path: Path) -> Bench:
    """A coordinator of two nodes with room for eight trials."""
    bench = Bench(study, tmp_path / "run", workers=8)
    for node in NODES:
        bench.recorder.write(NodeChecked(node=f"host-{node}", node_id=node, admitted=True))
    bench.coordinator.nodes = NODES
    return bench


def begin(bench: Bench, node: str) -> Task:
    """Hand out the next attempt; a worker of the node enters it."""
    task = bench.coordinator.next_task()
    assert task is not None
    assert task.nodes is not None
    assert node in task.nodes
    assert not bench.coordinator.receive(task, Entered(node=f"host-{node}", pid=1, node_id=node))
    return task


def fail(bench: Bench, node: str, outcome: str = "node") -> Task:
    task = begin(bench, node)
    assert bench.coordinator.receive(task, Left(outcome, "OSError: stale file handle"))
    return task


@pytest.mark.parametrize("outcome", ["node", "no space"])
def test_a_fault_of_a_node_counts_against_no_trial_which_goes_elsewhere(bench: Bench, outcome: str) -> None:
    task = fail(bench, "aa", outcome)
    trial = bench.state.trials[task.trial, None]
    assert trial.ended is None
    assert trial.attempts_ended[0].cause == Cause.NODE
    assert not trial.attempts_ended[0].counts
    assert trial.attempts_ended[0].why == "host-aa: OSError: stale file handle"
    again = bench.coordinator.next_task()
    assert again is not None
    assert (again.trial, again.attempt, again.nodes) == (task.trial, 1, ("bb",))


def test_a_trial_that_failed_on_every_node_may_go_to_any(bench: Bench) -> None:
    fail(bench, "aa")
    fail(bench, "bb")
    again = bench.coordinator.next_task()
    assert again is not None
    assert again.nodes == NODES


def test_three_trials_in_a_row_bench_a_node_and_it_is_named(bench: Bench) -> None:
    failed = [begin(bench, "aa") for _ in range(BENCH_AFTER)]
    for task in failed:
        assert bench.state.nodes["aa"].admitted
        bench.coordinator.receive(task, Left("node", "ModuleNotFoundError: No module named 'mine'"))
    reason = "3 different trials in a row failed there, the last one: ModuleNotFoundError: No module named 'mine'"
    assert not bench.state.nodes["aa"].admitted
    assert bench.state.nodes["aa"].reason == reason
    assert bench.coordinator.nodes == ("bb",)
    task = bench.coordinator.next_task()
    assert task is not None
    assert task.nodes == ("bb",)
    assert f"no trials on   host-aa: {reason}" in status_text(run_status(bench.recorder.run))


def test_a_store_that_fails_benches_no_node(bench: Bench) -> None:
    for task in [begin(bench, "aa") for _ in range(BENCH_AFTER + 1)]:
        bench.coordinator.receive(task, Left("storage", "s3://bucket/run: no answer to 8 tries"))
        assert bench.state.trials[task.trial, None].attempts_ended[0].cause == Cause.NODE
    assert bench.state.nodes["aa"].admitted


def test_one_trial_alone_benches_no_node(bench: Bench) -> None:
    bench.coordinator.max_concurrent = 1
    for number in range(BENCH_AFTER + 1):
        assert fail(bench, NODES[number % 2]).trial == 0
    assert all(node.admitted for node in bench.state.nodes.values())


def test_an_epoch_on_a_node_shows_that_it_works(bench: Bench) -> None:
    tasks = [begin(bench, "aa") for _ in range(BENCH_AFTER + 1)]
    for task in tasks[: BENCH_AFTER - 1]:
        bench.coordinator.receive(task, Left("node", "Input/output error"))
    bench.coordinator.receive(tasks[-1], EpochReport(epoch=1, validation_accuracy=0.5))
    bench.coordinator.receive(tasks[-2], Left("node", "Input/output error"))
    assert bench.state.nodes["aa"].admitted


def test_the_last_node_is_not_benched_the_study_ends_instead(bench: Bench) -> None:
    bench.coordinator.nodes = ("bb",)
    tasks = [begin(bench, "bb") for _ in range(BENCH_AFTER)]
    for task in tasks[:-1]:
        bench.coordinator.receive(task, Left("node", "CUDA error"))
    expected = (
        r"no node has trials but host-bb, and 3 different trials in a row failed there, the last one: CUDA error; "
        "correct the cause and continue with `seti-tune resume"
    )
    with pytest.raises(HopelessStudyError, match=expected):
        bench.coordinator.receive(tasks[-1], Left("node", "CUDA error"))
    assert bench.state.nodes["bb"].admitted
    assert all(trial.ended is None for trial in bench.state.trials.values())


def test_a_trial_that_meets_nothing_but_faults_ends(bench: Bench) -> None:
    bench.coordinator.max_concurrent = 1
    for number in range(MAX_DEATHS):
        task = fail(bench, NODES[number % 2])
    ended = bench.state.trials[task.trial, None].ended
    assert ended is not None
    assert ended.reason == (
        "10 attempts met a fault of their machine or died in a row, the last one on host-bb: OSError: stale file handle"
    )


def test_a_checkpoint_that_the_driver_does_not_see_is_not_recorded(bench: Bench) -> None:
    task = begin(bench, "aa")
    unseen = task.checkpoint_folder / "0001"
    report = EpochReport(epoch=1, validation_accuracy=0.5, checkpoint=unseen)
    assert bench.coordinator.receive(task, report)
    trial = bench.state.trials[task.trial, None]
    assert not trial.epochs
    assert not trial.checkpoints
    assert trial.attempts_ended[0].cause == Cause.NODE
    assert trial.attempts_ended[0].why == f"host-aa: the driver does not see the checkpoint {unseen} that it wrote"
    unseen.mkdir(parents=True)
    again = begin(bench, "bb")
    assert again.resume_from is None, "what was not recorded does not exist"
    seen = again.checkpoint_folder / "0001"
    seen.mkdir(parents=True)
    bench.coordinator.receive(again, EpochReport(epoch=1, validation_accuracy=0.5, checkpoint=seen))
    assert trial.checkpoints[0].epoch == 1


def test_on_one_machine_such_a_fault_counts(study: Study, tmp_path: Path) -> None:
    bench = Bench(study, tmp_path / "run")
    task = bench.coordinator.next_task()
    assert task is not None
    bench.coordinator.receive(task, Left("node", "ModuleNotFoundError: No module named 'mine'"))
    assert bench.state.trials[0, None].attempts_ended[0].counts


def test_a_study_with_a_node_that_always_fails_ends_as_without_it(study: Study, tmp_path: Path) -> None:
    alone = Bench(study, tmp_path / "alone", workers=1)
    alone.run()
    both = Bench(study, tmp_path / "both", workers=1)
    for node in NODES:
        both.recorder.write(NodeChecked(node=f"host-{node}", node_id=node, admitted=True))
    both.coordinator.nodes = NODES
    benched_after = []
    receive = both.coordinator.receive

    def broken(task: Task, message: object) -> bool:
        """Take each first attempt to the node that fails, as long as it has trials."""
        if isinstance(message, EpochReport) and "aa" in (task.nodes or ()):
            receive(task, Entered(node="host-aa", pid=1, node_id="aa"))
            benched_after.append(task.trial)
            return receive(task, Left("node", "Input/output error"))
        return receive(task, message)  # type: ignore[arg-type]

    both.coordinator.receive = broken  # type: ignore[method-assign,assignment]
    both.run()
    assert benched_after == [0, 1, 2]
    runs = [load_run(tmp_path / name) for name in ("alone", "both")]
    ends = [
        [(t.status, t.best and t.best.validation_accuracy, len(t.epochs)) for t in run.search_trials()] for run in runs
    ]
    assert ends[0] == ends[1]
    assert any(r.decision == RungDecision.STOP for t in runs[1].search_trials() for r in t.rungs.values())


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (OSError(errno.ESTALE, "Stale file handle"), "node"),
        (OSError(errno.EIO, "Input/output error"), "node"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space"),
        (ModuleNotFoundError("No module named 'mine'"), "node"),
        (MachineFault("cannot be imported"), "node"),
        (type("InternalError", (Exception,), {})("cuDNN launch failure"), "node"),
        (type("InternalError", (Exception,), {})("shapes do not agree"), "failed"),
        (FileNotFoundError(errno.ENOENT, "No such file"), "failed"),
        (ValueError("x is too large"), "failed"),
        (MemoryError("no memory"), "memory"),
        (ProcessError("a GPU was asked for and TensorFlow sees none"), "node"),
    ],
)
def test_what_a_training_raises_tells_a_fault_of_the_machine(error: Exception, outcome: str, tmp_path: Path) -> None:
    messages: list[object] = []

    def trainable(*_: object) -> None:
        raise error

    def tell(message: object) -> bool:
        messages.append(message)
        return False

    task = Task(
        trial=0, repeat=None, attempt=0, configuration={}, seed=1, max_epochs=1, checkpoint_folder=tmp_path / "none"
    )
    run_attempt(task, None, trainable, tell)
    assert isinstance(messages[-1], Left)
    assert messages[-1].outcome == outcome
