"""The loop of `data fetch`: objects one by one, each answer on the disk before the next question.

What was fetched is kept and checked, what failed is asked again: an interruption loses at most the image in flight.
"""

from __future__ import annotations

import csv
import hashlib
import io
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from results.files import read_moderate, write_atomically
from results.text import csv_cell
from seti_model.errors import DatasetError
from seti_model.files import written_whole
from tune.errors import FetchError, FetchInterruptedError
from tune.sky.catalogue import Target, file_of
from tune.sky.pixels import share_without_sky
from tune.sky.provenance import FINAL, KEPT, Answer, append_answer, held_journal, read_answers, same_request
from tune.sky.services import MOST_BYTES, SOURCES, Cutout, NoAnswerError, NoImageError, Service, open_service

LABELS = "labels.csv"
UNUSED = ".unused"  # behind the name of a cut-out without a label, which is then no picture to `data import`
MOST_FAILURES = 3  # objects in a row without an answer: the server is down, or wants to be left alone
BLANK_FROM = 0.999  # share without sky


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is asked for, and how patiently.

    Attributes:
        survey: One of `SOURCES`.
        side_arcmin: Of the square cut-out, and in `pixels`.
        pause_s: Before each request to the server; a further try waits 2, 4, 8, … times as long.
        tries: For each object.
        most_without_sky: Share of a cut-out at the edge of the survey that may be outside for it to get a label.
        again: Whether objects are asked for again that were missing or blank.
    """

    survey: str
    side_arcmin: float
    pixels: int
    pause_s: float = 1.0
    tries: int = 5
    most_without_sky: float = 0.1
    again: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.pause_s <= 3600:
            raise FetchError(f"--pause {self.pause_s:g}: 0 to 3600 seconds are expected; choose a number within")
        if not 1 <= self.tries <= 20:
            raise FetchError(f"--tries {self.tries}: 1 to 20 are expected; choose a number within")
        if not 0 <= self.most_without_sky <= 1:
            raise FetchError(f"--most-blank {self.most_without_sky:g}: a share 0..1 is expected; choose one")


def read_size(text: str, survey: str) -> tuple[float, int]:
    """Return the side of a cut-out in arcminutes and in the survey's pixels, from `4.5` (arcmin) or `150px`.

    Raises:
        FetchError: It is neither, or has no pixel or more than 2048 a side.
    """
    scale_arcmin = SOURCES[survey].pixel_arcsec / 60
    try:
        is_pixels = text.endswith("px")
        side = int(text.removesuffix("px")) * scale_arcmin if is_pixels else float(text)
        pixels = round(side / scale_arcmin)
    except (ValueError, OverflowError):
        pixels = 0
    if not 1 <= pixels <= 2048:
        raise FetchError(
            f"--size {text[:40]!r}: expected arcminutes such as 4.5 or pixels such as 150px, 1 to 2048 pixels of "
            f"{SOURCES[survey].pixel_arcsec:g} arcsec; choose another"
        )
    return round(pixels * scale_arcmin, 6), pixels


def fetch(
    targets: Sequence[Target], folder: Path, request: Request, *, say: Callable[[str], None]
) -> Mapping[str, Answer]:
    """Fetch what is not there yet, write `labels.csv`, and return the last answer about each object by its name.

    In the folder are then the cut-outs of the table, and those without a label under names that end in `.unused`.

    Args:
        targets: Of the catalogue.
        folder: Is made if need be, or goes on.
        request: Survey, size and patience.
        say: Is given a line an object.

    Raises:
        FetchError: The folder is of another request or another process fetches into it, a file in it has changed, or
            something cannot be written or read.
        FetchInterruptedError: Several objects in a row got no answer; the same call goes on.
        DatasetError: An image cannot be written.
    """
    with held_journal(folder):
        before = read_answers(folder)
        same_request(before, request.survey, request.side_arcmin, request.pixels)
        answers = {target.name: before[target.name] for target in targets if target.name in before}
        _check_kept(folder, targets, answers)
        wanted = [target for target in targets if _is_wanted(answers.get(target.name), request)]
        say(f"{len(targets)} objects, {len(targets) - len(wanted)} of them there, {len(wanted)} to be asked for")
        if wanted:
            _fetch_all(wanted, folder, request, answers, say)
        labelled = [target for target in targets if is_labelled(answers[target.name], request.most_without_sky)]
        kept = {file_of(answer.name) for answer in {**before, **answers}.values() if answer.outcome in KEPT}
        _set_aside(folder, kept, {target.file.casefold() for target in labelled})
        _write_labels(folder, labelled)
    return answers


def is_labelled(answer: Answer, most_without_sky: float) -> bool:
    """Return whether a cut-out gets a label: an image, covered far enough."""
    return answer.outcome in KEPT and (answer.without_sky or 0.0) <= most_without_sky


def _fetch_all(
    wanted: Sequence[Target],
    folder: Path,
    request: Request,
    answers: dict[str, Answer],
    say: Callable[[str], None],
) -> None:
    service = open_service(request.survey, pause_s=request.pause_s)
    failures = 0
    for number, target in enumerate(wanted, start=1):
        answer, content = _asked(service, target, request)
        if content is not None and answer.file is not None:
            with written_whole(folder / answer.file, DatasetError, "free some space") as temporary:
                temporary.write_bytes(content)
        append_answer(folder, answer)
        answers[target.name] = answer
        say(f"{number} of {len(wanted)}: {_words(answer)}")
        failures = failures + 1 if answer.outcome == "failed" else 0
        if failures == MOST_FAILURES and number < len(wanted):
            raise FetchInterruptedError(
                f"{service.address}: no answer about {failures} objects in a row, the last time: {answer.reason}; try "
                "again later, the same command goes on"
            )


def _asked(service: Service, target: Target, request: Request) -> tuple[Answer, bytes | None]:
    """Ask for one object as often as the request says; return what came of it, and the image if there is one."""
    cutout = Cutout(target.ra_deg, target.dec_deg, request.side_arcmin, request.pixels)
    answer = _unanswered(service, target, request)
    for attempt in range(1, request.tries + 1):
        answer = replace(answer, tries=attempt)
        try:
            address = service.locate(cutout)
            answer = replace(answer, address=address)
            content = service.download(address)
            share = _looked_at(content, request.pixels)
        except NoImageError as error:
            return replace(answer, outcome="missing", reason=str(error)), None
        except NoAnswerError as error:
            answer = replace(answer, reason=str(error)[:500])
            if not error.may_pass or attempt == request.tries:
                break
            time.sleep(max(error.wait_s, request.pause_s * 2**attempt))
            continue
        return _with_image(answer, target, content, share)
    return answer, None


def _looked_at(content: bytes, pixels: int) -> float:
    try:
        return share_without_sky(content, pixels)
    except FetchError as error:  # half an image, or a page that says what is wrong
        raise NoAnswerError(str(error)) from error


def _with_image(answer: Answer, target: Target, content: bytes, share: float) -> tuple[Answer, bytes | None]:
    came = replace(
        answer,
        reason=None,
        bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        without_sky=round(share, 4),
    )
    if share >= BLANK_FROM:
        return replace(came, outcome="blank", reason="no pixel shows sky"), None
    return replace(came, outcome="whole" if share == 0 else "edge", file=target.file), content


def _unanswered(service: Service, target: Target, request: Request) -> Answer:
    return Answer(
        name=target.name,
        ra_deg=target.ra_deg,
        dec_deg=target.dec_deg,
        class_name=target.class_name,
        survey=request.survey,
        side_arcmin=request.side_arcmin,
        pixels=request.pixels,
        outcome="failed",
        asked_at=datetime.now(UTC).isoformat(timespec="seconds"),
        service=service.address,
    )


def _is_wanted(answer: Answer | None, request: Request) -> bool:
    return answer is None or answer.outcome not in FINAL or (request.again and answer.outcome not in KEPT)


def _check_kept(folder: Path, targets: Sequence[Target], answers: dict[str, Answer]) -> None:
    """Compare the files that are there with what was fetched; one that is gone is fetched again.

    Raises:
        FetchError: One has changed, or an object has another position than it was fetched for.
    """
    for target in targets:
        answer = answers.get(target.name)
        if answer is None:
            continue
        if (answer.ra_deg, answer.dec_deg) != (target.ra_deg, target.dec_deg):
            raise FetchError(
                f"{target.name!r} was fetched at {answer.ra_deg:g}, {answer.dec_deg:g}, the catalogue has "
                f"{target.ra_deg:g}, {target.dec_deg:g}; give it another name, or name another folder"
            )
        if answer.file is None:
            continue
        path = _place(folder, target.file)
        try:
            found = hashlib.sha256(read_moderate(path, MOST_BYTES)).hexdigest()
        except FileNotFoundError:
            del answers[target.name]
            continue
        except OSError as error:
            raise FetchError(f"{path}: cannot be read ({error.strerror}); remove it to fetch it again") from error
        if found != answer.sha256:
            raise FetchError(f"{path}: is not what was fetched; restore it, or remove it to fetch it again")


def _place(folder: Path, file: str) -> Path:
    """Return where a cut-out is: under its name, or set aside."""
    path = folder / file
    return path if path.exists() else path.with_name(f"{file}{UNUSED}")


def _set_aside(folder: Path, kept: Collection[str], labelled: Collection[str]) -> None:
    """Give each file the name that says whether it has a label; `labelled` are names without capitals.

    Raises:
        FetchError: One cannot be renamed.
    """
    for file in sorted(kept):
        path, has_label = _place(folder, file), file.casefold() in labelled
        name = folder / (file if has_label else f"{file}{UNUSED}")
        try:
            if path != name and path.exists():
                path.rename(name)
        except OSError as error:
            raise FetchError(f"{name}: cannot be put there ({error.strerror}); move away what is there") from error


def _write_labels(folder: Path, labelled: Sequence[Target]) -> None:
    rows = [(one.file, one.class_name) for one in labelled]
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(
        [csv_cell(cell) for cell in row] for row in [("file", "class"), *rows]
    )
    write_atomically(folder / LABELS, text.getvalue())


def _words(answer: Answer) -> str:
    if answer.outcome == "whole":
        return f"{answer.name}: {answer.file}"
    if answer.outcome == "edge":
        return f"{answer.name}: {answer.file}, {answer.without_sky:.1%} of it without sky"
    return f"{answer.name}: {answer.outcome}, {answer.reason}"
