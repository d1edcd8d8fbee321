"""Sweeps small enough for tests, and workers that fail on purpose."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from pathlib import Path
from typing import Any

from arbsim.scenario import Scenario
from arbsim.sweep.executors import LocalProcesses
from arbsim.sweep.plan import Plan, Setting, Unit, make_plan
from arbsim.sweep.results import SweepResults
from arbsim.sweep.run import Progress, run_sweep
from arbsim.sweep.task import Batch, run_units
from tests.scenario.texts import read

TINY = """\
name: tiny
question: How often?
seed: 7
regions: {east: {}, west: {}}
network: {round_trips: {east-west: 64 ms}}
accounts: {1: 100.00}
workload:
  generate:
    operations: 6
    arrivals: {rate: 20/s}
    amounts: {from: 30.00, to: 60.00}
    mix: {withdraw: 100 %}
designs: [bus/regional-deltas, db/atomic-update]
"""

VARIED = "{vary: {kafka.mirror_lag: [0 ms, 100 ms], workload.rate: [2/s, 50/s]}, replications: 4}"


def tiny(sweep: str = VARIED, text: str = TINY) -> Scenario:
    return read(f"{text}sweep: {sweep}\n")


def tiny_plan(sweep: str = VARIED, text: str = TINY) -> Plan:
    return make_plan(tiny(sweep, text))


class Here(Executor):
    """Runs at once, in this process."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


class Hands:
    """Workers in this process; ``run`` may stand in for the real task."""

    def __init__(self, run: Callable[[Setting, tuple[Unit, ...]], Batch] = run_units) -> None:
        self.count = 1
        self.run = run
        self.chunks: list[tuple[Unit, ...]] = []
        self.closed = False

    def executor(self) -> Executor:
        return _Redirected(Here(), self._noted)

    def _noted(self, setting: Setting, units: tuple[Unit, ...]) -> Batch:
        self.chunks.append(units)
        return self.run(setting, units)

    def lost(self, error: BaseException) -> bool:
        return False

    def close(self) -> None:
        self.closed = True

    @property
    def ran(self) -> list[tuple[int, int]]:
        return [(unit.point, unit.replication) for units in self.chunks for unit in units]


class Breaking(Hands):
    """Workers whose executor breaks before it takes a chunk, at these of its chunks (counted from 1)."""

    def __init__(self, *breaks: int) -> None:
        super().__init__()
        self.breaks = breaks
        self.asked = 0

    def executor(self) -> Executor:
        self.asked += 1
        if self.asked in self.breaks:
            raise RuntimeError("broken between two chunks")
        return super().executor()

    def lost(self, error: BaseException) -> bool:
        return True


class _Redirected(Executor):
    """An executor that runs another function than the one it is given."""

    def __init__(self, inner: Executor, run: Callable[..., Any]) -> None:
        self.inner = inner
        self.run = run

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return self.inner.submit(self.run, *args, **kwargs)


class Sabotaged(LocalProcesses):
    """Real processes, in which one replication kills its worker: the first ``times`` times that it is run."""

    def __init__(self, folder: Path, victim: tuple[int, int], times: int) -> None:
        super().__init__(2)
        self.sabotage = partial(kill_worker, str(folder), victim, times)

    def executor(self) -> Executor:
        return _Redirected(super().executor(), self.sabotage)


def kill_worker(
    folder: str, victim: tuple[int, int], times: int, setting: Setting, units: tuple[Unit, ...]
) -> Batch:
    if victim in [(unit.point, unit.replication) for unit in units]:
        deaths = len(list(Path(folder).glob("death-*")))
        if deaths < times:
            (Path(folder) / f"death-{deaths}").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return run_units(setting, units)


def swept(
    plan: Plan, folder: Path, workers: Any = None, told: Callable[[Progress], None] = lambda progress: None
) -> SweepResults:
    return run_sweep(plan, folder, lambda: workers or Hands(), "tiny.yaml", "arbsim sweep tiny.yaml", told)


def documents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}
