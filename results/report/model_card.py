"""The model card: what somebody must know who is given the model and was not there when it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from results.commands import command
from results.files import write_atomically
from results.final_evaluation import Tested
from results.finals import standings
from results.log.state import RunState
from results.report.final_report import caveats, configuration_sentences, numbers_markdown
from results.stats.metrics import confusion_markdown, markdown_table

CARD = "final/model_card.md"
RECEIPT = "final/receipt.json"


def write_model_card(run: Path, state: RunState, tested: Sequence[Tested]) -> Path:
    """Write the card of the delivered model, the first of `tested`; return its path."""
    path = run / CARD
    write_atomically(path, "\n".join(_card(state, tested)))
    return path


def _card(state: RunState, tested: Sequence[Tested]) -> list[str]:
    delivered, decision = tested[0], state.decisions[-1]
    trial = state.trials[delivered.trial, delivered.delivered]
    stand = standings(state, [delivered.trial], decision.seeds)[0]
    study: Any = state.study
    p = delivered.of_delivered
    return [
        f"# Model card: study {study['study']['name']}, trial {delivered.trial}, retraining {delivered.delivered}",
        "",
        f"Classifies radio spectrograms into {len(p.class_names)} classes: {', '.join(p.class_names)}.",
        "",
        "## Use",
        "",
        "* `model.keras`: stock Keras layers, opens with `keras.models.load_model` and without seti-tune. "
        "`saved_model/` is the same network for TensorFlow, with its class names in `class_names.txt`.",
        "* Input are pixel values 0..255 as images (n, n_time, n_freq, channels); scaling is part of the network. "
        "Output are probabilities in the order of the classes above.",
        "* `seti-tune predict final/model.keras IMAGES` takes course CSVs, `.npz`, PNG files and folders of them.",
        "",
        "## Figures on the test split",
        "",
        *numbers_markdown(delivered),
        "",
        *confusion_markdown(delivered.metrics),
        "",
        *(f"* {line}" for line in configuration_sentences(tested)),
        *(f"* {line}" for line in caveats(state, tested)),
        f"* On validation this configuration reached {stand.searched:.4f} in the search and {stand.mean:.4f} in the "
        f"mean of {len(stand.objectives)} retrainings; this one was the best of them.",
        "",
        "## Limits",
        "",
        *(f"* {line}" for line in _limits(state, delivered)),
        "",
        "## Data",
        "",
        f"* {_data(study['data'])}",
        f"* Digest of pixels, labels, names and groups: `{state.started.data_digest if state.started else None}`",
        "",
        "## Configuration",
        "",
        *markdown_table(["field", "value"], [[k, str(v)] for k, v in trial.started.configuration.items()]),
        "",
        "## Repeat it",
        "",
        "In the run folder (elsewhere with the path of the receipt, and `--data` with that of the data set):",
        "",
        "```console",
        f"$ {command('retrain', RECEIPT, *_where(study))}",
        "```",
        "",
        "The receipt holds configuration, seed, digests and versions; the command says whether the same weights came "
        f"out. Seed {trial.started.seed}, {len(trial.epochs)} epochs, weights "
        f"`{trial.ended.best_weights_digest if trial.ended else None}`.",
        "",
    ]


def _limits(state: RunState, delivered: Tested) -> list[str]:
    study: Any = state.study
    if study["data"].get("simulate") is not None:
        first = (
            f"Trained and tested on images simulated with the recipe {study['data']['simulate']!r}: the figures hold "
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


def _data(section: Mapping[str, Any]) -> str:
    if section.get("simulate") is not None:
        counts = ", ".join(f"{section[name]} {name}" for name in ("train", "validation", "test"))
        return f"Simulated with the recipe {section['simulate']!r}, seed {section['seed']}: {counts} images."
    return f"Data set `{section.get('path')}`."


def _where(study: Any) -> list[str]:
    """Return the option that names the data set; a simulated one lies in the run folder and is found there."""
    if study["data"].get("simulate") is not None:
        return []
    return ["--data", str(Path(study.get("folder", "")) / str(study["data"].get("path")))]
