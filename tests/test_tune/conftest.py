import contextlib
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
    """Return a function that writes a study of the millisecond trainable and returns its path."""

    def write(*, trials: int = 12, max_epochs: int = 9, seed: int = 7, extra: str = "", **fixed: object) -> Path:
        (tmp_path / "line.toml").write_text(SPACE)
        (tmp_path / "quick_trainable.py").write_text((Path(__file__).parent / "quick_trainable.py").read_text())
        values = "\n".join(f"{k} = {v}" for k, v in fixed.items())
        path = tmp_path / "quick.toml"
        path.write_text(
            f'[study]\nspace = "line.toml"\ntrials = {trials}\nmax_epochs = {max_epochs}\nseed = {seed}\n'
            'trainable = "quick_trainable:train"\n[asha]\ngrace_epochs = 1\n[baseline]\nx = 0.9\n'
            f"[fixed]\n{values}\n{extra}"
        )
        return path

    return write


@pytest.fixture
def tight_cgroup() -> Iterator[Path]:
    """A real control group of 300 MB; the kernel kills what wants more."""
    group = Path("/sys/fs/cgroup/memory/seti-tune-test")
    limit = group / "memory.limit_in_bytes"
    if not (group.parent / "cgroup.procs").exists():
        group, limit = Path("/sys/fs/cgroup/seti-tune-test"), Path("/sys/fs/cgroup/seti-tune-test/memory.max")
    try:
        group.mkdir(exist_ok=True)
        limit.write_text("300000000")
    except OSError:
        pytest.skip("a control group with a limit of memory cannot be made here")
    yield group
    with contextlib.suppress(OSError):
        group.rmdir()
