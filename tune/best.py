"""What is kept of the best trial where no finals follow: what it said of the validation images, from its checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

from results.best import read_best, write_best
from results.errors import RecordError
from results.log.state import RunState
from results.predictions import Predictions
from seti_model.data.dataset import Dataset
from seti_model.errors import CheckpointError, DatasetError
from seti_model.training.checkpoint import load_best_probabilities
from tune.storage.checkpoints import Checkpoints


def keep_best(checkpoints: Checkpoints, state: RunState, dataset: Path) -> None:
    """Keep it, for the pictures of the reports; where that cannot be, a line says why, and they do without.

    Args:
        checkpoints: Of the run.
        state: Of the run.
        dataset: The folder of its data set.
    """
    import pandas as pd  # which a search need not wait for

    run, ranked = checkpoints.run, state.ranked(1)
    try:
        if not ranked or ranked[0].checkpoint is None or read_best(run, ranked) is not None:
            return
        probabilities = load_best_probabilities(checkpoints.here(ranked[0].checkpoint.path))
        data = Dataset.open(dataset)
        if state.started is None or data.digest != state.started.data_digest:
            return
        split = data.split("validation")
        if probabilities.shape != (len(split.labels), len(data.class_names)):
            return
        truth = pd.DataFrame(index=range(len(split.labels))) if split.truth is None else split.truth
        said = Predictions(split.labels, probabilities, data.class_names, truth)
        write_best(run, ranked[0].started.trial, said, split.images)
    except (CheckpointError, DatasetError, RecordError) as error:
        print(f"note: the report shows no pictures of the best trial: {error}", file=sys.stderr)
