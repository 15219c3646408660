"""The model card: what somebody must know who is given the model and was not there when it was found."""

from __future__ import annotations

from pathlib import Path

from results.commands import command
from results.finals import Tested
from results.findings import Findings
from results.log.records import ImagesRecord
from results.log.state import RunState
from results.report import parts
from results.report.kinds import layout
from results.report.models import numbers
from results.report.sentences import caveats, of_configurations
from results.run_folder import MODEL_RECEIPT, SAVED_MODEL
from results.study import DataSection, StudyRecord

_SAVED = (
    "`saved_model/` is the same network for TensorFlow, its preparation included, with its class names in "
    "`class_names.txt`."
)
_KERAS = "`model.keras`: stock Keras layers, opens with `keras.models.load_model` and without seti-tune."
_INPUT = (
    "Input are pixel values 0..255 as images {layout}; scaling is part of the network. Output are probabilities in the "
    "order of the classes above."
)
_PREDICT = (
    "`seti-tune predict final/model.keras IMAGES` takes `.npz`, course CSVs, PNG and FITS files and folders of them; "
    "they become pixels as those of the data set did."
)


def _use(steps: object, images: ImagesRecord, *, is_saved: bool) -> list[str]:
    wants = f" It wants prepared images: what the steps `{steps}` make of pixels 0..255." if steps else ""
    first = f"{_KERAS}{wants}{f' {_SAVED}' if is_saved else ''}"
    return [
        first,
        _INPUT.format(layout=layout(images)),
        f"{_PREDICT}{' It prepares them as model.json says.' if steps else ''}",
    ]


def model_card(found: Findings) -> parts.Document:
    """Return the card of the delivered model; there must have been finals with test predictions."""
    delivered, state = found.tested[0], found.state
    names, study, images = delivered.of_delivered.class_names, state.study, found.images
    classes = parts.Text(f"Classifies {images.of} into {len(names)} classes: {', '.join(names)}.")
    started = state.trials[delivered.trial, delivered.delivered].started
    fields = [[name, str(value)] for name, value in started.configuration.items()]
    steps, is_saved = started.configuration.get("prepare.steps"), (found.run / SAVED_MODEL).is_dir()
    digest = f"Digest of pixels, labels, names and groups: `{state.started.data_digest if state.started else None}`"
    return parts.Document(
        f"Model card: study {found.name}, trial {delivered.trial}, seed index {delivered.delivered}",
        (
            parts.Section("", "", [classes]),
            parts.Section("use", "Use", [parts.Points(_use(steps, images, is_saved=is_saved))]),
            parts.Section("figures", "Figures on the test split", _figures(found)),
            parts.Section("limits", "Limits", [parts.Points(_limits(state, delivered))]),
            parts.Section("data", "Data", [parts.Points([_data(study.data), digest])]),
            parts.Section(
                "configuration", "Configuration", [parts.Table("What was trained", ["field", "value"], fields)]
            ),
            parts.Section("reproduce", "Reproduce it", _reproduce(state, delivered)),
        ),
    )


def _figures(found: Findings) -> list[parts.Part]:
    delivered = found.tested[0]
    lines = [*of_configurations(found), *caveats(found)]
    stand = found.winner
    if stand is not None:
        lines.append(
            f"On validation this configuration reached {stand.ranked_by.words} {stand.searched:.4f} in the search and "
            f"{stand.mean:.4f} in the mean of {len(stand.objectives)} retrainings; this one was the best of them."
        )
    return [*numbers(delivered), parts.confusion_table(delivered.metrics), parts.Points(lines)]


def _reproduce(state: RunState, delivered: Tested) -> list[parts.Part]:
    trial = state.trials[delivered.trial, delivered.delivered]
    return [
        parts.Text(
            "In the run folder (elsewhere with the path of the receipt, and `--data` with that of the data set):"
        ),
        parts.Console([command("retrain", MODEL_RECEIPT, *_where(state.study))]),
        parts.Text(
            "The receipt holds configuration, seed, digests and versions; the command says whether the weights are the "
            f"same. Seed {trial.started.seed}, {len(trial.epochs)} epochs, weights "
            f"`{trial.ended.best_weights_digest if trial.ended else None}`."
        ),
    ]


def _limits(state: RunState, delivered: Tested) -> list[str]:
    recipe = state.study.data.recipe
    if recipe is not None:
        first = (
            f"Trained and tested on images simulated with the recipe {recipe!r}: the figures hold "
            "for such images and say nothing about interference, other instruments or signals of another kind."
        )
    else:
        first = (
            "The figures hold for images drawn like those of the data set: same instrument, same processing, same "
            "share of classes."
        )
    numbers = delivered.metrics
    known = [i for i, images in enumerate(numbers.support) if images]
    weakest = min(known, key=lambda i: numbers.recall[i])
    return [
        first,
        "An image of none of the classes gets one of them all the same; a probability is no detection statistic.",
        f"The class it finds least is {numbers.class_names[weakest]!r}: recall {numbers.recall[weakest]:.3f} "
        f"({numbers.support[weakest]} images).",
    ]


def _data(data: DataSection) -> str:
    recipe = f"with the recipe {data.simulate!r}, seed {data.seed}"
    if data.recipe is None:
        more = (
            f"; {data.simulate_beside} images simulated {recipe} in its training split" if data.simulate_beside else ""
        )
        return f"Data set `{data.path}`{more}."
    counts = (
        f"{data.train} train{' in each epoch' if data.fresh else ''}, {data.validation} validation, {data.test} test"
    )
    return f"Simulated {recipe}: {counts} images."


def _where(study: StudyRecord) -> list[str]:
    """Return the option that names the data set; a simulated one lies in the run folder and is found there."""
    if study.data.simulate is not None:
        return []
    return ["--data", str(Path(study.folder or "") / str(study.data.path))]
