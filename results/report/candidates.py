"""The page to look through the candidates of a scan, and the pictures on it."""

from __future__ import annotations

import heapq
import io
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from results.files import write_atomically
from results.report.html import hashes, words_html
from results.scan import Candidate, cells

_POLICY = "default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; form-action 'none'; base-uri 'none'"
MOST_SHOWN = 500


@dataclass(frozen=True)
class CandidatesPage:
    """What the page says above the candidates, in sentences, and how a picture lies."""

    title: str
    sentences: tuple[str, ...]


def write_candidates_page(path: Path, page: CandidatesPage, candidates: Iterable[Candidate]) -> None:
    """Write a page with the candidates that score best, in the order of their scores; pictures lie beside it.

    Raises:
        RecordError: It cannot be written.
    """
    from jinja2 import Environment, PackageLoader

    counted = _Counted(candidates)
    shown = heapq.nlargest(MOST_SHOWN, counted, key=lambda candidate: candidate.score)
    folder = files("results.report") / "templates"
    script = (folder / "candidates.js").read_text("utf-8")
    environment = Environment(
        loader=PackageLoader("results.report"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["words"] = words_html
    text = environment.get_template("candidates.html").render(
        page=page,
        n_all=counted.n,
        shown=[_shown(candidate) for candidate in shown],
        class_names=sorted({candidate.class_name for candidate in shown}),
        policy=f"{_POLICY}; script-src {hashes(script)}",
        style=(folder / "report.css").read_text("utf-8") + (folder / "candidates.css").read_text("utf-8"),
        script=script,
    )
    write_atomically(path, text)


def write_picture(path: Path, image: npt.NDArray[np.uint8]) -> None:
    """Write the pixels of a tile, uint8 (n_time, n_freq, 1 or 3), as a PNG file, as the network was shown them.

    Raises:
        RecordError: It cannot be written.
    """
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(image if image.shape[-1] == 3 else image[..., 0]).save(file, format="PNG")
    write_atomically(path, file.getvalue())


class _Counted:
    """Candidates, counted while they are read."""

    def __init__(self, candidates: Iterable[Candidate]) -> None:
        self._candidates, self.n = candidates, 0

    def __iter__(self) -> Any:
        for candidate in self._candidates:
            self.n += 1
            yield candidate


def _shown(candidate: Candidate) -> dict[str, Any]:
    return cells(candidate) | {
        "class_name": candidate.class_name,
        "name": Path(candidate.file).name,
        "sort_score": candidate.score,
        "sort_time": candidate.mjd if candidate.mjd is not None else candidate.time_s,
        "sort_frequency": candidate.frequency_mhz,
        "sort_drift": candidate.drift_hz_per_s,
    }
