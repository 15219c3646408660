"""The typed configuration of one training: network, training and augmentation, checked once at the boundary."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast, get_type_hints

from seti_model.errors import ConfigError

Value = bool | int | float | str
MAX_BLOCKS = 4
PRECISIONS = ("float32", "mixed_bfloat16")
SHIFTS = ("fraction", "whole")


@dataclass(frozen=True)
class NetworkConfig:
    """The course CNN with its choices as fields; the defaults are the course's (33 616 132 parameters at 64x128).

    A block is Conv(same), batch normalisation, ReLU, MaxPool 2, Dropout; then Flatten, Dense, batch
    normalisation, ReLU, Dropout, and a softmax over the classes. Only the first `blocks` of `filters_1..4` count.
    """

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
    def form(self) -> dict[str, Value]:
        """The fields, by full name, in which two networks must agree for the weights of one to fit the other."""
        names = ["blocks", *(f"filters_{block + 1}" for block in range(self.blocks))]
        names += ["kernel", "dense_units", "standardise"]
        return {f"network.{name}": getattr(self, name) for name in names}

    def __post_init__(self) -> None:
        _within("network.blocks", self.blocks, 1, MAX_BLOCKS)
        for block in range(1, MAX_BLOCKS + 1):
            _within(f"network.filters_{block}", getattr(self, f"filters_{block}"), 1, 4096)
        _within("network.kernel", self.kernel, 1, 31)
        _within("network.dense_units", self.dense_units, 1, 65536)
        _within("network.conv_dropout", self.conv_dropout, 0.0, 0.95)
        _within("network.dense_dropout", self.dense_dropout, 0.0, 0.95)
        _within("network.batch_norm_momentum", self.batch_norm_momentum, 0.0, 0.9999)


@dataclass(frozen=True)
class TrainingConfig:
    """How long and how fast: Adam on categorical cross-entropy, staircase exponential decay.

    The rate of batch `b` (counted from 0 over the whole training) is
    `learning_rate * decay_rate ** (b // decay_steps)`. The defaults are the course's.
    """

    epochs: int = 12  # set by `[study] max_epochs` in a search
    batch_size: int = 32  # images
    learning_rate: float = 0.005  # of Adam, at the start
    decay_rate: float = 0.96  # factor of the learning rate every `decay_steps`
    decay_steps: int = 5  # batches
    precision: str = "float32"  # `"float32"` or `"mixed_bfloat16"`
    # Training batches over which batch-normalisation statistics are recomputed before each validation; 0 keeps
    # the moving averages. Without it early validation accuracy measures their lag, not the configuration.
    recalibration_batches: int = 16  # to recompute batch-normalisation statistics before each validation; 0: never
    frozen_blocks: int = 0  # the first so many blocks stay as an earlier model has them

    def __post_init__(self) -> None:
        _within("training.epochs", self.epochs, 1, 100_000)
        _within("training.batch_size", self.batch_size, 1, 65536)
        _within("training.learning_rate", self.learning_rate, 1e-12, 1e6)
        _within("training.decay_rate", self.decay_rate, 1e-6, 1.0)
        _within("training.decay_steps", self.decay_steps, 1, 10**9)
        _within("training.recalibration_batches", self.recalibration_batches, 0, 100_000)
        _within("training.frozen_blocks", self.frozen_blocks, 0, MAX_BLOCKS)
        if self.precision not in PRECISIONS:
            raise ConfigError(
                f"training.precision: {self.precision!r} is unknown; choose one of {', '.join(PRECISIONS)}"
            )


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of training images; never applied in validation. The course flips along frequency only."""

    flip_time: bool = False  # mirror at random
    flip_frequency: bool = True  # mirror at random, as in the course
    shift_time: int = 0  # largest cyclic shift, pixels
    shift_frequency: int = 0  # largest cyclic shift, pixels
    noise: float = 0.0  # deviation of added Gaussian noise, in units of the full scale 0..1

    def __post_init__(self) -> None:
        _within("augment.shift_time", self.shift_time, 0, 4096)
        _within("augment.shift_frequency", self.shift_frequency, 0, 4096)
        _within("augment.noise", self.noise, 0.0, 1.0)


