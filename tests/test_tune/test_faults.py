"""Whole runs in which something goes wrong: real signals, dead processes, full disks, no memory."""

import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path

import psutil
import pytest
from bench import run_here
from processes import SEARCH, alive, descendants, search, started, values, wait_for, write_quick_study

from results.log.reading import read_events
from results.log.records import Epoch, StudyEnded, StudyResumed
from results.log.state import TrialState, load_run
from results.run_folder import LOG_NAME
from tune.ray_adapter.cluster import KILL_NOTICED_S, MemoryKills
from tune.study import load_study


@pytest.fixture
def quick_study(quick_study: Callable[..., Path]) -> Callable[..., Path]:
    return partial(quick_study, short_finals=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """A file that makes trials slow enough to be met at work; a test that has done so removes it."""
    file = tmp_path / "slow"
    file.touch()
    return file


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 3)])
def test_a_signal_leaves_a_readable_run_no_process_and_can_be_continued(
    quick_study: Callable[..., Path], tmp_path: Path, run: Path, slow: Path, number: int, code: int
) -> None:
    study = quick_study(sleep=0.1, slow_while=f'"{slow}"', extra="[resources]\nmax_concurrent = 1\n")
    with started(study, run) as process:
        children = descendants(process)
        assert len(children) > 2
        sent = time.time()
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert alive(children) == []
    assert f"Continue with: seti-tune resume {run}" in out
    state = load_run(run)
    assert state.trials[0, None].ended is None
    assert all(t.open_attempt() is None for t in state.trials.values())
    assert (run / "leaderboard.csv").read_text().startswith("rank,trial,status")
    [ended] = [e for e in read_events(run) if isinstance(e, StudyEnded)]
    assert ended.reason == f"interrupted by {signal.Signals(number).name}"
    # What sends SIGTERM to a job of Ray's sends SIGKILL after 3 s.
    assert datetime.fromisoformat(ended.time).timestamp() - sent < 3

    slow.unlink()
    assert search(study, run).returncode == 0
    assert any(isinstance(e, StudyResumed) for e in read_events(run))
    run_here(load_study(study), tmp_path / "whole")
    assert values(run) == values(tmp_path / "whole")


@pytest.mark.slow
def test_a_killed_driver_is_explained_and_its_run_continued(
    quick_study: Callable[..., Path], run: Path, slow: Path
) -> None:
    study = quick_study(trials=6, sleep=0.1, slow_while=f'"{slow}"')
    with started(study, run) as process:
        children = descendants(process)
        driver = next(p for p in children if "tune.process.child" in p.cmdline())
        driver.kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"the driver was killed by SIGKILL; all it recorded is kept, continue with: seti-tune resume {run}" in err
    assert alive(children) == []
    before = values(run)
    slow.unlink()
    assert search(study, run).returncode == 0
    after = values(run)
    assert all(after[key][1] == before[key][1] for key in before)


