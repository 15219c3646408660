"""What a survey sends and what lies in a folder of cut-outs: damaged files are refused, blank sky is found."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
import sky_servers as sky
from sky_servers import fits_image

from seti_model.errors import DatasetError
from tune.errors import FetchError
from tune.sky.catalogue import read_catalogue
from tune.sky.pixels import share_without_sky
from tune.sky.provenance import read_answers

PIXELS = 20


def damaged(content: bytes, rng: np.random.Generator) -> bytes:
    """Return bytes with some of them changed, cut, doubled or replaced by a line of a FITS header."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 4)):
        at, kind = int(rng.integers(0, max(1, len(data)))), rng.integers(0, 5)
        if kind == 0:
            data[at : at + 1] = bytes(rng.integers(0, 256, 1, dtype=np.uint8))
        elif kind == 1:
            del data[at:]
        elif kind == 2:
            data[at:at] = data[at : at + 80]
        elif kind == 3:
            del data[at : at + int(rng.integers(1, 2880))]
        else:
            card = rng.choice(
                ["NAXIS1  = 9999999999", "BITPIX  = 7", "NAXIS   = 999", "BSCALE  = 'x'", "END", "\xff" * 9]
            )
            at = at // 80 * 80 % 480
            data[at : at + 80] = card.encode("latin-1").ljust(80)
    return bytes(data)


def test_damaged_images_are_refused_or_read_and_nothing_else() -> None:
    rng = np.random.default_rng(1)
    refused = []
    for _ in range(200):
        try:
            assert 0 <= share_without_sky(damaged(fits_image(sky.WHOLE, PIXELS), rng), PIXELS) <= 1
        except FetchError as error:
            refused.append(str(error))
    assert len(refused) > 50
    assert all("; " in message for message in refused), "with what to do"


def test_damaged_catalogues_and_journals_are_refused_or_read_and_nothing_else(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    journal = {
        "name": "a", "ra_deg": 1.0, "dec_deg": 2.0, "class_name": "c", "survey": "first", "side_arcmin": 1.0,
        "pixels": 9, "outcome": "missing", "asked_at": "2026-01-01T00:00:00+00:00", "service": "s",
    }  # fmt: skip
    texts = {
        "objects.csv": b"name,ra,dec,class\na,1,2,x\n'b,c',3,-4,y\n",
        "provenance.jsonl": json.dumps(journal).encode(),
    }
    refused = []
    for _ in range(200):
        for name, text in texts.items():
            (tmp_path / name).write_bytes(damaged(text, rng) + b"\n")
        for read in (lambda: read_catalogue(tmp_path / "objects.csv"), lambda: read_answers(tmp_path)):
            try:
                read()
            except (DatasetError, FetchError) as error:
                refused.append(str(error))
    assert len(refused) > 50
    assert all("; " in message for message in refused), "with what to do"


# pixels


@pytest.mark.parametrize(("kind", "share"), [(sky.WHOLE, 0.0), (sky.EDGE, 0.25), (sky.NAN_EDGE, 0.5), (sky.BLANK, 1.0)])
def test_the_share_without_sky_is_what_was_left_out(kind: int, share: float) -> None:
    assert share_without_sky(fits_image(kind, 40), 40) == pytest.approx(share)
    assert share_without_sky(fits_image(kind, 40, axes=4), 40) == pytest.approx(share)


def test_an_image_cut_at_the_edge_of_a_tile_lacks_what_was_asked_for() -> None:
    assert share_without_sky(fits_image(sky.WHOLE, 30), 40) == pytest.approx(1 - 900 / 1600)


def test_images_without_end_and_without_pixels_are_refused() -> None:
    from astropy.io import fits

    header = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 2), ("NAXIS1", 4097), ("NAXIS2", 4097)])
    with pytest.raises(FetchError, match="4097 x 4097 values, at most 16777216 values are read; make it smaller"):
        share_without_sky(header.tostring().encode().ljust(2880 * 5830, b"\0"), 10)
    with pytest.raises(FetchError, match="no image of two axes, or of three colours; give a file that has one"):
        share_without_sky(fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)]).tostring().encode(), 10)


def test_an_image_of_three_colours_is_not_what_was_asked_for() -> None:
    from astropy.io import fits

    made = io.BytesIO()
    fits.PrimaryHDU(np.zeros((3, 10, 10), np.uint8)).writeto(made)
    with pytest.raises(FetchError, match="an image of three colours, one is expected; look at its address"):
        share_without_sky(made.getvalue(), 10)


def test_a_file_that_was_cut_behind_its_last_pixel_is_not_kept() -> None:
    whole = fits_image(sky.WHOLE, PIXELS)
    with pytest.raises(FetchError, match=r"cannot be read as FITS .*truncated"):
        share_without_sky(whole[:-100], PIXELS)
