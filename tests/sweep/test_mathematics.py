"""The models agree with what mathematics says of them, within intervals over whole runs, at fixed seeds.

docs/how-checked.md names the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate, pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from scipy import stats

from arbsim.audit import audit
from arbsim.designs.active_active import ActiveActive
from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.log_fold import LogFold
from arbsim.designs.single_writer import SingleWriter
from arbsim.history import EffectKind, History
from arbsim.model import Kind, Operation, Verdict, Workload
from arbsim.sweep.intervals import bootstrap, clopper_pearson, mean_of
from arbsim.worlds.virtual.settings import Settings
from tests.worlds.virtual.worlds import MS, REGIONS, SETTINGS, run

S = 1000 * MS
UNLIMITED = {1: 10**11}


def everywhere(milliseconds: int, regions: Sequence[str] = REGIONS, **changes: Any) -> Settings:
    """The same round trip between any two regions, none inside a region."""
    trips = {(a, b): 0 if a == b else milliseconds * MS for a in regions for b in regions}
    return replace(SETTINGS, regions=tuple(regions), round_trip_ns=trips, **changes)


def poisson(random: Random, rate_per_s: float, count: int) -> list[int]:
    gaps = (-math.log(1 - random.random()) * S / rate_per_s for _ in range(count))
    return [round(at) for at in accumulate(gaps)]


def merged(streams: dict[str, list[int]], cents: int, opening: dict[int, int]) -> Workload:
    arrivals = sorted((at, region) for region, times in streams.items() for at in times)
    operations = tuple(
        Operation(number, at, region, Kind.WITHDRAW, 1, cents)
        for number, (at, region) in enumerate(arrivals, start=1)
    )
    return Workload(operations, opening)


def assert_mean(values: Sequence[float], expected: float, within: float) -> None:
    """The interval over runs holds the expected mean, and is narrow enough to mean something."""
    found = bootstrap(mean_of(np.array(values)), len(values))
    assert found.low is not None
    assert found.high is not None
    assert found.low <= expected <= found.high, (found, expected)
    assert found.high - found.low <= within * expected


# -- news that is on its way -------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate_per_s", "lag_ms"), [(4, 60), (10, 60), (10, 150)])
def test_an_operation_misses_a_remote_one_as_often_as_a_poisson_stream_says(
    rate_per_s: int, lag_ms: int
) -> None:
    """1 - exp(-remote rate x L): the remote arrivals within L before it are a Poisson number."""
    settings = everywhere(40, ("east", "west"))
    database = replace(settings.database, xcluster_lag_ns=(lag_ms - 20) * MS)
    settings = replace(settings, database=database)
    shares = []
    for seed in range(12):
        random = Random(f"misses/{seed}")
        streams = {region: poisson(random, rate_per_s, 150) for region in ("east", "west")}
        history = run(ActiveActive(), merged(streams, 1, UNLIMITED), settings)
        shares.append(share_that_missed(history, lag_ms * MS))
    assert_mean(shares, 1 - math.exp(-rate_per_s * lag_ms / 1000), within=0.25)


def share_that_missed(history: History, lag_ns: int) -> float:
    """The part of operations at whose decision a remote effect was made and had not arrived.

    Left out: those that began before news could be under way, and those after one of the streams had ended.
    """
    made: dict[int, int] = {}
    arrived: dict[tuple[int, str], int] = {}
    for effect in history.effects():
        if effect.kind is EffectKind.WRITTEN:
            made[effect.operation] = effect.time_ns
        else:
            arrived[effect.operation, effect.store] = effect.time_ns
    assert {at - made[operation] for (operation, _), at in arrived.items()} == {lag_ns}
    by_region = {
        region: [op for op in history.workload if op.region == region] for region in ("east", "west")
    }
    until = min(operations[-1].at_ns for operations in by_region.values())
    missed = counted = 0
    for read in history.reads():
        region = history.workload[read.operation].region
        (remote,) = (operations for name, operations in by_region.items() if name != region)
        if lag_ns <= read.time_ns <= until:
            counted += 1
            missed += any(
                made[op.id] < read.time_ns < arrived[op.id, read.store] for op in remote if op.id in made
            )
    return missed / counted


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_two_operations_at_uniform_times_overdraw_as_often_as_geometry_says(share: float) -> None:
    """1 - (1 - L/W)^2: the part of the square in which two uniform times lie within L of each other."""
    lag_ms = 100
    window_ns = round(lag_ms * MS / share)
    settings = everywhere(40, ("east", "west"))
    settings = replace(settings, database=replace(settings.database, xcluster_lag_ns=(lag_ms - 20) * MS))
    random = Random(f"window/{share}")
    runs = 400
    violated = 0
    for _ in range(runs):
        streams = {region: [int(random.random() * window_ns)] for region in ("east", "west")}
        history = run(ActiveActive(), merged(streams, 6000, {1: 10_000}), settings)
        violated += audit(history).verdict is Verdict.VIOLATED
    found = clopper_pearson(violated, runs)
    expected = 1 - (1 - share) ** 2
    assert found.low is not None
    assert found.high is not None
    assert found.low <= expected <= found.high
    assert found.high - found.low < 0.11


# -- waiting for one writer --------------------------------------------------------------------------------


@pytest.mark.parametrize("load", [0.3, 0.6])
def test_operations_wait_for_the_single_writer_as_in_a_queue_with_deterministic_service(load: float) -> None:
    """M/D/1: the mean wait is load x D / (2 (1 - load)) (Pollaczek and Khinchine, with no variance of service)."""
    settings = everywhere(20)
    settings = replace(settings, kafka=replace(settings.kafka, max_poll_records=1))
    design = SingleWriter(partitions=1)
    at_once = run(design, merged({"east": [0] * 12}, 1, UNLIMITED), settings)
    ends = [answer.answered_ns for answer in at_once.answers()]
    (service_ns,) = {after - before for before, after in pairwise(ends)}
    alone = run(design, merged({"east": [i * 777 * MS for i in range(6)]}, 1, UNLIMITED), settings)
    (idle_ns,) = {answer.answered_ns - answer.invoked_ns for answer in alone.answers()}
    waits = []
    for seed in range(12):
        times = poisson(Random(f"queue/{load}/{seed}"), load * S / service_ns, 500)
        history = run(design, merged({"east": times}, 1, UNLIMITED), settings)
        latencies = [answer.answered_ns - answer.invoked_ns for answer in history.answers()][60:]
        waits.append(sum(latencies) / len(latencies) - idle_ns)
    assert_mean(waits, load * service_ns / (2 * (1 - load)), within=0.6)


# -- the quorum --------------------------------------------------------------------------------------------

JITTER = 500_000
APART = [number * 3 * S for number in range(300)]
FIVE = ("east", "west", "central", "north", "south")


@pytest.mark.parametrize(
    ("regions", "rank"),
    [(("east", "west", "central"), 1), (FIVE, 2)],
    ids=["majority of three", "majority of five"],
)
def test_a_commit_waits_for_the_order_statistic_of_the_round_trips_that_makes_a_majority(
    regions: tuple[str, ...], rank: int
) -> None:
    """Round trips are R (1 + j u). The k-th smallest of n uniform u has the mean k / (n + 1); here are two in turn:

    one quorum for the intents of the UPDATE and one for COMMIT, with weather of their own.
    """
    settings = everywhere(100, regions, jitter_ppm=JITTER, client_regions=("east",))
    history = run(AtomicUpdate(), merged({"east": APART}, 1, UNLIMITED), settings)
    trips = [answer.answered_ns - answer.invoked_ns for answer in history.answers()]
    of = len(regions) - 1
    spread = 100 * MS * JITTER / 1_000_000
    assert_mean(trips, 2 * (100 * MS + spread * rank / (of + 1)), within=0.05)
    variance = 2 * spread**2 * rank * (of + 1 - rank) / ((of + 1) ** 2 * (of + 2))
    assert np.var(trips) == pytest.approx(variance, rel=0.2)


@pytest.mark.parametrize("regions", [("east", "west", "central"), FIVE], ids=["three", "five"])
def test_acks_all_waits_for_the_largest_of_the_round_trips(regions: tuple[str, ...]) -> None:
    settings = everywhere(100, regions, jitter_ppm=JITTER, client_regions=("east",))
    history = run(LogFold(), merged({"east": APART}, 1, UNLIMITED), settings)
    trips = [answer.recorded_ns - answer.invoked_ns for answer in history.answers()]
    assert_largest(trips, len(regions) - 1)


def assert_largest(trips_ns: Sequence[int], of: int) -> None:
    """The largest of n uniform numbers has the distribution Beta(n, 1)."""
    uniform = [(trip / (100 * MS) - 1) / (JITTER / 1_000_000) for trip in trips_ns]
    assert min(uniform) >= 0
    assert max(uniform) <= 1
    beta: Callable[[Any], Any] = stats.beta(of, 1).cdf
    assert stats.kstest(uniform, beta).pvalue > 0.01
