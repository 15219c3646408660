"""The commands `submit`, `logs` and `stop`: a search as a job of a cluster, seen from a machine outside."""

from __future__ import annotations

import argparse
import contextlib
import posixpath
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from results.commands import command
from tune.errors import StudyError
from tune.ray_adapter.jobs import EXIT_NOT_FOUND, STOP_WAIT_S, STUDY_FOLDER, Job, JobServer
from tune.study import load_study
from tune.study_files import study_files
from tune.trust import TRUST_HELP

SUBMIT_EPILOG = """examples:
  seti-tune submit study.toml --run /shared/runs/study --address http://HEAD:8265
  seti-tune submit study.toml --run /shared/runs/study --address http://HEAD:8265 --follow
  seti-tune status /shared/runs/study --address http://HEAD:8265
  seti-tune stop /shared/runs/study --address http://HEAD:8265
The study file, its space and its modules travel; seti-tune and the data set must be there. The search needs this
machine no more once it has begun. The same command again continues it, also without STUDY.
exit codes: 0 the search has begun, 2 a mistake in what was asked for; with --follow as of `seti-tune search`
"""
LOGS_EPILOG = """examples:
  seti-tune logs /shared/runs/study --address http://HEAD:8265
  seti-tune logs /shared/runs/study --address http://HEAD:8265 --follow
Ctrl-C leaves a search that is followed as it is; it goes on.
"""
STOP_EPILOG = """examples:
  seti-tune stop /shared/runs/study --address http://HEAD:8265
The search ends in order, all that was recorded is kept; `seti-tune submit` goes on with it.
"""
# What a search says when all was checked and a node is there to train; or that it ends for want of one.
_BEGUN = re.compile(r"\[ *[\d.]+ s\] node \S+ gets trials")
_OURS = "seti-tune: "  # begins a line about a mistake


def add_submit(submit: argparse.ArgumentParser) -> None:
    """Give `submit` its arguments."""
    submit.epilog = SUBMIT_EPILOG
    submit.set_defaults(run=_submit)
    submit.add_argument(
        "study", metavar="STUDY", nargs="?", help="a study file or a shipped study's name (default: what RUN records)"
    )
    submit.add_argument(
        "--run", dest="folder", required=True, metavar="RUN", help="the run folder on the cluster, an absolute path"
    )
    _add_address(submit)
    submit.add_argument("--trials", type=int, metavar="N", help="the total number of trials, instead of the study's")
    submit.add_argument("--no-finals", action="store_true", help="search only")
    submit.add_argument("--trust", action="store_true", help=f"without STUDY: {TRUST_HELP}")
    submit.add_argument("--follow", action="store_true", help="print what the search says until it ends")


def add_logs(logs: argparse.ArgumentParser) -> None:
    """Give `logs` its arguments."""
    logs.epilog = LOGS_EPILOG
    logs.set_defaults(run=_logs)
    logs.add_argument("folder", metavar="RUN", help="the run folder on the cluster")
    _add_address(logs)
    logs.add_argument("--follow", action="store_true", help="go on until the search ends")


def add_stop(stop: argparse.ArgumentParser) -> None:
    """Give `stop` its arguments."""
    stop.epilog = STOP_EPILOG
    stop.set_defaults(run=_stop)
    stop.add_argument("folder", metavar="RUN", help="the run folder on the cluster")
    _add_address(stop)


def _add_address(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--address", required=True, metavar="URL", help="the cluster's job server, e.g. http://HEAD:8265"
    )


def answer_of_cluster(address: str, name: str, folder: Path, *words: str, **options: object) -> int:
    """Run a command that looks at a run on the cluster, print what it says there, and return its exit code.

    Raises:
        StudyError: The run folder's path is not absolute, or as `JobServer`.
    """
    line = command(name, _there(str(folder)), *words, **options)
    answer = JobServer(address).ask(line)
    print(answer.out, end="")
    print(answer.err, end="", file=sys.stderr)
    return answer.exit_code


def _submit(options: argparse.Namespace) -> int:
    run = _there(options.folder)
    line, files = _job_of(options, run)
    server = JobServer(options.address)
    known = {"address": options.address}
    before = server.newest(run)
    if before is not None and not before.is_over:
        raise StudyError(
            f"{run}: is being searched by job {before.name} already; look at it with `{command('logs', run, **known)}` "
            f"or end it with `{command('stop', run, **known)}`"
        )
    name = server.submit(line, run, files)
    print(f"submitted as job {name}", file=sys.stderr)
    if options.follow:
        return _follow(server, run, name)
    with _left_running(server, run):
        code = _wait_for_begin(server, name)
    if code is not None:
        return code
    print(
        f"The search has begun, it does not need this machine any more.\nLook at it with: "
        f"{command('status', run, **known)}\nFollow it with: {command('logs', run, follow=True, **known)}\n"
        f"End it with: {command('stop', run, **known)}"
    )
    return 0


