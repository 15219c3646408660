"""`seti-tune resume` with real Ray and real processes: a run goes on from its folder alone."""

import contextlib
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from bench import finish_here, run_here
from processes import values

from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import Epoch, SpaceWidened
from results.log.state import load_run
from results.run_folder import LOG_NAME
from seti_model.data.simulator import simulate_dataset
from tune.resume import recorded_study
from tune.study import load_study


@pytest.fixture
def quick_study(quick_study: Callable[..., Path]) -> Callable[..., Path]:
    return partial(quick_study, short_finals=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "runs" / "my run"


def seti_tune(*arguments: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune.cli.main", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=cwd)


@contextlib.contextmanager
def started(*arguments: str | Path, run: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a command and yield it when its first new epoch is in the log; it is ended by its own pid."""
    known = epochs(run)
    command = [sys.executable, "-m", "tune.cli.main", *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 60
    try:
        while epochs(run) <= known:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < end, "no epoch in time"
            time.sleep(0.05)
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
        process.communicate(timeout=60)


def epochs(run: Path) -> int:
    return sum(isinstance(e, Epoch) for e in read_events(run)) if (run / LOG_NAME).exists() else 0


@pytest.mark.slow
def test_an_interrupted_search_names_the_command_that_continues_it_without_the_study_file(
    quick_study: Callable[..., Path], tmp_path: Path, run: Path
) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    settings = "[resources]\nmax_concurrent = 1\n"
    study = quick_study(trials=8, sleep=0.1, slow_while=f'"{slow}"', extra=settings)
    with started("search", study, "--run", run, run=run) as process:
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"Continue with: seti-tune resume '{run}'" in out
    whole, given = load_study(study), study.read_text()
    study.unlink()
    study.with_name("line.toml").unlink()

    with started("resume", run, run=run) as process:
        refused = seti_tune("resume", run)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert refused.returncode == 2
    assert "another process is running this study" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    assert process.returncode == 3

    slow.unlink()
    done = seti_tune("resume", run, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    run_here(whole, tmp_path / "whole")
    assert values(run) == values(tmp_path / "whole")
    assert (run / "study.toml").read_text() == given
    log = (run / LOG_NAME).read_bytes()
    again = seti_tune("resume", run)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    assert (run / LOG_NAME).read_bytes() == log, "a finished run was written to"


def test_a_killed_driver_is_continued_by_resume_and_its_run_folder_may_have_moved(
    quick_study: Callable[..., Path], run: Path
) -> None:
    import psutil

    slow = run.parents[1] / "slow"
    slow.touch()
    study = quick_study(trials=5, sleep=0.1, slow_while=f'"{slow}"')
    with started("search", study, "--run", run, "--trials", "4", run=run) as process:
        children = psutil.Process(process.pid).children(recursive=True)
        next(p for p in children if "tune.process.child" in p.cmdline()).kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"continue with: seti-tune resume '{run}' --trials 4" in err
    slow.unlink()
    moved = run.with_name("moved")
    shutil.move(run, moved)
    assert seti_tune("resume", moved).returncode == 0
    assert len(load_run(moved).search_trials()) == 4


def test_resume_extends_a_finished_run_also_with_a_wider_space(quick_study: Callable[..., Path], run: Path) -> None:
    study = quick_study(trials=3, y=0.5)
    finish_here(load_study(study), run)
    before = values(run)
    study.unlink()
    finish_here(recorded_study(run, trials=4), run)
    wider = study.with_name("wider.toml")
    wider.write_text(
        study.with_name("line.toml").read_text().replace("low = 0.0", "low = -1.0")
        + '[parameters.y]\ntype = "float"\nlow = 0.0\nhigh = 1.0\nreason = "Was fixed."\n'
    )
    nothing = seti_tune("resume", run, "--space", wider)
    assert nothing.returncode == 0
    assert "all trials have ended, so the wider space changes nothing yet; add trials with --trials N" in nothing.stderr
    assert seti_tune("resume", run, "--space", wider, "--trials", "6").returncode == 0
    wider.unlink()
    finish_here(recorded_study(run, trials=7), run)
    state = load_run(run)
    assert [len(t.parameters) for t in state.search_trials()] == [2] * 7
    assert [len(t.started.parameters) for t in state.search_trials()] == [1] * 4 + [2] * 3
    assert sum(isinstance(e, SpaceWidened) for e in read_events(run)) == 1
    after = values(run)
    assert {key: after[key] for key in before} == before


def test_an_edited_space_file_is_taken_up_by_search_and_a_narrower_one_refused(
    quick_study: Callable[..., Path], run: Path
) -> None:
    study = quick_study(trials=3)
    finish_here(load_study(study), run)
    space = study.with_name("line.toml")
    text = space.read_text()
    log = (run / LOG_NAME).read_bytes()
    space.write_text(text.replace("high = 1.0", "high = 0.95"))
    refused = seti_tune("search", study, "--run", run, "--trials", "5")
    assert refused.returncode == 2
    assert (
        "space 'line', parameter 'x': high was 1.0, is now 0.95: a range may only grow; set it back" in refused.stderr
    )
    assert len(refused.stderr.splitlines()) == 1
    assert (run / LOG_NAME).read_bytes() == log
    space.write_text(text.replace("high = 1.0", "high = 1.5"))
    assert seti_tune("search", study, "--run", run, "--trials", "5").returncode == 0
    state = load_run(run)
    assert state.space["parameters"]["x"]["high"] == 1.5
    assert len(state.search_trials()) == 5


def test_a_data_set_that_was_moved_is_found_again_and_another_one_refused(
    quick_study: Callable[..., Path], run: Path, tmp_path: Path
) -> None:
    simulate_dataset(tmp_path / "data", "course", {"train": 8, "validation": 8, "test": 8}, 1)
    simulate_dataset(tmp_path / "other", "course", {"train": 8, "validation": 8, "test": 8}, 2)
    study = quick_study(trials=2, extra='[data]\npath = "data"\n')
    finish_here(load_study(study), run)
    (tmp_path / "data").rename(tmp_path / "moved")
    missing = seti_tune("resume", run, "--trials", "3")
    assert missing.returncode == 2
    assert f"{tmp_path}/data: the data set of this run is not there any more" in missing.stderr
    assert f"`seti-tune resume '{run}' --data PATH`" in missing.stderr
    other = seti_tune("resume", run, "--trials", "3", "--data", tmp_path / "other")
    assert other.returncode == 2
    assert "its trials saw the data set" in other.stderr
    assert seti_tune("resume", run, "--trials", "3", "--data", "moved", cwd=tmp_path).returncode == 0
    finish_here(recorded_study(run, trials=4), run)
    assert len(load_run(run).search_trials()) == 4


def test_what_is_no_run_is_one_line_and_nothing_is_left_behind(tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    EventLog(empty).close()
    for folder, message in (
        (tmp_path / "nowhere", "no run folder (events.jsonl is missing); give the folder that a search printed"),
        (empty, "the log holds no study_started; start the search again with the same command"),
    ):
        done = seti_tune("resume", folder)
        assert done.returncode == 2
        assert f"seti-tune: {folder}: {message}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert [p.name for p in tmp_path.iterdir()] == ["empty"]
    address = seti_tune("resume", empty, "--address", "here")
    assert address.returncode == 2
    assert "--address here: HOST:PORT is expected" in address.stderr


def test_a_mistake_in_what_is_asked_for_is_one_line(quick_study: Callable[..., Path], run: Path) -> None:
    finish_here(load_study(quick_study(trials=1)), run)
    for arguments, message in (
        (["--trials", "0"], "--trials 0: 1 to 1000000 are expected"),
        (["--data", "somewhere"], "--data somewhere: the study has no data set; leave --data out"),
        (["--space", "no.toml"], "no.toml: cannot be read (No such file or directory)"),
    ):
        done = seti_tune("resume", run, *arguments)
        assert done.returncode == 2
        assert message in done.stderr
        assert len(done.stderr.splitlines()) == 1
