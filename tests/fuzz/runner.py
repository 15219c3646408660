"""Runs cases: writes them, has a server run their commands, and says which rules were broken."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from fuzz.cases import Case, Scenario, build, scenario_of, undamaged
from fuzz.rules import MEMORY, Base, Ended, Listing, causes, lines_of, listing
from fuzz.templates import TESTS, Templates

ROOT = TESTS.parent
ENGINES = ("light", "network")
NOBODY = "http://127.0.0.1:9"  # in the place of servers elsewhere: it refuses at once
GROWTH = 600 << 20  # bytes, more than any of the commands takes on undamaged files


class FuzzError(Exception):
    """The fuzzers themselves cannot go on."""


@dataclass(frozen=True)
class Outcome:
    """What a case showed; no causes where it passed."""

    kind: str
    seed: int
    name: str
    label: str
    is_meaning: bool
    causes: tuple[str, ...]
    words: tuple[str, ...]
    ended: Ended

    @property
    def case(self) -> str:
        """The case as a line of the corpus names it."""
        return f"{self.kind} {self.seed}"

    @property
    def last(self) -> str:
        """The last line of the traceback, or of what was said."""
        lines = [line for line in self.ended.err.splitlines() if line.strip()]
        return lines[-1][:160] if lines else ""


class Server:
    """A process that has imported what commands need and runs each case in a child; replaced when it dies."""

    def __init__(self, engine: str, folder: Path) -> None:
        self._engine, self.folder = engine, folder
        self._process: subprocess.Popen[str] | None = None

    def ask(self, **request: Any) -> dict[str, Any]:
        """Have one request answered.

        Raises:
            FuzzError: The server has ended.
        """
        process = self._process or self._start()
        if process.stdin is None or process.stdout is None:
            raise FuzzError("a server without pipes")
        with contextlib.suppress(BrokenPipeError):
            process.stdin.write(json.dumps(request) + "\n")
            process.stdin.flush()
        answer = process.stdout.readline()
        if not answer:
            self.close()
            raise FuzzError(f"the server of {self._engine} has ended; see {self.folder}")
        return dict(json.loads(answer))

    def close(self) -> None:
        """End the server."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None

    def _start(self) -> subprocess.Popen[str]:
        paths = [ROOT, TESTS, TESTS / "test_tune", TESTS / "test_results"]
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        environment = {
            **{name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "LD_LIBRARY_PATH")},
            "PYTHONPATH": os.pathsep.join(map(str, paths)),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONHASHSEED": "0",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
            "HOME": str(home),
            "MPLCONFIGDIR": str(home),
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "CUDA_VISIBLE_DEVICES": "-1",
            "https_proxy": NOBODY,
            "http_proxy": NOBODY,
        }
        command = [sys.executable, "-m", "fuzz.server", self._engine]
        with (self.folder / f"{self._engine}.err").open("w") as errors:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment
            )
        if self._process.stdout is None or not self._process.stdout.readline():
            raise FuzzError(f"the server of {self._engine} does not start; see {errors.name}")
        return self._process


class Runner:
    """Runs cases below one folder; templates and undamaged commands are made when they are first needed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._servers = {engine: Server(engine, folder) for engine in ENGINES}
        self._templates = Templates(folder / "light", folder / "network")
        self._pristine: dict[str, Path] = {}  # copies of the templates, by engine
        self._known: Listing = {}  # the templates as they must stay
        self._bases: dict[tuple[str, str], Base] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers.values():
            server.close()

    def run(self, kind: str, seed: int, keep: Path | None = None) -> Outcome:
        """Run one case; its folder is kept where `keep` says so, else removed.

        Raises:
            FuzzError: The undamaged command fails, or a template cannot be made.
        """
        scenario = scenario_of(kind, seed)
        self._make(scenario.engine)
        folder = self.folder / "case" if keep is None else keep
        with _emptied(folder, keep is not None):
            case = build(kind, seed, folder, self._templates)
            ended, found = self._end(case)
        meaning = (case.is_meaning, found, case.words, ended)
        return Outcome(kind, seed, scenario.name, case.label, *meaning)

    def _end(self, case: Case) -> tuple[Ended, tuple[str, ...]]:
        before = {**listing(case.folder), **self._known}
        ended = self._ask(case, most_memory=MEMORY + GROWTH)
        after = listing(case.folder, *self._made())
        found = tuple(dict.fromkeys(causes(case, ended, lambda: self.base(case.kind, case.scenario), before, after)))
        if any(self._known[path] != after.get(path) for path in self._known):
            self._restore()
        return ended, found

    def _ask(self, case: Case, **limits: int) -> Ended:
        made_ready = case.prepared
        answer = self._servers[case.scenario.engine].ask(
            do="case",
            folder=str(case.folder),
            words=case.words,
            drain=[str(case.folder / name) for name in made_ready.drained],
            plants=made_ready.plants,
            file_bytes=made_ready.file_bytes,
            **limits,
        )
        return Ended(**answer)

    def base(self, kind: str, scenario: Scenario) -> Base:
        """Return what a command does on the undamaged files.

        Raises:
            FuzzError: It fails.
        """
        self._make(scenario.engine)
        key = kind, scenario.name
        if key not in self._bases:
            folder = self.folder / "undamaged"
            with _emptied(folder, False):
                ended = self._ask(undamaged(kind, scenario, folder, self._templates))
                lines = lines_of(ended, [str(path) for path in folder.rglob("*.html")])
            if "Traceback" in ended.err or (ended.code != 0 and not scenario.may_differ):
                raise FuzzError(f"{key}: the undamaged command ends with {ended.code}: {ended.err[-2000:]}")
            self._bases[key] = Base(ended.code, lines, ended.memory)
        return self._bases[key]

    def _make(self, engine: str) -> None:
        """Make the templates that an engine needs, and a copy of them; those of networks stand on the others."""
        for one in ENGINES[: ENGINES.index(engine) + 1]:
            if one in self._pristine:
                continue
            place = self.folder / one
            answer = self._servers[one].ask(
                do="templates", engine=one, folder=str(place), light=str(self._templates.light)
            )
            if answer["code"] != 0:
                raise FuzzError(f"the templates of {one} cannot be made: {answer['err'][-3000:]}")
            copy = self.folder / f"{one}.copy"
            shutil.copytree(place, copy, symlinks=True)
            self._pristine[one] = copy
            self._known = listing(*self._made())

    def _made(self) -> Iterator[Path]:
        return (self.folder / engine for engine in self._pristine)

    def _restore(self) -> None:
        for engine, copy in self._pristine.items():
            shutil.rmtree(self.folder / engine)
            shutil.copytree(copy, self.folder / engine, symlinks=True)
        self._known = listing(*self._made())


@contextlib.contextmanager
def _emptied(folder: Path, is_kept: bool) -> Iterator[None]:
    """Give a folder that is not there, and remove it afterwards unless it is to be kept."""
    shutil.rmtree(os.fsencode(folder), ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield
    finally:
        if not is_kept:
            shutil.rmtree(os.fsencode(folder), ignore_errors=True)
