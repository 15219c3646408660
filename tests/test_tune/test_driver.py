"""Whole runs with real Ray and real processes, on the trainable of milliseconds."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bench import finish_here, run_here
from processes import SEARCH, search, values, write_quick_study

from results.log.reading import read_events
from results.log.records import AttemptRunning, TrialStarted
from results.log.state import load_run
from results.run_folder import LOG_NAME
from seti_model.data.simulator import simulate_dataset
from tune.study import load_study


@pytest.fixture
def quick_study(quick_study: Callable[..., Path]) -> Callable[..., Path]:
    return partial(quick_study, short_finals=True)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return tmp_path / "run"


@dataclass(frozen=True)
class Searched:
    """A search that has ended, and what it printed."""

    study: Path
    run: Path
    out: str
    err: str
    agent: str  # the log of Ray's agent


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """The installed command, as cron or a batch system starts it, in a folder with modules named like ours."""
    folder = tmp_path_factory.mktemp("searched")
    settings = "[resources]\nmax_concurrent = 2\n"
    study = write_quick_study(folder, trials=20, diverges_above=0.93, short_finals=True, extra=settings)
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    for name in ("results.py", "tune.py"):
        (elsewhere / name).write_text("raise SystemExit('wrong module')\n")
    script = str(Path(sys.executable).with_name("seti-tune"))
    with (
        (folder / "out.txt").open("w") as out,
        (folder / "err.txt").open("w") as err,
        tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as ray_folder,  # a socket's path must be short
        socket.socket() as other,  # as if it were another Ray's on this machine
    ):
        with contextlib.suppress(OSError):  # there is one
            other.bind(("", 52365))
            other.listen()
        done = subprocess.run(
            [script, "search", str(study), "--run", str(folder / "run")],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            cwd=elsewhere,
            env=os.environ | {"TERM": "dumb", "RAY_TMPDIR": ray_folder},
            timeout=120,
            check=False,
        )
        (log,) = Path(ray_folder).glob("ray/session_2*/logs/dashboard_agent.log")
        agent = log.read_text()
    said = Searched(study, folder / "run", (folder / "out.txt").read_text(), (folder / "err.txt").read_text(), agent)
    assert done.returncode == 0, said.err
    return said


def test_a_search_from_start_to_report(searched: Searched) -> None:
    state = load_run(searched.run)
    assert len(state.search_trials()) == 20
    assert all(t.ended is not None for t in state.trials.values())
    assert {t.status for t in state.search_trials()} <= {"completed", "stopped", "diverged"}
    assert sum(t.status == "stopped" for t in state.search_trials()) >= 5
    assert "ASHA decides after epochs 1, 3; 1 in 3 goes on, the baseline (trial 0) always" in searched.err
    assert "20/20 trials ended" in searched.err
    assert "epochs/s" in searched.err
    assert "Epochs trained:" in searched.out
    assert f"Report: {searched.run}/report.md" in searched.out
    for name in (
        "events.jsonl",
        "study.toml",
        "leaderboard.csv",
        "epochs.csv",
        "report.md",
        "search.png",
        "report.html",
    ):
        assert (searched.run / name).stat().st_size > 0, name
    assert not (searched.run / ".ray").exists()
    assert (searched.run / "study.toml").read_text() == searched.study.read_text()
    workers = {e.pid for e in read_events(searched.run) if isinstance(e, AttemptRunning)}
    assert len(workers) <= 4, "workers were not reused"

    log = (searched.run / LOG_NAME).read_bytes()
    again = search(searched.study, searched.run)
    assert again.returncode == 0
    assert again.stdout == searched.out
    assert (searched.run / LOG_NAME).read_bytes() == log, "a finished run was written to"


def test_ray_waits_for_no_port_that_another_ray_on_this_machine_has(searched: Searched) -> None:
    assert "Loaded" in searched.agent
    assert "bind" not in searched.agent


def test_every_configuration_is_in_the_log_before_a_worker_sees_it(searched: Searched) -> None:
    kinds = [json.loads(line)["kind"] for line in (searched.run / LOG_NAME).read_text().splitlines()]
    assert kinds[0] == "study_started"
    assert kinds[-1] == "study_ended"
    seen: set[Any] = set()
    for event in read_events(searched.run):
        key = (getattr(event, "trial", None), getattr(event, "repeat", None))
        if isinstance(event, TrialStarted):
            seen.add(key)
        elif key[0] is not None:
            assert key in seen, event


def test_a_run_with_a_free_interpreter_of_its_own_needs_no_terminal(searched: Searched) -> None:
    """Standard input closed, output to files."""
    assert "\x1b" not in searched.out + searched.err


def test_a_module_of_the_user_called_results_is_not_taken_for_ours(searched: Searched) -> None:
    assert "wrong module" not in searched.out + searched.err
    assert "failed" not in {t.status for t in load_run(searched.run).search_trials()}, "a worker met it"


def test_the_same_seed_gives_the_same_search_with_one_worker(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    """Also where there is no worker, but the driver's own process."""
    study = quick_study(extra="[resources]\nmax_concurrent = 1\n")
    assert search(study, tmp_path / "a").returncode == 0
    run_here(load_study(study), tmp_path / "b")
    assert values(tmp_path / "a") == values(tmp_path / "b")


