"""The command line from outside: how fast it starts, what it loads, what its help and the README promise."""

import importlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from results.study import Provenance, StudyRecord, StudySection

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
COMMANDS = (
    "search", "resume", "submit", "logs", "stop", "leaderboard", "status", "compare", "replay", "export", "retrain",
    "data simulate", "data import", "data describe", "train", "evaluate", "predict",
)  # fmt: skip


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=False)


def seti_tune(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_has_an_example_and_loads_neither_ray_nor_tensorflow(command: str) -> None:
    done = python(BLOCKER + f"from tune.cli.main import main\nmain({[*command.split(), '--help']!r})")
    assert done.returncode == 0, done.stderr
    assert "example" in done.stdout
    assert f"seti-tune {command}".strip() in done.stdout.rsplit("example", maxsplit=1)[1]


def imported(code: str, *packages: str) -> list[str]:
    """Return which of the packages a new interpreter has imported after the code."""
    done = python(f"{code}\nimport sys; print(*(name for name in {packages!r} if name in sys.modules))")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()


LIBRARIES = ("pandas", "pyarrow", "scipy", "sklearn", "matplotlib", "plotly", "rich", "optuna", *HEAVY)


def test_the_list_of_commands_needs_none_of_their_libraries() -> None:
    """What is imported, not how long it takes: a machine under load must not fail this, a heavy import must."""
    code = "from tune.cli.main import main\ntry: main(['--help'])\nexcept SystemExit: pass"
    assert imported(code, *LIBRARIES, "numpy", "results", "seti_model", "search_spaces") == []


@pytest.mark.parametrize("command", ["status", "leaderboard"])
def test_looking_at_a_run_needs_no_library_for_tables_or_pictures(command: str, run: Path) -> None:
    code = f"from tune.cli.main import main\nmain([{command!r}, {str(run)!r}])"
    assert imported(code, *LIBRARIES) == []


@pytest.mark.parametrize("module", ["tune.cli.search", "tune.process.driver"])
def test_a_search_waits_for_no_library_that_only_its_report_needs(module: str) -> None:
    assert imported(f"import {module}", "pandas", "scipy", "sklearn", "matplotlib", "plotly", *HEAVY) == []


def test_each_command_imports_its_own_module_only() -> None:
    code = "from tune.cli.main import main\ntry: main(['data', '--help'])\nexcept SystemExit: pass"
    assert imported(code, "tune.cli.data", "tune.cli.look", "tune.cli.model", "tune.cli.search") == ["tune.cli.data"]


def test_an_unknown_command_is_answered_with_those_there_are() -> None:
    done = seti_tune("serach")
    assert done.returncode == 2
    assert "invalid choice: 'serach' (choose from" in done.stderr
    assert "'predict'" in done.stderr


def test_reading_a_log_needs_no_library_for_tables_or_pictures() -> None:
    assert imported("import results, results.log.state, results.tables.leaderboard", *LIBRARIES) == []


@pytest.mark.parametrize(
    "module",
    [
        "results.log.state",
        "results.tables.leaderboard",
        "results.tables.status",
        "results.tables.compare",
        "results.tables.json_output",
        "results.report.markdown",
        "results.report.figures",
    ],
)
def test_results_load_neither_ray_nor_tensorflow(module: str) -> None:
    done = python(BLOCKER + f"import {module}")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run of three completed trials and an open one, written by hand."""
    from results.log.recorder import EventLog
    from results.log.records import AttemptStarted, Epoch, StudyStarted, TrialEnded, TrialStarted

    folder = tmp_path / "hand"
    with EventLog(folder) as log:
        log.append(
            StudyStarted(
                study=StudyRecord(study=StudySection(name="s", trials=4)),
                space={"parameters": {"a.x": {"type": "float"}, "a.y": {"type": "float"}, "b.y": {"type": "float"}}},
                space_fingerprint="",
                data_digest="d",
                validation_images=40,
                provenance=Provenance(),
            )
        )
        for n in range(4):
            values = {"a.x": n / 4, "a.y": 0.0, "b.y": 1.0}
            log.append(
                TrialStarted(
                    trial=n, parameters=values, configuration=values, seed=n, is_baseline=n == 0, max_epochs=1
                ),
                AttemptStarted(trial=n, attempt=0),
                Epoch(trial=n, attempt=0, epoch=1, validation_accuracy=0.5 + n / 8),
            )
            if n < 3:
                log.append(TrialEnded(trial=n, status="completed", reason="all epochs done", epochs=1))
    return folder


def without_ray_or_tensorflow(*arguments: str) -> subprocess.CompletedProcess[str]:
    return python(BLOCKER + f"from tune.cli.main import main\nsys.exit(main({list(arguments)!r}))")


def test_a_leaderboard_is_shown_and_written_without_ray_or_tensorflow(run: Path, tmp_path: Path) -> None:
    csv = tmp_path / "out" / "board.csv"
    done = without_ray_or_tensorflow("leaderboard", str(run), "--csv", str(csv))
    assert done.returncode == 0, done.stderr
    lines = csv.read_text().splitlines()
    assert lines[0].startswith(
        "rank,trial,status,baseline,objective,objective_low,objective_high,tied,best_epoch,epochs,a.x,a.y,b.y,"
        "model_parameters"
    )
    assert len(lines) == 5
    assert "Not ranked: 1 running" in done.stdout


def test_a_leaderboard_is_selected_sorted_and_cut_with_the_ranks_of_the_whole(run: Path, tmp_path: Path) -> None:
    csv = tmp_path / "board.csv"
    selection = ("--where", "x < 0.75", "--where", "status = completed", "--sort", "x:asc", "--top", "2")
    done = without_ray_or_tensorflow("leaderboard", str(run), *selection, "--csv", str(csv))
    assert done.returncode == 0, done.stderr
    assert [line.split(",")[:2] for line in csv.read_text().splitlines()[1:]] == [["3", "0"], ["2", "1"]]
    assert done.stdout.splitlines()[-1] == "(2 of 4 trials)"
    assert "Not ranked" not in done.stdout


def test_the_status_of_a_run_is_shown_without_ray_or_tensorflow(run: Path) -> None:
    done = without_ray_or_tensorflow("status", str(run))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(
        f"study s, {run}: interrupted without a recorded reason, or a copy of a running one\n"
    )
    assert f"seti-tune resume {run}" in done.stdout


def test_runs_are_compared_without_ray_or_tensorflow(run: Path, tmp_path: Path) -> None:
    other, csv = tmp_path / "other", tmp_path / "all.csv"
    shutil.copytree(run, other)
    log = other / "events.jsonl"
    log.write_text(log.read_text().replace('"data_digest":"d"', '"data_digest":"e"'))
    done = without_ray_or_tensorflow("compare", str(run), str(other), "--top", "3", "--csv", str(csv))
    assert done.returncode == 0, done.stderr
    assert "warning: different data, objectives are not comparable: digests hand d, other e\n" in done.stderr
    assert [line.split(",")[:3] for line in csv.read_text().splitlines()[1:]] == [
        ["1", "hand", "2"],
        ["2", "other", "2"],
        ["3", "hand", "1"],
    ]
    assert done.stdout.splitlines()[-1] == "(3 more completed trials)"


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("leaderboard", "RUN", "--where", "status = completed", "--csv", "CSV"), "leaderboard"),
        (("compare", "RUN", "COPY", "--top", "3", "--csv", "CSV"), "comparison"),
        (("status", "RUN"), "status"),
    ],
)
def test_json_is_all_of_standard_output_and_fits_the_csv(
    run: Path, arguments: tuple[str, ...], kind: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tune.cli.main import main

    names = {"RUN": run, "COPY": shutil.copytree(run, run.with_name("copy")), "CSV": run.with_name("all.csv")}
    assert main([str(names.get(word, word)) for word in (*arguments, "--json")]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema_version"], found["kind"]) == (1, kind)
    if "CSV" in arguments:
        lines = names["CSV"].read_text().splitlines()
        assert lines[0] == ",".join(found["columns"])
        assert len(lines) - 1 == len(found["rows"]) == 3
        assert found["in_all"] > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("leaderboard", "RUN", "--where", "y > 0"), "'y' is the end of a.y, b.y; write the whole name"),
        (("leaderboard", "RUN", "--where", "x is 1"), "--where 'x is 1': NAME OP VALUE is expected"),
        (("leaderboard", "RUN", "--sort", "objectiv"), "no column 'objectiv'; did you mean objective?"),
        (("leaderboard", "RUN", "--top", "0"), "--top 0: at least 1 is expected"),
        (("compare", "RUN", "RUN"), "are the same run; give each run once"),
        (("compare", "RUN"), "1 run: at least two are expected"),
        (("compare", "RUN", "nowhere"), "nowhere: no run folder"),
        (("status", "nowhere"), "nowhere: no run folder"),
        (
            ("leaderboard", "RUN", "--csv", "."),
            ".: this is a folder, a file is expected; name a file in it or another one",
        ),
        (("leaderboard", "RUN", "--csv", "/"), "/: this is a folder, a file is expected"),
        (("leaderboard", "RUN", "--csv", "RUN"), "hand: this is a folder, a file is expected"),
        (("leaderboard", "RUN", "--csv", "RUN/events.jsonl"), "events.jsonl is the log of a run, which"),
        (("leaderboard", "RUN", "--csv", "RUN/events.jsonl/x"), "events.jsonl/x: cannot be written (File exists)"),
        (("compare", "RUN", "COPY", "--csv", "."), ".: this is a folder, a file is expected"),
        (("compare", "RUN", "COPY", "--csv", "/"), "/: this is a folder, a file is expected"),
        (("compare", "RUN", "COPY", "--csv", "RUN/events.jsonl"), "events.jsonl is the log of a run, which"),
    ],
)
def test_a_mistake_in_looking_at_runs_is_one_line(
    run: Path, arguments: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from tune.cli.main import main

    log = (run / "events.jsonl").read_bytes()
    copy = shutil.copytree(run, run.with_name("copy"))
    assert main([word.replace("RUN", str(run)).replace("COPY", str(copy)) for word in arguments]) == 2
    assert (run / "events.jsonl").read_bytes() == log
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_a_folder_that_is_no_run_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    done = seti_tune("leaderboard", str(tmp_path))
    assert done.returncode == 2
    assert done.stderr == (
        f"seti-tune: {tmp_path}: no run folder (events.jsonl is missing); give the folder that a search printed\n"
    )


def test_a_bug_shows_its_traceback_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    from tune.exits import guarded

    def broken() -> int:
        raise KeyError("ours")

    assert guarded(broken) == 1
    assert "KeyError: 'ours'" in capsys.readouterr().err


def test_a_file_of_ours_that_is_missing_is_a_bug(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from tune.exits import guarded

    def broken() -> int:
        return len((tmp_path / "template.html").read_text())

    assert guarded(broken) == 1
    assert "Traceback" in (said := capsys.readouterr().err)
    assert "FileNotFoundError" in said


@pytest.mark.parametrize(
    "error",
    ["results.errors.RecordError", "search_spaces.parameters.SpaceError", "seti_model.errors.DatasetError",
     "seti_model.errors.ProcessError", "tune.errors.StudyError"],
)  # fmt: skip
def test_an_error_that_explains_itself_is_one_line(error: str, capsys: pytest.CaptureFixture[str]) -> None:
    from tune.exits import guarded

    module, name = error.rsplit(".", maxsplit=1)
    raised: Exception = getattr(importlib.import_module(module), name)("run:\n  what; do this")

    def command() -> int:
        raise raised

    assert guarded(command) == 2
    assert capsys.readouterr().err == "seti-tune: run: what; do this\n"


def test_a_reader_that_leaves_is_no_error() -> None:
    code = "import sys; from tune.exits import guarded\ndef f():\n  raise BrokenPipeError\nsys.exit(guarded(f))"
    assert python(code).returncode == 0


def test_our_import_names_belong_to_our_distribution(tmp_path: Path) -> None:
    """Other distributions install modules called `tune` and `results`, over ours if pip is asked to.

    Asked outside the checkout, where only what is installed counts.
    """
    from tune.checks import OURS

    code = (
        "import importlib.metadata as m, json, tune.checks as p; p.check_installation(); "
        "owners = m.packages_distributions(); print(json.dumps({n: sorted(set(owners.get(n, []))) for n in p.OURS}))"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {name: ["seti-tune"] for name in OURS}


def test_a_package_taken_by_another_distribution_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "__init__.py").write_text("")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); import tune.checks as p; "
        f"sys.path.insert(0, {str(tmp_path)!r}); p.check_installation()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "InstallationError: the package 'results' is taken by" in done.stderr
    assert "uninstall the other distribution" in done.stderr
