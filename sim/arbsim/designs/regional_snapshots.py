"""Each region decides on its own view and sends the new balance; the last writer wins."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.client import LocalRequests
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, pack, reply, to_operation, unpack
from arbsim.model import FindingKind, from_cents
from arbsim.worlds.api import Producer, Region, Resources, Store, Topic

SNAPSHOTS = "snapshots"


@dataclass(frozen=True)
class RegionalSnapshots(LocalRequests):
    """What is sent is a whole balance, so the older of two concurrent balances vanishes."""

    name = "bus/regional-snapshots"
    isolated_tasks = True
    family = "bus"
    agreement = "asynchronous"
    summary = (
        "Each region's consumer decides on its own view and emits the new balance; in every region the"
        " one with the latest timestamp wins."
    )
    claims = (FindingKind.DUPLICATE_EFFECT, FindingKind.DIVERGENCE, FindingKind.UNEXPLAINED)
    cure = "bus/log-fold"

    def resources(self) -> Resources:
        """A command and a reply topic in each region; the snapshots are mirrored."""
        return Resources(topics=(Topic(COMMANDS), Topic(REPLIES), Topic(SNAPSHOTS, mirrored=True)))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's steps."""
        return (self.decide_batch, View.merge)

    async def serve(self, region: Region) -> None:
        """Decide what this region's clients ask, and take over newer balances from the other regions."""
        view = View(region.store(), region.name)
        peers = [peer for peer in region.client_regions if peer != region.name]
        await region.gather(
            self.decide_commands(region, view), *(self.adopt_snapshots(region, view, peer) for peer in peers)
        )

    async def decide_commands(self, region: Region, view: View) -> None:
        """Read, decide, write: each command against the balance that this region knows."""
        if region.name not in region.client_regions:
            return
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        consumer = await region.kafka.consumer(
            COMMANDS, group_id="decider", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            await region.gather(
                *(self.decide_batch(region, view, producer, batch) for batch in batches.values())
            )
            if batches:
                await consumer.commit()

    async def decide_batch(
        self, region: Region, view: View, producer: Producer, batch: Sequence[Any]
    ) -> None:
        """Decide each command of one partition in order, then wait until everything is written."""
        written = []
        for record in batch:
            op = to_operation(record.value)
            with region.working_on(op.id):
                accepted = allows(op, view.balance(op.account))
                if accepted:
                    for account, cents in op.deltas():
                        snapshot = view.change(op.id, account, from_cents(cents), region.clock.time_ns())
                        written.append(await producer.send(SNAPSHOTS, pack(snapshot), key=key_of(account)))
                told = view.balance(op.account)
                written.append(await producer.send(REPLIES, reply(accepted, told), key=key_of(op.id)))
        for acknowledged in written:
            await acknowledged

    async def adopt_snapshots(self, region: Region, view: View, peer: str) -> None:
        """Take over another region's balances where they are newer."""
        consumer = await region.kafka.consumer(
            f"{peer}.{SNAPSHOTS}", group_id="applier", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    snapshot = unpack(record.value)
                    with region.working_on(snapshot["op"]):
                        view.merge(snapshot)
                await consumer.commit()


class View:
    """A region's balances, each with the timestamp of its last writer: last-writer-wins registers."""

    def __init__(self, store: Store, region: str) -> None:
        self._store = store
        self._region = region
        self._stamps: dict[int, tuple[int, str]] = {}

    def balance(self, account: int) -> Decimal:
        """The balance that this region knows."""
        return self._store.get(account)

    def change(self, op_id: int, account: int, delta: Decimal, time_ns: int) -> dict[str, Any]:
        """Write a new balance and return the snapshot to send. A region's own stamps only grow."""
        balance = self._store.get(account) + delta
        stamp = max(time_ns, self._stamps.get(account, (0, ""))[0] + 1)
        self._store.put(account, balance)
        self._stamps[account] = (stamp, self._region)
        return {
            "op": op_id,
            "account": account,
            "balance": str(balance),
            "stamp": stamp,
            "region": self._region,
        }

    def merge(self, snapshot: dict[str, Any]) -> None:
        """Take over a snapshot, unless a later writer has won already. The region's name breaks ties."""
        account, stamp = snapshot["account"], (snapshot["stamp"], snapshot["region"])
        if stamp > self._stamps.get(account, (0, "")):
            self._stamps[account] = stamp
            self._store.adopt(account, Decimal(snapshot["balance"]))
        else:
            self._store.supersede(account)
