"""The command `seti-tune report`: once, elsewhere, and while a study runs."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench
from processes import wait_for

from results.findings import read_importance
from results.log.reading import read_events
from results.log.recorder import EventLog
from results.log.records import Epoch, StudyEnded, StudyResumed
from results.log.state import load_run
from results.study import Provenance
from tune.cli.main import main
from tune.study import load_study


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


def test_several_runs_are_one_page(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = shutil.copytree(run, tmp_path / "other")
    assert main(["report", str(run), str(other), "--out", str(tmp_path / "both.html")]) == 0
    assert "Ranked together" in (tmp_path / "both.html").read_text()
    capsys.readouterr()
    assert main(["report", str(run), str(other)]) == 2
    assert capsys.readouterr().err == (
        "seti-tune: report: several runs are written once to a page of their own; give --out FILE, no --watch\n"
    )


def test_mistakes_are_one_line(tmp_path: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no run folder (events.jsonl is missing)" in capsys.readouterr().err
    assert main(["report", str(run), "--out", str(run / "events.jsonl")]) == 2
    assert "is the log of a run, which nothing may replace" in capsys.readouterr().err


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_an_interval_that_is_none_is_refused(seconds: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["report", "run", "--watch", "--every", seconds])
    assert f"{seconds!r}: seconds above 0, at most 86400, are expected" in capsys.readouterr().err


def test_it_needs_neither_ray_nor_tensorflow_nor_optuna_once_the_importance_is_known(run: Path) -> None:
    assert main(["report", str(run)]) == 0
    code = (
        f"from tune.cli.main import main; import sys; main(['report', {str(run)!r}]);"
        "sys.exit(', '.join({'ray', 'tensorflow', 'keras', 'optuna', 'matplotlib'} & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[1:]) == (0, []), done.stderr


def test_watching_writes_what_is_new_and_ends_with_the_study(run: Path) -> None:
    page = run / "report.html"
    command = [sys.executable, "-m", "tune.cli.main", "report", str(run), "--watch", "--every", "0.2"]
    with EventLog(run) as log:
        log.append(StudyResumed(study=load_run(run).study, provenance=Provenance()))
        watching = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait_for(page.exists, watching)
        early = page.read_text()
        log.append(*(e for e in read_events(run) if isinstance(e, Epoch) and e.trial == 7))
        wait_for(lambda: "repeated after faults" in page.read_text(), watching)
        log.append(StudyEnded(finished=True, reason="all trials ended"))
    _, said = watching.communicate(timeout=60)
    assert (watching.returncode, said.count("written: ")) == (0, 3)
    assert "while the study was running" in early
    assert "The study is finished: all trials ended." in page.read_text()