def _job_of(options: argparse.Namespace, run: str) -> tuple[str, Mapping[str, bytes]]:
    """Return the command that runs on the cluster and the files that travel with it."""
    there = {"trials": options.trials, "address": "auto", "plain": True}
    if options.study is None:
        if options.no_finals:
            raise StudyError("--no-finals: needs STUDY; a run that goes on by itself has what it records")
        return command("resume", run, trust=options.trust, **there), {}
    study = load_study(options.study)
    if options.trials is not None:
        study = study.with_trials(options.trials)
    files = study_files(study)
    file = f"{STUDY_FOLDER}/{next(iter(files))}"
    return command("search", file, run=run, no_finals=options.no_finals, keep_study=True, **there), files


def _there(run: str) -> str:
    """Return the path of a run folder on the cluster.

    Raises:
        StudyError: It is not absolute.
    """
    if not posixpath.isabs(run):
        raise StudyError(
            f"{run}: the absolute path of a run folder that the cluster keeps is expected; for instance /shared/x"
        )
    return posixpath.normpath(run)


def _wait_for_begin(server: JobServer, name: str) -> int | None:
    """Wait until a search has begun; where it ended before that return its exit code, once its words are printed.

    Raises:
        StudyError: It ended for a mistake, in its own words.
    """
    said: list[str] = []
    begun = [False]

    def is_begun(line: str) -> bool:
        begun[0] = _BEGUN.match(line) is not None
        return begun[0]

    server.follow(name, said.append, until=is_begun)
    if begun[0]:
        return None
    code = _exit_code(server, server.wait(name))
    mistake = next((line for line in reversed(said) if line.startswith(_OURS)), None)
    if code == StudyError.exit_code and mistake is not None:
        raise StudyError(mistake.removeprefix(_OURS))
    print("\n".join(said))
    return code


def _follow(server: JobServer, run: str, name: str) -> int:
    """Print what a search says until it ends; return its exit code."""
    with _left_running(server, run):
        server.follow(name, print)
        return _exit_code(server, server.wait(name))


@contextlib.contextmanager
def _left_running(server: JobServer, run: str) -> Iterator[None]:
    """Say after Ctrl-C that the search goes on."""
    try:
        yield
    except KeyboardInterrupt:
        follow = command("logs", run, follow=True, address=server.address)
        stop = command("stop", run, address=server.address)
        print(f"The search goes on; follow it with: {follow}\nEnd it with: {stop}", file=sys.stderr)
        raise


def _exit_code(server: JobServer, job: Job) -> int:
    """Return the exit code of a search that is over: 3 where it was stopped.

    Raises:
        StudyError: It could not be started.
    """
    if job.exit_code is not None:
        if job.exit_code == EXIT_NOT_FOUND:
            raise StudyError(server.without_us())
        return job.exit_code
    if job.state == "STOPPED":
        return 3
    raise StudyError(f"--address {server.address}: job {job.name} has {job.state.lower()}: {job.message}; submit again")


def _known(server: JobServer, run: str) -> Job:
    job = server.newest(run)
    if job is None:
        raise StudyError(
            f"{run}: no job at {server.address} searches it, or its record there is gone; `seti-tune submit` starts one"
        )
    return job


def _logs(options: argparse.Namespace) -> int:
    run, server = _there(options.folder), JobServer(options.address)
    job = _known(server, run)
    if options.follow:
        return _follow(server, run, job.name)
    print(server.said(job.name), end="")
    return 0


def _stop(options: argparse.Namespace) -> int:
    run, server = _there(options.folder), JobServer(options.address)
    job = _known(server, run)
    if job.is_over:
        raise StudyError(f"{run}: job {job.name} is over already ({job.state.lower()})")
    job = server.stop(job.name)
    if not job.is_over:
        raise StudyError(f"{run}: job {job.name} has not ended within {STOP_WAIT_S} s; see `ray job list` on the head")
    again = command("submit", run=run, address=options.address)
    print(f"Stopped; all that was recorded is kept. Continue with: {again}")
    return 0
