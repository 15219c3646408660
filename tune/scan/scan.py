"""One scan: its model, its threshold and its sources put together, its journal, and what is written at its end."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from results.files import write_atomically
from results.report.candidates import CandidatesPage, write_candidates_page, write_picture
from results.scan import (
    FORMAT,
    PAGE,
    PICTURES,
    STREAM,
    SUMMARY,
    Candidate,
    ScanBegun,
    ScannedBlock,
    SkippedTile,
    absolute,
    read_journal,
)
from results.schema import to_json
from results.text import printable
from seti_model.data.spectra.filterbank import SERIES_SUFFIXES, Header, open_spectra
from seti_model.data.spectra.tiles import Tiling, count_tiles
from seti_model.data.spectra.voltages import TimeSeries
from tune.errors import ScanError
from tune.process.signals import Interrupted, Signals
from tune.scan.candidates import Finder, Threshold
from tune.scan.engine import Block, Engine, Rates, Reading
from tune.scan.journal import Journal
from tune.scan.source import Cut, Files, Stream, require_fit, spectra_in

if TYPE_CHECKING:  # what it imports takes seconds
    from seti_model.exported import ExportedModel

STANDARD_INPUT = Path("-")
_LIMITS = {
    "network": "the network limits",
    "disk": "reading limits",
    "pixels": "making pixels of power limits",
    "arrival": "it waits for what arrives",
    "neither": "neither waits for the other",
}


@dataclass(frozen=True)
class Wanted:
    """What a scan is asked for.

    Attributes:
        model: Its path.
        files: Files, folders of them, or `STANDARD_INPUT` alone.
        out: The folder of journal and candidates.
        background: The class without a signal.
        side_by_side: So many batches are classified at the same time, each on one thread.
        rate: Tiles a second that it should keep up with; None: those of the recording, where they are known.
        follows: Whether the files are folders in which files arrive.
        idle_s: To follow until nothing arrived for so long; None: for ever.
        drops: Whether standard input is rather dropped than kept waiting.
        pictures: At most so many candidates get one.
        page_every_s: Of what has no end the page is written anew about so often, if there are more candidates.
    """

    model: Path
    files: tuple[Path, ...]
    out: Path
    background: str
    batch: int
    readers: int
    side_by_side: int = 1
    rate: float | None = None
    follows: bool = False
    idle_s: float | None = None
    drops: bool = False
    pictures: int = 2000
    page_every_s: float = 60.0


class Scan:
    """A scan that is about to run."""

    def __init__(
        self, wanted: Wanted, model: ExportedModel, threshold: Threshold, *, tiling: Tiling, series: TimeSeries
    ) -> None:
        """Put everything together; nothing is read of the files yet."""
        self._wanted, self._model, self._threshold = wanted, model, threshold
        self._cut = Cut(tiling, series, wanted.batch, wanted.readers)
        self._finder = Finder.of(model, wanted.background, threshold)
        self._reading, self._signals, self._bad = Reading(), Signals(), list[str]()
        self._total: int | None = None  # tiles, where it is known
        self._recording_rate: float | None = None  # tiles a second
        self._stream: Stream | None = None
        self._page_due, self._paged = time.monotonic() + wanted.page_every_s, 0  # when, and with how many candidates
        self._headers: dict[str, Header] = {}  # of the files that are read, by their absolute path

    def run(self, pipe: BinaryIO | None = None) -> int:
        """Scan until the end, or until a signal; write the summary and the page; return the exit code.

        Args:
            pipe: Standard input, where that is scanned.

        Raises:
            ScanError: The folder holds another scan, or one that cannot go on.
            DatasetError: A file that cannot be used.
            RecordError: Something cannot be written.
        """
        files = self._files()
        for file in files:
            self._look_at(file)
        with Journal(self._wanted.out, self._begun(), goes_on=pipe is None) as journal:
            earlier = journal.tiles
            if earlier:
                print(f"goes on after {earlier} tiles, {journal.n_candidates} candidates")
            engine = self._engine(journal, earlier)
            self._model.warm_up()
            received = None
            try:
                # NumPy's products have a thread of each batch: all cores for each would be slower.
                with self._signals.installed(), threadpool_limits(1):
                    engine.run(self._blocks(journal, files, pipe))
            except Interrupted as interrupted:
                received = interrupted.name
            rates = engine.rates()
            self._finish(journal, rates, is_first=not earlier)
            self._say_end(journal, rates, received)
        return {None: 0, "SIGINT": 130}.get(received, 3)

    def _files(self) -> list[Path]:
        """Return the files that are there, those of folders by name."""
        wanted = self._wanted
        if wanted.files == (STANDARD_INPUT,) or wanted.follows:
            return []
        found = [file for path in wanted.files for file in (spectra_in(path) if path.is_dir() else [path])]
        if not found:
            raise ScanError(f"{wanted.files[0]}: holds no file of spectra; name another folder, or add --follow")
        return list(dict.fromkeys(found))

    def _look_at(self, file: Path) -> None:
        """Open a file before anything is written, so that one that cannot be used is said at once."""
        with open_spectra(file, self._cut.series) as spectra:
            require_fit(spectra, self._cut.tiling)
            self._total = (self._total or 0) + count_tiles(spectra.header, self._cut.tiling)
            self._know_rate(spectra.header)

    def _know_rate(self, header: Header) -> None:
        per_row = count_tiles(replace(header, n_time=self._cut.tiling.n_rows), self._cut.tiling)
        step_s = (self._cut.tiling.step_time or 1) * self._cut.tiling.rows_per_pixel * header.dt_s
        if step_s > 0:
            self._recording_rate = per_row / step_s

    def _begun(self) -> ScanBegun:
        wanted, model, measured = self._wanted, self._model, self._threshold.measured
        is_series = wanted.files == (STANDARD_INPUT,) or any(
            file.suffix.lower() in SERIES_SUFFIXES for file in wanted.files
        )
        return ScanBegun(
            format=FORMAT,
            model=str(wanted.model),
            model_digest=model.digest or model.weights_digest,
            class_names=model.class_names,
            background=wanted.background,
            threshold=self._threshold.score,
            tiling=self._cut.tiling.to_mapping(),
            batch=wanted.batch,
            false_alarm=None if measured is None else measured.rate,
            series=asdict(self._cut.series) if is_series else None,
        )

    def _blocks(self, journal: Journal, files: list[Path], pipe: BinaryIO | None) -> Iterator[Block]:
        if pipe is not None:
            self._stream = Stream(pipe, self._cut, self._reading)
            self._know_rate(self._stream.header)
            return self._stream.blocks()

        def on_file(header: Header) -> None:
            journal.require_same(header)
            self._headers[absolute(header.path)] = header

        source = Files(self._cut, self._reading, journal.done, on_file)
        if self._wanted.follows:
            return source.followed(self._wanted.files, self._note_bad, idle_s=self._wanted.idle_s)
        return source.blocks(files)

    def _note_bad(self, why: str) -> None:
        self._bad.append(why)
        print(f"note: left out: {printable(why)}", file=sys.stderr)

    def _engine(self, journal: Journal, earlier: int) -> Engine:
        return Engine(
            predict=partial(_predict, self._model, self._wanted.batch),
            record=partial(self._record, journal),
            show=partial(self._show, journal, earlier),
            check=self._signals.check,
            drops=self._wanted.drops,
            side_by_side=self._wanted.side_by_side,
            reading=self._reading,
        )

    def _record(self, journal: Journal, block: Block, y_prob: npt.NDArray[np.float32]) -> None:
        """Write the pictures of a block, then its line."""
        number = 0 if block.file == STREAM else journal.file(self._headers[block.file])
        found: list[Candidate] = []
        for at, candidate in self._finder.find(block, y_prob):
            if journal.n_pictures + len(found) < self._wanted.pictures:
                name = f"{PICTURES}/{number:04d}-{candidate.tile:07d}.png"
                write_picture(self._wanted.out / name, block.images[at])
                candidate = replace(candidate, picture=name)
            found.append(candidate)
        skipped = tuple(SkippedTile(tile, why) for tile, why in block.skipped)
        n_blank = sum(place.n_blank for place in block.places)
        journal.block(ScannedBlock(block.file, block.first, block.tiles, skipped, n_blank, tuple(found)))

    def _show(self, journal: Journal, earlier: int, rates: Rates) -> None:
        of = "" if self._total is None else f"/{self._total}"
        print(
            f"{journal.tiles}{of} tiles, {rates.tiles_per_s:.1f} tiles/s, latency p50 {rates.latency_p50_s:.3f} s, "
            f"p99 {rates.latency_p99_s:.3f} s, {journal.n_candidates} candidates, {journal.skipped} skipped"
            f"{f', {rates.dropped_tiles} dropped' if rates.dropped_tiles else ''}; {_limit(rates)}",
            file=sys.stderr,
        )
        has_no_end = self._wanted.follows or self._stream is not None
        if has_no_end and journal.n_candidates > self._paged and (begun := time.monotonic()) >= self._page_due:
            self._finish(journal, rates, is_first=True)
            took = time.monotonic() - begun  # longer and longer: all of the journal is read
            self._page_due, self._paged = (
                time.monotonic() + max(self._wanted.page_every_s, 50 * took),
                journal.n_candidates,
            )

    def _finish(self, journal: Journal, rates: Rates, *, is_first: bool) -> None:
        if rates.tiles or is_first:
            write_atomically(self._wanted.out / SUMMARY, to_json(self._summary(journal, rates)) + "\n")
        page = CandidatesPage(f"Candidates of a scan: {self._wanted.out.name}", tuple(self._sentences(journal)))
        write_candidates_page(self._wanted.out / PAGE, page, _candidates(self._wanted.out))

    def _summary(self, journal: Journal, rates: Rates) -> dict[str, Any]:
        measured = self._threshold.measured
        return {
            "begun_with": asdict(self._begun()),
            "expected_false_alarm": None if measured is None else asdict(measured.expected),
            "files": [{"file": file.file, "tiles": journal.done.get(file.file, 0)} for file in journal.files.values()],
            "files_left_out": self._bad,
            "tiles": journal.tiles,
            "skipped_tiles": journal.skipped,
            "skipped": _skipped(self._wanted.out),
            "blank_values": journal.n_blank,
            "candidates": journal.n_candidates,
            "pictures": journal.n_pictures,
            "this_session": asdict(rates) | {"tiles_per_s": rates.tiles_per_s, "limit": rates.limit},
            "rate": self._keeps_up(rates),
            "standard_input": None if self._stream is None else self._dropped(rates),
        }

    def _dropped(self, rates: Rates) -> dict[str, int]:
        """Return what of standard input was not classified."""
        stream = self._stream
        if stream is None:
            return {}
        return {
            "samples": stream.arrived_samples,
            "dropped_tiles": rates.dropped_tiles,
            "samples_left_at_the_end": stream.left_samples,
        }

    def _keeps_up(self, rates: Rates) -> dict[str, Any] | None:
        wanted = self._wanted.rate or self._recording_rate
        if wanted is None or not rates.tiles:
            return None
        behind = max(0.0, rates.seconds - rates.tiles / wanted)
        return {
            "tiles_per_s": wanted,
            "is_of": "--rate" if self._wanted.rate else "the recording",
            "keeps_up": rates.tiles_per_s >= wanted and not rates.dropped_tiles,
            "share": rates.tiles_per_s / wanted,
            "behind_s": behind,
        }

    def _sentences(self, journal: Journal) -> Iterator[str]:
        measured = self._threshold.measured
        yield (
            f"{journal.tiles} tiles of {len(journal.files) or 1} file{'s' if len(journal.files) > 1 else ''}, "
            f"{journal.skipped} of them skipped. A candidate scores above {self._threshold.score:.6g}, the score being "
            f"1 - p({self._wanted.background})."
        )
        if measured is not None:
            low, high, share = measured.expected.low, measured.expected.high, measured.expected.value
            yield (
                f"Of tiles with nothing but {self._wanted.background}, {share:.2%} are expected to do so "
                f"({low:.2%}..{high:.2%}, from {measured.n_noise} validation images), if they are like those of the "
                f"training: some {share * journal.tiles:.0f} candidates by chance."
            )
        yield "Time goes down, channels to the right as they are stored in the file. The class is the likeliest signal."

    def _say_end(self, journal: Journal, rates: Rates, received: str | None) -> None:
        out = self._wanted.out
        print(
            f"{journal.tiles} tiles, {journal.n_candidates} candidates, {journal.skipped} skipped; {rates.tiles} tiles "
            f"in {rates.seconds:.1f} s, {rates.tiles_per_s:.1f} tiles/s, latency p50 {rates.latency_p50_s:.3f} s, p99 "
            f"{rates.latency_p99_s:.3f} s; {_limit(rates)}"
        )
        for why in _skipped(out)[:5]:
            print(f"skipped: {why}")
        if (rate := self._keeps_up(rates)) is not None:
            print(_rate_words(rate, rates))
        if self._stream is not None:
            dropped = self._dropped(rates)
            print(
                f"standard input: {dropped['samples']} samples, {dropped['dropped_tiles']} tiles dropped, "
                f"{dropped['samples_left_at_the_end']} samples at the end fill no tile"
            )
        print(f"candidates in {out / 'candidates.csv'}, to look through in {out / PAGE}")
        if received is not None and self._stream is None:
            print(f"interrupted by {received}; the same command goes on", file=sys.stderr)


def _predict(model: ExportedModel, batch: int, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    return model.predict(images, batch=batch)


def _candidates(folder: Path) -> Iterator[Candidate]:
    for record in read_journal(folder):
        if isinstance(record, ScannedBlock):
            yield from record.candidates


def _skipped(folder: Path, most: int = 100) -> list[str]:
    """Name the first blocks of skipped tiles that follow one another for one reason."""
    said: list[str] = []
    for record in read_journal(folder):
        if isinstance(record, ScannedBlock) and record.skipped:
            whys = dict.fromkeys(tile.why for tile in record.skipped)
            for why in whys:
                tiles = [tile.tile for tile in record.skipped if tile.why == why]
                said.append(f"{record.file}, {len(tiles)} of tiles {tiles[0]}..{tiles[-1]}: {why}")
            if len(said) >= most:
                return said[:most]
    return said


def _limit(rates: Rates) -> str:
    return (
        f"{_LIMITS[rates.limit]} (the reader waited {rates.reader_waited_s:.1f} s for the network, the network "
        f"{rates.network_waited_s:.1f} s for the reader)"
    )


def _rate_words(rate: dict[str, Any], rates: Rates) -> str:
    of = f"{rate['tiles_per_s']:.6g} tiles/s of {rate['is_of']}"
    if rate["keeps_up"]:
        return f"keeps up with {of}: {rate['share']:.3g} times as fast"
    if rates.dropped_tiles:
        done = f"{rates.dropped_tiles} tiles dropped, {rate['share']:.3g} times {of} done"
        return f"does not keep up with what arrives: {done}"
    return f"lags behind {of}: {rate['share']:.3g} of it, {rate['behind_s']:.1f} s behind at the end"
