"""Tiles with their classes, read from files of spectra and a table of labels, ready to become a data set."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from seti_model.data.dataset import MOST_IMAGES, Source, SplitData
from seti_model.data.sources.imported import Imported, require_few_classes
from seti_model.data.spectra.filterbank import Header, open_spectra
from seti_model.data.spectra.labels import Label, matched, read_labels
from seti_model.data.spectra.tiles import TilePlace, Tiling, count_tiles, read_tiles, tile_at
from seti_model.data.spectra.voltages import TimeSeries
from seti_model.errors import DatasetError
from seti_model.files import require_room

if TYPE_CHECKING:
    import pandas as pd

_TRUTH = (
    *("tile", "row", "channel", "start_time_s", "start_mjd", "low_frequency_mhz", "high_frequency_mhz"),
    *("dt_s", "df_hz", "hz_per_s"),
)


@dataclass(frozen=True)
class FileOfTiles:
    """What was found in one file."""

    header: Header
    n_tiles: int
    n_labelled: int
    n_blank: int  # values that were no numbers


@dataclass(frozen=True)
class Labelled:
    """All labelled tiles with their place as truth, their group, and their split where the table has one."""

    imported: Imported
    files: tuple[FileOfTiles, ...]


def read_labelled(files: Sequence[Path], table: Path, tiling: Tiling, series: TimeSeries | None = None) -> Labelled:
    """Read the tiles that a table of labels names; a file is one group unless the table has a column of groups.

    Raises:
        DatasetError: A file or a table that cannot be used, a label without a tile, or two for the same tile.
    """
    labels = read_labels(table)
    class_names = tuple(sorted({label.class_name for label in labels}))
    require_few_classes(table, len(class_names))
    chosen = [
        _chosen(file, some, tiling, series) for file, some in zip(files, matched(labels, table, files), strict=True)
    ]
    of_tiles = [label for one in chosen for label in one.values()]
    if not of_tiles:
        raise DatasetError(f"{table}: names no tile; give its files rows without a place, or correct the places")
    require_room(f"{table}", len(of_tiles) * tiling.n_time * tiling.n_freq, DatasetError)
    images = np.empty((len(of_tiles), tiling.n_time, tiling.n_freq, 1), np.uint8)
    places: list[TilePlace] = []
    found = []
    for file, one in zip(files, chosen, strict=True):
        before = len(places)
        with open_spectra(file, series) as spectra:
            for run in _runs(sorted(one)):
                for batch in read_tiles(spectra, tiling, first=run.start, stop=run.stop):
                    images[len(places) : len(places) + len(batch.places)] = batch.images
                    places += batch.places
            blank = sum(place.n_blank for place in places[before:])
            n_tiles = count_tiles(spectra.header, tiling)
            found.append(FileOfTiles(spectra.header, n_tiles, len(one), blank))
    data, split_of = _data(images, places, of_tiles, class_names), _split_of(of_tiles)
    return Labelled(Imported(data, class_names, split_of), tuple(found))


def _chosen(file: Path, labels: Sequence[Label], tiling: Tiling, series: TimeSeries | None) -> dict[int, Label]:
    """Return the label of each tile of a file that has one, in order of tiles."""
    with open_spectra(file, series) as spectra:
        header = spectra.header
    n_tiles = count_tiles(header, tiling)
    if n_tiles == 0:
        raise DatasetError(
            f"{file}: {header.n_time} rows of {header.n_channels} channels, a tile takes {tiling.n_rows} of "
            f"{tiling.n_channels}; choose a smaller --tile or another --shrink"
        )
    whole = [label for label in labels if label.place is None]
    if len(whole) > 1:
        raise DatasetError(f"{whole[1].where}: a second row for all of {file}; leave one of them, or give places")
    if whole and n_tiles > MOST_IMAGES:
        raise DatasetError(
            f"{file}: {n_tiles} tiles, at most {MOST_IMAGES} become images; give places in the table, or --average more"
        )
    chosen = dict.fromkeys(range(n_tiles), whole[0]) if whole else {}
    placed: dict[int, Label] = {}
    for label in labels:
        if label.place is not None:
            tile = tile_at(header, tiling, *label.row_and_channel(header))
            if tile is None:
                raise DatasetError(f"{label.where}: its place lies in no tile of {file}; correct it")
            if tile in placed:
                raise DatasetError(f"{label.where}: tile {tile} of {file} has a label already; leave one of them out")
            placed[tile] = label
    return dict(sorted((chosen | placed).items()))


def _runs(tiles: Sequence[int]) -> Iterator[range]:
    """Yield consecutive numbers together."""
    first = 0
    for n in range(1, len(tiles) + 1):
        if n == len(tiles) or tiles[n] != tiles[n - 1] + 1:
            yield range(tiles[first], tiles[n - 1] + 1)
            first = n


def _data(
    images: npt.NDArray[np.uint8], places: Sequence[TilePlace], labels: Sequence[Label], class_names: Sequence[str]
) -> SplitData:
    index = {name: number for number, name in enumerate(class_names)}
    groups = [
        str(place.file) if label.group is None else label.group for place, label in zip(places, labels, strict=True)
    ]
    # Of each image what messages are to say, as of pictures that are a file each.
    source = Source(tuple(Path(f"{place.file}, tile {place.tile}") for place in places), np.arange(len(places)))
    return SplitData(
        images,
        np.array([index[label.class_name] for label in labels], np.int8),
        truth=_truth(places),
        groups=np.array(groups, np.str_),
        source=source,
    )


def _truth(places: Sequence[TilePlace]) -> pd.DataFrame:
    """Return where each tile lies and what its pixels are; without the columns of which nothing is known."""
    import pandas as pd

    rows = [dataclasses.asdict(place) | {"hz_per_s": place.hz_per_s} for place in places]
    return pd.DataFrame(rows, columns=list(_TRUTH)).dropna(axis="columns", how="all")


def _split_of(labels: Sequence[Label]) -> npt.NDArray[np.str_] | None:
    return None if labels[0].split is None else np.array([label.split for label in labels], np.str_)
