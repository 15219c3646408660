"""The surveys' image servers, asked through astroquery: FIRST, NVSS and TGSS of SkyView, VLASS of the CADC.

Requests are made one at a time, with a pause before each, a limit of time and a name to be asked back under. Where
a server is asked is astroquery's configuration: `[skyview] url` and `[cadc] CADC_REGISTRY_URL` of astroquery.cfg.
"""

from __future__ import annotations

import contextlib
import re
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Protocol, TypeVar
from urllib.parse import unquote

from tune.errors import FetchError

T = TypeVar("T")
MOST_BYTES = 2**26  # of an image
TIMEOUT_S = 60.0  # without a byte
DEADLINE_S = 300.0  # for all of one question
_CHUNK = 2**16
_BUSY = (408, 425, 429)  # of the answers 4xx those that another try may change
_GONE = (404, 410)
_LONGEST_WAIT_S = 300.0
_QUICK_LOOK = re.compile(r"VLASS(\d+\.\d+)\S*\.ql\.\S*\.image\.pbcor\.tt0\.(?!rms)")


@dataclass(frozen=True)
class Source:
    """Where a survey's images come from: its name there, and the side of its pixels."""

    server: str  # "skyview" or "cadc"
    name: str
    pixel_arcsec: float


# Names: of SkyView's own list, of the CADC's collections. Surveys: Becker, White & Helfand 1995, doi:10.1086/176166;
# Condon et al. 1998, doi:10.1086/300337; Intema et al. 2017, doi:10.1051/0004-6361/201628536; Lacy et al. 2020,
# doi:10.1088/1538-3873/ab63eb. Pixels: FIRST of its paper, NVSS of the help of NRAO's image server, VLASS of the
# quick-look cell in NRAO's pipeline; TGSS as other programs ask SkyView for it, not found in a publication.
SOURCES: Mapping[str, Source] = {
    "first": Source("skyview", "VLA FIRST (1.4 GHz)", 1.8),
    "nvss": Source("skyview", "NVSS", 15.0),
    "tgss": Source("skyview", "TGSS ADR1", 6.2),
    "vlass": Source("cadc", "VLASS", 1.0),
}


@dataclass(frozen=True)
class Cutout:
    """What is asked for: a square on the sky, and its pixels along a side."""

    ra_deg: float
    dec_deg: float
    side_arcmin: float
    pixels: int


class NoImageError(Exception):
    """The service answers and has no image there; the message says how it said so."""


class NoAnswerError(Exception):
    """The service did not answer as it should; the message says how. `wait_s` is what it asks for, 0 for nothing."""

    def __init__(self, message: str, *, may_pass: bool = True, wait_s: float = 0.0) -> None:
        super().__init__(message)
        self.may_pass = may_pass  # whether another try may go better
        self.wait_s = wait_s


class Service(Protocol):
    """One server with one survey; `address` is where it is asked."""

    address: str

    def locate(self, cutout: Cutout) -> str:
        """Return the address of an image; `NoImageError`, `NoAnswerError`."""
        ...

    def download(self, address: str) -> bytes:
        """Return an image; `NoImageError`, `NoAnswerError`."""
        ...


def open_service(survey: str, *, pause_s: float) -> Service:
    """Return the service of a survey; nothing is asked yet.

    Raises:
        FetchError: astroquery is not installed.
    """
    source = SOURCES[survey]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return (_SkyView if source.server == "skyview" else _Cadc)(source, pause_s)
    except ImportError as error:
        raise FetchError(
            f"data fetch: {error.name or 'astroquery'} is not installed; run: pip install 'seti-tune[fetch]'"
        ) from error


class _Asked:
    """What both servers share: a session that is patient and polite, and errors of all kinds in our words."""

    address: str
    _session: Any

    def download(self, address: str) -> bytes:
        return _within(DEADLINE_S, lambda: self._read(address))

    def _read(self, address: str) -> bytes:
        with self._session.get(address, stream=True) as response:
            response.raise_for_status()
            parts, size = [], 0
            for part in response.iter_content(_CHUNK):
                size += len(part)
                if size > MOST_BYTES:
                    raise NoAnswerError(f"more than {MOST_BYTES / 1e6:.0f} MB came for one image", may_pass=False)
                parts.append(part)
        if not size:
            raise NoImageError("the answer is empty")
        return b"".join(parts)


