"""One replication: every design on one workload, audited, and boiled down to plain numbers.

This is what workers run, in processes of this machine or of a cluster. A result is a pure function of the
unit, so it does not matter who computes it, when, or how often.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from arbsim import __version__
from arbsim.audit import audit
from arbsim.history import MISSING, History
from arbsim.model import DesignCard, Fate, Verdict
from arbsim.own_design import told
from arbsim.results import DesignResult
from arbsim.runner import DesignFailed, card_of, designs_failing, designs_of, settings_of
from arbsim.scenario import Scenario
from arbsim.scenario.sweep_check import at_point
from arbsim.sweep.plan import Setting, Unit
from arbsim.workload import build_workload
from arbsim.worlds.api import Design
from arbsim.worlds.virtual.world import run_design

Numbers = dict[str, Any]
"""One design's run. ``verdict``; ``against``: it broke its own claim; ``found``: kind of finding to count and
cents, where there are any; ``wrong``: certainly wrong rejections; ``waits``: bucket of the time to fate to how many
operations."""

Record = dict[str, Numbers]
"""One replication: numbers by design, in the scenario's order."""

BUCKET_BITS = 6
"""Times to fate are counted in 64 buckets for each power of two: a bucket is at most 1.6 % wide."""


class OtherVersion(Exception):
    """The worker has another version of arbsim than who sent the work."""

    def __init__(self, ours: str, workers: str) -> None:
        super().__init__(ours, workers)
        self.ours = ours
        self.workers = workers


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one unit: its record, or the error that ended it."""

    unit: Unit
    record: Record | None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """What became of some units, and how long they took; the time decides nothing but how many go together."""

    done: tuple[Done, ...]
    seconds: float


def run_units(setting: Setting, units: tuple[Unit, ...]) -> Batch:
    """Run some units, one after the other. Raises OtherVersion."""
    if setting.version != __version__:
        raise OtherVersion(setting.version, __version__)
    begun = time.perf_counter()
    done = tuple(_run(setting, unit) for unit in units)
    return Batch(done, time.perf_counter() - begun)


def _run(setting: Setting, unit: Unit) -> Done:
    try:
        return Done(unit, record_of(setting, unit))
    except DesignFailed as failed:
        return Done(unit, None, str(failed))
    except Exception as error:
        return Done(unit, None, told(error))


def record_of(setting: Setting, unit: Unit) -> Record:
    """Run every design of a point with one seed. Raises DesignFailed."""
    point = _point(setting, unit.values)
    workload = build_workload(point.scenario, unit.seed)
    settings = settings_of(point.scenario, unit.seed)
    record = {}
    for card, design in point.designs:
        with designs_failing(card.name):
            history = run_design(design, card, workload, settings)
        record[card.name] = numbers_of(history, audit(history))
    return record


@dataclass(frozen=True, slots=True)
class _Point:
    scenario: Scenario
    designs: tuple[tuple[DesignCard, Design], ...]


_POINTS: dict[tuple[str, tuple[str, ...]], _Point] = {}


def _point(setting: Setting, values: tuple[str, ...]) -> _Point:
    """The point, made once for all the replications that follow each other."""
    key = (setting.identity, values)
    point = _POINTS.get(key)
    if point is None:
        at = dict(zip(setting.keys, values, strict=True))
        scenario = at_point(_data(setting.base), at, setting.trace)
        designs = designs_of(scenario).items()
        point = _Point(scenario, tuple((card_of(name, design), design) for name, design in designs))
        _POINTS.clear()  # a worker of a cluster may run several threads: whoever is still at the last one keeps it
        _POINTS[key] = point
    return point


@lru_cache(maxsize=1)
def _data(base: str) -> Mapping[str, Any]:
    data: Mapping[str, Any] = json.loads(base)
    return data


# -- numbers -------------------------------------------------------------------------------------------


def numbers_of(history: History, result: DesignResult) -> Numbers:
    """Return what a sweep keeps of one run."""
    return {
        "verdict": result.verdict.value,
        "against": int(result.verdict is Verdict.VIOLATED and result.as_declared == "no"),
        "found": {
            kind.value: [finding.count, int(finding.amount.replace(".", ""))]
            for kind, finding in result.findings.items()
            if finding.count
        },
        "wrong": result.rejections.certainly_wrong,
        "waits": _waits(history),
    }


def _waits(history: History) -> dict[str, int]:
    """How many operations waited how long for their fate, by bucket, in order."""
    counts = Counter(
        bucket_of(answer.answered_ns - answer.invoked_ns)
        for answer in history.answers()
        if answer.answered_ns != MISSING and answer.fate is not Fate.UNKNOWN
    )
    return {str(bucket): count for bucket, count in sorted(counts.items())}


def bucket_of(time_ns: int) -> int:
    """Return the bucket of a time: its highest seven bits and where they stand, as HdrHistogram does."""
    shift = max(0, time_ns.bit_length() - BUCKET_BITS - 1)
    return (shift << BUCKET_BITS) + (time_ns >> shift)


def bucket_middle_ns(bucket: int) -> float:
    """Return the time in the middle of a bucket."""
    shift = max(0, (bucket >> BUCKET_BITS) - 1)
    low = (bucket - (shift << BUCKET_BITS)) << shift
    return low + ((1 << shift) - 1) / 2
