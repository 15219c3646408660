"""Commands in messages: quoted, so that they can be pasted."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from results.commands import command
from results.log.recorder import EventLog
from results.log.records import Epoch, StudyStarted, TrialStarted
from results.study import Provenance, StudyRecord, StudySection
from tune.cli.main import COMMANDS, main

ROOT = Path(__file__).resolve().parents[2]
EVIL = 'it\'s $HOME; `ls` "now"'


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with one open trial, in a folder with a space in its name."""
    folder = tmp_path / "my run"
    with EventLog(folder) as log:
        log.append(
            StudyStarted(
                study=StudyRecord(study=StudySection(name="s", trials=4)),
                space={"parameters": {"x": {"type": "float"}}},
                space_fingerprint="",
                data_digest="d",
                provenance=Provenance(),
            ),
            TrialStarted(trial=0, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=0, max_epochs=2),
            Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5),
        )
    return folder


def pasted(line: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Run a command line as a user's shell does."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-c", line], cwd=cwd, env=os.environ | {"PATH": path}, capture_output=True, text=True, check=False
    )


def test_a_command_is_quoted_where_a_shell_needs_it() -> None:
    assert command("resume", Path("my run"), trials=40, space=None) == "seti-tune resume 'my run' --trials 40"
    assert command("train", out=Path("a"), **{"continue": True}) == "seti-tune train --out a --continue"
    given = command("search", "s", no_finals=True, dry_run=False, init_from=Path("m"))
    assert given == "seti-tune search s --no-finals --init-from m"


@pytest.mark.parametrize("name", ["my run", "-x", EVIL, "größe"])
def test_a_shell_takes_a_name_for_one_word_and_for_no_option(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    words = command(Path(name)).removeprefix("seti-tune ")
    done = pasted(f"cd {words} && pwd", tmp_path)
    assert done.stdout == f"{tmp_path / name}\n"


def test_the_commands_that_status_names_can_be_pasted(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", str(run)]) == 0
    named = re.findall(r"seti-tune \w+ .*", capsys.readouterr().out)
    assert named == [f"seti-tune leaderboard '{run}'", f"seti-tune resume '{run}'"]
    done = pasted(named[0], run.parent)
    assert done.returncode == 0, done.stderr
    assert "Not ranked: 1 running" in done.stdout


def test_the_command_of_an_error_can_be_pasted(
    run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(run.parent)
    assert main(["compare", "my run"]) == 2
    [named] = re.findall(r"`(.*)`", capsys.readouterr().err)
    assert named == "seti-tune leaderboard 'my run'"
    assert pasted(named, run.parent).returncode == 0


def test_a_run_in_use_names_the_command_that_shows_it(run: Path) -> None:
    code = f"from results.log.recorder import EventLog; from pathlib import Path; EventLog(Path({str(run)!r}))"
    with EventLog(run):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
        [named] = re.findall(r"look at it with `(.*)`", done.stderr)
        shown = pasted(named, run.parent)
    assert shown.returncode == 0, shown.stderr
    assert "running now" in shown.stdout


def test_no_message_spells_a_command_with_a_value_by_itself() -> None:
    """`results.commands` is the one home: what it does not write is not quoted."""
    for package in ("tune", "results", "seti_model", "search_spaces"):
        for file in (ROOT / package).rglob("*.py"):
            if file.name != "commands.py":
                spelt = re.search(rf"seti-tune ({'|'.join(COMMANDS)})\b[^`\"\n]*\{{", file.read_text(encoding="utf-8"))
                assert spelt is None, f"{file}: {spelt}"
