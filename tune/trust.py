"""Whose code is run: a log, a receipt and a checkpoint name modules, and to run a module is to trust who wrote it.

Code that this user owns is run, changed or not: a bug was fixed. Other code is run where it is what was recorded, or
where the user says so. What is installed is trusted as all that is installed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from tune.errors import StudyError
from tune.study_files import own_modules

TRUST_HELP = "run code that the record names, also another user's that was changed"


def own_code(home: Path, names: Iterable[str]) -> str | None:
    """Return the SHA-256, hex, of the modules beside a study file; None where there are none.

    Raises:
        StudyError: One cannot be read.
    """
    digest, files = hashlib.sha256(), sorted(own_modules(home, tuple(names)))
    for file in files:
        try:
            digest.update(f"{file.relative_to(home)}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
        except OSError as error:
            raise StudyError(f"{file}: cannot be read ({error.strerror}); the study uses it") from error
    return digest.hexdigest() if files else None


def require_trust(place: Path, home: Path, names: Iterable[str], recorded: str | None, *, is_trusted: bool) -> None:
    """Refuse to run code of another user that is not what was recorded; to be called before anything is imported.

    Args:
        place: What names the code, for the message.
        home: The folder in which it lies.
        names: `module:name`.
        recorded: The digest of the modules then, from `own_code`.
        is_trusted: Whether the user has said so.

    Raises:
        StudyError: It is another user's, and was changed or not recorded.
    """
    names = tuple(names)
    files = list(own_modules(home, names))
    if is_trusted or not files or all(_is_ours(path) for path in (home, *files)):
        return
    if recorded is None or own_code(home, names) != recorded:
        raise StudyError(
            f"{place}: names code in {home} ({files[0].name}) that belongs to another user and is not what was "
            "recorded; read it, and add --trust to run it"
        )


def _is_ours(path: Path) -> bool:
    try:
        return path.stat().st_uid == os.geteuid()
    except OSError:
        return False