@dataclass(frozen=True)
class PrepareConfig:
    """What is done to images before the network sees them: nothing, in the course."""

    steps: str = ""  # in their order, separated by commas: align, crop, grey, resize, sigma_clip

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the steps, in their order."""
        return tuple(name.strip() for name in self.steps.split(",")) if self.steps.strip() else ()

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in STEPS or self.names.count(name) > 1:
                raise ConfigError(
                    f"prepare.steps: {name!r} in {self.steps!r} is unknown or there twice; choose some of "
                    f"{', '.join(STEPS)}, each once"
                )


@dataclass(frozen=True)
class AlignConfig:
    """De-drift: the best straight line of an image is found, its rows are shifted so that it stands upright."""

    half_width: int = 12  # columns kept on either side of the line
    shift: str = "fraction"  # of a pixel; "whole" pixels leave the rest of each row to a second channel
    max_drift: float = 11.5  # pixels from the first row to the last, the largest that is looked for

    def __post_init__(self) -> None:
        _within("align.half_width", self.half_width, 1, 4096)
        _within("align.max_drift", self.max_drift, 0.0, 4096.0)
        if self.shift not in SHIFTS:
            raise ConfigError(f"align.shift: {self.shift!r} is unknown; choose one of {', '.join(SHIFTS)}")


@dataclass(frozen=True)
class CropConfig:
    """The middle of an image is kept."""

    n_time: int = 64  # rows kept
    n_freq: int = 64  # columns kept

    def __post_init__(self) -> None:
        _within("crop.n_time", self.n_time, 1, 65536)
        _within("crop.n_freq", self.n_freq, 1, 65536)


@dataclass(frozen=True)
class ResizeConfig:
    """Images are brought to another size."""

    n_time: int = 64  # rows
    n_freq: int = 128  # columns

    def __post_init__(self) -> None:
        _within("resize.n_time", self.n_time, 1, 65536)
        _within("resize.n_freq", self.n_freq, 1, 65536)


@dataclass(frozen=True)
class SigmaClipConfig:
    """Outliers of an image are cut off."""

    sigma: float = 3.0  # standard deviations from the mean

    def __post_init__(self) -> None:
        _within("sigma_clip.sigma", self.sigma, 0.1, 1000.0)


@dataclass(frozen=True)
class Preparation:
    """The steps of one configuration in their order, each with the fields it is given."""

    steps: tuple[tuple[str, Mapping[str, Value]], ...] = ()

    @property
    def has_operations(self) -> bool:
        """Whether TensorFlow has operations for all of them, so that a SavedModel can begin with raw pixels."""
        return not any(name in WITHOUT_OPERATIONS for name, _ in self.steps)

    @property
    def mirrors_rest(self) -> bool:
        """Whether the last channel holds places within a pixel, which change sign where frequency is mirrored."""
        return any(name == "align" and settings["shift"] == "whole" for name, settings in self.steps)


WITHOUT_OPERATIONS = ("resize",)  # TensorFlow's Lanczos filter is another one
# The steps by name, each with the class of its fields; grey has none.
STEPS: Mapping[str, type | None] = types.MappingProxyType(
    {"align": AlignConfig, "crop": CropConfig, "grey": None, "resize": ResizeConfig, "sigma_clip": SigmaClipConfig}
)


@dataclass(frozen=True)
class Configuration:
    """One point of the space, complete: every field has a value. The default is the baseline."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    prepare: PrepareConfig = field(default_factory=PrepareConfig)
    align: AlignConfig = field(default_factory=AlignConfig)
    crop: CropConfig = field(default_factory=CropConfig)
    resize: ResizeConfig = field(default_factory=ResizeConfig)
    sigma_clip: SigmaClipConfig = field(default_factory=SigmaClipConfig)

    @property
    def preparation(self) -> Preparation:
        """What is done to images, with the fields of the steps in use."""
        names = self.prepare.names
        return Preparation(tuple((name, vars(getattr(self, name)) if STEPS[name] else {}) for name in names))

    def __post_init__(self) -> None:
        if self.training.frozen_blocks > self.network.blocks:
            raise ConfigError(
                f"training.frozen_blocks: {self.training.frozen_blocks} is more than "
                f"network.blocks={self.network.blocks}; freeze at most as many blocks as there are"
            )

    @classmethod
    def from_mapping(cls, values: Mapping[str, object]) -> Configuration:
        """Build from names like `"network.filters_1"`; what is not named keeps the baseline's value.

        Raises:
            ConfigError: An unknown name, a value of the wrong type or outside its range.
        """
        sections: dict[str, dict[str, Value]] = {}
        fields = field_types()
        for name, value in values.items():
            if name not in fields:
                raise ConfigError(f"{name!r} is no field of the configuration; known: {', '.join(sorted(fields))}")
            section, key = name.split(".")
            sections.setdefault(section, {})[key] = _typed(name, value, fields[name])
        made: dict[str, Any] = {name: kind(**sections.get(name, {})) for name, kind in get_type_hints(cls).items()}
        return cls(**made)

    def to_mapping(self) -> dict[str, Value]:
        """Return every field that counts by its full name, in the order of declaration: of steps those in use."""
        return {
            f"{section}.{key}": value
            for section, values in dataclasses.asdict(self).items()
            if section not in STEPS or section in self.prepare.names
            for key, value in values.items()
        }


def field_types() -> Mapping[str, type]:
    """Return the type of every field by its full name, e.g. `{"training.batch_size": int, ...}`."""
    sections = get_type_hints(Configuration)
    return types.MappingProxyType(
        {f"{section}.{name}": hint for section, cls in sections.items() for name, hint in get_type_hints(cls).items()}
    )


def _typed(name: str, value: object, expected: type) -> Value:
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(value, expected) and (expected is bool or not isinstance(value, bool)):
        return cast(Value, value)
    raise ConfigError(f"{name}: {value!r} is of type {type(value).__name__}, expected {expected.__name__}")


def _within(name: str, value: Any, low: float, high: float) -> None:
    if not low <= value <= high:  # also refuses NaN
        raise ConfigError(f"{name}: {value!r} lies outside {low}..{high}; choose a value within")
