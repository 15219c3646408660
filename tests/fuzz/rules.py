"""What a command may not do, whatever it is given: each breach has a short cause that stays the same."""

from __future__ import annotations

import csv
import io
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fuzz.cases import Case
from fuzz.mutations import FORGED, TAG

MEMORY = 10**9  # bytes above what the same command takes on the undamaged file
LONGEST_LINE = 10_000  # letters of an error
OURS = ("tune/", "results/", "seti_model/", "search_spaces/")
_FRAME = re.compile(r'File "([^"]*)", line \d+,? in (\S+)')
_ERROR = "seti-tune: "
_ARGUMENTS = re.compile(r"^seti-tune[\w -]*: error: ", re.MULTILINE)  # what argparse says, below its usage
_WORD = re.compile(
    r"damaged|chang|differ|disagree|does not fit|do not fit|missing|lost|gained|broken|another|altered|"
    r"not as it was|not what|warning|note:",
    re.IGNORECASE,
)
_TEMPORARY = re.compile(r"^\.|\.tmp$")
Entry = tuple[int, int, int, int, str]  # mode, bytes, time of the last change, number, target of a link
Listing = Mapping[str, Entry]


@dataclass(frozen=True)
class Ended:
    """How a command ended; `why` it was ended by its watch: idle, wall, memory, or nothing."""

    code: int
    why: str
    out: str
    err: str
    printed: int
    cpu_s: float
    memory: int  # the most that it held; its parent, which it shares all with, held `floor`
    floor: int
    wall_s: float
    child: int


@dataclass(frozen=True)
class Base:
    """What the same command does on the undamaged files."""

    code: int
    lines: frozenset[str]
    memory: int


def listing(*folders: Path) -> Listing:
    """Return all that lies below some folders, with what tells whether it was changed."""
    found: dict[str, Entry] = {}
    waiting = [os.fsencode(folder) for folder in folders]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                target = os.fsdecode(os.readlink(entry.path)) if stat.S_ISLNK(status.st_mode) else ""  # noqa: PTH115 - bytes
                is_folder = stat.S_ISDIR(status.st_mode)
                numbers = (0, 0, 0) if is_folder else (status.st_size, status.st_ctime_ns, status.st_ino)
                found[os.fsdecode(entry.path)] = (status.st_mode, *numbers, target)
                if is_folder:
                    waiting.append(entry.path)
    return found


def causes(case: Case, ended: Ended, base: Callable[[], Base], before: Listing, after: Listing) -> Iterator[str]:
    """Yield what a command did that it may not do, the worst first; `base` is asked for where it is needed."""
    changed = [path for path in sorted({*before, *after}) if before.get(path) != after.get(path)]
    changed = [path for path in changed if not _is_planted(case, ended, path, after)]
    yield from _outside(case, changed)
    yield from _kept(case, before, after)
    yield from _crashed(ended)
    if ended.why or ended.code < 0:
        yield from _limits(ended)
        return
    if ended.memory > ended.floor + MEMORY and ended.memory > base().memory + MEMORY:
        yield f"memory: {case.kind}, {case.scenario.name}"
    if "Traceback (most recent call last)" not in ended.err:
        yield from _error_line(case, ended)
    yield from _printed(case, ended)
    for path in changed:
        if path in after and stat.S_ISREG(after[path][0]):
            yield from _written(case, Path(path))
    yield from _left(case, changed, after)
    if case.is_wrong and ended.code == 0 and not _has_word(ended, base(), [path for path in changed if path in after]):
        yield f"accepted: {case.kind}, {_wrong(case)}"
    if case.prepared.must_work and ended.code != base().code:
        yield f"refused: {case.kind}, {case.scenario.name}"


def _wrong(case: Case) -> str:
    label = next(one.label for one in case.mutations if one.is_wrong)
    return "a line of the log" if case.kind == "log" else label


def _is_planted(case: Case, ended: Ended, path: str, after: Listing) -> bool:
    """Return whether a path is a link that was made for the command to fall for, gone or as it was."""
    names = {name.replace("PID", str(ended.child)) for _, name in case.prepared.plants}
    return Path(path).name in names and (path not in after or stat.S_ISLNK(after[path][0]))


def _outside(case: Case, changed: list[str]) -> Iterator[str]:
    for path in changed:
        here = os.path.relpath(path, case.folder)
        if any(here == place or here.startswith(f"{place}/") for place in case.writes):
            continue
        # A folder that had to be made above what is written.
        if any(place.startswith(f"{here}/") for place in case.writes):
            continue
        top = here.partition("/")[0]
        where = "a template" if top == ".." else top
        yield f"written outside: {where}, {case.kind}, {case.scenario.name}"
        return


def _kept(case: Case, before: Listing, after: Listing) -> Iterator[str]:
    for name in case.prepared.kept:
        path = str(case.folder / name)
        if path not in after or stat.S_IFMT(before[path][0]) != stat.S_IFMT(after[path][0]):
            kind = "a FIFO" if stat.S_ISFIFO(before[path][0]) else "a link"
            yield f"replaced: {kind}, {case.scenario.name}"


