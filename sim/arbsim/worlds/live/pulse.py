"""Notices when nobody listens any more at an address that belongs to no process of ours.

Clients of Kafka try again for as long as they live, so a run on a cluster that has gone would never end.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from typing import Self

from arbsim.worlds.live.processes import ServerUnavailable

_EVERY_S = 2.0
_ATTEMPT_S = 3.0


class Pulse:
    """Connects to each address now and then, and says nothing there. Use it as a context manager."""

    def __init__(self, addresses: Mapping[str, str], patience_s: float = 10.0) -> None:
        """``addresses``: ``host:port`` by the server's name. ``patience_s``: how long one may be away."""
        self._addresses = addresses
        self._patience_s = patience_s
        self._heard_s = dict.fromkeys(addresses, time.monotonic())
        self._why: dict[str, str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def check(self) -> None:
        """Raise ServerUnavailable where somebody has been away for too long."""
        for name, why in list(self._why.items()):
            if time.monotonic() - self._heard_s[name] > self._patience_s:
                raise ServerUnavailable(f"{name} at {self._addresses[name]} does not answer any more: {why}")

    def _ask(self) -> None:
        while not self._over.wait(min(_EVERY_S, self._patience_s / 4)):
            for name, address in self._addresses.items():
                host, _, port = address.rpartition(":")
                try:
                    socket.create_connection((host.strip("[]"), int(port)), _ATTEMPT_S).close()
                except OSError as error:
                    self._why[name] = error.strerror or type(error).__name__
                else:
                    self._heard_s[name] = time.monotonic()
                    with suppress(KeyError):
                        del self._why[name]
