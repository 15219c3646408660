"""The sums of a log: whatever is lost, added or changed in its middle is noticed, and named where it stands."""

import json
import shutil
import zlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.errors import RecordError
from results.findings import Findings
from results.log import recorder
from results.log.chain import LONGEST_LINE, Chain
from results.log.recorder import EventLog
from results.log.records import Epoch, ModelExported, StudyStarted, TrialEnded, TrialStarted
from results.log.state import fold, load_run, read_events
from results.report.content import report
from results.run_folder import LOG_NAME, receipt_path
from results.study import Provenance, StudyRecord
from results.tables.compare import compare_runs
from results.tables.json_output import leaderboard_json, status_json
from results.tables.leaderboard import leaderboard_table, leaderboard_text
from results.tables.status import run_status, status_text

LINES = 12


def epoch(number: int) -> Epoch:
    return Epoch(trial=0, attempt=0, epoch=number, validation_accuracy=number / 100)


def write(run: Path, *, first: int = 1) -> Path:
    with EventLog(run) as log:
        for number in range(first, first + LINES, 3):
            log.append(*(epoch(n) for n in range(number, number + 3)))
    return run / LOG_NAME


def breaks(run: Path) -> list[int]:
    chain = Chain()
    list(read_events(run, chain))
    return chain.broken


def test_each_line_has_the_sum_of_all_bytes_before_it(tmp_path: Path) -> None:
    lines = write(tmp_path).read_bytes().splitlines(keepends=True)
    assert len(lines) == LINES
    for number, line in enumerate(lines):
        assert json.loads(line)["sum"] == f"{zlib.crc32(b''.join(lines[:number])):08x}"
    assert breaks(tmp_path) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(what=st.sampled_from(["lost", "doubled", "swapped", "changed"]), place=st.integers(1, LINES - 2))
def test_what_happens_to_a_line_in_the_middle_is_noticed_there(tmp_path: Path, what: str, place: int) -> None:
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    path = write(tmp_path / "run")
    lines = path.read_bytes().splitlines(keepends=True)
    if what == "lost":
        del lines[place]
        expected = place + 1
    elif what == "doubled":
        lines.insert(place, lines[place])
        expected = place + 2
    elif what == "swapped":
        lines[place], lines[place - 1] = lines[place - 1], lines[place]
        expected = place
    else:
        lines[place] = lines[place].replace(b'"attempt":0', b'"attempt":7')
        expected = place + 2
    path.write_bytes(b"".join(lines))
    found = breaks(tmp_path / "run")
    assert found[0] == expected
    with EventLog(tmp_path / "run") as log:  # goes on from what is there
        log.append(epoch(99))
    assert breaks(tmp_path / "run") == found


def test_a_changed_sum_and_a_line_without_one_are_noticed(tmp_path: Path) -> None:
    path = write(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:4], lines[4][:-11] + b'zzzzzzzz"}\n', *lines[5:]]))
    assert breaks(tmp_path)[0] == 5
    plain = json.loads(lines[4])
    del plain["sum"]
    path.write_bytes(b"".join([*lines[:4], json.dumps(plain).encode() + b"\n", *lines[5:]]))
    assert breaks(tmp_path)[0] == 5


def test_a_log_of_before_is_read_as_before_and_goes_on_with_sums(tmp_path: Path) -> None:
    path = write(tmp_path)
    plain = [json.loads(line) for line in path.read_bytes().splitlines()]
    path.write_text("".join(json.dumps({k: v for k, v in line.items() if k != "sum"}) + "\n" for line in plain))
    assert breaks(tmp_path) == []
    write(tmp_path, first=50)
    assert breaks(tmp_path) == []
    content = path.read_bytes()
    path.write_bytes(content.replace(b'"epoch": 3', b'"epoch": 4', 1))
    assert breaks(tmp_path) == [LINES + 1], "the first line with a sum covers those without"


