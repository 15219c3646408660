"""Searches from Python: in a script, in a thread and in a real Jupyter kernel, with real signals and a real Ray."""

import ast
import inspect
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from processes import SEARCH, alive, has_epochs, write_quick_study

import tune
from results.errors import RecordError
from results.log.recorder import EventLog
from results.reproduction import Verdict
from search_spaces.toml_files import read_toml
from tune.api.waiting import Words, end_in_order, wait_until_ended
from tune.errors import SearchError, StudyError, UnfinishedError

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOK = ROOT / "examples" / "first_search.ipynb"
HEAVY = ("ray", "tensorflow", "keras", "optuna", "pandas", "matplotlib", "IPython")
MAPPING: dict[str, Any] = {
    "study": {"space": "line.toml", "max_epochs": 9, "seed": 7, "trainable": "quick_trainable:train"},
    "asha": {"grace_epochs": 1},
    "finals": {"enabled": False},
    "baseline": {"x": 0.9},
}
SCRIPT = f"""
import importlib, json, pkgutil, sys, threading, time
import tune
mapping = {MAPPING!r}
study = tune.read_study(mapping, name="mine", trials=4)
heavy = [name for name in {HEAVY!r} if name in sys.modules]
for module in pkgutil.walk_packages(tune.__path__, "tune."):
    importlib.import_module(module.name)
study = tune.read_study(mapping, name="mine", trials=4)
done = []
thread = threading.Thread(target=lambda: done.append(tune.search(study, "runs/mine")))
thread.start()
thread.join()
run = tune.open_run("runs/mine")
first = [str(trial.status) for trial in run.trials]
began = time.monotonic()
assert run.resume(trials=5, wait=False) is run
at_once = time.monotonic() - began
running = run.is_running
refused = []
try:
    run.resume()
except tune.errors.StudyError as error:
    refused.append(str(error))
run.stop()
try:
    run.wait()
except tune.errors.UnfinishedError as error:
    refused.append(str(error))
print(json.dumps([heavy, len(done), first, at_once, running, run.is_running, refused]))
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A folder in which a plain script has searched, in a thread of its own, and how the script ended."""
    folder = tmp_path_factory.mktemp("script")
    write_quick_study(folder)
    (folder / "script.py").write_text(SCRIPT)
    command = [sys.executable, "-W", "error", "script.py"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=200)
    assert done.returncode == 0, done.stderr
    return folder, done


