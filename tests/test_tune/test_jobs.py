"""A search as a job of a cluster, from a laptop: what is refused at once, and the whole way on real machines."""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from bench import run_here
from machines import PORT, Machine, Machines, unavailable
from processes import SPACE, values, write_quick_study

from results.log.reading import read_events
from results.log.records import AttemptRunning, Epoch, StudyEnded
from results.log.state import load_run
from tune.cli.main import main
from tune.study import load_study

COMMAND = [sys.executable, "-m", "tune.cli.main"]
VERSION = '{"version": "4", "ray_version": "2.60.0"}'
URL = "http://127.0.0.1:1"  # nobody listens there
Pages = Mapping[str, tuple[int, str]]


@contextlib.contextmanager
def server(pages: Pages, *, token: str = "") -> Iterator[str]:
    """A real HTTP server with a few pages; with a token it refuses whoever has another one, as Ray's does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.do_GET()

        def do_GET(self) -> None:
            code, text = pages.get(self.path, (404, "not found"))
            given = self.headers.get("Authorization")
            if token and given != f"Bearer {token}":
                code, text = (403 if given else 401), "Unauthorized"
            self.send_response(code)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            http.shutdown()
            thread.join()


def refused(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """Run a command that is refused; return its only line."""
    assert main([*map(str, words)]) == 2
    out, err = capsys.readouterr()
    [line] = err.splitlines()
    assert out == ""
    return line.removeprefix("seti-tune: ")


@pytest.mark.parametrize("address", ["ray://head:10001", "10.0.0.1:6379", "head", "auto", "http://head:8265/jobs"])
def test_an_address_that_is_no_job_server_is_refused(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "stop", "/shared/run", "--address", address)
    assert line.startswith(f"--address {address}: the job server of a cluster is expected, http://HEAD:8265")


@pytest.mark.parametrize("address", ["ray://head:10001", "http://head:8265"])
def test_a_search_that_is_given_a_job_server_names_submit(
    address: str, quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert "submit it there with `seti-tune submit STUDY --address http://HEAD:8265 --run RUN`" in refused(
        capsys, "search", quick_study(), "--address", address
    )


def test_a_run_folder_on_the_cluster_has_an_absolute_path(
    quick_study: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["submit", str(quick_study()), "--run"], ["status"], ["leaderboard"], ["logs"], ["stop"]):
        line = refused(capsys, *words, "runs/x", "--address", URL)
        assert line.startswith("runs/x: the absolute path of a run folder that the cluster keeps is expected")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("[data]\npath = 'data/mine'", "[data] path = 'data/mine'"),
        ("init_from = 'model.keras'\n[data]\nsimulate = 'wide'", "[study] init_from = 'model.keras'"),
    ],
)
def test_what_does_not_travel_needs_a_path_of_the_cluster(
    text: str, what: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = tmp_path / "study.toml"
    (tmp_path / "rate.toml").write_text(SPACE.replace("parameters.x", "parameters.'training.learning_rate'"))
    study.write_text(f"[study]\nspace = 'rate.toml'\n{text}\n")
    line = refused(capsys, "submit", study, "--run", "/shared/x", "--address", URL)
    assert line == (f"{what}: does not travel; copy it to where the cluster sees it and give its absolute path there")


def test_what_only_a_study_file_can_say_needs_one(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "submit", "--run", "/shared/x", "--address", URL, "--no-finals")
    assert line.startswith("--no-finals: needs STUDY")


def test_a_table_of_a_run_on_a_cluster_is_not_written_there(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "leaderboard", "/shared/x", "--address", URL, "--csv", "board.csv")
    assert line == "--csv board.csv: would be written on the cluster; use --json with --address"


def test_a_server_that_does_not_answer_is_named_with_both_ways_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    line = refused(capsys, "status", "/shared/x", "--address", URL)
    assert line.startswith(f"--address {URL}: no answer (Connection refused); start the head where ray[default] is")
    assert "`ssh -L 8265:localhost:8265 HEAD`" in line


@pytest.mark.parametrize("pages", [{}, {"/api/version": (200, "<html>")}, {"/api/version": (200, "{}")}])
def test_another_server_is_not_taken_for_one_of_jobs(pages: Pages, capsys: pytest.CaptureFixture[str]) -> None:
    with server(pages) as address:
        line = refused(capsys, "logs", "/shared/x", "--address", address)
    assert line.startswith(f"--address {address}: what answers there is no job server of Ray")


def test_a_missing_or_wrong_token_is_named_with_variable_and_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)
    with server({"/api/version": (200, VERSION)}, token="right") as address:  # noqa: S106 - a test's
        missing = refused(capsys, "logs", "/shared/x", "--address", address)
        (tmp_path / "other").write_text("wrong\n")
        monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "other"))
        assert refused(capsys, "logs", "/shared/x", "--address", address) == missing
        monkeypatch.setenv("RAY_AUTH_TOKEN", "right")
        monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
        off = refused(capsys, "logs", "/shared/x", "--address", address)
    assert missing.startswith(
        f"--address {address}: wants a token, and the right one is not to be found on this machine"
    )
    assert "set RAY_AUTH_TOKEN to what ~/.ray/auth_token of the head holds" in missing
    assert "RAY_AUTH_MODE=disabled is set on this machine" in off


def alone(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, which imports Ray."""
    code = f"{before}\nimport sys\nfrom tune.cli.main import main\nsys.exit(main({list(words)!r}))"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


