"""Which files belong to a study, and the copies of them that a run folder keeps."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import SPACE, search

from results.log.state import load_run
from tune.errors import StudyError
from tune.resume import recorded_study
from tune.study import load_study
from tune.study_files import keep_study, study_files

NETWORKS = """
[study]
space = "spaces/line.toml"
[data]
simulate = "wide"
[fixed]
"prepare.steps" = "my_steps:stretch"
"""
LINE = """
name = "line"
description = "One number."
[parameters."training.learning_rate"]
type = "float"
low = 0.001
high = 0.01
reason = "The only one."
"""


def test_the_space_and_the_modules_beside_a_study_belong_to_it_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "spaces").mkdir()
    (tmp_path / "spaces" / "line.toml").write_text(LINE)
    (tmp_path / "my_steps.py").write_text(
        "import numpy\nfrom my_tools.deep import factor\n"
        "def stretch(images, *, softness: float = 0.5):\n    import late\n    return images\n"
    )
    (tmp_path / "late.py").write_text("import my_steps\n")
    (tmp_path / "unused.py").write_text("")
    for name in ("__init__.py", "deep.py", "notes.txt"):
        (tmp_path / "my_tools").mkdir(exist_ok=True)
        (tmp_path / "my_tools" / name).write_text("factor = 1\n")
    for folder in ("runs", "data", ".venv"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "large.py").write_text("")
    (tmp_path / "mine.toml").write_text(NETWORKS)
    try:
        files = study_files(load_study(tmp_path / "mine.toml"))
    finally:
        sys.path.remove(str(tmp_path))
    assert list(files) == [
        "mine.toml", "spaces/line.toml", "my_steps.py", "late.py", "my_tools/__init__.py", "my_tools/deep.py",
    ]  # fmt: skip
    assert files["mine.toml"].decode() == NETWORKS


def test_a_shipped_study_is_its_file_alone() -> None:
    assert list(study_files(load_study("quickstart"))) == ["quickstart.toml"]


def test_a_space_that_lies_elsewhere_is_refused(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "study").mkdir()
    study = quick_study().rename(tmp_path / "study" / "quick.toml")
    study.write_text(study.read_text().replace('"line.toml"', '"../line.toml"'))
    with pytest.raises(StudyError, match=r"space = '\.\./line\.toml': lies outside the folder .*; put it beside"):
        study_files(load_study(study))


def test_a_space_by_its_absolute_path_is_refused(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study = quick_study()
    study.write_text(study.read_text().replace('"line.toml"', f'"{tmp_path}/line.toml"'))
    with pytest.raises(StudyError, match=r"/line\.toml': .*is named by its absolute path, .*; put it beside"):
        study_files(load_study(study))


def test_data_by_a_relative_path_are_refused(tmp_path: Path) -> None:
    (tmp_path / "study.toml").write_text("[study]\nspace = 'baseline'\n[data]\npath = 'data/mine'\n")
    with pytest.raises(StudyError, match=r"^\[data\] path = 'data/mine': does not travel; .* absolute path there"):
        study_files(load_study(tmp_path / "study.toml"))


def test_a_module_that_would_lie_on_one_machine_alone_is_refused(quick_study: Callable[..., Path]) -> None:
    study = quick_study(extra="[storage]\nuri = 's3://bucket/run'\n")
    with pytest.raises(StudyError, match=r"quick_trainable\.py beside .* one machine alone; install it on every node"):
        study_files(load_study(study))


def test_a_run_folder_that_cannot_take_copies_is_one_line(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(StudyError, match=r"study/[0-9a-f]{12}: cannot be written \(Not a directory\); --run names"):
        keep_study(load_study(quick_study()), tmp_path / "run")


def test_copies_are_never_written_over(quick_study: Callable[..., Path], tmp_path: Path) -> None:
    study, run = load_study(quick_study()), tmp_path / "run"
    first = keep_study(study, run)
    assert keep_study(study, run) == first
    module = tmp_path / "quick_trainable.py"
    module.write_text(module.read_text() + "\n")
    second = keep_study(study, run)
    assert (second.parent / module.name).read_text() == (first.parent / module.name).read_text() + "\n"
    assert sorted(path.name for path in (run / "study").iterdir()) == sorted([first.parent.name, second.parent.name])


def test_a_search_by_its_own_copies_needs_the_former_files_no_more(
    quick_study: Callable[..., Path], tmp_path: Path
) -> None:
    study, run = quick_study(trials=3, max_epochs=2, short_finals=True), tmp_path / "run"
    done = search(study, run, "--keep-study", "--no-finals")
    assert done.returncode == 0, done.stderr
    for name in ("quick.toml", "line.toml", "quick_trainable.py"):
        (tmp_path / name).unlink()
    home = recorded_study(run).home
    assert home.parent == run / "study"
    assert (home / "line.toml").read_text() == SPACE
    assert (home / "quick_trainable.py").exists()
    assert load_run(run).study.study.name == "quick"
