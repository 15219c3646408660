"""The typed configuration of one training: preparation, network and training, checked once at the boundary.

A family of networks and a step of the preparation have a section of their own, with the fields of those in use only.
"""

from __future__ import annotations

import hashlib
import json
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_type_hints

from seti_model.errors import ConfigError
from seti_model.families import (
    BLOCKS,
    FAMILIES,
    MADE_FOR,
    NO_FORM,
    VGG16,
    WHOLE,
    AlhassanConfig,
    AniyanConfig,
    DriftConfig,
    SmallConfig,
    VGG16Config,
)
from seti_model.fields import Value, one_of, within

MAX_BLOCKS = 4  # of the course's network
MOST_FROZEN = 5  # the blocks of the deepest family
PRECISIONS = ("float32", "mixed_bfloat16")
SHIFTS = ("fraction", WHOLE)
COSINE = "cosine"
EPOCHS = "training.epochs"
SCHEDULES = ("staircase", COSINE)
BALANCED = "balanced"
CLASS_WEIGHTS = ("equal", BALANCED)
ADAM, RMSPROP = "adam", "rmsprop"
OPTIMIZERS = (ADAM, RMSPROP)
COURSE = "course"  # the family of the baseline, whose fields are those of [network]
_OWN = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")  # module:Class