class _SkyView(_Asked):
    def __init__(self, source: Source, pause_s: float) -> None:
        from astroquery.skyview import SkyViewClass, conf

        class _Exact(SkyViewClass):  # type: ignore[misc]
            """Asks for the whole position: astroquery writes six digits of it, up to 1.8 arcsec off."""

            position = ""

            def _submit_form(self, input: Mapping[str, Any] | None = None, **options: Any) -> Any:
                return super()._submit_form({**(input or {}), "Position": self.position}, **options)

        self._skyview, self._survey = _Exact(), source.name
        self._skyview.URL = self.address = conf.url
        self._session = _polite(self._skyview._session, pause_s)

    def locate(self, cutout: Cutout) -> str:
        return _within(DEADLINE_S, lambda: self._locate(cutout))

    def _locate(self, cutout: Cutout) -> str:
        from astropy import units
        from astropy.coordinates import SkyCoord

        if not any(self._survey in listed for listed in self._skyview.survey_dict.values()):
            raise FetchError(
                f"{self.address}: does not list the survey {self._survey!r} any more; look for a later seti-tune"
            )
        self._skyview.position = f"{cutout.ra_deg:.7f} {cutout.dec_deg:.7f}"
        side = cutout.side_arcmin * units.arcmin
        found = self._skyview.get_image_list(
            SkyCoord(cutout.ra_deg, cutout.dec_deg, unit="deg", frame="fk5"),
            self._survey,
            coordinates="J2000",
            pixels=str(cutout.pixels),
            width=side,
            height=side,
            cache=False,
        )
        if not found:
            raise NoImageError("SkyView's page has no image")
        return str(found[0])


class _Cadc(_Asked):
    def __init__(self, source: Source, pause_s: float) -> None:
        from astroquery.cadc import CadcClass, conf

        self._cadc, self._collection = CadcClass(), source.name
        self.address = conf.CADC_REGISTRY_URL
        self._session = self._cadc._auth_session = _polite(self._cadc._session, pause_s)

    def locate(self, cutout: Cutout) -> str:
        return _within(DEADLINE_S, lambda: self._locate(cutout))

    def download(self, address: str) -> bytes:
        try:
            return super().download(address)
        except NoAnswerError as error:
            if _status(error.__cause__) in _GONE:
                raise NoImageError(str(error)) from error
            raise

    def _locate(self, cutout: Cutout) -> str:
        from astropy import units
        from astropy.coordinates import SkyCoord

        centre = SkyCoord(cutout.ra_deg, cutout.dec_deg, unit="deg", frame="icrs")
        radius = cutout.side_arcmin / 2 * units.arcmin
        rows = self._cadc.query_region(centre, radius=radius, collection=self._collection)
        addresses = self._cadc.get_image_list(rows, centre, radius) if len(rows) else []
        epochs = {address: _QUICK_LOOK.search(unquote(address)) for address in addresses}
        images = [(found[1], address) for address, found in epochs.items() if found]
        if not images:
            raise NoImageError(f"no quick-look image among {len(addresses)} of the CADC")
        return str(max(images)[1])  # of the latest epoch


def _polite(session: Any, pause_s: float) -> Any:
    """Give a session a pause before each request, a limit of time, and our name before those of its libraries."""
    session.headers["User-Agent"] = f"seti-tune/{version('seti-tune')} {session.headers['User-Agent']}"
    send, last = session.send, [float("-inf")]

    def patiently(request: Any, **options: Any) -> Any:
        time.sleep(max(0.0, last[0] + pause_s - time.monotonic()))
        try:
            return send(request, **{**options, "timeout": options.get("timeout") or TIMEOUT_S})
        finally:
            last[0] = time.monotonic()

    session.send = patiently
    return session


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Return what `ask` does, or give up: libraries ask some of their questions without any limit of time.

    Raises:
        NoImageError: As `ask`.
        NoAnswerError: All else that happened.
        FetchError: As `ask`.
    """
    found: list[T] = []
    failed: list[Exception] = []

    def work() -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(ask())
        except Exception as error:  # a page that a library does not know ends in anything
            failed.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if found:
        return found[0]
    if not failed:
        raise NoAnswerError(f"no answer within {seconds:g} s")
    error = failed[0]
    if isinstance(error, NoImageError | NoAnswerError | FetchError):
        raise error
    status = _status(error)
    may_pass = status is None or not 400 <= status < 500 or status in _BUSY
    said = " ".join(str(error).split()) or type(error).__name__
    raise NoAnswerError(said, may_pass=may_pass, wait_s=_asked_wait(error)) from error


def _status(error: BaseException | None) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _asked_wait(error: Exception) -> float:
    """Return the seconds of the header Retry-After, at most five minutes; 0 where there is none."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    with contextlib.suppress(TypeError, ValueError):
        return min(max(0.0, float(headers.get("Retry-After", 0))), _LONGEST_WAIT_S)
    return 0.0
