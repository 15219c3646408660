import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SPACE = """
name = "line"
description = "One number."
[parameters.x]
type = "float"
low = 0.0
high = 1.0
reason = "The only one."
"""


@pytest.fixture
def quick_study(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a study of the millisecond trainable and returns its path.

    Its finals are twelve retrainings; the `short_finals` of tests that are about something else are two.
    """

    def write(
        *,
        trials: int = 12,
        max_epochs: int = 9,
        seed: int = 7,
        extra: str = "",
        short_finals: bool = False,
        **fixed: object,
    ) -> Path:
        finals = "[finals]\nfinalists = 1\nmax_finalists = 1\nseeds = 1\n" if short_finals else ""
        (tmp_path / "line.toml").write_text(SPACE)
        (tmp_path / "quick_trainable.py").write_text((Path(__file__).parent / "quick_trainable.py").read_text())
        values = "\n".join(f"{k} = {v}" for k, v in fixed.items())
        path = tmp_path / "quick.toml"
        path.write_text(
            f'[study]\nspace = "line.toml"\ntrials = {trials}\nmax_epochs = {max_epochs}\nseed = {seed}\n'
            'trainable = "quick_trainable:train"\n[asha]\ngrace_epochs = 1\n[baseline]\nx = 0.9\n'
            f"[fixed]\n{values}\n{finals}{extra}"
        )
        return path

    return write


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
