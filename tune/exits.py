"""Where errors and words end: an error that explains itself is one line with its exit code, and no text acts."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator

from tune.errors import exit_code_of

_LONGEST = 4000  # letters of a message
_BETWEEN = re.compile(r"([\n\t]+)")  # what is no letter and may be printed


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
        said = _printable(" ".join(line.strip() for line in str(error).splitlines()))
        print(f"seti-tune: {_shortened(said)}", file=sys.stderr)
        return code


def _shortened(text: str) -> str:
    """Return a text without its middle where it is long: its end says what to do."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} … {text[-_LONGEST // 2 :]}"


@contextlib.contextmanager
def harmless_words(*, is_drawing: bool = False) -> Iterator[None]:
    """Write out what would act on a terminal in all that is printed: names, reasons and paths come from anywhere.

    Args:
        is_drawing: Whether standard error is drawn upon, by escape sequences of ours.
    """
    streams = [one for one in (sys.stdout, *(() if is_drawing else (sys.stderr,))) if isinstance(one, io.TextIOWrapper)]
    before = [(stream, vars(stream).get("write")) for stream in streams]
    for stream in streams:
        stream.reconfigure(errors="backslashreplace")
        stream.write = _writing(stream.write)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for stream, write in before:
            del stream.write
            if write is not None:  # of a command within another
                stream.write = write  # type: ignore[method-assign]


def _writing(write: Callable[[str], int]) -> Callable[[str], int]:
    def harmless(text: str) -> int:
        return write(text if text.isprintable() else "".join(map(_part, _BETWEEN.split(text))))

    return harmless


def _part(text: str) -> str:
    return text if text.isprintable() or _BETWEEN.fullmatch(text) else _printable(text)


def _printable(text: str) -> str:
    from results.text import printable  # the list of commands needs nothing of it

    return printable(text)
