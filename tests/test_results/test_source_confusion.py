"""The chance of more than one source in a cut-out has its closed form, and that of a simulated sky."""

import math
import re

import numpy as np
import pytest
from PIL import Image

from results.errors import FigureError, TableError
from results.report.source_confusion import confusion_figure
from results.stats.source_confusion import (
    SURVEYS,
    Survey,
    chance_of_another,
    chance_of_several,
    others_expected,
    side_of_chance,
)

ONE_PER_ARCMIN2 = Survey("made", 3600, 1, "", "")


def test_chances_have_their_closed_forms():
    assert others_expected(ONE_PER_ARCMIN2, 2) == pytest.approx(4)
    assert chance_of_another(ONE_PER_ARCMIN2, 1) == pytest.approx(1 - 1 / math.e)
    assert chance_of_several(ONE_PER_ARCMIN2, 1) == pytest.approx(1 - 2 / math.e)
    tiny = 1e-4  # where a difference of exponentials would have lost all its digits
    assert chance_of_another(ONE_PER_ARCMIN2, tiny) == pytest.approx(tiny**2, rel=1e-7)
    assert side_of_chance(ONE_PER_ARCMIN2, 1 - 1 / math.e) == pytest.approx(1)


def test_densities_are_those_of_the_catalogues():
    per_deg2 = {name: survey.per_deg2 for name, survey in SURVEYS.items()}
    assert per_deg2 == pytest.approx({"first": 89.5, "vlass": 56.1, "tgss": 16.8, "ska1-mid": 10_000}, rel=0.01)
    assert all("20" in survey.citation and survey.depth for survey in SURVEYS.values())


def test_first_cut_outs_of_150_pixels_are_what_a_hand_calculator_says():
    # 89.4971 / 3600 per arcmin2 times 4.5 squared is 0.50342; exp of minus that is 0.60446.
    assert chance_of_another(SURVEYS["first"], 4.5) == pytest.approx(0.39554, abs=2e-5)


def test_a_sky_of_sources_at_random_places_has_these_chances():
    rng, side = np.random.default_rng(1), 3.0
    survey = Survey("made", 3600 * 0.1, 1, "", "")  # 0.9 others in a cut-out
    n = rng.poisson(others_expected(survey, 60.0), 40)
    counts = []
    for some in n:  # skies of 60' x 60', each cut into squares of 3'
        cells = np.floor(rng.uniform(0, 60, (some, 2)) / side).astype(int)
        counts.append(np.bincount(cells[:, 0] * 20 + cells[:, 1], minlength=400))
    of = np.concatenate(counts)
    deviation = 0.5 / math.sqrt(of.size)  # of a share of 16 000 squares, at most
    assert np.mean(of >= 1) == pytest.approx(chance_of_another(survey, side), abs=4 * deviation)
    assert np.mean(of >= 2) == pytest.approx(chance_of_several(survey, side), abs=4 * deviation)


@pytest.mark.parametrize("side", [0.0, -1.0, 601.0, math.nan, math.inf])
def test_a_side_that_no_cut_out_has_is_refused(side):
    with pytest.raises(TableError, match=r"--size .*: a side above 0 and at most 600 arcminutes is expected; choose"):
        chance_of_another(ONE_PER_ARCMIN2, side)


def test_a_chance_outside_its_range_is_refused():
    with pytest.raises(TableError, match="chance=1: a probability between 0 and 1 is expected; choose for example"):
        side_of_chance(ONE_PER_ARCMIN2, 1)


def test_the_picture_names_every_survey(tmp_path):
    confusion_figure(SURVEYS, 4.5, tmp_path / "c.svg")
    drawn = (tmp_path / "c.svg").read_text()
    assert all(survey.title in drawn for survey in SURVEYS.values())
    words = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert {"0.1", "0.3", "1", "3", "10", "30", "100", "4.5'"} <= set(words), "sides are numbers"
    assert "SKA1-MID (forecast): 10,000 per square degree" in words
    confusion_figure(SURVEYS, 4.5, tmp_path / "c.png")
    with Image.open(tmp_path / "c.png") as picture:
        assert min(picture.size) > 400
    with pytest.raises(FigureError, match=r"ends in \.png or \.svg, found '\.pdf'; rename it"):
        confusion_figure(SURVEYS, 4.5, tmp_path / "c.pdf")
