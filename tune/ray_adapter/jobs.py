"""The job server of a cluster as one uses it from outside: searches run there as jobs, and so does a look at them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import os
import re
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from tune.errors import StudyError
from tune.ray_adapter.tokens import machine_token, settle_token
from tune.study_files import write_study

STUDY_FOLDER = "study"  # of what travels with a job; below it nothing of the user's hides a module of ours
STOP_WAIT_S = 60  # that a job has to end in order before Ray kills it; 3 by default
POLL_S = 0.2
PROBE_S = 10.0
_RUN = "seti_tune_run"  # what jobs that search are known by: their run folder
_MARK = "--- seti-tune: standard error ---"
_RAYS_OWN = re.compile(
    r"^(?:\d{4}-\S+ \S+\s+INFO job_manager\.py:\d+ -- .*|Running entrypoint for job [^\n]*)\n?", re.M
)
EXIT_NOT_FOUND = 127  # of a shell


@dataclass(frozen=True)
class Job:
    """A job that searches, as the server has it; `exit_code` is None before its end and where it was stopped."""

    name: str
    state: str  # in Ray's words
    is_over: bool
    exit_code: int | None
    message: str


@dataclass(frozen=True)
class Answer:
    """What a command said on the cluster, and its exit code."""

    out: str
    err: str
    exit_code: int


class JobServer:
    """A connection to the job server at `http://HEAD:8265`."""

    def __init__(self, address: str) -> None:
        """Connect, with the token of this machine where the server wants one.

        Raises:
            StudyError: Another kind of address, no such server there, the token is not here, or ray[default].
        """
        self.address = address
        _check_address(address)
        settle_token(address, partial(_lets_in, address))
        for name in ("RAY_ADDRESS", "RAY_API_SERVER_ADDRESS"):  # Ray would take these for the address instead
            os.environ.pop(name, None)
        _check_packages(address)
        from ray.job_submission import JobSubmissionClient

        logging.disable(logging.INFO)  # what Ray has to say about its packages
        with self._answering():
            self._client: Any = JobSubmissionClient(address)

    def submit(self, line: str, run: str, files: Mapping[str, bytes]) -> str:
        """Start a command on the cluster, as the search of a run folder there; return the job's name.

        Args:
            line: For a shell; `files` lie below `STUDY_FOLDER` in its working directory.
            run: The run folder.
            files: What travels, by its path.
        """
        with tempfile.TemporaryDirectory() as folder:
            environment: dict[str, Any] = {"env_vars": {"RAY_JOB_STOP_WAIT_TIME_S": str(STOP_WAIT_S)}}
            if files:
                write_study(files, Path(folder) / STUDY_FOLDER)
                environment["working_dir"] = folder
            return self._start(f"exec {line}", runtime_env=environment, metadata={_RUN: run})

    def ask(self, line: str) -> Answer:
        """Run a command on the cluster to its end; return what it says.

        Raises:
            StudyError: There is no seti-tune there, or the job could not run.
        """
        # A job has one stream for both; what is printed as JSON must stay alone.
        shell = f'e=$(mktemp); {line} 2>"$e"; c=$?; echo; echo "{_MARK}"; cat "$e"; rm -f "$e"; exit $c'
        name = self._start(shell)
        job = self.wait(name)
        with self._answering():
            said = str(self._client.get_job_logs(name))
        own = said.replace(f"Running entrypoint for job {name}: {shell}\n", "")
        out, _, err = _RAYS_OWN.sub("", own).partition(f"\n{_MARK}\n")
        if job.exit_code is None:
            raise StudyError(f"--address {self.address}: {job.message}; see `ray job list`")
        if job.exit_code == EXIT_NOT_FOUND:
            raise StudyError(self.without_us())
        return Answer(out, err, job.exit_code)

    def without_us(self) -> str:
        """Say that the head does not find seti-tune."""
        return (
            f"--address {self.address}: the head finds no seti-tune; install it there and have it in the PATH when "
            "`ray start` is called, say by activating its environment"
        )

    def newest(self, run: str) -> Job | None:
        """Return the job that was submitted last for a run folder; None where there is none."""
        with self._answering():
            jobs = [job for job in self._client.list_jobs() if (job.metadata or {}).get(_RUN) == run]
        newest = max(jobs, key=lambda job: job.start_time or 0, default=None)
        return None if newest is None else _job(newest)

    def job(self, name: str) -> Job:
        """Return how a job stands."""
        with self._answering():
            return _job(self._client.get_job_info(name))

    def wait(self, name: str, *, timeout_s: float = float("inf")) -> Job:
        """Wait for the end of a job, or as long as it may take; return how it stands then."""
        until = time.monotonic() + timeout_s
        while not (job := self.job(name)).is_over and time.monotonic() < until:
            time.sleep(POLL_S)
        return job

    def stop(self, name: str) -> Job:
        """Have a job end in order and wait for that; return how it stands then."""
        with self._answering():
            self._client.stop_job(name)
        return self.wait(name, timeout_s=STOP_WAIT_S + PROBE_S)

    def said(self, name: str) -> str:
        """Return all that a job has said so far."""
        with self._answering():
            return _RAYS_OWN.sub("", str(self._client.get_job_logs(name)))

    def follow(self, name: str, say: Callable[[str], None], *, until: Callable[[str], bool] | None = None) -> None:
        """Pass on each line that a job has said and says, until its end or until one of them is what is waited for."""
        with self._answering():
            asyncio.run(self._follow(name, say, until or (lambda line: False)))

    async def _follow(self, name: str, say: Callable[[str], None], until: Callable[[str], bool]) -> None:
        rest = ""
        async for text in self._client.tail_job_logs(name):
            *lines, rest = (rest + text).split("\n")
            for line in lines:
                if not _RAYS_OWN.match(line):
                    say(line)
                if until(line):
                    return
        if rest:
            say(rest)

    def _start(self, line: str, **more: Any) -> str:
        with self._answering():
            return str(self._client.submit_job(entrypoint=line, **more))

    @contextlib.contextmanager
    def _answering(self) -> Iterator[None]:
        """Turn what Ray raises where the server does not answer, or refuses, into one line."""
        try:
            yield
        except Exception as error:
            # Those of one of its two HTTP clients are OSErrors, those of the other are a family of their own.
            if not isinstance(error, OSError | RuntimeError) and not type(error).__module__.startswith("aiohttp"):
                raise
            first = (str(error).splitlines() or [type(error).__name__])[0]
            raise StudyError(
                f"--address {self.address}: the job server does not answer as expected ({first}); what it runs goes "
                "on, look at the head with `ray status`"
            ) from error


def _job(found: Any) -> Job:
    message = (str(found.message or "").splitlines() or [""])[0]
    return Job(found.submission_id, found.status.value, found.status.is_terminal(), found.driver_exit_code, message)


def _check_address(address: str) -> None:
    if not re.fullmatch(r"https?://[^/:\s]+(:\d+)?/?|https?://\[[0-9a-fA-F:]+\](:\d+)?/?", address):
        raise StudyError(
            f"--address {address}: the job server of a cluster is expected, http://HEAD:8265 (the port of its "
            "dashboard, not that of the head itself)"
        )


def _check_packages(address: str) -> None:
    try:
        for name in ("aiohttp", "requests"):
            importlib.import_module(name)
    except ImportError as error:
        raise StudyError(
            f"--address {address}: jobs need ray[default], which is not installed on this machine; install the lock "
            "file, or seti-tune with its extra `cluster`"
        ) from error


def _lets_in(address: str, mode: str) -> bool:
    """Ask the server for its version; return whether the answer is no refusal.

    Raises:
        StudyError: Nothing answers there, or something else.
    """
    token = machine_token() if mode == "token" else None
    request = urllib.request.Request(  # noqa: S310 - the scheme has been checked
        f"{address.rstrip('/')}/api/version", headers={"Authorization": f"Bearer {token}"} if token else {}
    )
    other = StudyError(
        f"--address {address}: what answers there is no job server of Ray; give the address of the dashboard of a head "
        "that was started where ray[default] is installed"
    )
    try:
        with urllib.request.urlopen(request, timeout=PROBE_S) as answer:  # noqa: S310
            if "ray_version" not in json.load(answer):
                raise other
            return True
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (401, 403):
            return False
        raise other from error
    except OSError as error:
        why = getattr(error, "reason", error)
        raise StudyError(
            f"--address {address}: no answer ({getattr(why, 'strerror', None) or why}); start the head where "
            "ray[default] is installed, with `ray start --head --dashboard-host=0.0.0.0`, or tunnel to it with "
            "`ssh -L 8265:localhost:8265 HEAD`"
        ) from error
    except ValueError as error:  # no JSON
        raise other from error