def test_a_run_that_no_job_searches_is_named() -> None:
    with server({"/api/version": (200, VERSION), "/api/jobs/": (200, "[]")}) as address:
        done = alone("logs", "/shared/x", "--address", address)
    assert done.returncode == 2
    assert done.stderr == (
        f"seti-tune: /shared/x: no job at {address} searches it, or its record there is gone; `seti-tune submit` "
        "starts one\n"
    )


def test_a_server_that_fails_is_one_line() -> None:
    with server({"/api/version": (200, VERSION), "/api/jobs/": (500, "out of order\nlong account")}) as address:
        done = alone("stop", "/shared/x", "--address", address)
    assert done.returncode == 2
    assert done.stderr.startswith(f"seti-tune: --address {address}: the job server does not answer as expected (")
    assert "status code 500: out of order" in done.stderr
    assert done.stderr.count("\n") == 1


def job(state: str, **more: object) -> str:
    """What the server says of a job."""
    given = {"type": "SUBMISSION", "submission_id": "x", "entrypoint": "e", "status": state, "message": "no such disk"}
    return json.dumps(given | more)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            job("FAILED", driver_exit_code=127),
            "the head finds no seti-tune; install it there and have it in the PATH when",
        ),
        (job("FAILED"), "no such disk; see `ray job list`"),
    ],
    ids=["no seti-tune", "not started"],
)
def test_a_head_that_cannot_look_at_a_run_says_why(said: str, message: str) -> None:
    pages = {
        "/api/version": (200, VERSION),
        "/api/jobs/": (200, '{"job_id": "x", "submission_id": "x"}'),
        "/api/jobs/x": (200, said),
        "/api/jobs/x/logs": (200, '{"logs": "sh: 1: seti-tune: not found"}'),
    }
    with server(pages) as address:
        done = alone("status", "/shared/x", "--address", address)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"seti-tune: --address {address}: {message}")
    assert done.stderr.count("\n") == 1


def test_a_server_that_cuts_off_what_is_followed_is_one_error() -> None:
    code = "import sys; from tune.ray_adapter.jobs import JobServer; JobServer(sys.argv[1]).follow('x', print)"
    with server({"/api/version": (200, VERSION), "/api/jobs/": (200, "[]")}) as address:
        done = subprocess.run([sys.executable, "-c", code, address], capture_output=True, text=True, check=False)
    [last] = done.stderr.splitlines()[-1:]
    assert last.startswith(f"tune.errors.StudyError: --address {address}: the job server does not answer as expected")


def test_a_laptop_without_what_jobs_need_is_told_what_to_install() -> None:
    without = (
        "import sys\nclass Without:\n    def find_spec(self, name, path=None, target=None):\n"
        "        if name.split('.')[0] == 'aiohttp': raise ImportError(name)\nsys.meta_path.insert(0, Without())"
    )
    with server({"/api/version": (200, VERSION), "/api/jobs/": (200, "[]")}) as address:
        done = alone("logs", "/shared/x", "--address", address, before=without)
    assert done.returncode == 2
    assert done.stderr == (
        f"seti-tune: --address {address}: jobs need ray[default], which is not installed on this machine; install the "
        "lock file, or seti-tune with its extra `cluster`\n"
    )


