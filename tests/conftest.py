"""What several test packages share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples in every run, and no limit on a single one: a slow machine is no failure.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

# A shell ignores Ctrl-C for what it starts in the background, and so would all commands that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of genuine images, which may not be copied into the project; tests without it are skipped."""
    named = os.environ.get("SETI_TUNE_REAL_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no genuine images in {folder}; set SETI_TUNE_REAL_DATA to their folder")
    return folder