def test_a_torn_line_that_was_cut_and_a_failed_append_leave_no_break(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    path.write_bytes(path.read_bytes()[:-7])
    real = recorder.os.write

    def full(descriptor: int, data: bytes) -> int:
        real(descriptor, bytes(data)[:40])
        raise OSError(28, "No space left on device")

    with EventLog(tmp_path) as log:
        log.append(epoch(20))
        with monkeypatch.context() as patch:
            patch.setattr(recorder.os, "write", full)
            with pytest.raises(RecordError, match="No space left on device"):
                log.append(epoch(21))
        log.append(epoch(22), durable=True)
    assert breaks(tmp_path) == []
    assert [e.epoch for e in read_events(tmp_path) if isinstance(e, Epoch)] == [*range(1, LINES), 20, 22]


def test_a_line_that_is_no_events_is_refused_before_it_takes_memory(tmp_path: Path) -> None:
    path = write(tmp_path)
    with path.open("ab") as file:
        file.write(b'{"v":1,"kind":"epoch","time":"' + b"x" * (LONGEST_LINE + 10) + b'"}\n')
    with pytest.raises(
        RecordError, match=rf"line {LINES + 1}: damaged: longer than {LONGEST_LINE} bytes.*restore"
    ) as raised:
        list(read_events(tmp_path))
    assert len(str(raised.value)) < 400


# What is said of it ------------------------------------------------------------------------------------------


def a_run(run: Path) -> Path:
    space = {
        "name": "line",
        "description": "One number.",
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0, "reason": "The only one."}},
    }
    with EventLog(run) as log:
        log.append(StudyStarted(study=StudyRecord(), space=space, data_digest="d", provenance=Provenance()))
        for trial in range(3):
            log.append(
                TrialStarted(trial=trial, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=0, max_epochs=1),
                Epoch(trial=trial, attempt=0, epoch=1, validation_accuracy=0.5),
                TrialEnded(trial=trial, status="completed", reason="", epochs=1),
            )
    return run


def words_of(run: Path) -> dict[str, str]:
    state, table = load_run(run), leaderboard_table(load_run(run))
    return {
        "leaderboard": leaderboard_text(state, table),
        "leaderboard --json": leaderboard_json(run, state, table, in_all=len(table.rows)),
        "status": status_text(run_status(run)),
        "status --json": status_json(run_status(run)),
        "compare": "\n".join(compare_runs([run, a_run(run.parent / "other")]).warnings),
        "report": repr(report(Findings.read(run)).sections[0]),
    }


def test_every_table_and_page_says_at_its_top_that_lines_are_missing(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    for text in words_of(run).values():
        assert "does not go on" not in text
    path = run / LOG_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], *lines[6:]]))  # the epoch of trial 1
    for where, text in words_of(run).items():
        assert "line 6 of events.jsonl does not go on from those before it" in text.split("study ")[0], where
    assert [t.started.trial for t in load_run(run).search_trials()] == [0, 1, 2], "what can be read is read"


def test_an_end_that_was_lost_is_told_from_receipts_and_the_final_model(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    for trial in range(3):
        receipt = receipt_path(run, trial, None)
        receipt.parent.mkdir(exist_ok=True)
        receipt.write_text("{}")
    assert load_run(run).doubts == []
    path = run / LOG_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-4]))  # the end of trial 1 and trial 2
    [doubt] = load_run(run).doubts
    assert doubt.startswith(
        "receipts/0001.json (and 1 more) is of a trial that has not ended according to events.jsonl"
    )
    assert f"warning: {doubt}" in status_text(run_status(run))
    path.write_bytes(b"".join(lines))
    (run / "final").mkdir()
    (run / "final/model.json").write_text("{}")
    [doubt] = load_run(run).doubts
    assert doubt.startswith("final/model.json is of finals that events.jsonl does not hold: lines were lost")


def test_a_model_that_was_exported_is_in_the_state_by_its_path(tmp_path: Path) -> None:
    run = a_run(tmp_path / "run")
    with EventLog(run) as log:
        log.append(ModelExported(trial=2, repeat=0, path="final/model.keras", digest="abc"))
    assert fold(run).models["final/model.keras"].digest == "abc"
    with pytest.raises(ValueError, match=r"path: expected a path below the run folder, found '\.\./model\.keras'"):
        ModelExported(trial=2, path="../model.keras", digest="abc")


@pytest.mark.parametrize("path", ["../other/0003", "/etc/passwd", "checkpoints/../../x", "", "a\0b"])
def test_a_log_that_names_a_path_outside_is_damaged(tmp_path: Path, path: str) -> None:
    log = write(tmp_path)
    line = {"v": 1, "kind": "checkpoint", "time": "2026-01-01T00:00:00.000Z", "trial": 0, "attempt": 0, "epoch": 1}
    log.write_text(json.dumps(line | {"path": path, "bytes": 1, "digest": "d"}) + "\n")
    with pytest.raises(RecordError, match=r"line 1: damaged: path: expected a path below the run folder, found "):
        list(read_events(tmp_path))