def test_another_study_in_the_run_folder_is_refused_and_nothing_is_lost(
    quick_study: Callable[..., Path], run: Path
) -> None:
    finish_here(load_study(quick_study(trials=3)), run)
    log = (run / LOG_NAME).read_bytes()
    refused = search(quick_study(trials=3, max_epochs=5), run)
    assert refused.returncode == 2
    assert "holds another study: [study] max_epochs was 9, is now 5; set it back or choose" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert (run / LOG_NAME).read_bytes() == log


def test_trials_extends_a_finished_run(quick_study: Callable[..., Path], run: Path) -> None:
    study = quick_study(trials=3)
    finish_here(load_study(study), run)
    before = values(run)
    assert search(study, run, "--trials", "6").returncode == 0
    after = values(run)
    assert sum(repeat is None for _, repeat in after) == 6
    assert {key: after[key] for key in before} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.toml"], "nowhere.toml: cannot be read (No such file or directory); give a study file or one of:"),
        (["quickstart", "--address", "127.0.0.1:1"], "--address 127.0.0.1:1: no answer (Connection refused)"),
        (["quickstart", "--address", "ray://127.0.0.1:1"], "submit it there with `seti-tune submit STUDY"),
        (["quickstart", "--address", "here"], "--address here: HOST:PORT is expected"),
        (["quickstart", "--trials", "0"], "--trials 0: 1 to 1000000 are expected"),
    ],
)
def test_a_users_mistake_is_one_line_and_exit_code_2(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = subprocess.run([*SEARCH, *arguments], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == [], "something was left behind"


def test_the_data_set_reaches_the_workers_without_a_copy(quick_study: Callable[..., Path], run: Path) -> None:
    simulate_dataset(run.parent / "data", "course", {"train": 8, "validation": 8, "test": 8}, 1)
    study = quick_study(trials=2, extra=f'[data]\npath = "{run.parent / "data"}"\n')
    study.write_text(study.read_text().replace("quick_trainable:train", "quick_trainable:checks_its_data"))
    done = search(study, run)
    assert done.returncode == 0, done.stderr
    assert {t.status for t in load_run(run).search_trials()} == {"completed"}


def test_a_trainable_that_is_not_there_is_one_line(quick_study: Callable[..., Path], run: Path) -> None:
    study = quick_study()
    study.write_text(study.read_text().replace("quick_trainable:train", "quick_trainable:nothing"))
    done = search(study, run)
    assert done.returncode == 2
    assert (
        "trainable = 'quick_trainable:nothing': AttributeError: module 'quick_trainable' has no attribute"
        in done.stderr
    )


def test_a_trial_that_asks_for_more_than_there_is_is_refused(quick_study: Callable[..., Path], run: Path) -> None:
    done = search(quick_study(extra="[resources]\ncpus_per_trial = 4096\n"), run)
    assert done.returncode == 2
    assert "a trial asks for 4096 CPUs and 0 GPUs of one node, the largest has" in done.stderr


def test_a_dry_run_prints_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    command = [*SEARCH, "course", "--dry-run"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0
    assert "24 trials of at most 12 epochs" in done.stdout
    assert "ASHA decides after epochs 4; 1 in 3 goes on, the baseline (trial 0) always" in done.stdout
    assert "GB of memory" in done.stdout
    assert "GB on disk" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_a_plan_has_no_more_trials_at_a_time_than_there_are(quick_study: Callable[..., Path], run: Path) -> None:
    assert "1 trial of at most 9 epochs, 1 at a time, " in search(quick_study(trials=1), run, "--dry-run").stdout


def test_a_study_whose_every_trial_fails_shows_the_first_error_and_exits_with_2(
    quick_study: Callable[..., Path], run: Path
) -> None:
    done = search(quick_study(trials=3, raises_above=0.0), run)
    assert done.returncode == 2
    assert "No trial was completed; the first one failed: ValueError: cannot train x = 0.900" in done.stdout


def test_sys_exit_in_a_trainable_is_its_failure_with_its_words(quick_study: Callable[..., Path], run: Path) -> None:
    study = quick_study(trials=2)
    module = study.with_name("quick_trainable.py")
    module.write_text("import sys\ndef train(task, data, on_epoch):\n    sys.exit('no licence')\n")
    done = search(study, run)
    assert done.returncode == 2
    assert "the training function called sys.exit('no licence')" in done.stdout


@pytest.mark.parametrize("text", ["def train(:", "raise RuntimeError('no GPU')"])
def test_a_module_that_cannot_be_imported_is_one_line(quick_study: Callable[..., Path], run: Path, text: str) -> None:
    study = quick_study(trials=2)
    study.with_name("quick_trainable.py").write_text(text)
    done = search(study, run)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "[study] trainable = 'quick_trainable:train': " in done.stderr
