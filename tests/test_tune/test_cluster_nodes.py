"""A search on a cluster of several machines, and machines that come, go and break: real Ray, real power cuts.

Each machine is a set of namespaces (machines.py), and the trainable sleeps, so that ten workers fit on two cores.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import optuna as optuna_package
import pytest
from machines import PORT, Machine, Machines, ray_machines, unavailable
from processes import SEARCH, write_quick_study

import tune
from results.log.reading import read_events
from results.log.records import (
    AttemptEnded,
    AttemptRunning,
    AttemptStarted,
    AttemptWaiting,
    Cause,
    Epoch,
    Event,
    NodeChecked,
    StudyEnded,
)
from results.log.state import load_run
from results.run_folder import LOG_NAME
from results.tables.nodes import node_uses
from results.tables.status import run_status, status_text

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(unavailable() is not None, reason=f"machines cannot be emulated here: {unavailable()}"),
]
CPUS = (2, 4, 4)
EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "cluster"
RANDOM = "[search]\nsampler = 'random'\n"


@pytest.fixture
def cluster() -> Iterator[Machines]:
    with ray_machines(*CPUS) as machines:
        yield machines


def search(machines: Machines, study: Path, run: Path, *more: str, on: int = 0) -> subprocess.Popen[str]:
    """Start a search, on the head or another machine."""
    head, driver = machines.made[0], machines.made[on]
    words = [*SEARCH, str(study), "--run", str(run), "--plain"]
    return driver.start(*words, "--address", f"{head.address}:{PORT}", *more, out=run.with_suffix(".txt"))


def ended(process: subprocess.Popen[str], run: Path, timeout: float = 400) -> str:
    """Wait for the end of a search; return what it said."""
    code = process.wait(timeout)
    said = run.with_suffix(".txt").read_text()
    assert code == 0, said
    return said


def recorded(run: Path) -> list[Event]:
    """Return the events so far; none before there is a log."""
    return list(read_events(run)) if (run / LOG_NAME).exists() else []


def running(run: Path) -> dict[tuple[int, int], AttemptRunning]:
    """Return the attempts that are in a worker's hands now, by trial and attempt."""
    found = {}
    for event in recorded(run):
        if isinstance(event, AttemptRunning):
            found[event.trial, event.attempt] = event
        elif isinstance(event, AttemptEnded):
            found.pop((event.trial, event.attempt), None)
    return found


def wait_until(what: Callable[[], bool], process: subprocess.Popen[str], run: Path, timeout: float = 120) -> None:
    until = time.monotonic() + timeout
    while not what():
        assert process.poll() is None, run.with_suffix(".txt").read_text()
        assert time.monotonic() < until
        time.sleep(0.2)


def seconds(event: Event) -> float:
    return datetime.fromisoformat(event.time).timestamp()


def live_each_second(run: Path, *, after_s: float) -> list[int]:
    """Return how many attempts were in workers' hands, second by second, until the last one was handed out."""
    changes = []
    events = list(read_events(run))
    for event in events:
        if isinstance(event, AttemptRunning):
            changes.append((seconds(event), 1))
        elif isinstance(event, AttemptEnded):
            changes.append((seconds(event), -1))
    changes.sort()
    first, last = seconds(events[0]) + after_s, max(when for when, change in changes if change > 0)
    moments = itertools.takewhile(lambda moment: moment < last, itertools.count(first, 1.0))
    return [sum(change for when, change in changes if when <= moment) for moment in moments]


def every_trial_once(run: Path, trials: int) -> Counter[str]:
    """Assert that every trial has one end and each of its epochs; return how many epochs were repeated, by trial."""
    state = load_run(run)
    search = state.search_trials()
    assert [t.started.trial for t in search] == list(range(trials))
    assert all(t.ended is not None for t in search)
    for trial in search:
        assert sorted(trial.epochs) == list(range(1, len(trial.epochs) + 1))
    return Counter(str(e.trial) for e in read_events(run) if isinstance(e, Epoch) and e.repeat is None) - Counter(
        {str(t.started.trial): len(t.epochs) for t in search}
    )


