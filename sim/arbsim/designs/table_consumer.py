"""Consumers in every region, one shared table between them: what a trap and its cure have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from arbsim.designs.client import LocalRequests
from arbsim.designs.messages import COMMANDS, REPLIES, key_of, reply, to_operation
from arbsim.model import Operation
from arbsim.worlds.api import Producer, Region, Resources, Topic

Decision = tuple[bool, Decimal]


@dataclass(frozen=True)
class SharedTableConsumer(LocalRequests):
    """Reads its region's commands: one after the other for one account, side by side for different ones."""

    family = "bus"
    partitions: int = 1

    def resources(self) -> Resources:
        """A command and a reply topic in each region, and the one table."""
        return Resources(
            topics=(Topic(COMMANDS, partitions=self.partitions), Topic(REPLIES)), accounts_table=True
        )

    async def serve(self, region: Region) -> None:
        """Process what this region's clients ask."""
        if region.name not in region.client_regions:
            return
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        consumer = await region.kafka.consumer(
            COMMANDS, group_id="decider", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            by_account: dict[int, list[Operation]] = {}
            for batch in batches.values():
                for record in batch:
                    op = to_operation(record.value)
                    by_account.setdefault(op.account, []).append(op)
            await region.gather(*(self.decide_all(region, producer, ops) for ops in by_account.values()))
            if batches:
                await consumer.commit()

    async def decide_all(self, region: Region, producer: Producer, ops: Sequence[Operation]) -> None:
        """Decide the commands of one account in order, and answer each."""
        for op in ops:
            with region.working_on(op.id):
                accepted, balance = await self.decide_one(region, op)
                await producer.send_and_wait(REPLIES, reply(accepted, balance), key=key_of(op.id))

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's step."""
        return (self.decide_one,)

    @abstractmethod
    async def decide_one(self, region: Region, op: Operation) -> Decision:
        """Decide one command against the table; return whether it is accepted, and the balance."""
