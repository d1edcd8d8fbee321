"""One region's services, in a process of their own, so that they share nothing with the clients and can be killed.

Run as ``python -m arbsim.worlds.live.service``: what to serve comes on standard input, events go to a file, and a line
on standard output says when everything has been opened.
"""

from __future__ import annotations

import asyncio
import errno
import importlib.util
import pickle
import subprocess
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arbsim.worlds.api import Design
from arbsim.worlds.live.database import SERVER_FAULTS, DatabaseServer, close_pool, open_pool, told
from arbsim.worlds.live.endings import keep_quiet
from arbsim.worlds.live.events import Log, no_pauses
from arbsim.worlds.live.processes import Child, ServerUnavailable
from arbsim.worlds.live.region import LiveRegion
from arbsim.worlds.virtual.region import Places

if TYPE_CHECKING:
    from arbsim.worlds.live.clients import KafkaSettings, Names

_QUIET_NS = 400_000_000
_POLL_S = 0.02
_POOL_LEAST = 4
_READY = b"ready\n"

_NO_FAULT_OF_THE_DESIGN = 75
"""The status of a process that ended for want of something, as a full disk (EX_TEMPFAIL of sysexits.h)."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a service process needs to know. ``schema`` is None where the design has no table."""

    region: str
    places: Places
    log: Path
    database: DatabaseServer | None
    schema: str | None
    pool_most: int
    kafka: tuple[Names, KafkaSettings] | None
    """How the clusters are reached; None where the design has no topic."""


class ServiceFailed(Exception):
    """A region's service ended with an error: a bug in the design, or a server that went. The text has its log."""


@dataclass(frozen=True, slots=True)
class Service:
    """A region's service process, and the file of its events."""

    child: Child
    events: Path

    async def ready(self) -> None:
        """Return once everything that it needs is open. Raises ServiceFailed and ServerUnavailable."""
        assert self.child.process.stdout is not None
        line = await asyncio.to_thread(self.child.process.stdout.readline)
        if line != _READY:
            await asyncio.to_thread(self.child.process.wait)
            self.check()
            raise ServiceFailed(f"{self.child.name} ended before it was ready:\n{self.child.tail()}")

    def check(self) -> None:
        """Raise ServiceFailed where the process has ended with an error, ServerUnavailable where a server had one."""
        status = self.child.process.poll()
        if status == _NO_FAULT_OF_THE_DESIGN:
            raise ServerUnavailable(
                f"{self.child.name} ended, for want of a server or of disk space:\n{self.child.tail()}"
            )
        if status not in (None, 0):
            raise ServiceFailed(f"{self.child.name} ended:\n{self.child.tail()}")

    @property
    def size(self) -> int:
        """How much it has noted."""
        try:
            return self.events.stat().st_size
        except FileNotFoundError:
            return 0


def start_service(design: Design, assignment: Assignment, output: Path) -> Service:
    """Start the process."""
    child = Child(
        f"the service of {assignment.region}",
        [sys.executable, "-m", "arbsim.worlds.live.service"],
        output,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.process.stdin is not None
    message = (_sources(design), pickle.dumps(design), assignment)
    child.process.stdin.write(pickle.dumps(message))
    child.process.stdin.close()
    return Service(child, assignment.log)


def _sources(design: Design) -> dict[str, str]:
    """The file of the design's module, where it is none that can be imported by name."""
    name = type(design).__module__
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if name.partition(".")[0] == "arbsim" or spec is None or spec.origin is None:
        return {}
    return {name: spec.origin}


# -- in the process ------------------------------------------------------------------------------------


def _load(sources: Mapping[str, str]) -> None:
    """Run the files of a user's own designs under the names that their classes know."""
    for name, file in sources.items():
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)


async def _serve(design: Design, assignment: Assignment) -> None:
    keep_quiet()
    log = Log(assignment.log)
    async with AsyncExitStack() as stack:
        pool, messaging = None, None
        if assignment.schema is not None:
            assert assignment.database is not None
            pool = await open_pool(
                assignment.database, assignment.schema, log, least=_POOL_LEAST, most=assignment.pool_most
            )
            stack.push_async_callback(close_pool, pool)
        if assignment.kafka is not None:
            from arbsim.worlds.live.clients import LiveMessaging

            messaging = LiveMessaging(assignment.region, *assignment.kafka, lambda operation: False)
            stack.push_async_callback(messaging.close)
        region = LiveRegion(assignment.region, assignment.places, log, pool, messaging, serves=True)
        serving = asyncio.create_task(design.serve(region))
        while not serving.done():
            await asyncio.wait([serving], timeout=_POLL_S)
            if messaging is None or messaging.quiet(_QUIET_NS):
                break
        with no_pauses():
            sys.stdout.buffer.write(_READY)
            sys.stdout.buffer.flush()
            await serving


def _main() -> None:
    sources, design, assignment = pickle.loads(sys.stdin.buffer.read())  # noqa: S301 - from our own parent
    _load(sources)
    try:
        asyncio.run(_serve(pickle.loads(design), assignment))  # noqa: S301
    except SERVER_FAULTS as error:
        _give_up(f"{assignment.database}: {told(error)}")
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        _give_up(f"{assignment.log}: {told(error)}")


def _give_up(reason: str) -> None:
    with suppress(OSError):  # its log may be on the same disk
        print(reason, file=sys.stderr)
    sys.exit(_NO_FAULT_OF_THE_DESIGN)


if __name__ == "__main__":
    _main()