def assert_one_epoch_a_worker(run: Path, trials: int, what: str) -> None:
    """Assert that the third machine took its attempts with it, and that each cost one epoch at most."""
    repeated = every_trial_once(run, trials)
    died = [e for e in read_events(run) if isinstance(e, AttemptEnded) and "died" in e.why]
    print(f"{what}: {len(died)} attempts died, {sum(repeated.values())} epochs done again")
    assert 1 <= len(died) <= CPUS[2]
    assert sum(repeated.values()) <= len(died)


@pytest.mark.parametrize(("trials", "sleep"), [(300, 1.0), (60, 6.0)])
def test_all_workers_of_all_machines_are_used(cluster: Machines, tmp_path: Path, trials: int, sleep: float) -> None:
    study = write_quick_study(tmp_path, trials=trials, max_epochs=1, sleep=sleep, extra=RANDOM)
    run = tmp_path / "run"
    ended(search(cluster, study, run, "--no-finals"), run)
    assert not every_trial_once(run, trials)
    live = live_each_second(run, after_s=30)
    workers = {(e.node, e.pid) for e in read_events(run) if isinstance(e, AttemptRunning)}
    print(f"{trials} trials: live {live}, {len(workers)} workers")
    assert len({node for node, _ in workers}) == len(CPUS)
    assert len(live) >= 5
    assert statistics.median(live) >= 0.9 * sum(CPUS)


def test_a_machine_that_is_killed_costs_the_epoch_in_hand(cluster: Machines, tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=150, max_epochs=6, sleep=0.5, extra=RANDOM)
    run = tmp_path / "run"
    process = search(cluster, study, run, "--no-finals")
    victim = cluster.made[2]
    wait_until(lambda: sum(e.node == victim.name for e in running(run).values()) == CPUS[2], process, run)
    victim.kill()
    said = ended(process, run)
    assert_one_epoch_a_worker(run, 150, "killed")
    assert "2 nodes have trials, 6 at a time" in said


def test_a_machine_cut_off_for_75_s_loses_nothing_that_is_recorded(cluster: Machines, tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=120, max_epochs=6, sleep=1.5, extra=RANDOM)
    run = tmp_path / "run"
    process = search(cluster, study, run, "--no-finals")
    victim = cluster.made[2]
    wait_until(lambda: sum(e.node == victim.name for e in running(run).values()) == CPUS[2], process, run)
    victim.cut()
    time.sleep(75)
    victim.cut(is_cut=False)
    ended(process, run)
    assert_one_epoch_a_worker(run, 120, "cut off")


def test_a_run_whose_head_is_killed_is_resumed(cluster: Machines, tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=40, max_epochs=6, sleep=0.5, extra=RANDOM)
    run = tmp_path / "run"
    process = search(cluster, study, run, "--no-finals", on=1)
    wait_until(lambda: len(running(run)) >= 6, process, run)
    cluster.made[0].kill()
    assert process.wait(180) == 3
    said = run.with_suffix(".txt").read_text()
    assert f"seti-tune resume {run}" in said.splitlines()[-1]
    resume = [*SEARCH[:-1], "resume", run, "--plain"]
    again = cluster.made[1].run(*resume, check=False, timeout=300)
    assert again.returncode == 0, again.stderr
    print(f"head killed: {sum(every_trial_once(run, 40).values())} epochs done again")


def test_what_waits_for_a_machine_that_is_gone_goes_to_the_next_one(tmp_path: Path) -> None:
    study, run = write_quick_study(tmp_path, trials=6, max_epochs=2), tmp_path / "run"
    with ray_machines(0, 2) as machines:
        process = search(machines, study, run, "--no-finals")
        wait_until(lambda: any(isinstance(event, AttemptStarted) for event in recorded(run)), process, run)
        machines.made[1].kill()
        assert not running(run), "nothing had begun"
        machines.add().start_ray(f"--address={machines.made[0].address}:{PORT}", cpus=2)
        ended(process, run)
    assert not every_trial_once(run, 6)
    assert {e.node for e in read_events(run) if isinstance(e, AttemptRunning)} == {"machine3"}