def _crashed(ended: Ended) -> Iterator[str]:
    if "Traceback (most recent call last)" in ended.err:
        last = ended.err.rpartition("Traceback (most recent call last)")[2]
        lines = [line for line in last.splitlines() if re.match(r"[A-Za-z_][\w.]*(:|$)", line)]
        name = lines[0].partition(":")[0].rpartition(".")[2] if lines else "an exception"
        yield f"traceback: {name} in {_place(ended.err, newest_first=False)}"
    elif ended.code < 0 and not ended.why and ended.code != -24:
        yield f"killed by signal {-ended.code}: {_place(ended.err, newest_first=True)}"


def _limits(ended: Ended) -> Iterator[str]:
    where = _place(ended.err, newest_first=True)
    if ended.why == "memory":
        yield f"memory: {where}"
    elif ended.why in ("idle", "wall"):
        yield f"hang without work: {where}"
    elif ended.code == -24:
        yield f"over 10 s of processor time: {where}"


def _place(text: str, *, newest_first: bool) -> str:
    """Return the innermost function of ours in a traceback, or in what faulthandler says."""
    frames = _FRAME.findall(text)
    for path, function in frames if newest_first else reversed(frames):
        for package in OURS:
            at = path.find(f"/{package}")
            if at >= 0 and "site-packages" not in path and "/tests/" not in path:
                return f"{path[at + 1 :]}:{function.rstrip(':')}"
    return "no function of ours"


def _error_line(case: Case, ended: Ended) -> Iterator[str]:
    says_that_it_differs = case.scenario.may_differ and ("differs" in ended.out or "Leaderboard: " in ended.out)
    if ended.code not in (0, 2, 3) and not (ended.code == 1 and says_that_it_differs):
        yield f"exit code {ended.code}: {case.kind}, {case.scenario.name}"
        return
    lines = [line for line in ended.err.splitlines() if line.startswith(_ERROR)]
    if any(line.startswith(FORGED) for line in (ended.err + ended.out).splitlines()):
        yield f"a line feed passed on: {case.kind}"
    if ended.code == 0 or says_that_it_differs:
        return
    if _ARGUMENTS.search(ended.err):
        return
    if not lines:
        yield f"no error line, exit code {ended.code}: {case.kind}, {case.scenario.name}"
    elif len(lines) > 1:
        yield f"{len(lines)} error lines: {case.kind}, {case.scenario.name}"
    elif not lines[0].removeprefix(_ERROR).strip():
        yield f"an empty error: {case.kind}, {case.scenario.name}"
    elif "; " not in lines[0]:
        yield f"no next step: {_plain(lines[0])}"
    if any(len(line) > LONGEST_LINE for line in ended.err.splitlines()):
        yield f"an endless message: {case.kind}"


def _plain(line: str) -> str:
    """Return the words of a message without what it names, which is another in each case."""
    said = re.split(r",? found ", line.removeprefix(_ERROR).rpartition(": ")[2])[0]
    said = re.sub(r"'[^']*'|\"[^\"]*\"|--\S+ \S+", " ", said)
    words = re.findall(r"(?<![\w'/.])[a-z]{2,}(?![\w'/.])", said)
    return " ".join(words[:7])


def _printed(case: Case, ended: Ended) -> Iterator[str]:
    for name, text in (("standard output", ended.out), ("standard error", ended.err)):
        if re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text):
            yield f"control characters on {name}: {case.kind}"


def _written(case: Case, path: Path) -> Iterator[str]:
    if not path.is_file():  # a pipe, which nobody fills
        return
    if path.suffix == ".html" and TAG.encode() in path.read_bytes():
        yield f"a raw tag in {path.name}: {case.kind}, {case.scenario.name}"
    if path.suffix == ".csv":
        text = path.read_bytes().decode("utf-8", "replace").replace("\0", "")
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        if any(cell[:1] in "=+-@" and cell and not _is_number(cell) for cell in cells):
            yield f"a cell that a spreadsheet runs in {path.name}: {case.kind}, {case.scenario.name}"


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _left(case: Case, changed: list[str], after: Listing) -> Iterator[str]:
    for path in changed:
        parts = Path(os.path.relpath(path, case.folder)).parts
        if path in after and (parts[0] == "tmp" or any(_TEMPORARY.search(part) for part in parts[1:])):
            yield f"a temporary file left: {case.kind}, {case.scenario.name}"
            return


def _has_word(ended: Ended, base: Base, pages: list[str]) -> bool:
    return any(_WORD.search(line) for line in lines_of(ended, pages) - base.lines)


def lines_of(ended: Ended, paths: list[str]) -> frozenset[str]:
    """Return the lines that a command printed, and those of the pages that it wrote."""
    pages = [
        Path(path).read_text("utf-8", "replace") for path in paths if path.endswith(".html") and Path(path).is_file()
    ]
    return frozenset("\n".join([ended.out, ended.err, *pages]).splitlines())
