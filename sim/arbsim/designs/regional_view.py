"""Consumers in every region, each with its own view of the balances: what two traps have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, ClassVar

from arbsim.designs.client import LocalRequests
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, pack, reply, to_operation, unpack
from arbsim.model import from_cents
from arbsim.worlds.api import Producer, Region, Resources, Topic


class View(ABC):
    """The balances that a region knows."""

    def __init__(self, region: Region) -> None:
        self.region = region
        self.store = region.store()

    @abstractmethod
    def change(self, account: int, delta: Decimal) -> dict[str, Any]:
        """Change a balance, and return what the other regions are to be told."""

    @abstractmethod
    def take_over(self, message: dict[str, Any]) -> None:
        """Take over what another region told; nothing is checked any more."""


@dataclass(frozen=True)
class RegionalView(LocalRequests):
    """Decides on the region's own view, and tells the other regions afterwards."""

    family = "bus"
    agreement = "asynchronous"

    topic: ClassVar[str]
    view: ClassVar[type[View]]

    def resources(self) -> Resources:
        """A command and a reply topic in each region; what regions tell each other is mirrored."""
        return Resources(topics=(Topic(COMMANDS), Topic(REPLIES), Topic(self.topic, mirrored=True)))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's steps."""
        return (self.decide_batch, self.view.change, self.view.take_over)

    async def serve(self, region: Region) -> None:
        """Decide what this region's clients ask, and take over what the other regions tell."""
        view = self.view(region)
        peers = [peer for peer in region.client_regions if peer != region.name]
        await region.gather(
            self.decide_commands(region, view), *(self.listen(region, view, peer) for peer in peers)
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
                accepted = allows(op, view.store.get(op.account))
                if accepted:
                    for account, cents in op.deltas():
                        told = {"op": op.id, "account": account, **view.change(account, from_cents(cents))}
                        written.append(await producer.send(self.topic, pack(told), key=key_of(account)))
                answer = reply(accepted, view.store.get(op.account))
                written.append(await producer.send(REPLIES, answer, key=key_of(op.id)))
        for acknowledged in written:
            await acknowledged

    async def listen(self, region: Region, view: View, peer: str) -> None:
        """Take over what another region tells."""
        consumer = await region.kafka.consumer(
            f"{peer}.{self.topic}", group_id="applier", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    message = unpack(record.value)
                    with region.working_on(message["op"]):
                        view.take_over(message)
                await consumer.commit()
