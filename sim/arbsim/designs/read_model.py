"""Deciding on the read model that the change stream feeds: the trap again, in front of a good database."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from asyncpg.exceptions import CheckViolationError

from arbsim.designs.client import LocalRequests
from arbsim.designs.database import DECREMENT, DEPOSIT, DatabaseDesign, Retries, follow
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, reply, to_operation
from arbsim.model import FindingKind, Kind, Operation
from arbsim.worlds.api import Producer, Region, Resources, Store, Topic


@dataclass(frozen=True)
class ReadModel(Retries, LocalRequests):
    """A service in each region checks the rule on its read model, then writes to the one database.

    The read model is right about the past. Between a commit and its event somebody else decides.
    """

    name = "db/read-model"
    isolated_tasks = True
    family = "db"
    agreement = "asynchronous"
    summary = (
        "A service decides on the read model that it keeps by the change stream, then writes to the"
        " database without a predicate; only a CHECK stops the overdraft."
    )
    claims = tuple(
        kind
        for kind in DatabaseDesign.claims
        if kind not in (FindingKind.OVERDRAFT, FindingKind.OVERDRAFT_OWN_ORDER)
    )
    cure = "db/atomic-update"
    own_order = "commit"

    check: bool = True

    def resources(self) -> Resources:
        """The accounts table with its change stream; commands and replies in each region."""
        return Resources(
            topics=(Topic(COMMANDS), Topic(REPLIES)),
            accounts_table=True,
            check=self.check,
            change_stream=True,
        )

    def judged_steps(self) -> Sequence[Callable[..., Any]]:
        """Return the service's steps."""
        return (self.decide_command, self.write)

    async def serve(self, region: Region) -> None:
        """Follow the change stream, and decide what this region's clients ask."""
        store = region.store()
        services = [follow(region, store)]
        if region.name in region.client_regions:
            services.append(self.decide_commands(region, store))
        await region.gather(*services)

    async def decide_commands(self, region: Region, store: Store) -> None:
        """Take the commands one by one."""
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        consumer = await region.kafka.consumer(
            COMMANDS, group_id="decider", enable_auto_commit=False, auto_offset_reset="earliest"
        )
        while True:
            for batch in (await consumer.getmany(timeout_ms=1000)).values():
                for record in batch:
                    op = to_operation(record.value)
                    with region.working_on(op.id):
                        await self.decide_command(op, region, store, producer)
                await consumer.commit()

    async def decide_command(self, op: Operation, region: Region, store: Store, producer: Producer) -> None:
        """Check the rule on the read model; what it allows is written as it is."""
        accepted = allows(op, store.get(op.account))
        if accepted and op.kind is not Kind.READ:
            try:
                await self.retrying(region, lambda: self.write(op, region))
            except CheckViolationError:
                accepted = False
        await producer.send_and_wait(REPLIES, reply(accepted, store.get(op.account)), key=key_of(op.id))

    async def write(self, op: Operation, region: Region) -> None:
        """Write what was decided, to whatever the balance is by now."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            if op.kind is not Kind.DEPOSIT:
                await connection.execute(DECREMENT, op.amount, op.account)
            gains = op.account if op.kind is Kind.DEPOSIT else op.to_account
            if gains is not None:
                await connection.execute(DEPOSIT, op.amount, gains)
