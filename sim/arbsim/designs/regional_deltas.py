"""Each region decides on its own view and sends the difference to the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.client import LocalRequests
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, pack, reply, to_operation, unpack
from arbsim.model import FindingKind, Operation, from_cents
from arbsim.worlds.api import Producer, Region, Resources, Store, Topic

DELTAS = "deltas"


@dataclass(frozen=True)
class RegionalDeltas(LocalRequests):
    """Deltas commute, so all regions agree in the end; the rule is checked on a view that lags."""

    name = "bus/regional-deltas"
    isolated_tasks = True
    family = "bus"
    agreement = "asynchronous"
    summary = (
        "Each region's consumer decides on its own view and emits a delta; MirrorMaker copies it, and"
        " every region applies all deltas."
    )
    claims = (
        FindingKind.LOST_UPDATE,
        FindingKind.DUPLICATE_EFFECT,
        FindingKind.DIVERGENCE,
        FindingKind.CONSERVATION,
        FindingKind.UNEXPLAINED,
    )
    cure = "bus/single-writer"
    own_order = None

    def resources(self) -> Resources:
        """A command and a reply topic in each region; the deltas are mirrored."""
        return Resources(topics=(Topic(COMMANDS), Topic(REPLIES), Topic(DELTAS, mirrored=True)))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's steps."""
        return (self.decide_batch, self.apply_deltas)

    async def serve(self, region: Region) -> None:
        """Decide what this region's clients ask, and apply what the other regions decided."""
        store = region.store()
        await region.gather(
            self.decide_commands(region, store),
            *(
                self.apply_deltas(region, store, peer)
                for peer in region.client_regions
                if peer != region.name
            ),
        )

    async def decide_commands(self, region: Region, store: Store) -> None:
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
                *(self.decide_batch(region, store, producer, batch) for batch in batches.values())
            )
            if batches:
                await consumer.commit()

    async def decide_batch(
        self, region: Region, store: Store, producer: Producer, batch: Sequence[Any]
    ) -> None:
        """Decide each command of one partition in order, then wait until everything is written."""
        written = []
        for record in batch:
            op = to_operation(record.value)
            with region.working_on(op.id):
                balance = store.get(op.account)
                accepted = allows(op, balance)
                if accepted:
                    for account, cents in op.deltas():
                        delta = from_cents(cents)
                        store.put(account, store.get(account) + delta)
                        written.append(
                            await producer.send(DELTAS, delta_of(op, account, delta), key=key_of(account))
                        )
                told = store.get(op.account)
                written.append(await producer.send(REPLIES, reply(accepted, told), key=key_of(op.id)))
        for acknowledged in written:
            await acknowledged

    async def apply_deltas(self, region: Region, store: Store, peer: str) -> None:
        """Add another region's deltas to this region's view; nothing is checked any more."""
        consumer = await region.kafka.consumer(
            f"{peer}.{DELTAS}", group_id="applier", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    message = unpack(record.value)
                    with region.working_on(message["op"]):
                        account = message["account"]
                        store.put(account, store.get(account) + Decimal(message["delta"]))
                await consumer.commit()


def delta_of(op: Operation, account: int, delta: Decimal) -> bytes:
    """Encode what an operation does to one account."""
    return pack({"op": op.id, "account": account, "delta": str(delta)})
