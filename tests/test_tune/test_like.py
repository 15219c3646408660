"""What a study takes over from another run: its best configurations, to be tried first."""

import json
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, Crash, outcome
from processes import search

from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import TrialStarted
from results.log.state import RunState, fold, load_run
from results.run_folder import LOG_NAME
from results.study import Provenance
from results.tables.leaderboard import rank_trials
from tune.errors import StudyError
from tune.like import Like, borrow, require_as_begun, with_borrowed
from tune.resume import SeenData, opening_events, recorded_study
from tune.study import Study, load_study


@pytest.fixture
def path(quick_study: Callable[..., Path]) -> Path:
    return quick_study(trials=20, diverges_above=0.97)


@pytest.fixture
def earlier(path: Path, tmp_path: Path) -> Path:
    """A finished run of 20 trials."""
    Bench(load_study(path), tmp_path / "earlier").run()
    return tmp_path / "earlier"


def begin(study: Study, run: Path, like: Like) -> Study:
    """Write what a driver writes first."""
    borrowed = borrow(study, like)
    study = with_borrowed(study, borrowed)
    opening = opening_events(study, fold_or_empty(run), run, data=SeenData(), provenance=Provenance())
    with EventLog(run) as log:
        log.append(*opening)
    return study


def fold_or_empty(run: Path) -> RunState:
    run.mkdir(exist_ok=True)
    (run / LOG_NAME).touch()
    return fold(run)


def test_the_best_configurations_are_tried_first_and_the_log_says_where_they_come_from(
    path: Path, earlier: Path, tmp_path: Path
) -> None:
    study = begin(load_study(path), tmp_path / "run", Like(earlier, 3))
    state = Bench(study, tmp_path / "run").run()
    best = [t for t in rank_trials(load_run(earlier))[0] if not t.started.is_baseline][:3]
    first = state.search_trials()[1:4]
    assert [t.parameters for t in first] == [t.parameters for t in best]
    assert [t.started.origin for t in first] == [f"{earlier}, trial {t.started.trial}" for t in best]
    assert state.trials[4, None].started.origin is None


def test_a_run_of_before_whose_first_line_tells_of_known_trials_goes_on(
    path: Path, earlier: Path, tmp_path: Path
) -> None:
    study, run = begin(load_study(path), tmp_path / "run", Like(earlier, 2)), tmp_path / "run"
    first = json.loads((run / LOG_NAME).read_text())
    known = [{"trial": 1, "parameters": {"x": 0.3}, "status": "completed", "epochs": 9, "objective": 0.5}]
    (run / LOG_NAME).write_text(json.dumps(first | {"known": known}) + "\n")
    require_as_begun(Like(earlier, 2), fold(run), run)
    state = Bench(study.with_trials(8), run).run()
    begin(load_study(path), tmp_path / "other", Like(earlier, 2))
    other = Bench(study.with_trials(8), tmp_path / "other").run()
    assert outcome(state) == outcome(other)


@pytest.mark.parametrize("seed", range(2))
def test_a_driver_that_dies_needs_the_other_run_no_more(path: Path, earlier: Path, tmp_path: Path, seed: int) -> None:
    study = begin(load_study(path), tmp_path / "whole", Like(earlier, 2))
    shutil.copytree(tmp_path / "whole", tmp_path / "run")
    whole = outcome(Bench(study, tmp_path / "whole").run())
    shutil.rmtree(earlier)
    rng = random.Random(seed)
    for _ in range(4):
        with pytest.raises(Crash, match=r"^$"):
            Bench(recorded_study(tmp_path / "run"), tmp_path / "run", crash_after=rng.randint(0, 20)).run()
    state = Bench(recorded_study(tmp_path / "run"), tmp_path / "run").run()
    assert outcome(state) == whole
    origins = [e.origin for e in read_events(tmp_path / "run") if isinstance(e, TrialStarted) and e.origin]
    assert len(origins) == len(set(origins)) == 2


