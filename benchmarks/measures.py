"""What is measured, and how. Everything is a ratio, or memory, or CPU of a cold start; each is taken in one run."""

from __future__ import annotations

import cProfile
import os
import pstats
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar
from unittest import mock

import simpy

from arbsim.history import History
from arbsim.model import DesignCard, Workload
from arbsim.runner import card_of, designs_of, settings_of
from arbsim.scenario import Scenario, load_scenario
from arbsim.scenario.load import parse_scenario
from arbsim.scenario.source import Source
from arbsim.workload import build_workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual import world as virtual
from arbsim.worlds.virtual.kernel import Kernel, Task
from arbsim.worlds.virtual.settings import Settings

ROOT = Path(__file__).parents[1]
HOT = ROOT / "scenarios" / "hot_account.yaml"


@dataclass(frozen=True)
class Load:
    """hot_account with another number of operations."""

    settings: Settings
    workload: Workload
    designs: dict[str, Design]


def hot_account(operations: int) -> Load:
    """Return hot_account.yaml scaled to a number of operations; rate and accounts stay."""
    text = HOT.read_text(encoding="utf-8").replace("operations: 10000", f"operations: {operations}")
    scenario: Scenario = parse_scenario(Source("hot_account", text), folder=ROOT)
    return Load(settings_of(scenario, 42), build_workload(scenario, 42), designs_of(scenario))


class CountingQueue(deque[Any]):
    """Knows how many it has ever had."""

    ever = 0

    def append(self, one: Any) -> None:
        """Put one at the end."""
        self.ever += 1
        super().append(one)


class CountingNumbers:
    """0, 1, 2, ...; ``ever`` tells how many were given."""

    ever = 0

    def __next__(self) -> int:
        self.ever += 1
        return self.ever - 1


class CountingKernel(Kernel):
    """Counts events, and for each task between which of them it lived."""

    made: ClassVar[list[CountingKernel]] = []

    def __init__(self) -> None:
        super().__init__()
        self._eid: Any = CountingNumbers()
        self._urgent: Any = CountingQueue()
        self._normal: Any = CountingQueue()
        self.lived = 0
        CountingKernel.made.append(self)

    @property
    def events(self) -> int:
        """How many have been processed."""
        made: int = self._eid.ever + self._urgent.ever + self._normal.ever
        return made - len(self._timers) - len(self._urgent) - len(self._normal)

    def spawn(self, coroutine: Any, trace: Any = None) -> Task[Any]:
        """Begin a task, and note how many events it lives through."""
        task: Task[Any] = super().spawn(coroutine, trace)
        born = self.events
        task.callbacks.append(lambda _: self._ended(born))
        task.observed = True
        return task

    def _ended(self, born: int) -> None:
        self.lived += self.events - born


@contextmanager
def counting() -> Iterator[None]:
    """Let worlds be built on a kernel that counts."""
    with mock.patch.object(virtual, "Kernel", CountingKernel):
        yield


def count(name: str, design: Design, load: Load) -> tuple[int, float]:
    """Run a design once to count its events and the mean number of its live tasks."""
    with counting():
        CountingKernel.made.clear()
        virtual.run_design(design, card_of(name, design), load.workload, load.settings)
        (kernel,) = CountingKernel.made
    return kernel.events, max(1.0, kernel.lived / kernel.events)


def bare_simpy_s(events: int, processes: int) -> float:
    """CPU seconds of a bare SimPy loop: so many events in all, by so many processes that only wait."""
    environment = simpy.Environment()
    delays = [random.Random(1).randrange(1, 1000) for _ in range(997)]

    def wait(number: int) -> Any:
        place = number
        while True:
            place = (place + 1) % 997
            yield environment.timeout(delays[place])

    for number in range(processes):
        environment.process(wait(number))
    for _ in range(processes):  # the processes' own beginnings do not count
        environment.step()
    start = time.process_time()
    for _ in range(events):
        environment.step()
    return time.process_time() - start


