"""The command `seti-tune report`: once, elsewhere, and while a study runs."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from processes import started, wait_for

from results.importance import read_importance
from tune.cli import main
from tune.study import load_study

REPORT = [sys.executable, "-m", "tune.cli", "report"]


@pytest.fixture
def run(quick_study: Callable[..., Path], tmp_path: Path) -> Path:
    study = load_study(quick_study(trials=40, max_epochs=1))
    Bench(study, tmp_path / "run").run()
    return tmp_path / "run"


def test_it_is_written_into_the_run_folder_with_the_importance_of_the_parameters(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(run)]) == 0
    assert f"written: {run}/report.html" in capsys.readouterr().err
    assert "PED-ANOVA, Optuna" in (run / "report.html").read_text()
    assert read_importance(run) is not None


def test_it_can_be_written_elsewhere(run: Path, tmp_path: Path) -> None:
    assert main(["report", str(run), "--out", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").stat().st_size > 4_000_000
    assert not (run / "report.html").exists()


def test_mistakes_are_one_line(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no run folder (events.jsonl is missing)" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(run / "events.jsonl")]) == 2
    assert "is the log of a run, which nothing may replace" in capsys.readouterr().err


def test_it_needs_neither_ray_nor_tensorflow_nor_optuna_once_the_importance_is_known(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    code = (
        f"from tune.cli import main; import sys; main(['report', {str(run)!r}]);"
        "sys.exit(', '.join({'ray', 'tensorflow', 'keras', 'optuna', 'matplotlib'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, []), done.stderr


def test_watching_ends_with_the_study_and_shows_all_of_it(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study, run = quick_study(trials=8, sleep=0.1), tmp_path / "run"
    with started(study, run) as process:
        watching = subprocess.Popen([*REPORT, str(run), "--watch"], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: (run / "report.html").exists(), process)
        early = (run / "report.html").read_text()
        process.wait(timeout=60)
    _, said = watching.communicate(timeout=60)
    assert watching.returncode == 0
    assert said.count("written: ") >= 2
    assert "while the study was running" in early
    assert "The study is finished: all trials ended." in (run / "report.html").read_text()