@pytest.mark.parametrize("what", ["moved", "deleted"])
def test_a_run_folder_that_goes_away_ends_its_search_within_seconds(
    quick_study: Callable[..., Path], run: Path, slow: Path, tmp_path: Path, what: str
) -> None:
    study, place = quick_study(trials=6, sleep=0.1, slow_while=f'"{slow}"'), tmp_path / "elsewhere"
    with started(study, run) as process:
        children = descendants(process)
        if what == "moved":
            run.rename(place)
        else:
            shutil.rmtree(run)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert time.monotonic() - began < 20, "Ray's own end takes some seconds"
    last = err.splitlines()[-1]
    assert last.startswith(f"seti-tune: {run}/events.jsonl: was {what} while it was written")
    assert "Traceback" not in err
    assert alive(children) == []
    assert not (run / LOG_NAME).exists()
    slow.unlink()
    if what == "moved":
        assert f"go on with `seti-tune resume {place}`" in last
        before = values(place)
        done = subprocess.run([*SEARCH[:-1], "resume", place], capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        assert all(values(place)[key][1] == before[key][1] for key in before)
        assert load_run(place).doubts == []


def test_a_killed_head_is_explained_and_its_run_continued(
    quick_study: Callable[..., Path], run: Path, slow: Path
) -> None:
    """Ray ends the driver from C++ then, without an exception."""
    study = quick_study(trials=6, sleep=0.1, slow_while=f'"{slow}"')
    with started(study, run) as process:
        children = descendants(process)
        next(p for p in children if Path((p.cmdline() or ["-"])[0]).name == "gcs_server").kill()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert "the driver ended because Ray's head is gone; all it recorded is kept, continue with: seti-tune " in err
    assert "Traceback" not in err
    assert alive(children) == []
    before = load_run(run)
    slow.unlink()
    assert search(study, run).returncode == 0
    after = load_run(run)
    assert all(
        after.trials[key].ended == trial.ended for key, trial in before.trials.items() if trial.ended is not None
    )


def test_a_killed_parent_takes_the_driver_along(quick_study: Callable[..., Path], run: Path) -> None:
    with started(quick_study(sleep=0.1), run) as process:
        children = descendants(process)
        process.kill()
        process.wait()
        _, left = psutil.wait_procs(children, timeout=40)
        assert alive(left) == []
    assert "interrupted by SIGTERM" in (run / LOG_NAME).read_text()


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The run of a search in which one worker dies, some trials raise and some lack memory, and what it printed."""
    folder = tmp_path_factory.mktemp("troubled")
    study = write_quick_study(folder, trials=8, short_finals=True, dies_at=2, raises_above=0.8, asks_too_much_above=0.5)
    # One that was stopped before would not die.
    study.write_text(study.read_text().replace("[asha]", "[asha]\nexempt_fraction = 1"))
    done = search(study, folder / "run")
    assert done.returncode == 0, done.stderr
    return folder / "run", done.stdout


def test_a_worker_that_dies_is_replaced_and_its_trial_goes_on(troubled: tuple[Path, str]) -> None:
    trial = load_run(troubled[0]).trials[1, None]
    assert trial.attempts_ended[0].why == "its worker or node died"
    assert trial.attempts[1].resume_from == "checkpoints/0001/0/0001"
    assert sorted(trial.epochs) == list(range(1, len(trial.epochs) + 1))
    assert trial.ended is not None


def test_what_raises_is_failed_with_its_reason_and_the_others_go_on(troubled: tuple[Path, str]) -> None:
    trials = load_run(troubled[0]).search_trials()
    raising = [t for t in trials if float(t.started.parameters["x"]) > 0.8]
    assert raising
    assert all(
        t.status == "failed" and t.ended and "ValueError: cannot train x = 0." in t.ended.reason for t in raising
    )
    assert len(raising) > 1
    assert all(len(t.attempts) <= 3 for t in raising), "tried three times at most"
    assert len(raising[-1].attempts) == 1, "tried again, though another trial had failed there"
    assert {t.status for t in trials if float(t.started.parameters["x"]) < 0.5} <= {"completed", "stopped"}
    assert "ValueError: cannot train" in troubled[1]


def test_memory_that_is_not_to_be_had_is_recorded_as_such(troubled: tuple[Path, str]) -> None:
    lacking = [t for t in load_run(troubled[0]).search_trials() if t.lacked_memory]
    assert lacking
    assert all(0.5 < float(t.started.parameters["x"]) < 0.8 for t in lacking)
    assert all(t.status == "failed" and t.ended and t.ended.reason.startswith("MemoryError") for t in lacking)


@pytest.mark.parametrize("after_s", [0.3, 1.0, 2.5])
def test_ctrl_c_while_starting_says_so_and_the_same_command_begins_again(
    quick_study: Callable[..., Path], run: Path, slow: Path, after_s: float
) -> None:
    study = quick_study(trials=2, sleep=0.5, slow_while=f'"{slow}"')
    command = [*SEARCH, str(study), "--run", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(after_s)
    children = descendants(process)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130, (out, err)
    assert "Traceback" not in err
    assert alive(children) == []
    slow.unlink()
    if children:
        assert "continue" in out + err
        assert search(study, run).returncode == 0


def test_a_full_disk_is_one_line_and_nothing_is_lost_when_it_was_emptied(
    quick_study: Callable[..., Path], small_disk: Path
) -> None:
    study, run = quick_study(trials=30, sleep=0.005), small_disk / "run"
    done = search(study, run)
    assert done.returncode == 2, done.stderr
    assert "free some space" in done.stderr
    assert "Traceback" not in done.stderr
    before = load_run(run)
    assert not [t for t in before.search_trials() if t.status == "failed"]
    subprocess.run(["mount", "-o", "remount,size=64m", str(small_disk)], check=True)
    assert search(study, run).returncode == 0
    after = load_run(run)
    assert {t.status for t in after.search_trials()} <= {"completed", "stopped"}
    assert all(
        dict(after.trials[key].started.parameters) == dict(t.started.parameters) for key, t in before.trials.items()
    )


def test_a_worker_that_grows_is_replaced_and_no_epoch_is_lost_or_repeated(
    quick_study: Callable[..., Path], run: Path
) -> None:
    """Each epoch keeps 20 MB for ever; the share allows for the first trial of a worker and not for many."""
    study = quick_study(trials=8, grows_mb=20, extra="[resources]\nmax_concurrent = 1\nmemory_mb = 600\n")
    done = search(study, run)
    assert done.returncode == 0, done.stderr
    state = load_run(run)
    whys = [a.why for t in state.search_trials() for a in t.attempts_ended.values() if "grown" in a.why]
    assert whys
    assert all(why.endswith("above 600 MB, and is replaced") for why in whys)
    assert {t.status for t in state.search_trials()} <= {"completed", "stopped"}
    written = [(e.trial, e.repeat, e.epoch) for e in read_events(run) if isinstance(e, Epoch)]
    assert len(written) == len(set(written))
    assert max(e.resident_mb or 0 for t in state.search_trials() for e in t.epochs.values()) < 600 + 9 * 20 + 50


@pytest.mark.slow
def test_checkpoints_damaged_or_deleted_by_hand_cost_their_epochs_only(
    quick_study: Callable[..., Path], run: Path, slow: Path
) -> None:
    study = quick_study(trials=5, sleep=0.5, slow_while=f'"{slow}"', extra="[resources]\nmax_concurrent = 2\n")
    study.write_text(study.read_text().replace("[asha]", "[asha]\nexempt_fraction = 1"))

    def are_open() -> list[TrialState]:
        return [t for t in load_run(run).search_trials() if t.ended is None and t.checkpoint is not None]

    with started(study, run) as process:
        wait_for(lambda: len(are_open()) == 2, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
    before = load_run(run)
    torn, gone = are_open()
    assert torn.checkpoint is not None
    file = run / torn.checkpoint.path / "state.json"
    file.write_text(file.read_text()[:3])
    shutil.rmtree(run / "checkpoints" / f"{gone.started.trial:04d}")
    slow.unlink()
    assert search(study, run).returncode == 0
    after = load_run(run)
    mended = after.trials[torn.started.key]
    assert [a.cause for a in mended.attempts_ended.values()].count("checkpoint") == 1
    assert not any(a.counts for a in mended.attempts_ended.values())
    assert after.trials[gone.started.key].attempts[1].from_epoch == 0
    for trial in (mended, after.trials[gone.started.key]):
        assert trial.status in ("completed", "stopped")
        earlier = before.trials[trial.started.key].epochs
        assert all(trial.epochs[n].validation_accuracy == e.validation_accuracy for n, e in earlier.items())


def test_trial_after_trial_that_fails_ends_the_study_with_the_first_error(
    quick_study: Callable[..., Path], run: Path
) -> None:
    study = quick_study(trials=30, raises_above=-1)
    done = search(study, run)
    assert done.returncode == 2
    assert re.search(
        r"5 trials in a row failed, the first one, trial [01]: ValueError: cannot train x = 0\.", done.stderr
    )
    assert f"continue with `seti-tune resume {run}`" in done.stderr
    assert "Traceback" not in done.stderr
    failed = load_run(run).search_trials()
    assert len(failed) < 10
    assert (run / "leaderboard.csv").exists()

    module = study.with_name("quick_trainable.py")
    module.write_text(module.read_text().replace('if x > float(options.get("raises_above", 2.0)):', "if False:"))
    command = [sys.executable, "-m", "tune.cli.main", "resume", str(run), "--retry-failed", "--trials", "8"]
    again = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 0, again.stderr
    assert f"trials that failed and are tried again: {sum(t.status == 'failed' for t in failed)}\n" in again.stderr
    mended = load_run(run).search_trials()
    assert len(mended) == 8
    assert {t.status for t in mended} <= {"completed", "stopped"}


def test_a_worker_the_kernel_kills_for_memory_is_recorded_as_such(
    quick_study: Callable[..., Path], run: Path, tight_cgroup: Path
) -> None:
    study = quick_study(trials=4, cgroup=f'"{tight_cgroup}"')
    done = search(study, run)
    assert done.returncode == 0, done.stderr
    lacking = [t for t in load_run(run).search_trials() if t.lacked_memory]
    assert lacking
    assert all(t.ended and t.ended.reason == "its worker was killed for memory" for t in lacking)
    assert all(len(t.attempts) == 3 and float(t.started.parameters["x"]) < 0.5 for t in lacking)


@pytest.mark.slow
def test_a_worker_rays_monitor_kills_for_memory_is_recorded_and_the_search_goes_on(
    quick_study: Callable[..., Path], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ray Tune itself ends with an exception then; the threshold is what is used now and 1.5 GB."""
    memory = psutil.virtual_memory()
    monkeypatch.setenv("RAY_memory_usage_threshold", str((memory.total - memory.available + 1.5e9) / memory.total))
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "100")
    study = quick_study(trials=2, grows_mb=400, sleep=0.3, extra="[resources]\nmemory_mb = 1e6\nmax_concurrent = 1\n")
    study.write_text(study.read_text().replace("[study]", "[study]\nmax_retries = 1"))
    done = search(study, run, timeout=240)
    assert "Traceback" not in done.stderr
    state = load_run(run)
    assert len(state.search_trials()) == 2
    assert any(a.cause == "memory" for t in state.trials.values() for a in t.attempts_ended.values())
    assert all(t.ended for t in state.search_trials())


def test_a_kill_for_memory_is_noticed_once_and_not_for_ever(
    tight_cgroup: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill() -> None:
        code = f"open('{tight_cgroup}/cgroup.procs', 'w').write('0'); len(bytearray(b'x') * 400_000_000)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL

    kills = MemoryKills()
    assert not kills.is_recent()
    kill()
    assert kills.is_recent()
    assert not kills.is_recent()
    kill()
    kill()
    assert [kills.is_recent() for _ in range(3)] == [True, True, False], "each counts once"
    kill()
    later = time.monotonic() + KILL_NOTICED_S
    for passed in (2, 4):
        monkeypatch.setattr("tune.ray_adapter.cluster.time.monotonic", lambda passed=passed: later + passed)
        kills.look()
    assert not kills.is_recent(), "it is no news any more"