def test_a_machine_that_joins_late_is_used(cluster: Machines, tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=120, max_epochs=2, sleep=1.0, extra=RANDOM)
    run = tmp_path / "run"
    process = search(cluster, study, run, "--no-finals")
    wait_until(lambda: len(running(run)) >= 0.8 * sum(CPUS), process, run)
    late: Machine = cluster.add()
    late.start_ray(f"--address={cluster.made[0].address}:{PORT}", cpus=4)
    wait_until(lambda: sum(e.node == late.name for e in running(run).values()) == 4, process, run)
    said = ended(process, run)
    assert not every_trial_once(run, 120)
    assert "4 nodes have trials, 14 at a time" in said


BROKEN = {
    "other code": (
        "mount --bind {folder}/other.py {package}/loop/asha.py",
        r"has other code of seti-tune \([0-9a-f]{12} there, [0-9a-f]{12} here\); install the same",
    ),
    "no look": (
        "mount --bind /dev/null {package}/ray_adapter/nodes.py",
        r"cannot run a task of seti-tune \(ModuleNotFoundError: No module named .*\); install it there as here",
    ),
    "other libraries": (
        "mount --bind {folder}/METADATA {optuna}",
        r"has other libraries \(optuna 4\.9\.0 there, 5\.\d\.\d here\); install the same lock file there",
    ),
    "no module": (
        "mkdir -p {folder}/empty && mount --bind {folder}/empty {folder}/study",
        r"No module named 'quick_trainable'; correct it, put the module beside the study file",
    ),
    "storage of its own": (
        "mount -t tmpfs tmpfs {folder}/runs",
        r"does not see what the driver wrote into .*; the run folder must be storage that all nodes see",
    ),
    "read-only storage": (
        "mount --bind {folder}/runs {folder}/runs && mount -o remount,ro,bind {folder}/runs",
        r"cannot write into .* \(Read-only file system\)",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_machine_that_does_not_fit_gets_no_trials_and_is_named(tmp_path: Path, what: str) -> None:
    breaking, reason = BROKEN[what]
    (tmp_path / "study").mkdir()
    (tmp_path / "runs").mkdir()
    package = Path(tune.__file__).parent
    (tmp_path / "other.py").write_text((package / "loop" / "asha.py").read_text() + "\n# changed\n")
    optuna = next(Path(optuna_package.__file__).parents[1].glob("optuna-*.dist-info/METADATA"))
    older = re.sub(r"^Version: .*$", "Version: 4.9.0", optuna.read_text(), count=1, flags=re.MULTILINE)
    (tmp_path / "METADATA").write_text(older)
    study, run = write_quick_study(tmp_path / "study", trials=12, max_epochs=2, sleep=0.2), tmp_path / "runs" / "run"
    with Machines() as machines:
        for number in range(3):
            machine = machines.add()
            if number == 2:
                machine.run("sh", "-c", breaking.format(folder=tmp_path, package=package, optuna=optuna))
            where = f"--address={machines.made[0].address}:{PORT}"
            first = ("--head", f"--port={PORT}", "--include-dashboard=false")
            machine.start_ray(*(first if number == 0 else (where,)), cpus=2)
        said = ended(search(machines, study, run, "--no-finals"), run)
    assert re.search(rf"node machine3 gets no trials: .*{reason}", said), said
    assert not every_trial_once(run, 12)
    assert {e.node for e in read_events(run) if isinstance(e, AttemptRunning)} == {"machine1", "machine2"}
    assert [n.node for n in load_run(run).nodes.values() if not n.admitted] == ["machine3"]
    assert re.search(rf"no trials on +machine3: .*{reason}", status_text(run_status(run)))


def test_a_cluster_of_which_no_machine_fits_is_refused(tmp_path: Path) -> None:
    study, run = write_quick_study(tmp_path, trials=2), tmp_path / "run"
    with ray_machines(0, 2) as machines:
        machines.made[1].run("sh", "-c", f"mkdir -p {run} && mount -t tmpfs tmpfs {run}")
        process = search(machines, study, run, "--no-finals")
        assert process.wait(120) == 2
    last = run.with_suffix(".txt").read_text().splitlines()[-1]
    assert re.fullmatch(r"seti-tune: node machine2: does not see .*; no node of the cluster can have trials", last)


def test_the_token_of_a_machine_is_used_where_the_cluster_wants_one(tmp_path: Path) -> None:
    homes = {name: tmp_path / name for name in ("owner", "stranger", "nobody")}
    for name, home in homes.items():
        (home / ".ray").mkdir(parents=True)
        if name != "nobody":
            (home / ".ray" / "auth_token").write_text(name[0] * 64)
    study = write_quick_study(tmp_path, trials=2, max_epochs=1)
    ray = Path(sys.executable).with_name("ray")
    start = (ray, "start", "--head", f"--port={PORT}", "--include-dashboard=false", "--num-cpus=2")
    token, off = {"RAY_AUTH_MODE": "token"}, {"RAY_AUTH_MODE": "disabled"}
    wants, has_none = (
        "wants a token, and the right one is not to be found on this machine",
        "was started without a token",
    )
    expected: dict[str, list[tuple[str, dict[str, str], str]]] = {
        "owner": [
            ("owner", {}, ""),
            ("owner", token, ""),
            ("nobody", {}, wants),
            ("nobody", token, wants),
            ("stranger", {}, wants),
            ("owner", off, r"wants a token, and RAY_AUTH_MODE=disabled is set on this machine"),
        ],
        "nobody": [("owner", {}, ""), ("nobody", {}, ""), ("owner", token, has_none)],
    }
    for head_of, drivers in expected.items():
        with Machines() as machines:
            head = machines.add()
            started = head.as_user(homes[head_of], *start, f"--node-ip-address={head.address}")
            assert started.returncode == 0, started.stderr
            for number, (driver_of, variables, message) in enumerate(drivers):
                run = tmp_path / f"run {head_of} {number}"
                words = [*SEARCH, study, "--run", run, "--address", f"{head.address}:{PORT}", "--no-finals", "--plain"]
                done = head.as_user(homes[driver_of], *words, **variables)
                assert done.returncode == (2 if message else 0), (driver_of, variables, done.stderr)
                if message:
                    [line] = done.stderr.splitlines()[-1:]
                    assert line.startswith(f"seti-tune: --address {head.address}:{PORT}: ")
                    assert message in line
                    assert "InvalidAuthToken" not in done.stderr


def test_the_token_that_a_local_search_leaves_is_its_owners_alone(tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=2, max_epochs=1, short_finals=True)
    with Machines() as machines:
        machine = machines.add()
        done = machine.as_user(tmp_path, *SEARCH, study, "--run", tmp_path / "run", "--no-finals", "--plain")
    assert done.returncode == 0, done.stderr
    token = tmp_path / ".ray" / "auth_token"
    assert token.stat().st_mode & 0o777 == 0o600


def test_a_driver_cut_off_from_its_cluster_ends_and_its_run_is_resumed(cluster: Machines, tmp_path: Path) -> None:
    study = write_quick_study(tmp_path, trials=60, max_epochs=6, sleep=1.0, extra=RANDOM)
    run = tmp_path / "run"
    cut, others = cluster.made[1], (cluster.made[0], cluster.made[2])
    process = search(cluster, study, run, "--no-finals", on=1)
    wait_until(lambda: len(running(run)) >= 0.8 * sum(CPUS), process, run)
    cut.cut()
    since = time.monotonic()
    assert process.wait(150) == 3
    took = time.monotonic() - since
    said = run.with_suffix(".txt").read_text()
    head = f"{cluster.made[0].address}:{PORT}"
    assert f"the head of the cluster ({head}) has not answered for 60 s; all that was recorded is kept" in said
    assert f"seti-tune resume {run}" in said.splitlines()[-1]

    def workers(machine: Machine) -> list[str]:
        """Return Ray's workers that run an attempt there."""
        listed = machine.run("ps", "-eo", "args").stdout.splitlines()
        return [line for line in listed if line.startswith("ray::") and "IDLE" not in line and "Agent" not in line]

    until = time.monotonic() + 60
    while any(workers(machine) for machine in (*others, cut)) and time.monotonic() < until:
        time.sleep(1)
    assert [workers(machine) for machine in (*others, cut)] == [[], [], []]
    cut.cut(is_cut=False)
    resume = [*SEARCH[:-1], "resume", run, "--plain", "--address", head]
    again = others[0].run(*resume, check=False, timeout=400)
    assert again.returncode == 0, again.stderr
    print(f"driver cut off: ended after {took:.0f} s, {sum(every_trial_once(run, 60).values())} epochs done again")


def test_a_machine_whose_storage_fails_during_a_search_is_benched_and_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    study = write_quick_study(tmp_path, trials=60, max_epochs=4, sleep=0.4, extra=RANDOM)
    run = tmp_path / "runs" / "run"
    with ray_machines(2, 2, 4) as machines:
        victim = machines.made[2]
        victim.run("mount", "--bind", tmp_path / "runs", tmp_path / "runs")
        process = search(machines, study, run, "--no-finals")
        wait_until(lambda: sum(e.node == victim.name for e in running(run).values()) == 4, process, run)
        victim.run("mount", "-o", "remount,ro,bind", tmp_path / "runs")
        said = ended(process, run)
    repeated = every_trial_once(run, 60)
    faults = [e for e in read_events(run) if isinstance(e, AttemptEnded) and e.cause == Cause.NODE]
    print(f"storage of a machine failed: {len(faults)} attempts, {sum(repeated.values())} epochs done again")
    assert {e.why.partition(":")[0] for e in faults} == {victim.name}
    assert 3 <= len(faults) <= 6, "three trials, and what its other workers had begun"
    assert all(t.status in ("completed", "stopped") for t in load_run(run).search_trials())
    benching = r"node machine3 gets no trials: 3 different trials in a row failed there, the last one: .*Read-only"
    assert re.search(benching, said)
    assert "2 nodes have trials, 4 at a time" in said
    benched = [e for e in read_events(run) if isinstance(e, NodeChecked) and not e.admitted]
    assert [e.node for e in benched] == [victim.name]
    after = [e for e in read_events(run) if isinstance(e, AttemptStarted) and e.time > benched[0].time]
    names = {(e.trial, e.attempt): e.node for e in read_events(run) if isinstance(e, AttemptRunning)}
    assert victim.name not in {names[e.trial, e.attempt] for e in after}


NETWORK_STUDY = """
[study]
space = "baseline"
trials = 6
max_epochs = 2
[data]
simulate = "course"
train = 128
validation = 64
test = 64
seed = 1
[asha]
grace_epochs = 1
[fixed]
"network.dense_units" = 32
[finals]
finalists = 1
seeds = 2
"""


def test_real_networks_are_trained_on_three_machines_and_repeated_to_the_bit(tmp_path: Path) -> None:
    study, run = tmp_path / "study.toml", tmp_path / "run"
    study.write_text(NETWORK_STUDY)
    with ray_machines(1, 1, 1) as machines:
        ended(search(machines, study, run), run, timeout=800)
        state = load_run(run)
        winner = state.decisions[-1].winner
        elsewhere = machines.made[1]
        words = [*SEARCH[:-1], "retrain", run, "--trial", str(winner), "--out", tmp_path / "again"]
        again = elsewhere.run(*words, check=False, timeout=300)
    assert not every_trial_once(run, 6)
    assert len(state.final_trials()) == 4
    assert all(trial.status == "completed" for trial in state.final_trials())
    assert {e.node for e in read_events(run) if isinstance(e, AttemptRunning)} == {"machine1", "machine2", "machine3"}
    assert [use.images_per_s is not None for use in node_uses(state)] == [True] * 3
    assert again.returncode == 0, again.stderr
    assert "identical" in again.stdout


GROWING = {
    "cluster_name": "growing",
    "max_workers": 1,
    "provider": {"type": "fake_multinode"},
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "worker": {"resources": {"CPU": 4}, "node_config": {}, "min_workers": 0, "max_workers": 1},
    },
    "head_node_type": "ray.head.default",
    "idle_timeout_minutes": 0.1,
    "upscaling_speed": 10,
    **{key: {} for key in ("auth", "docker", "file_mounts")},
    **{key: [] for key in ("cluster_synced_files", "rsync_exclude", "rsync_filter", "initialization_commands")},
    **{f"{of}setup_commands": [] for of in ("", "head_", "worker_")},
    **{f"{of}start_ray_commands": [] for of in ("head_", "worker_")},
    "file_mounts_sync_continuously": False,
}


ASKED = (
    "import ray\nray.init(address='auto')\nfrom ray.experimental.internal_kv import _internal_kv_get as get\n"
    "print('asked for', get('autoscaler_resource_request').decode())"
)


def test_a_cluster_that_starts_at_zero_grows_for_a_search_which_gives_back_what_it_asked_for(tmp_path: Path) -> None:
    """Ray's own autoscaler, whose further machine is a process on the first one; at last the driver is killed."""
    options = "[resources]\nautoscaled = true\nmax_concurrent = 4\n"
    study = write_quick_study(tmp_path, trials=24, max_epochs=3, sleep=0.5, extra=RANDOM + options)
    run, killed = tmp_path / "run", tmp_path / "killed"
    (tmp_path / "growing.json").write_text(json.dumps(GROWING))

    def asked_for() -> bool:
        """Return whether Ray keeps a request; its own status is written by an autoscaler that may stand still here."""
        return "asked for []" not in head.run(sys.executable, "-c", ASKED).stdout

    def withdrawn() -> bool:
        until = time.monotonic() + 60
        while asked_for() and time.monotonic() < until:
            time.sleep(1)
        return not asked_for()

    with Machines() as machines:
        head = machines.add()
        ray = Path(sys.executable).with_name("ray")
        variables = "AUTOSCALER_UPDATE_INTERVAL_S=1", "RAY_FAKE_CLUSTER=1"
        # Its further nodes are processes with the address that a machine has by itself.
        start = ("--head", f"--port={PORT}", "--num-cpus=0", "--node-ip-address=127.0.0.1")
        head.run("env", *variables, ray, "start", *start, f"--autoscaling-config={tmp_path / 'growing.json'}")
        machines.made[0] = dataclasses.replace(head, address="127.0.0.1")
        said = ended(search(machines, study, run, "--no-finals"), run)
        assert "no node has room for a trial (of 1); waiting for the cluster to grow" in said
        assert re.search(r"node \S+ gets trials: 4 CPUs", said)
        assert not every_trial_once(run, 24)
        assert withdrawn()
        process = search(machines, study, killed, "--no-finals")
        wait_until(lambda: bool(running(killed)), process, killed)
        assert asked_for()
        head.run("pkill", "-9", "-f", "tune.process.child")
        assert process.wait(120) == 3
        assert "the driver was killed by SIGKILL" in killed.with_suffix(".txt").read_text()
        assert withdrawn(), "what a killed driver asked for was not given back"


def test_a_trial_that_waits_for_others_to_leave_the_cluster_says_so(tmp_path: Path) -> None:
    study, run = write_quick_study(tmp_path, trials=2, max_epochs=1), tmp_path / "run"
    holding = tmp_path / "holding.py"
    holding.write_text(
        "import ray, time\nray.init(address='auto')\n@ray.remote(num_cpus=1)\ndef hold(): time.sleep(345)\n"
        "ray.get([hold.remote() for _ in range(2)])\n"
    )
    with ray_machines(2) as machines:
        other = machines.made[0].start(sys.executable, holding, out=tmp_path / "holding.txt")
        time.sleep(15)
        process = search(machines, study, run, "--no-finals")
        wait_until(lambda: any(isinstance(e, AttemptWaiting) for e in recorded(run)), process, run, timeout=400)
        text = status_text(run_status(run))
        ended(process, run)
        assert other.wait(100) == 0
    why = "all 2 CPUs of the cluster are taken, by other work too; see `ray status`"
    assert re.search(rf"trial 0, epoch 0/1, attempt 0 is starting for 5 min.*: {re.escape(why)}", text), text
    assert not every_trial_once(run, 2)


def test_the_example_for_machines_of_ones_own_starts_a_cluster_that_searches(tmp_path: Path) -> None:
    study, run, home = write_quick_study(tmp_path, trials=4, max_epochs=2), tmp_path / "run", tmp_path / "home"
    home.mkdir()
    script = str(EXAMPLES / "hosts.sh")
    with Machines() as machines:
        head, worker = machines.add(), machines.add()
        early = worker.as_user(home, script, "join", head.address)
        assert early.returncode == 2
        assert "auth_token is missing: copy it from the first machine" in early.stderr
        for machine, role in ((head, ["head"]), (worker, ["join", head.address])):
            done = machine.as_user(home, script, *role, "--num-cpus=2", NODE_IP=machine.address)
            assert done.returncode == 0, done.stderr
        assert (home / ".ray" / "auth_token").stat().st_mode & 0o777 == 0o600
        done = head.as_user(home, *SEARCH, study, "--run", run, "--address", f"{head.address}:{PORT}", "--no-finals")
        assert done.returncode == 0, done.stderr
        assert head.as_user(home, script, "leave").returncode == 0
    assert not every_trial_once(run, 4)
    assert {node.node for node in load_run(run).nodes.values() if node.admitted} == {"machine1", "machine2"}


# What the script of the queue needs of Slurm: names of machines, a step on each of them, a place in the queue.
SLURM = {
    "scontrol": """
if [ "$1" = show ]; then echo "$SLURM_JOB_NODELIST" | tr , "\\n"; else echo "$@" >"$BOX/requeued"; fi
""",
    "srun": """
env | grep ^RAY_ >"$BOX/environment"
printf "%s\\0" "$@" >"$BOX/part"
mv "$BOX/part" "$BOX/step"
until [ -e "$BOX/code" ]; do sleep 0.2; done
exit "$(cat "$BOX/code")"
""",
}


def run_in_the_queue(
    machines: Machines, box: Path, study: Path, run: Path, *, limit: Callable[[], bool] | None = None
) -> int:
    """Run the example's script as Slurm does, with SIGTERM to it once `limit` says so; return its exit code."""
    box.mkdir()
    for name, text in SLURM.items():
        (box / name).write_text(f"#!/bin/bash\n{text}")
        (box / name).chmod(0o755)
    first, *_ = machines.made
    nodes = ",".join(machine.address for machine in machines.made)
    given = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": str(len(machines.made)), "SLURM_CPUS_PER_TASK": "2"}
    given |= {"SLURM_JOB_NODELIST": nodes, "BOX": str(box), "TMPDIR": str(box)}
    given |= {"PATH": f"{box}:{first.environment['PATH']}"}
    assigned = [f"{name}={value}" for name, value in given.items()]
    script = first.start("env", *assigned, EXAMPLES / "slurm.sh", study, run, out=box / "script.txt")
    try:
        until = time.monotonic() + 60
        while not (box / "step").exists():
            assert time.monotonic() < until, (box / "script.txt").read_text()
            time.sleep(0.2)
        words = (box / "step").read_text().rstrip("\0").split("\0")
        assigned += (box / "environment").read_text().splitlines()
        steps = [machine.start("env", *assigned, *words, out=box / f"{machine.name}.txt") for machine in machines.made]
        if limit is not None:
            wait_until(limit, steps[0], box / "machine1", timeout=240)
            inside = first.run("pgrep", "-o", "-f", "bash .*slurm.sh").stdout.split()
            first.run("kill", "-TERM", *inside)
        codes = [step.wait(300) for step in steps]
        assert codes[1:] == [0] * len(codes[1:]), (box / "machine2.txt").read_text()
        (box / "code").write_text(str(codes[0]))
        return script.wait(60)
    finally:
        (box / "code").touch()


def test_the_example_for_a_queue_ends_in_order_and_its_next_job_goes_on(tmp_path: Path) -> None:
    slow = tmp_path / "slow"
    slow.touch()
    sleepy = {"sleep": 1, "slow_while": f'"{slow}"'}
    study = write_quick_study(tmp_path, trials=30, max_epochs=4, extra=RANDOM, short_finals=True, **sleepy)
    run = tmp_path / "run"
    with Machines() as machines:
        machines.add(), machines.add()
        code = run_in_the_queue(machines, tmp_path / "1", study, run, limit=lambda: len(running(run)) >= 3)
        said = "\n".join(file.read_text() for file in (tmp_path / "1").glob("*.txt"))
        assert code == 3, said
        assert (tmp_path / "1" / "requeued").read_text() == "requeue 7\n"
        last = recorded(run)[-1]
        assert isinstance(last, StudyEnded)
        assert last.reason == "interrupted by SIGTERM"
        slow.unlink()
    with Machines() as machines:
        machines.add(), machines.add()
        code = run_in_the_queue(machines, tmp_path / "2", study, run)
        assert code == 0, (tmp_path / "2" / "machine1.txt").read_text()
        assert not (tmp_path / "2" / "requeued").exists()
    repeated = every_trial_once(run, 30)
    print(f"queue: {sum(repeated.values())} epochs done again")
    assert sum(repeated.values()) <= 4
