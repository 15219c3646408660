"""Several runs in one table, and what is said when they should not be compared."""

from pathlib import Path
from typing import Any

import pytest

from results.errors import RecordError, TableError
from results.log.recorder import EventLog
from results.run_folder import LOG_NAME
from results.tables.compare import compare_runs, comparison_text
from results.tables.table import select

A = {"network.blocks": {"type": "int"}, "training.rate": {"type": "float"}}
B = {"network.blocks": {"type": "int"}, "network.filters_3": {"type": "int", "when": {"network.blocks": [3, 4]}}}


def write(run: Path, *events: Any) -> Path:
    with EventLog(run) as log:
        for event in events:
            log.append(*(event if isinstance(event, list) else [event]))
    return run


@pytest.fixture
def runs(hand: Any, tmp_path: Path) -> list[Path]:
    """In the run `a` filters_3 is fixed at 64, with a meaning where there are three blocks; in `b` it is searched."""
    fixed = {"network.filters_3": 64, "network.blocks": 2, "training.rate": 0.1}
    three = fixed | {"network.blocks": 3}
    a = write(
        tmp_path / "a",
        hand.study(space={"parameters": A}, validation_images=100),
        hand.trial(0, [0.5, 0.7], parameters={"network.blocks": 2, "training.rate": 0.1}, configuration=fixed),
        hand.trial(1, [0.8], parameters={"network.blocks": 3, "training.rate": 0.1}, configuration=three),
        hand.trial(2, [0.99], "stopped"),
    )
    deep = {"network.blocks": 4, "network.filters_3": 32}
    b = write(
        tmp_path / "b",
        hand.study(space={"parameters": B}, validation_images=100),
        hand.trial(3, [0.75], parameters=deep, configuration=deep | {"training.rate": 0.2}),
        hand.trial(4, [0.8], parameters={"network.blocks": 2}, configuration=fixed | {"training.rate": 0.2}),
    )
    return [a, b]


def test_completed_trials_of_all_runs_are_ranked_together(runs: list[Path]) -> None:
    found = compare_runs(runs)
    frame = found.table.frame()
    names = ["rank", "run", "trial", "objective", "network.blocks", "training.rate", "network.filters_3"]
    rows = frame[names].astype(object).where(frame[names].notna(), None).to_numpy().tolist()
    assert rows == [
        [1, "a", 1, 0.8, 3, 0.1, 64],
        [2, "b", 4, 0.8, 2, 0.2, None],
        [3, "b", 3, 0.75, 4, 0.2, 32],
        [4, "a", 0, 0.7, 2, 0.1, None],
    ]
    assert frame["objective_low"][0] == pytest.approx(0.7111708)
    assert list(frame["baseline"]) == [False, False, False, True]
    assert found.warnings == ()


def test_the_text_marks_baselines_and_can_be_cut(runs: list[Path]) -> None:
    found = compare_runs(runs)
    assert comparison_text(found).splitlines()[-1].endswith("baseline")
    lines = comparison_text(found, select(found.table, top=1)).splitlines()
    assert lines[-1] == "(3 more completed trials)"
    assert lines[-2].split() == ["1", "a", "1", "completed", "0.8000", "0.711..0.867", "1/1", "3", "0.1", "64"]


def test_runs_on_other_data_are_compared_with_warnings(hand: Any, runs: list[Path], tmp_path: Path) -> None:
    space = {"parameters": {"network.blocks": {"type": "categorical"}, "network.filters_3": {"type": "int"}}}
    other = write(tmp_path / "c", hand.study(space=space, data_digest="e" * 64, validation_images=50))
    unknown = write(tmp_path / "e", hand.study(space={"parameters": {}}, data_digest=None))
    assert compare_runs([*runs, other, unknown]).warnings == (
        "no data digest in e: whether the data are the same cannot be checked",
        "different data, objectives are not comparable: digests a dddddddddddd, b dddddddddddd, c eeeeeeeeeeee",
        "different numbers of validation images: a 100, b 100, c 50",
        "network.blocks does not mean the same: a int, b int, c categorical",
        "network.filters_3 does not mean the same: b int when network.blocks in [3, 4], c int",
    )


def test_runs_of_other_objectives_are_compared_with_a_warning(hand: Any, tmp_path: Path) -> None:
    runs = [write(tmp_path / name, hand.study(objective=name)) for name in ("loss", "auc")]
    expected = "ranked by different objectives, which are not comparable: loss loss, auc auc"
    assert compare_runs(runs).warnings == (expected,)


def test_runs_of_the_same_folder_name_are_told_apart_by_their_paths(hand: Any, tmp_path: Path) -> None:
    runs = [write(tmp_path / n / "run", hand.study(), hand.trial(0, [0.5])) for n in ("x", "y")]
    assert [row["run"] for row in compare_runs(runs).table.rows] == [str(run) for run in runs]


def test_a_run_given_twice_is_refused(runs: list[Path], tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(runs[0])
    with pytest.raises(TableError, match=r"a and .*link are the same run; give each run once"):
        compare_runs([*runs, tmp_path / "link"])


def test_one_run_is_nothing_to_compare(runs: list[Path]) -> None:
    with pytest.raises(TableError, match=r"1 run: at least two are expected; see one with `seti-tune leaderboard .*a`"):
        compare_runs(runs[:1])


def test_a_log_of_another_schema_version_is_refused(runs: list[Path]) -> None:
    log = runs[1] / LOG_NAME
    log.write_text(log.read_text().replace('{"v":1,', '{"v":2,'))
    with pytest.raises(RecordError, match=r"events\.jsonl, line 1: damaged: schema version 2, this seti-tune reads 1"):
        compare_runs(runs)
