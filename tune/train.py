"""One training as the command `train` gives it: what is asked for, a run of its own, and what comes of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from results.commands import command
from results.files import write_atomically
from results.log.recorder import Recorder
from results.log.records import Epoch, Status
from results.log.state import RunState, TrialState
from results.report.figures import learning_curves
from results.run_folder import CLASS_REPORT, CURVES, HISTORY, LOG_NAME, TRAINED_MODEL
from results.stats.metrics import classification_metrics, report_text
from results.study import NETWORK, DataSection, StudyRecord
from seti_model.config import EPOCHS, Configuration, Value, field_types, may_be_prolonged
from seti_model.data.dataset import Dataset
from seti_model.description import read_description
from seti_model.errors import ConfigError
from seti_model.own import completed, own_fields, search_too
from seti_model.runtime import prepare_process
from tune.best import keep_best
from tune.loop.next_work import Terms
from tune.single import Single, epoch_rows, export_best, recorded_single, run_single
from tune.storage.checkpoints import Checkpoints
from tune.trust import code_names, require_trust

if TYPE_CHECKING:
    from seti_model.training.outcome import TrainedNetwork


@dataclass(frozen=True)
class Wanted:
    """What was asked for; None is what the training that is continued has recorded, else the default.

    `settings` are fields of the configuration as they were typed, `FIELD=VALUE`.
    """

    out: Path
    data: Path | None
    settings: tuple[str, ...]
    seed: int | None
    threads: int | None
    init_from: Path | None
    go_on: bool
    is_trusted: bool = False  # code of another user that the record names


def train_one(wanted: Wanted, *, cores: int) -> None:
    """Train, or continue, and write what comes of it into `wanted.out`; a line is printed after each epoch.

    Args:
        wanted: What was asked for.
        cores: Threads where nothing says how many.

    Raises:
        ConfigError: A setting, a folder, or a training that cannot be continued so.
        StudyError: The folder holds a search.
        DatasetError: The data set cannot be used.
        KeyboardInterrupt: Ctrl-C, after the command that continues was printed.
    """
    out = wanted.out
    single = _single(wanted, cores, _recorded(out, go_on=wanted.go_on))
    dataset = Dataset.open(Path(single.data.path or ""))
    with Recorder(out.absolute()) as recorder:
        _require_same(out, recorder.state, single, dataset.digest)
        try:
            trial = run_single(single, recorder, dataset.training_data(), on_epoch=_Monitor(recorder).show)
        except KeyboardInterrupt:
            print(f"interrupted; continue with: {command('train', out=out, **{'continue': True})}")
            raise
        if trial.ended is not None and trial.status == Status.DIVERGED:
            raise ConfigError(
                f"{out}: {trial.ended.reason}; lower training.learning_rate with --set or change the seed"
            )
        best = export_best(single, recorder, trial)
        keep_best(Checkpoints(recorder.run), recorder.state, dataset.path)
    _report(out, dataset, trial, best)


def summary_of(wanted: Wanted, *, cores: int) -> str:
    """Return the layers of the network that is asked for, with their shapes and parameters; nothing is written.

    Raises:
        ConfigError, StudyError, DatasetError: As `train_one`.
    """
    single = _single(wanted, cores, _recorded(wanted.out, go_on=True) if wanted.go_on else None)
    dataset = Dataset.open(Path(single.data.path or ""))
    prepare_process(single.terms.threads)
    from seti_model.network import summary

    configuration = Configuration.from_mapping(single.terms.configuration)
    return summary(configuration, dataset.image_shape, len(dataset.class_names))


def _single(wanted: Wanted, cores: int, state: RunState | None) -> Single:
    """Return what is to be trained: what was asked for and, where a training is continued, what it has recorded."""
    recorded = None if state is None else state.study
    known = recorded or StudyRecord()
    path = wanted.data.absolute() if wanted.data is not None else known.data.path
    if path is None:
        raise ConfigError("--data is missing: name the folder of the data set")
    folder = Path(known.folder or "").absolute()
    if state is not None and known.folder is not None:
        names, code = code_names(NETWORK, known.fixed), state.provenance.own_code
        require_trust(wanted.out / LOG_NAME, folder, names, code, is_trusted=wanted.is_trusted)
    search_too(folder)
    configuration = completed(Configuration.from_mapping(_with_settings(known.fixed, wanted.settings)))
    _require_in_use(configuration, wanted.settings)
    init_from = wanted.init_from.absolute() if wanted.init_from is not None else known.study.init_from
    epochs = configuration.training.epochs
    return Single(
        name=wanted.out.absolute().name,
        terms=Terms(
            configuration=configuration.to_mapping(),
            max_epochs=epochs,
            checkpoint_epochs=(epochs,),
            threads=_first(wanted.threads, recorded and recorded.resources.cpus_per_trial, cores),
            init_from=None if init_from is None else Path(init_from),
        ),
        seed=_first(wanted.seed, recorded and recorded.study.seed, 1),
        init_digest=None if init_from is None else read_description(Path(init_from)).weights_digest,
        folder=folder if configuration.own_sources else None,
        data=DataSection(path=str(path)),
    )


def _require_in_use(configuration: Configuration, settings: Sequence[str]) -> None:
    """Refuse what was typed for another family or for a step that is not in use."""
    names = [setting.partition("=")[0] for setting in settings]
    for name in (name for name in names if name not in configuration.to_mapping()):
        raise ConfigError(
            f"--set {name}: has no meaning with network.family={configuration.network.family!r} and prepare.steps="
            f"{configuration.prepare.steps!r}; leave it out, or set these too"
        )


def _recorded(out: Path, *, go_on: bool) -> RunState | None:
    """Return the state of the training in `out` where it is to be continued; refuse to write over anything."""
    state = recorded_single(out)
    if state is None and not (out / LOG_NAME).is_file() and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out}: is not empty and holds no training; give another folder with --out")
    if state is None and go_on:
        raise ConfigError(f"{out}: holds no training to continue; leave out --continue to start one")
    if state is not None and not go_on:
        raise ConfigError(f"{out}: holds a training already; add --continue, or give another folder with --out")
    return state


def _require_same(out: Path, state: RunState, single: Single, data_digest: str) -> None:
    """Refuse to continue a training as another one; only its number of epochs may change, and not with a cosine."""
    if state.started is None or not state.has_epochs:
        return
    before = Configuration.from_mapping(state.study.fixed).to_mapping() | {
        "seed": state.study.study.seed,
        "threads": state.study.resources.cpus_per_trial,
        "data_digest": state.started.data_digest,
        "init_digest": state.started.init_digest,
    }
    now = dict(single.terms.configuration) | {
        "seed": single.seed,
        "threads": single.terms.threads,
        "data_digest": data_digest,
        "init_digest": single.init_digest,
    }
    for name in now:
        if not (name == EPOCHS and may_be_prolonged(now)) and before.get(name) != now[name]:
            raise ConfigError(
                f"{out}: made with {name}={before.get(name)!r}, this training has {now[name]!r}; continue with the "
                "same value or start afresh in another folder"
            )
    done = max((max(trial.epochs, default=0) for trial in state.trials.values()), default=0)
    if done > single.terms.max_epochs:
        raise ConfigError(
            f"{out}: holds {done} epochs, training.epochs={single.terms.max_epochs}; ask for at least as many"
        )


def _report(out: Path, dataset: Dataset, trial: TrialState, best: TrainedNetwork) -> None:
    """Write and print the report of the best epoch on the validation split."""
    validation = dataset.split("validation")
    from seti_model.exported import as_model  # TensorFlow is set up by now

    metrics = classification_metrics(validation.labels, as_model(best).predict(validation.images), dataset.class_names)
    epoch = trial.best.epoch if trial.best else 0
    heading = f"validation split, epoch {epoch} (the best of {len(trial.epochs)})"
    report = f"{heading}\n{report_text(metrics)}\n"
    write_atomically(out / CLASS_REPORT, report)
    print(f"\n{report}\nweights {best.digest}\nmodel {out / TRAINED_MODEL}")


class _Monitor:
    """Prints a line, and renews `history.json` and `curves.png`, after each epoch."""

    def __init__(self, recorder: Recorder) -> None:
        self._run, self._state = recorder.run, recorder.state

    def show(self, epoch: Epoch) -> None:
        trial = self._state.trials[0, None]
        rows = epoch_rows(trial)
        write_atomically(self._run / HISTORY, json.dumps(rows, indent=1, allow_nan=False) + "\n")
        learning_curves(rows, self._run / CURVES)
        is_best = trial.best is not None and trial.best.epoch == epoch.epoch
        print(
            f"epoch {epoch.epoch:>3}/{self._state.study.study.max_epochs}  "
            f"training loss {epoch.train_loss:.4f} accuracy {epoch.train_accuracy:.3f}  "
            f"validation loss {epoch.validation_loss:.4f} accuracy {epoch.validation_accuracy:.3f}"
            f"{' best' if is_best else '     '}  "
            f"rate {epoch.learning_rate:.2e}  {epoch.images_per_s:.1f} images/s  {epoch.seconds:.1f} s",
            flush=True,
        )


def _with_settings(known: Mapping[str, Value], settings: Sequence[str]) -> dict[str, object]:
    """Return known fields with those that were typed, each of the type of its field."""
    texts = [setting.partition("=") for setting in settings]
    together = {**known, **{name: text for name, _, text in texts}}
    types, values = dict(field_types()), dict[str, object](known)
    for text in (str(together.get("network.family", "")), *str(together.get("prepare.steps", "")).split(",")):
        types |= own_fields(text.strip()) if ":" in text else {}
    for setting, (name, equals, text) in zip(settings, texts, strict=True):
        if not equals:
            raise ConfigError(f"--set {setting}: expected FIELD=VALUE; for example training.epochs=3")
        expected = types.get(name, str)  # an unknown name is refused together with the known ones
        try:
            values[name] = text if expected is str else json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(
                f"--set {setting}: {text!r} is no {expected.__name__}; write {_SAMPLES[expected]}"
            ) from error
    return values


_SAMPLES: Mapping[type, str] = {int: "a whole number", float: "a number such as 0.005", bool: "true or false"}


def _first(*candidates: Any) -> int:
    return next(int(candidate) for candidate in candidates if candidate is not None)
