"""Workers and threads where a study says neither: real processes, real control groups, real logs."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench
from processes import search

from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import AttemptEnded, AttemptStarted, StudyStarted, ThreadsRecord
from results.log.state import RunState, fold, load_run
from results.run_folder import LOG_NAME
from results.study import Provenance
from seti_model.data.dataset import Dataset
from seti_model.data.simulator import simulate_dataset
from tune.cores import cores
from tune.errors import StudyError
from tune.process.handed import hand_over, take
from tune.resume import SeenData, check_continuation, opening_events
from tune.study import Study, load_study
from tune.threads import as_recorded, choose_threads, in_words, with_threads

ASK = "from tune.cores import cores; print(cores())"


def cores_of(code: str) -> int:
    done = subprocess.run([sys.executable, "-c", f"{code}\n{ASK}"], capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.fixture
def half_a_core() -> Iterator[Path]:
    """A real control group with half of a core's time."""
    name = f"seti-tune-test-{os.getpid()}"
    version_1 = Path("/sys/fs/cgroup/cpu")
    group = (version_1 if version_1.is_dir() else Path("/sys/fs/cgroup")) / name
    try:
        group.mkdir()
        if version_1.is_dir():
            (group / "cpu.cfs_quota_us").write_text("50000")
        else:
            (group / "cpu.max").write_text("50000 100000")
        (group / "cgroup.procs").stat()
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip("a control group with a quota of processor time cannot be made here")
    yield group
    group.rmdir()


def test_cores_are_those_of_the_affinity_and_of_the_quota(half_a_core: Path) -> None:
    assert cores_of("") == cores() >= 1
    assert cores_of("import os; os.sched_setaffinity(0, [min(os.sched_getaffinity(0))])") == 1
    assert cores_of(f"open('{half_a_core}/cgroup.procs', 'w').write('0')") == 1


@pytest.mark.parametrize(
    ("resources", "says"),
    [("", False), ("memory_mb = 900", False), ("cpus_per_trial = 1", True), ("max_concurrent = 3", True)],
)
def test_a_study_tells_whether_it_says_how_many(
    quick_study: Callable[..., Path], tmp_path: Path, resources: str, says: bool
) -> None:
    study = load_study(quick_study(extra=f"[resources]\n{resources}\n"))
    assert study.says_threads is says
    hand_over(study, tmp_path / "study.json")
    assert take(tmp_path / "study.json").says_threads is says


def begun_with(study: Study, run: Path, threads: int) -> RunState:
    run.mkdir()
    (run / LOG_NAME).touch()
    chosen = ThreadsRecord(cores=8, workers=1, threads=threads)
    events = opening_events(
        with_threads(study, threads), fold(run), run, data=SeenData(), provenance=Provenance(), threads=chosen
    )
    with EventLog(run) as log:
        log.append(*events)
    return load_run(run)


def test_a_run_goes_on_with_the_threads_it_began_with_whatever_the_machine(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    silent = load_study(quick_study(trials=4))
    state = begun_with(silent, tmp_path / "run", 3)
    assert state.started is not None
    assert state.started.threads == ThreadsRecord(cores=8, workers=1, threads=3)
    study = as_recorded(silent, state)
    assert study.resources.cpus_per_trial == 3
    check_continuation(study, state, tmp_path / "run")
    outspoken = load_study(quick_study(trials=4, extra="[resources]\ncpus_per_trial = 1\n"))
    with pytest.raises(StudyError, match=r"\[resources\] cpus_per_trial was 3, is now 1; set it back or choose"):
        check_continuation(as_recorded(outspoken, state), state, tmp_path / "run")


def test_a_log_of_before_says_nothing_of_how_they_were_chosen_and_goes_on(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study = load_study(quick_study(trials=2))
    Bench(study, tmp_path / "run").run()
    state = load_run(tmp_path / "run")
    assert state.started is not None
    assert state.started.threads is None
    assert as_recorded(study, state).resources.cpus_per_trial == 1


def test_with_trials_for_all_cores_each_has_one_thread_and_nothing_is_measured(
    quick_study: Callable[..., Path],
) -> None:
    for trials in (1, cores(), 500):
        chosen = choose_threads(load_study(quick_study(trials=trials)), None, check=lambda: None)
        assert chosen == ThreadsRecord(cores=cores(), workers=min(cores(), trials), threads=1)
        assert chosen.workers * chosen.threads <= chosen.cores
    assert in_words(ThreadsRecord(cores=2, workers=2, threads=1)) == "2 at a time on 2 cores, 1 thread each"
    measured = ThreadsRecord(cores=2, workers=1, threads=2, images_per_s={"1": 84.3, "2": 127.44})
    assert in_words(measured) == (
        "1 at a time on 2 cores, 2 threads each: the baseline alone trains 84.3 with 1, 127.4 with 2 (images/s)"
    )


def test_where_little_is_trained_nothing_is_measured(tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "data", "wide", {"train": 64, "validation": 20, "test": 8}, 1)
    study = tmp_path / "short.toml"
    study.write_text('[study]\nspace = "quickstart"\ntrials = 1\nmax_epochs = 78\n[data]\npath = "data"\n')
    data = Dataset.open(tmp_path / "data").training_data()
    assert choose_threads(load_study(study), data, check=lambda: None).images_per_s == {}


@pytest.mark.slow
def test_a_search_under_taskset_runs_one_trial_at_a_time_and_says_so(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study, run = quick_study(trials=4, sleep=0.05, short_finals=True), tmp_path / "run"
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(before)])  # as taskset does; what is started inherits it
    try:
        done = search(study, run)
    finally:
        os.sched_setaffinity(0, before)
    assert done.returncode == 0, done.stderr
    assert "1 at a time on 1 core, 1 thread each" in done.stderr
    events = list(read_events(run))
    assert isinstance(events[0], StudyStarted)
    assert events[0].threads == ThreadsRecord(cores=1, workers=1, threads=1)
    alive = 0
    for event in events:
        alive += isinstance(event, AttemptStarted) - isinstance(event, AttemptEnded)
        assert alive <= 1


@pytest.mark.slow
def test_one_trial_alone_gets_the_threads_that_were_measured_and_is_repeated_with_them(tmp_path: Path) -> None:
    simulate_dataset(tmp_path / "data", "wide", {"train": 64, "validation": 20, "test": 8}, 1)
    study = tmp_path / "alone.toml"
    study.write_text(
        '[study]\nspace = "quickstart"\ntrials = 1\nmax_epochs = 80\n[data]\npath = "data"\n'
        '[finals]\nenabled = false\n[baseline]\n"network.family" = "small"\n'
    )
    run = tmp_path / "run"
    done = search(study, run, timeout=300)
    assert done.returncode == 0, done.stderr
    state = load_run(run)
    assert state.started is not None
    chosen = state.started.threads
    assert chosen is not None
    assert chosen.workers * chosen.threads <= chosen.cores
    assert state.study.resources.cpus_per_trial == chosen.threads
    if cores() > 1:
        assert set(chosen.images_per_s) >= {"1", "2"}
        assert min(chosen.images_per_s.values()) > 0
        assert f"the baseline alone trains {chosen.images_per_s['1']:.1f} with 1, " in done.stderr
    words = ["retrain", str(run), "--trial", "0", "--out", str(tmp_path / "again")]
    command = [sys.executable, "-m", "tune.cli.main", *words]
    again = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "identical" in again.stdout, again.stderr
    more = search(study, run, "--trials", "2", timeout=300)
    assert more.returncode == 0, more.stderr
    assert "the baseline alone trains" not in more.stderr
    assert load_run(run).study.resources.cpus_per_trial == chosen.threads
