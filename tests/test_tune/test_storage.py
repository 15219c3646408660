"""Checkpoints, models and the log in a store: a server that speaks S3, with answers that fail, and a plain folder."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import write_quick_study
from stores import WAITS_S, S3Server

from results.errors import RecordError
from results.log.recorder import EventLog, Recorder
from results.log.records import (
    Checkpoint,
    Epoch,
    StudyEnded,
    StudyStarted,
    TrialStarted,
)
from results.run_folder import LOG_NAME
from results.study import Provenance, StorageSection, StudyRecord, StudySection
from tune.cli.main import main
from tune.errors import StorageError, StorageRefusedError, StudyError
from tune.resume import check_continuation
from tune.storage import store as stores
from tune.storage.lease import Holder, Lease
from tune.storage.segments import StoredLog, restore, stored_log
from tune.storage.store import Store
from tune.study import load_study

# The store ---------------------------------------------------------------------------------------------------


def test_files_and_folders_come_back_as_they_were_put(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "0003"
    (folder / "deep").mkdir(parents=True)
    contents = {"state.npz": os.urandom(6_000_000), "deep/empty": b"", "a b%41.json": b"{}"}
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    assert not store.exists("checkpoints/0003")
    store.put(folder, "checkpoints/0003")
    store.put(folder / "a b%41.json", "one.json")
    assert store.exists("checkpoints/0003")
    assert store.exists("checkpoints/0003/state.npz")
    assert not store.exists("checkpoints/000")
    assert store.fetch("checkpoints/0003", tmp_path / "back")
    back = tmp_path / "back"
    assert {p.relative_to(back).as_posix(): p.read_bytes() for p in back.rglob("*") if p.is_file()} == contents
    assert store.fetch("checkpoints/0003", tmp_path / "part", without=("state.npz",))
    assert not (tmp_path / "part" / "state.npz").exists()
    assert store.fetch("one.json", tmp_path / "one.json")
    assert (tmp_path / "one.json").read_bytes() == b"{}"
    assert not store.fetch("checkpoints/0004", tmp_path / "none")
    store.remove(*store.files("checkpoints"), "checkpoints/0004")
    assert store.files("checkpoints") == []
    assert not store.exists("checkpoints/0003")
    assert sorted(p.name for p in tmp_path.iterdir() if p.name.startswith(".")) == []


def test_a_file_that_must_be_new_is_written_once(store: Store) -> None:
    assert store.write_new("log/1", b"one")
    assert store.write_new("log/1", b"one"), "our own write, whose answer was lost"
    assert not store.write_new("log/1", b"another")
    assert store.read("log/1") == b"one"
    assert store.read("log/2") is None


@pytest.mark.parametrize("is_conditional", [True, False])
def test_answers_that_fail_are_asked_for_again_and_nothing_is_lost(
    server: S3Server, uri: str, tmp_path: Path, is_conditional: bool
) -> None:
    store = Store(uri, waits_s=WAITS_S, is_conditional=is_conditional)
    (tmp_path / "file").write_bytes(b"x" * 1000)
    failing = [
        server.fail("PUT", "first", times=3),
        server.fail("PUT", "second", times=2, status="503 Slow Down", is_done=True),
        server.fail("PUT", "third", times=3),
        server.fail("HEAD", "third", times=2),
        server.fail("GET", "third", times=1),
    ]
    store.write("first", b"1")
    assert store.write_new("second", b"2"), "it was carried out, only the answer was lost"
    store.put(tmp_path / "file", "third")
    assert [store.read(name) for name in ("first", "second", "third")] == [b"1", b"2", b"x" * 1000]
    assert [(fault.hits, fault.left) for fault in failing] == [(3, 0), (2, 0), (3, 0), (2, 0), (1, 0)]


def test_a_store_that_does_not_answer_is_one_error_after_a_few_tries(
    server: S3Server, uri: str, tmp_path: Path
) -> None:
    store = Store(uri, waits_s=WAITS_S)
    fault = server.fail("lost", times=1000)
    address = uri.partition("?")[0]
    again = "everything recorded so far is kept, start the same command again to go on"
    for ask in (
        lambda: store.write("lost", b""),
        lambda: store.write_new("lost", b""),
        lambda: store.read("lost"),
        lambda: store.fetch("lost", tmp_path / "lost"),
    ):
        before = fault.hits
        with pytest.raises(StorageError, match=rf"{address}/lost: no answer to 4 tries \(.*500.*\); {again}") as caught:
            ask()
        assert caught.value.exit_code == 3
        assert fault.hits - before == len(WAITS_S) + 1


def test_slow_answers_are_waited_for_and_those_that_never_come_are_asked_for_again(
    server: S3Server, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stores, "ANSWER_S", 2.0)
    store = Store(uri, waits_s=WAITS_S)
    slow, late = server.delay("slow", seconds=0.5, times=2), server.delay("late", seconds=4.0)
    store.write("slow", b"1")
    store.write("late", b"2")
    assert store.read("slow") == b"1"
    assert store.read("late") == b"2"
    assert (slow.hits, late.hits) == (2, 1)


@pytest.mark.parametrize("is_conditional", [True, False])
def test_what_the_store_refuses_is_not_asked_again(server: S3Server, is_conditional: bool) -> None:
    elsewhere = server.uri("x").replace("bucket", "nowhere")
    before = len(server.requests)
    refused = r"s3://nowhere/x/log: refused \(.*bucket does not exist.*\); make the bucket, or give credentials for it"
    with pytest.raises(StorageRefusedError, match=refused) as caught:
        Store(elsewhere, is_conditional=is_conditional).write_new("log", b"")
    assert caught.value.exit_code == 2
    assert len(server.requests) - before <= 2


@pytest.mark.parametrize(
    ("address", "why"),
    [("ftp://host/x", "Unrecognized filesystem type"), ("s3:///x", "no bucket is named"), ("s3://b?nonsense=1", "")],
)
def test_an_address_that_is_none_is_said(address: str, why: str) -> None:
    with pytest.raises(StorageRefusedError, match=rf"cannot be used \(.*{why}.*\); give an address that pyarrow reads"):
        Store(address)


def test_a_store_whose_server_lacks_conditions_is_used_without(server: S3Server, uri: str) -> None:
    server.fail("PUT", "log/1", status="501 Not Implemented")
    store = Store(uri, waits_s=WAITS_S)
    assert store.write_new("log/1", b"one")
    assert not store.is_conditional
    assert not store.write_new("log/1", b"another")


# One writer --------------------------------------------------------------------------------------------------


def lease(store: Store, said: list[str] | None = None, **seconds: float) -> Lease:
    return Lease(store, say=(said if said is not None else []).append, **seconds)


def write_holder(store: Store, *, beat: int = 0, **changes: object) -> None:
    """Write the lease of a driver on another machine."""
    there = {"host": "elsewhere", "machine": "elsewhere", "mark": "theirs", **changes}
    holder = dataclasses.replace(Holder.here(), beat=beat, **there)
    store.write("lease/000000001.json", holder.to_bytes())


def test_a_second_driver_is_refused_while_the_first_one_runs_and_let_in_after_it(store: Store) -> None:
    with lease(store), pytest.raises(StudyError, match=r"/.*: \S+ \(process \d+\) is running this study; wait for it"):
        lease(store).__enter__()
    with lease(store) as last:
        last.check()
    assert store.files("lease") == ["lease/000000002.json"]


def test_of_two_drivers_that_begin_at_once_one_is_let_in(store: Store) -> None:
    store.write("lease/000000004.json", dataclasses.replace(Holder.here(), is_released=True).to_bytes())
    outcomes: list[object] = []
    over = threading.Event()

    def begin() -> None:
        try:
            with lease(store):
                outcomes.append("in")
                over.wait(20)
        except (StudyError, StorageError) as error:
            outcomes.append(str(error))

    threads = [threading.Thread(target=begin) for _ in range(3)]
    for thread in threads:
        thread.start()
    until = time.monotonic() + 20
    while len(outcomes) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    over.set()
    for thread in threads:
        thread.join()
    assert Counter(outcomes)["in"] == 1
    assert len(outcomes) == 3
    assert all("is running this study" in str(o) or "has taken over" in str(o) for o in outcomes if o != "in")


def test_a_driver_that_was_killed_on_this_machine_is_not_waited_for(store: Store) -> None:
    process = subprocess.Popen(["sleep", "0"])
    process.wait()
    store.write("lease/000000001.json", dataclasses.replace(Holder.here(), pid=process.pid).to_bytes())
    said: list[str] = []
    with lease(store, said):
        assert not said


def test_a_driver_on_another_machine_is_taken_over_when_it_is_silent(store: Store) -> None:
    write_holder(store)
    said: list[str] = []
    began = time.monotonic()
    with lease(store, said, silent_s=1.0):
        assert time.monotonic() - began >= 1.0
    assert said == ["elsewhere may still run this study; going on if it is silent for 1 s"]


def test_a_driver_on_another_machine_that_gives_a_sign_of_life_is_not(store: Store) -> None:
    write_holder(store)
    sign = threading.Timer(0.3, lambda: write_holder(store, beat=1))
    sign.start()
    with pytest.raises(StudyError, match=r"elsewhere \(process \d+\) is running this study"):
        lease(store, silent_s=5.0).__enter__()
    sign.join()


def test_a_driver_gives_signs_of_life(store: Store) -> None:
    with lease(store, renew_s=0.05):
        until = time.monotonic() + 10
        while json.loads(store.read("lease/000000001.json") or b"{}")["beat"] < 3 and time.monotonic() < until:
            time.sleep(0.02)
        assert json.loads(store.read("lease/000000001.json") or b"{}")["beat"] >= 3


def test_a_driver_that_was_stopped_too_long_writes_nothing_more(store: Store) -> None:
    with lease(store, silent_s=0.2) as held:
        time.sleep(0.15)
        held.check()  # nobody has come meanwhile
        time.sleep(0.15)
        store.write("lease/000000002.json", Holder.here().to_bytes())
        log = StoredLog(store, held)
        with pytest.raises(StorageError, match="another driver has taken over this run; look at it there, or start"):
            log.write(b"{}\n")
    assert store.files("log") == []


def test_a_driver_that_was_stopped_does_not_take_its_lease_back(store: Store) -> None:
    with lease(store, silent_s=0.4, renew_s=0.3) as held:
        held._renewed -= 10  # as after ten seconds in which nothing ran
        store.write("lease/000000002.json", Holder.here().to_bytes())
        store.remove("lease/000000001.json")
        time.sleep(0.8)  # its sign of life is due meanwhile
        with pytest.raises(StorageError, match="another driver has taken over this run"):
            held.check()
        assert store.files("lease") == ["lease/000000002.json"]


def test_a_damaged_lease_is_named(store: Store) -> None:
    store.write("lease/000000001.json", b"{")
    with pytest.raises(StorageError, match=r"lease/000000001\.json: damaged \(.*\); remove it if no driver is running"):
        lease(store).__enter__()


# The log -----------------------------------------------------------------------------------------------------


def opening(name: str = "s", uri: str | None = None) -> StudyStarted:
    study = StudySection(name=name, max_epochs=2, trials=4, space="line")
    return StudyStarted(
        study=StudyRecord(study=study, storage=StorageSection(uri)),
        space={"parameters": {"x": {"type": "float"}}},
        space_fingerprint="f",
        data_digest=None,
        provenance=Provenance(),
    )


def trial(number: int) -> TrialStarted:
    return TrialStarted(trial=number, parameters={"x": 0.5}, configuration={"x": 0.5}, seed=1, max_epochs=2)


def epoch(number: int) -> Epoch:
    return Epoch(trial=0, attempt=0, epoch=number, validation_accuracy=0.5)


def record(store: Store, run: Path) -> bytes:
    """Write a log of four segments through a recorder; return what the run folder has of it."""
    with lease(store) as held, Recorder(run, StoredLog(store, held)) as recorder:
        recorder.write(opening(), durable=True)
        recorder.write(trial(0), durable=True)
        recorder.write(epoch(1))
        recorder.write(epoch(2), trial(1), durable=True)
        recorder.write(StudyEnded(finished=False, reason="interrupted"))
    return (run / LOG_NAME).read_bytes()


def content(store: Store, number: int) -> list[bytes]:
    return (store.read(f"log/{number:09d}.jsonl") or b"").splitlines(keepends=True)


def test_the_events_of_a_decision_are_one_segment_and_stand_there_before_anybody_is_told(
    store: Store, tmp_path: Path
) -> None:
    seen: list[int] = []
    with lease(store) as held, Recorder(tmp_path / "run", StoredLog(store, held)) as recorder:
        recorder.listen(lambda event: seen.append(len(store.files("log"))))
        recorder.write(opening(), durable=True)
        recorder.write(trial(0), durable=True)
        recorder.write(epoch(1))
        recorder.write(epoch(2), trial(1), durable=True)
        recorder.write(StudyEnded(finished=False, reason="interrupted"))
    assert seen == [1, 2, 2, 3, 3, 3]
    log = (tmp_path / "run" / LOG_NAME).read_bytes()
    assert store.files("log") == [f"log/{n:09d}.jsonl" for n in (1, 2, 3, 4)]
    assert [len(content(store, n)) - 1 for n in (1, 2, 3, 4)] == [1, 1, 3, 1]
    assert StoredLog(store).read() == log


def test_a_run_folder_without_a_store_has_no_other_log_than_before(tmp_path: Path) -> None:
    with stored_log(None, say=print, check=lambda: None) as log:
        assert log is None
    with Recorder(tmp_path / "run") as recorder:
        recorder.write(opening(), durable=True)
    assert [p.name for p in (tmp_path / "run").iterdir()] == [LOG_NAME]


def drop(store: Store, number: int) -> None:
    store.remove(f"log/{number:09d}.jsonl")


def write_again(store: Store, number: int) -> None:
    head, *lines = content(store, number)
    store.write(f"log/{number:09d}.jsonl", head + b"".join([*lines, *lines]))


def cut(store: Store, number: int) -> None:
    store.write(f"log/{number:09d}.jsonl", b"".join(content(store, number))[:-4])


def behead(store: Store, number: int) -> None:
    store.write(f"log/{number:09d}.jsonl", b"".join(content(store, number)[1:]))


@pytest.mark.parametrize(
    ("damage", "number", "message"),
    [
        (drop, 2, r"log/000000002\.jsonl: missing, later ones are there"),
        (drop, 1, r"log/000000001\.jsonl: missing, later ones are there"),
        (write_again, 2, r"log/000000002\.jsonl: was written twice, segment 3 follows another one"),
        (write_again, 3, r"log/000000003\.jsonl: was written twice, segment 4 follows another one"),
        (cut, 4, r"log/000000004\.jsonl: its last line is cut off"),
        (behead, 3, r"log/000000003\.jsonl: its first line does not say which segment it is"),
    ],
)
def test_a_gap_and_a_number_written_twice_are_damage_and_named(
    store: Store, tmp_path: Path, damage: Callable[[Store, int], None], number: int, message: str
) -> None:
    record(store, tmp_path / "run")
    damage(store, number)
    way = "restore it from a copy, or remove it and all later ones to continue from there"
    with pytest.raises(StorageError, match=f"{message}; {way}") as caught:
        StoredLog(store).read()
    assert caught.value.exit_code == 2


def test_lines_that_one_of_the_two_lacks_are_given_to_it(store: Store, tmp_path: Path) -> None:
    log = record(store, tmp_path / "run")
    with Recorder(tmp_path / "run") as recorder:  # as a command that asks no store
        recorder.write(trial(2))
    longer = (tmp_path / "run" / LOG_NAME).read_bytes()
    with lease(store) as held:
        with Recorder(tmp_path / "run", StoredLog(store, held)):
            assert StoredLog(store).read() == longer
        (tmp_path / "run" / LOG_NAME).write_bytes(log[:-10])
        with Recorder(tmp_path / "run", StoredLog(store, held)) as recorder:
            assert (tmp_path / "run" / LOG_NAME).read_bytes() == longer
            assert (2, None) in recorder.state.trials
            recorder.write(trial(3), durable=True)
    assert StoredLog(store).read() == (tmp_path / "run" / LOG_NAME).read_bytes()


def test_a_folder_from_which_another_driver_has_parted_is_refused(store: Store, tmp_path: Path) -> None:
    record(store, tmp_path / "run")
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    for name, mirrored in (("run", True), ("copy", False)):
        with lease(store) as held, Recorder(tmp_path / name, StoredLog(store, held) if mirrored else None) as recorder:
            recorder.write(trial(2), durable=True)
    parted = rf"copy/events\.jsonl, line 7: is another one in .*{store.named('')}; another driver has gone on"
    with lease(store) as held, pytest.raises(RecordError, match=parted):
        Recorder(tmp_path / "copy", StoredLog(store, held))


def test_a_run_whose_checkpoints_are_elsewhere_is_not_begun_in_an_empty_store(store: Store, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        saved = Checkpoint(trial=0, attempt=0, epoch=1, path="checkpoints/0000/0/0001", bytes=1, digest="d")
        recorder.write(opening(), trial(0), saved)
    with (
        lease(store) as held,
        pytest.raises(RecordError, match=r"holds nothing of the run in .*, whose checkpoints"),
    ):
        Recorder(tmp_path, StoredLog(store, held))


def test_a_segment_that_somebody_else_wrote_ends_the_driver_and_the_rest_stays_on_its_disk(
    store: Store, tmp_path: Path
) -> None:
    with lease(store) as held, Recorder(tmp_path / "run", StoredLog(store, held)) as recorder:
        recorder.write(opening(), durable=True)
        store.write("log/000000002.jsonl", b"theirs\n")
        with pytest.raises(StorageError, match=r"log/000000002\.jsonl: another driver has written this segment"):
            recorder.write(trial(0), durable=True)
        assert not recorder.state.trials, "what is not in the store has not happened"
        recorder.write(StudyEnded(finished=False, reason="the store is lost"), durable=True)
    assert (tmp_path / "run" / LOG_NAME).read_bytes().count(b"\n") == 3
    assert store.read("log/000000002.jsonl") == b"theirs\n"


def test_a_run_folder_is_made_from_a_store(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match=r"holds no run; give the uri that its study has in \[storage\]"):
        restore(store.uri, tmp_path / "none")
    log = record(store, tmp_path / "run")
    store.write("final/model.keras", b"model")
    assert restore(store.uri, None) == Path("runs/s")
    assert Path("runs/s", LOG_NAME).read_bytes() == log
    assert Path("runs/s/final/model.keras").read_bytes() == b"model"
    Path("runs/s", LOG_NAME).write_bytes(log[:-10])
    restore(store.uri, Path("runs/s"))
    assert Path("runs/s", LOG_NAME).read_bytes() == log, "what another machine added counts before the study is read"
    with Path("runs/s", LOG_NAME).open("ab") as file:
        file.write(log.splitlines(keepends=True)[-1])
    restore(store.uri, Path("runs/s"))
    assert Path("runs/s", LOG_NAME).read_bytes().startswith(log), "a longer log is left as it is"
    with EventLog(tmp_path / "another") as log_of_another:
        log_of_another.append(opening("t"))
    with pytest.raises(StudyError, match=r"another: holds another run than .*; name another folder with --run"):
        restore(store.uri, tmp_path / "another")
    Path("file").write_text("")
    with pytest.raises(RecordError, match=r"file/run: cannot be written to \(Not a directory\); name another"):
        restore(store.uri, Path("file/run"))


# The study ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("bucket/prefix", 'expected an address such as "s3://bucket/prefix", found'),
        ("s3://key:secret@bucket/x", "holds credentials, which a log would keep; give them in each node's environment"),
        ("s3://key@bucket/x", "holds credentials"),
        ("s3://bucket/x?secret_key=hidden", "holds credentials"),
        ("abfs://files@account.example/x?sv=1&sig=hidden", "holds credentials"),
    ],
)
def test_an_address_with_credentials_or_none_at_all_is_refused_in_a_study(
    tmp_path: Path, given: str, message: str
) -> None:
    file = write_quick_study(tmp_path, extra=f'[storage]\nuri = "{given}"\n')
    with pytest.raises(StudyError, match=rf"quick\.toml: \[storage\] uri: {message}") as caught:
        load_study(file)
    assert "hidden" not in str(caught.value)


def test_a_run_with_a_store_does_not_go_on_without_it(tmp_path: Path) -> None:
    with_one = load_study(write_quick_study(tmp_path, extra='[storage]\nuri = "s3://bucket/x"\n'))
    without = load_study(write_quick_study(tmp_path))
    with Recorder(tmp_path / "run") as recorder:
        event = dataclasses.replace(
            opening(),
            study=with_one.record(),
            space=with_one.space.to_mapping(),
            space_fingerprint=with_one.space.fingerprint,
        )
        recorder.write(event)
        check_continuation(with_one.with_storage("s3://another/x"), recorder.state, tmp_path / "run")
        with pytest.raises(StudyError, match=r"run: its checkpoints are in s3://bucket/x; set \[storage\] uri again"):
            check_continuation(without, recorder.state, tmp_path / "run")


def test_another_folder_is_for_an_address_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume", str(tmp_path / "run"), "--run", str(tmp_path / "other")]) == 2
    assert "other: " in (line := capsys.readouterr().err)
    assert line.endswith("is a run folder itself; leave --run out\n")
