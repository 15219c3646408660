"""Image servers on loopback that answer as SkyView and the CADC do; an object's position says what goes wrong."""

from __future__ import annotations

import contextlib
import io
import re
import threading
import time
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

# By the whole degrees of right ascension.
WHOLE, BLANK, EDGE, MISSING, BUSY, PAGE, CUT, BROKEN, SLOW, NAN_EDGE = range(10, 110, 10)


def fits_image(kind: int, pixels: int, *, axes: int = 2, number: int = 0) -> bytes:
    """Return a FITS file of noise, another one for each number, with what the kind of object has wrong."""
    from astropy.io import fits

    image = np.random.default_rng((kind, number)).normal(0, 1e-3, (pixels, pixels)).astype(">f4")
    if kind == BLANK:
        image[:] = 0
    if kind == EDGE:
        image[:, : pixels // 4] = 0
    if kind == NAN_EDGE:
        image[: pixels // 2] = np.nan
    out = io.BytesIO()
    fits.PrimaryHDU(image.reshape((1,) * (axes - 2) + image.shape)).writeto(out)
    content = out.getvalue()
    return content[: len(content) // 2] if kind == CUT else content


class SkyServer:
    """Both services at one address; `asked` are the paths with their query, in order, and `agents` who asked."""

    def __init__(self) -> None:
        import astroquery.skyview

        pages = Path(astroquery.skyview.__file__).parent / "tests" / "data"  # as astroquery's authors recorded them
        form = (pages / "query_page.html").read_text(encoding="utf-8")
        self.form = form.replace("<option>NVSS</option>", "<option>NVSS</option><option>TGSS ADR1</option>", 1)
        self.result = (pages / "results.html").read_text(encoding="utf-8")
        self.asked: list[str] = []
        self.agents: set[str] = set()
        self.at: list[float] = []
        self.delay_s = 0.0  # of every image
        self.is_varied = False  # whether each position has noise of its own
        self.busy: dict[str, int] = {}
        self.address = ""

    @property
    def images(self) -> list[str]:
        """The images that were asked for."""
        return [path for path in self.asked if path.startswith(("/tempspace/", "/soda/"))]

    def answer(self, path: str, body: str) -> tuple[int, str, bytes]:
        """Return status, kind and content of an answer."""
        parts, query = urlsplit(path), parse_qs(urlsplit(path).query)
        if parts.path.endswith("/basicform.pl"):
            return 200, "text/html", self.form.encode()
        if parts.path.endswith("/runquery.pl"):
            return self._found(query)
        if parts.path.startswith("/tempspace/"):
            kind, pixels, number = map(int, re.findall(r"\d+", parts.path))
            return self._image(kind, pixels, path, number)
        return self._cadc(parts.path.replace("//", "/"), query, body)

    def _found(self, query: dict[str, list[str]]) -> tuple[int, str, bytes]:
        kind = int(float(query["Position"][0].split()[0]))
        if kind == BROKEN:
            return 500, "text/html", b"Internal error"
        if kind == BUSY:
            self.busy[query["Position"][0]] = self.busy.get(query["Position"][0], 0) + 1
            if self.busy[query["Position"][0]] <= 2:
                return 503, "text/html", b"Try later"
        if kind == MISSING:
            return 200, "text/html", b"<html><body>No image: outside of the survey</body></html>"
        number = zlib.crc32(query["Position"][0].encode()) if self.is_varied else 0
        name = f"skv{kind}_{query['pixels'][0]}_{number}"
        return 200, "text/html", self.result.replace("skv6724208473423_1", name).encode()

    def _image(self, kind: int, pixels: int, path: str, number: int = 0) -> tuple[int, str, bytes]:
        time.sleep(self.delay_s + (5.0 if kind == SLOW else 0))
        if kind == PAGE:
            return 200, "text/html", b"<html>The archive is being maintained</html>"
        return 200, "image/fits", fits_image(kind, pixels, axes=4 if path.startswith("/soda") else 2, number=number)

    def _cadc(self, path: str, query: dict[str, list[str]], body: str) -> tuple[int, str, bytes]:
        if path == "/reg":
            lines = [f"ivo://cadc.nrc.ca/{name} = {self.address}/{name}/capabilities" for name in ("argus", "caom2ops")]
            return 200, "text/plain", "\n".join(["# services", *lines]).encode()
        if path.endswith("/capabilities"):
            return 200, "text/xml", _CAPABILITIES.format(address=self.address).encode()
        if path == "/argus/sync":
            found = re.search(r"CIRCLE\('ICRS', ([\d.]+)", unquote((body or str(query)).replace("+", " ")))
            assert found, body
            kind = int(float(found[1]))
            rows = "" if kind == MISSING else f"<TR><TD>ivo://cadc.nrc.ca/VLASS?{kind}</TD></TR>"
            return 200, "text/xml", _TABLE.format(rows=rows).encode()
        if path == "/datalink":
            kind = query["ID"][0].partition("?")[2]
            return 200, "text/xml", _datalink(self.address, kind)
        if path == "/vocabulary/datalink/core":
            return 200, "application/json", b'{"terms": {"cutout": {"narrower": [], "label": "Cutout"}}}'
        if path.startswith("/soda/"):
            kind = int(query["ID"][0].rpartition("?")[2])
            if kind == BROKEN:
                return 404, "text/plain", b"no overlap"
            side = 2 * float(query["POS"][0].split()[3]) * 3600  # pixels of 1 arcsec
            return self._image(kind, round(side), path)
        return 404, "text/plain", b"unknown"


def _datalink(address: str, kind: str) -> bytes:
    names = [
        f"VLASS{epoch}.ql.T11t01.J000200-003000.10.2048.v1.I.iter1.image.pbcor.tt0{end}.fits?{kind}"
        for epoch in ("1.1", "3.1", "2.1")
        for end in (".subim", ".rms.subim")
    ]
    rows = "".join(f"<TR><TD>ivo://x</TD><TD></TD><TD>soda{i}</TD><TD>#cutout</TD></TR>" for i, _ in enumerate(names))
    services = "".join(_SODA.format(number=i, address=address, name=name) for i, name in enumerate(names))
    return _LINKS.format(rows=rows, services=services).encode()


@contextlib.contextmanager
def sky_server() -> Iterator[SkyServer]:
    """Run the server on a free port of loopback."""
    sky = SkyServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer("")

        def do_POST(self) -> None:
            self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode())

        def _answer(self, body: str) -> None:
            sky.asked.append(self.path)
            sky.at.append(time.monotonic())
            sky.agents.add(self.headers.get("User-Agent") or "")
            status, kind, content = sky.answer(self.path, body)
            with contextlib.suppress(ConnectionError):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                if status == 503:
                    self.send_header("Retry-After", "0")
                self.end_headers()
                self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sky.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield sky
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


_CAPABILITIES = """<?xml version="1.0"?>
<capabilities>
  <capability standardID="ivo://ivoa.net/std/DataLink#links-1.0">
    <interface><accessURL use="base">{address}/datalink</accessURL></interface>
  </capability>
</capabilities>"""
_HEAD = '<?xml version="1.0"?><VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">'
_TABLE = (
    _HEAD + '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>'
    '<FIELD name="publisherID" datatype="char" arraysize="*"/>'
    "<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"
)
_LINKS = (
    _HEAD
    + '<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>'
    + "".join(
        f'<FIELD name="{name}" datatype="char" arraysize="*"/>'
        for name in ("ID", "access_url", "service_def", "semantics")
    )
    + "<DATA><TABLEDATA>{rows}</TABLEDATA></DATA></TABLE></RESOURCE>{services}</VOTABLE>"
)
_SODA = (
    '<RESOURCE type="meta" utype="adhoc:service" ID="soda{number}">'
    '<PARAM name="accessURL" datatype="char" arraysize="*" value="{address}/soda/sync"/>'
    '<GROUP name="inputParams"><PARAM name="ID" datatype="char" arraysize="*" value="cadc:VLASS/{name}"/>'
    '<PARAM name="POS" datatype="char" arraysize="*" value=""/></GROUP></RESOURCE>'
)
