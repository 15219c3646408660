"""What came out: the event log of a run and everything derived from it. Knows no Ray and no Keras.

`load` is the way in for a notebook: `results.load("runs/quickstart")`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from results.run import Run

__all__ = ["load"]


def load(folder: str | Path) -> Run:
    """Read a run folder, also while its search runs: what the log says now stays what this returns.

    Needs neither Ray nor Keras. An example:

        run = results.load("runs/quickstart")
        run.leaderboard.head()
        best = run.trial(int(run.leaderboard.loc[0, "trial"]))
        best.parameters, best.objective, run.receipt(best.number).to_text()
        run.epochs.pivot(index="epoch", columns="trial", values="validation_accuracy").plot()

    Raises:
        RecordError: No run folder, or a damaged log.
    """
    from results.run import Run  # not at the top: `import results.log.records` must stay light

    return Run.read(Path(folder))
