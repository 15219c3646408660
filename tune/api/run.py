"""A search from Python, and its run folder: `search`, `open_run` and the `SearchRun` that both return."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
import threading
import weakref
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.log.recorder import is_being_written
from results.run import Finals, Run, Trial
from results.run_folder import LOG_NAME
from results.study import StudyRecord
from tune.api.cell import Cell, run_html
from tune.api.study import read_study
from tune.api.waiting import Words, end_in_order, wait_until_ended
from tune.checks import check_installation, check_places
from tune.errors import SearchError, StudyError, UnfinishedError
from tune.process.child import Order
from tune.process.handed import hand_over
from tune.process.supervisor import DriverProcess
from tune.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from results.predictions import Predictions
    from results.receipt import Receipt
    from results.reproduction import Answer
    from seti_model.exported import ExportedModel


def search(
    study: Study | str | Path | Mapping[str, Any],
    run: str | Path | None = None,
    *,
    wait: bool = True,
    finals: bool = True,
    address: str | None = None,
) -> SearchRun:
    """Run a study in a run folder, or continue the one that is there; a finished one is left as it is.

    The driver is a process of its own, as of `seti-tune search`: whatever becomes of it or of Ray, this process lives.
    It ends in order when this process does.

    Args:
        study: From `read_study`, or what that takes.
        run: The run folder, `runs/<name of the study>` if none is given; the study is kept there as study.toml.
        wait: Whether to return when it has ended, else at once. Interrupting the cell, or Ctrl-C, ends it in order.
        finals: Whether they follow; `run_finals` holds them later.
        address: A Ray cluster, HOST:PORT or auto; None for this machine.

    Raises:
        StudyError: As `read_study`.
        SearchError: What the driver refused, in the words of the command line.
        UnfinishedError: It ended before its end, and can be continued: Ray's head died, or it was told to.
        KeyboardInterrupt: It was interrupted; the message says what continues it.
    """
    check_installation()
    study = study if isinstance(study, Study) else read_study(study)
    searched = SearchRun(Path("runs") / study.study.name if run is None else run)
    return searched._search(study, wait=wait, no_finals=not finals, address=address)


def open_run(run: str | Path) -> SearchRun:
    """Return the run of a search that is there, to look at it or to continue it.

    Raises:
        RecordError: No run folder, or a damaged log.
    """
    opened = SearchRun(run)
    Run.read(opened.folder)
    return opened


class SearchRun:
    """A run folder, the driver that this process may have started for it, and what its log says at this moment.

    `results` is the whole of it, as of `results.load`; its parts that are needed most stand here too.
    """

    def __init__(self, folder: str | Path) -> None:
        check_places([Path(folder)])
        self._folder = Path(folder).absolute()  # a notebook may change its folder
        self._driver: DriverProcess | None = None
        self._words: Words | None = None
        self._again = "run.resume()"
        self._read: tuple[int, Run] | None = None

    def __repr__(self) -> str:
        """Return one line: where it is, and how many trials there are."""
        how = ", running" if self.is_running else ""
        log = self._folder / LOG_NAME
        trials = f"{len(self.trials)} trials" if log.is_file() and log.stat().st_size else "nothing recorded yet"
        return f"<SearchRun {self.folder}: {trials}{how}>"

    def _repr_html_(self) -> str:
        return run_html(self.folder)

    @property
    def folder(self) -> Path:
        """The run folder."""
        here = Path.cwd()
        return self._folder.relative_to(here) if self._folder.is_relative_to(here) else self._folder

    @property
    def is_running(self) -> bool:
        """Whether it is searched at this moment, by this process or another."""
        ours = self._driver is not None and self._driver.process.poll() is None
        return ours or is_being_written(self._folder)

    @property
    def results(self) -> Run:
        """The run as its log is now."""
        log = self._folder / LOG_NAME
        size = log.stat().st_size if log.is_file() else 0
        if self._read is None or self._read[0] != size:
            self._read = size, Run.read(self.folder)
        return self._read[1]

    @property
    def leaderboard(self) -> pd.DataFrame:
        """The leaderboard as it is now, the columns of `leaderboard.csv`."""
        return self.results.leaderboard

    @property
    def epochs(self) -> pd.DataFrame:
        """One row per epoch that counts, the columns of `epochs.csv`."""
        return self.results.epochs

    @property
    def study(self) -> StudyRecord:
        """The study as it is recorded."""
        return self.results.study

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The trials of the search, in the order of their numbers."""
        return self.results.trials

    @property
    def finals(self) -> Finals | None:
        """The latest finals; None before there were any."""
        return self.results.finals

    def trial(self, number: int, repeat: int | None = None) -> Trial:
        """Return one trial, or one retraining of it; RecordError where there is none."""
        return self.results.trial(number, repeat)

    def receipt(self, number: int, repeat: int | None = None) -> Receipt:
        """Return everything needed to repeat a trial that has ended; RecordError where there is none."""
        return self.results.receipt(number, repeat)

    def predictions(self, split: str = "test") -> Predictions:
        """Return what the delivered model said of a split, "test" or "validation"; RecordError where it did not."""
        return self.results.predictions(split)

    def wait(self) -> SearchRun:
        """Wait for the driver that this process started; show what it says and, in a notebook, how the search stands.

        Raises:
            SearchError: As `search`.
            UnfinishedError: As `search`, also after `stop`.
            KeyboardInterrupt: As `search`.
        """
        driver, words, cell = self._driver, self._words, Cell(self._folder)
        if driver is None or words is None:
            return self

        def tick() -> None:
            cell.update()
            words.show(in_one=cell.is_shown)

        try:
            wait_until_ended(driver.process, self._interrupt, tick)
        except KeyboardInterrupt:
            code, said = self._conclude(driver, words, cell)
            raise KeyboardInterrupt("" if code == 0 else self._unfinished(said)) from None
        code, said = self._conclude(driver, words, cell)
        if code == 1:
            raise RuntimeError(f"the driver failed: {words.last}; its traceback is above, please report it")
        if code == 2:
            raise SearchError(said or f"{self.folder}: no trial was completed; `run.leaderboard` says why")
        if code:
            raise UnfinishedError(self._unfinished(said))
        return self

    def stop(self) -> SearchRun:
        """End what this process started, in order, as Ctrl-C does; return when it has ended.

        Raises:
            StudyError: Another process searches it.
        """
        driver = self._driver
        if driver is not None and driver.process.poll() is None:
            end_in_order(driver.process, self._interrupt)
            driver.finish()
        elif self.is_running:
            raise StudyError(f"{self.folder}: is searched by another process; end it there")
        return self

    def resume(
        self,
        trials: int | None = None,
        *,
        wait: bool = True,
        data: str | Path | None = None,
        space: str | Path | None = None,
        address: str | None = None,
        trust: bool = False,
    ) -> SearchRun:
        """Continue the run from its folder alone, or extend a finished one; what was trained is not trained again.

        Args:
            trials: The total number of trials, instead of the run's.
            wait: As in `search`.
            data: Where the data set is now, if it was moved.
            space: A space file that widens the run's space.
            address: A Ray cluster; None for this machine.
            trust: Whether code may be run that the record names and another user changed.

        Raises:
            StudyError: It is running.
            SearchError: As `search`.
            UnfinishedError: As `search`.
            KeyboardInterrupt: As `search`.
        """
        order = self._order(trials=trials, data=data, space=space, address=address, trust=trust)
        return self._start(order, wait=wait)

    def run_finals(
        self,
        finalists: int | None = None,
        seeds: int | None = None,
        *,
        wait: bool = True,
        data: str | Path | None = None,
        address: str | None = None,
        trust: bool = False,
    ) -> SearchRun:
        """Retrain the best and the baseline from fresh seeds, and deliver the model of the better mean.

        Args:
            finalists: How many of the best, instead of the study's.
            seeds: Retrainings of each, instead of the study's.
            wait: As in `search`.
            data: As in `resume`.
            address: As in `resume`.
            trust: As in `resume`.

        Raises:
            StudyError: It is running.
            SearchError: As `search`; its search has not ended.
            UnfinishedError: As `search`.
            KeyboardInterrupt: As `search`.
        """
        given = {"data": data, "address": address, "trust": trust, "finalists": finalists, "seeds": seeds}
        return self._start(self._order(finals_only=True, **given), wait=wait)

    def retrain(
        self,
        trial: int | str = "best",
        repeat: int | None = None,
        *,
        out: str | Path | None = None,
        data: str | Path | None = None,
        trust: bool = False,
    ) -> Answer:
        """Repeat a trial from its receipt, in a process of its own without Ray; return whether the same came out.

        Args:
            trial: Its number, or "best": what was delivered, else rank 1.
            repeat: Which of its retrainings in the finals; None for the trial of the search.
            out: The folder for it, `runs/retrain-<study>-<trial>` if none is given; one that was begun goes on.
            data: As in `resume`.
            trust: As in `resume`.

        Raises:
            SearchError: What was refused, in the words of the command line.
            KeyboardInterrupt: It was interrupted; the same call goes on.
        """
        from tune.api.repeating import repeat_trial

        return repeat_trial(self.folder, str(trial), repeat, out=out, data=data, is_trusted=trust)

    def model(self, threads: int | None = None) -> ExportedModel:
        """Return the delivered model: `model.predict(images)` gives probabilities, float32 (n, n_classes).

        It imports TensorFlow in this process and sets it up as `seti-tune predict` does: deterministic, without GPUs.
        Call it before TensorFlow is used here for something else.

        Args:
            threads: Of TensorFlow's; by default all cores, or those it was set up with before.

        Raises:
            SearchError: No model was delivered yet.
            ModelError: It was changed or cannot be read.
            ProcessError: TensorFlow runs here with other settings.
        """
        from tune.models import load_delivered

        return load_delivered(self.folder, threads)

    def _search(self, study: Study, *, wait: bool, no_finals: bool, address: str | None) -> SearchRun:
        folder = Path(tempfile.mkdtemp(prefix="seti-tune-"))
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        hand_over(study, folder / "study.json")
        return self._start(self._order(handed=folder / "study.json", no_finals=no_finals, address=address), wait=wait)

    def _order(self, **given: Any) -> Order:
        places = {name: str(value) for name, value in given.items() if isinstance(value, Path)}
        return Order(run=str(self.folder), **(given | places))

    def _start(self, order: Order, *, wait: bool) -> SearchRun:
        self._require_idle()
        self._again = _again(order)
        try:
            self._driver = DriverProcess(order, output=subprocess.PIPE)
            self._words = Words(self._driver.process)
            # Perhaps nobody waits for it, and one that was killed leaves processes. It keeps this object alive, too.
            threading.Thread(target=self._finish, args=(self._driver,), daemon=True).start()
            return self.wait() if wait else self
        except KeyboardInterrupt:  # also one that came before or after the waiting
            if self._driver is not None and self._driver.process.poll() is None:
                end_in_order(self._driver.process, self._interrupt)
            raise

    def _finish(self, driver: DriverProcess) -> None:
        driver.finish()

    def _require_idle(self) -> None:
        if self._driver is not None and self._driver.process.poll() is None:
            raise StudyError(
                f"{self.folder}: its search is running; wait for it with run.wait(), or end it with run.stop()"
            )

    def _interrupt(self) -> None:
        if self._driver is not None:
            self._driver.send(signal.SIGINT)

    def _conclude(self, driver: DriverProcess, words: Words, cell: Cell) -> tuple[int, str | None]:
        """Take what is left of a driver that has ended; return its exit code and why it ended before its end."""
        code, said = driver.finish()
        words.end()
        cell.update(is_last=True)
        words.show(in_one=cell.is_shown)
        return code, said or words.error

    def _unfinished(self, said: str | None) -> str:
        log = self._folder / LOG_NAME
        if not log.is_file() or not log.stat().st_size:
            return said or "interrupted before anything was recorded; start it again"
        way = f"{self._again}, where run = tune.open_run({str(self.folder)!r})"
        if said is None:
            return f"interrupted; all that was recorded is kept, continue with {way}"
        return f"{said}; in Python: {way}"


def _again(order: Order) -> str:
    """Return what continues, as `Order.again` does for a shell."""
    names = ("finalists", "seeds") if order.finals_only else ("trials", "space")
    given = {name: getattr(order, name) for name in (*names, "data", "address", "trust")}
    words = ", ".join(f"{name}={value!r}" for name, value in given.items() if value)
    return f"run.{'run_finals' if order.finals_only else 'resume'}({words})"