@dataclass(frozen=True)
class NetworkConfig:
    """The family, and the course CNN with its choices as fields (33 616 132 parameters at 64x128 by default).

    A block is Conv(same), batch normalisation, ReLU, MaxPool 2, Dropout; then Flatten, Dense, batch
    normalisation, ReLU, Dropout, and a softmax over the classes. Only the first `blocks` of `filters_1..4` count.
    Other families have a section of their own; of these fields only `family`, `source` and `standardise` are theirs.
    """

    # `"course"`, `"drift"`, `"small"`, `"alhassan"`, `"aniyan"`, `"vgg16"`, or one's own as `"module:Class"`
    family: str = COURSE
    source: str = ""  # SHA-256 of the module of a network of one's own; recorded, not to be set
    blocks: int = 2  # convolution, batch normalisation, ReLU, pooling, dropout; 1 to 4
    filters_1: int = 32  # of the first block
    filters_2: int = 64  # of the second block
    filters_3: int = 64  # of the third, where there is one
    filters_4: int = 64  # of the fourth, where there is one
    kernel: int = 5  # pixels along each side of a filter
    conv_dropout: float = 0.25  # share dropped after each block
    dense_units: int = 1024  # of the layer before the classes
    dense_dropout: float = 0.4  # share dropped after that layer
    batch_norm_momentum: float = 0.99  # of the moving averages
    standardise: bool = False  # subtract the mean and divide by the deviation of the training pixels

    @property
    def filters(self) -> tuple[int, ...]:
        """Filter counts of the convolutions in use, first block first."""
        return (self.filters_1, self.filters_2, self.filters_3, self.filters_4)[: self.blocks]

    @property
    def is_own(self) -> bool:
        """Whether the network is the user's."""
        return ":" in self.family

    def __post_init__(self) -> None:
        if self.family not in (COURSE, *FAMILIES) and not _OWN.fullmatch(self.family):
            raise ConfigError(
                f"network.family: {self.family!r} is unknown; choose one of {', '.join((COURSE, *FAMILIES))}, or "
                "your own as module:Class"
            )
        if self.is_own:
            _require_free(self.family, "network.family: a class")
        within("network.blocks", self.blocks, 1, MAX_BLOCKS)
        for block in range(1, MAX_BLOCKS + 1):
            within(f"network.filters_{block}", getattr(self, f"filters_{block}"), 1, 4096)
        within("network.kernel", self.kernel, 1, 31)
        within("network.dense_units", self.dense_units, 1, 65536)
        within("network.conv_dropout", self.conv_dropout, 0.0, 0.95)
        within("network.dense_dropout", self.dense_dropout, 0.0, 0.95)
        within("network.batch_norm_momentum", self.batch_norm_momentum, 0.0, 0.9999)


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast: Adam or RMSprop on categorical cross-entropy, with a falling rate.

    The rate of batch `b` (counted from 0 over the whole training) is
    `learning_rate * decay_rate ** (b // decay_steps)` of a staircase, and
    `learning_rate * (1 + cos(pi * b / batches)) / 2` of a cosine. The defaults are the course's.
    """

    epochs: int = 12  # set by `[study] max_epochs` in a search
    batch_size: int = 32  # images
    optimizer: str = ADAM  # `"adam"` or `"rmsprop"`, both with Keras's values: 0.9 and 0.999, or rho 0.9
    learning_rate: float = 0.005  # at the start
    decay_rate: float = 0.96  # factor of the learning rate every `decay_steps`
    decay_steps: int = 5  # batches
    schedule: str = "staircase"  # of the rate: `"staircase"`, or `"cosine"`, which ends at zero
    clip_norm: float = 0.0  # to which gradients are scaled down where their common norm is larger; 0: never
    precision: str = "float32"  # `"float32"` or `"mixed_bfloat16"`
    # Training batches over which batch-normalisation statistics are recomputed before each validation; 0 keeps
    # the moving averages. Without it early validation accuracy measures their lag, not the configuration.
    recalibration_batches: int = 16  # to recompute batch-normalisation statistics before each validation; 0: never
    # of the loss while training: `"equal"`, or `"balanced"`, by which each class counts as much as any other
    class_weights: str = "equal"
    frozen_blocks: int = 0  # the first so many blocks stay as an earlier model has them

    def __post_init__(self) -> None:
        within("training.epochs", self.epochs, 1, 100_000)
        within("training.batch_size", self.batch_size, 1, 65536)
        within("training.learning_rate", self.learning_rate, 1e-12, 1e6)
        within("training.decay_rate", self.decay_rate, 1e-6, 1.0)
        within("training.decay_steps", self.decay_steps, 1, 10**9)
        within("training.clip_norm", self.clip_norm, 0.0, 1e6)
        within("training.recalibration_batches", self.recalibration_batches, 0, 100_000)
        within("training.frozen_blocks", self.frozen_blocks, 0, MOST_FROZEN)
        one_of("training.optimizer", self.optimizer, OPTIMIZERS)
        one_of("training.precision", self.precision, PRECISIONS)
        one_of("training.schedule", self.schedule, SCHEDULES)
        one_of("training.class_weights", self.class_weights, CLASS_WEIGHTS)


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; never applied in validation. The course flips along frequency only."""

    flip_time: bool = False  # mirror at random
    flip_frequency: bool = True  # mirror at random, as in the course
    shift_time: int = 0  # largest cyclic shift, pixels
    shift_frequency: int = 0  # largest cyclic shift, pixels
    # largest angle in degrees by which an image is turned either way, at random; 180: any, 0: none
    rotate: float = 0.0
    noise: float = 0.0  # deviation of added Gaussian noise, in units of the full scale 0..1

    def __post_init__(self) -> None:
        within("augment.rotate", self.rotate, 0.0, 180.0)
        within("augment.shift_time", self.shift_time, 0, 4096)
        within("augment.shift_frequency", self.shift_frequency, 0, 4096)
        within("augment.noise", self.noise, 0.0, 1.0)


@dataclass(frozen=True)
class PrepareConfig:
    """What is done to images before the network sees them: nothing, in the course."""

    # in their order, separated by commas: align, crop, cut_noise, grey, resize, scale, sigma_clip, one's own
    steps: str = ""
    source: str = ""  # SHA-256 of the modules of steps of one's own; recorded, not to be set

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the steps, in their order."""
        return tuple(name.strip() for name in self.steps.split(",")) if self.steps.strip() else ()

    @property
    def own(self) -> tuple[str, ...]:
        """The names of the user's steps, `module:function`."""
        return tuple(name for name in self.names if ":" in name)

    def __post_init__(self) -> None:
        for name in self.names:
            if (name not in STEPS and not _OWN.fullmatch(name)) or self.names.count(name) > 1:
                raise ConfigError(
                    f"prepare.steps: {name!r} in {self.steps!r} is unknown or there twice; choose some of "
                    f"{', '.join(STEPS)} or your own as module:function, each once"
                )
        for name in self.own:
            _require_free(name, "prepare.steps: a function")


