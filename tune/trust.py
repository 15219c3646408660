"""Whose code is run: a log, a receipt and a model name modules, and to run a module is to trust who wrote it.

Code that this user owns is run, changed or not: a bug was fixed. Other code is run where it is what was recorded, or
where the user says so. What is installed is trusted as all that is installed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from results.schema import Value
from results.study import NETWORK
from tune.errors import StudyError
from tune.study_files import is_folder, is_module_name, own_modules

TRUST_HELP = "run code that the record names, also another user's that was changed"
_SOURCE = ".py"
_CODE = (_SOURCE, ".pyc", ".pyd", ".so")  # what Python would import


def code_names(trainable: str, configuration: Mapping[str, Value]) -> set[str]:
    """Return what is a user's own in a configuration, `module:name`: its trainable, or its network and steps."""
    if trainable != NETWORK:
        return {trainable}
    texts = (str(configuration.get(field, "")) for field in ("network.family", "prepare.steps"))
    return {part.strip() for text in texts for part in text.split(",") if ":" in part}


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
    found = sorted(_importable(home, names))
    if is_trusted or not found or all(is_ours(path) for path in (home, *found)):
        return
    compiled = [path for path in found if path.suffix != _SOURCE]  # of which no digest is recorded
    if compiled or recorded is None or own_code(home, names) != recorded:
        raise StudyError(
            f"{place}: names code in {home} ({(compiled or found)[0].name}) that belongs to another user and is not "
            "what was recorded; read it, and add --trust to run it"
        )


def is_ours(path: Path) -> bool:
    """Return whether a file belongs to the user of this process."""
    try:
        return path.lstat().st_uid == os.geteuid()
    except OSError:
        return False


def _importable(home: Path, names: tuple[str, ...]) -> Iterator[Path]:
    """Yield all files from which Python might import the modules that are named, and what these import."""
    sources = list(own_modules(home, names))
    tops = {name.partition(":")[0].partition(".")[0] for name in names}
    tops |= {file.relative_to(home).parts[0].removesuffix(_SOURCE) for file in sources}
    for top in filter(is_module_name, tops if is_folder(home) else ()):
        places = [home / top, *home.glob(f"{top}.*"), *(home / "__pycache__").glob(f"{top}.*")]
        for place in places:
            files = place.rglob("*") if place.is_dir() else [place]
            yield from (file for file in files if file.suffix in _CODE and file.is_file())
