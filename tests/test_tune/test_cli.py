"""The command line from outside: how fast it starts, what it loads, what its help and the README promise."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = ("ray", "tensorflow", "keras")
# Raises as soon as anything heavy is imported, from whichever module.
BLOCKER = f"""
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {HEAVY!r}:
            raise AssertionError(name + " was imported")
sys.meta_path.insert(0, Blocker())
"""
COMMANDS = ("search", "leaderboard", "data simulate", "data import", "data describe", "train", "evaluate", "predict")


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def seti_tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example_and_loads_neither_ray_nor_tensorflow(command: str) -> None:
    done = python(BLOCKER + f"from tune.cli import main\nmain({[*command.split(), '--help']!r})")
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout
    assert f"seti-tune {command}".strip() in done.stdout.rsplit("example", maxsplit=1)[1]


def best_of_three(*command: str) -> float:
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, cwd=ROOT)
        times.append(time.perf_counter() - start)
    return min(times)


def test_help_and_results_start_at_once(tmp_path: Path) -> None:
    """The best of three starts: a machine under load must not fail this, a heavy import must."""
    assert best_of_three(sys.executable, "-m", "tune.cli", "--help") < 1.0
    assert best_of_three(sys.executable, "-c", "import results, results.state, results.leaderboard") < 1.0
    assert best_of_three(sys.executable, "-c", "import results.report, pandas") < 1.5


@pytest.mark.parametrize("module", ["results.state", "results.leaderboard", "results.report", "results.figures"])
def test_results_load_neither_ray_nor_tensorflow(module: str) -> None:
    done = python(BLOCKER + f"import {module}")
    assert done.returncode == 0, done.stderr


def test_a_leaderboard_is_shown_and_written_without_ray_or_tensorflow(tmp_path: Path) -> None:
    from results.records import StudyStarted
    from results.store import EventLog

    with EventLog(tmp_path) as log:
        log.append(
            StudyStarted(
                study={"study": {"name": "s"}},
                space={"parameters": {"x": {"type": "float"}}},
                space_fingerprint="",
                data_digest=None,
                provenance={},
            )
        )
    csv = tmp_path / "out" / "board.csv"
    done = python(
        BLOCKER + f"from tune.cli import main\nsys.exit(main({['leaderboard', str(tmp_path), '--csv', str(csv)]!r}))"
    )
    assert done.returncode == 0, done.stderr
    assert csv.read_text().startswith("rank,trial,status,baseline,objective,best_epoch,epochs,x,model_parameters")


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = seti_tune("leaderboard", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"seti-tune: {tmp_path}: no run folder (events.jsonl is missing); give the folder that a search printed\n"
    )


def test_a_bug_shows_its_traceback_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    from tune.errors import guarded

    def broken() -> int:
        raise KeyError("ours")

    assert guarded(broken) == 1
    assert "KeyError: 'ours'" in capsys.readouterr().err


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "import sys; from tune.errors import guarded\ndef f():\n  raise BrokenPipeError\nsys.exit(guarded(f))"
    assert python(code).returncode == 0


def test_our_import_names_belong_to_our_distribution(tmp_path: Path) -> None:
    """Other distributions install modules called `tune` and `results`, over ours if pip is asked to.

    Asked outside the checkout, where only what is installed counts.
    """
    from tune.provenance import OURS

    code = (
        "import importlib.metadata as m, json, tune.provenance as p; p.check_installation(); "
        "owners = m.packages_distributions(); print(json.dumps({n: sorted(set(owners.get(n, []))) for n in p.OURS}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: ["seti-tune"] for name in OURS}


def test_a_package_taken_by_another_distribution_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tune.provenance as p; "
        f"sys.path.insert(0, {str(tmp_path)!r}); p.check_installation()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InstallationError: the package 'results' is taken by" in done.stderr
    assert "uninstall the other distribution" in done.stderr
