import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from results.errors import RecordError
from results.log.reading import read_events
from results.log.recorder import EventLog, is_being_written
from results.log.records import Epoch, StudyEnded
from results.log.state import load_run
from results.run_folder import LOG_NAME


def epoch(number: int) -> Epoch:
    return Epoch(trial=0, attempt=0, epoch=number, validation_accuracy=0.5)


def test_what_was_appended_is_read_back_in_order(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(epoch(1), epoch(2))
        log.append(epoch(3), durable=True)
        assert [e.epoch for e in read_events(tmp_path) if isinstance(e, Epoch)] == [1, 2, 3]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(cut=st.integers(0, 600))
def test_a_log_cut_anywhere_gives_its_whole_lines_and_goes_on(tmp_path: Path, cut: int) -> None:
    """What a crash leaves behind: reading never fails, the next writer loses only the torn line."""
    (tmp_path / LOG_NAME).unlink(missing_ok=True)
    with EventLog(tmp_path) as log:
        log.append(*(epoch(n) for n in range(1, 6)))
    path = tmp_path / LOG_NAME
    data = path.read_bytes()[:cut]
    path.write_bytes(data)
    whole = data.count(b"\n")
    assert len(list(read_events(tmp_path))) == whole
    assert path.read_bytes() == data, "a reader repaired the log"
    with EventLog(tmp_path) as log:
        log.append(epoch(9))
    numbers = [e.epoch for e in read_events(tmp_path) if isinstance(e, Epoch)]
    assert numbers == [*range(1, whole + 1), 9]


def test_damage_before_the_end_names_file_and_line(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(*(epoch(n) for n in range(1, 4)))
    path = tmp_path / LOG_NAME
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + b"xx" + lines[1] + lines[2])
    with pytest.raises(RecordError, match=r"events\.jsonl, line 2: damaged: not JSON.*restore the file"):
        list(read_events(tmp_path))


def test_a_folder_without_a_log_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"no run folder \(events\.jsonl is missing\)"):
        list(read_events(tmp_path))


def test_a_log_that_never_started_a_study_is_refused(tmp_path: Path) -> None:
    with EventLog(tmp_path) as log:
        log.append(StudyEnded(finished=False, reason="x"))
    with pytest.raises(RecordError, match="holds no study_started; start the search again"):
        load_run(tmp_path)


def test_a_second_writer_is_refused_and_a_dead_one_leaves_no_lock(tmp_path: Path) -> None:
    code = f"""
        import pathlib, sys, time
        from results.log.recorder import EventLog
        log = EventLog(pathlib.Path({str(tmp_path)!r}))
        print("locked", flush=True)
        time.sleep(60)
    """
    writer = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "locked\n"
        with pytest.raises(RecordError, match="another process is running this study; wait for it"):
            EventLog(tmp_path)
    finally:
        writer.kill()
        writer.communicate()
    EventLog(tmp_path).close()


def test_a_run_is_being_written_exactly_while_its_writer_lives(tmp_path: Path) -> None:
    assert not is_being_written(tmp_path), "there is no log yet"
    code = f"""
        import pathlib, sys
        from results.log.recorder import EventLog
        log = EventLog(pathlib.Path({str(tmp_path)!r}))
        print("locked", flush=True)
        sys.stdin.read()
    """
    writer = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "locked\n"
        assert is_being_written(tmp_path)
        copy = tmp_path / "copy"
        copy.mkdir()
        (copy / LOG_NAME).write_bytes((tmp_path / LOG_NAME).read_bytes())
        (copy / LOG_NAME).chmod(0o444)
        assert not is_being_written(copy), "a read-only copy of a running one"
    finally:
        writer.kill()
        writer.communicate()
    assert not is_being_written(tmp_path)


def test_readers_that_ask_all_the_time_keep_no_writer_from_starting(tmp_path: Path) -> None:
    """Asking takes a shared lock for an instant; a writer that meets it tries again before it gives up."""
    EventLog(tmp_path).close()
    code = f"""
        import pathlib, time
        from results.log.recorder import is_being_written
        print("asking", flush=True)
        while True:
            is_being_written(pathlib.Path({str(tmp_path)!r}))
            time.sleep(0.001)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    readers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        for reader in readers:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "asking\n"
        for _ in range(20):
            EventLog(tmp_path).close()
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def test_a_reader_that_holds_the_lock_for_a_moment_delays_a_writer_only(tmp_path: Path) -> None:
    EventLog(tmp_path).close()
    code = f"""
        import fcntl, time
        file = open({str(tmp_path / LOG_NAME)!r})
        fcntl.flock(file, fcntl.LOCK_SH)
        print("held", flush=True)
        time.sleep(0.2)
    """
    reader = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True)
    try:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "held\n"
        EventLog(tmp_path).close()
    finally:
        reader.kill()
        reader.communicate()


def test_a_write_that_the_disk_cuts_short_is_one_line_and_leaves_only_whole_events(tmp_path: Path) -> None:
    """A limit on the size of files stands in for a full disk: the kernel takes a part and then refuses."""
    code = f"""
        import pathlib, resource
        from results.errors import RecordError
        from results.log.records import Epoch
        from results.run_folder import LOG_NAME
        from results.log.recorder import EventLog
        run = pathlib.Path({str(tmp_path)!r})
        log = EventLog(run)
        log.append(Epoch(trial=0, attempt=0, epoch=1, validation_accuracy=0.5))
        size = (run / LOG_NAME).stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 40, resource.RLIM_INFINITY))
        try:
            log.append(Epoch(trial=0, attempt=0, epoch=2, validation_accuracy=0.5))
        except RecordError as error:
            print(error)
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert (run / LOG_NAME).stat().st_size == size
        log.append(Epoch(trial=0, attempt=0, epoch=3, validation_accuracy=0.5))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "events.jsonl: cannot be written (File too large); free some space" in done.stdout
    assert [e.epoch for e in read_events(tmp_path) if isinstance(e, Epoch)] == [1, 3]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match=r"cannot be written to .*choose another folder"):
        EventLog(tmp_path / "file" / "run")
