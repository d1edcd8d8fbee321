"""Probes: operations that decide nothing, sent on the servers and on the model to compare how long they take.

The model is told the links as they were measured, and no time for the servers' own work. What a probe takes longer on
the servers, on average, is that time. Averages are what counts: where gaps are uniform, the share of those that are
shorter than a lag is the lag's mean over the width of the range, however the lag is distributed.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal

from arbsim.agreement import FlowDelay
from arbsim.designs.database import DEPOSIT, SELECT
from arbsim.history import History
from arbsim.model import Accepted, Kind, Operation, Outcome, Workload
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.live.replay import DATABASE
from arbsim.worlds.virtual.draws import UNIT_BITS, Draws
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import run_design as run_model

_DATABASE_WARM_UP = 10
_MIRROR_WARM_UP = 250
"""Probes of each region that do not count.

Java compiles what runs often while it runs: on servers that had just started MirrorMaker's lag fell by 7 ms within the
first 300 records and stayed there. Repetitions come when the servers have been at work for long.
"""

_WARM_UP_EVERY_NS = 20_000_000
"""How far apart those are."""

_EVERY_NS = 100_000_000
"""Probes are between one and two of these apart, so that they meet MirrorMaker at every point of its polls."""

_TRIAL_NS = 1_000_000
_PROBES = "probes"

Live = Callable[[str, Design, Workload], History]
"""Runs a design, by its name, on the servers."""

Flows = Mapping[tuple[str, str], Sequence[int]]
"""Times in nanoseconds by (source, target)."""

_FlowsOf = Callable[[History, Sequence[Operation]], Flows]
"""Takes the times of those probes that count from a history."""


def probes(settings: Settings, warm_up: int, each_way: int) -> Workload:
    """Return a workload that sends so many probes from each region with clients, in turn, each on its own account.

    ``warm_up`` more from each region go before.
    """
    draws, regions = Draws(settings.seed, "repeating/probes"), settings.client_regions
    operations, at_ns = [], 0
    for number in range(1, (warm_up + each_way) * len(regions) + 1):
        if number <= warm_up * len(regions):
            at_ns += _WARM_UP_EVERY_NS
        else:
            at_ns += _EVERY_NS + (_EVERY_NS * draws.uniform(number, 0) >> UNIT_BITS)
        operations.append(Operation(number, at_ns, regions[number % len(regions)], Kind.DEPOSIT, number, 1))
    return Workload(operations, dict.fromkeys(range(1, len(operations) + 1), 0))


# -- MirrorMaker ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MirrorProbe(Design):
    """Sends each operation to a mirrored topic; every other region's service notes when it has come there."""

    name = "probe of MirrorMaker"
    family = "bus"
    agreement = "asynchronous"
    summary = "Records that measure MirrorMaker's lag; nothing is decided."

    def resources(self) -> Resources:
        """One topic of each region, mirrored."""
        return Resources(topics=(Topic(_PROBES, mirrored=True),))

    async def connect(self, region: Region) -> None:
        """Open the producer."""
        await region.kafka.producer("local", acks="all", enable_idempotence=True)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Send a record."""
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        await producer.send_and_wait(_PROBES, b"%d" % op.id, key=b"%d" % op.account)
        return Accepted()

    async def serve(self, region: Region) -> None:
        """Note what comes from each other region with clients."""
        await region.gather(
            *(self._note(region, peer) for peer in region.client_regions if peer != region.name)
        )

    async def _note(self, region: Region, peer: str) -> None:
        store = region.store()
        consumer = await region.kafka.consumer(
            f"{peer}.{_PROBES}", auto_offset_reset="earliest", enable_auto_commit=False
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    with region.working_on(int(record.value)):
                        account = int(record.key)
                        store.put(account, store.get(account) + Decimal("0.01"))


def measure_mirrors(settings: Settings, live: Live, each_way: int) -> tuple[Settings, list[FlowDelay]]:
    """Return the settings with ``kafka.mirror_lag`` as measured, and the measurements.

    A record's way begins when it is sent, not when its broker has answered: what producing takes longer than on the
    model is part of the lag, for a region decides before it sends.
    """
    compare = _Comparison(MirrorProbe(), settings, _MIRROR_WARM_UP, each_way, live)

    def told(lag_ns: int) -> Settings:
        return replace(settings, kafka=replace(settings.kafka, mirror_lag_ns=lag_ns))

    measured, quick = compare.measured(_copies), compare.modelled(_copies, told(0))
    return told(_longer_by_ns(measured, quick)), _delays(measured, quick)


def _copies(history: History, counted: Sequence[Operation]) -> Flows:
    """How long each probe took from its send to a consumer in another region."""
    flows: dict[tuple[str, str], list[int]] = {}
    by_id = {op.id: op for op in counted}
    for effect in history.effects():
        if op := by_id.get(effect.operation):
            lag_ns = effect.time_ns - history.answer_of(op.id).invoked_ns
            flows.setdefault((op.region, effect.store), []).append(lag_ns)
    return flows


# -- the database --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class DatabaseProbe(Design):
    """A transaction that reads and writes a row that nobody else wants."""

    name = "probe of the database"
    family = "db"
    agreement = "synchronous"
    summary = "Transactions that measure what statements take; nothing is decided."

    def resources(self) -> Resources:
        """The accounts' table."""
        return Resources(accounts_table=True)

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """BEGIN, SELECT, UPDATE, COMMIT."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            await connection.fetchval(SELECT, op.account)
            await connection.execute(DEPOSIT, op.amount, op.account)
        return Accepted()


def measure_database(settings: Settings, live: Live, each_way: int) -> tuple[Settings, list[FlowDelay]]:
    """Return the settings with ``database.statement`` as measured, and the measurements.

    How often a transaction pays for a statement the model itself says: it is asked with none and with one millisecond.
    """
    compare = _Comparison(DatabaseProbe(), settings, _DATABASE_WARM_UP, each_way, live)

    def told(statement_ns: int) -> Settings:
        return replace(settings, database=replace(settings.database, statement_ns=statement_ns))

    measured, quick = compare.measured(_transactions), compare.modelled(_transactions, told(0))
    slow = compare.modelled(_transactions, told(_TRIAL_NS))
    statements = _longer_by_ns(slow, quick) / _TRIAL_NS
    return told(round(_longer_by_ns(measured, quick) / statements)), _delays(measured, quick)


def _transactions(history: History, counted: Sequence[Operation]) -> Flows:
    """How long each transaction took."""
    flows: dict[tuple[str, str], list[int]] = {}
    for op in counted:
        answer = history.answer_of(op.id)
        flows.setdefault((op.region, DATABASE), []).append(answer.answered_ns - answer.invoked_ns)
    return flows


# -- both ----------------------------------------------------------------------------------------------


class _Comparison:
    """The same probes on the servers, once, and on the model as often as it is asked."""

    def __init__(self, design: Design, settings: Settings, warm_up: int, each_way: int, live: Live) -> None:
        self._design = design
        self._workload = probes(settings, warm_up, each_way)
        self._counted = self._workload.operations[warm_up * len(settings.client_regions) :]
        self._live = live(design.name, design, self._workload)

    def measured(self, flows: _FlowsOf) -> Flows:
        return flows(self._live, self._counted)

    def modelled(self, flows: _FlowsOf, settings: Settings) -> Flows:
        card = card_of(self._design.name, self._design)
        return flows(run_model(self._design, card, self._workload, settings), self._counted)


def _longer_by_ns(measured: Flows, modelled: Flows) -> int:
    """How much longer the ones take than the others: the mean of the means of all flows."""
    longer = [statistics.mean(times) - statistics.mean(modelled[place]) for place, times in measured.items()]
    return max(0, round(statistics.mean(longer)))


def _delays(measured: Flows, modelled: Flows) -> list[FlowDelay]:
    return [
        FlowDelay(
            source=source,
            target=target,
            probes=len(times),
            mean_ms=_ms(statistics.mean(times)),
            p50_ms=_percentile_ms(times, 50),
            p90_ms=_percentile_ms(times, 90),
            p99_ms=_percentile_ms(times, 99),
            modelled_ms=_ms(statistics.mean(modelled[source, target])),
        )
        for (source, target), times in sorted(measured.items())
    ]


def _percentile_ms(times: Sequence[int], percent: int) -> float:
    """By nearest rank."""
    return _ms(sorted(times)[max(0, -(-len(times) * percent // 100) - 1)])


def _ms(time_ns: float) -> float:
    return round(time_ns / 1e6, 3)
