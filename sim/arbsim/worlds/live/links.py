"""Wide-area links on one machine: TCP relays that hold every byte back for half a round trip.

A relay stands between a client of one region and a server in another, so that clients that nobody changed cross a
network with the scenario's delays. All relays of a run share one process: what the clients compute does not make a
link slower. Bytes never overtake each other on a connection. There is no limit of bandwidth and no loss.
"""

from __future__ import annotations

import asyncio
import json
import random
import selectors
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

from arbsim.worlds.live.processes import Child, ServerUnavailable

_CHUNK = 65536
_MOST_WAITING = 4_000_000
"""Bytes on their way in one direction of one connection before the relay stops reading: a window, as TCP has."""


@dataclass(frozen=True, slots=True)
class Link:
    """A way from a region to a server.

    A chunk takes ``one_way_ns`` x (1 + jitter x u) with u uniform in [0, 1), as in the virtual network.
    ``jitter_ppm`` is in parts per million. ``listen`` is the relay's own port; any that is free where it is 0.
    """

    region: str
    server: str
    port: int
    one_way_ns: int
    jitter_ppm: int = 0
    host: str = "127.0.0.1"
    listen: int = 0


class Links:
    """The relays of one run, in a process of their own."""

    def __init__(self, links: Sequence[Link], seed: int, log: Path) -> None:
        """Start them. Raises ServerUnavailable where they do not come up."""
        self._child = Child(
            "the relay",
            [sys.executable, "-m", "arbsim.worlds.live.links"],
            log,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            ports = self._start(links, seed)
        except BaseException:
            self.stop()
            raise
        self._ports = dict(zip(((link.region, link.server) for link in links), ports, strict=True))

    def _start(self, links: Sequence[Link], seed: int) -> list[int]:
        process = self._child.process
        assert process.stdin is not None
        assert process.stdout is not None
        request = {"seed": seed, "links": [asdict(link) for link in links]}
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            answer = process.stdout.readline()
        except OSError:
            answer = b""
        if not answer:
            process.wait()
            raise ServerUnavailable(f"the relay did not start:\n{self._child.tail()}")
        ports: list[int] = json.loads(answer)
        return ports

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def child(self) -> Child:
        """The relays' process."""
        return self._child

    def leads(self, region: str, server: str) -> bool:
        """Whether there is a link from a region to a server."""
        return (region, server) in self._ports

    def port(self, region: str, server: str) -> int:
        """The port of 127.0.0.1 by which a region reaches a server."""
        return self._ports[region, server]

    def stop(self) -> None:
        """Close all relays. Can be called again."""
        if self._child.process.stdin is not None:
            with suppress(OSError):  # it may have gone already
                self._child.process.stdin.close()
        self._child.kill()


# -- in the process of the relays ----------------------------------------------------------------------


class _Direction:
    """One direction of one connection: chunks wait here until they are due."""

    def __init__(self, link: Link, draws: random.Random, writer: asyncio.StreamWriter) -> None:
        self._one_way_s = link.one_way_ns / 1e9
        self._jitter = link.jitter_ppm / 1e6
        self._draws = draws
        self._writer = writer
        self._loop = asyncio.get_running_loop()
        self._last_due = 0.0
        # A timer takes the first of them, not one of its own: timers of the same instant fire in any order.
        self._chunks: deque[bytes] = deque()
        self._waiting = 0
        self.ended = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()

    async def carry(self, reader: asyncio.StreamReader) -> None:
        """Pass on what comes until the sender closes; the end arrives as late as everything else."""
        try:
            while chunk := await reader.read(_CHUNK):
                self._later(chunk)
                await self._room.wait()
        except OSError:
            pass  # a reset: the other side shall hear of the end as well
        self._later(b"")

    def _later(self, chunk: bytes) -> None:
        delay = self._one_way_s * (1 + self._jitter * self._draws.random())
        self._last_due = max(self._last_due, self._loop.time() + delay)
        self._waiting += len(chunk)
        if self._waiting > _MOST_WAITING:
            self._room.clear()
        self._chunks.append(chunk)
        self._loop.call_at(self._last_due, self._deliver)

    def _deliver(self) -> None:
        chunk = self._chunks.popleft()
        self._waiting -= len(chunk)
        if self._waiting <= _MOST_WAITING:
            self._room.set()
        if chunk:
            self._writer.write(chunk)
            return
        with suppress(OSError):  # the other side may have gone already
            self._writer.write_eof()
        self.ended.set()


async def _relay(
    link: Link, draws: random.Random, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    try:
        onward_reader, onward_writer = await asyncio.open_connection(link.host, link.port)
    except OSError:
        writer.close()
        return
    for one in (writer, onward_writer):
        one.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    there, back = _Direction(link, draws, onward_writer), _Direction(link, draws, writer)
    await asyncio.gather(
        there.carry(reader), back.carry(onward_reader), there.ended.wait(), back.ended.wait()
    )
    for one in (writer, onward_writer):
        one.close()


async def _serve() -> None:
    request = json.loads(sys.stdin.readline())
    draws = random.Random(request["seed"])  # noqa: S311 - network weather
    ports = []
    servers = []
    for one in request["links"]:
        link = Link(**one)

        async def connected(
            reader: asyncio.StreamReader, writer: asyncio.StreamWriter, link: Link = link
        ) -> None:
            await _relay(link, draws, reader, writer)

        server = await asyncio.start_server(connected, "127.0.0.1", link.listen, backlog=512)
        servers.append(server)
        ports.append(server.sockets[0].getsockname()[1])
    sys.stdout.write(json.dumps(ports) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)  # until arbsim closes it


def _main() -> None:
    # epoll counts whole milliseconds, select microseconds: half of a local round trip is 250 of them. It can watch 1024
    # descriptors, two for each connection: whoever opens pools through links keeps their connections below 500.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    loop.run_until_complete(_serve())


if __name__ == "__main__":
    _main()
