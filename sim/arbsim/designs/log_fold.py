"""Every region folds the one command log by the same rule."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from arbsim.designs.client import request
from arbsim.designs.messages import COMMANDS, REPLIES, RecentIds, allows, key_of, reply, to_operation
from arbsim.model import VIOLATIONS, Operation, Outcome, from_cents
from arbsim.worlds.api import Design, Region, Resources, Store, Topic


@dataclass(frozen=True)
class LogFold(Design):
    """No transactions and no fencing: the log's order is the decision, and every reader computes the same.

    Kleppmann, Beresford and Svingen, "Online Event Processing", CACM 62(5), 2019.
    """

    name = "bus/log-fold"
    isolated_tasks = True
    family = "bus"
    agreement = "synchronous"
    summary = (
        "Every region folds the one command log in offset order by the same deterministic rule and"
        " ignores repeated ids; a client is answered when its own region's fold passes the command."
    )
    claims = VIOLATIONS
    fresh_reads = True
    own_order = "offset"

    def resources(self) -> Resources:
        """One log over all regions, with one partition: one order for everything."""
        return Resources(topics=(Topic(COMMANDS, "stretched"), Topic(REPLIES)))

    async def connect(self, region: Region) -> None:
        """Open the producer and the reply reader that the region's clients share."""
        await region.kafka.producer("stretched", acks="all", enable_idempotence=True)
        await region.replies(REPLIES, "local")

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Write the command (now it is recorded), then wait until this region's fold has passed it."""
        producer = await region.kafka.producer("stretched", acks="all", enable_idempotence=True)
        return await request(producer, op, region, REPLIES, "local")

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the consumer's steps."""
        return (fold, allows)

    async def serve(self, region: Region) -> None:
        """Fold the log; answer the commands that came from this region."""
        store = region.store()
        seen = RecentIds()
        replies = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        log = await region.kafka.consumer(COMMANDS, cluster="stretched", auto_offset_reset="earliest")
        while True:
            for batch in (await log.getmany(timeout_ms=1000)).values():
                for record in batch:
                    op = to_operation(record.value)
                    if not seen.add(op.id):
                        continue
                    with region.working_on(op.id, own_order=record.offset):
                        accepted = fold(op, store)
                        if op.region == region.name:
                            answer = reply(accepted, store.get(op.account))
                            await replies.send(REPLIES, answer, key=key_of(op.id))


def fold(op: Operation, store: Store) -> bool:
    """Apply one command to the balances; return whether the rule allows it. The same in every region."""
    accepted = allows(op, store.get(op.account))
    if accepted:
        for account, cents in op.deltas():
            store.put(account, store.get(account) + from_cents(cents))
    return accepted
