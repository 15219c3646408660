"""What images are of is said where they are spoken of: card, page and contact sheet."""

import base64
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from whole_run import write_whole_run

from results.findings import Findings
from results.log.records import ImagesRecord
from results.report.content import report
from results.report.html import to_html
from results.report.kinds import axis_names, directions, layout
from results.report.markdown import to_markdown
from results.report.model_card import model_card
from results.report.sheets import contact_sheet

GALAXIES = ImagesRecord("radio galaxies", ("row", "column"))


def documents(run: Path) -> tuple[str, str]:
    """The card and the page."""
    found = Findings.read(run)
    return to_markdown(model_card(found)), to_html(report(found), is_running=False)


def test_a_run_of_galaxies_is_told_in_words_of_galaxies(hand: Any, tmp_path: Path) -> None:
    write_whole_run(tmp_path, hand, images=GALAXIES, channels=3)
    card, page = documents(tmp_path)
    assert "Classifies radio galaxies into 4 classes: " in card
    assert "as images (n, row, column, channels)" in card
    assert page.count("Rows go down, columns to the right.") == 3  # errors on validation, on test, and right ones
    body = page[page.index("<main>") : page.index('id="figures"')]
    for words in (card, body):
        assert not re.search(r"spectrogram|[Tt]ime goes|n_freq|frequency", words)
    first = re.search(r'<img src="data:image/png;base64,([^"]+)"', body)
    assert first is not None
    assert Image.open(io.BytesIO(base64.b64decode(first[1]))).mode == "RGB"


def test_a_log_that_does_not_say_what_its_images_are_of_is_one_of_spectrograms(hand: Any, tmp_path: Path) -> None:
    write_whole_run(tmp_path, hand)
    card, page = documents(tmp_path)
    assert "Classifies radio spectrograms into 4 classes: " in card
    assert "as images (n, n_time, n_freq, channels)" in card
    assert "Time goes down, frequency to the right." in page


@pytest.mark.parametrize(
    ("axes", "sentence", "shape", "names"),
    [
        (
            ("time", "frequency"),
            "Time goes down, frequency to the right.",
            "(n, n_time, n_freq, channels)",
            ("time (row, downwards)", "frequency (channel)"),
        ),
        (
            ("row", "column"),
            "Rows go down, columns to the right.",
            "(n, row, column, channels)",
            ("row (downwards)", "column"),
        ),
        (
            ("pulse phase", "dispersion"),
            "Pulse phase goes down, dispersion to the right.",
            "(n, pulse phase, dispersion, channels)",
            ("pulse phase (row, downwards)", "dispersion (column)"),
        ),
    ],
)
def test_every_pair_of_axes_has_its_words(
    axes: tuple[str, str], sentence: str, shape: str, names: tuple[str, str]
) -> None:
    images = ImagesRecord("anything", axes)
    assert (directions(images), layout(images), axis_names(images)) == (sentence, shape, names)


def test_a_contact_sheet_of_galaxies_has_rows_and_columns(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (6, 8, 8, 3), dtype=np.uint8)
    contact_sheet(images, np.arange(6) % 2, ("FRI", "FRII"), tmp_path / "sheet.svg", kind=GALAXIES)
    found = (tmp_path / "sheet.svg").read_text(encoding="utf-8")
    for words in ("6 radio galaxies of 8 x 8 pixels", "row (downwards)", ">column<"):
        assert words in found
    assert "frequency" not in found


def test_a_contact_sheet_shows_colours_as_colours(tmp_path: Path) -> None:
    images = np.zeros((2, 8, 8, 3), np.uint8)
    images[0, ..., 0], images[1, ..., 2] = 255, 255
    contact_sheet(images, np.array([0, 1]), ("red", "blue"), tmp_path / "sheet.png")
    pixels = np.asarray(Image.open(tmp_path / "sheet.png").convert("RGB")).reshape(-1, 3)
    for colour in ((255, 0, 0), (0, 0, 255)):
        assert (pixels == colour).all(axis=1).sum() > 1000
