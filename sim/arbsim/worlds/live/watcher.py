"""A small process that outlives arbsim: when arbsim dies, it removes what arbsim made on servers that others own.

A replication slot that nobody reads keeps a server from throwing away its log until the disk is full, so even
``kill -9`` must leave none. The watcher reads a pipe whose other end arbsim alone holds. Addresses and passwords come
through that pipe and are in no command line. While arbsim lives the watcher does nothing; at an orderly end arbsim
removes everything itself, and dismisses it.

Run as ``python -m arbsim.worlds.live.watcher``.
"""

from __future__ import annotations

import asyncio
import pickle
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from arbsim.worlds.live.database import DatabaseServer
from arbsim.worlds.live.endings import keep_quiet
from arbsim.worlds.live.processes import ServerUnavailable
from arbsim.worlds.live.removal import remove
from arbsim.worlds.live.security import NO_SECURITY, KafkaSecurity

LIMIT_S = 600.0
"""How long it tries where a server does not answer, or does not let go."""

_READY = b"ready\n"
_DISMISSED = b"dismissed\n"
_CLEAN_ROUNDS = 4
"""What arbsim had asked for when it died may still be on its way."""


@dataclass(frozen=True, slots=True)
class _Duty:
    prefix: str
    database: DatabaseServer | None
    clusters: Mapping[str, str]
    security: KafkaSecurity


class Watcher:
    """The process, as arbsim sees it."""

    def __init__(
        self,
        prefix: str,
        database: DatabaseServer | None,
        clusters: Mapping[str, str],
        security: KafkaSecurity = NO_SECURITY,
    ) -> None:
        """Start it. Returns when it watches: nothing may be made before. Raises ServerUnavailable."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "arbsim.worlds.live.watcher"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C and the end of the terminal are not for it
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError):
            pickle.dump(_Duty(prefix, database, dict(clusters), security), self._process.stdin)
            self._process.stdin.flush()
        if self._process.stdout.readline() != _READY:
            self._process.wait()
            raise ServerUnavailable(
                "the watcher, which removes everything when arbsim is killed, did not start"
            )

    def check(self) -> None:
        """Raise ServerUnavailable where it has gone: what is made from now on might stay for ever."""
        if self._process.poll() is not None:
            raise ServerUnavailable("the watcher, which removes everything when arbsim is killed, has ended")

    def dismiss(self) -> None:
        """Let it end without removing anything."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.write(_DISMISSED)
            self._process.stdin.close()
        self._process.wait()

    def take_over(self) -> None:
        """Let it remove everything, now."""
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()


# -- in the process ------------------------------------------------------------------------------------


async def _remove(duty: _Duty) -> None:
    keep_quiet()
    await remove(
        duty.prefix,
        duty.database,
        duty.clusters,
        duty.security,
        limit_s=LIMIT_S,
        clean_rounds=_CLEAN_ROUNDS,
    )


def _main() -> None:
    for ignored in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(ignored, signal.SIG_IGN)
    duty = pickle.load(sys.stdin.buffer)  # noqa: S301 - from our own parent
    sys.stdout.buffer.write(_READY)
    sys.stdout.buffer.flush()
    if sys.stdin.buffer.readline() != _DISMISSED:
        asyncio.run(_remove(duty))


if __name__ == "__main__":
    _main()