def every_trial_once(run: Path, trials: int) -> int:
    """Assert that every trial has one end; return how many epochs were done again."""
    state = load_run(run)
    assert [t.started.trial for t in state.search_trials()] == list(range(trials))
    done = Counter((e.trial, e.repeat) for e in read_events(run) if isinstance(e, Epoch))
    return sum((done - Counter({key: len(trial.epochs) for key, trial in state.trials.items()})).values())


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.skipif(unavailable() is not None, reason=f"machines cannot be emulated here: {unavailable()}")
def test_a_search_is_submitted_left_alone_looked_at_stopped_and_continued(tmp_path: Path) -> None:
    owner, stranger, mine, run = (tmp_path / name for name in ("owner", "stranger", "mine", "kept/run"))
    for folder in (owner / ".ray", stranger, mine):
        folder.mkdir(parents=True)
    slow = tmp_path / "slow"
    slow.touch()
    few, sleepy = "[resources]\nmax_concurrent = 1\n", {"sleep": 3, "slow_while": f'"{slow}"'}
    study = write_quick_study(mine, trials=8, max_epochs=4, extra=few, short_finals=True, **sleepy)
    with Machines() as machines:
        head, worker, laptop, other = (machines.add() for _ in range(4))
        head.start_ray("--head", f"--port={PORT}", "--dashboard-host=0.0.0.0", cpus=0)
        worker.start_ray(f"--address={head.address}:{PORT}", cpus=2)
        for machine in (head, worker):  # what is not sent is not there
            machine.run("mount", "-t", "tmpfs", "tmpfs", mine)
        (owner / ".ray" / "auth_token").write_text(head.token + "\n")
        url = f"http://{head.address}:8265"

        def on(machine: Machine, home: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
            began = time.monotonic()
            done = machine.as_user(home, *COMMAND, *words, "--address", url)
            print(f"{words[0]}: {time.monotonic() - began:.1f} s, exit code {done.returncode}")
            return done

        unknown = on(laptop, stranger, "submit", study, "--run", run)
        assert unknown.returncode == 2
        assert "wants a token, and the right one is not to be found on this machine (machine3)" in unknown.stderr
        missing = mine / "missing.toml"
        missing.write_text(study.read_text() + '[data]\npath = "/nowhere/data"\n')
        unseen = on(laptop, owner, "submit", missing, "--run", tmp_path / "kept" / "missing")
        assert unseen.returncode == 2, unseen.stderr
        assert unseen.stderr.splitlines()[-1].startswith("seti-tune: /nowhere/data")

        submitted = on(laptop, owner, "submit", study, "--run", f"{run}/")
        assert submitted.returncode == 0, submitted.stderr + submitted.stdout
        twice = on(laptop, owner, "submit", study, "--run", run)
        assert "is being searched by job raysubmit_" in twice.stderr
        laptop.kill()

        until = time.monotonic() + 120
        while not any(isinstance(e, Epoch) and e.epoch == 2 for e in read_events(run)):
            assert time.monotonic() < until
            time.sleep(0.5)
        status = on(other, owner, "status", run, "--json")
        assert json.loads(status.stdout)["is_running"] is True
        board = on(other, owner, "leaderboard", run, "--top", "1", "--where", "x > 0.1")
        assert "Not ranked: 1 running" in board.stdout or "trial  objective" in board.stdout, board.stdout
        nothing = on(other, owner, "status", tmp_path / "nothing")
        assert nothing.returncode == 2
        assert nothing.stderr.startswith(f"seti-tune: {tmp_path}/nothing: no run folder")
        assert "gets trials: 2 CPUs" in on(other, owner, "logs", run).stdout

        stopped = on(other, owner, "stop", run)
        assert stopped.returncode == 0, stopped.stderr
        last = list(read_events(run))[-1]
        assert isinstance(last, StudyEnded)
        assert (last.finished, last.reason) == (False, "interrupted by SIGTERM")
        assert "is over already (stopped)" in on(other, owner, "stop", run).stderr
        slow.unlink()
        study.unlink()
        continued = on(other, owner, "submit", "--run", run, "--follow")
        assert continued.returncode == 0, continued.stderr + continued.stdout
        assert "Leaderboard: " in continued.stdout
        assert "Running entrypoint" not in continued.stdout
    again = every_trial_once(run, 8)
    print(f"stopped and continued: {again} epochs done again")
    assert again <= 1
    assert {e.node for e in read_events(run) if isinstance(e, AttemptRunning)} == {"machine2"}
    assert sorted(path.name for path in (run / "study").rglob("*.*")) == [
        "line.toml", "quick.toml", "quick_trainable.py",
    ]  # fmt: skip
    write_quick_study(mine, trials=8, max_epochs=4, extra=few, short_finals=True, **sleepy)
    run_here(load_study(study), tmp_path / "whole")
    assert values(run) == values(tmp_path / "whole")
