"""Commands of seti-tune as messages name them: quoted, so that they can be pasted into a shell."""

from __future__ import annotations

import shlex
from pathlib import Path

from results.run_folder import RECEIPT


def command(*words: object, **options: object) -> str:
    """Return the command line of seti-tune with these words and options: none for None and False, `--name` for True.

    `command("resume", Path("my run"), trials=40)` is `seti-tune resume 'my run' --trials 40`.
    """
    given = ["seti-tune", *map(_word, words)]
    for name, value in options.items():
        if value is not None and value is not False:
            given += [f"--{name.replace('_', '-')}", *([] if value is True else [_word(value)])]
    return shlex.join(given)


def continuing(run: Path, *, is_search: bool) -> str:
    """Return the command that continues a run: a search, the retraining of a receipt, or a training."""
    if is_search:
        return command("resume", run)
    if (receipt := run / RECEIPT).is_file():
        return command("retrain", receipt, out=run)
    return command("train", out=run, **{"continue": True})


def _word(value: object) -> str:
    text = str(value)
    return f"./{text}" if isinstance(value, Path) and text.startswith("-") else text