def test_a_run_that_gives_nothing_but_the_baseline_is_refused(path: Path, earlier: Path, tmp_path: Path) -> None:
    best = rank_trials(load_run(earlier))[0][0]
    same = path.read_text().replace("[baseline]\nx = 0.9\n", f"[baseline]\nx = {best.parameters['x']!r}\n")
    path.write_text(same.replace("trials = 20", "trials = 1"))
    Bench(load_study(path), tmp_path / "alone").run()
    with pytest.raises(
        StudyError, match=r"^--like .*alone: gives nothing to try that the study has not itself; leave --like out$"
    ):
        borrow(load_study(path), Like(tmp_path / "alone"))
    space = path.with_name("line.toml")
    space.write_text(space.read_text().replace("[parameters.x]", "[parameters.z]"))
    path.write_text(path.read_text().replace("[baseline]\nx = ", "[baseline]\nz = "))
    with pytest.raises(
        StudyError, match=r"alone: gives nothing to try that the study has not itself \(.*'x' = .* is no parameter of"
    ):
        borrow(load_study(path), Like(tmp_path / "alone"))


def test_values_outside_of_the_space_are_named_and_left_out(path: Path, earlier: Path) -> None:
    space, best = path.with_name("line.toml"), rank_trials(load_run(earlier))[0][0]
    space.write_text(space.read_text().replace("low = 0.0", "low = 0.3"))
    borrowed = borrow(load_study(path), Like(earlier, 20))
    name = f"{earlier}, trial {best.started.trial}"
    assert borrowed.lines[0] == f"{name}: 'x' = {best.parameters['x']!r} is not a number in 0.3..1.0, left out"
    assert all(0.3 <= float(point.parameters["x"]) <= 1.0 for point in borrowed.points)
    path.write_text(path.read_text().replace("[baseline]\nx = 0.9\n", ""))
    lines = borrow(load_study(path), Like(earlier, 20)).lines
    assert (
        lines[1] == f"{name}: space 'line', parameter 'x': no value, expected a number in 0.3..1.0; give one; not tried"
    )


def test_the_same_run_under_another_spelling_is_the_same_one(
    path: Path, earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, run = load_study(path), tmp_path / "begun"
    Bench(with_borrowed(study, borrow(study, Like(earlier))), run).recorder.close()
    monkeypatch.chdir(earlier.parent)
    require_as_begun(Like(Path(earlier.name)), fold(run), run)


def test_a_run_that_gives_nothing_is_said_before_anything_starts(path: Path, tmp_path: Path) -> None:
    path.write_text(path.read_text().replace("trials = 20", "trials = 1"))
    Bench(load_study(path), tmp_path / "alone").run()
    done = search(path, tmp_path / "new", "--like", str(tmp_path / "alone"))
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"seti-tune: --like {tmp_path / 'alone'}: gives nothing to try that the study has not"
    )
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_mistake_is_one_line(path: Path, earlier: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match="--top 0: at least 1 is expected; choose a number above 0"):
        Like(earlier, 0).check()
    begun = tmp_path / "begun"
    Bench(load_study(path), begun).recorder.close()
    with pytest.raises(StudyError, match=r"--like .*begun: no trial of it is completed; wait for one, or leave --like"):
        Like(begun).check()
    with pytest.raises(StudyError, match=r"begun: has no start point of --like .*earlier; leave --like out, or choose"):
        require_as_begun(Like(earlier), fold(begun), begun)
    command = [sys.executable, "-m", "tune.cli.main", "search", str(path), "--run", str(tmp_path / "new"), "--top", "3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "seti-tune: --top 3: says how many configurations of --like RUN; name that too\n"


@pytest.mark.slow
def test_the_command_takes_over_and_goes_on_without_the_other_run(
    quick_study: Callable[..., Path], earlier: Path, tmp_path: Path
) -> None:
    study = quick_study(trials=4, diverges_above=0.97, extra="[finals]\nenabled = false\n", short_finals=False)
    done = search(study, tmp_path / "run", "--like", str(earlier), "--top", "2")
    assert done.returncode == 0, done.stderr
    assert f"from {earlier}: 2 start points\n" in done.stderr
    state = load_run(tmp_path / "run")
    assert [bool(t.started.origin) for t in state.search_trials()] == [False, True, True, False]
    shutil.rmtree(earlier)
    again = search(study, tmp_path / "run", "--like", str(earlier), "--trials", "5")
    assert again.returncode == 0, again.stderr
    assert load_run(tmp_path / "run").n_search == 5
