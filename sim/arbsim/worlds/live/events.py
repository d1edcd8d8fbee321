"""What a live process notes down while it runs; the history is made of it afterwards.

Every process of a run (the clients' and each region's services) keeps a log of its own. All times are of the
machine's monotonic clock, which its processes share, so the logs can be merged. A service writes each event to a
file at once: what it noted survives its being killed. The file is of Python's own marshalled values, one after the
other, which are made seven times as fast as JSON; who reads them is the same Python.
"""

from __future__ import annotations

import gc
import marshal
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

OPERATION: ContextVar[int] = ContextVar("arbsim_operation", default=0)
"""The operation that the running task works on; 0 is none."""

now_ns = time.monotonic_ns


class Event(NamedTuple):
    """One thing that happened in one process. ``values`` are those of the method of Log that noted it."""

    time_ns: int
    kind: str
    operation: int
    values: tuple[Any, ...]


_Noted = tuple[int, str, int, tuple[Any, ...]]
"""An Event before it is one: it becomes one when it is read, for clients wait while it is noted."""


class Log:
    """The events of one process, in order."""

    def __init__(self, file: Path | None = None) -> None:
        """Keep the events in memory, or write each to a file."""
        self._kept: list[_Noted] = []
        self._write: Callable[[_Noted], object] = self._kept.append
        if file is not None:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._write = lambda noted: os.write(handle, marshal.dumps(noted))

    @property
    def events(self) -> list[Event]:
        """Those kept in memory."""
        return list(map(Event._make, self._kept))

    def forget(self) -> None:
        """Keep none of the events so far."""
        self._kept.clear()

    def add(self, kind: str, *values: Any) -> None:
        """Note an event of the operation at work."""
        self._write((now_ns(), kind, OPERATION.get(), values))

    def statement(
        self, sent_ns: int, server_process: int, text: str, read: Sequence[tuple[int, int]]
    ) -> None:
        """Note a statement that has been answered, and the balances (account, cents) that it read."""
        self._write((now_ns(), "statement", OPERATION.get(), (sent_ns, server_process, text, read)))

    @contextmanager
    def working_on(self, operation: int, own_order: int | None = None) -> Iterator[None]:
        """Let the running task work on an operation."""
        token = OPERATION.set(operation)
        if own_order is not None:
            self.add("place", own_order)
        try:
            yield
        finally:
            self.add("decided")
            OPERATION.reset(token)


@contextmanager
def no_pauses() -> Iterator[None]:
    """Let the garbage collector wait.

    While it looks for cycles every client stands still, the longer the more of them there are; that is no property of a
    design. What is in no cycle goes as ever.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def read_log(file: Path) -> list[Event]:
    """Read the events that a process wrote; a last one that was cut off by a kill is left out."""
    events = []
    with suppress(FileNotFoundError, EOFError), file.open("rb") as written:
        while True:
            events.append(Event._make(marshal.load(written)))  # noqa: S302 - from our own child
    return events