@dataclass(frozen=True)
class AlignConfig:
    """De-drift: the best straight line of an image is found, its rows are shifted so that it stands upright."""

    half_width: int = 12  # columns kept on either side of the line
    shift: str = "fraction"  # of a pixel; "whole" pixels leave the rest of each row to a second channel
    max_drift: float = 11.5  # pixels from the first row to the last, the largest that is looked for

    def __post_init__(self) -> None:
        within("align.half_width", self.half_width, 1, 4096)
        within("align.max_drift", self.max_drift, 0.0, 4096.0)
        one_of("align.shift", self.shift, SHIFTS)


@dataclass(frozen=True)
class CropConfig:
    """The middle of an image is kept."""

    n_time: int = 64  # rows kept
    n_freq: int = 64  # columns kept

    def __post_init__(self) -> None:
        within("crop.n_time", self.n_time, 1, 65536)
        within("crop.n_freq", self.n_freq, 1, 65536)


@dataclass(frozen=True)
class ResizeConfig:
    """Images are brought to another size."""

    n_time: int = 64  # rows
    n_freq: int = 128  # columns

    def __post_init__(self) -> None:
        within("resize.n_time", self.n_time, 1, 65536)
        within("resize.n_freq", self.n_freq, 1, 65536)


@dataclass(frozen=True)
class SigmaClipConfig:
    """Outliers of an image are cut off."""

    sigma: float = 3.0  # standard deviations from the mean

    def __post_init__(self) -> None:
        within("sigma_clip.sigma", self.sigma, 0.1, 1000.0)


@dataclass(frozen=True)
class CutNoiseConfig:
    """What does not stand out from the noise of an image becomes its sky: sigma clipping, as of radio galaxies."""

    sigma: float = 3.0  # standard deviations of the noise above the sky

    def __post_init__(self) -> None:
        within("cut_noise.sigma", self.sigma, 0.0, 1000.0)


@dataclass(frozen=True)
class Preparation:
    """The steps of one configuration in their order, each with the fields it is given.

    `source` is the digest of the modules of steps of one's own, empty without any.
    """

    steps: tuple[tuple[str, Mapping[str, Value]], ...] = ()
    source: str = ""

    @property
    def has_operations(self) -> bool:
        """Whether TensorFlow has operations for all of them, so that a SavedModel can begin with raw pixels."""
        return not any(name in WITHOUT_OPERATIONS or name not in STEPS for name, _ in self.steps)

    @property
    def mirrors_rest(self) -> bool:
        """Whether the last channel holds places within a pixel, which change sign where frequency is mirrored."""
        return any(name == "align" and settings["shift"] == WHOLE for name, settings in self.steps)


WITHOUT_OPERATIONS = ("resize",)  # TensorFlow's Lanczos filter is another one
# The steps by name, each with the class of its fields; grey and scale have none.
STEPS: Mapping[str, type | None] = types.MappingProxyType(
    {
        "align": AlignConfig,
        "crop": CropConfig,
        "cut_noise": CutNoiseConfig,
        "grey": None,
        "resize": ResizeConfig,
        "scale": None,
        "sigma_clip": SigmaClipConfig,
    }
)


