"""Tiles of spectra: which part of a file becomes which image, and by what rule its power becomes 8-bit pixels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from seti_model.data.recipe import N_FFT, SHRINK, to_pixels
from seti_model.data.spectra.filterbank import Header, Power, Spectra
from seti_model.errors import DatasetError

COURSE, LOG = "course", "log"
RULES = (COURSE, LOG)
FLATTEN_CHANNELS = 129  # over which the band-pass is smoothed; narrower signals stay
# Median power of the course's noise, to which flattened power is brought, as the course's rule depends on the scale. It
# is exponential, so ln 2 of its mean, N_FFT * 2 * the variance of N(0, 13^2) truncated to whole numbers towards zero.
NOISE_POWER = N_FFT * 2 * 158.956 * math.log(2)
LOG_PERCENTILES = (1.0, 99.9)  # of a tile's logarithms, which become 0 and 255
MOST_TILE = 2**24  # power values of a tile
MOST_POWER = 1e30  # of a value, in units of the file: sums of float32 stay finite
_BLOCK = 2**23  # power values that are read at once, or a tile's
_MOST_PIXELS = 2**24
_MOST = 2**20  # of any number of a tiling


class DamagedTilesError(DatasetError):
    """A block of a file that cannot be read; whoever goes on without it reads from `tiles.stop` on."""

    def __init__(self, message: str, tiles: range) -> None:
        super().__init__(message)
        self.tiles = tiles


@dataclass(frozen=True)
class Tiling:
    """How spectra become images: with the same tiling the same spectra give the same pixels.

    An image of `n_time` x `n_freq` pixels is made from `average * shrink` rows and channels a pixel: power is averaged,
    becomes a picture by the rule, and the picture is made smaller, which only the rule `course` does.
    """

    n_time: int = 64
    n_freq: int = 128
    step_time: int | None = None  # pixels from a tile to the next one; None: as many as the tile has, no overlap
    step_freq: int | None = None
    average_time: int = 1
    average_frequency: int = 1
    flatten: bool = False  # each channel is divided by the band-pass, smoothed over `FLATTEN_CHANNELS`
    rule: str = COURSE
    shrink_time: int | None = None  # power values a pixel, by Lanczos; None: 4 for `course`, as it was, 1 for `log`
    shrink_frequency: int | None = None
    n_fft: int = N_FFT  # of a time series; files of spectra have their own channels

    def __post_init__(self) -> None:
        """Fill in what follows from the rest.

        Raises:
            DatasetError: A value that cannot be, or a tile that is too large.
        """
        if self.rule not in RULES:
            raise DatasetError(f"rule {str(self.rule)[:40]!r} is unknown; choose one of {', '.join(RULES)}")
        default = {"step_time": self.n_time, "step_freq": self.n_freq}
        default |= dict.fromkeys(("shrink_time", "shrink_frequency"), SHRINK if self.rule == COURSE else 1)
        for name, value in default.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        for name, value in self.to_mapping().items():
            if name in ("flatten", "rule"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= _MOST:
                raise DatasetError(f"tiles: {name} is {str(value)[:40]}, expected 1 to {_MOST}; correct it")
        if not isinstance(self.flatten, bool):
            raise DatasetError(f"tiles: flatten is {str(self.flatten)[:40]}, expected true or false; correct it")
        if self.rule == LOG and (self.shrink_time, self.shrink_frequency) != (1, 1):
            raise DatasetError("tiles: the rule 'log' shrinks no pictures; leave --shrink out and give --average")
        if self.n_time * self.n_freq > _MOST_PIXELS or self.n_rows * self.n_channels > MOST_TILE:
            raise DatasetError(
                f"tiles of {self.n_time} x {self.n_freq} pixels, each of {self.n_rows} rows and {self.n_channels} "
                f"channels: at most {MOST_TILE} values are possible; choose smaller ones, or --average less"
            )

    @property
    def n_rows(self) -> int:
        """Rows of the file that a tile takes."""
        return self.n_time * self.rows_per_pixel

    @property
    def n_channels(self) -> int:
        """Channels of the file that a tile takes."""
        return self.n_freq * self.channels_per_pixel

    @property
    def rows_per_pixel(self) -> int:
        """Rows of the file in a pixel."""
        return self.average_time * (self.shrink_time or 1)

    @property
    def channels_per_pixel(self) -> int:
        """Channels of the file in a pixel."""
        return self.average_frequency * (self.shrink_frequency or 1)

    def to_mapping(self) -> dict[str, Any]:
        """Return all of it as values of JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Tiling:
        """Return what `to_mapping` gave.

        Raises:
            DatasetError: An unknown name, or a value that cannot be.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(str(name)[:40] for name in values if name not in known)
        if unknown:
            raise DatasetError(f"tiles: {unknown[0]!r} is unknown; this version knows {', '.join(sorted(known))}")
        return cls(**values)


@dataclass(frozen=True)
class TilePlace:
    """Where a tile lies in its file, and what a pixel of it is; what is not known is NaN."""

    file: Path
    tile: int  # from 0, rows of tiles one after another; it stays the same while a file grows
    row: int  # the first one, of the file
    channel: int  # the first one
    start_time_s: float  # since the first row of the file
    start_mjd: float
    low_frequency_mhz: float  # lower edge of its lowest channel
    high_frequency_mhz: float
    dt_s: float  # of a pixel
    df_hz: float  # of a pixel, to the right: negative where frequency falls along the columns
    n_time: int  # pixels
    n_freq: int
    n_blank: int  # values that were no numbers, or beyond `MOST_POWER`, and counted as 0

    @property
    def hz_per_s(self) -> float:
        """The drift that moves a line by one pixel to the right from the first row of the tile to the end of its last.

        A line that moves by n pixels over the tile drifts by n times that.
        """
        return self.df_hz / (self.n_time * self.dt_s)

    def frequency_mhz(self, column: float) -> float:
        """Return the frequency of a column, whole numbers being centres of pixels."""
        edge = self.low_frequency_mhz if self.df_hz > 0 else self.high_frequency_mhz
        return edge + (column + 0.5) * self.df_hz / 1e6


@dataclass(frozen=True)
class TileBatch:
    """Images (n, n_time, n_freq, 1) and the place of each."""

    images: npt.NDArray[np.uint8]
    places: tuple[TilePlace, ...]


def count_tiles(header: Header, tiling: Tiling, n_rows: int | None = None) -> int:
    """Return how many tiles a file has: rows at its end that fill none are left out, channels at its edge are not.

    Args:
        header: Of the file.
        tiling: How it is cut.
        n_rows: Rows that it has by now; None: as many as when it was opened.
    """
    rows = header.n_time if n_rows is None else n_rows
    down = max(0, (rows - tiling.n_rows) // (_step_rows(tiling)) + 1)
    return down * len(_across(header, tiling))


def read_tiles(
    spectra: Spectra, tiling: Tiling, *, first: int = 0, stop: int | None = None, batch: int = 64
) -> Iterator[TileBatch]:
    """Yield the tiles of a file from number `first` to `stop` - 1, or as far as it goes by now, some at a time.

    Memory holds a batch and a block of power, of 34 MB or a tile, with what is calculated from it.

    Raises:
        DamagedTilesError: A block cannot be read; what came before it has been yielded.
        DatasetError: The file has fewer channels than a tile, or cannot be asked for its rows.
    """
    if len(_across(spectra.header, tiling)) == 0:
        raise DatasetError(
            f"{spectra.header.path}: {spectra.header.n_channels} channels, a tile takes {tiling.n_channels} "
            f"({tiling.n_freq} pixels of {tiling.channels_per_pixel}); choose a smaller --tile or another --shrink"
        )
    last = count_tiles(spectra.header, tiling, spectra.count_rows())
    images: list[npt.NDArray[np.uint8]] = []
    places: list[TilePlace] = []
    damage = None
    try:
        for tile, power, n_blank in _powers(spectra, tiling, range(first, last if stop is None else min(stop, last))):
            images.append(to_image(power, tiling))
            places.append(place_of(spectra.header, tiling, tile, n_blank))
            if len(images) == batch:
                yield TileBatch(np.stack(images)[..., None], tuple(places))
                images, places = [], []
    except DamagedTilesError as error:
        damage = error
    if images:
        yield TileBatch(np.stack(images)[..., None], tuple(places))
    if damage is not None:
        raise damage


def place_of(header: Header, tiling: Tiling, tile: int, n_blank: int = 0) -> TilePlace:
    """Return where a tile lies, by its number."""
    across = _across(header, tiling)
    row, channel = tile // len(across) * _step_rows(tiling), across.first_channel(tile % len(across))
    edges = [header.first_frequency_mhz + (channel + shift - 0.5) * header.df_mhz for shift in (0, tiling.n_channels)]
    start_s = row * header.dt_s
    return TilePlace(
        file=header.path,
        tile=tile,
        row=row,
        channel=channel,
        start_time_s=start_s,
        start_mjd=header.start_mjd + start_s / 86_400,
        low_frequency_mhz=min(edges),
        high_frequency_mhz=max(edges),
        dt_s=tiling.rows_per_pixel * header.dt_s,
        df_hz=tiling.channels_per_pixel * header.df_mhz * 1e6,
        n_time=tiling.n_time,
        n_freq=tiling.n_freq,
        n_blank=n_blank,
    )


def tile_at(header: Header, tiling: Tiling, row: int, channel: int) -> int | None:
    """Return the number of the tile in whose middle, or nearest to it, a row and a channel lie; None outside of all."""
    across = _across(header, tiling)
    n_across = len(across)
    down = count_tiles(header, tiling) // max(1, n_across)
    if down == 0:
        return None
    nearest = round((row - (tiling.n_rows - 1) / 2) / _step_rows(tiling))
    first_row = min(max(nearest, 0), down - 1) * _step_rows(tiling)
    middle = channel - (tiling.n_channels - 1) / 2  # where the best tile would begin
    numbers = (min(max(round(middle / across.step), 0), n_across - 1), n_across - 1)
    column = min(numbers, key=lambda number: abs(across.first_channel(number) - middle))
    first_channel = across.first_channel(column)
    is_inside = 0 <= row - first_row < tiling.n_rows and 0 <= channel - first_channel < tiling.n_channels
    return first_row // _step_rows(tiling) * n_across + column if is_inside else None


def to_image(power: Power, tiling: Tiling) -> npt.NDArray[np.uint8]:
    """Return the pixels (n_time, n_freq) of a tile's power (n_rows, n_channels), finite and perhaps flattened."""
    time, frequency = tiling.average_time, tiling.average_frequency
    if (time, frequency) != (1, 1):
        n_rows, n_channels = power.shape
        power = power.reshape(n_rows // time, time, n_channels // frequency, frequency).mean(axis=(1, 3))
    if tiling.rule == COURSE:
        return to_pixels(power, (tiling.n_time, tiling.n_freq))
    positive = power[power > 0]
    level = np.log(np.maximum(power, positive.min() if positive.size else 1.0))
    low, high = np.percentile(level, LOG_PERCENTILES)
    scaled = (level - low) * (255 / max(float(high - low), 1e-6))
    pixels: npt.NDArray[np.uint8] = np.rint(np.clip(scaled, 0, 255)).astype(np.uint8)
    return pixels


def flattened(power: Power) -> Power:
    """Return power (n_rows, n_channels) divided by its band-pass, with the median power of the course's noise.

    The band-pass is the median of each channel over the rows, and of that the running median over `FLATTEN_CHANNELS`
    channels: a line that stays in its channel, or a few, is not divided by itself. Channels without power stay at 0.

    Source: a median-smoothed band-pass is how `paz` of PSRCHIVE tells single channels from the band (its manual,
    "Median smoothed difference channel zapping"; van Straten, Demorest & Oslowski 2012, arXiv:1205.6276).
    """
    from scipy.ndimage import median_filter

    band = median_filter(np.median(power, axis=0), size=FLATTEN_CHANNELS, mode="nearest")
    factor = np.divide(NOISE_POWER, band, out=np.zeros_like(band), where=band > 1 / MOST_POWER)
    with np.errstate(over="ignore"):
        return np.asarray(np.minimum(power * factor, np.float32(MOST_POWER)))


def _step_rows(tiling: Tiling) -> int:
    return (tiling.step_time or 1) * tiling.rows_per_pixel


@dataclass(frozen=True)
class _Across:
    """The first channels of the tiles along the band; the last tile ends with the band, so that no channel is left."""

    last: int  # negative where the band is narrower than a tile
    step: int

    def __len__(self) -> int:
        return 0 if self.last < 0 else -(-self.last // self.step) + 1

    def first_channel(self, number: int) -> int:
        return min(number * self.step, self.last)


def _across(header: Header, tiling: Tiling) -> _Across:
    step = (tiling.step_freq or 1) * tiling.channels_per_pixel
    return _Across(header.n_channels - tiling.n_channels, step)


def _powers(spectra: Spectra, tiling: Tiling, tiles: range) -> Iterator[tuple[int, Power, int]]:
    """Yield number, power and blank values of tiles in order; as many as a block holds are read at once."""
    header, across = spectra.header, _across(spectra.header, tiling)
    halo = FLATTEN_CHANNELS // 2 if tiling.flatten else 0
    at_once = max(1, (_BLOCK // tiling.n_rows - tiling.n_channels) // across.step)
    tile = tiles.start
    while tile < tiles.stop:
        row, column = tile // len(across) * _step_rows(tiling), tile % len(across)
        count = min(at_once, len(across) - column, tiles.stop - tile)
        firsts = [across.first_channel(column + n) for n in range(count)]
        left = max(0, firsts[0] - halo)
        right = min(header.n_channels, firsts[-1] + tiling.n_channels + halo)
        try:
            block = spectra.read(row, tiling.n_rows, left, right - left)
        except DatasetError as error:
            raise DamagedTilesError(str(error), range(tile, tile + count)) from error
        is_blank = ~(np.abs(block) <= MOST_POWER)
        if is_blank.any():
            block = np.where(is_blank, np.float32(0), block)
        if tiling.flatten:
            block = flattened(block)
        for channel in firsts:
            columns = slice(channel - left, channel - left + tiling.n_channels)
            yield tile, block[:, columns], int(np.count_nonzero(is_blank[:, columns]))
            tile += 1
