"""The data set of a study, before anything is searched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from results.commands import command
from results.log.state import RunState
from seti_model.data.dataset import Dataset, TrainingData
from seti_model.data.simulator import simulate_dataset
from tune.errors import StudyError
from tune.study import Study


def prepare_data(
    study: Study, run: Path, *, say: Callable[[str], None], on_image: Callable[[], None] = lambda: None
) -> tuple[TrainingData | None, str | None]:
    """Open the study's data set, simulating it into the run folder where it says so.

    Args:
        study: The study.
        run: Its run folder.
        say: Called with a line before something that takes time.
        on_image: Called after each simulated image; what it raises ends the simulation.

    Returns:
        What trials may see (never the test split) and the digest of the whole; (None, None) without [data].

    Raises:
        StudyError: Finals are enabled and there is no test split.
        DatasetError: The data set cannot be used.
    """
    path = study.dataset_path(run)
    if path is None:
        return None, None
    if study.data.simulate is not None and not path.exists():
        counts = {"train": study.data.train, "validation": study.data.validation, "test": study.data.test}
        say(f"simulating {sum(counts.values())} images into {path}")
        simulate_dataset(path, study.data.simulate, counts, study.data.seed, on_image=on_image)
    dataset = Dataset.open(path)
    if study.is_network and study.finals.enabled and "test" not in dataset.splits:
        raise StudyError(
            f"{path}: has no test split for the finals; import it with one, or set [finals] enabled = false"
        )
    return dataset.training_data(), dataset.digest


def check_data_is_there(study: Study, run: Path, state: RunState) -> None:
    """Refuse to continue a run whose data set is gone.

    Raises:
        StudyError: It is not where the study says.
    """
    path = study.dataset_path(run)
    if state.started is None or path is None or path.exists():
        return
    if study.data.simulate is None:
        way = f"put it back, or say where it is now with `{command('resume', run, data='PATH')}`"
    else:
        again = study.data.simulation_command(path)
        way = f"put it back, or make it again with `{again}`; its digest is compared"
    raise StudyError(f"{path}: the data set of this run is not there any more; {way}")