def test_a_script_searches_in_a_thread_with_all_modules_imported(
    script: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    """No public name is that of a module, which would take its place once it is imported."""
    folder, done = script
    heavy, returned, trials, at_once, running, is_left, refused = json.loads(done.stdout.splitlines()[-1])
    assert heavy == [], "to read a study imports too much"
    assert (returned, len(trials), running, is_left) == (1, 4, True, False)
    assert at_once < 2
    assert refused == [
        "runs/mine: its search is running; wait for it with run.wait(), or end it with run.stop()",
        "interrupted; all that was recorded is kept, continue with run.resume(trials=5), "
        "where run = tune.open_run('runs/mine')",
    ]
    assert "Best of the search: trial " in done.stdout, "what the driver prints is shown"
    assert "trial 1 started" in done.stderr
    _, written = read_toml(folder / "runs" / "mine" / "study.toml")
    assert written == MAPPING | {"study": MAPPING["study"] | {"name": "mine", "trials": 4}}


def test_what_a_run_says_is_that_of_its_log(
    script: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = script
    monkeypatch.chdir(folder)
    run = tune.open_run("runs/mine")
    best = run.trial(int(run.leaderboard.loc[0, "trial"]))
    assert best.objective == max(trial.objective or 0 for trial in run.trials if trial.status == "completed")
    assert run.epochs["trial"].nunique() == len(run.trials)
    assert run.receipt(best.number).seed == best.seed
    assert run.study.study.name == "mine"
    assert run.finals is None
    assert repr(run) == f"<SearchRun runs/mine: {len(run.trials)} trials>"
    assert "Best of the search" in run._repr_html_()
    monkeypatch.chdir(folder / "runs")
    assert str(run.folder) == "mine", "a notebook may change its folder"
    with pytest.raises(SearchError, match="its trainable is no network of ours and exports no model; see its checkp"):
        run.model()
    with pytest.raises(RecordError, match="no model was handed on yet; let the finals"):
        run.predictions()


def test_a_trial_is_repeated_in_a_process_of_its_own(
    script: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = script
    monkeypatch.chdir(folder)
    run = tune.open_run("runs/mine")
    assert run.retrain(1).word == Verdict.IDENTICAL
    assert (folder / "runs" / "retrain-mine-1" / "answer.json").is_file()
    with pytest.raises(SearchError, match=r"^runs/mine/study.toml: holds|^.*is not empty and holds no retraining; na"):
        run.retrain(0, out=folder)
    with pytest.raises(RecordError, match="trial 99"):
        run.retrain(99)


def test_what_the_driver_refuses_is_the_line_of_the_command(
    script: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = script
    monkeypatch.chdir(folder)
    study = tune.read_study(MAPPING, seed=8)
    (folder / "other.toml").write_text(study.source)
    command = [*SEARCH, "other.toml", "--run", "runs/mine"]
    said = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert said.returncode == 2
    with pytest.raises(SearchError, match="holds another study") as refused:
        tune.search(study, "runs/mine")
    assert f"seti-tune: {refused.value}\n" == said.stderr
    assert refused.value.exit_code == 2
    with pytest.raises(SearchError, match=r"^--seeds 0: 1 to 1000 are expected; choose a number within$"):
        tune.open_run("runs/mine").run_finals(seeds=0)


@pytest.mark.parametrize("name", ["nowhere.toml", "wrong.toml"])
def test_a_study_that_cannot_be_read_is_the_line_of_the_command(
    name: str, quick_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, line: Callable[..., str]
) -> None:
    monkeypatch.chdir(quick_study().parent)
    Path("wrong.toml").write_text(Path("quick.toml").read_text().replace("max_epochs", "max_epoch"))
    with pytest.raises(StudyError, match=r"cannot be read|max_epoch: unknown") as refused:
        tune.search(name)
    assert str(refused.value) == line("search", name)


def test_a_mapping_is_read_as_a_file_is(quick_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    path = quick_study()
    monkeypatch.chdir(path.parent)
    read, values = tune.read_study(path), read_toml(path)[1]
    given = tune.read_study(values, name="quick")
    assert given.record() == read.record()
    assert given.space == read.space
    assert tune.read_study("quick.toml", trials=5).record() == read.with_trials(5).record()
    assert tune.read_study(values).study.name == "study"
    assert tune.read_study("quickstart", trials=5, seed=3).study.name == "quickstart"


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"study": {"space": None}}, r"\[study\] space = None: no value of TOML's; correct it"),
        ({"study": {"space": "baseline", "trial": 3}}, r"\[study\] trial: unknown"),
        ({"study": 3}, r"study: expected a section \[study\], found 3"),
        ({3: {}}, "3: the key is 3, a text is expected; correct it"),
        ({"studies": {}}, r"unknown section \[studies\]; known: study, "),
    ],
)
def test_a_mapping_that_does_not_fit_is_one_line(changed: dict[Any, Any], said: str) -> None:
    with pytest.raises(StudyError, match=f"^the mapping: {said}"):
        tune.read_study({"study": {"space": "baseline"}, "data": {"simulate": "course"}} | changed)


def test_a_key_given_by_name_is_checked_as_those_of_the_study() -> None:
    with pytest.raises(StudyError, match=r"quickstart.toml: \[study\] trials: expected .* found 0; correct it"):
        tune.read_study("quickstart", trials=0)


def test_the_pages_name_what_is_there() -> None:
    blocks = [
        block
        for page in (ROOT / "docs" / "python.md", ROOT / "README.md")
        for block in re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)
    ]
    homes = {"tune": tune, "run": tune.SearchRun}
    seen = set()
    for node in ast.walk(ast.parse("\n".join(blocks))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in homes:
            assert hasattr(homes[node.value.id], node.attr), ast.unparse(node)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            named = [getattr(home, node.func.attr, None) for home in homes.values()]
            called = [one for one in named if callable(one)]  # not a module of tune that is called so
            seen |= {node.func.attr} if called else set()
            known = inspect.signature(called[0]).parameters if called else {}
            is_open = not called or "settings" in known
            assert is_open or {key.arg for key in node.keywords} <= known.keys(), ast.unparse(node)
    assert {"read_study", "search", "open_run", "resume", "run_finals", "retrain", "stop", "wait", "model"} <= seen


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run folder|no events"):
        tune.open_run(tmp_path)
    with pytest.raises(StudyError, match="None: a study file, a shipped study or a mapping is expected; give one"):
        tune.read_study(None)  # type: ignore[arg-type]
    with pytest.raises(StudyError, match="files at an address cannot be used"):
        tune.open_run("s3://bucket/run")
    with pytest.raises(AttributeError, match="module 'tune' has no attribute 'serach'"):
        tune.serach  # type: ignore[attr-defined]  # noqa: B018
    assert set(tune.__all__) <= set(dir(tune))


def test_a_search_of_which_nothing_came_says_so(
    quick_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(quick_study(trials=1, raises_above=-1).parent)
    study = tune.read_study("quick.toml", max_retries=0)
    early = tune.search(study, "early", wait=False).stop()
    with pytest.raises(UnfinishedError, match=r"^interrupted before anything was recorded; start it again$"):
        early.wait()
    assert repr(early) == "<SearchRun early: nothing recorded yet>"
    assert "early: nothing is recorded yet" in early._repr_html_()
    with pytest.raises(SearchError, match=r"^run: no trial was completed; `run.leaderboard` says why$") as ended:
        tune.search(study, "run", finals=False)
    assert ended.value.exit_code == 2
    run = tune.open_run("run")
    assert "cannot train x = 0.900" in run.leaderboard.loc[0, "reason"]
    with EventLog(Path("run")), pytest.raises(StudyError, match=r"^run: is searched by another process; end it there"):
        run.stop()


def test_a_repetition_that_fails_is_said_to_have(
    script: tuple[Path, subprocess.CompletedProcess[str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder, _ = script
    monkeypatch.chdir(folder)
    (tmp_path / "sitecustomize.py").write_text("import sys; sys.modules['tune.single'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    with pytest.raises(SearchError, match=r"^runs/mine: the retraining ended without an answer: Module.*; see above"):
        tune.open_run("runs/mine").retrain(2)


def test_a_bug_of_the_driver_leaves_its_traceback_and_this_process(
    quick_study: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = quick_study().parent
    (folder / "sitecustomize.py").write_text("import sys; sys.modules['ray'] = None\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.chdir(folder)
    with pytest.raises(RuntimeError, match=r"the driver failed: ModuleNotFoundError: .*; its traceback is above, pl"):
        tune.search("quick.toml", "run")
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_a_process_that_does_not_end_in_order_is_killed_in_time() -> None:
    deaf = (
        "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); print('here', flush=True); time.sleep(99)"
    )
    with subprocess.Popen([sys.executable, "-c", deaf], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        began = time.monotonic()
        end_in_order(process, lambda: process.send_signal(signal.SIGINT), within_s=0.3)
        assert process.returncode == -9
        assert time.monotonic() - began < 5


def test_words_are_shown_as_they_come_and_the_error_is_kept(capsys: pytest.CaptureFixture[str]) -> None:
    code = (
        "import sys; print('one'); print('seti-tune: wrong; do so', file=sys.stderr); sys.stdout.buffer.write(b'\\xff')"
    )
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:  # type: ignore[call-overload]
        words = Words(process)
        wait_until_ended(process, process.terminate)
        words.end()
    words.show(in_one=False)
    assert words.error == "wrong; do so"
    assert capsys.readouterr() == ("one\n\ufffd\n", "")


class Kernel:
    """The notebook of the examples in a real kernel, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.notebook = nbformat.read(NOTEBOOK, as_version=4)
        self.client = NotebookClient(self.notebook, timeout=300, resources={"metadata": {"path": str(folder)}})

    def run(self, begins: str, *, meanwhile: Callable[[psutil.Process], None] | None = None) -> Any:
        """Run the first cell that begins so; return its outputs, the last one an error's where it failed."""
        number = next(i for i, cell in enumerate(self.notebook.cells) if cell.source.startswith(begins))
        if meanwhile is not None:
            process = psutil.Process(self.client.km.provisioner.pid)
            threading.Thread(target=meanwhile, args=(process,), daemon=True).start()
        try:
            self.client.execute_cell(self.notebook.cells[number], number)
        except CellExecutionError:
            assert psutil.pid_exists(self.client.km.provisioner.pid)
        return self.notebook.cells[number].outputs


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Kernel]:
    for name in ("JUPYTER_RUNTIME_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / ".jupyter"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    running = Kernel(folder)
    with running.client.setup_kernel():
        yield running


def once_trained(run: Path, act: Callable[[psutil.Process], None]) -> Callable[[psutil.Process], None]:
    """Return what acts upon a process once there are more epochs than now."""
    before = (run / "events.jsonl").stat().st_size if has_epochs(run) else 0

    def wait(process: psutil.Process) -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            log = run / "events.jsonl"
            if log.exists() and '"epoch"' in log.read_text()[before:] and has_epochs(run):
                act(process)
                return
            time.sleep(0.1)

    return wait


def interrupt(process: psutil.Process) -> None:
    """Do what Jupyter does: its interrupt goes to the group of a kernel's processes."""
    os.killpg(process.pid, signal.SIGINT)


def kill_head(process: psutil.Process) -> None:
    next(p for p in process.children(recursive=True) if p.name() == "gcs_server").kill()


def test_the_notebook_survives_an_interrupt_and_a_dead_head_and_goes_on(kernel: Kernel) -> None:
    """A study of milliseconds stands in for its networks; the slow test below runs it as it is."""
    slow = kernel.folder / "slow"
    slow.touch()
    write_quick_study(kernel.folder, sleep=0.2, slow_while=f'"{slow}"', trials=4, short_finals=True)
    cell = next(cell for cell in kernel.notebook.cells if "tune.read_study" in cell.source)
    cell.source = "import tune\nstudy = tune.read_study('quick.toml')"
    kernel.run("import tune")
    run = kernel.folder / "runs" / "first"
    *shown, error = kernel.run("run = tune.search", meanwhile=once_trained(run, interrupt))
    assert error.ename == "KeyboardInterrupt"
    kept, way = error.evalue.split(", continue with ")
    assert kept == "interrupted; all that was recorded is kept"
    assert way == "run.resume(), where run = tune.open_run('runs/first')"
    assert "<svg" in shown[0].data["text/html"]
    assert "interrupted by SIGINT" in (run / "events.jsonl").read_text()

    *_, error = kernel.run("run = tune.open_run", meanwhile=once_trained(run, kill_head))
    assert error.ename == "UnfinishedError"
    assert error.evalue == (
        "the driver ended because Ray's head is gone; all it recorded is kept, continue with: seti-tune resume "
        "runs/first; in Python: run.resume(), where run = tune.open_run('runs/first')"
    )
    slow.unlink()
    outputs = kernel.run("run = tune.open_run")
    assert "The study is finished: all trials ended." in outputs[-1].data["text/html"]
    [table] = kernel.run("run.leaderboard")
    assert table.data["text/html"].count("<tr>") >= 4
    assert alive(psutil.Process(kernel.client.km.provisioner.pid).children(recursive=True)) == []


@pytest.mark.slow
def test_the_notebook_runs_as_it_is_after_an_interrupt(kernel: Kernel) -> None:
    run = kernel.folder / "runs" / "first"
    kernel.run("import numpy")
    *_, error = kernel.run("run = tune.search", meanwhile=once_trained(run, interrupt))
    assert error.ename == "KeyboardInterrupt"
    assert "Delivered model" in kernel.run("run = tune.open_run")[-1].data["text/html"]
    assert len(kernel.run("run.leaderboard")) == 1
    [classes] = kernel.run("model = run.model()")
    assert classes.data["text/plain"].count("'") == 10
    shutil.rmtree(run)
