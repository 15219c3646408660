"""What a driver's process and its parent tell each other: real processes, real sockets on the loopback."""

import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from tune.process.channel import HeadWatch

SILENCE_S = 0.5
DRIVER = """
import signal, sys, time
from tune.process.channel import follow_parent, tell_parent, tell_parent_left
signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
follow_parent()
if {head!r}:
    tell_parent({head!r}, asks_for_room={asks})
if {leaves}:
    tell_parent_left()
time.sleep(60)
"""


@contextmanager
def driver(
    head: str, *, asks: bool = False, leaves: bool = False
) -> Iterator[tuple[subprocess.Popen[bytes], HeadWatch, socket.socket]]:
    """A process that says where its head is, watched by this one."""
    here, there = socket.socketpair()
    code = textwrap.dedent(DRIVER.format(head=head, asks=asks, leaves=leaves))
    process = subprocess.Popen([sys.executable, "-c", code], stdin=there.fileno())
    there.close()
    try:
        yield process, HeadWatch(process, here, silence_s=SILENCE_S), here
    finally:
        process.kill()
        process.wait()
        here.close()


@pytest.fixture
def head() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def address(server: socket.socket) -> str:
    return "{}:{}".format(*server.getsockname())


def wait_until(what: Callable[[], bool], seconds: float = 20) -> None:
    until = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_a_driver_whose_head_answers_is_left_alone_and_ended_in_order_once_it_does_not(head: socket.socket) -> None:
    at = address(head)
    with driver(at, asks=True) as (process, watch, _):
        wait_until(lambda: watch.asked == at)
        time.sleep(4 * SILENCE_S)
        assert process.poll() is None
        assert watch.cut_off is None
        head.close()
        assert process.wait(20) == 3
        assert watch.cut_off == at


def test_a_driver_that_names_no_head_is_not_watched() -> None:
    with driver("") as (process, watch, _):
        time.sleep(4 * SILENCE_S)
        assert process.poll() is None
        assert watch.cut_off is None


def test_a_driver_that_has_left_its_cluster_is_not_ended_when_that_ends(head: socket.socket) -> None:
    with driver(address(head), asks=True, leaves=True) as (process, watch, _):
        head.close()
        time.sleep(6 * SILENCE_S)
        assert process.poll() is None
        assert watch.cut_off is None
        assert watch.asked is None


def test_a_driver_whose_parent_is_gone_ends_in_order(head: socket.socket) -> None:
    with driver(address(head)) as (process, watch, here):
        head.setblocking(True)
        head.accept()[0].close()  # it has said where, and the watch has tried
        assert watch.asked is None
        here.shutdown(socket.SHUT_RDWR)
        assert process.wait(20) in (3, -signal.SIGTERM)
