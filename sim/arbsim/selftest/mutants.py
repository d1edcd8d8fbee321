"""Safe designs with one bug planted in each: the mistakes that people make."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

from arbsim.designs.atomic_update import AtomicUpdate
from arbsim.designs.database import DEPOSIT, OVERWRITE, SELECT, change
from arbsim.designs.log_fold import LogFold, fold
from arbsim.designs.messages import COMMANDS, REPLIES, allows, key_of, reply, to_operation
from arbsim.designs.select_for_update import SelectForUpdate
from arbsim.designs.serializable import Serializable
from arbsim.model import Accepted, FindingKind, Kind, Operation, Outcome, Rejected, from_cents
from arbsim.worlds.api import Connection, Design, Region


@dataclass(frozen=True, slots=True)
class Mutant:
    """A design, what was planted in it, and the finding that must show it."""

    design: Design
    sentence: str
    kind: FindingKind


def mutants() -> Iterator[Mutant]:
    """Every mutant; each but for its bug is a design that holds."""
    yield Mutant(NoPredicate(check=False), "the UPDATE has lost its predicate", FindingKind.OVERDRAFT)
    yield Mutant(Forgets(), "the SELECT has lost its FOR UPDATE", FindingKind.LOST_UPDATE)
    yield Mutant(
        TooWeak(select_first=True), "READ COMMITTED instead of SERIALIZABLE", FindingKind.LOST_UPDATE
    )
    yield Mutant(HalfTransfer(), "a transfer forgets its receiver", FindingKind.CONSERVATION)
    yield Mutant(RetriesTwice(), "a deposit is sent again without an id", FindingKind.DUPLICATE_EFFECT)
    yield Mutant(ImpatientFold(), "the fold refuses what is old by its own clock", FindingKind.DIVERGENCE)
    yield Mutant(ForgetfulFold(), "the fold does not tell repeated ids apart", FindingKind.DUPLICATE_EFFECT)


class NoPredicate(AtomicUpdate):
    """UPDATE ... WHERE id = $2, and no more."""

    name = "mutant/no-predicate"

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Take the money without looking."""
        sign = -1 if op.kind in (Kind.WITHDRAW, Kind.TRANSFER) else 1
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            if op.kind is Kind.READ:
                return await change(connection, op)
            balance = await connection.fetchval(DEPOSIT, sign * op.amount, op.account)
            if op.to_account is not None:
                await connection.execute(DEPOSIT, op.amount, op.to_account)
            return Accepted(balance)


class Forgets(SelectForUpdate):
    """SELECT without FOR UPDATE."""

    name = "mutant/no-row-lock"

    async def read(self, connection: Connection, op: Operation) -> Decimal:
        """Read without a lock."""
        balance: Decimal = await connection.fetchval(SELECT, op.account)
        return balance


class TooWeak(Serializable):
    """Serializable's SELECT and UPDATE, but at READ COMMITTED, with the new balance."""

    name = "mutant/too-weak"

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Read, then write what was computed."""
        async with (
            region.database.acquire() as connection,
            connection.transaction(isolation="read_committed"),
        ):
            balance = await connection.fetchval(SELECT, op.account)
            if op.kind is Kind.READ:
                return Accepted(balance)
            if not allows(op, balance):
                return Rejected()
            await connection.execute(OVERWRITE, balance + from_cents(op.delta(op.account)), op.account)
            if op.to_account is not None:
                await connection.execute(DEPOSIT, op.amount, op.to_account)
            return Accepted()


class HalfTransfer(AtomicUpdate):
    """Takes the money of a transfer and gives it to nobody."""

    name = "mutant/half-transfer"

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Do the first half alone."""
        alone = Operation(op.id, op.at_ns, op.region, Kind.WITHDRAW, op.account, op.amount_cents)
        return await super().attempt(alone if op.to_account is not None else op, region)


class RetriesTwice(AtomicUpdate):
    """Sends a deposit again, as after a timeout whose transaction had committed after all."""

    name = "mutant/retries-twice"

    async def attempt(self, op: Operation, region: Region) -> Outcome:
        """Do a deposit twice."""
        if op.kind is Kind.DEPOSIT:
            await super().attempt(op, region)
        return await super().attempt(op, region)


class ImpatientFold(LogFold):
    """Refuses commands that it thinks too old: a rule that does not depend on the log alone."""

    name = "mutant/impatient-fold"

    async def serve(self, region: Region) -> None:
        """Fold what is fresh by this region's clock."""
        store = region.store()
        replies = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        log = await region.kafka.consumer(COMMANDS, cluster="stretched", auto_offset_reset="earliest")
        while True:
            for batch in (await log.getmany(timeout_ms=1000)).values():
                for record in batch:
                    op = to_operation(record.value)
                    age_ms = region.clock.time_ns() // 1_000_000 - record.timestamp
                    with region.working_on(op.id, own_order=record.offset):
                        accepted = age_ms < 80 and fold(op, store)
                        if op.region == region.name:
                            answer = reply(accepted, store.get(op.account))
                            await replies.send(REPLIES, answer, key=key_of(op.id))


class ForgetfulFold(LogFold):
    """The client sends every deposit twice, as a retrying producer without idempotence may; the fold takes both."""

    name = "mutant/forgetful-fold"

    async def decide(self, op: Operation, region: Region) -> Outcome:
        """Send deposits twice."""
        if op.kind is Kind.DEPOSIT:
            await super().decide(op, region)
        return await super().decide(op, region)

    async def serve(self, region: Region) -> None:
        """Fold without looking at ids."""
        store = region.store()
        replies = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        log = await region.kafka.consumer(COMMANDS, cluster="stretched", auto_offset_reset="earliest")
        while True:
            for batch in (await log.getmany(timeout_ms=1000)).values():
                for record in batch:
                    op = to_operation(record.value)
                    with region.working_on(op.id, own_order=record.offset):
                        accepted = fold(op, store)
                        if op.region == region.name:
                            answer = reply(accepted, store.get(op.account))
                            await replies.send(REPLIES, answer, key=key_of(op.id))
