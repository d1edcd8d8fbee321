"""Runs a sweep to its end, from wherever it stopped the last time."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from arbsim.model import Verdict
from arbsim.sweep.analysis import Sample, analyse
from arbsim.sweep.executors import Units, Workers, run_all
from arbsim.sweep.plan import Plan, Unit, enough, looks
from arbsim.sweep.results import FailedRun, SweepResults
from arbsim.sweep.store import Store
from arbsim.sweep.task import Done, Record

CHUNK_S = 0.3
"""How long the units that go to a worker together should take: long beside the sending and the disk, short
beside a person's patience."""

CHUNK_MAX = 500


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a sweep is: replications done and planned so far, those of them that were found on the disk."""

    done: int
    planned: int
    found: int
    points_done: int
    points: int


def run_sweep(
    plan: Plan,
    folder: Path,
    start_workers: Callable[[], Workers],
    file: str,
    replay: str,
    told: Callable[[Progress], None] = lambda progress: None,
) -> SweepResults:
    """Run what is missing, and return the document.

    ``file`` and ``replay`` are what its replay lines say: the scenario's file, and the line of the whole sweep.
    ``start_workers`` is called only where something is missing. Raises StoreError, OSError, ClusterError and
    OtherVersion; what was finished by then is on the disk.
    """
    with Store(folder, plan.setting) as store:
        work = _Work(plan, store, told)
        if work.waiting:
            workers = start_workers()
            work.workers = max(1, workers.count)
            try:
                run_all(workers, plan.setting, work.take, work.done, work.given_up)
            finally:
                workers.close()
        results = analyse(plan, list(work.samples()), work.failed(), file, replay)
        store.finish()
    return results


class _Work:
    """What is to be run, point by point, and what has come of it."""

    def __init__(self, plan: Plan, store: Store, told: Callable[[Progress], None]) -> None:
        self.plan = plan
        self.store = store
        self.told = told
        self.workers = 1
        self.waiting: deque[Unit] = deque()
        self._failures: dict[tuple[int, int], str] = {}
        self._looks = {point: looks(plan) for point in range(len(plan.points))}
        self._until = dict.fromkeys(self._looks, 0)
        self._missing = dict.fromkeys(self._looks, 0)
        self._seconds = 0.0
        self._runs = 0
        self._points_done = 0
        self._planned = 0
        self._found = 0
        for point in self._looks:
            self._go_on(point)
        self._tell()

    def _go_on(self, point: int) -> None:
        """Plan batch after batch of a point until something is missing, or enough is known."""
        while not self._missing[point]:
            begin = self._until[point]
            if begin and enough(self.plan, self._violated(point), begin):
                self._points_done += 1
                return
            self._until[point] = next(self._looks[point])
            batch = range(begin, self._until[point])
            missing = [number for number in batch if (point, number) not in self.store.records]
            self._planned += len(batch)
            self._found += len(batch) - len(missing)
            self._missing[point] = len(missing)
            self.waiting.extend(self.plan.unit(point, number) for number in missing)

    def _violated(self, point: int) -> dict[str, list[bool]]:
        records = self._records(point).values()
        violated = Verdict.VIOLATED.value
        return {name: [one[name]["verdict"] == violated for one in records] for name in self.plan.designs}

    def _records(self, point: int) -> dict[int, Record]:
        """The replications of a point so far, those that failed left out."""
        places = ((number, self.store.records.get((point, number))) for number in range(self._until[point]))
        return {number: record for number, record in places if record is not None}

    # -- what the crew asks and tells ----------------------------------------------------------------------

    def take(self) -> Units:
        """Return the next units that should go together: enough for CHUNK_S, and a part for every worker."""
        mean_s = self._seconds / self._runs if self._runs else CHUNK_S
        fair = -(-len(self.waiting) // (4 * self.workers))
        size = max(1, min(int(CHUNK_S / max(mean_s, 1e-6)), fair, CHUNK_MAX))
        return tuple(self.waiting.popleft() for _ in range(min(size, len(self.waiting))))

    def done(self, results: Sequence[Done], seconds: float) -> None:
        """Keep results, and plan the next batch of the points that are complete so far."""
        self._seconds += seconds
        self._runs += len(results)
        kept = [((one.unit.point, one.unit.replication), one.record) for one in results]
        self.store.add((place, record) for place, record in kept if record is not None)
        for (point, _), _ in kept:
            self._came(point)
        self._tell()

    def given_up(self, unit: Unit, error: str) -> None:
        """Note a replication that will have no result."""
        self._failures[unit.point, unit.replication] = error
        self._came(unit.point)
        self._tell()

    def _came(self, point: int) -> None:
        self._missing[point] -= 1
        self._go_on(point)

    def _tell(self) -> None:
        open_ = sum(self._missing.values())
        self.told(
            Progress(
                done=self._planned - open_,
                planned=self._planned,
                found=self._found,
                points_done=self._points_done,
                points=len(self.plan.points),
            )
        )

    # -- the end -------------------------------------------------------------------------------------------

    def samples(self) -> Iterator[Sample]:
        """The replications that count, by point."""
        for point in self._looks:
            yield Sample(point, self._records(point))

    def failed(self) -> list[FailedRun]:
        """The replications that have no result, in order."""
        seed = self.plan.scenario.seed
        return [
            FailedRun(point=point, values=self.plan.values(point), seed=seed + number, error=error)
            for (point, number), error in sorted(self._failures.items())
        ]