def kernel_over_bare(events: int, processes: int) -> float:
    """CPU seconds of the same loop by coroutines on arbsim's event loop, over those of bare SimPy."""
    kernel = Kernel()
    delays = [random.Random(1).randrange(1, 1000) for _ in range(997)]

    async def wait(number: int) -> None:
        place = number
        for _ in range(events // processes):
            place = (place + 1) % 997
            await kernel.sleep_ns(delays[place])

    for number in range(processes):
        kernel.spawn(wait(number))
    start = time.process_time()
    kernel.run_until_quiet(sys.maxsize)
    return round((time.process_time() - start) / bare_simpy_s(events, processes), 2)


PARTS = (
    ("simpy", "event loop"),
    ("virtual/kernel.py", "event loop"),
    ("virtual/sql/", "SQL engine"),
    ("virtual/database.py", "database: connections, commits, quorums"),
    ("virtual/kafka/", "Kafka"),
    ("virtual/network.py", "network and its weather"),
    ("virtual/draws.py", "network and its weather"),
    ("virtual/recorder.py", "history"),
    ("arbsim/history.py", "history"),
    ("arbsim/designs/", "designs"),
)


def where_time_goes(name: str, operations: int) -> dict[str, float]:
    """Shares of a run's time by part, by profile; what is built in counts where it is called from."""
    load = hot_account(operations)
    card, profile = card_of(name, load.designs[name]), cProfile.Profile()
    profile.runcall(virtual.run_design, load.designs[name], card, load.workload, load.settings)
    spent: Counter[str] = Counter()
    stats: Any = pstats.Stats(profile)
    for (file, *_), row in stats.stats.items():
        callers = row[-1] if file.startswith(("~", "<")) else {}
        for caller, part in callers.items() or [((file,), row)]:
            spent[_part(caller[0])] += part[2]
    return {part: round(seconds / spent.total(), 2) for part, seconds in spent.most_common()}


def _part(file: str) -> str:
    return next((part for place, part in PARTS if place in file), "the rest")


def run_s(name: str, design: Design, load: Load) -> tuple[float, History]:
    """CPU seconds of one run, and its history. The audit is not part of it."""
    card: DesignCard = card_of(name, design)
    start = time.process_time()
    history = virtual.run_design(design, card, load.workload, load.settings)
    return time.process_time() - start, history


def events_of(name: str, operations: int) -> dict[str, float]:
    """One design on hot_account: its time per event over that of bare SimPy, and what stands behind it."""
    load = hot_account(operations)
    design = load.designs[name]
    small = hot_account(min(operations, 10_000))
    events, live = count(name, design, small)
    per_operation = events / len(small.workload)
    seconds, history = run_s(name, design, load)
    total = round(per_operation * operations)
    bare = bare_simpy_s(total, round(live))
    return {
        "times_bare_simpy_per_event": round(seconds / bare, 2),
        "events_per_operation": round(per_operation, 1),
        "mean_live_tasks": round(live, 1),
        "operations_per_cpu_s": round(operations / seconds),
        "history_bytes_per_operation": round(history.nbytes() / operations),
    }


def flatness(name: str, few: int, many: int) -> dict[str, float]:
    """CPU time per operation with many operations over that with few; 1.0 is flat."""
    small = run_s(name, hot_account(few).designs[name], hot_account(few))[0] / few
    large = run_s(name, hot_account(many).designs[name], hot_account(many))[0] / many
    return {"operations": many, "against": few, "ratio": round(large / small, 3)}


def cold_cpu_s(*arguments: str) -> float:
    """CPU seconds, user and system, of a new process that runs the command once.

    It finds the modules compiled, as pip leaves them: another process has run the same command before.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = ["--out", folder] if arguments[:1] in {("run",), ("explore",)} else []
        command = [sys.executable, "-m", "arbsim", *arguments, *out]
        surroundings = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        surroundings["PYTHONPYCACHEPREFIX"] = f"{folder}/compiled"
        for _ in range(2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, cwd=ROOT, check=True, capture_output=True, env=surroundings)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return round(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 3)


def check_scenario() -> None:
    """Fail early where hot_account.yaml no longer says how many operations it has."""
    assert len(build_workload(load_scenario(HOT), 42)) == 10_000
    assert len(hot_account(100).workload) == 100
