"""One stretched log; one consumer per partition decides, exactly once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from aiokafka.abc import ConsumerRebalanceListener
from aiokafka.errors import ProducerClosed, ProducerFenced
from aiokafka.structs import TopicPartition

from arbsim.designs.client import request
from arbsim.designs.messages import (
    COMMANDS,
    REPLIES,
    allows,
    key_of,
    pack,
    reply,
    to_operation,
    unpack,
)
from arbsim.model import VIOLATIONS, Kind, Operation, Outcome, from_cents
from arbsim.worlds.api import Consumer, Design, Producer, Region, Resources, Topic

CHANGELOG = "changelog"
WRITERS = "writers"
RESTORING_S = 0.01
"""How long a writer waits before it looks again for a partition whose state is being read back."""

NO_CLIENT = ""
"""The region of a command that no client waits for: the second half of a transfer."""


@dataclass(frozen=True)
class SingleWriter(Design):
    """The log's strongest form: one order per key, one decider per key, and transactions around it.

    aiokafka lacks KIP-447 (a consumer's generation in the transaction), so zombies are fenced by one
    transactional id per input partition: the pattern of the first exactly-once version (KIP-98), not of
    version 2.
    """

    name = "bus/single-writer"
    isolated_tasks = True
    family = "bus"
    agreement = "synchronous"
    summary = (
        "Commands keyed by account go to one stretched cluster (acks=all); one consumer per partition"
        " decides, with a transaction per poll batch (exactly-once version 1: a transactional id per"
        " input partition)."
    )
    claims = VIOLATIONS
    fresh_reads = True
    own_order = "offset"

    partitions: int = 4

    def resources(self) -> Resources:
        """Commands and their changelog, partitioned alike; the replies are read in the clients' regions."""
        return Resources(
            topics=(
                Topic(COMMANDS, "stretched", self.partitions),
                Topic(CHANGELOG, "stretched", self.partitions, seeded=True),
                Topic(REPLIES, "stretched"),
            )
        )

    async def connect(self, region: Region) -> None:
        """Open the producer and the reply reader that the region's clients share."""
        await region.kafka.producer("stretched", acks="all", enable_idempotence=True)
        await region.replies(REPLIES, "stretched")

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Write the command (now it is recorded), then wait for the writer's answer."""
        producer = await region.kafka.producer("stretched", acks="all", enable_idempotence=True)
        return await request(producer, op, region, REPLIES, "stretched")

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's steps."""
        return (Writer._decide_batch, Writer._decide)

    async def serve(self, region: Region) -> None:
        """Run the writers beside the partition leaders: a group with a member for each partition."""
        if region.name == region.leader:
            await region.gather(*(Writer(region).run() for _ in range(self.partitions)))


class Writer(ConsumerRebalanceListener):  # type: ignore[misc]
    """Decides the commands of the partitions that its group assigns to it."""

    def __init__(self, region: Region) -> None:
        self._region = region
        self._store = region.store()
        self._producers: dict[TopicPartition, Producer] = {}

    async def run(self) -> None:
        """Decide the commands of each partition in order, a transaction for each poll batch."""
        consumer = await self._region.kafka.consumer(
            COMMANDS,
            cluster="stretched",
            group_id=WRITERS,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
            isolation_level="read_committed",
            listener=self,
        )
        while True:
            batches = await consumer.getmany(timeout_ms=1000)
            early = [partition for partition in batches if partition not in self._producers]
            for partition in early:
                await self._put_back(consumer, partition, batches.pop(partition))
            await self._region.gather(
                *(self._decide_batch(partition, batch) for partition, batch in batches.items())
            )

    async def _put_back(self, consumer: Consumer, partition: TopicPartition, batch: Sequence[Any]) -> None:
        """Read a batch again, later: its partition's state has not been read back yet.

        Unlike Java's consumer, aiokafka hands out records while its listener is still at work.
        """
        await self._region.sleep(RESTORING_S)
        if partition in consumer.assignment():
            consumer.seek(partition, batch[0].offset)

    async def on_partitions_assigned(self, assigned: Iterable[TopicPartition]) -> None:
        """Fence whoever wrote for these partitions before, then read their state back."""
        for partition in sorted(assigned):
            producer = await self._region.kafka.producer(
                "stretched",
                acks="all",
                enable_idempotence=True,
                transactional_id=f"{WRITERS}-{partition.partition}",
            )
            await self._restore(TopicPartition(CHANGELOG, partition.partition))
            self._producers[partition] = producer

    async def on_partitions_revoked(self, revoked: Iterable[TopicPartition]) -> None:
        """Let go of the partitions."""
        for partition in sorted(revoked):
            if partition in self._producers:
                await self._producers.pop(partition).stop()

    async def _restore(self, changelog: TopicPartition) -> None:
        """Read the state back: the last committed balance of each account wins."""
        reader = await self._region.kafka.consumer(cluster="stretched", isolation_level="read_committed")
        reader.assign([changelog])
        await reader.seek_to_beginning(changelog)
        end = (await reader.end_offsets([changelog]))[changelog]
        while await reader.position(changelog) < end:
            for batch in (await reader.getmany(timeout_ms=1000)).values():
                for record in batch:
                    message = unpack(record.value)
                    with self._region.working_on(message["op"]):
                        self._store.adopt(message["account"], Decimal(message["balance"]))
        await reader.stop()

    async def _decide_batch(self, source: TopicPartition, batch: Sequence[Any]) -> None:
        """Decide a batch in one transaction.

        A rebalance can take the partition away meanwhile. What is not committed by then never will be, and whoever
        has the partition now reads it again.
        """
        producer = self._producers[source]
        try:
            async with producer.transaction():
                for record in batch:
                    op = to_operation(record.value)
                    with self._region.working_on(op.id, own_order=record.offset):
                        await self._decide(producer, op, source.partition)
                await producer.send_offsets_to_transaction({source: batch[-1].offset + 1}, WRITERS)
        except (ProducerFenced, ProducerClosed):
            if self._producers.get(source) is producer:
                raise

    async def _decide(self, producer: Producer, op: Operation, partition: int) -> None:
        balance = self._store.get(op.account)
        accepted = allows(op, balance)
        if accepted and op.kind is not Kind.READ:
            balance += from_cents(op.delta(op.account))
            self._store.put(op.account, balance)
            change = pack({"op": op.id, "account": op.account, "balance": str(balance)})
            await producer.send(CHANGELOG, change, key=key_of(op.account), partition=partition)
        if op.region == NO_CLIENT:
            return
        if accepted and op.to_account is not None:
            await producer.send(COMMANDS, credit(op), key=key_of(op.to_account))
        await producer.send(REPLIES, reply(accepted, balance), key=key_of(op.id))


def credit(op: Operation) -> bytes:
    """Encode the second half of a transfer, for the partition of the account that receives it.

    Kleppmann, "Designing Data-Intensive Applications", chapter 12: a request over several partitions.
    """
    return pack(
        {
            "op": op.id,
            "kind": Kind.DEPOSIT.value,
            "account": op.to_account,
            "amount": str(op.amount),
            "region": NO_CLIENT,
        }
    )
