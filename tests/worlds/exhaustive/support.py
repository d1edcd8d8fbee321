"""Small workloads, designs for traps, and ways through their orders."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, ClassVar

from arbsim.designs.client import LocalRequests
from arbsim.designs.messages import COMMANDS, REPLIES, allows, command, key_of, reply, to_operation
from arbsim.history import History
from arbsim.model import Accepted, Fate, FindingKind, Kind, Operation, Outcome, Rejected, Workload
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.exhaustive.kafka import ChoiceCluster
from arbsim.worlds.exhaustive.kernel import Learned, LearnedMore
from arbsim.worlds.exhaustive.orders import count_orders
from arbsim.worlds.exhaustive.search import Finished, Search
from arbsim.worlds.exhaustive.steps import Step
from arbsim.worlds.exhaustive.world import ChoiceWorld
from arbsim.worlds.virtual.kafka.clusters import Clusters
from arbsim.worlds.virtual.region import Messaging
from arbsim.worlds.virtual.settings import Settings
from arbsim.worlds.virtual.world import VirtualWorld
from tests.worlds.exhaustive.toys import complete
from tests.worlds.virtual.worlds import SETTINGS

POSTGRES = replace(SETTINGS, database=replace(SETTINGS.database, dialect="postgres"))
YUGABYTE = SETTINGS
DIALECTS = {"postgres": POSTGRES, "yugabyte": YUGABYTE}


def workload(*lines: str, **accounts: int) -> Workload:
    """Operations such as "east withdraw 70 1" or "west transfer 5 1 2"; accounts in whole units, by default 1: 100."""
    operations = []
    for number, line in enumerate(lines, start=1):
        region, kind, amount, account, *receiver = line.split()
        operations.append(
            Operation(
                number, 0, region, Kind(kind), int(account), int(amount) * 100,
                int(receiver[0]) if receiver else None,
            )
        )  # fmt: skip
    opening = {int(name[1:]): 100 * units for name, units in accounts.items()} or {1: 10_000}
    return Workload(tuple(operations), opening)


TWO_WITHDRAWALS = workload("east withdraw 70 1", "west withdraw 60 1")
TWO_IN_EAST = workload("east withdraw 70 1", "east withdraw 60 1")

Seen = tuple[object, ...]


def seen(history: History) -> Seen:
    """Finals, fates and answers of a run."""
    answers = [(answer.fate, answer.told_cents) for answer in history.answers()]
    finals = sorted((store, sorted(balances.items())) for store, balances in history.finals.items())
    return (repr(finals), *answers)


def fates(outcome: Seen) -> tuple[Fate | None, ...]:
    """How each operation ended."""
    return tuple(answer[0] for answer in outcome[1:] if isinstance(answer, tuple))


def search(
    design: Design, work: Workload, settings: Settings, reduced: bool, *, nothing_at_once: bool = False
) -> Counter[Seen]:
    """Each outcome, and how many orders lead to it."""
    orders: Counter[Seen] = Counter()
    for run in runs(design, work, settings, Learned(nothing_at_once=nothing_at_once), reduced):
        assert run.result is not None
        count = count_orders(run.before) if reduced else 1
        assert count is not None
        orders[seen(run.result)] += count
    return orders


def outcomes(design: Design, work: Workload, settings: Settings, learned: Learned | None = None) -> set[Seen]:
    """What the reduced search reaches; orders are not counted. ``learned``: what is known before."""
    reached: set[Seen] = set()
    for run in runs(design, work, settings, learned or Learned()):
        assert run.result is not None
        reached.add(seen(run.result))
    return reached


def runs(
    design: Design, work: Workload, settings: Settings, learned: Learned, reduced: bool = True
) -> list[Finished[History]]:
    """The runs of a complete search, which is begun anew as long as it shows more of the design."""
    card = card_of(design.name, design)
    while True:
        with suppress(LearnedMore):
            return complete(
                lambda footprints: Search(
                    lambda: ChoiceWorld(design, card, work, settings, learned), reduced, footprints=footprints
                )
            )


class DetailedClusters(Clusters):
    """Clusters in which every message on the way is a step."""

    cluster_type = ChoiceCluster


class DetailedWorld(ChoiceWorld):
    """A world that makes no one step of several: for checking that those who do lose no outcome."""

    def _empty_clusters(self) -> Clusters:
        settings = self.settings
        return DetailedClusters(
            self.kernel, self.network, settings.kafka, settings.regions, settings.kafka_leader
        )

    def _messaging(self, region: str) -> Messaging | None:
        return VirtualWorld._messaging(self, region)


Choose = Callable[[int, list[int]], int | None]


@dataclass
class Driven:
    """One run that was driven by hand. ``ended``: it came to its end."""

    steps: list[Step]
    history: History
    ended: bool


class Driver:
    """Drives single runs of a design. ``begun``: how often a run began anew because more was learned of the design.

    Names of steps from before that mean nothing after it.
    """

    def __init__(
        self,
        design: Design,
        work: Workload,
        settings: Settings,
        world: type[ChoiceWorld] = ChoiceWorld,
        learned: Learned | None = None,
    ) -> None:
        self._world = world
        self._design, self._work, self._settings = design, work, settings
        self._card = card_of(design.name, design)
        self._learned = learned or Learned()
        self.begun = 0

    def run(self, choose: Choose) -> Driven:
        """Take the steps that ``choose`` picks by the place in the run, until it picks None or none is left."""
        while True:
            try:
                world = self._world(self._design, self._card, self._work, self._settings, self._learned)
                steps: list[Step] = []
                while choices := world.choices():
                    name = choose(len(steps), choices)
                    if name is None:
                        return Driven(steps, world.finish(), False)
                    steps.append(world.take(name))
                return Driven(steps, world.finish(), True)
            except LearnedMore:
                self.begun += 1

    def random(self, rng: random.Random) -> Driven:
        """A run by chance."""
        return self.run(lambda _, choices: rng.choice(choices))

    def follow(self, names: Sequence[int]) -> Driven:
        """A run by the names of its steps, as far as they can be taken."""
        return self.run(
            lambda place, choices: names[place] if place < len(names) and names[place] in choices else None
        )


class Probe(Design):
    """A design for one test: it claims nothing."""

    family = "db"
    agreement: ClassVar = "synchronous"
    summary = "For a test."
    claims: ClassVar[tuple[FindingKind, ...]] = ()

    def resources(self) -> Resources:
        return Resources(accounts_table=True, check=False)


async def withdraw(op: Operation, region: Region, *, guard: bool) -> Any:
    """The balance after the withdrawal; None where the guard refuses it."""
    text = "UPDATE acct SET balance = balance - $1 WHERE id = $2"
    text += " AND balance >= $1 RETURNING balance" if guard else " RETURNING balance"
    async with region.database.acquire() as conn:
        return await conn.fetchval(text, op.amount, op.account)


class SharesAListInARegion(Probe):
    """Who is alone in the region forgets the guard: a Python object that all clients of a region share."""

    name = "probe/shares-in-a-region"

    async def decide(self, op: Operation, region: Region) -> Outcome:
        here: list[int] = vars(region).setdefault("here", [])
        alone = not here
        here.append(op.id)
        await region.sleep(0.01)
        here.pop()
        balance = await withdraw(op, region, guard=op.id == 1 or not alone)
        return Rejected() if balance is None else Accepted(balance)


@dataclass(frozen=True)
class SharesADictInItsService(LocalRequests):
    """Each region's service decides in one task on what another one keeps in a dict: no search can see it."""

    name = "probe/shares-in-its-service"
    family = "bus"
    agreement: ClassVar = "asynchronous"
    summary = "For a test."
    claims: ClassVar[tuple[FindingKind, ...]] = ()

    def resources(self) -> Resources:
        return Resources(topics=(Topic(COMMANDS), Topic(REPLIES), Topic("spent", mirrored=True)))

    async def serve(self, region: Region) -> None:
        left = dict(region.opening_balances)
        await region.gather(
            self.decide_commands(region, left),
            *(self.hear(region, left, peer) for peer in region.client_regions if peer != region.name),
        )

    async def decide_commands(self, region: Region, left: dict[int, Decimal]) -> None:
        if region.name not in region.client_regions:
            return
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        consumer = await region.kafka.consumer(COMMANDS, auto_offset_reset="earliest")
        while True:
            op = to_operation((await consumer.getone()).value)
            accepted = allows(op, left[op.account])
            if accepted:
                left[op.account] -= op.amount
                await producer.send("spent", command(op), key=key_of(op.account))
            await producer.send(REPLIES, reply(accepted, left[op.account]), key=key_of(op.id))

    async def hear(self, region: Region, left: dict[int, Decimal], peer: str) -> None:
        consumer = await region.kafka.consumer(f"{peer}.spent", auto_offset_reset="earliest")
        while True:
            op = to_operation((await consumer.getone()).value)
            left[op.account] -= op.amount


