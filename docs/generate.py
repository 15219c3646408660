"""Write the generated parts of these pages anew, from the sources themselves: `python docs/generate.py`."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from results import receipt
from results.log import records
from seti_model import config
from tune.sections import SECTIONS

FOLDER = Path(__file__).parent
TYPES = {"int": "integer", "float": "number", "str": "string", "bool": "boolean"}
CONFIGURATION = {"network": config.NetworkConfig, "training": config.TrainingConfig, "augment": config.AugmentConfig}
# What a field means, where its source has no comment.
MEANINGS = {
    "study.space": "a shipped space by its name, or a space file (`.toml`), relative to the study file",
    "study.name": "of the run folder, `runs/<name>`; none: the name of the file",
    "study.trials": "all in all, the baseline (trial 0) among them",
    "study.max_epochs": "of a trial that is not stopped",
    "study.seed": "what is proposed, and each training's own seed, follow from it",
    "study.trainable": "`module:function` of a network of your own, the module beside the study file",
    "search.sampler": '`"tpe"` (Optuna) or `"random"`',
    "search.startup_trials": "so many trials are drawn at random before TPE learns from them",
    "data.path": "of a data set that was imported or simulated, relative to the study file",
    "data.simulate": '`"course"`, `"challenge"` or `"wide"`, instead of `path`',
    "data.train": "images to simulate",
    "data.validation": "images to simulate",
    "data.test": "images to simulate",
    "data.seed": "equal seeds, equal images",
    "asha.grace_epochs": "the first epoch at which a trial may be stopped",
    "asha.reduction_factor": "one trial in so many goes on; the next decision comes after so many times the epochs",
    "resources.cpus_per_trial": "one thread each; the number of threads is part of what makes a result repeatable",
    "resources.gpus_per_trial": "0.5 puts two trials on one GPU",
    "resources.max_concurrent": "trials at once; none: what fits",
    "resources.memory_mb": "a worker that has grown above it (10**6 bytes) is replaced; none: its share of the machine",
    "finals.enabled": "as `search --no-finals` where false",
    "finals.finalists": "so many of the best are retrained",
    "finals.max_finalists": "with those that tie with the last of them, at most so many",
    "finals.seeds": "retrainings of each",
    "network.blocks": "convolution, batch normalisation, ReLU, pooling, dropout; 1 to 4",
    "network.filters_1": "of the first block",
    "network.filters_2": "of the second block",
    "network.filters_3": "of the third, where there is one",
    "network.filters_4": "of the fourth, where there is one",
    "network.kernel": "pixels along each side of a filter",
    "network.conv_dropout": "share dropped after each block",
    "network.dense_units": "of the layer before the classes",
    "network.dense_dropout": "share dropped after that layer",
    "network.batch_norm_momentum": "of the moving averages",
    "training.epochs": "set by `[study] max_epochs` in a search",
    "training.batch_size": "images",
    "training.learning_rate": "of Adam, at the start",
    "training.decay_rate": "factor of the learning rate every `decay_steps`",
    "training.precision": '`"float32"` or `"mixed_bfloat16"`',
    "training.recalibration_batches": "to recompute batch-normalisation statistics before each validation; 0: never",
    "augment.flip_time": "mirror at random",
    "augment.flip_frequency": "mirror at random, as in the course",
}


def generated(page: str) -> str:
    """Return the page with what stands between each pair of markers made anew."""
    for name, make in PARTS.items():
        begin, end = f"<!-- generated: {name} -->\n", f"<!-- end: {name} -->"
        if begin in page:
            before, _, rest = page.partition(begin)
            page = f"{before}{begin}{make()}\n{rest[rest.index(end) :]}"
    return page


def _events() -> str:
    return "\n\n".join(f"**`{kind}`**: {_described(cls)}" for kind, cls in records.EVENTS.items())


def _receipt() -> str:
    return "\n\n".join(f"**{cls.__name__}**: {_described(cls)}" for cls in (receipt.Receipt, receipt.Environment))


def _study_file() -> str:
    parts = [f"## [{name}]\n\n{_words(cls)}\n\n{_table(name, cls)}" for name, cls in SECTIONS.items()]
    return "\n\n".join(parts)


def _configuration() -> str:
    header, *_ = _table("network", config.NetworkConfig).partition("\n| `")
    rows = [row for name, cls in CONFIGURATION.items() for row in _rows(name, cls, f"{name}.")]
    return "\n".join([header, *rows])


PARTS: Mapping[str, Callable[[], str]] = {
    "events": _events,
    "receipt": _receipt,
    "study file": _study_file,
    "configuration": _configuration,
}


def _table(section: str, cls: type) -> str:
    return "\n".join(["| key | type | default | meaning |", "|---|---|---|---|", *_rows(section, cls, "")])


def _rows(section: str, cls: type, prefix: str) -> Iterator[str]:
    """Yield a row a field: its comment in the source, or else what `MEANINGS` says."""
    defaults = {field.name: field.default for field in dataclasses.fields(cls)}
    for name, annotation, _, comment in _sources(cls):
        default = defaults[name]
        shown = "required" if default is dataclasses.MISSING else "none"
        if default not in (dataclasses.MISSING, None, ""):
            shown = f"`{json.dumps(default)}`"
        meaning = comment or MEANINGS[f"{section}.{name}"]
        yield f"| `{prefix}{name}` | {_type(annotation.removesuffix(' | None'), False)} | {shown} | {meaning} |"


def _words(cls: type) -> str:
    return " ".join(inspect.cleandoc(cls.__doc__ or "").split())


def _described(cls: type) -> str:
    """Return what a record says of itself and, in a line of their own, its fields."""
    return f"{_words(cls)}\n<br>{' · '.join(_fields(cls))}"


def _fields(cls: type) -> Iterator[str]:
    for name, annotation, has_default, comment in _sources(cls):
        if name != "time":
            yield f"`{name}` {_type(annotation, has_default)}{f' ({comment})' if comment else ''}"


def _sources(cls: type) -> Iterator[tuple[str, str, bool, str]]:
    """Yield name, annotation, whether there is a default, and the comment at the end of the line, field by field."""
    found = {
        one[0]: one for base in cls.__mro__[-2::-1] if dataclasses.is_dataclass(base) for one in _own_sources(base)
    }
    yield from (found[field.name] for field in dataclasses.fields(cls))


def _own_sources(cls: type) -> Iterator[tuple[str, str, bool, str]]:
    source = inspect.getsource(cls)
    lines = source.splitlines()
    for node in ast.parse(source).body[0].body:  # type: ignore[attr-defined]
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            comment = lines[(node.end_lineno or 1) - 1].partition("  # ")[2].strip()
            yield node.target.id, ast.unparse(node.annotation), node.value is not None, comment


def _type(annotation: str, may_be_missing: bool) -> str:
    plain = annotation.removesuffix(" | None")
    if plain.startswith("Mapping"):
        word = "object"
    elif plain.startswith("tuple"):
        word = "list"
    elif isinstance(enum := getattr(records, plain, None), type):
        words = ", ".join(f'"{one}"' for one in enum)
        word = f"string ({words})"
    else:
        word = TYPES[plain]
    return f"{word}?" if may_be_missing else f"{word} or null" if plain != annotation else word


if __name__ == "__main__":
    for file in sorted(FOLDER.glob("*.md")):
        file.write_text(generated(file.read_text(encoding="utf-8")), encoding="utf-8")
