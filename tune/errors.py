"""Where errors end: a user's mistake becomes one line and exit code 2, everything else is a bug with its traceback."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable


def guarded(command: Callable[[], int], *, bug: int = 1) -> int:
    """Run a command and return its exit code; `bug` is the one for errors that do not explain themselves."""
    try:
        return command()
    except BrokenPipeError:
        # Whoever reads our output (head, less) has left. The interpreter must not try to flush it again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130
    except Exception as error:
        if not is_users_mistake(error):
            traceback.print_exc()
            return bug
        print(f"seti-tune: {' '.join(str(error).split())}", file=sys.stderr)
        code: int = getattr(error, "exit_code", 2)
        return code


def is_users_mistake(error: Exception) -> bool:
    """Return whether an error explains itself: one of ours, or the disk's."""
    from results.log.records import RecordError
    from results.tables.table import TableError
    from search_spaces.parameters import SpaceError
    from seti_model.config import ConfigError
    from seti_model.data.dataset import DatasetError
    from seti_model.runtime import ProcessError
    from seti_model.training.checkpoint import CheckpointError
    from seti_model.training.outcome import ModelError
    from tune.provenance import InstallationError
    from tune.study import StudyError

    ours = (
        RecordError,
        SpaceError,
        CheckpointError,
        ConfigError,
        DatasetError,
        ProcessError,
        ModelError,
        InstallationError,
        StudyError,
        TableError,
    )
    return isinstance(error, (*ours, OSError))