class TwoRowsAndASnapshot(Probe):
    """A read looks at accounts 1 and 2 under REPEATABLE READ; a deposit writes one row."""

    name = "probe/two-rows"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        async with region.database.acquire() as conn, conn.transaction(isolation="repeatable_read"):
            if op.kind is Kind.READ:
                first = await conn.fetchval("SELECT balance FROM acct WHERE id = 1")
                second = await conn.fetchval("SELECT balance FROM acct WHERE id = 2")
                return Accepted(first * 1000 + second)
            await conn.execute("UPDATE acct SET balance = balance + $1 WHERE id = $2", op.amount, op.account)
            return Accepted()


@dataclass(frozen=True)
class WriteSkew(Probe):
    """The sum of both accounts must cover a withdrawal from either."""

    name = "probe/write-skew"
    isolated_tasks = True
    isolation: str = "repeatable_read"

    async def decide(self, op: Operation, region: Region) -> Outcome:
        from asyncpg.exceptions import SerializationError

        try:
            async with region.database.acquire() as conn, conn.transaction(isolation=self.isolation):
                both = await conn.fetchval("SELECT sum(balance) FROM acct")
                if both < op.amount:
                    return Rejected()
                await conn.execute(
                    "UPDATE acct SET balance = balance - $1 WHERE id = $2", op.amount, op.account
                )
        except SerializationError:
            return Rejected()
        return Accepted()


