"""What steps share though it is easily forgotten: each of these once made the search miss an outcome."""

from __future__ import annotations

import random
from typing import Any

import pytest

from arbsim.designs.messages import COMMANDS, REPLIES, command, key_of, to_outcome
from arbsim.designs.regional_deltas import RegionalDeltas
from arbsim.explore.search import explore_design
from arbsim.model import Accepted, Fate, Operation, Outcome, Rejected, Unknown
from arbsim.runner import card_of
from arbsim.worlds.api import Design, Region, Resources, Topic
from arbsim.worlds.exhaustive.search import NotRepeatable
from tests.worlds.exhaustive.support import (
    POSTGRES,
    TWO_IN_EAST,
    Driver,
    Probe,
    SharesAListInARegion,
    fates,
    outcomes,
    search,
    seen,
    withdraw,
    workload,
)

ONE = workload("east withdraw 70 1")


class WaitsForATask(Probe):
    """Gives up waiting for a task of its own; the task goes on."""

    name = "probe/waits-for-a-task"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        async def work() -> Any:
            await region.sleep(1)
            return await withdraw(op, region, guard=False)

        try:
            async with region.timeout(1):
                (balance,) = await region.gather(work())
                return Accepted(balance)
        except TimeoutError:
            return Unknown("late")


class WaitsForAnAcknowledgement(RegionalDeltas):
    """Gives up waiting for the acknowledgement of its record; the record is sent all the same."""

    name = "probe/waits-for-an-acknowledgement"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        try:
            async with region.timeout(1):
                await producer.send_and_wait(COMMANDS, command(op), key=key_of(op.account))
                return Accepted()
        except TimeoutError:
            return Unknown("late")


class WaitsForAReply(RegionalDeltas):
    """Gives up waiting for the reply to its operation."""

    name = "probe/waits-for-a-reply"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        producer = await region.kafka.producer("local", acks="all", enable_idempotence=True)
        replies = await region.replies(REPLIES, "local")
        try:
            async with region.timeout(1):
                await producer.send(COMMANDS, command(op), key=key_of(op.account))
                return to_outcome(await replies.wait_for(op.id))
        except TimeoutError:
            return Unknown("late")


@pytest.mark.parametrize("design", [WaitsForATask(), WaitsForAnAcknowledgement(), WaitsForAReply()])
def test_a_deadline_meets_what_it_takes_its_task_away_from(design: Design) -> None:
    reached = outcomes(design, ONE, POSTGRES)
    driver, rng = Driver(design, ONE, POSTGRES), random.Random(1)
    assert {seen(driver.random(rng).history) for _ in range(100)} == reached


def test_clients_of_one_region_can_share_objects_unless_the_design_denies_it() -> None:
    design = SharesAListInARegion()
    every_step = search(design, TWO_IN_EAST, POSTGRES, reduced=False, nothing_at_once=True)
    assert outcomes(design, TWO_IN_EAST, POSTGRES) == set(every_step)


class Counts(Probe):
    """Forgets the guard in the first runs: state that outlives a run."""

    name = "probe/counts"
    isolated_tasks = True
    runs = 0

    async def decide(self, op: Operation, region: Region) -> Outcome:
        Counts.runs += 1
        balance = await withdraw(op, region, guard=Counts.runs > 8)
        return Rejected() if balance is None else Accepted(balance)


class Alternates(Probe):
    """Takes one step more in every second run."""

    name = "probe/alternates"
    isolated_tasks = True
    runs = 0

    async def decide(self, op: Operation, region: Region) -> Outcome:
        Alternates.runs += 1
        await withdraw(op, region, guard=True)
        if Alternates.runs % 4 > 1:
            await withdraw(op, region, guard=True)
        return Accepted()


@pytest.mark.parametrize("design", [Counts(), Alternates()])
def test_a_design_that_keeps_state_between_runs_is_refused(design: Design) -> None:
    with pytest.raises(NotRepeatable, match="keeps state between runs"):
        explore_design(design, card_of(design.name, design), TWO_IN_EAST, POSTGRES)


class LooksTwice(Probe):
    """Tells whether much time passed between two looks at the clock; nothing else is shared."""

    name = "probe/looks-twice"
    isolated_tasks = True

    async def decide(self, op: Operation, region: Region) -> Outcome:
        before = region.clock.time_ns()
        await region.sleep(1)
        return Accepted() if region.clock.time_ns() - before < 60_000_000_000 else Rejected()


def test_what_is_learned_while_the_clients_begin_counts() -> None:
    found = outcomes(LooksTwice(), ONE, POSTGRES)
    assert {fates(outcome) for outcome in found} == {(Fate.ACCEPTED,), (Fate.REJECTED,)}


class LooksAtTheEnd(Probe):
    """Its service looks at the clock when it is closed."""

    name = "probe/looks-at-the-end"
    isolated_tasks = True

    async def serve(self, region: Region) -> None:
        consumer = await region.kafka.consumer("audit")
        try:
            await consumer.getone()
        finally:
            region.clock.time_ns()

    def resources(self) -> Resources:
        return Resources(accounts_table=True, topics=(Topic("audit"),))

    async def decide(self, op: Operation, region: Region) -> Outcome:
        return Accepted()


def test_what_is_learned_at_the_end_of_a_run_counts() -> None:
    design = LooksAtTheEnd()
    driver = Driver(design, ONE, POSTGRES)
    driver.random(random.Random(1))
    assert driver.begun == 1
