import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest
from processes import write_quick_study
from stores import WAITS_S, S3Server, s3_server

from tune.cli.main import main
from tune.storage.store import Store


@pytest.fixture
def quick_study(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a study of the millisecond trainable into `tmp_path` and returns its path."""
    return partial(write_quick_study, tmp_path)


@pytest.fixture
def tight_cgroup() -> Iterator[Path]:
    """A real control group of 300 MB; the kernel kills what wants more."""
    group = Path(f"/sys/fs/cgroup/memory/seti-tune-test-{os.getpid()}")
    limit = group / "memory.limit_in_bytes"
    if not (group.parent / "cgroup.procs").exists():
        group = Path("/sys/fs/cgroup") / group.name
        limit = group / "memory.max"
    try:
        group.mkdir(exist_ok=True)
        limit.write_text("300000000")
        code = f"open('{group}/cgroup.procs', 'w').write('0'); len(bytearray(b'x') * 400_000_000)"
        is_tight = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == -9
    except OSError:
        is_tight = False
    if not is_tight:
        with contextlib.suppress(OSError):
            group.rmdir()
        pytest.skip("a control group in which the kernel kills for memory cannot be made here")
    yield group
    with contextlib.suppress(OSError):
        group.rmdir()


@pytest.fixture(scope="session")
def server() -> Iterator[S3Server]:
    """A server that speaks S3, whose answers a test can make fail (stores.py)."""
    with s3_server() as running:
        yield running


@pytest.fixture
def uri(server: S3Server, request: pytest.FixtureRequest) -> Iterator[str]:
    """An address of a test's own; what it made fail is over with it."""
    yield server.uri(f"{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}/run")
    server.faults.clear()


@pytest.fixture(params=["folder", "s3", "s3 without conditions"])
def store(request: pytest.FixtureRequest, uri: str, tmp_path: Path) -> Store:
    """A store in a plain folder, and one of S3 with boto3 and without, that is asked four times at most."""
    place = f"file://{tmp_path}/store" if request.param == "folder" else uri
    return Store(place, waits_s=WAITS_S, is_conditional=request.param != "s3 without conditions")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 96 kB; only root may mount one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.fixture
def line(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function: the words of a command -> the one line of a command that ends with exit code 2."""

    def end(*words: object) -> str:
        code = main([str(word) for word in words])
        printed = capsys.readouterr().err
        assert code == 2, printed
        [said] = printed.splitlines()
        assert "; " in said, "no next step"
        return said.removeprefix("seti-tune: ")

    return end
