"""Clients of a live run wait for an answer, but not for ever."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any, cast

import pytest

from arbsim.model import Accepted, Kind, Operation, Outcome, Workload
from arbsim.worlds.live import callers
from arbsim.worlds.live.callers import Callers
from arbsim.worlds.live.database import Sandbox
from arbsim.worlds.live.events import Log
from arbsim.worlds.live.premises import Plan


class AnswersTheFirst:
    """Nobody else is ever answered."""

    async def decide(self, op: Operation, region: Any) -> Outcome:
        if op.id > 1:
            await asyncio.get_running_loop().create_future()
        return Accepted()


def answers(give_up: bool) -> list[tuple[int, tuple[Any, ...]]]:
    """What two clients are told, of whom the second is given up or interrupted."""
    log = Log()
    plan = SimpleNamespace(design=AnswersTheFirst(), workload=())
    region = SimpleNamespace()

    async def body() -> None:
        clients = Callers(cast(Plan, plan), log, {"east": cast(Any, region)})
        late = asyncio.create_task(clients.give_up())
        async with asyncio.TaskGroup() as tasks:
            calls = [
                clients.begin(Operation(number, 0, "east", Kind.DEPOSIT, 1, 1), tasks) for number in (1, 2)
            ]
            await calls[0]
            if not give_up:
                calls[1].cancel()
        late.cancel()

    asyncio.run(body())
    return [(event.operation, event.values) for event in log.events if event.kind == "answer"]


def test_who_waits_too_long_has_an_unknown_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "CLIENT_TIMEOUT_S", 0.0)
    monkeypatch.setattr(callers, "_LOOK_S", 0.0)
    assert answers(give_up=True) == [(1, ("accepted", None, "")), (2, ("unknown", None, "no answer in 0 s"))]


class RunsOutOfTime:
    """Sets itself a timeout, and forgets that it can expire."""

    async def decide(self, op: Operation, region: Any) -> Outcome:
        async with asyncio.timeout(0):
            await asyncio.get_running_loop().create_future()
        return Accepted()


def test_a_timeout_that_a_design_does_not_handle_is_its_bug_and_no_outcome() -> None:
    plan = SimpleNamespace(design=RunsOutOfTime(), workload=())
    clients = Callers(cast(Plan, plan), Log(), {"east": cast(Any, None)})

    async def body() -> None:
        async with asyncio.TaskGroup() as tasks:
            clients.begin(Operation(1, 0, "east", Kind.DEPOSIT, 1, 1), tasks)

    with pytest.raises(ExceptionGroup) as raised:
        asyncio.run(body())
    assert [type(error) for error in raised.value.exceptions] == [TimeoutError]


def test_who_is_interrupted_was_not_given_up() -> None:
    assert answers(give_up=False) == [(1, ("accepted", None, "")), (2, ("unknown", None, "interrupted"))]


class Rehearsed:
    """Notes what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[Operation] = []

    async def decide(self, op: Operation, region: Any) -> Outcome:
        self.asked.append(op)
        return Accepted()


class Guests:
    """A sandbox that notes who comes and goes."""

    def __init__(self) -> None:
        self.came: list[int] = []
        self.went: list[int] = []

    async def insert(self, opening: dict[int, int]) -> None:
        self.came += opening

    async def forget(self, accounts: list[int]) -> None:
        self.went += accounts


def test_every_connection_rehearses_every_kind_of_operation_on_accounts_that_are_nobody_s() -> None:
    design, sandbox = Rehearsed(), Guests()
    work = Workload(
        (
            Operation(1, 0, "east", Kind.TRANSFER, 2, 1, 2**63 - 1),
            Operation(2, 0, "west", Kind.READ, 2, 0),
        ),
        {2: 100, 2**63 - 1: 100},
    )
    plan = SimpleNamespace(design=design, workload=work)
    regions = {
        name: SimpleNamespace(database=SimpleNamespace(get_size=lambda: 3)) for name in ("east", "west")
    }
    clients = Callers(cast(Plan, plan), Log(), cast(Any, regions))
    asyncio.run(clients.rehearse(cast(Sandbox, sandbox)))
    assert Counter((op.region, op.kind) for op in design.asked) == {
        (region, kind): 3 for region in regions for kind in (Kind.READ, Kind.TRANSFER)
    }
    touched = {
        account for op in design.asked for account in (op.account, op.to_account) if account is not None
    }
    assert touched == set(sandbox.came) == set(sandbox.went)
    assert touched.isdisjoint(work.accounts)
    assert max(touched) < 2**63 - 1
    assert len({op.id for op in design.asked}) == len(design.asked)
