"""Where errors end: those that explain themselves in one line with their exit code, all others are bugs of ours."""

from __future__ import annotations

import io
import os
import sys
import traceback
from collections.abc import Callable

from results.text import printable
from tune.errors import exit_code_of

_LONGEST = 4000  # letters of a message


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
        code = exit_code_of(error)
        if code is None:
            traceback.print_exc()
            return bug
        said = printable(" ".join(line.strip() for line in str(error).splitlines()))
        print(f"seti-tune: {said if len(said) <= _LONGEST else f'{said[:_LONGEST]}…'}", file=sys.stderr)
        return code


def print_anything() -> None:
    """Let standard output and error write out what they have no letters for, instead of failing in the middle."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