@dataclass(frozen=True)
class LastWriterWinsInSql(Probe):
    """A write is taken only if it began after the one that is there, by SQL's now()."""

    name = "probe/sql-clock"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        async with region.database.acquire() as conn, conn.transaction(isolation="read_committed"):
            taken = await conn.fetchval(
                "UPDATE acct SET balance = $1, updated_at = now() WHERE id = $2 AND updated_at < now()"
                " RETURNING balance",
                op.amount,
                op.account,
            )
            return Accepted(taken) if taken is not None else Rejected()


class Impatient(Probe):
    """Rejects where its own transaction took long by its clock."""

    name = "probe/impatient"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        before = region.clock.time_ns()
        async with region.database.acquire() as conn:
            await conn.fetchval("SELECT balance FROM acct WHERE id = 1")
        return Accepted() if region.clock.time_ns() - before < 60_000_000_000 else Rejected()


class GivesUp(Probe):
    """Waits for a lock, but not for ever."""

    name = "probe/timeout"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        from arbsim.model import Unknown

        try:
            async with region.timeout(1.0), region.database.acquire() as conn:
                await conn.execute(
                    "UPDATE acct SET balance = balance - $1 WHERE id = $2", op.amount, op.account
                )
        except TimeoutError:
            return Unknown("timeout")
        return Accepted()