@dataclass(frozen=True)
class Configuration:
    """One point of the space, complete: every field has a value. The default is the baseline.

    `own` are the fields of a network and of steps of one's own by full name; they are checked where these are used.
    """

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    resize: ResizeConfig = field(default_factory=ResizeConfig)
    sigma_clip: SigmaClipConfig = field(default_factory=SigmaClipConfig)
    cut_noise: CutNoiseConfig = field(default_factory=CutNoiseConfig)
    drift: DriftConfig = field(default_factory=DriftConfig)
    small: SmallConfig = field(default_factory=SmallConfig)
    alhassan: AlhassanConfig = field(default_factory=AlhassanConfig)
    aniyan: AniyanConfig = field(default_factory=AniyanConfig)
    vgg16: VGG16Config = field(default_factory=VGG16Config)
    own: Mapping[str, Value] = field(default_factory=dict)

    @property
    def preparation(self) -> Preparation:
        """What is done to images, with the fields of the steps in use."""
        return Preparation(tuple((name, self._settings(name)) for name in self.prepare.names), self.prepare.source)

    @property
    def form(self) -> dict[str, Value]:
        """The fields, by full name, in which two networks must agree for the weights of one to fit the other.

        Of a network of one's own only what is common to all; whether its layers agree is seen when it is built.
        """
        names = ["network.family", "network.standardise"]
        if self.network.family == COURSE:
            filters = (f"filters_{block + 1}" for block in range(self.network.blocks))
            names += [f"network.{name}" for name in ("blocks", *filters, "kernel", "dense_units")]
        values = self.to_mapping()
        family = f"{self.network.family}."
        left_out = [f"{family}{name}" for name in NO_FORM]
        names += [name for name in values if name.startswith(family) and name not in left_out]
        return {name: values[name] for name in names}

    @property
    def shape(self) -> str:
        """A digest of the fields that decide how large a network is and how long it takes for an image."""
        is_course = self.network.family == COURSE or self.network.family in FAMILIES
        fields = {
            name: value
            for name, value in self.to_mapping().items()
            if name.partition(".")[0] not in ("training", "augment")
            and not (is_course and "dropout" in name)
            and name not in ("vgg16.weights", "vgg16.source")
        }
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()

    @property
    def blocks(self) -> int | None:
        """How many blocks `training.frozen_blocks` may keep; None where only the user's network tells."""
        if self.network.is_own:
            return None
        counted = {COURSE: self.network.blocks, "small": self.small.convolutions}
        return counted.get(self.network.family, BLOCKS.get(self.network.family, 0))

    @property
    def pretrained(self) -> str:
        """The file of weights that the network begins with, as it is named; empty without one."""
        return self.vgg16.weights if self.network.family == VGG16 else ""

    @property
    def own_sources(self) -> dict[str, tuple[str, ...]]:
        """What is the user's, by the digest of its modules."""
        network = {self.network.source: (self.network.family,)} if self.network.is_own else {}
        return network | ({self.prepare.source: self.prepare.own} if self.prepare.own else {})

    def own_fields(self, name: str) -> dict[str, Value]:
        """Return the fields of what is the user's, `module:name`, without the prefix."""
        prefix = f"{section_of(name)}."
        return {key.removeprefix(prefix): value for key, value in self.own.items() if key.startswith(prefix)}

    def _settings(self, step: str) -> Mapping[str, Value]:
        if step not in STEPS:
            return self.own_fields(step)
        return vars(getattr(self, step)) if STEPS[step] else {}

    def __post_init__(self) -> None:
        is_aligned = self.prepare.names[-1:] == ("align",) and self.align.shift == WHOLE
        if self.network.family == "drift" and not is_aligned:
            raise ConfigError(
                "network.family='drift' reads the rest of each shift; let align be the last of prepare.steps, and set "
                "align.shift='whole'"
            )
        if self.network.family in ("drift", VGG16) and self.network.standardise:
            raise ConfigError(
                f"network.family={self.network.family!r} knows the scale of its images; set network.standardise=false"
            )
        if self.augment.rotate and self.preparation.mirrors_rest:
            raise ConfigError(
                "augment.rotate: the last channel of images that align shifted by whole pixels holds places, which no "
                "rotation keeps; set augment.rotate=0 or align.shift='fraction'"
            )
        if self.blocks is not None and self.training.frozen_blocks > self.blocks:
            of = f"network.blocks={self.blocks}"
            if self.network.family != COURSE:
                of = f"the {self.blocks} blocks of network.family={self.network.family!r}"
            raise ConfigError(
                f"training.frozen_blocks: {self.training.frozen_blocks} is more than {of}; freeze at most as many "
                "blocks as there are"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Configuration:
        """Build from names like `"network.filters_1"`; what is not named keeps the baseline's value.

        A family that is made for prepared images has them prepared so, where nothing else is said.

        Raises:
            ConfigError: An unknown name, a value of the wrong type or outside its range.
        """
        sections: dict[str, dict[str, Value]] = {}
        fields = field_types()
        values = {**MADE_FOR.get(str(values.get("network.family")), {}), **values}
        theirs = _sections_of_own(values)
        own: dict[str, Value] = {}
        for name, value in values.items():
            section, _, key = name.partition(".")
            if section in theirs:
                own[name] = typed_value(name, value, type(value))
                continue
            if name not in fields:
                raise ConfigError(f"{name!r} is no field of the configuration; known: {', '.join(sorted(fields))}")
            sections.setdefault(section, {})[key] = typed_value(name, value, fields[name])
        made: dict[str, Any] = {name: kind(**sections.get(name, {})) for name, kind in SECTIONS.items()}
        return cls(**made, own=own)

    def to_mapping(self) -> dict[str, Value]:
        """Return every field that counts by its full name, in the order of declaration.

        Of the steps of the preparation and of the families of networks those in use.
        """
        values = {
            f"{section}.{key}": value
            for section in SECTIONS
            if self._counts(section)
            for key, value in vars(getattr(self, section)).items()
            if self._is_in_use(section, key)
        }
        return values | dict(self.own)

    def _counts(self, section: str) -> bool:
        if section in STEPS:
            return section in self.prepare.names
        return section not in FAMILIES or section == self.network.family

    def _is_in_use(self, section: str, key: str) -> bool:
        if key == "source":
            return bool({"prepare": self.prepare.own, "network": self.network.is_own}.get(section, self.pretrained))
        return section != "network" or self.network.family == COURSE or key in ("family", "standardise")


SECTIONS: Mapping[str, Any] = {name: kind for name, kind in get_type_hints(Configuration).items() if name != "own"}


def field_types() -> Mapping[str, type]:
    """Return the type of every field by its full name, e.g. `{"training.batch_size": int, ...}`."""
    return types.MappingProxyType(
        {f"{section}.{name}": hint for section, cls in SECTIONS.items() for name, hint in get_type_hints(cls).items()}
    )


def section_of(name: str) -> str:
    """Return the section with the fields of a network or step of one's own, `module:name`."""
    return name.partition(":")[2]


def _sections_of_own(values: Mapping[str, object]) -> set[str]:
    """Return the sections that are the user's."""
    family, steps = str(values.get("network.family", "")), str(values.get("prepare.steps", ""))
    return {section_of(name.strip()) for name in (family, *steps.split(",")) if _OWN.fullmatch(name.strip())}


def _require_free(name: str, what: str) -> None:
    if section_of(name) in get_type_hints(Configuration):
        raise ConfigError(f"{what} cannot be called {section_of(name)!r}; give it another name")


def may_be_prolonged(values: Mapping[str, object]) -> bool:
    """Return whether no epoch of a configuration depends on how many follow, so that its number of epochs may rise.

    With a cosine it does: the rate falls to zero at the last one.
    """
    return values.get("training.schedule") != COSINE


def typed_value(name: str, value: object, expected: type) -> Value:
    """Return a value of the type of its field; a whole number counts as a number.

    Raises:
        ConfigError: It is of another type.
    """
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, expected) and (expected is bool or not isinstance(value, bool)):
        return cast(Value, value)
    raise ConfigError(f"{name}: {value!r} is of type {type(value).__name__}, expected {expected.__name__}; correct it")
