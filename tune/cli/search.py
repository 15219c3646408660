"""The commands `search`, `resume` and `finals`: what they accept and print. They run in a child process."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.run_folder import LOG_NAME
from seti_model.data.dataset import Dataset
from tune.cores import cores
from tune.errors import StudyError
from tune.forecast import Images, forecast, forecast_text, measure_flops
from tune.process.child import Order
from tune.process.supervisor import supervise
from tune.ray_adapter.cluster import check_address, concurrency
from tune.study import load_study
from tune.study_files import keep_study
from tune.trust import TRUST_HELP
from tune.view.terminal import choose_view

if TYPE_CHECKING:
    from tune.study import Study

SEARCH_EPILOG = """examples:
  seti-tune search quickstart                          the shipped study, into runs/quickstart
  seti-tune search study.toml --dry-run                what it would do: rungs, time, memory, disk
  seti-tune search study.toml --trials 80              the same study with 80 trials in all
  seti-tune search study.toml --like runs/earlier --top 3   its three best configurations are tried first
  seti-tune search study.toml --address 10.0.0.1:6379  on a Ray cluster
Start the same command again to continue an interrupted run or to see a finished one; `seti-tune resume` needs the
run folder alone. A changed space file is accepted where it only widens the space; the trials so far are carried over.
Where [resources] says neither cpus_per_trial nor max_concurrent, a trial of one thread runs on each core; with trials
for at most half of the cores some seconds show how many threads each should have, unless little is to be trained.
The log has what was chosen.
exit codes: 0 finished, 2 a mistake in what was asked for, 3 interrupted and to be continued, 130 Ctrl-C
"""
RESUME_EPILOG = """examples:
  seti-tune resume runs/quickstart                      go on after Ctrl-C, a crash or a power cut
  seti-tune resume runs/quickstart --trials 40          40 trials in all, also where the run was finished
  seti-tune resume runs/study --retry-failed            after a fix: trials that failed are tried again
  seti-tune resume runs/study --data /new/place         the data set has moved; its digest is compared
  seti-tune resume runs/study --space wider.toml --trials 80
  seti-tune resume s3://bucket/study --run runs/study   on another machine, from the store of [storage]
The study, its space and its trainable's folder come from the log of the run; the study file is not read.
exit codes: as of `seti-tune search`
"""


FINALS_EPILOG = """examples:
  seti-tune finals runs/quickstart                      with the study's numbers of finalists and seeds
  seti-tune finals runs/quickstart --finalists 5 --seeds 5
