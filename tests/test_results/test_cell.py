"""What a notebook's cell shows of a run: all text stays text, and the curves are those of the log."""

import re
from pathlib import Path
from typing import Any

import pytest
from whole_run import EVIL, write_whole_run

from results.findings import Findings
from results.log.recorder import EventLog
from results.report.cell import cell_html, waiting_html


@pytest.fixture(scope="module")
def found(hand: Any, tmp_path_factory: pytest.TempPathFactory) -> Findings:
    folder = tmp_path_factory.mktemp("whole") / "run"
    write_whole_run(folder, hand)
    return Findings.read(folder)


def test_a_cell_has_headline_table_and_curves(found: Findings) -> None:
    page = cell_html(found)
    assert "The study is finished: all trials ended. 30 trials: 20 completed, 6 stopped" in page
    assert "Winner of the finals: trial 7" in page
    rows = re.findall(r"<tr><td>(.*?)</td><td>(\d+)</td>", page)
    assert [trial for _, trial in rows] == [str(t.started.trial) for t in found.ranked[:10]]
    assert "20 more in <code>run.leaderboard</code>" in page
    lines = [places.split() for places in re.findall(r'<polyline points="(.*?)"', page)]
    drawn = [t for t in found.state.search_trials() if t.best is not None]
    assert sorted(map(len, lines)) == sorted(
        sum(e.validation_accuracy == e.validation_accuracy for e in t.epochs.values()) for t in drawn
    )
    heights = [float(place.split(",")[1]) for line in lines for place in line]
    assert 10 < min(heights) < max(heights) < 226, "all of it lies between the axes"


def test_no_text_of_a_run_acts_in_a_cell(found: Findings) -> None:
    page = cell_html(found)
    assert EVIL not in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert "<b>elu</b>" not in page
    assert "<script" not in waiting_html(EVIL)


def test_a_run_without_an_epoch_has_no_curves_and_a_flat_one_has(hand: Any, tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(hand.study())
    assert "<svg" not in cell_html(Findings.read(tmp_path))
    with EventLog(tmp_path) as log:
        log.append(*hand.trial(0, [0.5]))
    assert cell_html(Findings.read(tmp_path)).count("<polyline") == 1
