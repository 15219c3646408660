"""A server that speaks S3, in this process, in front of which answers can be made late, lost or an error."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

WAITS_S = (0.01, 0.02, 0.04)  # of a store in a test, between two tries
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "anybody",
    "AWS_SECRET_ACCESS_KEY": "knows",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_DEFAULT_REGION": "us-east-1",
}
Start = Callable[[str, list[tuple[str, str]]], object]


@dataclass
class Fault:
    """What goes wrong with the next `left` requests whose method and path, as in `PUT /bucket/x`, have these words."""

    words: tuple[str, ...]
    left: int
    status: str = ""  # answered instead
    seconds: float = 0.0  # before it is answered
    is_done: bool = False  # although it was carried out
    hits: int = 0


@dataclass
class S3Server:
    """The server; `requests` holds method and path of each."""

    port: int = 0
    faults: list[Fault] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        from moto.server import DomainDispatcherApplication, create_backend_app  # takes a second

        self._app = DomainDispatcherApplication(create_backend_app)

    def uri(self, prefix: str) -> str:
        return f"s3://bucket/{prefix}?endpoint_override=127.0.0.1:{self.port}&scheme=http"

    def fail(self, *words: str, times: int = 1, status: str = "500 Internal Server Error", **more: Any) -> Fault:
        self.faults.append(Fault(words, times, status, **more))
        return self.faults[-1]

    def delay(self, *words: str, seconds: float, times: int = 1) -> Fault:
        return self.fail(*words, times=times, status="", seconds=seconds)

    def __call__(self, environment: dict[str, Any], start: Start) -> Iterable[bytes]:
        request = f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']}"
        self.requests.append(request)
        for fault in self.faults:
            if fault.left and all(word in request for word in fault.words):
                fault.left -= 1
                fault.hits += 1
                time.sleep(fault.seconds)
                if not fault.status:
                    break
                if fault.is_done:
                    list(self._app(environment, lambda *_: None))
                else:
                    environment["wsgi.input"].read(int(environment.get("CONTENT_LENGTH") or 0))
                start(fault.status, [("Content-Length", "0")])
                return [b""]
        answer: Iterable[bytes] = self._app(environment, start)
        return answer


@contextlib.contextmanager
def s3_server(host: str = "127.0.0.1") -> Iterator[S3Server]:
    """Give a server with an empty bucket called `bucket`, and the environment that it is used with."""
    import boto3
    from werkzeug.serving import make_server

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = S3Server()
    wsgi = make_server(host, 0, server, threaded=True)
    server.port = wsgi.server_port
    thread = threading.Thread(target=wsgi.serve_forever, daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        boto3.client("s3", endpoint_url=f"http://{host}:{server.port}").create_bucket(Bucket="bucket")
        yield server
    wsgi.shutdown()
    thread.join()
    wsgi.server_close()
