"""Several runs on one page: a row for each, their curves in one picture, their trials ranked together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from results.errors import TableError
from results.log.lines import to_line
from results.report.html import to_html
from results.report.markdown import to_markdown
from results.report.plots import bests_so_far
from results.report.several import read_several, report_of_several


def write(run: Path, *events: Any) -> Path:
    run.mkdir(parents=True)
    flat = [one for event in events for one in (event if isinstance(event, list) else [event])]
    (run / "events.jsonl").write_text("".join(to_line(event) + "\n" for event in flat))
    return run


@pytest.fixture
def runs(hand: Any, tmp_path: Path) -> list[Path]:
    a = write(tmp_path / "a", hand.study(validation_images=100), hand.trial(0, [0.4, 0.6]), hand.trial(1, [0.7, 0.8]))
    b = write(tmp_path / "b", hand.study(validation_images=100), hand.trial(0, [0.5, 0.65]))
    return [a, b]


def test_each_run_has_a_row_and_all_trials_are_ranked_together(runs: list[Path]) -> None:
    found, comparison = read_several(runs)
    text = to_markdown(report_of_several(found, comparison))
    assert "# a, b" in text
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.split("|")[1:6]] for line in lines]
    assert ["a", "accuracy", "2", "4", "0.8000"] in cells
    assert ["b", "accuracy", "1", "2", "0.6500"] in cells
    assert [row[:4] for row in cells if row[0] in ("1", "2", "3")] == [
        ["1", "a", "1", "0.8000 (0.7112..0.8666)"],
        ["2", "b", "0", "0.6500 (0.5525..0.7364)"],
        ["3", "a", "0", "0.6000 (0.5020..0.6906)"],
    ]


def test_the_curves_of_all_runs_share_a_picture_and_names_stay_text(runs: list[Path], tmp_path: Path) -> None:
    other = runs[1].rename(tmp_path / "<b>bold")
    found, comparison = read_several([runs[0], other])
    traces, layout = bests_so_far({name: one.history.steps for name, one in found.items()}, "epochs", "accuracy")
    assert [trace["name"] for trace in traces] == ["a", "&lt;b&gt;bold"]
    assert [trace["y"][-1] for trace in traces] == [0.8, 0.65]
    assert layout["showlegend"]
    page = to_html(report_of_several(found, comparison), is_running=False)
    assert "<b>bold" not in page


def test_runs_of_other_objectives_have_no_common_curve_and_a_warning(
    runs: list[Path], hand: Any, tmp_path: Path
) -> None:
    other = write(tmp_path / "c", hand.study(objective="loss", validation_images=100), hand.trial(0, [0.5]))
    found, comparison = read_several([*runs, other])
    text = to_markdown(report_of_several(found, comparison))
    assert "Warning: ranked by different objectives, which are not comparable: a accuracy, b accuracy, c loss." in text
    assert "Best so far" not in text


def test_one_run_has_a_report_of_its_own(runs: list[Path]) -> None:
    with pytest.raises(TableError, match="at least two are expected"):
        read_several(runs[:1])
