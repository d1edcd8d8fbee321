"""Where replications run: processes of this machine, or a Dask cluster. ``concurrent.futures`` is the seam.

A worker can die: by a signal, for want of memory, or because a run kills it. A broken process pool fails every
future that was under way, so nobody knows which of them did it. They are the suspects: the pool is built anew,
and they are run one chunk at a time, halved until the one that kills is alone. A unit that ends its worker three
times by itself is given up.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from arbsim.sweep.plan import Setting, Unit
from arbsim.sweep.task import Batch, Done, OtherVersion, run_units

ATTEMPTS = 3
"""How often a unit may fail by itself before it is given up."""

Units = tuple[Unit, ...]


class ClusterError(Exception):
    """A cluster cannot be reached, or was lost; the text says which."""


class Workers(Protocol):
    """Somebody who runs chunks of units."""

    count: int

    def executor(self) -> Executor:
        """Return the executor, a new one where the last was broken."""

    def lost(self, error: BaseException) -> bool:
        """A chunk came back without results; say whether everything else that was under way is lost with it.

        Raises ClusterError where there is no hope of running anything more.
        """

    def close(self) -> None:
        """Stop; what is under way is abandoned."""


class LocalProcesses:
    """Processes of this machine."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ProcessPoolExecutor | None = None

    def executor(self) -> Executor:
        """Return the pool; its processes are started with a fresh interpreter on every system alike."""
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self.count, mp_context=context, initializer=_begin_worker)
        return self._pool

    def lost(self, error: BaseException) -> bool:
        """A pool that lost one process is of no more use."""
        self.close()
        return True

    def close(self) -> None:
        """End the processes, in the middle of a run if need be."""
        if self._pool is not None:
            ours = list((getattr(self._pool, "_processes", None) or {}).values())
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in ours:
                process.terminate()
            for process in ours:
                process.join()
            self._pool = None


def _begin_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """Wait for the parent's end. Without this, workers of a killed parent would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(0)


def run_all(
    workers: Workers,
    setting: Setting,
    next_units: Callable[[], Units],
    on_done: Callable[[Sequence[Done], float], None],
    on_given_up: Callable[[Unit, str], None],
) -> None:
    """Run what ``next_units`` gives until it gives nothing and nothing is under way.

    ``on_done`` takes results as they come, in any order, and may thereby give ``next_units`` more to do.
    ``on_given_up`` takes a unit that failed three times by itself. Raises OtherVersion and ClusterError.
    """
    _Crew(workers, setting, next_units, on_done, on_given_up).run()


@dataclass(slots=True)
class _Crew:
    workers: Workers
    setting: Setting
    next_units: Callable[[], Units]
    on_done: Callable[[Sequence[Done], float], None]
    on_given_up: Callable[[Unit, str], None]
    under_way: dict[Future[Batch], Units] = field(default_factory=dict)
    again: deque[Units] = field(default_factory=deque)
    """Units whose run raised an error; each by itself."""
    suspects: deque[Units] = field(default_factory=deque)
    failures: dict[tuple[int, int], int] = field(default_factory=dict)

    def run(self) -> None:
        """Keep every worker busy, with one chunk waiting behind the one that it runs.

        An interrupt keeps what has come back by then.
        """
        try:
            self._run()
        except KeyboardInterrupt:
            for future in list(self.under_way):
                if _has_result(future):
                    with suppress(KeyboardInterrupt):
                        self._take(future, self.under_way.pop(future))
            raise

    def _run(self) -> None:
        while self._fill():
            done, _ = wait(self.under_way, return_when=FIRST_COMPLETED)
            for future in [one for one in self.under_way if one in done]:
                # A broken pool fails all futures at once, and all of them are then suspects.
                if future in self.under_way:
                    self._take(future, self.under_way.pop(future))

    def _fill(self) -> bool:
        """Hand out what can be; say whether anything is under way, or left."""
        if self.suspects and not self.under_way:
            self._submit(self.suspects.popleft())
            return True
        while not self.suspects and len(self.under_way) < 2 * self.workers.count:
            units = self.again.popleft() if self.again else self.next_units()
            if not units:
                return bool(self.under_way)
            self._submit(units)
        return True

    def _submit(self, units: Units) -> None:
        try:
            future = self.workers.executor().submit(run_units, self.setting, units)
        except RuntimeError as error:  # the executor broke between two chunks
            self._lost(units, error)
            return
        self.under_way[future] = units

    def _take(self, future: Future[Batch], units: Units) -> None:
        try:
            batch = future.result()
        except OtherVersion:
            raise
        except (Exception, asyncio.CancelledError) as error:
            self._lost(units, error)
            return
        self.on_done([one for one in batch.done if one.record is not None], batch.seconds)
        for one in batch.done:
            if one.record is None:
                self._failed(one.unit, one.error, self.again)

    def _lost(self, units: Units, error: BaseException) -> None:
        """A chunk came back without results: its worker died, or the way to it broke."""
        alone = not self.under_way
        if self.workers.lost(error):
            self._all_lost()
        if not alone:
            self.suspects.append(units)
        elif len(units) == 1:
            self._failed(units[0], f"its worker died ({type(error).__name__})", self.suspects)
        else:
            half = len(units) // 2
            self.suspects.extendleft((units[half:], units[:half]))

    def _all_lost(self) -> None:
        """Whatever has no result by now will never have one."""
        under_way, self.under_way = self.under_way, {}
        for future, units in under_way.items():
            if _has_result(future):
                self._take(future, units)
            else:
                self.suspects.append(units)

    def _failed(self, unit: Unit, error: str, queue: deque[Units]) -> None:
        place = (unit.point, unit.replication)
        self.failures[place] = self.failures.get(place, 0) + 1
        if self.failures[place] < ATTEMPTS:
            queue.append((unit,))
        else:
            self.on_given_up(unit, error)


def _has_result(future: Future[Batch]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None
