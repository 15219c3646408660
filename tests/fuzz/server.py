"""A process that has imported what a command needs, and runs each case in a child of its own: forked, limited, watched.

`python -m fuzz.server light|network` reads one request a line, as JSON, and answers in the same way.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

CPU_S, WALL_S, IDLE_S = 10, 120.0, 10.0  # a busy machine is no hang
ADDRESSES = 12 << 30  # bytes that a child may map beyond what its parent has: a net below the limit of memory
FILE_BYTES = 1 << 30
KEPT_OUTPUT = 1 << 20
POLL_S = 0.004
LIBRARIES = """numpy pandas pyarrow pyarrow.csv pyarrow.parquet PIL.Image matplotlib.pyplot plotly.offline jinja2 optuna
optuna.importance ray ray.tune sklearn.metrics scipy.stats tensorboardX"""
OURS = """tune.cli.main tune.cli.data tune.cli.look tune.cli.model tune.cli.reproduce tune.cli.search tune.process.child
tune.process.driver tune.resume tune.derived tune.train tune.export.optuna tune.export.tensorboard results.report.html
results.report.figures results.report.markdown results.log.state"""
NETWORKS = "tensorflow keras seti_model.network seti_model.exported seti_model.training.train"


def main() -> None:
    """Import, say so, and answer until standard input ends."""
    answers = os.fdopen(os.dup(1), "w")
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in f"{LIBRARIES} {OURS} {NETWORKS if sys.argv[1] == 'network' else ''}".split():
            importlib.import_module(name)
    # A driver ends when its standard input does: the writing end stays open here.
    parent, _writer = os.pipe()
    answers.write(json.dumps({"ready": True}) + "\n")
    answers.flush()
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(_answer(request, parent)) + "\n")
        answers.flush()


def _answer(request: dict[str, Any], stdin: int) -> dict[str, Any]:
    reader, writer = os.pipe()
    errors, errors_writer = os.pipe()
    began = time.monotonic()
    drains = [os.open(path, os.O_RDWR | os.O_NONBLOCK) for path in request.get("drain", [])]
    child = os.fork()
    if child == 0:
        _become(request, stdin, writer, errors_writer)
    os.close(writer)
    os.close(errors_writer)
    floor = _resident(os.getpid())
    watch = _Watch(child, (reader, errors), floor + request.get("most_memory", 1 << 62))
    status, usage, why = watch.wait(drains)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)  # what the child has left behind, of its own group
    for descriptor in (reader, errors, *drains):
        os.close(descriptor)
    code = os.waitstatus_to_exitcode(status)
    out, err = (bytes(kept).decode("utf-8", "surrogateescape") for kept in watch.kept)
    return {
        "code": code,
        "why": why,
        "out": out,
        "err": err,
        "printed": watch.printed,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "memory": max(usage.ru_maxrss * 1024, watch.most),
        "floor": floor,
        "wall_s": time.monotonic() - began,
        "child": child,
    }


class _Watch:
    """Waits for a child: takes what it prints, and tells it to say where it is when it goes beyond its limits."""

    def __init__(self, child: int, pipes: tuple[int, int], most_memory: int) -> None:
        self.kept = (bytearray(), bytearray())
        self.printed = 0
        self.most = 0
        self._child, self._pipes, self._most_memory = child, pipes, most_memory
        self._why = ""
        self._told_at = 0.0
        for pipe in pipes:
            os.set_blocking(pipe, False)

    def wait(self, drains: list[int]) -> tuple[int, resource.struct_rusage, str]:
        """Return how the child ended, what it used, and why it was ended where it was."""
        began = moved = time.monotonic()
        ticks = -1
        while True:
            select.select([*self._pipes, *drains], [], [], POLL_S)
            self._take(drains)
            ended, status, usage = os.wait4(self._child, os.WNOHANG)
            if ended:
                self._take(drains)
                return status, usage, self._why
            now, used = time.monotonic(), self._used()
            if used != ticks:
                ticks, moved = used, now
            if self.most > self._most_memory:
                self._tell("memory")
            elif now - moved > IDLE_S or now - began > WALL_S:
                self._tell("idle" if now - moved > IDLE_S else "wall")
            if self._why and now - self._told_at > 2.0:
                os.kill(self._child, signal.SIGKILL)

    def _tell(self, why: str) -> None:
        if not self._why:
            self._why, self._told_at = why, time.monotonic()
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._child, signal.SIGXCPU)

    def _used(self) -> int:
        """Return the processor time of the child and of what it waits for, in ticks."""
        try:
            fields = Path(f"/proc/{self._child}/stat").read_text().rpartition(")")[2].split()
            self.most = max(self.most, _resident(self._child))
        except (OSError, IndexError):
            return 0
        return sum(map(int, fields[11:15])) + self.printed

    def _take(self, drains: list[int]) -> None:
        for pipe, kept in zip(self._pipes, self.kept, strict=True):
            while data := _read(pipe):
                self.printed += len(data)
                kept += data[: max(0, KEPT_OUTPUT - len(kept))]
        for descriptor in drains:
            while _read(descriptor):
                pass


def _resident(process: int) -> int:
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * resource.getpagesize()


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 1 << 16)
    except BlockingIOError:
        return b""


def _become(request: dict[str, Any], stdin: int, out: int, err: int) -> None:
    """Run a case in this process, and end with its exit code."""
    code = 1
    try:
        os.setpgid(0, 0)
        for descriptor, number in ((stdin, 0), (out, 1), (err, 2)):
            os.dup2(descriptor, number)
        # As in a terminal of UTF-8: what it cannot show is an error on one, and escaped on the other.
        sys.stdout = open(1, "w", encoding="utf-8", errors="strict", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        faulthandler.register(signal.SIGXCPU, file=sys.stderr, all_threads=False, chain=True)
        code = _WORK[request["do"]](request)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _templates(request: dict[str, Any]) -> int:
    from fuzz import templates

    if request["engine"] == "light":
        templates.make_light(Path(request["folder"]))
    else:
        templates.make_network(Path(request["folder"]), Path(request["light"]))
    return 0


def _case(request: dict[str, Any]) -> int:
    folder = Path(request["folder"])
    os.chdir(folder / "work")
    tempfile.tempdir = str(folder / "tmp")
    os.environ["TMPDIR"] = tempfile.tempdir
    for place, name in request.get("plants", []):
        link = folder / place / name.replace("PID", str(os.getpid()))
        link.symlink_to(folder / "outside" / "victim")
    _without_ray()
    _limit(request)
    from tune.cli.main import main

    return main(request["words"])


_WORK: dict[str, Callable[[dict[str, Any]], int]] = {"templates": _templates, "case": _case}


def _limit(request: dict[str, Any]) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S + 2))
    mapped = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (mapped + ADDRESSES,) * 2)
    most = request.get("file_bytes")
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_BYTES if most is None else most,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _without_ray() -> None:
    """Run the driver of a search in this process, up to where Ray would train: all that it reads comes before."""
    from tune.cli import search
    from tune.errors import StudyError
    from tune.process import child, driver
    from tune.ray_adapter import cluster

    def here(order: Any) -> int:
        code = child.main([json.dumps(vars(order))])
        return 1 if code == child.EXIT_BUG else code

    def connect(self: Any, data: object) -> Any:
        return cluster.Cluster(1, 1.0, 0.0, 1, None, None)

    def tune(self: Any, coordinator: object, data: object) -> bool:
        raise StudyError("here a search would begin; this is all that is looked at")

    search.supervise = here  # type: ignore[attr-defined]
    driver.Driver._connect = connect  # type: ignore[method-assign]
    driver.Driver._tune_with_room = tune  # type: ignore[method-assign]


if __name__ == "__main__":
    main()
