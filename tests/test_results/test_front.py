"""What accuracy costs, by hand-made runs: who is on the front, and what a report says and draws of it."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from results.findings import Findings
from results.front import Cost, front, priced
from results.log.recorder import EventLog
from results.log.records import Epoch, Event, NetworkMeasured, Status, TrialStarted
from results.log.state import RunState
from results.report.content import report
from results.report.plots import DRAWN_LAST, objective_against


def run(hand: Any, trials: Mapping[int, tuple[float, int | None, str]]) -> list[Event]:
    """Events of trials with an objective, the parameters of their network, and how they ended."""
    events: list[Event] = [hand.study()]
    for number, (value, parameters, status) in trials.items():
        for event in hand.trial(number, [value], status):
            is_epoch = isinstance(event, Epoch)
            events.append(dataclasses.replace(event, model_parameters=parameters) if is_epoch else event)
    return events


TRIALS = {
    0: (0.70, 1000, "completed"),
    1: (0.80, 5000, "completed"),
    2: (0.80, 4000, "completed"),  # as good as trial 1 with less
    3: (0.60, 3000, "completed"),  # worse than the smaller trial 0
    4: (0.95, 2000, "stopped"),  # better, but it was not trained to the end
    5: (0.90, 90000, "completed"),
    6: (0.99, None, "completed"),  # of a trainable that does not count
}


def test_the_front_are_the_completed_trials_that_no_smaller_one_reaches(hand: Any) -> None:
    state = RunState(run(hand, TRIALS))
    found = priced(state, Cost.PARAMETERS)
    assert [one.trial.started.trial for one in found] == [0, 1, 2, 3, 4, 5]
    assert [(one.trial.started.trial, one.cost) for one in front(found)] == [(0, 1000), (2, 4000), (5, 90000)]
    assert priced(state, Cost.LATENCY) == []


def test_a_latency_counts_for_all_networks_of_its_shape(hand: Any) -> None:
    events = run(hand, {number: TRIALS[number] for number in (0, 1, 2)})
    events = [
        dataclasses.replace(e, shape="wide" if e.trial else "small") if isinstance(e, TrialStarted) else e
        for e in events
    ]
    for trial, shape, ms in ((0, "small", 1.5), (1, "wide", 4.5)):
        events.append(NetworkMeasured(trial=trial, attempt=0, shape=shape, model_parameters=1, latency_ms=ms))
    found = priced(RunState(events), Cost.LATENCY)
    assert [(one.trial.started.trial, one.cost) for one in found] == [(0, 1.5), (1, 4.5), (2, 4.5)]


def test_the_picture_shows_every_trial_and_the_front_on_a_logarithmic_axis(hand: Any) -> None:
    traces, layout = objective_against(priced(RunState(run(hand, TRIALS)), Cost.PARAMETERS), Cost.PARAMETERS)
    by_name = {trace["name"]: trace for trace in traces}
    assert (by_name["front"]["x"], by_name["front"]["y"]) == ([1000, 4000, 90000], [0.7, 0.8, 0.9])
    assert by_name["stopped"]["text"] == ["trial 4"]
    assert len(by_name["completed"]["x"]) == 5
    assert layout["xaxis"]["type"] == "log"


def test_a_report_has_the_front_as_a_table_and_no_section_where_sizes_do_not_differ(hand: Any, tmp_path: Path) -> None:
    for name, trials in (("differ", TRIALS), ("same", {n: (v, 7, s) for n, (v, _, s) in TRIALS.items()})):
        with EventLog(tmp_path / name) as log:
            log.append(*run(hand, trials))
    sections = {section.name: section for section in report(Findings.read(tmp_path / "differ")).sections}
    table = sections["size"].parts[-1]
    assert [row[:3] for row in table.rows] == [
        ["parameters", "trial 0", "1000"], ["parameters", "trial 2", "4000"], ["parameters", "trial 5", "90000"],
    ]  # fmt: skip
    assert "size" not in {section.name for section in report(Findings.read(tmp_path / "same")).sections}


def test_every_status_is_drawn_in_curves_and_pictures() -> None:
    assert set(DRAWN_LAST) == set(Status)
