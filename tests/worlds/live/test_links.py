"""A link is as slow as it was asked to be, keeps the order, and loses nothing."""

import shutil
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from arbsim.worlds.live.links import Link, Links
from arbsim.worlds.live.processes import ServerUnavailable

ONE_WAY_NS = 20_000_000


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it gets."""

    def handle(self) -> None:
        while data := self.request.recv(65536):
            self.request.sendall(data)


@pytest.fixture(name="echo_port", scope="module")
def _echo_port() -> Iterator[int]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.fixture(name="links", scope="module")
def _links(echo_port: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Links]:
    slow = Link("west", "echo", echo_port, ONE_WAY_NS, 1_000_000)
    fast = Link("east", "echo", echo_port, 0)
    with Links([slow, fast], 1, tmp_path_factory.mktemp("relay") / "log") as links:
        yield links


def test_a_round_trip_takes_at_least_twice_the_one_way_time(links: Links) -> None:
    with socket.create_connection(("127.0.0.1", links.port("west", "echo"))) as client:
        began = time.monotonic_ns()
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert time.monotonic_ns() - began >= 2 * ONE_WAY_NS


def test_bytes_arrive_complete_and_in_order_whatever_the_jitter(links: Links) -> None:
    sent = b"".join(b"%08d" % number for number in range(100_000))
    with socket.create_connection(("127.0.0.1", links.port("west", "echo"))) as client:
        threading.Thread(target=client.sendall, args=(sent,), daemon=True).start()
        received = bytearray()
        while len(received) < len(sent):
            received += client.recv(65536)
    assert bytes(received) == sent


def test_the_end_of_one_side_reaches_the_other_after_what_was_sent_before(links: Links) -> None:
    with socket.create_connection(("127.0.0.1", links.port("west", "echo"))) as client:
        client.sendall(b"last words")
        client.shutdown(socket.SHUT_WR)
        received = b""
        while chunk := client.recv(100):
            received += chunk
    assert received == b"last words"


def test_a_link_to_nobody_closes_the_connection(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with (
            Links([Link("east", "nobody", port, 0)], 1, tmp_path / "log") as links,
            socket.create_connection(("127.0.0.1", links.port("east", "nobody"))) as client,
        ):
            assert client.recv(1) == b""


def test_links_that_cannot_start_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(ServerUnavailable, match="the relay did not start"):
        Links([], 1, tmp_path / "log")
