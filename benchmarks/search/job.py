"""One search of one way and seed: run from the start, what it delivers judged in another process, its record made."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.search import record, spent
from benchmarks.search.setting import Setting, make_data
from benchmarks.search.ways import Way

ROOT = Path(__file__).resolve().parents[2]
# Ray runs its workers at a lower priority than others do, which on a busy machine only they would pay for.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "2", "RAY_worker_niceness": "0"}


@dataclass(frozen=True)
class Job:
    """What is searched how, and where: data and runs lie in a folder of the setting's name in `work`."""

    way: Way
    seed: int
    setting: Setting
    work: Path

    @property
    def folder(self) -> Path:
        """Of the search, beside the data."""
        return (self.work / self.setting.name / f"{self.way.name}-{self.seed}").absolute()

    def search(self) -> record.Searched:
        """Search, and judge what is delivered, which is not counted."""
        load = os.getloadavg()[0]
        used = self.run()
        winner = self.winner()
        shutil.rmtree(self.folder / "search", ignore_errors=True)  # Ray's, with a checkpoint of each trial
        return self.recorded(used, winner, load=load)

    def run(self) -> spent.Spent:
        """Search in a new folder; return what was spent."""
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        make_data(self.setting, self.folder.parent)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        command = self.way.command(self.folder, self.setting, self.seed)
        return spent.run(command, self.folder / "log.txt", environment=ENVIRONMENT)

    def winner(self) -> record.Winner:
        """Judge what was delivered.

        Raises:
            CommandError: It cannot be.
        """
        command = [sys.executable, "-m", "benchmarks.search.ways", str(self.folder), self.way.name, self.setting.name]
        done = subprocess.run(command, env=os.environ | ENVIRONMENT, capture_output=True, text=True, check=False)
        if done.returncode:
            raise spent.CommandError(f"{' '.join(command)}: exit code {done.returncode}; it said:\n{done.stderr}")
        return record.Winner(**json.loads(done.stdout.splitlines()[-1]))

    def recorded(self, used: spent.Spent, winner: record.Winner, *, load: float) -> record.Searched:
        """Return the record of the search that has ended."""
        reported = self.way.reported(self.folder)
        return record.Searched(
            way=self.way.name,
            seed=self.seed,
            setting=dataclasses.asdict(self.setting),
            machine=record.machine(),
            versions=record.versions(),
            load_before=round(load, 2),
            wall_s=round(used.at[-1] - used.began, 2),
            cpu_s=round(used.cpu_s[-1], 2),
            winner=winner,
            parameters={str(epoch.trial): dict(epoch.parameters) for epoch in reported},
            epochs=tuple(
                record.Epoch(
                    trial=epoch.trial,
                    epoch=epoch.epoch,
                    validation_accuracy=round(epoch.validation_accuracy, 6),
                    wall_s=round(epoch.at - used.began, 2),
                    cpu_s=round(used.by(epoch.at), 2),
                    images=self.setting.train,
                )
                for epoch in reported
            ),
        )
