"""What each machine did for a run, from logs written by hand."""

import dataclasses
import json
import re
from pathlib import Path
from typing import Any

import pytest
from whole_run import findings

from results.log.recorder import EventLog
from results.log.records import AttemptRunning, AttemptWaiting, Epoch, Event, NodeChecked
from results.log.state import RunState, load_run
from results.report.content import report
from results.report.markdown import to_markdown
from results.tables.json_output import status_json
from results.tables.nodes import node_uses
from results.tables.status import run_status, status_text


def trained(hand: Any, number: int, node: str, speed: float | None, epochs: int = 4) -> list[Event]:
    """A completed trial on a machine, all of whose epochs have one speed."""
    events = hand.trial(number, [0.5] * epochs, max_epochs=epochs)
    events = [dataclasses.replace(e, node=node) if isinstance(e, AttemptRunning) else e for e in events]
    return [dataclasses.replace(e, images_per_s=speed) if isinstance(e, Epoch) else e for e in events]


def cluster(hand: Any, *, slow: float = 100.0, on_slow: int = 3) -> list[Event]:
    """Two machines of equal speed and one of another, with so many trials."""
    events = [hand.study()]
    for node in ("quick-1", "quick-2", "other"):
        events.append(NodeChecked(node=node, node_id=f"id of {node}", admitted=True, cpus=4.0))
    for number in range(6):
        events += trained(hand, number, f"quick-{number % 2 + 1}", 500.0 + number)
    for number in range(6, 6 + on_slow):
        events += trained(hand, number, "other", slow)
    return events


def test_a_slow_machine_is_named_in_status_and_json(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*cluster(hand))
    text = status_text(run_status(tmp_path))
    assert "\nnodes          other: 4 CPUs, 100 images/s, 12 epochs, 3 trials; slow: the others train 502" in text
    assert "\n               quick-1: 4 CPUs, 502 images/s, 12 epochs, 3 trials" in text
    [first, *_] = json.loads(status_json(run_status(tmp_path)))["nodes"]
    assert (first["node"], first["images_per_s"], first["is_slow"], first["epochs"]) == ("other", 100.0, True, 12)


def test_the_report_says_what_each_machine_did(hand: Any, tmp_path: Path) -> None:
    refused = NodeChecked(node="broken", node_id="4", admitted=False, reason="has other libraries; install the same")
    text = to_markdown(report(findings(tmp_path, RunState([*cluster(hand), refused]))))
    for row in (
        r"broken +0 +0 .*no trials: has other libraries; install the same",
        r"other +3 +12 +100 .*slow: the others train 502 images/s",
        r"quick-1 +3 +12 +502 ",
    ):
        assert re.search(rf"^\W*{row}", text.replace("|", " "), re.MULTILINE), text


@pytest.mark.parametrize(("slow", "on_slow"), [(252.0, 3), (100.0, 2)])
def test_what_is_half_as_fast_or_was_hardly_used_is_not_called_slow(hand: Any, slow: float, on_slow: int) -> None:
    uses = node_uses(RunState(cluster(hand, slow=slow, on_slow=on_slow)))
    assert not any(use.is_slow for use in uses)


def test_of_one_machine_and_no_cluster_nothing_is_said(hand: Any) -> None:
    assert node_uses(RunState([hand.study(), *hand.trial(0, [0.5])])) == []


def test_trainings_that_do_not_say_how_fast_they_are_have_no_speed(hand: Any, tmp_path: Path) -> None:
    events = [hand.study(), *trained(hand, 0, "a", None), *trained(hand, 1, "b", None)]
    with EventLog(tmp_path) as log:
        log.append(*events)
    assert "nodes          a: 4 epochs, 1 trials" in status_text(run_status(tmp_path))
    assert [use.images_per_s for use in node_uses(load_run(tmp_path))] == [None, None]


def test_a_trial_that_waits_for_a_worker_says_why(hand: Any, tmp_path: Path) -> None:
    why = "all 4 CPUs of the cluster are taken, by other work too; see `ray status`"
    waiting = AttemptWaiting(trial=0, attempt=0, why=why)
    with EventLog(tmp_path) as log:
        log.append(hand.study(), *hand.trial(0, [], None)[:2], waiting)
        status = run_status(tmp_path)
        text, said = status_text(status), json.loads(status_json(status))
    assert "1 starting" in text
    assert f"attempt 0 is starting for 0 s: {why}" in text
    assert said["open_trials"][0]["waits"] == why