The best configurations of an ended search and the baseline are retrained from fresh seeds, as many at a time as fit.
The best mean validation objective wins; winner and baseline then predict the test split, and the winner's best
retraining is written to RUN/final/. Retrainings that were done before are kept. Interrupted: `seti-tune resume RUN`.
exit codes: as of `seti-tune search`
"""


def add_search(search: argparse.ArgumentParser) -> None:
    """Give `search` its arguments; it sets `run`, which takes them and returns an exit code."""
    search.epilog = SEARCH_EPILOG
    search.set_defaults(run=_search, supervised=True)
    search.add_argument("study", metavar="STUDY", help="a study file (.toml) or a shipped study's name")
    search.add_argument(
        "--run", dest="run_folder", type=Path, metavar="RUN", help="the run folder (default: runs/<name of the study>)"
    )
    search.add_argument("--trials", type=int, metavar="N", help="the total number of trials, instead of the study's")
    search.add_argument("--address", metavar="ADDRESS", help="a Ray cluster, HOST:PORT or auto (default: this machine)")
    search.add_argument("--no-finals", action="store_true", help="search only; `seti-tune finals RUN` does the rest")
    search.add_argument(
        "--keep-study",
        action="store_true",
        help="copy the study file, its space and its modules into RUN first, and go by the copies",
    )
    search.add_argument(
        "--like",
        type=Path,
        metavar="RUN",
        help="try the best configurations of another run first",
    )
    search.add_argument("--top", type=int, metavar="K", help="with --like: so many of them (default: 5)")
    search.add_argument("--dry-run", action="store_true", help="print rungs and the forecast, start nothing")
    _add_views(search)


def add_resume(resume: argparse.ArgumentParser) -> None:
    """Give `resume` its arguments."""
    resume.epilog = RESUME_EPILOG
    resume.set_defaults(run=_resume, supervised=True)
    resume.add_argument("folder", metavar="RUN", type=_run, help="the run folder, or the address of its store")
    resume.add_argument(
        "--run",
        dest="run_folder",
        type=Path,
        metavar="FOLDER",
        help="with an address: the run folder to make or to continue (default: runs/<name of the study>)",
    )
    resume.add_argument("--trials", type=int, metavar="N", help="the total number of trials, instead of the run's")
    resume.add_argument("--data", type=Path, metavar="PATH", help="where the data set is now, if it was moved")
    resume.add_argument("--trust", action="store_true", help=TRUST_HELP)
    resume.add_argument(
        "--retry-failed", action="store_true", help="open failed trials again, after the cause was corrected"
    )
    resume.add_argument("--space", type=Path, metavar="FILE", help="a space file that widens the run's space")
    resume.add_argument("--address", metavar="ADDRESS", help="a Ray cluster, HOST:PORT or auto (default: this machine)")
    _add_views(resume)


def add_finals(finals: argparse.ArgumentParser) -> None:
    """Give `finals` its arguments."""
    finals.epilog = FINALS_EPILOG
    finals.set_defaults(run=_finals, supervised=True)
    finals.add_argument("folder", metavar="RUN", type=Path, help="the run folder")
    finals.add_argument("--finalists", type=int, metavar="K", help="how many of the best, instead of the study's")
    finals.add_argument("--seeds", type=int, metavar="N", help="retrainings of each, instead of the study's")
    finals.add_argument("--trust", action="store_true", help=TRUST_HELP)
    finals.add_argument("--data", type=Path, metavar="PATH", help="where the data set is now, if it was moved")
    finals.add_argument("--address", metavar="ADDRESS", help="a Ray cluster, HOST:PORT or auto (default: this machine)")
    _add_views(finals)


def _add_views(parser: argparse.ArgumentParser) -> None:
    views = parser.add_mutually_exclusive_group()
    views.add_argument(
        "--quiet", action="store_true", help="print the result at the end and nothing before, but errors"
    )
    views.add_argument(
        "--plain", action="store_true", help="print lines, also on a terminal (default: a live view there)"
    )


def _search(options: argparse.Namespace) -> int:
    study = load_study(options.study)
    if options.trials is not None:
        study = study.with_trials(options.trials)
    study = study.without_finals() if options.no_finals else study
    run = options.run_folder or Path("runs") / study.study.name
    if options.address is not None:
        check_address(options.address)
    log = run / LOG_NAME
    is_new = not log.exists() or not log.stat().st_size
    if options.top is not None and options.like is None:
        raise StudyError(f"--top {options.top}: says how many configurations of --like RUN; name that too")
    if options.like is not None and is_new:
        _check_like(study, options.like, options.top)
    if options.dry_run or (is_new and not options.quiet):
        print(_plan(study, local=options.address is None), file=sys.stdout if options.dry_run else sys.stderr)
    if options.dry_run:
        return 0
    file = str(keep_study(study, run)) if options.keep_study else options.study
    like = None if options.like is None else str(options.like)
    return _start(options, run, study=file, no_finals=options.no_finals, like=like, top=options.top)


def _check_like(study: Study, run: Path, top: int | None) -> None:
    from tune.like import TOP, Like, borrow  # reads logs, which other searches need not wait for

    borrow(study, Like(run, TOP if top is None else top))


def _resume(options: argparse.Namespace) -> int:
    if isinstance(options.folder, str):
        from tune.storage.segments import restore

        return _start(options, restore(options.folder, options.run_folder), storage=options.folder)
    if options.run_folder is not None:
        raise StudyError(f"--run {options.run_folder}: {options.folder} is a run folder itself; leave --run out")
    return _start(options, options.folder)


def _run(text: str) -> Path | str:
    return text if "://" in text else Path(text)


def _finals(options: argparse.Namespace) -> int:
    from tune.resume import finals_study, require_own_code  # statistics of finals, which a search need not wait for

    # A mistake is said before a process is started.
    require_own_code(options.folder, is_trusted=options.trust)
    finals_study(options.folder, data=options.data, finalists=options.finalists, seeds=options.seeds)
    return _start(options, options.folder, finals_only=True)


def _start(options: argparse.Namespace, run: Path, **further: Any) -> int:
    """Start the driver with all that was typed of what it understands."""
    if options.address is not None:
        check_address(options.address)
    given: dict[str, Any] = {name: getattr(options, name, None) for name in ("trials", "address", "finalists", "seeds")}
    places = {name: getattr(options, name, None) for name in ("data", "space")}
    given |= {name: str(place) for name, place in places.items() if place is not None}
    given |= {name: getattr(options, name, False) for name in ("trust", "retry_failed")}
    view = choose_view(sys.stderr, quiet=options.quiet, plain=options.plain)
    return supervise(Order(run=str(run), view=view, **given, **further))


def _plan(study: Study, *, local: bool) -> str:
    images = None
    if study.data.recipe is not None:
        images = Images((64, 128, 1), 4, study.data.train, study.data.validation, study.data.fresh)
    elif study.data.path is not None:
        data = Dataset.open(study.home / study.data.path)
        train, validation = (len(data.split(name).labels) for name in ("train", "validation"))
        train += study.data.simulate_beside
        images = Images(data.image_shape, len(data.class_names), train, validation, data.fresh is not None)
    concurrent = study.resources.max_concurrent or 1
    if local and not study.resources.gpus_per_trial:
        concurrent = concurrency(study.resources, [{"CPU": cores()}])
    concurrent = min(concurrent, study.study.trials)
    plan = forecast(study, images, concurrent=concurrent, flops_per_s=measure_flops())
    return forecast_text(study, plan, concurrent)
