"""Where each cut-out came from: a line of JSON an answer, on the disk before the next object is asked for.

The file is a journal with one writer: what it names is done, and the last line about an object counts. A line that an
interruption left unfinished is cut off by the next writer.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from results.files import read_moderate
from results.log.recorder import take_lock, whole_lines
from results.schema import SchemaError, read_json, to_json
from tune.errors import FetchError

PROVENANCE = "provenance.jsonl"
MOST_BYTES = 2**30

# whole: an image; edge: one with some of it outside; blank: without any sky; missing: the survey has none there;
# failed: no answer, asked again by the next call
Outcome = Literal["whole", "edge", "blank", "missing", "failed"]
FINAL: tuple[Outcome, ...] = ("whole", "edge", "blank", "missing")
KEPT: tuple[Outcome, ...] = ("whole", "edge")  # of which there is a file


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of asking a service for one object.

    Attributes:
        name: Of the object, as the catalogue has it; with its position (J2000, degrees) and class.
        survey: As it was typed, `first` for instance.
        side_arcmin: Of the square that was asked for, and in `pixels`.
        outcome: See `Outcome`.
        asked_at: UTC, ISO 8601.
        service: What was asked, by its address.
        address: Of the image, as the service told it; None where it told none.
        file: In the same folder; None where none is kept.
        bytes: Of the image that came; with its SHA-256, hex.
        without_sky: Share of the asked square that is not covered: not finite, constant or outside of the image.
        reason: Why there is no image.
        tries: How often it was asked for.
    """

    name: str
    ra_deg: float
    dec_deg: float
    class_name: str
    survey: str
    side_arcmin: float
    pixels: int
    outcome: Outcome
    asked_at: str
    service: str
    address: str | None = None
    file: str | None = None
    bytes: int | None = None
    sha256: str | None = None
    without_sky: float | None = None
    reason: str | None = None
    tries: int = 1


@contextlib.contextmanager
def held_journal(folder: Path) -> Iterator[None]:
    """Make the journal of a new folder, or go on with one that is there; no other process fetches into it meanwhile.

    The kernel drops the lock when the process dies.

    Raises:
        FetchError: Another process holds it, the folder holds other files and no journal, or cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
        if names and PROVENANCE not in names:
            raise FetchError(f"{folder}: holds files that were not fetched; name a new folder")
        descriptor = os.open(folder / PROVENANCE, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644)
    except OSError as error:
        raise FetchError(f"{folder}: cannot be used ({error.strerror}); name another folder") from error
    try:
        _lock(folder, descriptor)
        yield
    finally:
        os.close(descriptor)  # and with it the lock


def read_answers(folder: Path) -> dict[str, Answer]:
    """Return the last answer about each object by its name; none where nothing was fetched yet.

    Raises:
        FetchError: The journal cannot be read, or is damaged elsewhere than at its end.
    """
    path = folder / PROVENANCE
    try:
        whole, _, _torn = read_moderate(path, MOST_BYTES).rpartition(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise FetchError(f"{path}: cannot be read ({error.strerror}); restore it or name another folder") from error
    answers: dict[str, Answer] = {}
    for number, line in enumerate(whole.split(b"\n") if whole else (), start=1):
        try:
            answer = read_json(line, Answer)
        except SchemaError as error:
            raise FetchError(f"{path}, line {number}: {error}; restore it from a copy or remove that line") from error
        answers[answer.name] = answer
    return answers


def append_answer(folder: Path, answer: Answer) -> None:
    """Write one answer at the end of the journal and see it on the disk.

    Raises:
        FetchError: It cannot be written.
    """
    path = folder / PROVENANCE
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        with os.fdopen(descriptor, "r+b") as file:
            os.ftruncate(file.fileno(), whole_lines(path))
            file.seek(0, os.SEEK_END)
            file.write(to_json(answer, indent=None).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise FetchError(f"{path}: cannot be written ({error.strerror}); free some space or ask for access") from error


def same_request(before: Mapping[str, Answer], survey: str, side_arcmin: float, pixels: int) -> None:
    """Refuse to put images of another survey or size into a folder.

    Raises:
        FetchError: The first answer that was asked for otherwise.
    """
    for answer in before.values():
        if (answer.survey, answer.side_arcmin, answer.pixels) != (survey, side_arcmin, pixels):
            raise FetchError(
                f"{PROVENANCE}: {answer.name!r} was fetched as {answer.survey}, {answer.pixels} pixels for "
                f"{answer.side_arcmin:g} arcmin, now {survey}, {pixels} for {side_arcmin:g} is asked for; name another "
                "folder"
            )


def _lock(folder: Path, descriptor: int) -> None:
    try:
        take_lock(descriptor)
    except BlockingIOError as error:
        raise FetchError(
            f"{folder}: another process is fetching into it; wait for it or name another folder"
        ) from error
    except OSError as error:
        raise FetchError(f"{folder}: cannot be locked ({error.strerror}); name a folder on another disk") from error
