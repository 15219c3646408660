"""No option takes an address for a folder: it would be made here, under a name such as `s3:`."""

from pathlib import Path

import pytest

from tune.checks import check_places
from tune.cli.main import main
from tune.errors import StudyError
from tune.study import load_study

ADDRESS = "s3://bucket/run"


@pytest.mark.parametrize(
    "command",
    [
        f"search quickstart --run {ADDRESS}",
        f"resume run --data {ADDRESS}",
        f"finals run --data {ADDRESS}",
        f"status {ADDRESS}",
        f"compare run {ADDRESS}",
        f"leaderboard run --csv {ADDRESS}",
        f"report run --out {ADDRESS}",
        f"export run --tensorboard --out {ADDRESS}",
        f"export run --optuna-journal {ADDRESS}",
        f"retrain {ADDRESS}",
        f"data simulate {ADDRESS} --preset course --train 1 --validation 1 --test 1",
        f"data import data --train images.csv {ADDRESS} --validation images.csv labels.csv",
        f"data describe {ADDRESS}",
        f"train --data {ADDRESS} --out run",
        f"train --data data --out {ADDRESS}",
        f"evaluate model.keras {ADDRESS}",
        f"predict {ADDRESS} images.npz",
    ],
)
def test_an_address_is_one_line_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.split()) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith(f"seti-tune: {ADDRESS}: files at an address cannot be used; name a file or folder on")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("section", "key"), [("data", "path"), ("study", "init_from")])
def test_an_address_in_a_study_file_is_refused_with_its_key(tmp_path: Path, section: str, key: str) -> None:
    sections = {"study": 'space = "baseline"', "data": 'path = "data"'}
    lines = [line for line in sections[section].splitlines() if not line.startswith(key)]
    sections[section] = "\n".join([*lines, f'{key} = "gs://bucket/x"'])
    file = tmp_path / "mine.toml"
    file.write_text("".join(f"[{name}]\n{text}\n" for name, text in sections.items()))
    with pytest.raises(StudyError, match=rf"mine\.toml: \[{section}\] {key} = gs://bucket/x: files at an address"):
        load_study(file)


def test_drives_and_names_with_a_colon_are_places() -> None:
    check_places([Path("C:/runs/study"), Path("runs/a:b"), Path("./s3:x"), "s3://no-path", 3, None, [Path("run")]])
