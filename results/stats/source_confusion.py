"""How likely a cut-out holds more than its target: sources that lie where they like, as densely as a survey found them.

Poisson: a square of side `s` holds `density * s**2` other sources on average, and none with the probability exp(-mean).
Real sources cluster, and the catalogues count a galaxy of several parts several times: the true chance is larger.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from results.errors import TableError

ARCMIN2_PER_DEG2 = 3600
LARGEST_ARCMIN = 600.0  # ten degrees; the sky is flat up to there for this purpose


@dataclass(frozen=True)
class Survey:
    """A survey as densely as its catalogue says, or as a forecast says where there is none yet.

    Attributes:
        title: As it is written in a table.
        sources: Number of catalogued sources, or of components where these are what is catalogued.
        area_deg2: Of sky in which they were found.
        depth: How faint they are, in the survey's own terms.
        citation: Where both numbers stand.
    """

    title: str
    sources: float
    area_deg2: float
    depth: str
    citation: str

    @property
    def per_deg2(self) -> float:
        """Sources in a square degree."""
        return self.sources / self.area_deg2

    @property
    def per_arcmin2(self) -> float:
        """Sources in a square arcminute."""
        return self.per_deg2 / ARCMIN2_PER_DEG2


SURVEYS: Mapping[str, Survey] = {
    "first": Survey(
        "FIRST",
        946_432,
        10_575,
        "1.4 GHz, 1 mJy",
        "Helfand, White & Becker 2015, doi:10.1088/0004-637X/801/1/26",
    ),
    "vlass": Survey(
        "VLASS",
        1.9e6,
        33_885,
        "3 GHz, quick-look components of epoch 1, reliable ones, some 1 mJy/beam",
        "Gordon et al. 2021, doi:10.3847/1538-4365/ac05c0; area: Lacy et al. 2020, doi:10.1088/1538-3873/ab63eb",
    ),
    "tgss": Survey(
        "TGSS ADR1",
        0.62e6,
        36_900,
        "150 MHz, 7 sigma, noise mostly below 5 mJy/beam",
        "Intema et al. 2017, doi:10.1051/0004-6361/201628536",
    ),
    "ska1-mid": Survey(
        "SKA1-MID (forecast)",
        10_000,
        1,
        "950-1150 MHz, galaxies that a survey for weak lensing is expected to use; all sources are more",
        "Rivi & Miller 2018, MNRAS 476, 2053, arXiv:1709.01827",
    ),
}


def others_expected(survey: Survey, side_arcmin: float) -> float:
    """Return how many other sources a square cut-out holds on average.

    Raises:
        TableError: A side that no cut-out has.
    """
    if not 0 < side_arcmin <= LARGEST_ARCMIN:
        raise TableError(
            f"--size {side_arcmin:g}: a side above 0 and at most {LARGEST_ARCMIN:g} arcminutes is expected; choose one"
        )
    return survey.per_arcmin2 * side_arcmin**2


def chance_of_another(survey: Survey, side_arcmin: float) -> float:
    """Return the probability that a cut-out around a source holds at least one more.

    The target is given and counts once; all others are as many as anywhere: 1 - exp(-mean).

    Raises:
        TableError: As `others_expected`.
    """
    return -math.expm1(-others_expected(survey, side_arcmin))


def chance_of_several(survey: Survey, side_arcmin: float) -> float:
    """Return the probability that a cut-out laid anywhere, around nothing, holds two sources or more.

    1 - exp(-mean) (1 + mean).

    Raises:
        TableError: As `others_expected`.
    """
    mean = others_expected(survey, side_arcmin)
    return max(0.0, -math.expm1(-mean) - mean * math.exp(-mean))


def side_of_chance(survey: Survey, chance: float) -> float:
    """Return the side in arcminutes at which a cut-out around a source holds another one with this probability.

    Raises:
        TableError: No probability between 0 and 1.
    """
    if not 0 < chance < 1:
        raise TableError(f"chance={chance:g}: a probability between 0 and 1 is expected; choose for example 0.1")
    return math.sqrt(-math.log1p(-chance) / survey.per_arcmin2)
