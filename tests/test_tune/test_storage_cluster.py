"""A cluster whose machines share nothing but a store: each sees a run folder of its own under the same path."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from machines import PORT, Machine, Machines, ray_machines, unavailable
from processes import SEARCH, write_quick_study
from stores import ENVIRONMENT
from test_cluster_nodes import ended, every_trial_once, recorded, running, search

from results.log.reading import read_events
from results.log.records import AttemptRunning, AttemptStarted, Epoch, TrialEnded
from results.log.state import load_run
from results.run_folder import LOG_NAME

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(unavailable() is not None, reason=f"machines cannot be emulated here: {unavailable()}"),
]
STORE_PORT = 5000
MAKE_BUCKET = "import boto3, sys; boto3.client('s3', endpoint_url=sys.argv[1]).create_bucket(Bucket='bucket')"


@pytest.fixture
def machines(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Machines]:
    """Three machines with Ray, each with a folder of its own at `runs`, and a fourth with the store."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "runs").mkdir()
    with Machines() as made:
        for number in range(4):
            machine = made.add()
            machine.run("mount", "-t", "tmpfs", "tmpfs", tmp_path / "runs")
            if number == 0:
                machine.start_ray("--head", f"--port={PORT}", "--include-dashboard=false", cpus=2)
            elif number < 3:
                machine.start_ray(f"--address={made.made[0].address}:{PORT}", cpus=2)
        server = serve(made.made[3], tmp_path / "store.txt")
        yield made
    server.wait(30)


def serve(machine: Machine, out: Path) -> subprocess.Popen[str]:
    server = machine.start(sys.executable, "-m", "moto.server", "-H", machine.address, "-p", str(STORE_PORT), out=out)
    until = time.monotonic() + 60
    while machine.run(
        sys.executable, "-c", MAKE_BUCKET, f"http://{machine.address}:{STORE_PORT}", check=False
    ).returncode:
        assert time.monotonic() < until, out.read_text()
    return server


def copied(machine: Machine, run: Path, to: Path) -> Path:
    """Return a copy of the log that a machine has of a run, in a folder that the test sees."""
    to.mkdir(exist_ok=True)
    (to / LOG_NAME).write_text(machine.run("cat", run / LOG_NAME).stdout)
    return to


def test_machines_without_a_shared_folder_die_and_another_one_goes_on(machines: Machines, tmp_path: Path) -> None:
    head, second, third, store = machines.made
    uri = f"s3://bucket/run?endpoint_override={store.address}:{STORE_PORT}&scheme=http"
    extra = f"[search]\nsampler = 'random'\n[storage]\nuri = '{uri}'\n"
    study = write_quick_study(tmp_path, trials=60, max_epochs=6, sleep=1.0, extra=extra)
    run, seen = tmp_path / "runs" / "run", tmp_path / "seen"
    words = [*SEARCH, study, "--run", run, "--plain", "--address", f"{head.address}:{PORT}", "--no-finals"]
    process = head.start(*words, out=tmp_path / "said.txt")

    def now() -> Path:
        return copied(head, run, seen) if not head.run("test", "-e", run / LOG_NAME, check=False).returncode else seen

    def is_in_the_middle() -> bool:
        """Whether all machines are at work, and the third one at a trial that has a checkpoint to go on from."""
        assert process.poll() is None, (tmp_path / "said.txt").read_text()
        at_work = running(now())
        trials = load_run(seen).trials if at_work else {}
        saved = {trial for (trial, _), e in at_work.items() if e.node == third.name and trials[trial, None].checkpoint}
        return bool(saved) and {e.node for e in at_work.values()} == {head.name, second.name, third.name}

    until = time.monotonic() + 300
    while not is_in_the_middle():
        assert time.monotonic() < until, (tmp_path / "said.txt").read_text()
        time.sleep(0.2)
    third.kill()
    while not [e for e in recorded(now()) if isinstance(e, AttemptStarted) and e.resume_from is not None]:
        assert time.monotonic() < until, f"nobody went on from its checkpoint:\n{(tmp_path / 'said.txt').read_text()}"
        time.sleep(0.5)
    while len([e for e in recorded(now()) if isinstance(e, TrialEnded)]) < 8:
        assert time.monotonic() < until
        time.sleep(0.5)
    before = load_run(now())
    head.kill()
    process.wait(60)
    assert second.run("ls", tmp_path / "runs").stdout.split() == [], "a worker wrote below the run folder"
    other = tmp_path / "runs" / "other"
    resume = [*SEARCH[:-1], "resume", uri, "--run", other, "--plain"]
    again = second.run(*resume, check=False, timeout=500)
    assert again.returncode == 0, again.stderr
    assert f"{head.name} may still run this study; going on if it is silent for 60 s" in again.stderr
    done = copied(second, other, tmp_path / "done")
    repeated = every_trial_once(done, 60)
    print(f"two machines killed: {sum(repeated.values())} epochs done again, {dict(repeated)}")
    ended_before = {t.started.trial for t in before.trials.values() if t.ended is not None}
    times = Counter(e.trial for e in read_events(done) if isinstance(e, TrialEnded))
    assert set(times.values()) == {1}
    assert len(ended_before) >= 8
    assert sum(repeated.values()) <= 6, "more than the epochs in hand were lost"
    assert len([e for e in read_events(done) if isinstance(e, Epoch)]) > 0


def test_a_machine_that_does_not_see_the_store_gets_no_trials(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "runs").mkdir()
    extra = f"[storage]\nuri = 'file://{tmp_path}/store'\n"
    study, run = write_quick_study(tmp_path, trials=6, max_epochs=2, extra=extra), tmp_path / "runs" / "run"
    with ray_machines(1, 1) as machines:
        odd = machines.add()
        odd.run("mount", "-t", "tmpfs", "tmpfs", tmp_path / "store")
        odd.start_ray(f"--address={machines.made[0].address}:{PORT}", cpus=1)
        said = ended(search(machines, study, run, "--no-finals"), run)
    reason = f"sees another store as file://{tmp_path}/store; let the same one be reached under this address"
    assert f"node machine3 gets no trials: {reason}" in said
    assert {e.node for e in read_events(run) if isinstance(e, AttemptRunning)} <= {"machine1", "machine2"}
